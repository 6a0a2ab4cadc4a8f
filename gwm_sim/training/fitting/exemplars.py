"""Real frames that a model keeps to show how its robot looks: of training episodes, in postures far from each other."""

from __future__ import annotations

import torch
from torch import Tensor

from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import TrainingData

LOOKED_AT = 5_000  # frames at most


@torch.no_grad()
def keep_exemplars(model: WorldModel, data: TrainingData) -> Tensor:
    """Let the model keep exemplars, in place; return which frames of the data they are, (N,)."""
    renderer = model.renderer
    assert renderer is not None
    frames = data.windows(1, seen=True)
    frames = evenly(frames, LOOKED_AT)
    postures = renderer.posture(data.telemetry[frames].to(model.device), model.dynamics).cpu()
    kept = frames[far_apart(postures, renderer.config.exemplars)]
    renderer.exemplar_frames.copy_(data.frames[kept])
    renderer.exemplar_telemetry.copy_(data.telemetry[kept])
    renderer.exemplar_objects.copy_(data.objects[kept])
    return kept


def evenly(frames: Tensor, most: int) -> Tensor:
    """At most so many of some frames (N,), spread over them."""
    return frames[torch.linspace(0, len(frames) - 1, min(most, len(frames))).long()]


def far_apart(places: Tensor, count: int) -> Tensor:
    """So many of some places (N, D), each the one that is farthest from all before (Gonzalez, 1985), (count,); from the
    beginning again where there are fewer."""
    chosen, distance = [0], (places - places[0]).norm(dim=1)
    while len(chosen) < min(count, len(places)):
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (places - places[chosen[-1]]).norm(dim=1))
    return torch.tensor(chosen).repeat(-(-count // len(chosen)))[:count]
