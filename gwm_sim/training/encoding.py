"""The latents of all frames, encoded once: beside the run in parts while they are made, then in one file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from gwm_sim.files import replacing
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress
from gwm_sim.training.dataset import TrainingData

ENCODED_AT_ONCE = 8  # frames; what many more make does not fit the caches of a CPU, which takes twice as long
FRAMES_OF_A_PART = 4096  # which is lost where encoding is interrupted


def encode_all(model: WorldModel, data: TrainingData, cache: Path) -> Tensor:
    """Latents of all frames, (F, N, M) uint8, from a cache beside the run when it fits tokenizer and data.

    Where it was interrupted, it goes on with the parts that were finished.
    """
    key = json.dumps({"model": model.tokenizer_digest(), "data": data.digest})
    if (codes := load_codes(cache, key)) is not None:
        return codes
    parts, encoded = cache.with_name(f"{cache.name}.parts"), list[Tensor]()
    frames, count = data.frames.split(FRAMES_OF_A_PART), len(data.frames)
    with progress("encode") as show:
        for number, some in enumerate(frames):
            path = parts / f"{number:04d}.safetensors"
            codes = load_codes(path, key)
            if codes is None:
                done = number * FRAMES_OF_A_PART
                chunks = list[Tensor]()
                for chunk in some.split(ENCODED_AT_ONCE):
                    chunks.append(model.tokenize(chunk).cpu())
                    done += len(chunk)
                    show(done / count, f"{done} of {count} frames")
                codes = torch.cat(chunks)
                store_codes(path, key, codes)
            encoded.append(codes)
    codes = torch.cat(encoded)
    store_codes(cache, key, codes)
    shutil.rmtree(parts, ignore_errors=True)
    return codes


def load_codes(path: Path, key: str) -> Tensor | None:
    """Latents that were stored with this key; None where there are none, or others."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        if file.metadata()["key"] != key:
            return None
    return load_file(path)["codes"]


def store_codes(path: Path, key: str, codes: Tensor) -> None:
    """Write latents whole or not at all, with the `key` that says of what they are."""
    with replacing(path) as temporary:
        save_file({"codes": codes}, temporary, {"key": key})
