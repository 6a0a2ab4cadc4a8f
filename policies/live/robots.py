"""Robots, in the shape that LeRobot gives them: connect, observe, act, disconnect, with dicts of named numbers.

An observation holds a number for each name of the model's telemetry, an action one for each name of its actions, in
the units of its data. Zeros must hold the robot still, and of actions that are targets the place where it is. Other
packages add robots as entry points of the group `gwm_sim.robots`: a callable that takes the `WorldModelConfig` and, as
keyword arguments of type str, the options of `gwm run`, and returns a robot.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.conversion.angles import nearest_turn
from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError, GwmError
from gwm_sim.model.config import WorldModelConfig

GROUP: Final = "gwm_sim.robots"


class RobotError(GwmError):
    """A robot does not answer as agreed."""


class Robot(Protocol):
    """What the live loop asks of a robot; robots of LeRobot fit where their names do.

    All calls come from one thread, except `connect` and `disconnect`. A call that hangs cannot be interrupted: drivers
    need time-outs of their own. A robot that has a camera may offer it as `camera`, a `FrameSource` that gives pictures
    even before `connect`: goals are checked first. `gwm_sim.policies.testing.robot.RobotConformance` tests all this.
    """

    @property
    def observation_features(self) -> Mapping[str, Any]:
        """Names of what `get_observation` returns."""

    @property
    def action_features(self) -> Mapping[str, Any]:
        """Names of what `send_action` takes."""

    @property
    def is_connected(self) -> bool:
        """Whether it can be talked to."""

    def connect(self) -> None:
        """Reach the robot, without moving it."""

    def get_observation(self) -> Mapping[str, Any]:
        """What the robot reports now."""

    def send_action(self, action: dict[str, float]) -> Mapping[str, float]:
        """Act for one control period, and return what was really sent."""

    def disconnect(self) -> None:
        """Leave the robot standing still."""


class SimulatedRobot:
    """What robots without hardware share: names, and a connection that is only noted."""

    def __init__(self, telemetry: Sequence[str], actions: Sequence[str]) -> None:
        """Name what is reported and what is taken."""
        self.observation_features = dict.fromkeys(telemetry, float)
        self.action_features = dict.fromkeys(actions, float)
        self.is_connected = False

    def connect(self) -> None:
        self.is_connected = True

    def disconnect(self) -> None:
        self.is_connected = False


class NullRobot(SimulatedRobot):
    """No robot: it follows commands exactly, in numbers only."""

    def __init__(self, schema: Schema) -> None:
        """Stand in the middle of the telemetry's bounds."""
        super().__init__(schema.telemetry_names, schema.action_names)
        self._schema = schema
        self._low, self._high = (np.array(side) for side in (schema.telemetry_low, schema.telemetry_high))
        self._telemetry = (self._low + self._high) / 2
        for command in schema.commands:
            self._telemetry[command.measured] = self._telemetry[command.telemetry]

    def get_observation(self) -> dict[str, float]:
        return dict(zip(self._schema.telemetry_names, self._telemetry.tolist(), strict=True))

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        values = [action[name] for name in self._schema.action_names]
        for command in self._schema.commands:
            column = command.telemetry
            target = command.begins(self._telemetry[column]) + command.scale * values[command.action]
            self._telemetry[column] = np.clip(target, self._low[column], self._high[column])
            self._telemetry[command.measured] = self._telemetry[column]
        return action


# --- finding robots ---------------------------------------------------------------------------------------------------


def _null(world: WorldModelConfig) -> Robot:
    return NullRobot(world.control)


BUILT_IN: Final = (
    EntryPoint("null", "gwm_sim.policies.live.robots:_null", GROUP),
    EntryPoint("gym", "gwm_sim.policies.live.env_robot:make", GROUP),
    EntryPoint("mujoco", "gwm_sim.policies.blocks.twin_robot:TwinRobot", GROUP),
)
"""Robots that need no plug-in; like plug-ins, only the one that is asked for is imported."""


def make_robot(name: str, world: WorldModelConfig, options: Sequence[str] = ()) -> Robot:
    """Make a robot by name.

    Args:
        name: "null", "gym", "mujoco" or a plug-in.
        world: Configuration of the model that will drive it.
        options: For the robot, each as NAME=VALUE.

    Raises:
        ConfigError: The robot is unknown, takes no such options or does not fit the model.
    """
    robots = {point.name: point for point in (*entry_points(group=GROUP), *BUILT_IN)}
    known = sorted(robots)
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {nearest[0]}?" if nearest else ""
        raise ConfigError(
            f"--robot {name} is unknown; there are {', '.join(known)}.{hint} "
            f"Packages add robots as entry points of the group {GROUP}."
        )
    factory: Callable[..., Robot] = robots[name].load()
    pairs = [option.partition("=") for option in options]
    if malformed := [key for key, equals, _ in pairs if not (key and equals)]:
        raise ConfigError(f"--robot_options are NAME=VALUE, got {malformed[0]!r}")
    try:
        robot = factory(world, **{key: value for key, _, value in pairs})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"--robot {name} cannot be made with options {list(options)}: {error}") from error
    check_robot(robot, world.schema)
    return robot


def connect(robot: Robot, name: str) -> None:
    """Connect a robot, or say what is in the way.

    Raises:
        RobotError: It cannot be reached.
    """
    try:
        robot.connect()
    except Exception as error:  # whatever a driver raises
        raise RobotError(f"--robot {name} cannot be connected: {type(error).__name__}: {error}") from error
    if not robot.is_connected:
        raise RobotError(f"--robot {name} does not say that it is connected")


def check_robot(robot: Robot, schema: Schema) -> None:
    """Raise ConfigError where a robot does not report the telemetry, or take the actions, of a model's data."""
    for names, features, verb in (
        (schema.telemetry_names, robot.observation_features, "report"),
        (schema.action_names, robot.action_features, "take"),
    ):
        if missing := [name for name in names if name not in features]:
            raise ConfigError(
                f"the robot does not {verb} {', '.join(missing)}, which the model needs; it has {', '.join(features)}"
            )


def read_telemetry(robot: Robot, schema: Schema) -> NDArray[np.float32]:
    """What a robot reports, (P,) in the order of the model's telemetry.

    Angles that the model knows without jumps are in the turn that it knows.

    Raises:
        RobotError: A number is missing, NaN or infinite.
    """
    observation = robot.get_observation()
    try:
        values = np.array([float(observation[name]) for name in schema.telemetry_names], np.float32)
    except KeyError as error:
        raise RobotError(f"it did not report {error}") from error
    if not np.isfinite(values).all():
        broken = [name for name, value in zip(schema.telemetry_names, values, strict=True) if not np.isfinite(value)]
        raise RobotError(f"it reports no finite {', '.join(broken)}")
    for i, name in enumerate(schema.telemetry_names):
        if turn := schema.settings.get("turns", {}).get(f"state.{name}"):
            middle = (schema.telemetry_low[i] + schema.telemetry_high[i]) / 2
            values[i : i + 1] = nearest_turn(values[i : i + 1], middle, turn)
    return values
