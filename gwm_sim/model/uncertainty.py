"""How wrong an imagined world may be: the expected error of its start, and what every step adds to it.

Both are in the unit of `WorldModel.uncertainty` once they are multiplied by the model's `calibration`, which training
fits to validation episodes (`training/calibration.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gwm_sim.model.latents import normalised_entropy
from gwm_sim.model.state import NextFrame


def strangeness(novelty: Tensor) -> Tensor:
    """How unfamiliar worlds are whose context frames look as `novelty` (B, C) says, (B,), about 1 for familiar ones."""
    return novelty.mean(dim=1).square()


def risk(predicted: NextFrame) -> Tensor:
    """What a step (T = 1) may add to the error, (B,): the spread of the objects, else the entropy of the picture, and
    of a robot alone that nobody watches the same at every step."""
    if predicted.spread.shape[-1]:
        return predicted.spread[:, 0].mean(dim=-1)
    if predicted.logits is None:
        return torch.ones_like(predicted.spread.sum(dim=(1, 2)))
    return normalised_entropy(predicted.logits[:, 0])
