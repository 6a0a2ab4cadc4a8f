"""The scales of uncertainty: what a familiar frame looks like, and how wrong rollouts of validation episodes were."""

from __future__ import annotations

import torch
from torch import Tensor

from gwm_sim.model.rendering.renderer import project
from gwm_sim.model.state import WorldState
from gwm_sim.model.uncertainty import strangeness, together
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.dataset import TrainingData
from gwm_sim.training.fitting.exemplars import evenly

HORIZON = 20  # steps over which the expected error is made to agree with the true one
WINDOWS = 512
HALVINGS = 30  # of the interval in which the scale of what a step adds is searched


@torch.no_grad()
def calibrate(model: WorldModel, data: TrainingData, familiar: bool = False) -> None:
    """Fit `tokenizer.usual_error` and `calibration` of a trained model to validation episodes of its data.

    With `familiar` the tokenizer is of other data that looked alike, and what is usual stays what it was there.
    Afterwards the mean uncertainty of their windows is the mean error, at the start and after `HORIZON` steps. Every
    episode counts alike, however long it is.
    """
    steps = min(HORIZON, int(data.lengths[data.validation() & data.seen()].max()) - CONTEXT)
    first = data.windows(CONTEXT + steps, validation=True, seen=True)
    first = spread(first, data.episode_of(first), WINDOWS)
    if not familiar:
        model.tokenizer.usual_error.fill_(1.0)
    model.calibration.copy_(torch.tensor([0.0, 1.0]))  # from here on uncertainty is risk alone
    novelty: list[Tensor] = []
    before: list[tuple[Tensor, Tensor]] = []
    after: list[tuple[Tensor, Tensor]] = []
    added: list[Tensor] = []
    for chunk in first.split(64):
        true, _, _ = data.batch(None, chunk, CONTEXT + steps)
        pictures = data.frames[chunk[:, None] + torch.arange(CONTEXT)]
        context = model.read(pictures, true.telemetry[:, :CONTEXT], true.actions[:, : CONTEXT - 1], true.properties)
        start = model.begin(context)
        end = model.imagine(start, true.actions[:, CONTEXT - 1 : -1].to(model.device)).final
        novelty.append(context.novelty)
        added.append(end.uncertainty)
        for errors, state, t in ((before, start, CONTEXT - 1), (after, end, CONTEXT + steps - 1)):
            objects, frames = true.objects[:, t].to(model.device), data.frames[chunk + t].to(model.device)
            errors.append(error(model, state, objects, frames))
    usual = torch.cat(novelty).median()
    if familiar:
        usual = torch.ones_like(usual)  # novelties are in units of it already
    else:
        model.tokenizer.usual_error.copy_(usual)
    begun, ended = (mean(*(torch.cat(parts) for parts in zip(*rows, strict=True))) for rows in (before, after))
    strange = strangeness(torch.cat(novelty) / usual)
    of_start = begun / strange.mean()
    model.calibration.copy_(torch.stack((of_start, scale(of_start * strange, torch.cat(added), ended))))


def scale(begun: Tensor, added: Tensor, ended: Tensor) -> Tensor:
    """By what to multiply what rollouts add (W,) to expected errors (W,) so that these become `ended` on average, or a
    hundredth more than they were where they are that large already; 1 where no rollout moves anything."""
    if not added.any():
        return torch.ones_like(ended)
    wanted = ended.clamp_min(1.01 * begun.mean())
    low, high = torch.zeros_like(wanted), wanted / added.mean()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = together(begun, middle * added).mean() > wanted
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    return high


def spread(first: Tensor, episodes: Tensor, most: int) -> Tensor:
    """At most so many of some windows (W,), as many of each of their episodes (W,), at least one; of episodes spread
    over them where there are more than that."""
    kinds = evenly(episodes.unique(), most)
    each = most // len(kinds)
    parts = [first[episodes == kind] for kind in kinds]
    return torch.cat([part[torch.linspace(0, len(part) - 1, min(each, len(part))).long()] for part in parts])


def error(model: WorldModel, state: WorldState, objects: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """How far off each object (B, K, 3) is [cm or, in the image frame, px], or each of the frames (B, H, W, 3) where
    nothing is tracked [grey levels], and which of these (B, K) count: nobody can say where objects are beyond the main
    camera's picture."""
    if objects.shape[1]:
        unit = 100 if model.config.dynamics.error_unit == "cm" else 1
        return unit * (state.objects - objects).norm(dim=-1), in_view(model, objects)
    apart = (model.decode(state).float() - frames.float()).abs().flatten(1).mean(dim=1, keepdim=True)
    return apart, torch.ones_like(apart, dtype=torch.bool)


def mean(apart: Tensor, counts: Tensor) -> Tensor:
    """Mean error over all rows (B, K) of what counts in each; if nothing does in any, of all."""
    counts = counts | ~counts.any()
    return apart.where(counts, torch.nan).nanmean(dim=-1).nanmean()


def in_view(model: WorldModel, objects: Tensor) -> Tensor:
    """Which objects (B, K, 3) [m] are within the main camera's picture, hidden or not, (B, K) bool."""
    main = torch.tensor(model.config.dynamics.view[:12], device=objects.device).view(3, 4)
    places, _ = project(main, objects)  # in tokens, of which 0 is the middle of the first
    picture = model.config.tokenizer
    rows, columns = picture.height / picture.token, picture.width / picture.token
    column, row = places.unbind(dim=-1)
    return (column > -0.5) & (column < columns - 0.5) & (row > -0.5) & (row < rows - 0.5)
