"""Floors: pictures that ask nothing of a model. A number that is no better than theirs says nothing for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.views import main_view
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window

FLOORS = {"_floor": "last frame copied", "_scene_floor": "empty scene, robot looked up"}
"""What a floor shows, by the end of its keys in a report.

The robot is looked up in the training data by the telemetry that the model predicted: `Scene.empty`.
"""

ENDS = ("", *FLOORS)
"""Ends of the keys of a number: of the prediction and of each floor."""


class Shown(NamedTuple):
    """Pictures of the main camera at S horizons of B windows, what happened and what is held against it."""

    true: Array  # (B, S, H, W, 3) uint8
    last: Array  # (B, H, W, 3) uint8, of the last context frame
    candidates: dict[str, Array]  # prediction and known floors, (B, S, H, W, 3) uint8 each, by the end of their keys


def shown(test: OpenLoopTest, windows: Window, prediction: Prediction) -> Shown:
    """Take the main camera's pictures out of a batch."""
    true, predicted = (main_view(frames, test.cameras) for frames in (windows.true_frames, prediction.frames))
    last = main_view(windows.frames[:, -1], test.cameras)
    candidates = {"": predicted, "_floor": np.broadcast_to(last[:, None], true.shape)}
    if prediction.empty_scene is not None:
        candidates["_scene_floor"] = prediction.empty_scene
    return Shown(true, last, candidates)


def by_end(key: str, values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Numbers of a report from one per candidate; None for a floor that is not known."""
    return {f"{key}{end}": values.get(end) for end in ENDS}
