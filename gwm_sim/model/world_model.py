"""WorldModel: what the rest of the package knows of the model.

    state = model.encode(frames, telemetry, actions)      # a few real frames
    state = model.step(state, actions)                    # one imagined step
    frames = model.decode(state)                          # pictures, only when somebody looks

A state is a record of many worlds, of which each can be copied, selected and replaced alone (`state.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.dynamics import IMAGINED
from gwm_sim.model.heads import Locator, PictureLocator, PictureReader, TaskHead, nearest_order
from gwm_sim.model.latents import choose
from gwm_sim.model.rendering.pictures import PictureModel
from gwm_sim.model.residual import ResidualEncoder, TurnReader
from gwm_sim.model.state import PER_FRAME, PhysicalState, Rollout, Segment, Statistics, WorldState
from gwm_sim.model.threads import threads_for
from gwm_sim.model.tokenizer import to_images
from gwm_sim.model.uncertainty import risk, strangeness, together

FUTURE = 100_003  # seeds of a future per step


class WorldModel(PictureModel):
    """Tokenizer, dynamics and heads of one learned world."""

    calibration: Tensor  # (2,), expected error of a familiar start, and per unit of risk of a step

    def __init__(self, config: WorldModelConfig, statistics: Statistics | None = None) -> None:
        """Build a model with fresh weights; `statistics` come from the training data or from a checkpoint."""
        super().__init__(config, statistics)
        locator = PictureLocator if config.heads.in_picture else Locator
        self.locator = (
            locator(config.heads, self.tokenizer.channels, self.dynamics) if config.dynamics.objects else None
        )
        self.picture_reader = PictureReader(self.tokenizer.channels, self.statistics) if config.heads.reader else None
        numbers = config.dynamics.of_scene
        self.residual_encoder = ResidualEncoder(config.tokenizer, numbers) if numbers else None
        self.turn_reader = TurnReader(config.dynamics.objects) if config.dynamics.turns else None
        self.task_head = TaskHead(config.heads, self.dynamics) if config.heads.tasks else None
        self.register_buffer("calibration", torch.ones(2))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that reward and success are read for, in the order of the last axis of both."""
        return self.config.heads.tasks

    @property
    def work(self) -> dict[str, float]:
        """Products of one row in a step, in its picture, and in decoding that: by these threads are chosen."""
        of_view = self.tokenizer.work_of_decoding
        return {
            "step": self.dynamics.work,
            "picture": self.dynamics.work_of_picture if self.renderer is None else 0,
            "decoding": (of_view if self.renderer is None else self.renderer.work) * self.config.tokenizer.views,
        }

    # --- imagining ----------------------------------------------------------------------------------------------------

    def encode(
        self, frames: Tensor, telemetry: Tensor, actions: Tensor, properties: Tensor | None = None
    ) -> WorldState:
        """Start worlds from real frames.

        Args:
            frames: Context frames, the last one being the present, (B, C, H, V*W, 3) uint8: of several cameras the
                views side by side (`views.py`), or that of the main one alone; the others are then drawn.
            telemetry: Telemetry at those frames, (B, C, P).
            actions: Actions between them, (B, C-1, A).
            properties: Physics properties (B, Q) in the order of `config.properties`, NaN where unknown; None if none
            is known.

        Raises:
            ValueError: A shape does not fit the model.
        """
        return self.begin(self.read(frames, telemetry, actions, properties))

    @torch.no_grad()
    def read(self, frames: Tensor, telemetry: Tensor, actions: Tensor, properties: Tensor | None = None) -> Segment:
        """Latents and object positions of real frames: the first half of `encode`, with the same arguments."""
        c = self.config
        b, length = frames.shape[:2]
        alone = c.tokenizer.views > 1 and not c.dynamics.from_pixels and frames.shape[3:4] == (c.tokenizer.width,)
        width = c.tokenizer.width if alone else c.tokenizer.frame[1]
        expect_shape("frames", frames, (b, length, c.tokenizer.height, width, 3))
        expect_shape("telemetry", telemetry, (b, length, c.dynamics.telemetry))
        expect_shape("actions", actions, (b, length - 1, c.dynamics.actions))
        if frames.dtype != torch.uint8:
            raise ValueError(f"frames must be uint8 from 0 to 255, got {frames.dtype}")
        if properties is None:
            properties = torch.full((b, c.dynamics.properties), torch.nan)
        telemetry = telemetry.to(self.device, torch.float32)
        pictures, _ = self.in_usual_light(frames.to(self.device).flatten(0, 1))
        with threads_for(len(pictures) * self.tokenizer.work_of_features * (1 if alone else c.tokenizer.views)):
            features = self.tokenizer.features(pictures)
            codes = self.tokenizer.codes(features)
            objects = self.locate(features[:, 0], telemetry.flatten(0, 1)).unflatten(0, (b, length))
            objects = last_seen(objects, c.dynamics.kinds).flatten(0, 1)
            residual = self.unexplained(pictures, codes, objects)
        novelty = self.tokenizer.novelty(pictures, codes)
        if alone:
            physical = PhysicalState(telemetry.flatten(0, 1)[:, None], objects[:, None])
            codes = torch.cat((codes, self.unseen(physical, residual[:, None])), dim=1)
        codes, objects, novelty, residual = (x.unflatten(0, (b, length)) for x in (codes, objects, novelty, residual))
        present = torch.zeros(b, 1, c.dynamics.actions)  # the action of the last frame is not known yet
        actions = torch.cat((actions.cpu(), present), dim=1).to(self.device, torch.float32)
        properties = properties.to(self.device, torch.float32)
        segment = Segment.of(codes, telemetry, objects, actions, properties, novelty, residual)
        return segment._replace(reference=self.reference(codes[:, -1], frames[:, -1]))

    @torch.no_grad()
    def begin(self, context: Segment) -> WorldState:
        """Start worlds from frames that were read, the second half of `encode`; the last frame's action is not used. Of
        one that only its latents tell of, pictures are drawn from what these show."""
        b, length = context.telemetry.shape[:2]
        past = context.crop(slice(None, -1))
        with threads_for(b * (length - 1) * self.dynamics.work):
            memory = self.dynamics.remember(past) if length > 1 else self.dynamics.blank_memory(b)
        present = {name: getattr(context, name)[:, -1] for name in PER_FRAME}
        return WorldState(
            **present,
            reference=context.reference if context.reference.numel() else self.reference(present["codes"], None),
            reference_telemetry=present["telemetry"],
            reference_objects=present["objects"],
            reference_residual=present["residual"],
            properties=context.properties,
            uncertainty=self.calibration[0] * strangeness(context.novelty),
            drawn=torch.ones(b, dtype=torch.bool, device=self.device),
            age=torch.full((b,), length - 1, device=self.device),
            future=torch.full((b,), -1, device=self.device),
            memory=memory,
        )

    @torch.no_grad()
    def step(
        self, state: WorldState, actions: Tensor, generators: list[torch.Generator] | None = None, draw: bool = True
    ) -> WorldState:
        """Imagine one step.

        Args:
            state: Present worlds; left as they are.
            actions: Actions in the units of the data, (B, A).
            generators: One generator per row to sample what is left open: what happens, or of a model that foresees but
                one future the picture. None goes into `state.future`, by default the most likely one.
            draw: Whether the picture is wanted at every step. Where objects are tracked a world goes the same way
                without, several times as fast, and `decode` draws it when asked: from robot and objects alone, or from
                a reference, as it then always does.

        Returns:
            The worlds one step later.
        """
        return self.step_(replace(state, memory=state.memory.clone()), actions, generators, draw)

    @torch.no_grad()
    def step_(
        self, state: WorldState, actions: Tensor, generators: list[torch.Generator] | None = None, draw: bool = True
    ) -> WorldState:
        """As `step`, but reuses the memory of `state`, which must not be used afterwards."""
        expect_shape("actions", actions, (len(state), self.config.dynamics.actions))
        draw = (draw or self.config.dynamics.from_pixels) and self.renderer is None
        if draw:
            state = self.draw(state)
        noise = self.noise(state, generators)
        with threads_for(len(state) * self.dynamics.work):
            predicted, memory = self.dynamics.step(state.present(actions), state.memory, state.age, draw, noise)
        added = risk(predicted, state.objects, self.config.dynamics.from_pixels)
        # Where the physical states are left to chance, the picture is that of what became of them.
        sampled = generators if noise is None else None
        codes = state.codes if predicted.logits is None else choose(predicted.logits[:, 0], sampled)
        return replace(
            state,
            codes=codes,
            previous_codes=state.codes,
            telemetry=predicted.telemetry[:, 0],
            previous_telemetry=state.telemetry,
            objects=predicted.objects[:, 0],
            previous_objects=state.objects,
            residual=predicted.residual[:, 0],
            previous_residual=state.residual,
            orientations=state.orientations if predicted.orientations is None else predicted.orientations[:, 0],
            previous_orientations=state.orientations,
            corruption=torch.full_like(state.corruption, IMAGINED),
            uncertainty=together(state.uncertainty, self.calibration[1] * added),
            drawn=torch.full_like(state.drawn, draw),
            age=state.age + 1,
            memory=memory,
        )

    def noise(self, state: WorldState, generators: Sequence[torch.Generator] | None) -> Tensor | None:
        """What chance has for one step of each row, (B, 1, 1 + K, noise); None where nothing is left to it."""
        c = self.config.dynamics
        if not c.noise or (generators is None and (state.future < 0).all()):
            return None
        if generators is None:
            moments = zip(state.future.tolist(), state.age.tolist(), strict=True)
            drawn = [torch.Generator().manual_seed(seed * FUTURE + age) if seed >= 0 else None for seed, age in moments]
        else:
            drawn = list(generators)
        shape = (1, 1 + c.objects, c.noise)
        rows = [torch.zeros(shape) if g is None else torch.randn(shape, generator=g, device=g.device) for g in drawn]
        return torch.stack(rows).to(self.device)

    @torch.no_grad()
    def imagine(self, state: WorldState, actions: Tensor, judged: bool = True, draw: bool = True) -> Rollout:
        """Imagine T steps.

        Args:
            state: Present worlds; left as they are.
            actions: Actions in the units of the data, (B, T, A).
            judged: Whether reward and success are wanted; without, they have no tasks, (B, T, 0).
            draw: Whether pictures are wanted, see `step`.
        """
        state = replace(state, memory=state.memory.clone())
        steps = []
        for action in actions.unbind(dim=1):
            state = self.step_(state, action, draw=draw)
            if draw and self.renderer is not None:
                state = self.draw(state)
            verdict = self.judge(state) if judged else (state.telemetry[:, :0],) * 2
            known = state.codes, state.telemetry, state.objects, *verdict, state.uncertainty, state.residual
            steps.append((*known, state.orientations))
        codes, *told = (torch.stack(x, dim=1) for x in zip(*steps, strict=True))
        drawn = draw or self.config.dynamics.from_pixels
        codes = codes if drawn else codes[..., :0, :0]
        telemetry, objects, reward, success, uncertainty, residual, orientations = told
        return Rollout(codes, telemetry, objects, reward, success, uncertainty, residual, orientations, final=state)

    # --- reading pictures ---------------------------------------------------------------------------------------------

    @property
    def statistics(self) -> Statistics:
        """Scales of the data that the model learned from."""
        return Statistics(*(getattr(self.dynamics, name) for name in Statistics._fields))

    @property
    def feature_channels(self) -> int:
        """Channels of `features`."""
        return self.tokenizer.channels

    def features(self, frames: Tensor) -> Tensor:
        """What the tokenizer sees in the main view before it rounds, (B, channels, H/8, W/8)."""
        with threads_for(len(frames) * self.tokenizer.work_of_features):
            return self.tokenizer.features(self.in_usual_light(frames.to(self.device))[0])[:, 0]

    def locate(self, features: Tensor, telemetry: Tensor) -> Tensor:
        """Object positions (B, K, 3) [m], or in the image frame, from `features` and telemetry (B, P), NaN of what is
        absent; (B, 0, 3) where there are none."""
        if self.locator is None:
            return telemetry.new_zeros(len(telemetry), 0, 3)
        objects, there = self.locator.read(features, telemetry, self.dynamics)
        if self.config.dynamics.gaps and there is not None:
            objects = objects.where(there[..., None] > 0, torch.nan)
        return objects

    @torch.no_grad()
    def guess_telemetry(self, frames: Tensor) -> Tensor | None:
        """What the robot reports in pictures (B, H, W, 3) uint8 of the main view, or of all views, (B, P), as they
        show it; None where the model has not learned to read that."""
        return None if self.picture_reader is None else self.picture_reader(self.features(frames))

    def unexplained(self, frames: Tensor, codes: Tensor, objects: Tensor) -> Tensor:
        """Residuals (B, R) of frames (B, H, V*W, 3) uint8, of which also the latents (B, N, M) and the places of things
        (B, K, 3) are known; zeros for the whole scene where views are missing."""
        c = self.config
        residual = torch.zeros(len(codes), c.dynamics.residual, device=codes.device)
        if self.residual_encoder is not None and codes.shape[1] == c.tokenizer.tokens:
            whole = self.residual_encoder(self.tokenizer.unpack(codes))
            residual = torch.cat((whole, residual[:, c.dynamics.of_scene :]), dim=1)
        if self.turn_reader is not None:
            assert self.renderer is not None
            turns = self.turn_reader(self.beside(frames), *self.renderer.things(objects)).flatten(1)
            residual = torch.cat((residual[:, : c.dynamics.of_scene], turns), dim=1)
        return residual

    def beside(self, frames: Tensor) -> Tensor:
        """How the main view of frames (B, H, V*W, 3) uint8 differs from the empty scene, (B, 3, H, W)."""
        return to_images(frames[:, :, : self.config.tokenizer.width], views=1)[:, 0] - self.tokenizer.backgrounds[0]

    def novelty(self, frames: Tensor) -> Tensor:
        """How unfamiliar pictures (B, H, V*W, 3) look, (B,), about 1 for a familiar one."""
        frames, _ = self.in_usual_light(frames.to(self.device))
        return self.tokenizer.novelty(frames, self.tokenizer.encode(frames))

    # --- reading a state ----------------------------------------------------------------------------------------------

    def reward(self, state: WorldState) -> Tensor:
        """Dense reward of each task in [0, 1], (B, tasks)."""
        return self.judge(state)[0]

    def success(self, state: WorldState) -> Tensor:
        """Probability that each task is fulfilled at this instant, (B, tasks)."""
        return self.judge(state)[1]

    def objects(self, state: WorldState) -> Tensor:
        """Tracked object positions [m], (B, K, 3)."""
        return state.objects

    def uncertainty(self, state: WorldState) -> Tensor:
        """Expected error of a state, (B,): of object positions in [cm], in the image frame in [px], without objects
        of pixels in [grey levels].

        It starts with how unfamiliar the real frames look and grows with every imagined step in which something moves
        by what the dynamics expects to be wrong. The scale is fitted to validation episodes
        (`training/fitting/calibration.py`).
        """
        return state.uncertainty

    @torch.no_grad()
    def judge(self, state: WorldState) -> tuple[Tensor, Tensor]:
        """Reward and success probability in one pass, each (B, tasks)."""
        if self.task_head is None:
            nothing = state.telemetry.new_zeros(len(state), 0)
            return nothing, nothing
        none = state.telemetry.new_zeros(len(state), self.config.dynamics.actions)
        with threads_for(len(state) * self.task_head.work):
            reward, success = self.task_head(state.present(none), self.dynamics)
        return reward[:, 0].sigmoid(), success[:, 0].sigmoid()


