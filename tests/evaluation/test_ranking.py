"""Two systems that rank policies: measures of their rates, and intervals that resample the starts."""

import numpy as np
import pytest

from gwm_sim.evaluation.ranking import Trials, rank_agreement
from gwm_sim.evaluation.statistics import mean_maximum_rank_violation, pearson, spearman


def trials(successes: object, tried: object = 1) -> Trials:
    counts = np.asarray(successes, int)
    return Trials(counts, np.broadcast_to(np.asarray(tried), counts.shape))


def test_measures_are_those_of_the_success_rates() -> None:
    rng = np.random.default_rng(0)
    real, simulated = (trials(rng.random((4, 30)) < np.array([[0.2], [0.5], [0.6], [0.9]])) for _ in range(2))
    found, rates = rank_agreement(real, simulated), (real.rates(), simulated.rates())
    assert found["pearson"] == pearson(*rates) and found["spearman"] == spearman(*rates)
    assert found["mmrv"] == mean_maximum_rank_violation(real=rates[0], simulated=rates[1])
    assert found["mean_gap"] == pytest.approx(np.abs(rates[0] - rates[1]).mean())


def test_intervals_hold_the_value_and_narrow_with_more_starts() -> None:
    def width(starts: int) -> float:
        rng = np.random.default_rng(1)
        skill = np.linspace(0.1, 0.9, 6)[:, None]
        real, simulated = (trials(rng.random((6, starts)) < skill) for _ in range(2))
        found = rank_agreement(real, simulated)
        low, high = found["intervals"]["mean_gap"]
        assert low <= high and found["intervals"]["pearson"][0] <= found["pearson"] <= found["intervals"]["pearson"][1]
        return float(high - low)

    assert width(800) < width(20)


def test_equal_systems_from_the_same_starts_leave_nothing_open() -> None:
    counts = np.random.default_rng(2).integers(0, 2, (3, 12))
    counts[0], counts[2] = 0, 1
    found = rank_agreement(trials(counts), trials(counts))
    assert found["intervals"]["mean_gap"] == [0.0, 0.0] and found["intervals"]["mmrv"] == [0.0, 0.0]
    apart = rank_agreement(trials(counts), trials(counts), paired=False)
    assert apart["intervals"]["mean_gap"][1] > 0


def test_several_trials_weigh_a_start() -> None:
    assert trials([[1, 0]], [[1, 3]]).rates().tolist() == [0.25]
    found = rank_agreement(trials([[3, 0], [0, 1]], 3), trials([[1, 0], [0, 1]]))
    assert found["mean_gap"] == pytest.approx((0 + 1 / 3) / 2)


def test_what_does_not_vary_has_neither_correlation_nor_interval() -> None:
    same = trials([[1, 1, 1], [1, 1, 1]])
    found = rank_agreement(same, same)
    assert found["pearson"] is None and found["intervals"]["pearson"] is None
