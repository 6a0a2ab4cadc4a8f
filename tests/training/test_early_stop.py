"""Early stopping keeps the best weights, gives up after its patience, and goes on where it was interrupted."""

import math
from dataclasses import asdict

import torch

from gwm_sim.training.trainer import CHECKS, Best, EarlyStop


def watch(losses: list[float], patience: float) -> tuple[EarlyStop, float]:
    """Follow a phase whose only weight is its progress; return the watcher and where the phase ended."""
    left = iter(losses)
    early_stop = EarlyStop(lambda: torch.tensor(next(left)), patience)
    for step in range(1000):
        if early_stop.due(step / 1000):
            early_stop.check(step / 1000, {"weight": torch.tensor(step / 1000)})
            if early_stop.enough:
                return early_stop, step / 1000
    return early_stop, 1.0


def test_weights_of_the_best_moment_are_kept() -> None:
    early_stop, end = watch([5, 4, 3, 2, 3, 3, *[4] * CHECKS], patience=0.999)
    assert end == 1.0
    assert early_stop.best.loss == 2
    torch.testing.assert_close(early_stop.weights["weight"], torch.tensor(0.15))


def test_it_gives_up_after_its_patience_and_not_before() -> None:
    assert watch([3, 2, *[2.5] * CHECKS], patience=0.22)[1] == 0.3  # the first check later than 0.05 + 0.22
    assert watch([1 / (1 + k) for k in range(CHECKS)], patience=0.05)[1] == 1.0


def test_a_loss_that_is_not_a_number_is_no_improvement() -> None:
    early_stop, end = watch([3, *[math.nan] * CHECKS], patience=0.1)
    assert early_stop.best.at == 0
    assert end < 1


def test_it_goes_on_from_its_state() -> None:
    early_stop, _ = watch([3, 2, *[2.5] * CHECKS], patience=0.3)
    other = EarlyStop(early_stop.loss, 0.3, Best(**asdict(early_stop.best)), early_stop.weights)
    assert other.best == early_stop.best and other.enough
