"""What is learned where objects are tracked: robot, objects and task head, over whole rollouts."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from gwm_sim.model.object_dynamics import ObjectDynamics
from gwm_sim.model.state import PhysicalState, Segment
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.config import Preset
from gwm_sim.training.cuda_graph import Capture
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.phases.phase import (
    RENDERS,
    Loss,
    WorldModelPhase,
    batch_generator,
    drop_properties,
    mean,
    misplace,
)

JITTER = 0.0005  # of positions that the locator reads, from frame to frame [m]
OUTLIER = 10.0  # usual changes, beyond which an error counts for its logarithm: a rollout that is lost teaches little
SPREAD_WEIGHT = 0.05  # of its loss, beside that of the positions
SURE = 5.0  # usual changes within which an imagined state is near enough to the true one to share its labels


class ObjectDynamicsPhase(WorldModelPhase):
    """Robot and tracked objects, followed over whole rollouts, and the task head on what comes out.

    The gradient goes through all steps of a rollout. Rollouts of several lengths take turns: long ones know what comes
    of an error, and short ones fit into every episode.
    """

    name = "dynamics"
    rate = 1e-3
    learned = ("dynamics.", "task_head.")
    spared = (RENDERS,)

    def __init__(self, model: WorldModel, data: TrainingData, preset: Preset, seed: int) -> None:
        super().__init__(model, data, preset, seed, length=preset.rollouts[-1], seen=False)
        assert isinstance(model.dynamics, ObjectDynamics)
        self.dynamics = model.dynamics
        self.lengths = [data.samplers(length)[0] for length in preset.rollouts]
        self.captured: dict[tuple[bool, int, int], Capture] = {}

    def loss(self, step: int, progress: float) -> Loss:
        windows = self.lengths[step // 4 % len(self.lengths)]  # each length is followed freely in three steps of four
        free = progress >= self.preset.free_after and step % 4 != 0
        return self.follow(windows, batch_generator(self.seed, step), free)

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        return self.follow(windows, generator, free=True)

    def follow(self, windows: WindowSampler, generator: torch.Generator, free: bool) -> Loss:
        """Loss of some windows, which after their context go on from true states or, `free`, from predicted ones."""
        batch = self.draw(windows, generator, free)
        if self.model.device.type != "cuda" or not torch.is_grad_enabled():
            return self.weigh(free, *batch)
        kind = free, windows.length, len(batch)
        if kind not in self.captured:
            self.captured[kind] = Capture(self.model, partial(self.weigh, free), batch)
        return self.captured[kind].replay(batch)

    def draw(self, windows: WindowSampler, generator: torch.Generator, free: bool) -> tuple[Tensor, ...]:
        """Some windows: frames as they are and as shown, reward, success, and noise where futures are drawn."""
        first = windows.draw(self.preset.rollouts_per_batch, generator)
        segment, reward, success = self.data.batch(None, first, windows.length)
        segment = drop_properties(misplace(segment, generator), generator)
        tensors = [*segment, *jitter(segment, generator), reward, success]
        # With chance, half of the steps learn two futures each, and half the most likely one.
        if self.dynamics.config.noise and free and torch.rand((), generator=generator) < 0.5:
            tensors += [self.noise(len(first), windows.length, generator) for _ in range(2)]
        return tuple(tensor.to(self.model.device, non_blocking=True) for tensor in tensors)

    def weigh(self, free: bool, *batch: Tensor) -> Loss:
        """Loss of what `draw` drew."""
        width = len(Segment._fields)
        true, shown = Segment(*batch[:width]), Segment(*batch[width : 2 * width])
        reward, success, *noises = batch[2 * width :]
        future = true.crop(slice(1, None))
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
        """The physical states predicted for all frames but the first, and their spread; see `follow`."""

        def chance(moments: slice) -> Tensor | None:
            return None if noise is None else noise[:, moments]

        given = shown.crop(slice(None, CONTEXT if free else -1))
        count = given.actions.shape[1]
        memory = self.dynamics.blank_memory(len(given.actions))
        physical, spread, memory = self.dynamics.advance(given, memory, rest=False, noise=chance(slice(None, count)))
        states, spreads, present = [physical], [spread], given.crop(slice(-1, None))
        for t in range(count, true.actions.shape[1] - 1):
            moment = slice(t, t + 1)
            last = PhysicalState(physical.telemetry[:, -1:], physical.objects[:, -1:])
            present = follower(present, last, true.crop(moment))
            physical, spread, memory = self.dynamics.advance(present, memory, rest=False, noise=chance(moment))
            states.append(physical)
            spreads.append(spread)
        made = PhysicalState(*(torch.cat(parts, dim=1) for parts in zip(*states, strict=True)))
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
            return mean(robust(telemetry)), robust(objects).mean() / 3**0.5

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
        return mean(robust(telemetry)), robust(objects).mean(), likelihood

    def judge(self, lived: Segment, true: Segment, reward: Tensor, success: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the task head, where states are near enough to the true ones to share their labels."""
        head = self.model.task_head
        assert head is not None
        away = (lived.objects - true.objects).abs().amax(dim=(-2, -1)) / self.dynamics.objects_change  # (B, T)
        return head.loss(head(lived, self.dynamics), reward, success, (away < SURE).float()[..., None])


def follower(present: Segment, physical: PhysicalState, moment: Segment) -> Segment:
    """The frame after `present` with a predicted physical state; action and properties are those of `moment`."""
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
    return shown.changed(telemetry=telemetry, objects=objects)


def jitter(segment: Segment, generator: torch.Generator) -> Segment:
    """Objects a little off, as the locator sees them in real frames."""
    return segment.changed(objects=segment.objects + JITTER * torch.randn(segment.objects.shape, generator=generator))


def robust(error: Tensor) -> Tensor:
    """Absolute errors, in usual changes, those of lost rollouts by their logarithm."""
    return OUTLIER * torch.log1p(error / OUTLIER)
