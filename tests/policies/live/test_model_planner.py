"""The planner in a learned world: it plans from where the last plan ends, and goes from goal to goal."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bench import SCHEMA, SIZE
from models import make_model

from gwm_sim.data.schema import Schema
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.live.model_planner import ModelPlanner
from gwm_sim.policies.live.planner import Planner
from gwm_sim.policies.planning import Goal, IcemSettings, MpcConfig, Progress
from gwm_sim.policies.testing.planner import PlannerConformance, make_history


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model(schema=SCHEMA)


SMALL = MpcConfig(planner=IcemSettings(population=4, iterations=1, elites=2), horizon=2, block=3)


class TestModelPlanner(PlannerConformance):
    def make_planner(self) -> tuple[Planner, Schema, int]:
        model = make_model(schema=SCHEMA)
        return ModelPlanner(model, [Goal.solve(model, "reach")], config=SMALL), SCHEMA, SIZE


def test_model_planner_plans_from_where_the_last_plan_ends(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    imagined: list[int] = []
    original = WorldModel.imagine

    def imagine(self: WorldModel, state: Any, actions: Any, judged: bool = True, draw: bool = True) -> Any:
        imagined.append(actions.shape[1])
        return original(self, state, actions, judged, draw)

    monkeypatch.setattr(WorldModel, "imagine", imagine)
    planner = ModelPlanner(model, [Goal.solve(model, "reach")], config=SMALL)
    actions = planner(make_history(SCHEMA, SIZE, pending=5))
    assert imagined == [5, 6]
    assert actions.shape == (3, 3) and actions.dtype == np.float32 and (np.abs(actions) <= 1).all()
    assert (actions == actions[0]).all()


def test_model_planner_goes_from_goal_to_goal(model: WorldModel) -> None:
    history = make_history(SCHEMA, SIZE)
    met, other = Goal.image(model, history.frames[-1]), Goal.image(model, 255 - history.frames[-1])
    config = replace(SMALL, progress=Progress(codes=0.0, patience=1.0))
    planner = ModelPlanner(model, [met, other, other], config=config)
    planner(history)
    assert planner.current == 1  # the first was reached
    planner(replace(history, time=0.9))
    assert planner.current == 1
    planner(replace(history, time=1.1))
    assert planner.current == 2  # the second took too long
    planner(replace(history, time=9.9))
    assert planner.current == 2  # the last has all the time
