"""The statistics say what they are said to, on cases that can be counted by hand."""

import numpy as np
import pytest

from gwm_sim.evaluation.statistics import (
    auroc,
    balanced_accuracy,
    confusion,
    kappa,
    mean_maximum_rank_violation,
    pearson,
    ranks,
    spearman,
    wilson_interval,
)


def test_equal_values_share_their_rank() -> None:
    assert ranks([3.0, 1.0, 3.0, 2.0]).tolist() == [2.5, 0, 2.5, 1]


def test_rank_correlation_knows_order_only() -> None:
    values = np.array([0.1, 0.2, 0.7, 3.0])
    assert spearman(values, np.exp(values)) == pytest.approx(1)
    assert spearman(values, -(values**3)) == pytest.approx(-1)
    assert spearman([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)
    assert spearman(values, np.ones(4)) is None


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    assert auroc([0, 1], [2, 3, 4]) == 1
    assert auroc([0, 2], [1, 3]) == 0.75
    assert auroc([1, 1], [1, 1]) == 0.5
    assert auroc([], [1]) is None


def test_rank_violations_are_measured_in_the_real_world() -> None:
    real, simulated = [0.1, 0.5, 0.9], [0.2, 0.1, 0.8]
    assert mean_maximum_rank_violation(real=real, simulated=simulated) == pytest.approx((0.4 + 0.4 + 0.0) / 3)
    assert mean_maximum_rank_violation(real=real, simulated=real) == 0
    assert mean_maximum_rank_violation(real=simulated, simulated=real) == pytest.approx((0.1 + 0.1) / 3)
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        mean_maximum_rank_violation(real=real, simulated=[0.1, 0.2])


def test_correlations_of_what_does_not_vary_are_undefined() -> None:
    assert pearson([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx(1.0)
    assert pearson([0.5, 0.5], [0.0, 1.0]) is None
    yes, mixed = np.ones(4, bool), np.array([True, False, True, False])
    agreement = [kappa(confusion(mixed, other, 2)) for other in (mixed, ~mixed)]
    assert agreement == [1.0, -1.0] and kappa(confusion(yes, yes, 2)) is None


def test_agreement_of_a_known_table() -> None:
    matrix = np.array([[20, 5, 0], [10, 15, 0], [0, 0, 0]])  # the textbook's 2 by 2 table; one class does not occur
    assert balanced_accuracy(matrix) == pytest.approx((0.8 + 0.6) / 2)
    assert kappa(matrix) == pytest.approx(0.4)


def test_agreement_is_undefined_without_cases_or_classes() -> None:
    assert balanced_accuracy(np.zeros((3, 3), int)) is None
    assert kappa(np.zeros((3, 3), int)) is None
    assert kappa(np.diag([5, 0, 0])) is None


def test_confusion_has_truth_in_rows() -> None:
    matrix = confusion(np.array([0, 0, 2]), np.array([1, 1, 2]), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_wilson_interval_of_known_shares() -> None:
    assert wilson_interval(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    low, high = wilson_interval(20, 20)
    assert low == pytest.approx(0.8389, abs=1e-4)
    assert high == 1.0
