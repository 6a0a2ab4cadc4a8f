"""Pictures of what a model can do while it trains, on validation episodes: reconstructions and rollouts."""

from __future__ import annotations

from pathlib import Path

import torch

from gwm_sim.media.video import contact_sheet, write_png
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.dataset import TrainingData

HORIZONS = (1, 2, 5, 10, 20, 30, 40)  # of rollouts [steps]


def sample_tokenizer(model: WorldModel, data: TrainingData, folder: Path, step: int) -> None:
    """Write frames beside their reconstructions."""
    first = data.windows(1, validation=True, seen=True)
    frames = data.frames[first[torch.linspace(0, len(first) - 1, 10).long()]]
    decoded = model.detokenize(model.tokenize(frames)).cpu()
    write_png(
        folder / f"tokenizer-{step:06d}.png",
        contact_sheet({"real": list(frames.numpy()), "decoded": list(decoded.numpy())}),
    )


def sample_rollouts(model: WorldModel, data: TrainingData, folder: Path, step: int) -> None:
    """Write open-loop rollouts beside what really happened."""
    longest = int(data.lengths[data.validation() & data.seen()].max()) - CONTEXT
    horizons = [h for h in HORIZONS if h <= longest] or [longest]
    first = data.windows(CONTEXT + horizons[-1], validation=True, seen=True)
    first = first[torch.linspace(0, len(first) - 1, 4).long()]
    true, _, _ = data.batch(None, first, CONTEXT + horizons[-1])
    pictures = data.frames[first[:, None] + torch.arange(CONTEXT + horizons[-1])]
    given = pictures[:, :CONTEXT], true.telemetry[:, :CONTEXT], true.actions[:, : CONTEXT - 1], true.properties
    rollout = model.imagine(model.encode(*given), true.actions[:, CONTEXT - 1 : -1].to(model.device))
    decoded = model.decode(rollout).cpu().numpy()
    rows = {}
    for i in range(len(first)):
        rows[f"real {i}"] = [pictures[i, CONTEXT - 1 + h].numpy() for h in horizons]
        rows[f"model {i}"] = [decoded[i, h - 1] for h in horizons]
    write_png(folder / f"rollouts-{step:06d}.png", contact_sheet(rows, [str(h) for h in horizons]))
