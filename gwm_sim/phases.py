"""What each phase of training learns: tokenizer and locator on single frames, dynamics and task head on windows, in
worlds with tracked objects the painter to draw what the dynamics predicts.

Batches are drawn by step number, so that a resumed run sees the same ones. The loss on held-out episodes is always
taken on the same batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.dynamics import Body, Frames, choose, previous
from gwm_sim.episodes import DEPTH_UNIT
from gwm_sim.protocol import CONTEXT
from gwm_sim.sighted import SightedDynamics
from gwm_sim.tracked import TrackedDynamics
from gwm_sim.windows import TrainingData, WindowSampler
from gwm_sim.world_model import WorldModel

SEES_FRAMES = ("tokenizer.", "locator.", "depth_head.")  # the parts that learn from single frames
DRAWS = "dynamics.painter."
JITTER = 0.0005  # of positions that the locator reads, from frame to frame [m]
LOCATOR_WEIGHT = 2.0  # [1/m], of the position error beside the reconstruction loss
BLIND = 0.4  # share of the pictures that the painter draws from the body alone
OWN_DRAWINGS = 4  # the painter goes on from up to that many of its own pictures
FREE_AFTER = 0.3  # progress after which bodies go on from their own predictions in three of four steps
OUTLIER = 10.0  # usual changes, beyond which an error counts for its logarithm: a rollout that is lost teaches little
SPREAD_WEIGHT = 0.05  # of its loss, beside that of the positions
TELEMETRY_WEIGHT = 0.1  # of its loss, beside that of a picture
SURE = 5.0  # usual changes within which an imagined body is near enough to the true one to share its labels
IMAGINE_AFTER = 0.3  # progress of the dynamics after which histories contain the model's own predictions
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
    frames_per_body: int = 20

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
        frames_per_body=8,
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


class PainterPhase:
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
        bodies = [Body(moment.telemetry, moment.objects) for moment in moments]
        past = moments[0]
        with torch.no_grad():
            for t in range(drawings):
                codes = choose(dynamics.next_picture(bodies[t + 1], past)[:, 0], None)[:, None]
                past = moments[t + 1]._replace(codes=codes, previous_codes=past.codes)
        blind = torch.rand(len(first), 1, generator=generator).to(self.model.device) < BLIND
        logits = dynamics.painter.rehearse(dynamics.outline(bodies[-1], past), past, blind)
        image = F.cross_entropy(logits.flatten(0, -2), moments[-1].codes.long().flatten())
        return image, {"image": image.detach()}


class BodyPhase:
    """Robot and tracked objects, followed over whole rollouts, and the task head on what comes out.

    The gradient goes through all steps of a rollout.
    """

    name = "dynamics"
    rate = 1e-3

    def __init__(self, model: WorldModel, data: TrainingData, preset: Preset, seed: int) -> None:
        assert isinstance(model.dynamics, TrackedDynamics)
        self.model, self.data, self.preset, self.seed = model, data, preset, seed
        self.dynamics = model.dynamics
        self.starts = data.sampler(preset.frames_per_body)
        self.held_out = data.held_out_sampler(preset.frames_per_body)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        named = self.model.named_parameters()
        return [(name, p) for name, p in named if not name.startswith((*SEES_FRAMES, DRAWS))]

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self.follow(self.starts, batch_generator(self.seed, step), progress > FREE_AFTER and step % 4 != 0)

    def held_out_loss(self) -> Tensor:
        return held_out_loss(
            self.held_out, lambda held_out, step: self.follow(held_out, batch_generator(0, step), free=True)
        )

    def follow(self, starts: WindowSampler, generator: torch.Generator, free: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of some windows, which after their context go on from true bodies or, `free`, from predicted ones."""
        first = starts.draw(self.preset.bodies_per_batch, generator)
        frames, reward, success = self.data.batch(None, first, self.preset.frames_per_body)
        frames = drop_properties(misplace(frames, generator), generator)
        true, shown = to_device(frames, self.model.device), to_device(jitter(frames, generator), self.model.device)
        future = crop(true, slice(1, None))
        # With chance, half of the steps learn two futures each, and half the most likely one.
        noise = self.noise(len(first), generator) if free and torch.rand((), generator=generator) < 0.5 else None
        made, spread = self.roll(true, shown, free, noise)
        telemetry, objects, likelihood = self.distance(made, spread, future)
        if noise is not None:
            other, _ = self.roll(true, shown, free, self.noise(len(first), generator))
            telemetry, objects = self.score(made, other, future)
        total = telemetry + objects + SPREAD_WEIGHT * likelihood
        parts = {"telemetry": telemetry.detach(), "objects": objects.detach(), "spread": likelihood.detach()}
        if self.model.task_head is not None:
            lived = live(shown, made) if free else shown
            judged = self.judge(lived, true, *(x.to(self.model.device) for x in (reward, success)))
            total = total + judged[0] + 0.2 * judged[1]
            parts |= {"reward": judged[0].detach(), "success": judged[1].detach()}
        return total, parts

    def noise(self, rows: int, generator: torch.Generator) -> Tensor | None:
        """What chance has for windows, (B, T, 1 + K, noise); None where nothing is left to it."""
        c = self.dynamics.config
        if not c.noise:
            return None
        shape = (rows, self.preset.frames_per_body - 1, 1 + c.objects, c.noise)
        noise = torch.randn(shape, generator=generator)
        noise[:, : CONTEXT - 1] = 0  # what was seen was not left to chance
        return noise.to(self.model.device)

    def roll(self, true: Frames, shown: Frames, free: bool, noise: Tensor | None) -> tuple[Body, Tensor]:
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
            last = Body(body.telemetry[:, -1:], body.objects[:, -1:])
            present = follower(present, last, crop(true, moment))
            body, spread, memory = self.dynamics.advance(present, memory, rest=False, noise=chance(moment))
            bodies.append(body)
            spreads.append(spread)
        made = Body(*(torch.cat(parts, dim=1) for parts in zip(*bodies, strict=True)))
        return made, torch.cat(spreads, dim=1)

    def score(self, one: Body, other: Body, target: Frames) -> tuple[Tensor, Tensor]:
        """How badly two sampled futures speak for the true one: the energy score (Gneiting and Raftery, 2007).

        It is least where futures are drawn as often as they come true. Each object's position counts as a whole, each
        number of the telemetry for itself.
        """
        change, scale = self.dynamics.telemetry_change, self.dynamics.objects_change

        def apart(a: Body | Frames, b: Body | Frames) -> tuple[Tensor, Tensor]:
            telemetry = (a.telemetry - b.telemetry).abs() / change
            objects = ((a.objects - b.objects) / scale).square().sum(dim=-1).add(1e-6).sqrt()
            return robust(telemetry).mean(), robust(objects).mean() / 3**0.5

        pairs = apart(one, target), apart(other, target), apart(one, other)
        telemetry, objects = ((a + b - c) / 2 for a, b, c in zip(*pairs, strict=True))
        return telemetry, objects

    def distance(self, body: Body, spread: Tensor, target: Frames) -> tuple[Tensor, Tensor, Tensor]:
        """How far telemetry and objects are from the true ones, and how badly the spread says so."""
        telemetry = (body.telemetry - target.telemetry).abs() / self.dynamics.telemetry_change
        objects = (body.objects - target.objects).abs() / self.dynamics.objects_change  # (B, T, K, 3)
        spread = (spread / self.dynamics.objects_change).clamp_min(1e-2)[..., None]
        # Likelihood of a Laplace distribution, for its width only: what cannot be foreseen must not lose weight.
        likelihood = (objects.detach() / spread + spread.log()).mean()
        return robust(telemetry).mean(), robust(objects).mean(), likelihood

    def judge(self, lived: Frames, true: Frames, reward: Tensor, success: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the task head, where bodies are near enough to the true ones to share their labels."""
        head = self.model.task_head
        assert head is not None
        away = (lived.objects - true.objects).abs().amax(dim=(-2, -1)) / self.dynamics.objects_change  # (B, T)
        return head.loss(head(lived, self.dynamics), reward, success, (away < SURE).float()[..., None])


class DynamicsPhase:
    """Prediction of the next frame on true, corrupted and imagined histories, and the task head, where nothing is
    tracked."""

    name = "dynamics"
    rate = 8e-4

    def __init__(self, model: WorldModel, data: TrainingData, codes: Tensor, preset: Preset, seed: int) -> None:
        assert isinstance(model.dynamics, SightedDynamics)
        self.model, self.data, self.codes, self.preset, self.seed = model, data, codes, preset, seed
        self.dynamics = model.dynamics
        length = preset.frames_per_window + 1
        self.starts, self.held_out = data.sampler(length), data.held_out_sampler(length)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, p) for name, p in self.model.named_parameters() if not name.startswith(SEES_FRAMES)]

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        imagining = progress > IMAGINE_AFTER and step % 2 == 1
        return self.predict(self.starts, batch_generator(self.seed, step), imagining)

    def held_out_loss(self) -> Tensor:
        return held_out_loss(
            self.held_out, lambda held_out, step: self.predict(held_out, batch_generator(0, step), step % 2 == 1)
        )

    def predict(
        self, starts: WindowSampler, generator: torch.Generator, imagining: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        first = starts.draw(self.preset.windows_per_batch, generator)
        frames, reward, success = self.data.batch(self.codes, first, self.preset.frames_per_window + 1)
        frames = drop_properties(frames, generator)
        device = self.model.device
        true = to_device(frames, device)
        history = to_device(corrupt(frames, self.model, generator), device)
        if imagining:
            history = self.imagined(true, history, generator)
        past, future = crop(history, slice(None, -1)), crop(true, slice(1, None))
        prediction = self.dynamics(past, rest=False)
        assert prediction.logits is not None
        image = F.cross_entropy(prediction.logits.flatten(0, -2), future.codes.long().flatten())
        error = (prediction.telemetry - future.telemetry) / self.dynamics.telemetry_change
        telemetry = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)
        total = image + TELEMETRY_WEIGHT * telemetry
        parts = {"image": image.detach(), "telemetry": telemetry.detach()}
        if self.model.task_head is not None:
            # A few moments of each window are enough for the task head, which looks at single frames.
            moments = torch.randint(
                self.preset.frames_per_window, (max(1, self.preset.frames_per_window // 4),), generator=generator
            )
            logits = self.model.task_head(crop(history, moments), self.dynamics)
            targets = (x[:, moments].to(device) for x in (reward, success))
            judged = self.model.task_head.loss(logits, *targets)
            total = total + judged[0] + 0.2 * judged[1]
            parts |= {"reward": judged[0].detach(), "success": judged[1].detach()}
        return total, parts

    def imagined(self, true: Frames, history: Frames, generator: torch.Generator) -> Frames:
        """A history whose frames after a short context are the model's own predictions, as in a rollout (detached)."""
        context = int(torch.randint(2, 7, (), generator=generator).clamp_max(self.preset.frames_per_window - 1))
        start = crop(history, slice(None, context))
        state = self.model.begin(start)
        made = [start]
        for t in range(context - 1, true.actions.shape[1] - 2):
            state = self.model.step_(state, true.actions[:, t])
            made.append(self.model.present(state, true.actions[:, t + 1]))
        made.append(crop(true, slice(-1, None)))  # the last frame is a target only
        parts = {
            name: start.properties
            if name == "properties"
            else torch.cat([getattr(m, name).to(getattr(true, name).dtype) for m in made], 1)
            for name in Frames._fields
        }
        return Frames(**parts)


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


def crop(frames: Frames, time: slice | Tensor) -> Frames:
    """Some of the frames along time: a stretch, or the moments (M,)."""
    return Frames(*(value if name == "properties" else value[:, time] for name, value in frames._asdict().items()))


def follower(present: Frames, body: Body, moment: Frames) -> Frames:
    """The frame after `present` with a predicted body; action and properties are those of `moment`."""
    return moment._replace(
        telemetry=body.telemetry,
        objects=body.objects,
        previous_telemetry=present.telemetry,
        previous_objects=present.objects,
    )


def live(shown: Frames, made: Body) -> Frames:
    """Frames that begin with the context that was shown and go on with what was made of it, without its gradient."""
    telemetry, objects = (
        torch.cat((known[:, :CONTEXT], predicted[:, CONTEXT - 1 :].detach()), dim=1)
        for known, predicted in ((shown.telemetry, made.telemetry), (shown.objects, made.objects))
    )
    return shown._replace(
        telemetry=telemetry, previous_telemetry=previous(telemetry), objects=objects, previous_objects=previous(objects)
    )


def to_device(frames: Frames, device: torch.device) -> Frames:
    return Frames(*(value.to(device, non_blocking=True) for value in frames))


def drop_properties(frames: Frames, generator: torch.Generator) -> Frames:
    """Make the properties of one row in four unknown, so that "unknown" is a valid condition."""
    known = torch.rand(len(frames.properties), 1, generator=generator) > 0.25
    return frames._replace(properties=torch.where(known, frames.properties, torch.nan))


def misplace(frames: Frames, generator: torch.Generator) -> Frames:
    """Move the objects of each window by one small offset, as the locator does that starts a rollout."""
    b, _, k, _ = frames.objects.shape
    objects = frames.objects + 0.002 * torch.randn(b, 1, k, 3, generator=generator)  # [m]
    return frames._replace(objects=objects, previous_objects=previous(objects))


def jitter(frames: Frames, generator: torch.Generator) -> Frames:
    """Objects a little off, as the locator sees them in real frames."""
    objects = frames.objects + JITTER * torch.randn(frames.objects.shape, generator=generator)
    return frames._replace(objects=objects, previous_objects=previous(objects))


def robust(error: Tensor) -> Tensor:
    """Absolute errors, in usual changes, those of lost rollouts by their logarithm."""
    return OUTLIER * torch.log1p(error / OUTLIER)


def corrupt(frames: Frames, model: WorldModel, generator: torch.Generator) -> Frames:
    """Damage histories as a rollout would, with the level beside: wrong codes, telemetry a little off.

    Half of the windows stay clean.
    """
    b, t = frames.corruption.shape
    level = torch.rand(b, t, generator=generator) * (torch.rand(b, 1, generator=generator) < 0.5)
    dynamics = model.dynamics
    change = dynamics.telemetry_change.cpu()
    random_codes = torch.randint(dynamics.config.levels, frames.codes.shape, generator=generator, dtype=torch.uint8)
    hit = torch.rand(frames.codes.shape, generator=generator) < 0.1 * level[..., None, None]
    codes = torch.where(hit, random_codes, frames.codes)
    noise = torch.randn(frames.telemetry.shape, generator=generator) * change * 0.3 * level[..., None]
    noise[..., dynamics.command_telemetry.cpu()] = 0  # commands are known exactly
    telemetry = frames.telemetry + noise
    return frames._replace(
        codes=codes,
        previous_codes=previous(codes),
        telemetry=telemetry,
        previous_telemetry=previous(telemetry),
        corruption=level,
    )
