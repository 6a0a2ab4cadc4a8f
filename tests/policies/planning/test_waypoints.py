"""Waypoints: where straight pieces of a path meet."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from gwm_sim.policies.planning.prior.demonstrations import deviations, linger, waypoints

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 2.0]])


def polyline(steps: int = 10) -> NDArray[np.float64]:
    """A path through `CORNERS`, `steps` steps between two of them."""
    pieces = [a + (b - a) * np.arange(steps)[:, None] / steps for a, b in zip(CORNERS, CORNERS[1:], strict=False)]
    return np.concatenate([*pieces, CORNERS[-1:]])


def test_corners_are_found_and_nothing_else() -> None:
    assert waypoints(polyline(), tolerance=1e-6).tolist() == [10, 20, 30, 40]


def test_a_straight_path_has_its_end_alone() -> None:
    straight = np.linspace([0.0, 0.0, 0.0], [1.0, 2.0, 3.0], 20)
    assert waypoints(straight, tolerance=1e-6).tolist() == [19]
    assert waypoints(np.zeros((5, 2)), tolerance=1e-6).tolist() == [4]
    assert waypoints(np.zeros((1, 2)), tolerance=1e-6).tolist() == [0]


@pytest.mark.parametrize("most", [0, 1, 2])
def test_fewer_moments_stray_as_little_as_that_many_can(most: int) -> None:
    path = polyline(5)
    chosen = waypoints(path, tolerance=1e-6, most=most)
    assert len(chosen) == most + 1 and chosen[-1] == len(path) - 1

    def worst(moments: Sequence[int]) -> float:
        stray = deviations(path)
        ends = [0, *moments, len(path) - 1]
        return max(float(stray[a, b]) for a, b in zip(ends, ends[1:], strict=False))

    inner = range(1, len(path) - 1)
    best = min(worst(moments) for moments in combinations(inner, most))
    assert worst(chosen[:-1].tolist()) == pytest.approx(best)


def test_going_back_along_the_same_line_is_a_turn() -> None:
    there_and_back = np.array([[0.0], [1.0], [2.0], [1.0], [0.0]])
    assert waypoints(there_and_back, tolerance=0.1).tolist() == [2, 4]


def test_lingering_ends_where_the_path_goes_on() -> None:
    path = np.array([[0.0], [1.0], [1.01], [0.99], [1.5], [1.0]])
    assert linger(path, 1, tolerance=0.02) == 3
    assert linger(path, 5, tolerance=0.02) == 5
