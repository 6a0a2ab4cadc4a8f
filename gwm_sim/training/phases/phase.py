"""What the phases of training have in common: what they learn, from which windows, and the loss of a step.

Batches are drawn by step number, so that a resumed run sees the same ones. The loss on validation episodes is always
taken on the same batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from gwm_sim.data.schema import ObjectFrame
from gwm_sim.model.state import Segment
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import Preset
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.distributed import drawn, everywhere

SEES_FRAMES = ("tokenizer.", "locator.", "depth_head.")  # the parts that learn from single frames
RENDERS = "dynamics.painter."
POINTS = "dynamics.robot_points."  # found beforehand, see `fitting/points.py`
MISPLACED: dict[ObjectFrame, float] = {"metres": 0.002, "image": 0.3}
"""How far the locator places objects from where they are, in [m] and in [px]."""
VALIDATION_BATCHES = 4  # on which a loss on validation episodes is taken

Loss = tuple[Tensor, dict[str, Tensor]]  # a scalar, and its parts by name


class Phase(Protocol):
    """One stage of training: what is optimised, and the loss of a step."""

    name: str
    rate: float  # peak learning rate

    def parameters(self) -> list[tuple[str, nn.Parameter]]: ...

    def loss(self, step: int, progress: float) -> Loss: ...


class WorldModelPhase(ABC):
    """A phase of a world model, which can be measured on episodes that it does not learn from."""

    name: str
    rate: float
    since: float = 0.0  # progress from which what is learned is what the loss on validation episodes measures
    learned: ClassVar[tuple[str, ...]]  # how the names of the weights begin that are learned,
    spared: tuple[str, ...] = ()  # but for those that begin so

    def __init__(
        self, model: WorldModel, data: TrainingData, preset: Preset, seed: int, length: int = 1, seen: bool = True
    ) -> None:
        """Learn from windows of `length` frames, `seen` ones if pictures are needed."""
        self.model, self.data, self.preset, self.seed = model, data, preset, seed
        self.windows, self.validation = data.samplers(length, seen)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """What is optimised, by name."""
        named = self.model.named_parameters()
        return [(n, p) for n, p in named if n.startswith(self.learned) and not n.startswith(self.spared)]

    def loss(self, step: int, progress: float) -> Loss:
        """Loss of a step on training episodes; progress is the share of the budget that is used."""
        return self.loss_on(self.windows, batch_generator(self.seed, step), step)

    @torch.no_grad()
    def validation_loss(self) -> Tensor:
        """Mean of the losses of `VALIDATION_BATCHES` steps on validation episodes."""
        assert self.validation is not None
        steps = range(VALIDATION_BATCHES)
        losses = [self.loss_on(self.validation, batch_generator(0, step), step)[0] for step in steps]
        return everywhere(torch.stack(losses).mean())

    @abstractmethod
    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        """Loss of this process's rows of a batch of some windows, late in the phase.

        Batches are of one size, so that the mean over processes is the loss of the whole batch.
        """


def batch_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step: a resumed run draws the same ones."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def mean(errors: Tensor) -> Tensor:
    """The mean, which is 0 of the telemetry of a robot that reports none."""
    return errors.mean() if errors.numel() else errors.sum()


def judged(reward: Tensor) -> Tensor:
    """Which share of the rewards (B, T, tasks) of the whole batch is known."""
    return everywhere((~reward.isnan()).float().mean())


def misplace(segment: Segment, generator: torch.Generator, off: float) -> Segment:
    """Move the objects of each window by one small offset, as the locator does that starts a rollout."""
    b, _, k, _ = segment.objects.shape
    return segment.changed(objects=segment.objects + off * drawn(torch.randn, (b, 1, k, 3), generator=generator))


def drop_properties(segment: Segment, generator: torch.Generator) -> Segment:
    """Make the properties of one row in four unknown, so that "unknown" is a valid condition."""
    known = drawn(torch.rand, (len(segment.properties), 1), generator=generator) > 0.25
    return segment._replace(properties=torch.where(known, segment.properties, torch.nan))
