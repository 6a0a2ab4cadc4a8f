"""What is learned where nothing is tracked: the next frame, on true, corrupted and imagined histories, and tasks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.state import Segment, previous
from gwm_sim.model.video_dynamics import VideoDynamics
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.phases.phase import (
    SEES_FRAMES,
    Preset,
    batch_generator,
    crop,
    drop_properties,
    held_out_loss,
    to_device,
)

TELEMETRY_WEIGHT = 0.1  # of its loss, beside that of a picture
IMAGINE_AFTER = 0.3  # progress of the dynamics after which histories contain the model's own predictions


class VideoDynamicsPhase:
    """Prediction of the next frame on true, corrupted and imagined histories, and the task head, where nothing is
    tracked."""

    name = "dynamics"
    rate = 8e-4

    def __init__(self, model: WorldModel, data: TrainingData, codes: Tensor, preset: Preset, seed: int) -> None:
        assert isinstance(model.dynamics, VideoDynamics)
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

    def imagined(self, true: Segment, history: Segment, generator: torch.Generator) -> Segment:
        """A history whose frames after a short context are the model's own predictions, as in a rollout (detached)."""
        context = int(torch.randint(2, 7, (), generator=generator).clamp_max(self.preset.frames_per_window - 1))
        start = crop(history, slice(None, context))
        state = self.model.begin(start)
        made = [start]
        for t in range(context - 1, true.actions.shape[1] - 2):
            state = self.model.step_(state, true.actions[:, t])
            made.append(state.present(true.actions[:, t + 1]))
        made.append(crop(true, slice(-1, None)))  # the last frame is a target only
        parts = {
            name: start.properties
            if name == "properties"
            else torch.cat([getattr(m, name).to(getattr(true, name).dtype) for m in made], 1)
            for name in Segment._fields
        }
        return Segment(**parts)


def corrupt(segment: Segment, model: WorldModel, generator: torch.Generator) -> Segment:
    """Damage histories as a rollout would, with the level beside: wrong codes, telemetry a little off.

    Half of the windows stay clean.
    """
    b, t = segment.corruption.shape
    level = torch.rand(b, t, generator=generator) * (torch.rand(b, 1, generator=generator) < 0.5)
    dynamics = model.dynamics
    change = dynamics.telemetry_change.cpu()
    random_codes = torch.randint(dynamics.config.levels, segment.codes.shape, generator=generator, dtype=torch.uint8)
    hit = torch.rand(segment.codes.shape, generator=generator) < 0.1 * level[..., None, None]
    codes = torch.where(hit, random_codes, segment.codes)
    noise = torch.randn(segment.telemetry.shape, generator=generator) * change * 0.3 * level[..., None]
    noise[..., dynamics.command_telemetry.cpu()] = 0  # commands are known exactly
    telemetry = segment.telemetry + noise
    return segment._replace(
        codes=codes,
        previous_codes=previous(codes),
        telemetry=telemetry,
        previous_telemetry=previous(telemetry),
        corruption=level,
    )
