"""`benchmarks/live_goals.py`: a true world is driven by the live loop, and its runs are counted."""

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import live_goals
import numpy as np
import pytest
from bench import SCHEMA
from goals import Pair
from models import make_model
from true_worlds import made_up

from gwm_sim.policies.live.planner import History
from gwm_sim.policies.live.timing import Clock

FREE = replace(SCHEMA, commands=())  # nothing says where it may go


class Ahead:
    """Goes on as far as it may, or stays."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, history: History) -> Any:
        return np.full((5, 3), float(self.step), np.float32)

    step = 1


class Still(Ahead):
    step = 0


@pytest.mark.parametrize(("planner", "reached"), [(Ahead, True), (Still, False)])
def test_the_live_loop_drives_a_true_world_to_a_goal(
    planner: type[Ahead], reached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_goals, "ModelPlanner", planner)
    env = made_up(tmp_path, monkeypatch, FREE)
    config = live_goals.LiveGoalsConfig(world="pusht", slower=4)
    try:
        run = live_goals.attempt(make_model(schema=FREE), None, env, Pair(10, 4, 4), config)
    finally:
        env.close()
    assert run["fault"] is None and run["reached"] == reached
    assert run["at"] is None or run["at"] >= 4
    assert 0 < run["steps"] <= 8


def test_time_that_passes_more_slowly_is_as_long_for_the_loop() -> None:
    slow, clock = live_goals.SlowClock(100.0), Clock()
    before, begun = slow.now(), clock.now()
    assert not slow.wait(Event(), 0.001)
    assert clock.now() - begun >= 0.1 and slow.now() - before < 0.5 * (clock.now() - begun)


def test_runs_are_summed_up() -> None:
    run = {"reached": True, "steps": 40, "late": 0, "waits": 2, "plan_ms": [100, 300], "fault": None}
    other = {"reached": False, "steps": 58, "late": 2, "waits": 0, "plan_ms": [], "fault": "camera: gone"}
    found = live_goals.summary([run, other])
    assert found["reached"] == 0.5 and found["goals"] == 2 and found["faults"] == 1
    assert found["late_steps"] == 0.02 and found["steps_without_a_plan"] == pytest.approx(2 / 98)
    assert found["plan_ms_p50"] == 200 and found["wilson"][0] < 0.5 < found["wilson"][1]
