"""Expected beside true errors of imagined cubes: at some horizons, and after a minute in which nothing happens.

Measured by `benchmarks/uncertainty.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.evaluation.open_loop import OpenLoopTest, Window
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.fitting.calibration import in_view

Array = NDArray[Any]

HORIZONS: Final = (1, 10, 80)  # at which the expected error is held against the true one [steps]
MINUTE: Final = 600  # steps, at which that is done in long episodes, and of a world in which nothing happens


def scale(model: WorldModel, path: Path, horizons: Sequence[int], batch: int, limit: int | None) -> dict[str, Any]:
    """Expected and true error of the cubes in view [cm] at some horizons, and the slope of the one on the other."""
    with EpisodeFile(path) as file:
        c = model.config
        test = OpenLoopTest(file, horizons, cameras=c.cameras, properties=c.properties, limit=limit)
        pairs: dict[int, list[Array]] = {}
        for windows in test.batches(batch):
            state = encode(model, windows.frames, windows)
            actions = torch.from_numpy(windows.actions)
            rollout = model.imagine(state, actions[:, : max(horizons)], judged=False, draw=False)
            for horizon in test.reached(windows.actions.shape[1]):
                true = torch.from_numpy(windows.course_objects[:, horizon - 1]).float()
                apart = 100 * (rollout.objects[:, horizon - 1] - true).norm(dim=-1)
                apart = torch.where(in_view(model, true), apart, torch.nan).nanmean(dim=-1)
                pairs.setdefault(horizon, []).append(torch.stack([rollout.uncertainty[:, horizon - 1], apart]).numpy())
    found = {horizon: np.concatenate(parts, axis=1).astype(np.float64) for horizon, parts in sorted(pairs.items())}
    found = {horizon: both[:, np.isfinite(both[1])] for horizon, both in found.items()}
    return {
        str(horizon): {
            "windows": apart.size,
            "expected_cm": float(expected.mean()),
            "error_cm": float(apart.mean()),
            "slope": float((expected * apart).sum() / np.square(expected).sum()),
        }
        for horizon, (expected, apart) in found.items()
    }


def still(model: WorldModel, path: Path, limit: int | None) -> dict[str, Any]:
    """Expected error after a minute of holding still; the first frame of each episode is shown as if it had been there
    all the time."""
    with EpisodeFile(path) as file:
        test = OpenLoopTest(file, (1,), cameras=model.config.cameras, properties=model.config.properties)
        openings = [test.opening(k, 1) for k in range(min(test.episodes, limit or test.episodes))]
    windows = Window(*(np.concatenate(values) for values in zip(*openings, strict=True)))
    first = windows._replace(
        telemetry=np.repeat(windows.telemetry[:, :1], test.context, axis=1),
        past_actions=np.zeros_like(windows.past_actions),
    )
    state = encode(model, np.repeat(windows.frames[:, :1], test.context, axis=1), first)
    hold = torch.zeros(len(state), MINUTE, windows.actions.shape[-1])
    expected = model.imagine(state, hold, judged=False, draw=False).uncertainty[:, -1]
    return {"steps": MINUTE, "worlds": len(state), "expected_cm": float(expected.mean()), "most": float(expected.max())}


def encode(model: WorldModel, frames: Array, windows: Window) -> WorldState:
    """The states of windows after frames (B, C, H, W, 3), which need not be their own."""
    given = (frames, windows.telemetry, windows.past_actions, windows.properties)
    return model.encode(*map(torch.from_numpy, given))
