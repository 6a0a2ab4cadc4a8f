"""Where the objects are in single frames, with the tokenizer as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.phases.phase import Loss, WorldModelPhase


class LocatorPhase(WorldModelPhase):
    """The locator alone, on larger batches than beside the tokenizer."""

    name = "locator"
    rate = 1e-3
    learned = ("locator.",)

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        index = windows.draw(2 * self.preset.frames_per_batch, generator)
        with torch.no_grad():
            main = self.data.frames[index, :, : self.model.config.tokenizer.width]
            features = self.model.tokenizer.features(main.to(self.model.device))
        error = misplacement(self.model, self.data, index, features)
        return error, {"located_mm": 1000 * error.detach()}


def misplacement(model: WorldModel, data: TrainingData, index: Tensor, features: Tensor) -> Tensor:
    """Mean absolute error [m] of the positions that are read from some frames, per coordinate."""
    found = model.locate(features[:, 0], data.telemetry[index].to(model.device))
    apart = (found - data.objects[index].to(model.device)).abs()
    surely = data.confidence[index].to(model.device).square()[..., None]
    return (apart.nan_to_num(0.0) * surely).mean() / surely.mean().clamp_min(1e-3)
