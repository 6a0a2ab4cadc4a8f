"""What the phases of training have in common, and those that learn from single frames: tokenizer, locator, depth.

What comes after what is learned on windows, in worlds with tracked objects (`tracked_phases.py`) as in those without
(`sighted_phases.py`). Batches are drawn by step number, so that a resumed run sees the same ones. The loss on held-out
episodes is always taken on the same batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from gwm_sim.data.episode_file import DEPTH_UNIT
from gwm_sim.model.state import Segment
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import TrainingData, WindowSampler

SEES_FRAMES = ("tokenizer.", "locator.", "depth_head.")  # the parts that learn from single frames
DRAWS = "dynamics.painter."
LOCATOR_WEIGHT = 2.0  # [1/m], of the position error beside the reconstruction loss
HELD_OUT_BATCHES = 4  # on which a loss on held-out episodes is taken


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
    bodies_per_batch: int = 64
    rollouts: tuple[int, ...] = (20,)
    free_after: float = 0.3
    """Progress after which bodies go on from their own predictions in three of four steps; 0 for a model that already
    has."""

    def enlarged(self, times: int) -> Preset:
        """The same with batches so many times as large."""
        sizes = {name: times * getattr(self, name) for name in vars(self) if name.endswith("_per_batch")}
        return replace(self, **sizes)


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
        bodies_per_batch=8,
        rollouts=(8,),
    ),
}


class Phase(Protocol):
    """One stage of training: what is optimised, and the loss of a step."""

    name: str
    rate: float  # peak learning rate

    def parameters(self) -> list[tuple[str, nn.Parameter]]: ...

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]: ...


class WatchedPhase(Phase, Protocol):
    """A phase that can be measured on episodes it does not learn from."""

    held_out: WindowSampler | None  # None if these episodes are too short

    def held_out_loss(self) -> Tensor: ...


class TokenizerPhase:
    """Single frames: their reconstruction, and where the objects are in them."""

    name = "tokenizer"
    rate = 1.5e-3

    def __init__(self, model: WorldModel, data: TrainingData, preset: Preset, seed: int) -> None:
        self.model, self.data, self.preset, self.seed = model, data, preset, seed
        self.starts, self.held_out = data.sampler(1, seen=True), data.held_out_sampler(1, seen=True)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.model.named_parameters() if name.startswith(SEES_FRAMES)]

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self.read(self.starts, batch_generator(self.seed, step))

    def held_out_loss(self) -> Tensor:
        return held_out_loss(self.held_out, lambda held_out, step: self.read(held_out, batch_generator(0, step)))

    def read(self, starts: WindowSampler, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        model, device = self.model, self.model.device
        index = starts.draw(self.preset.frames_per_batch, generator)
        frames = self.data.frames[index].to(device)
        features = model.tokenizer.features(frames)
        total, parts = model.tokenizer.loss(frames, features)
        if model.locator is not None:
            error = misplacement(model, self.data, index, features)
            total = total + LOCATOR_WEIGHT * error
            parts["located_mm"] = 1000 * error.detach()
        return total, parts


class LocatorPhase:
    """Where the objects are in single frames, with the tokenizer as it is."""

    name = "locator"
    rate = 1e-3

    def __init__(self, model: WorldModel, data: TrainingData, preset: Preset, seed: int) -> None:
        self.model, self.data, self.preset, self.seed = model, data, preset, seed
        self.starts, self.held_out = data.sampler(1, seen=True), data.held_out_sampler(1, seen=True)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.model.named_parameters() if name.startswith("locator.")]

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self.locate(self.starts, batch_generator(self.seed, step))

    def held_out_loss(self) -> Tensor:
        return held_out_loss(self.held_out, lambda held_out, step: self.locate(held_out, batch_generator(0, step)))

    def locate(self, starts: WindowSampler, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        index = starts.draw(2 * self.preset.frames_per_batch, generator)
        with torch.no_grad():
            main = self.data.frames[index, :, : self.model.config.tokenizer.width]
            features = self.model.tokenizer.features(main.to(self.model.device))
        error = misplacement(self.model, self.data, index, features)
        return error, {"located_mm": 1000 * error.detach()}


class DepthPhase:
    """The depth of what the main camera sees, from the codes of single frames, with the tokenizer as it is."""

    name = "depth"
    rate = 1.5e-3

    def __init__(self, model: WorldModel, data: TrainingData, codes: Tensor, preset: Preset, seed: int) -> None:
        assert model.depth_head is not None
        self.model, self.data, self.codes, self.preset, self.seed = model, data, codes, preset, seed
        self.head = model.depth_head
        spared = data.held_out()[data.episode_of(data.measured)]  # which of the measured frames are not learned from
        self.starts, self.held_out = (
            WindowSampler(which, torch.ones(len(which))) if len(which) else None
            for which in (torch.nonzero(~spared).flatten(), torch.nonzero(spared).flatten())
        )
        middle = data.depth[torch.linspace(0, len(data.depth) - 1, 256).long()].float().median(dim=0).values
        self.head.background.copy_(middle.permute(2, 0, 1) * DEPTH_UNIT)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.model.named_parameters() if name.startswith("depth_head.")]

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        assert self.starts is not None
        return self.measure(self.starts, batch_generator(self.seed, step))

    def held_out_loss(self) -> Tensor:
        return held_out_loss(self.held_out, lambda held_out, step: self.measure(held_out, batch_generator(0, step)))

    def measure(self, starts: WindowSampler, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        device = self.model.device
        chosen = starts.draw(self.preset.frames_per_batch, generator)
        grid = self.model.tokenizer.unpack(self.codes[self.data.measured[chosen]].to(device))[:, 0]
        return self.head.loss(grid, self.data.depth[chosen].to(device) * DEPTH_UNIT)


def misplacement(model: WorldModel, data: TrainingData, index: Tensor, features: Tensor) -> Tensor:
    """Mean absolute error [m] of the positions that are read from some frames, per coordinate."""
    assert model.locator is not None
    found = model.locator(features[:, 0], data.telemetry[index].to(model.device), model.dynamics)
    return (found - data.objects[index].to(model.device)).abs().mean()


@torch.no_grad()
def held_out_loss(
    held_out: WindowSampler | None, loss: Callable[[WindowSampler, int], tuple[Tensor, dict[str, Tensor]]]
) -> Tensor:
    """Mean of the losses of `HELD_OUT_BATCHES` steps on held-out windows."""
    assert held_out is not None
    return torch.stack([loss(held_out, step)[0] for step in range(HELD_OUT_BATCHES)]).mean()


def batch_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step: a resumed run draws the same ones."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def crop(segment: Segment, time: slice | Tensor) -> Segment:
    """Some of the frames along time: a stretch, or the moments (M,)."""
    return Segment(*(value if name == "properties" else value[:, time] for name, value in segment._asdict().items()))


def to_device(segment: Segment, device: torch.device) -> Segment:
    return Segment(*(value.to(device, non_blocking=True) for value in segment))


def drop_properties(segment: Segment, generator: torch.Generator) -> Segment:
    """Make the properties of one row in four unknown, so that "unknown" is a valid condition."""
    known = torch.rand(len(segment.properties), 1, generator=generator) > 0.25
    return segment._replace(properties=torch.where(known, segment.properties, torch.nan))
