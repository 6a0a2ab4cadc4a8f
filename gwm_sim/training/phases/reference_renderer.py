"""Pictures of states, drawn from another real frame of the same episode and the state that it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gwm_sim.model.config import DynamicsConfig
from gwm_sim.model.state import PhysicalState
from gwm_sim.model.tokenizer import to_images, worst_pixels
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import Preset
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.dataset.latents import Latents
from gwm_sim.training.distributed import drawn, everywhere, mine
from gwm_sim.training.fitting.exemplars import keep_exemplars
from gwm_sim.training.phases.phase import MISPLACED, VALIDATION_BATCHES, Loss, WorldModelPhase, batch_generator

FARTHEST = 60  # frames between a reference and what is drawn from it, at most; near ones are as frequent as far ones
FORWARD = 0.7  # share of the references that lie before what is drawn
CHANGED = (
    6.0  # extra loss weight of a pixel that differs from the empty scene, or from the reference, by the full range
)
WORST = 0.2  # weight of the mean error of the worst one percent of pixels
NOISE = 0.03  # of telemetry, as a share of its spread
UNTOLD = 0.15  # share of the pictures of which no residual is told
EARLIER = 0.5  # share of the pictures that are told the residual of the reference
BLUR = 0.05  # of a residual that is told


class Pairs(NamedTuple):
    """Some frames that are drawn from others, as images (B, V, 3, H, W) around 0."""

    reference: Tensor
    true: Tensor
    states: Sequence[PhysicalState]  # of both
    residuals: tuple[Tensor, Tensor]  # of both, (B, R)
    spared: Tensor  # (B, exemplars), which of these are of the same episode


class ReferenceRendererPhase(WorldModelPhase):
    """The renderer that draws from a reference, with the residual, on pairs of frames of one episode."""

    name = "painter"
    rate = 1.5e-3
    learned = ("renderer.", "residual_encoder.")

    def __init__(self, model: WorldModel, data: TrainingData, codes: Latents, preset: Preset, seed: int) -> None:
        super().__init__(model, data, preset, seed)
        self.codes = codes
        self.off = MISPLACED[model.config.dynamics.object_frame]
        known = keep_exemplars(model, data) if model.config.dynamics.exemplars else torch.zeros(0, dtype=torch.long)
        self.exemplars_from = data.episode_of(known)

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        pairs = self.draw(windows, generator)
        return self.compare(pairs, *self.told(*pairs.residuals, generator))

    @torch.no_grad()
    def worth(self) -> float:
        """By which share the loss on validation episodes falls where the residuals of the scene are told."""
        assert self.validation is not None
        losses = torch.zeros(2)
        for step in range(VALIDATION_BATCHES):
            pairs = self.draw(self.validation, batch_generator(0, step))
            of_things = self.of_things(pairs.residuals[0])
            for i, told in enumerate((True, False)):
                before, after = (x if told else x * of_things for x in pairs.residuals)
                losses[i] += self.compare(pairs, before, after)[0].cpu()
        losses = everywhere(losses)
        return float(1 - losses[0] / losses[1])

    def draw(self, windows: WindowSampler, generator: torch.Generator) -> Pairs:
        """Some frames, and others of their episodes as references."""
        model, device = self.model, self.model.device
        wanted = mine(windows.draw(self.preset.frames_per_batch // 2, generator))
        shown = self.reference(wanted, generator)
        views = model.config.tokenizer.views
        reference, true = (to_images(self.data.frames[index].to(device), views) for index in (shown, wanted))
        order = exchange(model.config.dynamics, generator)
        states = [self.state(index, order, generator) for index in (shown, wanted)]
        before, after = (
            model.unexplained(self.data.frames[i].to(device), self.codes[i].to(device), state.objects)
            for i, state in zip((shown, wanted), states, strict=True)
        )
        spared = self.data.episode_of(wanted)[:, None] == self.exemplars_from
        return Pairs(reference, true, states, (before, after), spared.to(device))

    def compare(self, pairs: Pairs, before: Tensor, after: Tensor) -> Loss:
        """Loss of what is drawn, where residuals (B, R) are told of references and of what is wanted."""
        model, (reference, true, states, _, spared) = self.model, pairs
        assert model.renderer is not None
        empty = model.tokenizer.backgrounds
        scenes = zip(states, (before, after), strict=True)
        drawn = model.renderer(reference, empty, *scenes, model.dynamics, spared)
        error = (drawn - true).abs()
        apart = (true - empty).abs().amax(dim=2, keepdim=True) + (true - reference).abs().amax(dim=2, keepdim=True)
        weighted = ((1 + CHANGED * apart) * error).mean()
        worst = worst_pixels(error.mean(dim=2).flatten(1)).mean()
        psnr = -10 * error.detach().square().mean().log10()
        return weighted + WORST * worst, {"weighted_l1": weighted.detach(), "worst": worst.detach(), "psnr": psnr}

    def reference(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """A frame of the same episode for each of some frames (B,)."""
        far = (drawn(torch.rand, frames.shape, generator=generator) * math.log(FARTHEST)).exp().long()
        back = drawn(torch.rand, frames.shape, generator=generator) < FORWARD
        episode = self.data.episode_of(frames)
        first, last = self.data.starts[episode], self.data.starts[episode] + self.data.lengths[episode] - 1
        return (frames + torch.where(back, -far, far)).clamp(first, last)

    def state(self, frames: Tensor, order: Tensor, generator: torch.Generator) -> PhysicalState:
        """The states of some frames (B,), a little off, with things in some order (K,)."""
        telemetry, objects = self.data.telemetry[frames], self.data.objects[frames][:, order]
        spread = NOISE * self.model.dynamics.telemetry_std.cpu()
        telemetry = telemetry + spread * drawn(torch.randn, telemetry.shape, generator=generator)
        objects = objects + self.off * drawn(torch.randn, objects.shape, generator=generator)
        return PhysicalState(telemetry.to(self.model.device), objects.to(self.model.device))

    def told(self, before: Tensor, after: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What is told of the residuals of references and of what is drawn, (B, R): of the scene often those of the
        reference alone, so that they stand for what stays, sometimes none; always how things are turned."""
        chance = drawn(torch.rand, (2, len(before), 1), dim=1, generator=generator).to(before.device)
        of_things = self.of_things(before)
        after = after.where((chance[0] > EARLIER) | of_things, before)
        blur = BLUR * drawn(torch.randn, (2, *before.shape), dim=1, generator=generator).to(before.device)
        told = (chance[1] > UNTOLD) | of_things
        return (before + blur[0]).where(told, 0.0), (after + blur[1]).where(told, 0.0)

    def of_things(self, residual: Tensor) -> Tensor:
        """Which of the numbers of residuals (B, R) are of single things, (R,)."""
        return torch.arange(residual.shape[1], device=residual.device) >= self.model.config.dynamics.of_scene


def exchange(config: DynamicsConfig, generator: torch.Generator) -> Tensor:
    """An order (K,) in which things change places by chance with those of their kind: these are drawn alike."""
    kinds = torch.tensor(config.kinds or range(config.objects), dtype=torch.long)
    drawn = torch.randperm(len(kinds), generator=generator)
    order = torch.empty_like(drawn)
    order[kinds.argsort(stable=True)] = drawn[kinds[drawn].argsort(stable=True)]
    return order