def last_seen(objects: Tensor, kinds: Sequence[int]) -> Tensor:
    """Places (B, T, K, 3) of the same things in all frames, where those of one kind may be exchanged; the last one of
    what was there in an earlier frame and is not found in a later one."""
    places = list(objects.unbind(dim=1))
    for t in range(1, len(places)):
        now = places[t]
        if kinds:
            now = now.gather(1, nearest_order(now, places[t - 1], kinds)[..., None].expand_as(now))
        places[t] = now.where(now.isfinite(), places[t - 1])
    return torch.stack(places, dim=1)


def expect_shape(name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(value.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")


def check_fit(model: WorldModel, schema: Schema, source: str) -> None:
    """Refuse data that the model cannot be shown.

    Raises:
        ConfigError: Cameras, picture size, rate, telemetry or actions differ from those of the model.
    """
    name, cameras, trained = model.config.name, model.config.cameras, model.config.schema
    for camera in cameras:
        if camera not in schema.cameras:
            raise ConfigError(
                f"{source} has no camera {camera!r}, which {name} sees through; it has {list(schema.cameras)}"
            )
    given, expected = (
        {"picture size": [(value.cameras[camera].height, value.cameras[camera].width) for camera in cameras]}
        | {key: getattr(value, key) for key in ("rate", "telemetry_names", "action_names")}
        for value in (schema, trained)
    )
    for key in expected:
        if given[key] != expected[key]:
            raise ConfigError(f"{source} does not fit {name}: its {key} is {given[key]}, the model's {expected[key]}")
