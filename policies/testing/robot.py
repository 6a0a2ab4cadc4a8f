"""Whether a robot keeps what `gwm_sim.policies.live.Robot` promises the live loop. A real one is told to hold still.

class TestMyArm(RobotConformance):
    def make_robot(self) -> tuple[Robot, Schema]:
        return MyArm("/dev/ttyUSB0"), WorldModel.load("my-model").config.control
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from gwm_sim.data.schema import Schema
from gwm_sim.policies.live.camera import check_picture
from gwm_sim.policies.live.robots import Robot, check_robot, read_telemetry


class RobotConformance(ABC):
    """Tests of one robot."""

    drift = 0.01
    """How far telemetry may move while the robot holds still, as a share of its range."""

    @abstractmethod
    def make_robot(self) -> tuple[Robot, Schema]:
        """A robot that is not connected, and what the data mean of the model that will drive it."""

    def test_it_names_all_telemetry_and_actions_of_the_model(self) -> None:
        check_robot(*self.make_robot())

    def test_it_is_connected_from_connect_to_disconnect(self) -> None:
        robot, _ = self.make_robot()
        assert not robot.is_connected
        robot.connect()
        connected = robot.is_connected
        robot.disconnect()
        assert connected and not robot.is_connected

    def test_it_reports_finite_numbers(self) -> None:
        with self.connected() as (robot, schema):
            read_telemetry(robot, schema)

    def test_it_answers_with_the_action_that_was_sent(self) -> None:
        with self.connected() as (robot, schema):
            sent = robot.send_action(still(robot, schema))
            assert set(sent) <= set(robot.action_features)
            assert all(np.isfinite(float(value)) for value in sent.values())

    def test_a_hold_keeps_it_still(self) -> None:
        with self.connected() as (robot, schema):
            before, hold = read_telemetry(robot, schema), still(robot, schema)
            for _ in range(10):
                robot.send_action(dict(hold))
            moved = np.abs(read_telemetry(robot, schema) - before)
            span = np.subtract(schema.telemetry_high, schema.telemetry_low)
            assert (moved <= self.drift * span).all(), dict(zip(schema.telemetry_names, moved.tolist(), strict=True))

    def test_its_camera_if_any_gives_pictures_before_it_is_connected(self) -> None:
        robot, _ = self.make_robot()
        if (camera := getattr(robot, "camera", None)) is None:
            return
        frames = (camera.read() for _ in range(10))
        check_picture(next((frame for frame in frames if frame is not None), None))
        if callable(close := getattr(camera, "close", None)):
            close()

    @contextmanager
    def connected(self) -> Iterator[tuple[Robot, Schema]]:
        """A robot that is connected, until the test is over."""
        robot, schema = self.make_robot()
        robot.connect()
        try:
            yield robot, schema
        finally:
            robot.disconnect()


def still(robot: Robot, schema: Schema) -> dict[str, float]:
    """The action that holds a robot where it is."""
    return dict(zip(schema.action_names, schema.hold(read_telemetry(robot, schema)).tolist(), strict=True))
