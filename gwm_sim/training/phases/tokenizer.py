"""Single frames: their reconstruction, and where the objects are in them."""

from __future__ import annotations

import torch

from gwm_sim.data.schema import ObjectFrame
from gwm_sim.training.dataset import WindowSampler
from gwm_sim.training.phases.locator import misplacement
from gwm_sim.training.phases.phase import SEES_FRAMES, Loss, WorldModelPhase

LOCATOR_WEIGHT: dict[ObjectFrame, float] = {"metres": 2.0, "image": 0.02}
"""Of the position error beside the reconstruction loss [1/m], [1/px]."""


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
            error = misplacement(model, self.data, index, features)
            total = total + LOCATOR_WEIGHT[model.config.dynamics.object_frame] * error
            parts["located_mm"] = 1000 * error.detach()
        return total, parts
