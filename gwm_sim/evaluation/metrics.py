"""Metrics: the contract of what `gwm eval` measures, and what telemetry and depth tell in any world.

A metric is made for a test, told of its batches, and gives a part of the report; `registry.find_metrics` finds those of
a world. What the numbers mean is frozen: a change is a new benchmark. `gwm_sim.testing.metric` has tests that a new
metric can inherit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gwm_sim.data.episode_file import DEPTH_UNIT
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window
from gwm_sim.evaluation.statistics import Array, mean


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
        return {"horizons": {str(h): {"telemetry_error_mm": mean(joined(self.cases[h]))} for h in horizons}}

    def error_cm(self, horizon: int) -> float | None:
        return mean(joined(self.cases[horizon]) / 10)


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
        return {"depth_error_mm": {str(h): float(joined(self.cases[h]).mean()) for h in horizons if h in self.cases}}

    @staticmethod
    def lines(report: Mapping[str, Any]) -> Iterable[str]:
        if "depth_error_mm" in report:
            errors = ", ".join(f"{error:.1f} after {steps}" for steps, error in report["depth_error_mm"].items())
            yield f"depth error [mm]: {errors} steps"


def number(value: float | None, digits: int, scale: float = 1) -> str:
    """A number as it is printed, `-` for None."""
    return "-" if value is None else f"{scale * value:,.{digits}f}"


def joined(parts: Sequence[Array]) -> Array:
    """Values (B,) of all batches that are known, none without a batch."""
    values: Array = np.concatenate(parts) if parts else np.zeros(0)
    return values[~np.isnan(values)]
