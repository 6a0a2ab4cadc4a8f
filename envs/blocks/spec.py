"""What both worlds promise: spaces, units, rates, tasks and properties of the block environments.

The physics twin and the learned environment share this page, so a policy that runs in one runs in the other. It needs
numpy and Gymnasium only. Axes: B batch, H W image (channel last), A action, P telemetry.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from gymnasium.spaces import Dict

from gwm_sim.envs.spaces import robot_space
from gwm_sim.envs.tabletop.robot import (
    ACTION_NAMES,
    ACTION_SCALE,
    COMMAND,
    CONTROL_RATE,
    EE,
    GRIPPER,
    GRIPPER_MAX,
    GRIPPER_SCALE,
    JOINTS,
    OPENING,
    TELEMETRY_HIGH,
    TELEMETRY_LOW,
    TELEMETRY_NAMES,
    TELEMETRY_UNITS,
    WORKSPACE_HIGH,
    WORKSPACE_LOW,
    action_space,
    integrate_command,
)

TASKS: Final = ("reach", "grasp", "stack")
TIME_LIMIT: Final[Mapping[str, int]] = {"reach": 30, "grasp": 50, "stack": 80}  # [steps]

OBJECT_NAMES: Final = ("red", "blue")
CUBE_SIZE: Final = 0.05  # edge [m]

PROPERTY_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "friction": (0.1, 1.2),  # sliding coefficient of cubes against fingers, table and each other
    "gravity": (1.6, 15.0),  # [m/s^2]
}
PROPERTY_DEFAULTS: Final[Mapping[str, float]] = {"friction": 1.0, "gravity": 9.81}

_WORLDS: Final = {"learned": "GWM", "twin": "MuJoCo"}


def env_id(world: str, task: str) -> str:
    """Gymnasium id of `task` in `world`, which is "learned" or "twin"."""
    if world not in _WORLDS or task not in TASKS:
        raise ValueError(
            f"No environment for world {world!r} and task {task!r}: worlds {tuple(_WORLDS)}, tasks {TASKS}"
        )
    return f"{_WORLDS[world]}-Block{task.capitalize()}-v0"


def world_ids(task: str) -> dict[Literal["twin", "learned"], str]:
    """Gymnasium ids of `task` in both worlds."""
    return {"twin": env_id("twin", task), "learned": env_id("learned", task)}


def task_of(env_id: str) -> str | None:
    """Task of a Gymnasium id such as "gwm_sim:MuJoCo-BlockStack-v0", or None where the id names no task."""
    name = env_id.rpartition(":")[2].rpartition("/")[2]
    return next((task for task in TASKS if f"-Block{task.capitalize()}-" in name), None)


def is_twin(env_id: str) -> bool:
    """Whether a Gymnasium id is one of the physics twin's."""
    return env_id.rpartition(":")[2].startswith("MuJoCo-")


def observation_space(size: int = 64, cameras: Sequence[str] = ("front",), depth: bool = False) -> Dict:
    """Observation space of one environment.

    Args:
        size: Height and width of the frames [px].
        cameras: Names of the cameras, each giving one entry of frames.
        depth: Whether every camera also gives a depth image (H, W, 1) [m].
    """
    if size < 1:
        raise ValueError(f"size is the frames' height and width in pixels and must be positive, got {size}")
    if not cameras or len(set(cameras)) != len(cameras):
        raise ValueError(f"cameras must be one or more different names, got {tuple(cameras)}")
    return robot_space((size, size), cameras, cameras if depth else (), TELEMETRY_LOW, TELEMETRY_HIGH)


__all__ = [
    "ACTION_NAMES",
    "ACTION_SCALE",
    "COMMAND",
    "CONTROL_RATE",
    "CUBE_SIZE",
    "EE",
    "GRIPPER",
    "GRIPPER_MAX",
    "GRIPPER_SCALE",
    "JOINTS",
    "OBJECT_NAMES",
    "OPENING",
    "PROPERTY_DEFAULTS",
    "PROPERTY_RANGES",
    "TASKS",
    "TELEMETRY_HIGH",
    "TELEMETRY_LOW",
    "TELEMETRY_NAMES",
    "TELEMETRY_UNITS",
    "TIME_LIMIT",
    "WORKSPACE_HIGH",
    "WORKSPACE_LOW",
    "action_space",
    "env_id",
    "integrate_command",
    "is_twin",
    "observation_space",
    "task_of",
    "world_ids",
]
