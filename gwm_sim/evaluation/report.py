"""The report of an open-loop test: every window rolled out once, compared by every metric that its data allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gwm_sim.evaluation.controllability import SHUFFLE_STEPS as SHUFFLE_STEPS
from gwm_sim.evaluation.controllability import Controllability
from gwm_sim.evaluation.open_loop import OpenLoopTest, Predictor
from gwm_sim.evaluation.registry import find_metrics
from gwm_sim.progress import Show

MIN_WINDOWS = 20  # a horizon that fewer windows reach is left out


def open_loop_report(
    predict: Predictor,
    test: OpenLoopTest,
    horizons: Sequence[int],
    *,
    batch: int = 64,
    show: Show = lambda share, text: None,
) -> dict[str, Any]:
    """Roll out every window of a test and compare.

    Args:
        predict: The predictor.
        test: The windows; its horizons are these and `SHUFFLE_STEPS`.
        horizons: Steps after which to report.
        batch: Windows that are predicted at once.
        show: Told now and then which share of the work is done.

    Returns:
        The keys `episodes`, `windows`, `horizons` and `controllability`, and what the metrics give.
    """
    kinds = find_metrics(test.file.schema.env_id)
    metrics = [kind(test) for kind in kinds]
    told = [metric for metric in metrics if metric.missing(test) is None]
    control = Controllability(predict, test, kinds)
    reached: Counter[int] = Counter()
    done, total = 0, sum(slot.steps for slot in test.slots)
    for windows in test.batches(batch):
        rows, steps = windows.actions.shape[:2]
        asked = test.reached(steps)
        prediction = predict(windows, windows.actions, asked)
        prediction = prediction._replace(empty_scene=test.scene.empty(prediction.telemetry))
        for metric in told:
            metric.update(windows, prediction, asked)
        if SHUFFLE_STEPS in asked:
            control.update(windows, prediction, asked.index(SHUFFLE_STEPS))
        reached.update(dict.fromkeys(asked, rows))
        done += rows * steps
        show(done / total, f"{done:,} of {total:,} steps")
    kept = [horizon for horizon in sorted(set(horizons)) if reached[horizon] >= MIN_WINDOWS]
    report: dict[str, Any] = {"episodes": test.episodes, "windows": len(test.slots)}
    report["horizons"] = {str(horizon): {"n": reached[horizon]} for horizon in kept}
    for metric in metrics:
        part = metric.compute(kept)
        for horizon, column in part.pop("horizons", {}).items():
            report["horizons"][horizon] |= column
        report |= part
    report["controllability"] = control.compute(metrics, reached[SHUFFLE_STEPS] >= MIN_WINDOWS)
    return report
