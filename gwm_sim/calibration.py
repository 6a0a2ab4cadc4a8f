"""The scales of uncertainty: what a familiar frame looks like, and how wrong held-out rollouts really were."""

from __future__ import annotations

import torch
from torch import Tensor

from gwm_sim.protocol import CONTEXT
from gwm_sim.windows import TrainingData
from gwm_sim.world_model import WorldModel
from gwm_sim.world_state import WorldState

HORIZON = 20  # steps over which the expected error is made to agree with the true one
WINDOWS = 512


@torch.no_grad()
def calibrate(model: WorldModel, data: TrainingData, codes: Tensor, familiar: bool = False) -> None:
    """Fit `tokenizer.usual_error` and `calibration` of a trained model to held-out episodes of its data.

    With `familiar` the tokenizer is of other data that looked alike, and what is usual stays what it was there.
    Afterwards the mean uncertainty of their windows is the mean error, at the start and after `HORIZON` steps.
    """
    steps = min(HORIZON, int(data.lengths[data.held_out() & data.seen()].max()) - CONTEXT)
    first = data.windows(CONTEXT + steps, validation=True, seen=True)
    first = first[torch.linspace(0, len(first) - 1, min(WINDOWS, len(first))).long()]
    device, tokenizer = model.device, model.tokenizer
    if not familiar:
        tokenizer.usual_error.fill_(1.0)
    model.calibration.copy_(torch.tensor([0.0, 1.0]))
    novelty: list[Tensor] = []
    before: list[Tensor] = []
    after: list[Tensor] = []
    risk: list[Tensor] = []
    for chunk in first.split(64):
        true, _, _ = data.batch(codes, chunk, CONTEXT + steps)
        pictures = data.frames[chunk[:, None] + torch.arange(CONTEXT)]
        context = model.read(pictures, true.telemetry[:, :CONTEXT], true.actions[:, : CONTEXT - 1], true.properties)
        start = model.begin(context)
        end = model.imagine(start, true.actions[:, CONTEXT - 1 : -1].to(device)).final
        novelty.append(context.novelty)
        risk.append(end.uncertainty)
        for errors, state, t in ((before, start, CONTEXT - 1), (after, end, CONTEXT + steps - 1)):
            errors.append(error(model, state, true.objects[:, t].to(device), data.frames[chunk + t].to(device)))
    usual = torch.cat(novelty).median()
    if familiar:
        usual = torch.ones_like(usual)  # novelties are in units of it already
    else:
        tokenizer.usual_error.copy_(usual)
    begun, ended = torch.cat(before).mean(), torch.cat(after).mean()
    grown = (ended - begun).clamp_min(0.01 * ended) / torch.cat(risk).mean().clamp_min(1e-9)
    strangeness = (torch.cat(novelty) / usual).mean(dim=1).square().mean()
    model.calibration.copy_(torch.stack((begun / strangeness, grown)))


def error(model: WorldModel, state: WorldState, objects: Tensor, frames: Tensor) -> Tensor:
    """Mean error of each row, (B,): of object positions (B, K, 3) [cm], else of pixels (B, H, W, 3) [grey levels]."""
    if objects.shape[1]:
        return 100 * (state.objects - objects).norm(dim=-1).mean(dim=-1)
    return (model.decode(state).float() - frames.float()).abs().flatten(1).mean(dim=1)
