"""Where a learned world begins: a few real frames, from the shipped bank, from an episode file or from the caller.

The bank is an ordinary episode file, `bank.hdf5` beside the weights, whose episodes are a few frames each. So the
learned environments need no data set and no MuJoCo.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.views import side_by_side
from gwm_sim.envs.blocks import spec
from gwm_sim.errors import CheckpointError
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.state import Segment
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.protocol import CONTEXT

OPTIONS: Final = ("bank", "episode", "step", "frames", "telemetry", "actions", "properties")
NEEDS: Final = {"step": "episode", "telemetry": "frames", "actions": "frames", "frames": "telemetry"}

Array = NDArray[Any]


@dataclass(frozen=True)
class Start:
    """What is known when a world begins."""

    frames: Array  # (C, H, V*W, 3) uint8, the views side by side, the last one being the present
    telemetry: Array  # (C, P) float32
    actions: Array  # (C-1, A) float32
    properties: dict[str, float]


class Starts:
    """Draws and resolves starts for one model, and keeps the latents of those it has read."""

    def __init__(self, model: WorldModel, folder: Path, task: str | None) -> None:
        """Open the bank of the checkpoint in `folder`; starts that already satisfy `task` are never drawn."""
        self._model = model
        self._bank = EpisodeFile(folder / BANK_FILE) if (folder / BANK_FILE).exists() else None
        self._unsolved: list[int] = []
        if self._bank is not None:
            labels = (self._bank.read(k, cameras=()).labels for k in range(len(self._bank)))
            self._unsolved = [k for k, label in enumerate(labels) if task not in label or not label[task].success[-1]]
        self._read: dict[int, tuple[Start, Segment]] = {}

    def __len__(self) -> int:
        """Number of starts in the bank."""
        return 0 if self._bank is None else len(self._bank)

    def resolve(self, options: Mapping[str, Any] | None, rng: np.random.Generator) -> tuple[Start, Segment]:
        """Start that the reset options ask for, by default a drawn one from the bank, and its latents (one row).

        Raises:
            ValueError: Unknown options, options that exclude each other, or values of a wrong shape.
            CheckpointError: A start from the bank is needed and the checkpoint has none.
        """
        options = dict(options or {})
        if unknown := options.keys() - set(OPTIONS):
            raise ValueError(
                f"Unknown reset options {sorted(unknown)}; a learned world takes {', '.join(OPTIONS)}, goal"
            )
        sources = [name for name in ("bank", "episode", "frames") if name in options]
        if len(sources) > 1:
            raise ValueError(f"Reset options {sources} exclude each other: give one start")
        for name, companion in NEEDS.items():
            if name in options and companion not in options:
                raise ValueError(f'Reset option "{name}" needs "{companion}" beside it')
        read = None
        if "frames" in options:
            start = self._from_arrays(options)
        elif "episode" in options:
            start = self._from_episode(str(options["episode"]), options.get("step"))
        else:
            start, read = self._from_bank(int(options["bank"]) if "bank" in options else self._draw(rng))
        if "properties" in options:
            # Drawn after the start, so that a seed names the same start with and without random properties.
            start = replace(start, properties=self._properties(options["properties"], rng))
            read = None
        read = self._encode(start) if read is None else read
        return self._complete(start, read), read

    def _complete(self, start: Start, read: Segment) -> Start:
        """A start whose frames show all views: of one that was given the main view alone, the others as drawn."""
        width = start.frames.shape[2]
        if width == self._model.config.tokenizer.frame[1]:
            return start
        frames = self._model.detokenize(read.codes[0]).cpu().numpy()
        frames[:, :, :width] = start.frames
        return replace(start, frames=frames)

    def _properties(self, requested: Mapping[str, float] | str, rng: np.random.Generator) -> dict[str, float]:
        known = self._model.config.properties
        if isinstance(requested, Mapping) and (unknown := set(requested) - set(known)):
            raise ValueError(
                f"Unknown properties {sorted(unknown)}: {self._model.config.name} is conditioned on "
                f"{', '.join(known) or 'none'}"
            )
        return spec.resolve_properties(requested, rng)

    def _draw(self, rng: np.random.Generator) -> int:
        if not self._unsolved:
            lack = "has no bank of start states" if self._bank is None else "has only solved start states"
            raise CheckpointError(
                f"{self._model.config.name} {lack} ({BANK_FILE}): "
                'give a start with reset(options={"episode": "FILE:K"}) or {"frames": ..., "telemetry": ...}'
            )
        return self._unsolved[int(rng.integers(len(self._unsolved)))]

    def _from_bank(self, index: int) -> tuple[Start, Segment]:
        if not 0 <= index < len(self):
            raise ValueError(f"bank must be an index from 0 to {len(self) - 1}, got {index}")
        if index not in self._read:
            assert self._bank is not None
            start = cut(self._bank, index, self._bank.lengths[index], self._model.config.cameras)
            # As in the twin, physics is the default one unless the options say otherwise, whatever was recorded.
            start.properties.update(
                {name: value for name, value in spec.PROPERTY_DEFAULTS.items() if name in start.properties}
            )
            self._read[index] = start, self._encode(start)
        return self._read[index]

    def _from_episode(self, place: str, step: int | None) -> Start:
        path, k = split_place(place)
        with EpisodeFile(path) as file:
            check_fit(self._model, file.schema, path)
            if k >= len(file):
                raise ValueError(f"{path} has {len(file)} episodes, number {k} is not among them")
            step = CONTEXT - 1 if step is None else int(step)
            if not 0 <= step <= file.lengths[k]:
                raise ValueError(f"step must be from 0 to {file.lengths[k]}, the last frame of {place}, got {step}")
            return cut(file, k, step, self._model.config.cameras)

    def _from_arrays(self, options: Mapping[str, Any]) -> Start:
        # Copies: torch takes neither views with negative strides, such as mirrored frames, nor read-only arrays.
        frames = np.array(options["frames"], order="C")
        telemetry = np.array(options["telemetry"], np.float32, order="C")
        if frames.ndim == 3:  # one frame and its telemetry
            frames, telemetry = frames[None], telemetry[None]
        c = self._model.config
        if frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 from 0 to 255, got {frames.dtype}")
        if frames.ndim != 4 or len(frames) == 0:
            raise ValueError(f"frames must be (C, H, W, 3) with at least one frame, got shape {frames.shape}")
        held = np.zeros((len(frames) - 1, c.dynamics.actions), np.float32)
        actions = np.array(options.get("actions", held), np.float32, order="C")
        for name, value in (("telemetry", telemetry), ("actions", actions)):
            if not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite numbers")
        return Start(frames, telemetry, actions, {})

    def _encode(self, start: Start) -> Segment:
        # Row by row even in a batch, so that a start has the same latents everywhere.
        config = self._model.config
        values = [start.properties.get(name, np.nan) for name in config.properties]
        low, high = (np.array(b, np.float32) for b in (config.schema.telemetry_low, config.schema.telemetry_high))
        return self._model.read(
            torch.from_numpy(start.frames)[None],
            torch.from_numpy(start.telemetry.clip(low, high))[None],
            torch.from_numpy(start.actions)[None],
            torch.tensor([values]),
        )


def split_place(place: str) -> tuple[str, int]:
    """File and number of an episode that is written as "FILE:K".

    Raises:
        ValueError: It is written otherwise.
    """
    path, _, number = place.rpartition(":")
    if not path or not number.isdigit():
        raise ValueError(f'episode must be "FILE:K", K counting from 0, got {place!r}')
    return path, int(number)


def cut(file: EpisodeFile, k: int, step: int, cameras: Sequence[str]) -> Start:
    """Frame `step` of an episode and the up to CONTEXT - 1 frames before it."""
    episode = file.read(k, max(0, step + 1 - CONTEXT), step + 1, cameras=cameras)
    return Start(side_by_side(episode.frames, cameras), episode.telemetry, episode.actions, episode.properties)
