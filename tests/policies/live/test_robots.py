"""Robots are found by name, and refused where they do not fit a model."""

from dataclasses import replace
from typing import Any

import pytest
from bench import SCHEMA
from models import make_model

from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.live import robots
from gwm_sim.policies.live.robots import NullRobot, make_robot


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model(schema=SCHEMA)


def test_plugins_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch, model: WorldModel) -> None:
    class Point:
        name = "bench"

        def load(self) -> Any:
            return lambda world, port="none": FakePlugin(port)

    class FakePlugin(NullRobot):
        def __init__(self, port: str) -> None:
            super().__init__(SCHEMA)
            self.port = port

    monkeypatch.setattr(robots, "entry_points", lambda group: [Point()] if group == "gwm_sim.robots" else [])
    robot = make_robot("bench", model.config, ["port=/dev/ttyUSB0"])
    assert isinstance(robot, FakePlugin) and robot.port == "/dev/ttyUSB0"
    for name, options, message in (
        ("bensh", [], "there are bench, mujoco, null. Did you mean bench?"),
        ("bench", ["port"], "NAME=VALUE"),
        ("bench", ["speed=3"], "cannot be made with options"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_robot(name, model.config, options)


def test_a_robot_of_another_kind_is_refused(model: WorldModel) -> None:
    with pytest.raises(ConfigError, match="does not report joint_9, which the model needs; it has x, y, z"):
        robots.check_robot(NullRobot(SCHEMA), replace(SCHEMA, telemetry_names=("x", "joint_9")))
