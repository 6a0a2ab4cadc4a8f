"""Whether a metric of `gwm eval` keeps to the contract of `Metric`: a suite that pytest runs for whoever inherits it.

    class TestMyMetric(MetricConformance):
        def make_metric(self, tmp_path):
            file = EpisodeFile(write_some_episodes(tmp_path / "mine.hdf5"))
            return MyMetric(OpenLoopTest(file, [1, 10]))

The test must have what the metric needs, and a few windows.
"""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.data.episode_file import DEPTH_UNIT
from gwm_sim.evaluation.metrics import DistanceMetric, Metric
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window


def what_happened(test: OpenLoopTest, windows: Window) -> Prediction:
    """The answer of a predictor that knows everything."""
    return Prediction(
        frames=windows.true_frames,
        telemetry=windows.true_telemetry,
        success=dict(zip(test.file.schema.tasks, windows.true_success.T, strict=True)),
        course_telemetry=windows.course_telemetry,
        course_objects=windows.course_objects,
        depth=windows.true_depth * DEPTH_UNIT if test.depth else None,
    )


class MetricConformance(ABC):
    """Tests of a `Metric`; the name of a class that inherits them begins with `Test`."""

    @abstractmethod
    def make_metric(self, tmp_path: Path) -> Metric:
        """Make one for a test to which it applies."""

    def report(self, metric: Metric, batch: int) -> dict[str, Any]:
        """What a metric gives of all windows for what truly happened, told in batches."""
        test = metric.test
        for windows in test.batches(batch):
            before = [value.copy() for value in windows]
            metric.update(windows, what_happened(test, windows), test.reached(windows.actions.shape[1]))
            unchanged = all(np.array_equal(a, b, equal_nan=True) for a, b in zip(before, windows, strict=True))
            assert unchanged, "`update` changed its windows, which other metrics read, too"
        return metric.compute(test.horizons)

    def test_it_applies_and_has_a_name(self, tmp_path: Path) -> None:
        metric = self.make_metric(tmp_path)
        assert metric.missing(metric.test) is None, f"the test lacks: {metric.missing(metric.test)}"
        assert metric.name, "a metric has a name, for the line that says what is not measured"

    def test_before_the_first_batch_there_are_no_numbers_but_no_errors(self, tmp_path: Path) -> None:
        metric = self.make_metric(tmp_path)
        assert metric.compute([]).get("horizons", {}) == {}
        if isinstance(metric, DistanceMetric):
            assert metric.error_cm(metric.test.horizons[0]) is None

    def test_the_report_is_json_by_horizon_and_has_the_rows(self, tmp_path: Path) -> None:
        metric = self.make_metric(tmp_path)
        report = self.report(metric, batch=8)
        assert json.loads(json.dumps(report, allow_nan=False)) == report, "keys are strings, numbers finite or None"
        columns = report.get("horizons", {})
        assert set(columns) <= {str(horizon) for horizon in metric.test.horizons}
        for row in metric.rows:
            assert all(row.key in column for column in columns.values()), f"no number for the row {row.label!r}"
        assert all(isinstance(line, str) for line in metric.lines(report))

    def test_the_size_of_batches_changes_nothing(self, tmp_path: Path) -> None:
        few, many = (self.report(self.make_metric(tmp_path), batch) for batch in (3, 1000))
        assert few.keys() == many.keys()
        for (key, one), (_, other) in zip(_leaves(few), _leaves(many), strict=True):
            same = one == other or np.isclose(float(one), float(other), rtol=1e-4)
            assert same, f"{key} is {one} in batches of 3 and {other} in one"

    def test_distances_of_what_happened_are_none(self, tmp_path: Path) -> None:
        metric = self.make_metric(tmp_path)
        self.report(metric, batch=8)
        if isinstance(metric, DistanceMetric):
            assert all(metric.error_cm(horizon) in (0, None) for horizon in metric.test.horizons)


def _leaves(value: Any, key: str = "") -> list[tuple[str, Any]]:
    """Numbers and texts of a JSON object, each with its place."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return [(key, value)]
    return [leaf for name, item in sorted(items) for leaf in _leaves(item, f"{key}/{name}")]
