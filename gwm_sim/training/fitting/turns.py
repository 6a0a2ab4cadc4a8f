"""How things look, for their turns: what lies around each, turned so that all sights of it are most alike.

As pictures of particles are averaged (Penczek et al., 1992): every sight is turned to where it is most like the look,
and the look is what these have in common, so that nothing is left in it of what lies around a thing by chance. Nobody
says what no turn is. Only where turns make two sights of a thing more alike, in episodes that were not looked at, are
they told: not of a disc, nor of what always lies the same way. It takes a second.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gwm_sim.model.residual import AROUND, TurnReader, best_angle, cut
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import TrainingData
from gwm_sim.training.fitting.exemplars import evenly

ROUNDS = 10
COMMON = 3  # of the last rounds take the median, which no stranger gets into, instead of the mean
APART = 30  # frames between two sights of a thing, at most
TELLING = 0.9  # times the difference of sights that are not turned, below which turns are told
LOOKED_AT = 400  # sights of each thing


@torch.no_grad()
def fit_turns(model: WorldModel, data: TrainingData, seed: int) -> None:
    """Find how things look and whether they turn, in place, from training episodes, and of validation episodes how much
    more alike turns make them."""
    reader = model.turn_reader
    if reader is None:
        return
    generator = torch.Generator().manual_seed(seed)
    validation = bool(data.validation().any())
    for thing in range(len(reader.turning)):
        frames = sights(data, thing, validation=False)
        if len(frames):
            reader.looks[thing] = usual_look(reader, model, data, frames, thing)
            told = sights(data, thing, validation)
            turned, unturned = alike(model, data, told, near(data, told, generator), thing)
            reader.turning[thing] = float(turned.sum() < TELLING * unturned.sum())


def sights(data: TrainingData, thing: int, validation: bool) -> Tensor:
    """Frames (N,) with pictures in which a thing is there, spread over training or validation episodes."""
    frames = data.windows(1, validation, seen=True)
    frames = frames[data.objects[frames, thing, 0].isfinite()]
    return evenly(frames, LOOKED_AT)


def near(data: TrainingData, frames: Tensor, generator: torch.Generator) -> Tensor:
    """Frames (N,) near others of the same episodes."""
    episode = data.episode_of(frames)
    moved = frames + torch.randint(-APART, APART + 1, (len(frames),), generator=generator)
    return moved.clamp(data.starts[episode], data.starts[episode] + data.lengths[episode] - 1)


def crops(model: WorldModel, data: TrainingData, frames: Tensor, thing: int, angles: Tensor) -> Tensor:
    """What lies around a thing in frames (N,), at angles (N,), (N, 3, CROP, CROP), within the window."""
    assert model.renderer is not None and model.turn_reader is not None
    places, sizes = (x[:, thing, None] for x in model.renderer.things(data.objects[frames]))
    pictures = model.beside(data.frames[frames])
    return model.turn_reader.window * cut(pictures, places, AROUND * sizes, angles[:, None])[:, 0]


def usual_look(reader: TurnReader, model: WorldModel, data: TrainingData, frames: Tensor, thing: int) -> Tensor:
    """What sights of a thing in frames (N,) have in common once each is turned, (3, CROP, CROP)."""
    upright = crops(model, data, frames, thing, torch.zeros(len(frames)))
    look = upright[len(upright) // 2]
    for number in range(ROUNDS):
        turned = crops(model, data, frames, thing, best_angle(upright, look))
        look = turned.mean(dim=0) if number < ROUNDS - COMMON else turned.median(dim=0).values
    return look


def alike(model: WorldModel, data: TrainingData, first: Tensor, second: Tensor, thing: int) -> tuple[Tensor, Tensor]:
    """Mean difference of two sights of a thing, in frames (N,): with the first turned as the second, and as it is."""
    assert model.turn_reader is not None
    both = data.objects[first, thing, 0].isfinite() & data.objects[second, thing, 0].isfinite()
    first, second = first[both], second[both]
    one, other = (crops(model, data, x, thing, torch.zeros(len(x))) for x in (first, second))
    look = model.turn_reader.looks[thing]
    turned = crops(model, data, first, thing, best_angle(one, look) - best_angle(other, look))
    return (turned - other).abs().mean(dim=(1, 2, 3)), (one - other).abs().mean(dim=(1, 2, 3))
