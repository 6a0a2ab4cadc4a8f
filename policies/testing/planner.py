"""Whether a planner keeps what `gwm_sim.policies.live.Planner` promises the live loop.

class TestMyPlanner(PlannerConformance):
    def make_planner(self) -> tuple[Planner, Schema, int]:
        return MyPlanner(), schema, 64
"""

from abc import ABC, abstractmethod
from threading import Thread

import numpy as np

from gwm_sim.data.schema import Schema
from gwm_sim.policies.live.planner import History, Planner, check_plan
from gwm_sim.policies.live.safety import Vector
from gwm_sim.protocol import CONTEXT


class PlannerConformance(ABC):
    """Tests of one planner."""

    @abstractmethod
    def make_planner(self) -> tuple[Planner, Schema, int]:
        """A new planner, what its telemetry and actions mean, and height and width of the frames it sees [px]."""

    def test_it_plans_a_block_of_finite_actions_whether_or_not_some_are_pending(self) -> None:
        planner, schema, size = self.make_planner()
        for moment, pending in enumerate((0, 5, 1)):
            check_plan(planner(make_history(schema, size, pending, float(moment))), len(schema.action_names))

    def test_it_leaves_what_was_seen_as_it_is(self) -> None:
        planner, schema, size = self.make_planner()
        given, same = (make_history(schema, size, pending=2) for _ in range(2))
        planner(given)
        for name in ("frames", "telemetry", "actions", "pending"):
            np.testing.assert_array_equal(getattr(given, name), getattr(same, name))

    def test_a_plan_stays_as_it_is_when_the_next_one_is_made(self) -> None:
        planner, schema, size = self.make_planner()
        first = planner(make_history(schema, size))
        kept = np.array(first)
        planner(make_history(schema, size, pending=2, time=1.0))
        np.testing.assert_array_equal(first, kept)

    def test_it_plans_in_a_thread_that_did_not_make_it(self) -> None:
        planner, schema, size = self.make_planner()
        plans: list[Vector] = []
        thread = Thread(target=lambda: plans.append(planner(make_history(schema, size))))
        thread.start()
        thread.join()
        assert len(plans) == 1, "it raised an error in the thread, which is printed above"


def make_history(schema: Schema, size: int, pending: int = 0, time: float = 0.0) -> History:
    """Noise as seen by a camera, and telemetry and actions within their bounds."""
    rng = np.random.default_rng(0)

    def draw(rows: int, low: tuple[float, ...], high: tuple[float, ...]) -> Vector:
        return rng.uniform(low, high, (rows, len(low))).astype(np.float32)

    return History(
        frames=rng.integers(0, 256, (CONTEXT, size, size, 3), np.uint8),
        telemetry=draw(CONTEXT, schema.telemetry_low, schema.telemetry_high),
        actions=draw(CONTEXT - 1, schema.action_low, schema.action_high),
        pending=draw(pending, schema.action_low, schema.action_high),
        time=time,
    )
