"""What is learned where objects are tracked: robot, objects and task head, over whole rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gwm_sim.model.object_dynamics import RESIDUAL_CHANGE, ObjectDynamics
from gwm_sim.model.state import NextFrame, Segment
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.config import Preset
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.distributed import drawn, everywhere, mine, processes
from gwm_sim.training.phases.cuda_graph import Capture
from gwm_sim.training.phases.phase import (
    MISPLACED,
    POINTS,
    RENDERS,
    Loss,
    WorldModelPhase,
    batch_generator,
    drop_properties,
    judged,
    mean,
    misplace,
)

JITTER = 0.25  # of positions that the locator reads, from frame to frame, as a part of how far all are off
OUTLIER = 10.0  # usual changes, beyond which an error counts for its logarithm: a rollout that is lost teaches little
SPREAD_WEIGHT = 0.05  # of its loss, beside that of the positions
PRESENCE_WEIGHT = 0.1
SURE = 5.0  # usual changes within which an imagined state is near enough to the true one to share its labels


class ObjectDynamicsPhase(WorldModelPhase):
    """Robot and tracked objects, followed over whole rollouts, and the task head on what comes out.

    The gradient goes through all steps of a rollout. Rollouts of several lengths take turns: long ones know what comes
    of an error, and short ones fit into every episode.
    """

    name = "dynamics"
    rate = 1e-3
    learned = ("dynamics.", "task_head.")
    spared = (RENDERS, POINTS)

    def __init__(self, model: WorldModel, data: TrainingData, preset: Preset, seed: int) -> None:
        super().__init__(model, data, preset, seed, length=preset.rollouts[-1], seen=False)
        assert isinstance(model.dynamics, ObjectDynamics)
        self.dynamics = model.dynamics
        self.since = preset.free_after
        self.off = MISPLACED[model.config.dynamics.object_frame]
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
        replays = self.model.device.type == "cuda" and processes() == 1  # a graph that talks to others is untried
        if not replays or not torch.is_grad_enabled():
            return self.weigh(free, *batch)
        kind = free, windows.length, len(batch)
        if kind not in self.captured:
            self.captured[kind] = Capture(self.model, partial(self.weigh, free), batch)
        return self.captured[kind].replay(batch)

    def draw(self, windows: WindowSampler, generator: torch.Generator, free: bool) -> tuple[Tensor, ...]:
        """Some windows: frames as they are and as shown, reward, success, and noise where futures are drawn."""
        first = mine(windows.draw(self.preset.rollouts_per_batch, generator))
        segment, reward, success = self.data.batch(None, first, windows.length)
        segment = drop_properties(misplace(segment, generator, self.off), generator)
        confidence = self.data.confidence[first[:, None] + torch.arange(windows.length)]
        tensors = [*segment, *jitter(segment, generator, JITTER * self.off), reward, success, confidence]
        # With chance, half of the steps learn two futures each, and half the most likely one.
        if self.dynamics.config.noise and free and torch.rand((), generator=generator) < 0.5:
            tensors += [self.noise(len(first), windows.length, generator) for _ in range(2)]
        return tuple(tensor.to(self.model.device, non_blocking=True) for tensor in tensors)

    def weigh(self, free: bool, *batch: Tensor) -> Loss:
        """Loss of what `draw` drew."""
        width = len(Segment._fields)
        true, shown = Segment(*batch[:width]), Segment(*batch[width : 2 * width])
        reward, success, confidence, *noises = batch[2 * width :]
        future, surely = true.crop(slice(1, None)), confidence[:, 1:].square()
        made = self.roll(true, shown, free, noises[0] if noises else None)
        telemetry, objects, likelihood = self.distance(made, future, surely)
        if noises:
            telemetry, objects = self.score(made, self.roll(true, shown, free, noises[1]), future, surely)
        total = telemetry + objects + SPREAD_WEIGHT * likelihood
        parts = {"telemetry": telemetry.detach(), "objects": objects.detach(), "spread": likelihood.detach()}
        for name, extra in self.beside(made, future).items():
            total, parts[name] = total + extra, extra.detach()
        if self.model.task_head is not None:
            lived = live(shown, made) if free else shown
            verdicts = self.judge(lived, true, reward, success)
            total = total + verdicts[0] + 0.2 * verdicts[1]
            parts |= {"reward": verdicts[0].detach(), "success": verdicts[1].detach()}
        return total, parts

    def noise(self, rows: int, length: int, generator: torch.Generator) -> Tensor:
        """What chance has for windows of `length` frames, (B, length - 1, 1 + K, noise)."""
        c = self.dynamics.config
        shape = (rows, length - 1, 1 + c.objects, c.noise)
        noise = drawn(torch.randn, shape, generator=generator)
        noise[:, : CONTEXT - 1] = 0  # what was seen was not left to chance
        return noise

    def roll(self, true: Segment, shown: Segment, free: bool, noise: Tensor | None) -> NextFrame:
        """What is predicted of all frames but the first; see `follow`."""

        def chance(moments: slice) -> Tensor | None:
            return None if noise is None else noise[:, moments]

        given = shown.crop(slice(None, CONTEXT if free else -1))
        count = given.actions.shape[1]
        memory = self.dynamics.blank_memory(len(given.actions))
        made, memory = self.dynamics.advance(given, memory, rest=False, noise=chance(slice(None, count)))
        steps, present = [made], given.crop(slice(-1, None))
        for t in range(count, true.actions.shape[1] - 1):
            moment = slice(t, t + 1)
            present = follower(present, steps[-1], true.crop(moment))
            made, memory = self.dynamics.advance(present, memory, rest=False, noise=chance(moment))
            steps.append(made)
        return join(steps)

    def score(self, one: NextFrame, other: NextFrame, target: Segment, surely: Tensor) -> tuple[Tensor, Tensor]:
        """How badly two sampled futures speak for the true one: the energy score (Gneiting and Raftery, 2007).

        It is least where futures are drawn as often as they come true. Each object's position counts as a whole, each
        number of the telemetry for itself.
        """
        change, scale = self.dynamics.telemetry_change, self.dynamics.objects_change

        def apart(a: NextFrame | Segment, b: NextFrame | Segment) -> tuple[Tensor, Tensor]:
            telemetry = (a.telemetry - b.telemetry).abs() / change
            objects = (known(a.objects - b.objects) / scale).square().sum(dim=-1).add(1e-6).sqrt()
            return mean(robust(telemetry)), weighted(robust(objects), surely) / 3**0.5

        pairs = apart(one, target), apart(other, target), apart(one, other)
        telemetry, objects = ((a + b - c) / 2 for a, b, c in zip(*pairs, strict=True))
        return telemetry, objects

    def distance(self, made: NextFrame, target: Segment, surely: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far telemetry and objects are from the true ones, and how badly the spread says so; each object counts
        as `surely` (B, T, K) as it is where that is said to be."""
        telemetry = (made.telemetry - target.telemetry).abs() / self.dynamics.telemetry_change
        objects = known(made.objects - target.objects).abs() / self.dynamics.objects_change  # (B, T, K, 3)
        spread = (made.spread / self.dynamics.objects_change).clamp_min(1e-2)[..., None]
        # Likelihood of a Laplace distribution, for its width only: what cannot be foreseen must not lose weight.
        likelihood = weighted(objects.detach() / spread + spread.log(), surely)
        return mean(robust(telemetry)), weighted(robust(objects), surely), likelihood

    def beside(self, made: NextFrame, future: Segment) -> dict[str, Tensor]:
        """Losses of what only some worlds have, in their weights: a residual, turns and absent objects."""
        losses, c = {}, self.dynamics.config
        apart = robust((made.residual - future.residual).abs() / RESIDUAL_CHANGE)
        if c.of_scene:
            losses["residual"] = apart[..., : c.of_scene].mean()
        if c.turns:
            losses["turns"] = apart[..., c.of_scene :].mean()
        if made.presence is not None:
            there = future.objects[..., 0].isfinite().float()
            losses["presence"] = PRESENCE_WEIGHT * F.binary_cross_entropy_with_logits(made.presence, there)
        return losses

    def judge(self, lived: Segment, true: Segment, reward: Tensor, success: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the task head, where states are near enough to the true ones to share their labels."""
        head = self.model.task_head
        assert head is not None
        away = torch.zeros_like(lived.corruption)  # (B, T)
        if self.dynamics.config.objects:
            away = known(lived.objects - true.objects).abs().amax(dim=(-2, -1)) / self.dynamics.objects_change
        return head.loss(head(lived, self.dynamics), reward, success, (away < SURE).float()[..., None], judged(reward))


def follower(present: Segment, made: NextFrame, moment: Segment) -> Segment:
    """The frame after `present` as the last one of what was predicted; what is not predicted is that of `moment`, as
    is which objects are there."""
    objects = made.objects[:, -1:]
    objects = objects.where(objects.isfinite() & moment.objects.isfinite(), moment.objects)
    return moment._replace(
        telemetry=made.telemetry[:, -1:],
        objects=objects,
        residual=made.residual[:, -1:],
        previous_telemetry=present.telemetry,
        previous_objects=present.objects,
        previous_residual=present.residual,
    )


def join(steps: Sequence[NextFrame]) -> NextFrame:
    """What was predicted in turn, as one."""
    first = steps[0]._asdict()
    parts = {name: [getattr(step, name) for step in steps] for name, value in first.items() if value is not None}
    return steps[0]._replace(**{name: torch.cat(x, dim=1) for name, x in parts.items()})


def live(shown: Segment, made: NextFrame) -> Segment:
    """Frames that begin with the context that was shown and go on with what was made of it, without its gradient."""
    telemetry, objects, residual = (
        torch.cat((seen[:, :CONTEXT], predicted[:, CONTEXT - 1 :].detach()), dim=1)
        for seen, predicted in (
            (shown.telemetry, made.telemetry),
            (shown.objects, made.objects),
            (shown.residual, made.residual),
        )
    )
    return shown.changed(telemetry=telemetry, objects=objects, residual=residual)


def jitter(segment: Segment, generator: torch.Generator, off: float) -> Segment:
    """Objects a little off, as the locator sees them in real frames."""
    return segment.changed(
        objects=segment.objects + off * drawn(torch.randn, segment.objects.shape, generator=generator)
    )


def known(apart: Tensor) -> Tensor:
    """Differences, 0 where it is not known where an object is."""
    return apart.where(apart.isfinite(), 0.0)


def weighted(errors: Tensor, surely: Tensor) -> Tensor:
    """Mean of errors (B, T, K) or (B, T, K, 3) of objects that count as `surely` (B, T, K) as they are known."""
    if not errors.numel():
        return errors.sum()
    weights = surely if errors.dim() == surely.dim() else surely[..., None]
    return (errors * weights).mean() / everywhere(surely.mean()).clamp_min(1e-3)


def robust(error: Tensor) -> Tensor:
    """Absolute errors, in usual changes, those of lost rollouts by their logarithm."""
    return OUTLIER * torch.log1p(error / OUTLIER)
