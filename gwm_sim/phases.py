"""What each phase of training learns: tokenizer and locator on single frames, the painter to draw bodies, dynamics and
task head on windows.

Batches are drawn by step number, so that a resumed run sees the same ones. The loss on held-out episodes is always
taken on the same batches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.dynamics import Body, Frames, Lesson, previous
from gwm_sim.windows import TrainingData, WindowSampler
from gwm_sim.world_model import WorldModel

SEES_FRAMES = ("tokenizer.", "locator.")  # the parts that learn from single frames
LOCATOR_WEIGHT = 2.0  # [1/m], of the position error beside the reconstruction loss
PAINTERS = ("robot_next", "object_next", "blank", "canvas", "painter", "norm", "image_out")  # of the dynamics' parts
BLIND = 0.4  # share of the pictures that the painter draws from the body alone
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


PRESETS = {
    "mini": Preset(channels=32, width=192, layers=6, heads=6, head_width=128),
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
        self.starts, self.held_out = data.sampler(1), data.held_out_sampler(1)

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
            found = model.locator(features, self.data.telemetry[index].to(device), model.dynamics)
            error = (found - self.data.objects[index].to(device)).abs().mean()
            total = total + LOCATOR_WEIGHT * error
            parts["located_mm"] = 1000 * error.detach()
        return total, parts


class PainterPhase:
    """Pictures of bodies: what the camera sees when robot and objects are where they are said to be."""

    name = "painter"
    rate = 1e-3

    def __init__(self, model: WorldModel, data: TrainingData, codes: Tensor, preset: Preset, seed: int) -> None:
        self.model, self.data, self.codes, self.preset, self.seed = model, data, codes, preset, seed
        self.starts, self.held_out = data.sampler(2), data.held_out_sampler(2)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        return [
            (name, p)
            for name, p in self.model.named_parameters()
            if name.split(".")[:2] in [["dynamics", part] for part in PAINTERS]
        ]

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        return self.paint(self.starts, batch_generator(self.seed, step))

    def held_out_loss(self) -> Tensor:
        return held_out_loss(self.held_out, lambda held_out, step: self.paint(held_out, batch_generator(0, step)))

    def paint(self, starts: WindowSampler, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        first = starts.draw(self.preset.windows_per_batch * self.preset.frames_per_window, generator)
        frames, _, _ = self.data.batch(self.codes, first, 2)
        frames = to_device(misplace(frames, generator), self.model.device)
        before, now = crop(frames, slice(None, 1)), crop(frames, slice(1, None))
        logits = self.model.dynamics.paint_blind(Body(now.telemetry, now.objects), before)
        image = F.cross_entropy(logits.flatten(0, -2), now.codes.long().flatten())
        return image, {"image": image.detach()}


class DynamicsPhase:
    """Prediction of the next frame on true, corrupted and imagined histories, and the task head."""

    name = "dynamics"
    rate = 8e-4

    def __init__(self, model: WorldModel, data: TrainingData, codes: Tensor, preset: Preset, seed: int) -> None:
        self.model, self.data, self.codes, self.preset, self.seed = model, data, codes, preset, seed
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
        true, located = to_device(frames, device), misplace(frames, generator)
        history = to_device(corrupt(located, self.model, generator), device)
        located = to_device(located, device)
        if imagining:
            history = self.imagined(true, history, generator)
        past, future = crop(history, slice(None, -1)), crop(true, slice(1, None))
        drawn = crop(located, slice(1, None))
        blind = torch.rand(drawn.corruption.shape, generator=generator) < BLIND * bool(
            self.model.dynamics.config.guidance
        )
        lesson = Lesson(Body(drawn.telemetry, drawn.objects), blind.to(device))
        prediction = self.model.dynamics(past, lesson)
        total, parts = self.model.dynamics.loss(prediction, future)
        # A few moments of each window are enough for the task head, which looks at single frames.
        moments = torch.randint(
            self.preset.frames_per_window, (max(1, self.preset.frames_per_window // 4),), generator=generator
        )
        seen = crop(history, moments)
        if self.model.task_head is not None:
            logits = self.model.task_head(seen, self.model.dynamics)
            targets = (x[:, moments].to(self.model.device) for x in (reward, success))
            parts["reward"], parts["success"] = self.model.task_head.loss(logits, *targets)
            total = total + parts["reward"] + 0.2 * parts["success"]
            parts = {name: value.detach() for name, value in parts.items()}
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


def corrupt(frames: Frames, model: WorldModel, generator: torch.Generator) -> Frames:
    """Damage histories as a rollout would, with the level beside: wrong codes, telemetry and positions a little off.

    Half of the windows stay clean, but for the jitter that the locator has on real frames too.
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
    jitter = torch.randn(frames.objects.shape, generator=generator) * (0.0005 + 0.003 * level[..., None, None])  # [m]
    telemetry, objects = frames.telemetry + noise, frames.objects + jitter
    return frames._replace(
        codes=codes,
        previous_codes=previous(codes),
        telemetry=telemetry,
        previous_telemetry=previous(telemetry),
        objects=objects,
        previous_objects=previous(objects),
        corruption=level,
    )
