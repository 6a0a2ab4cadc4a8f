"""How wrong an imagined world may be: the expected error of its start, and what every step adds to it.

Both are in the unit of `WorldModel.uncertainty` once they are multiplied by the model's `calibration`, which training
fits to validation episodes (`training/fitting/calibration.py`). A world that stands still grows no more uncertain.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from gwm_sim.model.latents import normalised_entropy
from gwm_sim.model.state import NextFrame

NORM: Final = 3  # by which errors add up, between a sum (1), where all point one way, and the greatest (infinity)
SCALE: Final = 5.4  # of what a step adds: the calibration of the first shipped models was fitted to sums


def strangeness(novelty: Tensor) -> Tensor:
    """How unfamiliar worlds are whose context frames look as `novelty` (B, C) says, (B,), about 1 for familiar ones."""
    return novelty.mean(dim=1).square()


def together(expected: Tensor, added: Tensor) -> Tensor:
    """The expected error (B,) where so much may be added to it, (B,)."""
    return (expected.pow(NORM) + added.pow(NORM)).pow(1 / NORM)


def risk(predicted: NextFrame, objects: Tensor, from_pixels: bool) -> Tensor:
    """What a step (T = 1) from objects (B, K, 3) may add to the error, (B,): the spread of the objects that it moves,
    of a robot alone the same at every step, and where all is predicted `from_pixels` the entropy of the picture."""
    if predicted.spread.shape[-1]:
        moves = (predicted.objects[:, 0] - objects).abs().sum(dim=-1) > 0  # nothing that is absent does
        spread = torch.where(moves, predicted.spread[:, 0], 0.0)
        return SCALE * spread.pow(NORM).mean(dim=-1).pow(1 / NORM)
    if not from_pixels:
        return predicted.telemetry.new_ones(predicted.telemetry.shape[:1])
    assert predicted.logits is not None
    return normalised_entropy(predicted.logits[:, 0])
