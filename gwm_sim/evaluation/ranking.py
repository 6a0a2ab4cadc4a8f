"""Whether two systems rank the same policies alike, such as a learned world and a real robot.

Policies are given; starts are a sample. Intervals resample the starts, each with all of its trials and the same ones
for every policy and both systems, so they say what other starts would have given. Where nobody knows the starts, trials
are resampled, of each policy and system for themselves. Knows numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gwm_sim.evaluation.statistics import mean_maximum_rank_violation, pearson, spearman

RESAMPLES: Final = 1000
_LEVELS: Final = (2.5, 97.5)  # percentiles of a 95 % interval

Rates = NDArray[np.float64]


class Trials(NamedTuple):
    """What P policies did from S starts."""

    successes: NDArray[np.int_]  # (P, S)
    tried: NDArray[np.int_]  # (P, S), at least 1

    def rates(self) -> Rates:
        """Share of trials that succeeded, by policy (P,)."""
        return self.successes.sum(axis=1) / self.tried.sum(axis=1)

    def of(self, starts: NDArray[np.int_]) -> Trials:
        """What was done from some starts, with as many of each as they are named."""
        return Trials(self.successes[:, starts], self.tried[:, starts])

    def redrawn(self, rng: np.random.Generator) -> Trials:
        """As many trials of each policy, drawn from its own."""
        tried = self.tried.sum(axis=1)
        return Trials(rng.binomial(tried, self.rates())[:, None], tried[:, None])


def _mmrv(real: Rates, simulated: Rates) -> float:
    return mean_maximum_rank_violation(real=real, simulated=simulated)


def _gap(real: Rates, simulated: Rates) -> float:
    return float(np.abs(simulated - real).mean())


MEASURES: Final[Mapping[str, Callable[[Rates, Rates], float | None]]] = {
    "pearson": pearson,
    "spearman": spearman,
    "mmrv": _mmrv,
    "mean_gap": _gap,
}


def rank_agreement(real: Trials, simulated: Trials, paired: bool = True, seed: int = 0) -> dict[str, Any]:
    """Every measure of two systems' success rates, and under `intervals` its 95 % bootstrap interval.

    Args:
        real: The system that is right.
        simulated: The one that is to be believed.
        paired: Whether both began from the same starts, in the same order; otherwise nobody knows where they began.
        seed: Of the resampling.

    Returns:
        Numbers by the names of `MEASURES`, None where one is undefined, such as a correlation of rates that do not
        vary. An interval is None where most resamples leave the measure undefined.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in MEASURES}
    for _ in range(RESAMPLES):
        starts = rng.integers(real.tried.shape[1], size=(real.tried.shape[1],))
        other = [system.of(starts) if paired else system.redrawn(rng) for system in (real, simulated)]
        for name, measure in MEASURES.items():
            if (value := measure(other[0].rates(), other[1].rates())) is not None:
                drawn[name].append(value)
    numbers: dict[str, Any] = {name: measure(real.rates(), simulated.rates()) for name, measure in MEASURES.items()}
    return numbers | {"intervals": {name: _interval(values) for name, values in drawn.items()}}


def _interval(values: list[float]) -> list[float] | None:
    """95 % of resampled values lie in it; None where fewer than half of the resamples have one."""
    if 2 * len(values) < RESAMPLES:
        return None
    return [float(end) for end in np.percentile(values, _LEVELS)]
