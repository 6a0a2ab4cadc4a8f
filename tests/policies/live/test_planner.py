"""What a planner promises is tested by its suite, which finds out those that do not keep it."""

from collections.abc import Callable

import numpy as np
import pytest
from bench import SCHEMA, SIZE

from gwm_sim.data.schema import Schema
from gwm_sim.policies.live.planner import History, Planner
from gwm_sim.policies.live.safety import Vector
from gwm_sim.policies.testing.planner import PlannerConformance

BUFFER = np.zeros((2, 3), np.float32)


class TestHolding(PlannerConformance):
    def make_planner(self) -> tuple[Planner, Schema, int]:
        return lambda history: np.zeros((5, 3), np.float32), SCHEMA, SIZE


def wrong_width(history: History) -> Vector:
    return np.zeros((5, 2), np.float32)


def infinite_while_pending(history: History) -> Vector:
    return np.full((5, 3), np.inf if len(history.pending) else 0.0, np.float32)


def scribbles(history: History) -> Vector:
    history.telemetry[:] = 0.0
    return np.zeros((5, 3), np.float32)


def reuses_its_plan(history: History) -> Vector:
    BUFFER[:] += 1.0
    return BUFFER


@pytest.mark.parametrize(
    ("planner", "test"),
    [
        (wrong_width, "finite_actions"),
        (infinite_while_pending, "finite_actions"),
        (scribbles, "leaves_what_was_seen"),
        (reuses_its_plan, "stays_as_it_is_when"),
    ],
)
def test_a_planner_that_does_not_conform_is_found_out(planner: Callable[[History], Vector], test: str) -> None:
    class Suite(PlannerConformance):
        def make_planner(self) -> tuple[Planner, Schema, int]:
            return planner, SCHEMA, SIZE

    (name,) = [name for name in dir(Suite) if test in name]
    with pytest.raises((AssertionError, ValueError)):
        getattr(Suite(), name)()
