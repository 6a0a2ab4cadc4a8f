"""The latents of all frames, encoded once: beside the run in parts while they are made, then in one file.

The file is mapped into memory, so that its pages are read when they are needed and given back when others are.
"""

from __future__ import annotations

import json
import math
import shutil
from contextlib import nullcontext
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gwm_sim.files import replacing
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress
from gwm_sim.training.dataset import TrainingData
from gwm_sim.training.dataset.latents import Latents, SharedLatents
from gwm_sim.training.distributed import by_first, is_first, processes, rank, wait_for_all

ENCODED_AT_ONCE = 8  # frames; what many more make does not fit the caches of a CPU, which takes twice as long
FRAMES_OF_A_PART = 4096  # which is lost where encoding is interrupted


def encode_all(model: WorldModel, data: TrainingData, cache: Path) -> Latents:
    """Latents of all frames, (S, N, M) uint8, from a cache beside the run when it fits tokenizer and data.

    Where it was interrupted, it goes on with the parts that were finished. Processes that train together share them.
    """
    encoding = Encoding(model, data, cache)
    if not by_first(lambda: encoding.done):
        encoding.make(rank(), processes())
        wait_for_all()
        by_first(encoding.join)
    return encoding.open()


class Encoding:
    """The latents of some data by some tokenizer, in files.

    Several processes may each make a share of the parts. Episode files that hold the same are encoded once.
    """

    def __init__(self, model: WorldModel, data: TrainingData, cache: Path) -> None:
        """Encode with the tokenizer as it is now, into the file `cache`."""
        self._model, self._data, self._cache = model, data, cache
        self._folder = cache.with_name(f"{cache.name}.parts")
        self._key = json.dumps({"model": model.tokenizer_digest(), "data": data.digest})
        self._own = (data.originals == torch.arange(data.episodes)) & data.seen()  # (E,) episodes that are encoded
        self._frames = torch.nonzero(self._own.repeat_interleave(data.lengths)).flatten()  # (U,)

    @property
    def done(self) -> bool:
        """Whether all latents are in their file."""
        return load_codes(self._cache, self._key, len(self._frames)) is not None

    def make(self, share: int = 0, shares: int = 1) -> None:
        """Encode what is missing in one of several shares of the parts."""
        parts, count = self._frames.split(FRAMES_OF_A_PART), len(self._frames)
        with progress("encode") if is_first() else nullcontext(lambda share, text: None) as show:
            for number in range(share, len(parts), shares):
                if load_codes(self._part(number), self._key, len(parts[number])) is not None:
                    continue
                done, codes = number * FRAMES_OF_A_PART, list[Tensor]()
                for frames in parts[number].split(ENCODED_AT_ONCE):
                    codes.append(self._model.tokenize(self._data.frames[frames]).cpu())
                    done += len(frames)
                    show(done / count, f"{done} of {count} frames")
                store_codes(self._part(number), self._key, torch.cat(codes))

    def join(self) -> None:
        """Put all parts, which are made by now, into one file; no more than a few of its pages need be in memory."""
        tokenizer = self._model.config.tokenizer
        shape = len(self._frames), tokenizer.tokens, tokenizer.token_numbers
        with replacing(self._folder / "joined") as scratch:
            joined = torch.from_file(str(scratch), shared=True, size=math.prod(shape), dtype=torch.uint8).view(shape)
            for number, rows in enumerate(joined.split(FRAMES_OF_A_PART)):
                codes = load_codes(self._part(number), self._key, len(rows))
                assert codes is not None
                rows.copy_(codes)
            store_codes(self._cache, self._key, joined)
        shutil.rmtree(self._folder, ignore_errors=True)

    def open(self) -> Latents:
        """The latents, which are in their file by now, of all frames with pictures."""
        stored = load_codes(self._cache, self._key, len(self._frames))
        assert stored is not None
        data = self._data
        count = len(data.frames)
        if len(stored) == count:
            return stored
        lengths = data.lengths * self._own
        moved = (lengths.cumsum(0) - lengths)[data.originals] - data.starts  # (E,)
        return SharedLatents(stored, count, lambda frames: frames + moved[data.episode_of(frames)])

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:04d}.safetensors"


def load_codes(path: Path, key: str, count: int) -> Tensor | None:
    """So many latents (count, N, M) of this key, mapped into memory; None where none were stored, or others."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        if file.metadata()["key"] != key or file.get_slice("codes").get_shape()[0] != count:
            return None
    return load_file(path)["codes"]


def store_codes(path: Path, key: str, codes: Tensor) -> None:
    """Write latents whole or not at all, with the `key` that says of what they are."""
    with replacing(path) as temporary:
        save_file({"codes": codes}, temporary, {"key": key})
