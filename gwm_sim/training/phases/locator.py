"""Where the objects are in single frames, with the tokenizer as it is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gwm_sim.model.heads import nearest_order
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.distributed import everywhere, mine
from gwm_sim.training.phases.phase import Loss, WorldModelPhase

SIGHT_WEIGHT = 0.2  # of the cross-entropy of being in sight


class LocatorPhase(WorldModelPhase):
    """The locator alone, on larger batches than beside the tokenizer."""

    name = "locator"
    rate = 1e-3
    learned = ("locator.",)

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        index = mine(windows.draw(2 * self.preset.frames_per_batch, generator))
        with torch.no_grad():
            main = self.data.frames[index][:, :, : self.model.config.tokenizer.width]
            features = self.model.tokenizer.features(main.to(self.model.device))
        return misplacement(self.model, self.data, index, features)


def misplacement(model: WorldModel, data: TrainingData, index: Tensor, features: Tensor) -> Loss:
    """Mean absolute error of the positions that are read from some frames, per coordinate and in half the size of the
    scene, each counted by the square of its confidence; and whether what was seen is said to be in sight."""
    assert model.locator is not None
    device = model.device
    found, in_sight = model.locator.read(features[:, 0], data.telemetry[index].to(device), model.dynamics)
    objects, confidence = data.objects[index].to(device), data.confidence[index].to(device)
    if kinds := model.config.dynamics.kinds:  # which of those alike is which is nobody's to say
        order = nearest_order(objects, found.detach(), kinds)
        objects, confidence = objects.gather(1, order[..., None].expand_as(objects)), confidence.gather(1, order)
    there = objects.isfinite().all(dim=-1)
    surely = (confidence.square() * there)[..., None]
    error = ((found - objects.nan_to_num(0.0)).abs() * surely).mean() / everywhere(surely.mean()).clamp_min(1e-3)
    half = (model.dynamics.objects_high - model.dynamics.objects_low).mean() / 2
    unit, scale = ("px", 1) if data.schema.object_frame == "image" else ("mm", 1000)
    loss, parts = error / half, {f"located_{unit}": scale * error.detach()}
    if in_sight is not None:
        # What may be absent is told from what is hidden, and goes on; else what is hidden is not in sight.
        target = there if model.config.dynamics.gaps else there & (confidence > 0)
        told = F.binary_cross_entropy_with_logits(in_sight, target.float())
        loss, parts = loss + SIGHT_WEIGHT * told, parts | {"sight": told.detach()}
    return loss, parts
