"""Metrics: the contract of what `gwm eval` measures, and what can be measured in any world.

A metric is made for a test, told of its batches, and gives a part of the report. A world may have metrics of its own:
`find_metrics` finds them by the id that its data bear. What the numbers here mean is frozen: a change is a new
benchmark. `gwm_sim.testing.metric` has tests that a new metric can inherit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gwm_sim.data.episode_file import DEPTH_UNIT
from gwm_sim.data.views import main_view
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window
from gwm_sim.evaluation.statistics import Array, mean

WORLD_METRICS = {"*": "gwm_sim.envs.blocks.metrics"}
"""Module whose `METRICS` a world has beside those of any world, by pattern of its id; the longest that fits counts.

The block world's are for all others, too: boxes that are told by their colour are in anybody's data.
"""

FOREGROUND_LEVELS = 16
"""A pixel is foreground if a channel of the true frame differs from the background by more than this [grey levels]."""

MAX_PSNR = 100.0  # PSNR of pictures without any difference [dB]


class Row(NamedTuple):
    """A line of the printed table: one number per horizon."""

    label: str
    unit: str
    key: str
    digits: int


class Metric(ABC):
    """One respect in which predictions stray from what happened."""

    name: ClassVar[str]  # what it measures, in a word or two
    rows: ClassVar[tuple[Row, ...]] = ()  # which of its numbers by horizon are printed

    def __init__(self, test: OpenLoopTest) -> None:
        """Prepare for the windows of a test, also of one that lacks what the metric needs."""
        self.test = test
        self.cases: dict[Any, list[Any]] = defaultdict(list)
        """Where `update` may keep what it found in each batch, by horizon, say."""

    @staticmethod
    @abstractmethod
    def missing(test: OpenLoopTest) -> str | None:
        """Say what the data of a test lack that this metric needs; None where it applies."""

    @abstractmethod
    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        """Compare a batch of B windows; never called where something is `missing`.

        Args:
            windows: What really happened.
            prediction: What the predictor answered; what it left out, as None, is passed over.
            horizons: The S steps at which both say what is seen.
        """

    @abstractmethod
    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        """Give the numbers of all batches, a JSON object; a number is None where there is no case to take it from.

        Args:
            horizons: Those that enough windows reached.

        Returns:
            A part of the report. Numbers by horizon stand under `horizons`, by the horizon as a string.
        """

    @staticmethod
    def lines(report: Mapping[str, Any]) -> Iterable[str]:
        """What is printed of a report beside the `rows`, in lines."""
        return ()


class DistanceMetric(Metric):
    """A metric of how far something is from where it was, which the actions decide: part of controllability."""

    @abstractmethod
    def error_cm(self, horizon: int) -> float | None:
        """Mean distance at a horizon [cm]."""


def find_metrics(env_id: str) -> tuple[type[Metric], ...]:
    """The metrics of data that bear this id, those of their world first."""
    fitting = [pattern for pattern in WORLD_METRICS if fnmatchcase(env_id, pattern)]
    own: Sequence[type[Metric]] = import_module(WORLD_METRICS[max(fitting, key=len)]).METRICS if fitting else ()
    return (*own, Telemetry, Pictures, Depth)


class Telemetry(DistanceMetric):
    """Distance of predicted and true measured end-effector.

    telemetry_error_mm: Its mean.
    """

    name = "end-effector"
    rows = (Row("end-effector error, mean", "mm", "telemetry_error_mm", 1),)

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        return None if test.file.schema.effector else "the data do not say where it is"

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        effector = list(self.test.file.schema.effector)
        for i, horizon in enumerate(horizons):
            predicted, true = (x[:, i, effector] for x in (prediction.telemetry, windows.true_telemetry))
            self.cases[horizon].append(1000 * np.linalg.norm(predicted - true, axis=-1))

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        return {"horizons": {str(h): {"telemetry_error_mm": mean(_joined(self.cases[h]))} for h in horizons}}

    def error_cm(self, horizon: int) -> float | None:
        return mean(_joined(self.cases[horizon]) / 10)


class Pictures(Metric):
    """How alike the main camera's pictures are.

    psnr, fg_psnr: Of the mean squared error over all pictures, and over all foreground pixels of all pictures [dB].
    psnr_floor, fg_psnr_floor: The same for the last context frame.
    """

    name = "pictures"
    rows = (
        Row("PSNR", "dB", "psnr", 1),
        Row("  last frame copied", "dB", "psnr_floor", 1),
        Row("foreground PSNR", "dB", "fg_psnr", 1),
        Row("  last frame copied", "dB", "fg_psnr_floor", 1),
    )

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        return None

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        true, predicted = (main_view(x, self.test.cameras) for x in (windows.true_frames, prediction.frames))
        last_frames = main_view(windows.frames[:, -1], self.test.cameras)
        for i, horizon in enumerate(horizons):
            frames = true[:, i]
            squared = np.stack(
                [_squared_difference(pictures, frames) for pictures in (predicted[:, i], last_frames)], axis=1
            )  # (B, 2, H, W)
            away = np.abs(frames.astype(np.int16) - self.test.background).max(axis=-1)  # (B, H, W)
            foreground = away > FOREGROUND_LEVELS
            # Mean squared difference of prediction and of last context frame to the true frame [grey levels^2], (B, 2);
            # its sum over the foreground pixels, (B, 2), and their number, (B,).
            over_foreground = (squared * foreground[:, None]).sum(axis=(2, 3))
            self.cases[horizon].append((squared.mean(axis=(2, 3)), over_foreground, foreground.sum(axis=(1, 2))))

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        return {"horizons": {str(horizon): self._column(horizon) for horizon in horizons}}

    def _column(self, horizon: int) -> dict[str, float | None]:
        squared, over_foreground, pixels = map(np.concatenate, zip(*self.cases[horizon], strict=True))
        foreground = max(1, pixels.sum())
        psnr, psnr_floor = (_psnr(value) for value in squared.mean(axis=0))
        fg_psnr, fg_psnr_floor = (_psnr(value / foreground) for value in over_foreground.sum(axis=0))
        has_foreground = pixels.any()
        return {
            "psnr": psnr,
            "psnr_floor": psnr_floor,
            "fg_psnr": fg_psnr if has_foreground else None,
            "fg_psnr_floor": fg_psnr_floor if has_foreground else None,
        }


class Depth(Metric):
    """Difference of predicted and true depth image of the main camera.

    depth_error_mm: Mean over pixels and windows, by horizon; the key is missing where depth is not known or predicted.
    """

    name = "depth"

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        return None if test.depth else "the main camera measured none, or the model does not know it"

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        if prediction.depth is None:
            return
        for i, horizon in enumerate(horizons):
            error = np.abs(prediction.depth[:, i] - windows.true_depth[:, i] * DEPTH_UNIT)
            self.cases[horizon].append(1000 * error.mean(axis=(1, 2, 3)))

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        if not self.cases:
            return {}
        return {"depth_error_mm": {str(h): float(_joined(self.cases[h]).mean()) for h in horizons if h in self.cases}}

    @staticmethod
    def lines(report: Mapping[str, Any]) -> Iterable[str]:
        if "depth_error_mm" in report:
            errors = ", ".join(f"{error:.1f} after {steps}" for steps, error in report["depth_error_mm"].items())
            yield f"depth error [mm]: {errors} steps"


def number(value: float | None, digits: int, scale: float = 1) -> str:
    """A number as it is printed, `-` for None."""
    return "-" if value is None else f"{scale * value:,.{digits}f}"


def _joined(parts: Sequence[Array]) -> Array:
    """Values (B,) of all batches that are known, none without a batch."""
    values: Array = np.concatenate(parts) if parts else np.zeros(0)
    return values[~np.isnan(values)]


def _squared_difference(pictures: Array, frames: Array) -> Array:
    """Squared difference of pictures (B, H, W, 3), mean over the channels, (B, H, W)."""
    difference: Array = np.square(pictures.astype(np.float32) - frames).mean(axis=-1)
    return difference


def _psnr(squared: float) -> float:
    return float(min(MAX_PSNR, 10 * np.log10(255**2 / squared))) if squared > 0 else MAX_PSNR
