"""Whether a prediction depends on the actions: what it is off by with those that were taken, and with others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gwm_sim.data.views import main_view
from gwm_sim.evaluation.metrics import DistanceMetric, Metric
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Predictor, Window
from gwm_sim.evaluation.pictures import foreground_error
from gwm_sim.evaluation.statistics import Array

SHUFFLE_STEPS = 10  # horizon at which the effect of wrong actions is measured [steps]


class Controllability:
    """How much worse predictions get at `SHUFFLE_STEPS` where other actions are given than those that were taken.

    action_shuffle_ratio: Mean distance, summed over the distance metrics, with the actions of other windows
        (`OpenLoopTest.foreign_actions`) over that with the right ones.
    error_cm, shuffled_error_cm: Those distances [cm].
    pictures: Squared difference of predicted and true pictures of the main camera, summed over the foreground of the
        true frames, with the actions of other windows (`shuffled`), with zeros (`zero`) and with the last given action
        (`repeated`), each over that with the right ones. None where that is nothing, or where no action was given.
    """

    def __init__(self, predict: Predictor, test: OpenLoopTest, kinds: Sequence[type[Metric]]) -> None:
        """Prepare to ask a predictor about the windows of a test; distances are those of the metrics that are."""
        self._predict, self._test = predict, test
        self._foreign = test.foreign_actions(SHUFFLE_STEPS)
        self._shuffled = [kind(test) for kind in kinds if issubclass(kind, DistanceMetric)]
        self._errors: dict[str, float] = {}  # squared foreground errors by what was given

    def update(self, windows: Window, prediction: Prediction, index: int) -> None:
        """Ask about a batch again; `index` is that of `SHUFFLE_STEPS` among the horizons of the prediction."""
        truth = windows.only(index)
        self._add("right", truth, prediction.frames[:, [index]])
        for name, actions in self._others(windows):
            wrong = self._predict(windows, actions, [SHUFFLE_STEPS])
            self._add(name, truth, wrong.frames)
            if name == "shuffled":
                for metric in self._shuffled:
                    if metric.missing(self._test) is None:
                        metric.update(truth, wrong, [SHUFFLE_STEPS])

    def _others(self, windows: Window) -> Iterator[tuple[str, Array]]:
        """Other actions (B, SHUFFLE_STEPS, A) for a batch, by name."""
        yield "shuffled", np.stack([self._foreign[number] for number in windows.number.tolist()])
        taken = windows.actions[:, :SHUFFLE_STEPS]
        yield "zero", np.zeros_like(taken)
        if windows.past_actions.shape[1]:
            yield "repeated", windows.past_actions[:, -1:].repeat(SHUFFLE_STEPS, axis=1)

    def _add(self, name: str, truth: Window, frames: Array) -> None:
        true, pictures = (main_view(x, self._test.cameras) for x in (truth.true_frames, frames))
        error, _ = foreground_error(self._test, true, pictures)
        self._errors[name] = self._errors.get(name, 0.0) + float(error.sum())

    def compute(self, metrics: Sequence[Metric], known: bool) -> dict[str, Any]:
        """Compare with the right actions, of which `metrics` were told; all numbers are None where too few windows are
        long enough for them to be `known`."""
        right = [metric for metric in metrics if isinstance(metric, DistanceMetric)]
        right_cm, shuffled_cm = (_error_cm(group) if known else None for group in (right, self._shuffled))
        base = self._errors.get("right") if known else None
        return {
            "action_shuffle_ratio": shuffled_cm / right_cm if right_cm and shuffled_cm is not None else None,
            "error_cm": right_cm,
            "shuffled_error_cm": shuffled_cm,
            "steps": SHUFFLE_STEPS,
            "pictures": {
                name: self._errors[name] / base if base and name in self._errors else None
                for name in ("shuffled", "zero", "repeated")
            },
        }


def _error_cm(metrics: Sequence[DistanceMetric]) -> float | None:
    """Sum of the mean distances where actions show their effect [cm]; a part that is unknown counts nothing."""
    parts = [error for metric in metrics if (error := metric.error_cm(SHUFFLE_STEPS)) is not None]
    return sum(parts) if parts else None
