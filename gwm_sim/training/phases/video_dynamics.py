"""What is learned where nothing is tracked: the next frame, on true, corrupted and imagined histories, and tasks."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from gwm_sim.model.state import Segment
from gwm_sim.model.video_dynamics import VideoDynamics
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import Preset
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.dataset.latents import Latents
from gwm_sim.training.distributed import drawn, mine
from gwm_sim.training.phases.phase import Loss, WorldModelPhase, batch_generator, drop_properties, judged, mean

TELEMETRY_WEIGHT = 0.1  # of its loss, beside that of a picture
IMAGINE_AFTER = 0.3  # progress of the dynamics after which histories contain the model's own predictions


class VideoDynamicsPhase(WorldModelPhase):
    """Video dynamics with its renderer, and the task head; late in the phase every second history is imagined."""

    name = "dynamics"
    rate = 8e-4
    learned = ("dynamics.", "task_head.")

    def __init__(self, model: WorldModel, data: TrainingData, codes: Latents, preset: Preset, seed: int) -> None:
        super().__init__(model, data, preset, seed, length=preset.frames_per_window + 1)
        assert isinstance(model.dynamics, VideoDynamics)
        self.codes, self.dynamics = codes, model.dynamics

    def loss(self, step: int, progress: float) -> Loss:
        imagining = progress > IMAGINE_AFTER and step % 2 == 1
        return self.predict(self.windows, batch_generator(self.seed, step), imagining)

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        return self.predict(windows, generator, imagining=step % 2 == 1)

    def predict(self, windows: WindowSampler, generator: torch.Generator, imagining: bool) -> Loss:
        """Loss of what follows the histories of some windows: true, corrupted or, `imagining`, imagined ones."""
        first = mine(windows.draw(self.preset.windows_per_batch, generator))
        segment, reward, success = self.data.batch(self.codes, first, self.preset.frames_per_window + 1)
        segment = drop_properties(segment, generator)
        true = segment.to(self.model.device)
        history = corrupt(segment, self.model, generator).to(self.model.device)
        if imagining:
            history = self.imagined(true, history, generator)
        past, future = history.crop(slice(None, -1)), true.crop(slice(1, None))
        prediction = self.dynamics(past, rest=False)
        assert prediction.logits is not None
        image = F.cross_entropy(prediction.logits.flatten(0, -2), future.codes.long().flatten())
        error = (prediction.telemetry - future.telemetry) / self.dynamics.telemetry_change
        telemetry = mean(F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1, reduction="none"))
        total = image + TELEMETRY_WEIGHT * telemetry
        parts = {"image": image.detach(), "telemetry": telemetry.detach()}
        if self.model.task_head is not None:
            # A few moments of each window are enough for the task head, which looks at single frames.
            length = self.preset.frames_per_window
            moments = torch.randint(length, (max(1, length // 4),), generator=generator)
            logits = self.model.task_head(history.crop(moments), self.dynamics)
            reward, success = (x[:, moments].to(self.model.device) for x in (reward, success))
            verdicts = self.model.task_head.loss(logits, reward, success, judged=judged(reward))
            total = total + verdicts[0] + 0.2 * verdicts[1]
            parts |= {"reward": verdicts[0].detach(), "success": verdicts[1].detach()}
        return total, parts

    def imagined(self, true: Segment, history: Segment, generator: torch.Generator) -> Segment:
        """A history whose frames after a short context are the model's own predictions, as in a rollout (detached)."""
        context = int(torch.randint(2, 7, (), generator=generator).clamp_max(self.preset.frames_per_window - 1))
        start = history.crop(slice(None, context))
        state = self.model.begin(start)
        made = [start]
        for t in range(context - 1, true.actions.shape[1] - 2):
            state = self.model.step_(state, true.actions[:, t])
            made.append(state.present(true.actions[:, t + 1]))
        made.append(true.crop(slice(-1, None)))  # the last frame is a target only
        joined = {
            name: torch.cat([getattr(frame, name).to(value.dtype) for frame in made], dim=1)
            for name, value in true._asdict().items()
            if name != "properties"
        }
        return start._replace(**joined)


def corrupt(segment: Segment, model: WorldModel, generator: torch.Generator) -> Segment:
    """Damage histories as a rollout would, with the level beside: wrong codes, telemetry a little off.

    Half of the windows stay clean.
    """
    b, t = segment.corruption.shape
    level = drawn(torch.rand, (b, t), generator=generator)
    level = level * (drawn(torch.rand, (b, 1), generator=generator) < 0.5)
    dynamics = model.dynamics
    change = dynamics.telemetry_change.cpu()
    randint = partial(torch.randint, dynamics.config.levels, dtype=torch.uint8)
    random_codes = drawn(randint, segment.codes.shape, generator=generator)
    hit = drawn(torch.rand, segment.codes.shape, generator=generator) < 0.1 * level[..., None, None]
    noise = drawn(torch.randn, segment.telemetry.shape, generator=generator) * change * 0.3 * level[..., None]
    noise[..., dynamics.reported_telemetry.cpu()] = 0  # commands are known exactly
    codes = torch.where(hit, random_codes, segment.codes)
    return segment.changed(codes=codes, telemetry=segment.telemetry + noise, corruption=level)
