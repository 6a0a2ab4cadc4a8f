"""The part of a world model that knows pictures: how they become latents, and how states become pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from gwm_sim.model.checkpoint import StoredModel
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.dynamics import Dynamics
from gwm_sim.model.heads import DepthHead
from gwm_sim.model.latents import choose
from gwm_sim.model.object_dynamics import ObjectDynamics
from gwm_sim.model.rendering.exposure import exposure, relit
from gwm_sim.model.rendering.reference_renderer import ReferenceRenderer
from gwm_sim.model.state import PhysicalState, Rollout, Statistics, WorldState
from gwm_sim.model.threads import threads_for
from gwm_sim.model.tokenizer import Tokenizer, to_frames, to_images
from gwm_sim.model.video_dynamics import VideoDynamics


class PictureModel(StoredModel):
    """Tokenizer, dynamics with its renderer or one that draws from a reference, and depth."""

    def __init__(self, config: WorldModelConfig, statistics: Statistics | None = None) -> None:
        """Build with fresh weights; `statistics` come from the training data or from a checkpoint."""
        super().__init__()
        self.config = config
        self.tokenizer = Tokenizer(config.tokenizer)
        kind = VideoDynamics if config.dynamics.from_pixels else ObjectDynamics
        scales = statistics or Statistics.blank(config.dynamics.telemetry, config.dynamics.properties)
        self.dynamics: Dynamics = kind(config.dynamics, scales)
        drawn = config.dynamics.reference > 0
        self.renderer = ReferenceRenderer(self.dynamics, config.tokenizer) if drawn else None
        self.depth_head = DepthHead(config.tokenizer) if config.depth else None

    @property
    def device(self) -> torch.device:
        return self.dynamics.telemetry_mean.device

    @torch.no_grad()
    def draw(self, state: WorldState) -> WorldState:
        """The same worlds with the latents of pictures that `step` left out."""
        if state.drawn.all():
            return state
        if self.renderer is not None:
            codes = self.tokenize(self.decode(state))
            return replace(state, codes=codes, drawn=torch.ones_like(state.drawn))
        physical = PhysicalState(state.telemetry[:, None], state.objects[:, None])
        before = PhysicalState(state.previous_telemetry[:, None], state.previous_objects[:, None])
        codes = self.render(physical, before)
        kept = state.drawn[:, None, None]
        return replace(
            state,
            codes=torch.where(kept, state.codes, codes),
            previous_codes=torch.where(kept, state.previous_codes, codes),
            drawn=torch.ones_like(state.drawn),
        )

    def render(self, physical: PhysicalState, before: PhysicalState) -> Tensor:
        """Latents (B, N, M) of pictures of which only the physical states (T = 1) are known."""
        with threads_for(len(physical.telemetry) * self.dynamics.work_of_picture):
            conditioning = self.dynamics.conditioning(physical, before)
            return choose(self.dynamics.painter.render_state(conditioning)[:, 0], None)

    def reference(self, codes: Tensor, frames: Tensor | None) -> Tensor:
        """What later pictures are drawn from, (B, H, V*W, 3) uint8: frames, whose missing views are those of latents
        (B, N, M); nothing, (B, 0, 0, 3), where they are drawn in another way."""
        if self.renderer is None:
            return codes.new_zeros(len(codes), 0, 0, 3)
        if frames is None or frames.shape[2] < self.config.tokenizer.frame[1]:
            shown = self.detokenize(codes)
            frames = shown if frames is None else torch.cat((frames, shown[:, :, frames.shape[2] :]), dim=2)
        return frames.to(self.device)

    def unseen(self, physical: PhysicalState, residual: Tensor) -> Tensor:
        """Latents (B, N', M) of all views but the main one, of which only physical states (T = 1) and residuals
        (B, 1, R) are known."""
        main = self.config.tokenizer.tokens // self.config.tokenizer.views
        if self.renderer is None:
            return self.render(physical, physical)[:, main:]
        empty = self.tokenizer.empty().expand(len(residual), -1, -1, -1)
        nothing = PhysicalState(physical.telemetry[:, 0], physical.objects[:, 0])
        drawn = self.drawn_from(empty, (nothing, residual[:, 0]), (nothing, residual[:, 0]))
        return self.tokenizer.encode(drawn)[:, main:]

    def drawn_from(
        self, reference: Tensor, shown: tuple[PhysicalState, Tensor], wanted: tuple[PhysicalState, Tensor]
    ) -> Tensor:
        """Pictures (B, H, V*W, 3) uint8 of `wanted` states and residuals (B, R), from references that are `shown`, in
        the light of these."""
        usual, light = self.in_usual_light(reference)
        return relit(self.drawn_in_usual_light(usual, shown, wanted), light)

    def drawn_in_usual_light(
        self, reference: Tensor, shown: tuple[PhysicalState, Tensor], wanted: tuple[PhysicalState, Tensor]
    ) -> Tensor:
        """The same from references that are as bright as the empty scene."""
        assert self.renderer is not None
        views = self.config.tokenizer.views
        with threads_for(len(reference) * views * self.renderer.work):
            images = to_images(reference, views)
            return to_frames(self.renderer(images, self.tokenizer.backgrounds, shown, wanted, self.dynamics))

    def in_usual_light(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (B, H, V*W, 3) uint8, of all views or the main one, as bright as the empty scene, and how many times
        as bright they were, (B, 1, V*W, 3). A world that draws latents takes them as they are."""
        light = frames.new_ones(1, dtype=torch.float32)
        if self.renderer is None:
            return frames, light
        c = self.config
        still = [not c.schema.cameras[name].moving for name in (c.camera, *c.others)]
        still = still[: frames.shape[2] // c.tokenizer.width]
        light = exposure(frames, self.tokenizer.empty()[:, : frames.shape[2]], still)
        return relit(frames, 1 / light), light

    def tokenize(self, frames: Tensor) -> Tensor:
        """Latents (B, N, M) uint8 of pictures (B, H, V*W, 3) uint8."""
        return self.tokenizer.encode(self.in_usual_light(frames.to(self.device))[0])

    def reconstruct(self, frames: Tensor) -> Tensor:
        """Pictures (B, H, V*W, 3) uint8 as latents keep them, in their own light."""
        usual, light = self.in_usual_light(frames.to(self.device))
        return relit(self.tokenizer.decode(self.tokenizer.encode(usual)), light)

    def detokenize(self, codes: Tensor) -> Tensor:
        """Pictures (..., H, V*W, 3) uint8 of latents (..., N, M)."""
        return self.tokenizer.decode(codes)

    def empty_scene(self) -> Tensor:
        """Picture of the scene without robot and objects, (H, V*W, 3) uint8."""
        return self.tokenizer.empty()

    @torch.no_grad()
    def decode(self, state: WorldState | Rollout) -> Tensor:
        """Pictures of a state, (B, H, V*W, 3) uint8, or of a rollout, (B, T, H, V*W, 3) uint8.

        Raises:
            ValueError: The rollout was imagined without pictures, and they cannot be drawn later.
        """
        if self.renderer is None:
            return self.tokenizer.decode(self.pictured(state))
        if isinstance(state, Rollout):
            return torch.stack([self.decode(moment) for moment in moments(state)], dim=1)
        shown = PhysicalState(state.reference_telemetry, state.reference_objects), state.reference_residual
        drawn = self.drawn_from(state.reference, shown, (PhysicalState(state.telemetry, state.objects), state.residual))
        real = (state.corruption == 0)[:, None, None, None]  # which the reference shows itself
        return torch.where(real, state.reference, drawn)

    @torch.no_grad()
    def depth(self, state: WorldState | Rollout) -> Tensor:
        """Depth of what the main camera sees in a state, (B, H, W, 1) [m], or in a rollout, (B, T, H, W, 1) [m].

        Raises:
            ValueError: The model predicts no depth, or the rollout was imagined without pictures.
        """
        if self.depth_head is None:
            raise ValueError(f"{self.config.name} predicts no depth")
        codes = self.pictured(state)
        grids = self.tokenizer.unpack(codes.flatten(0, -3))[:, 0]
        with threads_for(len(grids) * self.depth_head.work):
            return self.depth_head(grids).unflatten(0, codes.shape[:-2])

    def pictured(self, state: WorldState | Rollout) -> Tensor:
        """Latents of a state (B, N, M), drawn if need be, or of a rollout (B, T, N, M) that was drawn."""
        codes = state.codes if isinstance(state, Rollout) else self.draw(state).codes
        if not codes.numel():
            raise ValueError("this rollout was imagined without pictures: ask for them by imagine(..., draw=True)")
        return codes


def moments(rollout: Rollout) -> Iterator[WorldState]:
    """The worlds at each step of a rollout, as far as they are drawn from a reference."""
    for t in range(rollout.telemetry.shape[1]):
        shown = {name: getattr(rollout, name)[:, t] for name in ("telemetry", "objects", "residual")}
        yield replace(rollout.final, **shown)
