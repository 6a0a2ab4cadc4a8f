"""What both worlds promise: spaces, units, rates, tasks and properties of the block environments.

The physics twin and the learned environment share this page, so a policy that runs in one runs in the other. It needs
numpy and Gymnasium only. Axes: B batch, H W image (channel last), A action, P telemetry.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from gwm_sim.envs.spaces import robot_space

CONTROL_RATE: Final = 10.0  # [Hz]

TASKS: Final = ("reach", "grasp", "stack")
TIME_LIMIT: Final[Mapping[str, int]] = {"reach": 30, "grasp": 50, "stack": 80}  # [steps]

OBJECT_NAMES: Final = ("red", "blue")
CUBE_SIZE: Final = 0.05  # edge [m]

ACTION_NAMES: Final = ("dx", "dy", "dz", "gripper")
GRIPPER: Final = ACTION_NAMES.index("gripper")
ACTION_SCALE: Final = 0.03  # change of the commanded end-effector position per unit of action [m]
GRIPPER_SCALE: Final = 0.02  # change of the commanded gripper opening per unit of action [m]
GRIPPER_MAX: Final = 0.08  # widest opening [m]

# The commanded end-effector (the point between the finger pads) stays in this box; the table top is at z = 0.
WORKSPACE_LOW: Final[NDArray[np.float64]] = np.array([0.38, -0.15, 0.02])  # [m]
WORKSPACE_HIGH: Final[NDArray[np.float64]] = np.array([0.62, 0.15, 0.30])  # [m]

TELEMETRY_NAMES: Final = (
    *(f"joint_{i}" for i in range(1, 8)),
    *("ee_x", "ee_y", "ee_z"),
    "gripper_opening",
    *("cmd_x", "cmd_y", "cmd_z"),
)
TELEMETRY_UNITS: Final = ("rad",) * 7 + ("m",) * 7
# The arm's published joint limits with a small margin, the workspace with a margin for tracking error.
_JOINT_LOW = [-2.9, -1.8, -2.9, -3.1, -2.9, -0.05, -2.9]
_JOINT_HIGH = [2.9, 1.8, 2.9, 0.0, 2.9, 3.8, 2.9]
_EE_MARGIN = np.array([0.1, 0.1, 0.1])
TELEMETRY_LOW: Final[NDArray[np.float32]] = np.concatenate(
    [_JOINT_LOW, WORKSPACE_LOW - _EE_MARGIN, [-0.005], WORKSPACE_LOW]
).astype(np.float32)
TELEMETRY_HIGH: Final[NDArray[np.float32]] = np.concatenate(
    [_JOINT_HIGH, WORKSPACE_HIGH + _EE_MARGIN, [GRIPPER_MAX + 0.005], WORKSPACE_HIGH]
).astype(np.float32)

# Slices of a telemetry vector.
JOINTS: Final = slice(0, 7)
EE: Final = slice(7, 10)
OPENING: Final = 10
COMMAND: Final = slice(11, 14)

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


def action_space() -> Box:
    """Action space of one environment: change of the commanded end-effector position, gripper rate."""
    return Box(-1.0, 1.0, (len(ACTION_NAMES),), np.float32)


def integrate_command(command: NDArray[np.float64], action: NDArray[np.float64]) -> NDArray[np.float64]:
    """Commanded end-effector position (..., 3) [m] after one step of `action` (..., A), kept in the workspace."""
    return (command + ACTION_SCALE * action[..., :3]).clip(WORKSPACE_LOW, WORKSPACE_HIGH)
