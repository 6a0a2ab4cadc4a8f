"""What training is asked for: the options of `gwm train`, the sizes of a preset, and how phases share the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gwm_sim.errors import ConfigError
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.protocol import CONTEXT

SHARES = {"tokenizer": 0.15, "locator": 0.15, "depth": 0.05, "dynamics": 0.45, "painter": 0.4, "reader": 0.05}
"""Parts of the budget; those of phases that are left out or that a model does not have go to the others."""

NEEDED = ("tokenizer", "dynamics", "painter")  # the locator learns with the tokenizer
ALL = (*NEEDED, "depth", "reader")

Route = Literal["auto", "objects", "video"]
"""How a model predicts: from robot, things and a residual, of which things must be known; or from pictures."""

Drawing = Literal["auto", "reference", "latents"]
"""How a model draws where its state is known: from the last real frame, or latents of the picture."""

FINE_TUNING = 0.3  # times the usual learning rates, when training starts from the weights of another model


@dataclass(frozen=True)
class Preset:
    """Sizes of a model and of its batches."""

    channels: int
    width: int
    layers: int
    heads: int
    head_width: int
    frames_per_batch: int = 32
    windows_per_batch: int = 8
    frames_per_window: int = 16
    attention_window: int = 12
    memory: int = 192
    pack: int = 2
    noise: int = 0
    found_in: int = 800  # updates in which points of the robot are found
    residual: int = 16
    reference: int = 32
    exemplars: int = 256  # of 64x64 pixels, fewer of larger ones
    rollouts_per_batch: int = 64
    postures_per_batch: int = 64
    rollouts: tuple[int, ...] = (20,)
    free_after: float = 0.3
    """Progress after which robot and objects go on from their own predictions in three of four steps; 0 for a model
    that already did."""

    @property
    def rows(self) -> tuple[int, ...]:
        """Of batches of which all others are multiples; tokenizer and renderer take half of the frames at once."""
        return self.frames_per_batch // 2, self.windows_per_batch, self.rollouts_per_batch, self.postures_per_batch


PRESETS = {
    "mini": Preset(channels=32, width=192, layers=6, heads=6, head_width=128),
    "preview": Preset(channels=32, width=192, layers=6, heads=6, head_width=128, frames_per_batch=8, pack=4, noise=8),
    "tiny": Preset(
        channels=8,
        width=32,
        layers=2,
        heads=2,
        head_width=32,
        frames_per_batch=16,
        windows_per_batch=4,
        frames_per_window=8,
        attention_window=6,
        memory=32,
        found_in=20,
        residual=4,
        reference=8,
        exemplars=8,
        rollouts_per_batch=8,
        rollouts=(8,),
    ),
}


@dataclass(frozen=True)
class TrainConfig:
    """Train a world model on episode files."""

    data: tuple[Path, ...]
    """Episode files, as made by `gwm collect` or `gwm import`."""
    out: Path
    """Folder of the run and of the finished model; all processes must see it."""
    motion: tuple[Path, ...] = ()
    """More episode files, of which only the motion of robot and objects is learned, not the pictures: those may look
    different, such as with `--rendering fast`."""
    path: Route = "auto"
    """How the model predicts: objects, from where robot and things are, measured or tracked; or video, from pictures
    alone, whatever is known of things. auto does as objects, with the robot alone where nothing is known of things."""
    drawing: Drawing = "auto"
    """How pictures are drawn where robot and things are known: reference, from the last real frame; or latents, which
    is for measured things alone. auto does as `init` does where things were measured, else as reference."""
    track: bool = True
    """Find the things in files that say nothing of objects, and learn where they are; needs the extra `track`. Its
    minutes are part of `minutes`. Tracked copies of the files are written to `out`."""
    weights: tuple[float, ...] = ()
    """How often the windows of each file are drawn, compared with those of the others; one number per file, those of
    `motion` last."""
    init: str | None = None
    """Shipped model, or folder of one, to start from; its sizes hold, and of the preset only the batches, the size of
    tokens of pictures of another size, and whether futures differ where they did not."""
    fresh: bool = False
    """Begin with random weights. Otherwise, without `init`, the tokenizer begins as that of gwm-mini, which saw a table
    with blocks, where it has the same size: it learns any other scene in half the time."""
    phases: tuple[str, ...] = ALL
    """What is learned: tokenizer (locator included), locator alone, depth (where it was measured), dynamics (with the
    task head), painter (of worlds with tracked objects), reader (which says of a goal picture how the robot stands in
    it). The others stay as they are in `init`, and their time goes to
    these: more motion of the same robot for the dynamics, more pictures for locator and painter; tokenizer and painter
    together learn to see a known world through other cameras. While the tokenizer stays, so does what was made for it,
    such as a guide."""
    preset: str = "mini"
    """Size of the model: mini, preview for pictures of 128 pixels, or tiny for trials and tests."""
    minutes: float | None = None
    """Budget in minutes, tracking and tokenizer included."""
    steps: int | None = None
    """Budget in optimiser steps instead of minutes, tokenizer included."""
    batch: int = 1
    """Size of the batches, as a multiple of the usual one, for a GPU. Where torchrun or accelerate launch starts
    several processes, it is that of all together, and they share each batch equally: with N GPUs, N keeps each as
    busy."""
    rollouts: tuple[int, ...] = ()
    """Frames of the rollouts that robot and tracked objects learn from, by default 20 of mini. Longer ones teach what
    comes of an error after seconds, but leave out episodes that are shorter: several lengths take turns."""
    rate: float | None = None
    """Learning rates, as a multiple of the usual ones; by default 1, and 0.3 with `init`."""
    patience: float = 0.25
    """Share of its budget after which a phase ends that got no better on validation episodes; its best weights are
    kept. 1 uses the whole budget and keeps the last weights."""
    resume: bool = False
    """Go on with the run in `out`, with any number of processes; begin one where there is none."""
    name: str = ""
    """Name of the model, in its card and in all that it is measured by; by default that of the folder."""
    camera: tuple[str, ...] = ("front",)
    """Camera that the model sees through, or several, the main one first; their pictures must have one size."""
    seed: int = 0
    """Seed of the initial weights and of the batches."""
    memory: float = 3.0
    """What the data may take of the memory of a process [GB]. Pictures that do not fit are read from the files whenever
    they are needed, and those used last are kept; what is learned does not depend on it."""
    device: str = "auto"
    """cpu, cuda or auto. Of several processes on a machine each takes a GPU of its own."""
    json: Path | None = None
    """File to write the closing numbers to."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"--preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        if (self.minutes is None) == (self.steps is None):
            raise ConfigError("give the budget either as --minutes M or as --steps N")
        budget = self.minutes if self.minutes is not None else self.steps
        if budget is not None and budget <= 0:
            raise ConfigError(f"the budget must be positive, got {budget}")
        if not self.phases or not set(self.phases) <= set(SHARES):
            raise ConfigError(f"--phases must be some of {', '.join(SHARES)}, got {' '.join(self.phases) or 'none'}")
        if self.kept and self.init is None:
            raise ConfigError(f"--phases leaves out {', '.join(self.kept)}: say by --init MODEL whose it should be")
        if self.batch < 1:
            raise ConfigError(f"--batch must be at least 1, got {self.batch}")
        if self.rollouts and min(self.rollouts) <= CONTEXT:
            raise ConfigError(f"--rollouts must be above the {CONTEXT} frames that are given, got {min(self.rollouts)}")
        if self.rate is not None and self.rate <= 0:
            raise ConfigError(f"--rate must be positive, got {self.rate:g}")
        if self.memory <= 0:
            raise ConfigError(f"--memory must be positive, in GB, got {self.memory:g}")
        if not 0 < self.patience <= 1:
            raise ConfigError(f"--patience must be above 0 and at most 1, got {self.patience:g}")

    @property
    def kept(self) -> tuple[str, ...]:
        """Phases that are left out."""
        return tuple(name for name in NEEDED if name not in self.phases)

    @property
    def sizes(self) -> Preset:
        """The preset, with batches and rollouts as they are asked for."""
        preset = PRESETS[self.preset]
        batches = {name: self.batch * size for name, size in vars(preset).items() if name.endswith("_per_batch")}
        return replace(preset, rollouts=self.rollouts or preset.rollouts, **batches)

    @property
    def learning_rate(self) -> float:
        """Learning rates, as a multiple of the usual ones."""
        return self.rate or (FINE_TUNING if self.init is not None else 1.0)

    def share(
        self, phase: str, model: WorldModelConfig, spent: Mapping[str, float] | None = None
    ) -> tuple[float | None, int | None]:
        """A phase's part of what is left of the budget, in seconds or in steps; `spent` says what earlier ones took."""
        spent = spent or {}
        absent = {"painter"} if model.dynamics.from_pixels else set()
        absent |= set() if model.depth else {"depth"}
        absent |= set() if model.heads.reader else {"reader"}
        part = SHARES[phase.partition("-")[0]] / sum(
            SHARES[name] for name in self.phases if name not in absent and name not in spent
        )
        if self.steps is not None:
            return None, max(1, round((self.steps - sum(spent.values())) * part))
        assert self.minutes is not None
        return max(0.0, self.minutes * 60 - sum(spent.values())) * part, None
