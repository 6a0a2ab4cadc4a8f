"""Pictures of states, drawn from another real frame of the same episode and the state that it shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gwm_sim.model.config import DynamicsConfig
from gwm_sim.model.state import PhysicalState
from gwm_sim.model.tokenizer import to_images, worst_pixels
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import Preset
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.exemplars import keep_exemplars
from gwm_sim.training.phases.phase import MISPLACED, Loss, WorldModelPhase

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


class ReferenceRendererPhase(WorldModelPhase):
    """The renderer that draws from a reference, with the residual, on pairs of frames of one episode."""

    name = "painter"
    rate = 1.5e-3
    learned = ("renderer.", "residual_encoder.")

    def __init__(self, model: WorldModel, data: TrainingData, codes: Tensor, preset: Preset, seed: int) -> None:
        super().__init__(model, data, preset, seed)
        self.codes = codes
        self.off = MISPLACED[model.config.dynamics.object_frame]
        known = keep_exemplars(model, data) if model.config.dynamics.exemplars else torch.zeros(0, dtype=torch.long)
        self.exemplars_from = data.episode_of(known)

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        model, device = self.model, self.model.device
        wanted = windows.draw(self.preset.frames_per_batch // 2, generator)
        shown = self.reference(wanted, generator)
        views = model.config.tokenizer.views
        reference, true = (to_images(self.data.frames[index].to(device), views) for index in (shown, wanted))
        order = exchange(model.config.dynamics, generator)
        states = [self.state(index, order, generator) for index in (shown, wanted)]
        before, after = self.residuals((shown, wanted), states, generator)
        assert model.renderer is not None
        empty = model.tokenizer.backgrounds
        scenes = zip(states, (before, after), strict=True)
        spared = self.data.episode_of(wanted)[:, None] == self.exemplars_from
        drawn = model.renderer(reference, empty, *scenes, model.dynamics, spared.to(device))
        error = (drawn - true).abs()
        apart = (true - empty).abs().amax(dim=2, keepdim=True) + (true - reference).abs().amax(dim=2, keepdim=True)
        weighted = ((1 + CHANGED * apart) * error).mean()
        worst = worst_pixels(error.mean(dim=2).flatten(1)).mean()
        psnr = -10 * error.detach().square().mean().log10()
        return weighted + WORST * worst, {"weighted_l1": weighted.detach(), "worst": worst.detach(), "psnr": psnr}

    def reference(self, frames: Tensor, generator: torch.Generator) -> Tensor:
        """A frame of the same episode for each of some frames (B,)."""
        far = (torch.rand(len(frames), generator=generator) * math.log(FARTHEST)).exp().long()
        back = torch.rand(len(frames), generator=generator) < FORWARD
        episode = self.data.episode_of(frames)
        first, last = self.data.starts[episode], self.data.starts[episode] + self.data.lengths[episode] - 1
        return (frames + torch.where(back, -far, far)).clamp(first, last)

    def state(self, frames: Tensor, order: Tensor, generator: torch.Generator) -> PhysicalState:
        """The states of some frames (B,), a little off, with things in some order (K,)."""
        telemetry, objects = self.data.telemetry[frames], self.data.objects[frames][:, order]
        spread = NOISE * self.model.dynamics.telemetry_std.cpu()
        telemetry = telemetry + spread * torch.randn(telemetry.shape, generator=generator)
        objects = objects + self.off * torch.randn(objects.shape, generator=generator)
        return PhysicalState(telemetry.to(self.model.device), objects.to(self.model.device))

    def residuals(
        self, frames: Sequence[Tensor], states: Sequence[PhysicalState], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """What is told of the residuals of references and of what is drawn, (B, R): of the scene often those of the
        reference alone, so that they stand for what stays, sometimes none; always how things are turned."""
        model = self.model
        before, after = (
            model.unexplained(self.data.frames[i].to(model.device), self.codes[i].to(model.device), state.objects)
            for i, state in zip(frames, states, strict=True)
        )
        chance = torch.rand(2, len(before), 1, generator=generator).to(before.device)
        of_things = torch.arange(before.shape[1], device=before.device) >= model.config.dynamics.of_scene
        after = after.where((chance[0] > EARLIER) | of_things, before)
        blur = BLUR * torch.randn(2, *before.shape, generator=generator).to(before.device)
        told = (chance[1] > UNTOLD) | of_things
        return (before + blur[0]).where(told, 0.0), (after + blur[1]).where(told, 0.0)


def exchange(config: DynamicsConfig, generator: torch.Generator) -> Tensor:
    """An order (K,) in which things change places by chance with those of their kind: these are drawn alike."""
    kinds = torch.tensor(config.kinds or range(config.objects), dtype=torch.long)
    drawn = torch.randperm(len(kinds), generator=generator)
    order = torch.empty_like(drawn)
    order[kinds.argsort(stable=True)] = drawn[kinds[drawn].argsort(stable=True)]
    return order
