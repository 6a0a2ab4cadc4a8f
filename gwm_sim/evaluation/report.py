"""The report of an open-loop test: every window rolled out once, compared by every metric that its data allow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from gwm_sim.evaluation.metrics import DistanceMetric, find_metrics
from gwm_sim.evaluation.open_loop import OpenLoopTest, Predictor
from gwm_sim.progress import Show

MIN_WINDOWS = 20  # a horizon that fewer windows reach is left out
SHUFFLE_STEPS = 10  # horizon at which the effect of wrong actions is measured [steps]


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
    shuffled = [kind(test) for kind in kinds if issubclass(kind, DistanceMetric)]
    told, told_shuffled = ([m for m in group if m.missing(test) is None] for group in (metrics, shuffled))
    foreign = test.foreign_actions(SHUFFLE_STEPS)
    reached: Counter[int] = Counter()
    done, total = 0, sum(slot.steps for slot in test.slots)
    for windows in test.batches(batch):
        rows, steps = windows.actions.shape[:2]
        asked = test.reached(steps)
        prediction = predict(windows, windows.actions, asked)
        for metric in told:
            metric.update(windows, prediction, asked)
        if SHUFFLE_STEPS in asked:
            wrong = predict(windows, np.stack([foreign[k] for k in windows.number.tolist()]), [SHUFFLE_STEPS])
            for metric in told_shuffled:
                metric.update(windows.only(asked.index(SHUFFLE_STEPS)), wrong, [SHUFFLE_STEPS])
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
    known = reached[SHUFFLE_STEPS] >= MIN_WINDOWS
    right = [metric for metric in metrics if isinstance(metric, DistanceMetric)]
    report["controllability"] = _controllability(*(_error_cm(group) if known else None for group in (right, shuffled)))
    return report


def _error_cm(metrics: Sequence[DistanceMetric]) -> float | None:
    """Sum of the mean distances where actions show their effect [cm]; a part that is unknown counts nothing."""
    parts = [error for metric in metrics if (error := metric.error_cm(SHUFFLE_STEPS)) is not None]
    return sum(parts) if parts else None


def _controllability(right_cm: float | None, shuffled_cm: float | None) -> dict[str, Any]:
    """Compare the errors with the right actions and with those of other windows; None if too few are long enough."""
    return {
        "action_shuffle_ratio": shuffled_cm / right_cm if right_cm and shuffled_cm is not None else None,
        "error_cm": right_cm,
        "shuffled_error_cm": shuffled_cm,
        "steps": SHUFFLE_STEPS,
    }
