"""Single frames: their reconstruction, and where the objects are in them."""

from __future__ import annotations

import torch

from gwm_sim.training.dataset import WindowSampler
from gwm_sim.training.phases.locator import misplacement
from gwm_sim.training.phases.phase import SEES_FRAMES, Loss, WorldModelPhase

LOCATOR_WEIGHT = 0.5  # of the position error beside the reconstruction loss


class TokenizerPhase(WorldModelPhase):
    """Tokenizer and locator together."""

    name = "tokenizer"
    rate = 1.5e-3
    learned = SEES_FRAMES

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        model = self.model
        index = windows.draw(self.preset.frames_per_batch, generator)
        frames = self.data.frames[index].to(model.device)
        features = model.tokenizer.features(frames)
        total, parts = model.tokenizer.loss(frames, features)
        if model.locator is not None:
            error, told = misplacement(model, self.data, index, features)
            total, parts = total + LOCATOR_WEIGHT * error, parts | told
        return total, parts
