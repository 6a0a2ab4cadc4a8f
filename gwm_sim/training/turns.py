"""How things are turned in the picture, learned from themselves.

A network is shown what lies around a thing, and the same turned by some angle: what it says must turn by that angle,
too. Nobody says what no turn is, so it finds something of the thing that points somewhere. Where a thing looks the same
from several sides, as a disc does, there is no such thing; then no turn is told. It takes seconds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gwm_sim.model.residual import AROUND, cut, rotation
from gwm_sim.model.tokenizer import to_images
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import TrainingData

ROWS, RATE = 64, 3e-3
BESIDE, LARGER = 1.0, 0.1  # how far places [px] and sizes (a share) are off in training
TELLING = 0.8  # mean cosine of the error, in episodes that were not learned from, from which a turn is told
LOOKED_AT = 256  # sights by which that is measured, of each thing


class Sights(NamedTuple):
    """Which thing is looked at in which frame."""

    frames: Tensor  # (N,)
    things: Tensor  # (N,)


def fit_turns(model: WorldModel, data: TrainingData, updates: int, seed: int) -> None:
    """Learn how things are turned, in place, from training episodes."""
    encoder = model.turn_encoder
    if encoder is None:
        return
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(encoder.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    sights = seen(data, validation=False)
    for _ in range(updates if len(sights.frames) else 0):
        chosen = torch.randint(len(sights.frames), (ROWS,), generator=generator)
        loss = 1 - agreement(model, data, Sights(*(x[chosen] for x in sights)), generator).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    measured = seen(data, validation=True) if data.validation().any() else sights
    with torch.no_grad():
        for thing in range(len(encoder.turning)):
            of_it = Sights(*(x[measured.things == thing] for x in measured))
            some = torch.linspace(0, len(of_it.frames) - 1, min(LOOKED_AT, len(of_it.frames))).long()
            agrees = agreement(model, data, Sights(*(x[some] for x in of_it)), generator)
            encoder.turning[thing] = float(agrees.numel() > 0 and agrees.mean() > TELLING)


def seen(data: TrainingData, validation: bool) -> Sights:
    """Things that are there in frames with pictures of training or validation episodes."""
    frames = data.windows(1, validation, seen=True)
    row, thing = data.objects[frames][..., 0].isfinite().nonzero(as_tuple=True)
    return Sights(frames[row], thing)


def agreement(model: WorldModel, data: TrainingData, sights: Sights, generator: torch.Generator) -> Tensor:
    """Cosines (N,) of how far it is from turning with what it is shown, what the model says of things."""
    encoder = model.turn_encoder
    assert encoder is not None and model.renderer is not None
    count, width = len(sights.frames), model.config.tokenizer.width
    pictures = to_images(data.frames[sights.frames][:, :, :width], views=1)[:, 0]
    places, sizes = model.renderer.things(data.objects[sights.frames])
    which = torch.arange(count), sights.things

    def look(angles: Tensor) -> Tensor:
        place = places[which] + BESIDE * torch.randn(count, 2, generator=generator)
        side = AROUND * sizes[which] * (1 + LARGER * torch.randn(count, generator=generator))
        return encoder.read(cut(pictures, place[:, None], side[:, None], angles[:, None])[:, 0])

    upright, angles = torch.zeros(count), 2 * math.pi * torch.rand(count, generator=generator)
    turned_back = (rotation(-angles) @ look(upright)[..., None])[..., 0]
    return (turned_back * look(angles)).sum(dim=-1)
