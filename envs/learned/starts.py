"""Where a learned world begins: a few real frames, from its initial states, an episode file or the caller.

Initial states are an ordinary episode file, `bank.hdf5` beside the weights, whose episodes are a few frames each. So
the learned environments need no data set and no MuJoCo.
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
from gwm_sim.envs.learned.domain import find_domain
from gwm_sim.envs.spaces import Ranges, resolve_properties
from gwm_sim.errors import CheckpointError
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.state import Segment
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.protocol import CONTEXT

OPTIONS: Final = ("bank", "episode", "step", "frames", "telemetry", "actions", "properties")
SOURCES: Final = frozenset({"bank", "episode", "frames"})
"""Options that give a start, where otherwise one is drawn."""
NEEDS: Final = {"step": "episode", "telemetry": "frames", "actions": "frames", "frames": "telemetry"}
SLACK: Final = 0.5  # how far outside the data a property may lie: the model takes it for the nearest that it knows

Array = NDArray[Any]


@dataclass(frozen=True)
class Context:
    """What is known when a world begins."""

    frames: Array  # (C, H, V*W, 3) uint8, the views side by side, the last one being the present
    telemetry: Array  # (C, P) float32
    actions: Array  # (C-1, A) float32
    properties: dict[str, float]


class Starts:
    """Finds where worlds of one model begin, and keeps the latents of initial states that it has read."""

    def __init__(self, model: WorldModel, folder: Path, task: str | None) -> None:
        """Open the initial states of the checkpoint in `folder`; those that satisfy `task` already are never drawn."""
        self._model = model
        self._domain = find_domain(model.config.schema.env_id)
        self._initial = EpisodeFile(folder / BANK_FILE) if (folder / BANK_FILE).exists() else None
        self._unsolved: list[int] = []
        if self._initial is not None:
            labels = (self._initial.read(k, cameras=()).labels for k in range(len(self._initial)))
            self._unsolved = [k for k, label in enumerate(labels) if task not in label or not label[task].success[-1]]
        self._read: dict[int, tuple[Context, Segment]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_read": {}}  # a copy reads what it needs anew, and reads the same

    def __len__(self) -> int:
        """Number of initial states."""
        return 0 if self._initial is None else len(self._initial)

    def resolve(self, options: Mapping[str, Any] | None, rng: np.random.Generator) -> tuple[Context, Segment]:
        """What the reset options begin with, by default a drawn initial state, and its latents (one row).

        Raises:
            ValueError: Unknown options, options that exclude each other, or values of a wrong shape.
            CheckpointError: An initial state is needed and the checkpoint has none.
        """
        options = dict(options or {})
        if unknown := options.keys() - set(OPTIONS):
            raise ValueError(
                f"Unknown reset options {sorted(unknown)}; a learned world takes {', '.join(OPTIONS)}, goal"
            )
        sources = sorted(SOURCES & options.keys())
        if len(sources) > 1:
            raise ValueError(f"Reset options {sources} exclude each other: give one start")
        for name, companion in NEEDS.items():
            if name in options and companion not in options:
                raise ValueError(f'Reset option "{name}" needs "{companion}" beside it')
        read = None
        if "frames" in options:
            context = self._from_arrays(options)
        elif "episode" in options:
            context = self._from_episode(str(options["episode"]), options.get("step"))
        else:
            context, read = self._from_bank(int(options["bank"]) if "bank" in options else self._draw(rng))
        if "properties" in options:
            # Drawn after the start, so that a seed names the same start with and without random properties.
            context, read = self._told(context, options["properties"], rng), None
        read = self._encode(context) if read is None else read
        return self._complete(context, read), read

    def _complete(self, context: Context, read: Segment) -> Context:
        """A context of all views: of one that was given the main view alone, the others as drawn."""
        width = context.frames.shape[2]
        if width == self._model.config.tokenizer.frame[1]:
            return context
        frames = self._model.detokenize(read.codes[0]).cpu().numpy()
        frames[:, :, :width] = context.frames
        return replace(context, frames=frames)

    def _told(self, context: Context, requested: Mapping[str, float] | str, rng: np.random.Generator) -> Context:
        """A context with the properties that somebody asks for; what nobody says is the domain's default."""
        defaults = {**context.properties, **self._domain.property_defaults}
        ranges = self.property_ranges
        return replace(context, properties=resolve_properties(requested, defaults, ranges, rng, self._slack))

    @property
    def property_ranges(self) -> Ranges:
        """Least and greatest value of every physics property that the model is conditioned on."""
        config, statistics = self._model.config, self._model.statistics
        bounds = zip(statistics.properties_low.tolist(), statistics.properties_high.tolist(), strict=True)
        of_data = dict(zip(config.properties, bounds, strict=True))
        return {name: self._domain.property_ranges.get(name, of_data[name]) for name in config.properties}

    @property
    def property_defaults(self) -> Mapping[str, float]:
        """Values of those that nobody asks for, where they are not what was recorded."""
        return self._domain.property_defaults

    def changed(self, properties: Mapping[str, float], requested: Mapping[str, float]) -> dict[str, float]:
        """Properties of an episode with those that somebody asks for, while it goes on.

        Raises:
            ValueError: An unknown name, or a value outside its range.
        """
        return resolve_properties(requested, properties, self.property_ranges, np.random.default_rng(), self._slack)

    @property
    def _slack(self) -> float:
        return 0.0 if self._domain.property_ranges else SLACK

    def _draw(self, rng: np.random.Generator) -> int:
        if not self._unsolved:
            lack = "has no bank of start states" if self._initial is None else "has only solved start states"
            raise CheckpointError(
                f"{self._model.config.name} {lack} ({BANK_FILE}): "
                'give a start with reset(options={"episode": "FILE:K"}) or {"frames": ..., "telemetry": ...}'
            )
        return self._unsolved[int(rng.integers(len(self._unsolved)))]

    def _from_bank(self, index: int) -> tuple[Context, Segment]:
        if not 0 <= index < len(self):
            raise ValueError(f"bank must be an index from 0 to {len(self) - 1}, got {index}")
        if index not in self._read:
            assert self._initial is not None
            context = cut(self._initial, index, self._initial.lengths[index], self._model.config.cameras)
            # As in the twin, physics is the default one unless the options say otherwise, whatever was recorded.
            defaults = self._domain.property_defaults
            context.properties.update({name: defaults[name] for name in defaults.keys() & context.properties.keys()})
            self._read[index] = context, self._encode(context)
        return self._read[index]

    def _from_episode(self, place: str, step: int | None) -> Context:
        path, k = split_place(place)
        with EpisodeFile(path) as file:
            check_fit(self._model, file.schema, path)
            if k >= len(file):
                raise ValueError(f"{path} has {len(file)} episodes, number {k} is not among them")
            step = CONTEXT - 1 if step is None else int(step)
            if not 0 <= step <= file.lengths[k]:
                raise ValueError(f"step must be from 0 to {file.lengths[k]}, the last frame of {place}, got {step}")
            return cut(file, k, step, self._model.config.cameras)

    def _from_arrays(self, options: Mapping[str, Any]) -> Context:
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
        nothing = np.zeros((len(frames) - 1, c.dynamics.actions), np.float32)
        actions = np.array(options.get("actions", nothing), np.float32, order="C")
        for name, value in (("telemetry", telemetry), ("actions", actions)):
            if not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite numbers")
        return Context(frames, telemetry, actions, {})

    def _encode(self, context: Context) -> Segment:
        # Row by row even in a batch, so that a context has the same latents everywhere.
        config = self._model.config
        values = [context.properties.get(name, np.nan) for name in config.properties]
        low, high = (np.array(b, np.float32) for b in (config.schema.telemetry_low, config.schema.telemetry_high))
        return self._model.read(
            torch.from_numpy(context.frames)[None],
            torch.from_numpy(context.telemetry.clip(low, high))[None],
            torch.from_numpy(context.actions)[None],
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


def cut(file: EpisodeFile, k: int, step: int, cameras: Sequence[str]) -> Context:
    """Frame `step` of an episode and the up to CONTEXT - 1 frames before it."""
    episode = file.read(k, max(0, step + 1 - CONTEXT), step + 1, cameras=cameras)
    return Context(side_by_side(episode.frames, cameras), episode.telemetry, episode.actions, episode.properties)
