"""What is learned where objects are tracked: bodies and task head over whole rollouts, and how to draw them."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.latents import choose
from gwm_sim.model.object_dynamics import ObjectDynamics
from gwm_sim.model.state import PhysicalState, Segment, previous
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.cuda_graph import Capture
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.phases.phase import (
    DRAWS,
    SEES_FRAMES,
    Preset,
    batch_generator,
    crop,
    drop_properties,
    held_out_loss,
    to_device,
)

JITTER = 0.0005  # of positions that the locator reads, from frame to frame [m]
BLIND = 0.4  # share of the pictures that the painter draws from the body alone
OWN_DRAWINGS = 4  # the painter goes on from up to that many of its own pictures
OUTLIER = 10.0  # usual changes, beyond which an error counts for its logarithm: a rollout that is lost teaches little
SPREAD_WEIGHT = 0.05  # of its loss, beside that of the positions
SURE = 5.0  # usual changes within which an imagined body is near enough to the true one to share its labels


class RendererPhase:
    """Pictures of bodies: what the camera sees when robot and objects are where they are said to be.

    Drawn blind, or with the past picture in view, which is a real one or one that the painter drew itself.
    """

    name = "painter"
    rate = 1e-3

    def __init__(self, model: WorldModel, data: TrainingData, codes: Tensor, preset: Preset, seed: int) -> None:
        self.model, self.data, self.codes, self.preset, self.seed = model, data, codes, preset, seed
        length = OWN_DRAWINGS + 2
        self.starts, self.held_out = data.sampler(length, seen=True), data.held_out_sampler(length, seen=True)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.model.named_parameters() if name.startswith(DRAWS)]

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self.paint(self.starts, batch_generator(self.seed, step), step)

    def held_out_loss(self) -> Tensor:
        return held_out_loss(self.held_out, lambda held_out, step: self.paint(held_out, batch_generator(0, step), step))

    def paint(self, starts: WindowSampler, generator: torch.Generator, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        dynamics, drawings = self.model.dynamics, step % (OWN_DRAWINGS + 1)
        first = starts.draw(self.preset.windows_per_batch * self.preset.frames_per_window // 2, generator)
        frames, _, _ = self.data.batch(self.codes, first, drawings + 2)
        frames = to_device(misplace(frames, generator), self.model.device)
        moments = [crop(frames, slice(t, t + 1)) for t in range(drawings + 2)]
        bodies = [PhysicalState(moment.telemetry, moment.objects) for moment in moments]
        past = moments[0]
        with torch.no_grad():
            for t in range(drawings):
                codes = choose(dynamics.next_picture(bodies[t + 1], past)[:, 0], None)[:, None]
                past = moments[t + 1]._replace(codes=codes, previous_codes=past.codes)
        blind = torch.rand(len(first), 1, generator=generator).to(self.model.device) < BLIND
        logits = dynamics.painter.render_mixed(dynamics.conditioning(bodies[-1], past), past, blind)
        image = F.cross_entropy(logits.flatten(0, -2), moments[-1].codes.long().flatten())
        return image, {"image": image.detach()}


class ObjectDynamicsPhase:
    """Robot and tracked objects, followed over whole rollouts, and the task head on what comes out.

    The gradient goes through all steps of a rollout. Rollouts of several lengths take turns: long ones know what comes
    of an error, and short ones fit into every episode.
    """

    name = "dynamics"
    rate = 1e-3

    def __init__(self, model: WorldModel, data: TrainingData, preset: Preset, seed: int) -> None:
        assert isinstance(model.dynamics, ObjectDynamics)
        self.model, self.data, self.preset, self.seed = model, data, preset, seed
        self.dynamics = model.dynamics
        self.starts = [data.sampler(length) for length in preset.rollouts]
        self.held_out = data.held_out_sampler(preset.rollouts[-1])
        self.captured: dict[tuple[bool, int, int], Capture] = {}

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        named = self.model.named_parameters()
        return [(name, p) for name, p in named if not name.startswith((*SEES_FRAMES, DRAWS))]

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        starts = self.starts[step // 4 % len(self.starts)]  # each length is followed freely in three steps of four
        free = progress >= self.preset.free_after and step % 4 != 0
        return self.follow(starts, batch_generator(self.seed, step), free)

    def held_out_loss(self) -> Tensor:
        return held_out_loss(
            self.held_out, lambda held_out, step: self.follow(held_out, batch_generator(0, step), free=True)
        )

    def follow(self, starts: WindowSampler, generator: torch.Generator, free: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of some windows, which after their context go on from true bodies or, `free`, from predicted ones."""
        batch = self.draw(starts, generator, free)
        if self.model.device.type != "cuda" or not torch.is_grad_enabled():
            return self.weigh(free, *batch)
        kind = free, starts.length, len(batch)
        if kind not in self.captured:
            self.captured[kind] = Capture(self.model, partial(self.weigh, free), batch)
        return self.captured[kind].replay(batch)

    def draw(self, starts: WindowSampler, generator: torch.Generator, free: bool) -> tuple[Tensor, ...]:
        """Some windows: frames as they are and as shown, reward, success, and noise where futures are drawn."""
        first = starts.draw(self.preset.bodies_per_batch, generator)
        frames, reward, success = self.data.batch(None, first, starts.length)
        frames = drop_properties(misplace(frames, generator), generator)
        tensors = [*frames, *jitter(frames, generator), reward, success]
        # With chance, half of the steps learn two futures each, and half the most likely one.
        if self.dynamics.config.noise and free and torch.rand((), generator=generator) < 0.5:
            tensors += [self.noise(len(first), starts.length, generator) for _ in range(2)]
        return tuple(tensor.to(self.model.device, non_blocking=True) for tensor in tensors)

    def weigh(self, free: bool, *batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of what `draw` drew."""
        width = len(Segment._fields)
        true, shown = Segment(*batch[:width]), Segment(*batch[width : 2 * width])
        reward, success, *noises = batch[2 * width :]
        future = crop(true, slice(1, None))
        made, spread = self.roll(true, shown, free, noises[0] if noises else None)
        telemetry, objects, likelihood = self.distance(made, spread, future)
        if noises:
            other, _ = self.roll(true, shown, free, noises[1])
            telemetry, objects = self.score(made, other, future)
        total = telemetry + objects + SPREAD_WEIGHT * likelihood
        parts = {"telemetry": telemetry.detach(), "objects": objects.detach(), "spread": likelihood.detach()}
        if self.model.task_head is not None:
            lived = live(shown, made) if free else shown
            judged = self.judge(lived, true, reward, success)
            total = total + judged[0] + 0.2 * judged[1]
            parts |= {"reward": judged[0].detach(), "success": judged[1].detach()}
        return total, parts

    def noise(self, rows: int, length: int, generator: torch.Generator) -> Tensor:
        """What chance has for windows of `length` frames, (B, length - 1, 1 + K, noise)."""
        c = self.dynamics.config
        shape = (rows, length - 1, 1 + c.objects, c.noise)
        noise = torch.randn(shape, generator=generator)
        noise[:, : CONTEXT - 1] = 0  # what was seen was not left to chance
        return noise

    def roll(self, true: Segment, shown: Segment, free: bool, noise: Tensor | None) -> tuple[PhysicalState, Tensor]:
        """The bodies predicted for all frames but the first, and their spread; see `follow`."""

        def chance(moments: slice) -> Tensor | None:
            return None if noise is None else noise[:, moments]

        given = crop(shown, slice(None, CONTEXT if free else -1))
        count = given.actions.shape[1]
        memory = self.dynamics.blank_memory(len(given.actions))
        body, spread, memory = self.dynamics.advance(given, memory, rest=False, noise=chance(slice(None, count)))
        bodies, spreads, present = [body], [spread], crop(given, slice(-1, None))
        for t in range(count, true.actions.shape[1] - 1):
            moment = slice(t, t + 1)
            last = PhysicalState(body.telemetry[:, -1:], body.objects[:, -1:])
            present = follower(present, last, crop(true, moment))
            body, spread, memory = self.dynamics.advance(present, memory, rest=False, noise=chance(moment))
            bodies.append(body)
            spreads.append(spread)
        made = PhysicalState(*(torch.cat(parts, dim=1) for parts in zip(*bodies, strict=True)))
        return made, torch.cat(spreads, dim=1)

    def score(self, one: PhysicalState, other: PhysicalState, target: Segment) -> tuple[Tensor, Tensor]:
        """How badly two sampled futures speak for the true one: the energy score (Gneiting and Raftery, 2007).

        It is least where futures are drawn as often as they come true. Each object's position counts as a whole, each
        number of the telemetry for itself.
        """
        change, scale = self.dynamics.telemetry_change, self.dynamics.objects_change

        def apart(a: PhysicalState | Segment, b: PhysicalState | Segment) -> tuple[Tensor, Tensor]:
            telemetry = (a.telemetry - b.telemetry).abs() / change
            objects = ((a.objects - b.objects) / scale).square().sum(dim=-1).add(1e-6).sqrt()
            return robust(telemetry).mean(), robust(objects).mean() / 3**0.5

        pairs = apart(one, target), apart(other, target), apart(one, other)
        telemetry, objects = ((a + b - c) / 2 for a, b, c in zip(*pairs, strict=True))
        return telemetry, objects

    def distance(self, physical: PhysicalState, spread: Tensor, target: Segment) -> tuple[Tensor, Tensor, Tensor]:
        """How far telemetry and objects are from the true ones, and how badly the spread says so."""
        telemetry = (physical.telemetry - target.telemetry).abs() / self.dynamics.telemetry_change
        objects = (physical.objects - target.objects).abs() / self.dynamics.objects_change  # (B, T, K, 3)
        spread = (spread / self.dynamics.objects_change).clamp_min(1e-2)[..., None]
        # Likelihood of a Laplace distribution, for its width only: what cannot be foreseen must not lose weight.
        likelihood = (objects.detach() / spread + spread.log()).mean()
        return robust(telemetry).mean(), robust(objects).mean(), likelihood

    def judge(self, lived: Segment, true: Segment, reward: Tensor, success: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the task head, where bodies are near enough to the true ones to share their labels."""
        head = self.model.task_head
        assert head is not None
        away = (lived.objects - true.objects).abs().amax(dim=(-2, -1)) / self.dynamics.objects_change  # (B, T)
        return head.loss(head(lived, self.dynamics), reward, success, (away < SURE).float()[..., None])


def follower(present: Segment, physical: PhysicalState, moment: Segment) -> Segment:
    """The frame after `present` with a predicted body; action and properties are those of `moment`."""
    return moment._replace(
        telemetry=physical.telemetry,
        objects=physical.objects,
        previous_telemetry=present.telemetry,
        previous_objects=present.objects,
    )


def live(shown: Segment, made: PhysicalState) -> Segment:
    """Frames that begin with the context that was shown and go on with what was made of it, without its gradient."""
    telemetry, objects = (
        torch.cat((known[:, :CONTEXT], predicted[:, CONTEXT - 1 :].detach()), dim=1)
        for known, predicted in ((shown.telemetry, made.telemetry), (shown.objects, made.objects))
    )
    return shown._replace(
        telemetry=telemetry, previous_telemetry=previous(telemetry), objects=objects, previous_objects=previous(objects)
    )


def misplace(segment: Segment, generator: torch.Generator) -> Segment:
    """Move the objects of each window by one small offset, as the locator does that starts a rollout."""
    b, _, k, _ = segment.objects.shape
    objects = segment.objects + 0.002 * torch.randn(b, 1, k, 3, generator=generator)  # [m]
    return segment._replace(objects=objects, previous_objects=previous(objects))


def jitter(segment: Segment, generator: torch.Generator) -> Segment:
    """Objects a little off, as the locator sees them in real frames."""
    objects = segment.objects + JITTER * torch.randn(segment.objects.shape, generator=generator)
    return segment._replace(objects=objects, previous_objects=previous(objects))


def robust(error: Tensor) -> Tensor:
    """Absolute errors, in usual changes, those of lost rollouts by their logarithm."""
    return OUTLIER * torch.log1p(error / OUTLIER)
