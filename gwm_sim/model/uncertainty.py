"""How wrong an imagined world may be: the expected error of its start, and what every step adds to it.

Both are in the unit of `WorldModel.uncertainty` once they are multiplied by the model's `calibration`, which training
fits to validation episodes (`training/fitting/calibration.py`).
"""

from __future__ import annotations

from torch import Tensor

from gwm_sim.model.latents import normalised_entropy
from gwm_sim.model.state import NextFrame


def strangeness(novelty: Tensor) -> Tensor:
    """How unfamiliar worlds are whose context frames look as `novelty` (B, C) says, (B,), about 1 for familiar ones."""
    return novelty.mean(dim=1).square()


def risk(predicted: NextFrame, from_pixels: bool) -> Tensor:
    """What a step (T = 1) may add to the error, (B,): the spread of the objects, of a robot alone the same at every
    step, and where all is predicted `from_pixels` the entropy of the picture."""
    if predicted.spread.shape[-1]:
        return predicted.spread[:, 0].mean(dim=-1)
    if not from_pixels:
        return predicted.telemetry.new_ones(predicted.telemetry.shape[:1])
    assert predicted.logits is not None
    return normalised_entropy(predicted.logits[:, 0])
