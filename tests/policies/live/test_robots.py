"""Robots are found by name, and refused where they do not fit a model."""

import math
from dataclasses import replace
from typing import Any

import pytest
from bench import SCHEMA
from models import make_model

from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.live import robots
from gwm_sim.policies.live.robots import NullRobot, Robot, make_robot, read_telemetry
from gwm_sim.policies.testing.robot import RobotConformance


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model(schema=SCHEMA)


class TestNullRobot(RobotConformance):
    def make_robot(self) -> tuple[Robot, Schema]:
        return NullRobot(SCHEMA), SCHEMA


class Unreachable(NullRobot):
    def connect(self) -> None:
        pass


class Blind(NullRobot):
    def get_observation(self) -> dict[str, float]:
        return super().get_observation() | {"z": math.nan}


class Mumbling(NullRobot):
    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        return {"x": 0.0}


class Drifting(NullRobot):
    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self._telemetry += 0.01
        return action


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Unreachable, "connected_from_connect"),
        (Blind, "reports_finite"),
        (Mumbling, "answers_with_the_action"),
        (Drifting, "a_hold_keeps_it_still"),
    ],
)
def test_a_robot_that_does_not_conform_is_found_out(kind: type[NullRobot], test: str) -> None:
    class Suite(RobotConformance):
        def make_robot(self) -> tuple[Robot, Schema]:
            return kind(SCHEMA), SCHEMA

    (name,) = [name for name in dir(Suite) if test in name]
    with pytest.raises((AssertionError, robots.RobotError)):
        getattr(Suite(), name)()


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
        ("bensh", [], "there are bench, gym, mujoco, null. Did you mean bench?"),
        ("bench", ["port"], "NAME=VALUE"),
        ("bench", ["speed=3"], "cannot be made with options"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_robot(name, model.config, options)


def test_a_robot_of_another_kind_is_refused(model: WorldModel) -> None:
    with pytest.raises(ConfigError, match="does not report joint_9, which the model needs; it has x, y, z"):
        robots.check_robot(NullRobot(SCHEMA), replace(SCHEMA, telemetry_names=("x", "joint_9")))


@pytest.mark.parametrize("turns", [-1, 0, 2])
def test_an_angle_is_reported_in_the_turn_that_the_model_knows(turns: int) -> None:
    """A model of a roll around pi meets a robot that says -3.1."""
    name = SCHEMA.telemetry_names[-1]
    low, high = (*SCHEMA.telemetry_low[:-1], 2.7), (*SCHEMA.telemetry_high[:-1], 3.6)
    schema = replace(SCHEMA, telemetry_low=low, telemetry_high=high, settings={"turns": {f"state.{name}": 2 * math.pi}})

    class Turned(NullRobot):
        def get_observation(self) -> dict[str, float]:
            return super().get_observation() | {name: 3.2 + turns * 2 * math.pi}

    values = read_telemetry(Turned(schema), schema)
    assert values[-1] == pytest.approx(3.2, abs=1e-5)
    assert values[0] == pytest.approx(NullRobot(schema).get_observation()[SCHEMA.telemetry_names[0]])
