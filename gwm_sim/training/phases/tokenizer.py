"""Single frames: their reconstruction, and where the objects are in them.

A short training learns first what most pixels show. So pixels weigh more where something moves, and a thing that is
tracked counts as a whole, however few pixels it has.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gwm_sim.model.tokenizer import to_images
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.distributed import mine
from gwm_sim.training.phases.locator import misplacement
from gwm_sim.training.phases.phase import SEES_FRAMES, Loss, WorldModelPhase

LOCATOR_WEIGHT = 0.5  # of the position error beside the reconstruction loss
MOTION_WEIGHT = 12.0  # extra loss weight of a pixel that changes by the full range within a moment
MOMENT = 0.5  # [s]
THING_WEIGHT = 1.0  # of the mean error in the boxes of things, beside that of the whole picture
MARGIN = 1.0  # around a box that belongs to the thing [px]


class TokenizerPhase(WorldModelPhase):
    """Tokenizer and locator together."""

    name = "tokenizer"
    rate = 1.5e-3
    learned = SEES_FRAMES

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        model = self.model
        index = mine(windows.draw(self.preset.frames_per_batch // 2, generator))  # twice as many updates teach more
        frames = self.data.frames[index].to(model.device)
        features = model.tokenizer.features(frames)
        total, parts = model.tokenizer.loss(frames, features, self.emphasis(index, frames))
        if model.locator is not None:
            error, told = misplacement(model, self.data, index, features)
            total, parts = total + LOCATOR_WEIGHT * error, parts | told
        return total, parts

    def emphasis(self, index: Tensor, frames: Tensor) -> Tensor:
        """What pixels of some frames (B, H, V*W, 3) weigh more for what moves and for things, (B, V, 1, H, W)."""
        device, shape = frames.device, self.model.config.tokenizer
        moment = max(1, round(MOMENT * self.data.schema.rate))
        images = to_images(frames, shape.views)
        others = [self.data.frames[i].to(device) for i in neighbours(self.data, index, moment)]
        changes = [(to_images(other, shape.views) - images).abs().amax(dim=2, keepdim=True) for other in others]
        weight = MOTION_WEIGHT * torch.stack(changes).amax(dim=0)
        weight[:, 0, 0] += THING_WEIGHT * in_boxes(self.data.boxes[index].to(device), (shape.height, shape.width))
        return weight


def neighbours(data: TrainingData, frames: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Frames so many steps before and after some frames (B,), in the same episode, or its first and last ones."""
    episode = data.episode_of(frames)
    first, last = data.starts[episode], data.starts[episode] + data.lengths[episode] - 1
    return torch.maximum(frames - steps, first), torch.minimum(frames + steps, last)


def in_boxes(boxes: Tensor, sides: tuple[int, int]) -> Tensor:
    """Weights (B, H, W) whose mean over a picture is 1 for what lies in the boxes (B, K, 4) of things, equally shared
    between those that are seen; 0 where nothing is."""
    inside = []
    for axis, side in ((1, sides[0]), (0, sides[1])):
        place = torch.arange(side, device=boxes.device)
        reach = boxes[..., 2 + axis, None] / 2 + MARGIN
        inside.append((place - boxes[..., axis, None]).abs() <= reach)  # (B, K, side)
    seen = (boxes[..., 2] > 0)[..., None, None]
    mask = (inside[0][..., :, None] & inside[1][..., None, :] & seen).float()
    shares = mask * (sides[0] * sides[1] / mask.sum(dim=(2, 3), keepdim=True).clamp_min(1))
    return shares.sum(dim=1) / seen.sum(dim=1).clamp_min(1)
