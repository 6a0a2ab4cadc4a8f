"""What both worlds promise: spaces, units, rates, tasks and properties of the block environments.

The physics twin and the learned environment share this page, so a policy that runs in one runs in the other. It needs
numpy and Gymnasium only. Axes: B batch, H W image (channel last), A action, P telemetry.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from gwm_sim.data.views import apart, side_by_side

CONTROL_RATE: Final = 10.0  # [Hz]

TASKS: Final = ("reach", "grasp", "stack")
TIME_LIMIT: Final[Mapping[str, int]] = {"reach": 30, "grasp": 50, "stack": 80}  # [steps]

OBJECT_NAMES: Final = ("red", "blue")
CUBE_SIZE: Final = 0.05  # edge [m]

ACTION_NAMES: Final = ("dx", "dy", "dz", "gripper")
ACTION_SCALE: Final = 0.03  # change of the commanded end-effector position per unit of action [m]
GRIPPER_SCALE: Final = 0.02  # change of the commanded gripper opening per unit of action [m]
GRIPPER_MAX: Final = 0.08  # widest opening [m]

MAX_DEPTH: Final = 10.0  # farther depths are given as this [m]

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


def task_of(env_id: str) -> str | None:
    """Task of a Gymnasium id such as "gwm_sim:MuJoCo-BlockStack-v0", or None where the id names no task."""
    name = env_id.rpartition(":")[2].rpartition("/")[2]
    return next((task for task in TASKS if f"-Block{task.capitalize()}-" in name), None)


def is_twin(env_id: str) -> bool:
    """Whether a Gymnasium id is one of the physics twin's."""
    return env_id.rpartition(":")[2].startswith("MuJoCo-")


def image_key(camera: str) -> str:
    """Observation key of a camera's frames: "pixels" for the front camera, "pixels_<camera>" for others."""
    return "pixels" if camera == "front" else f"pixels_{camera}"


def picture(observation: Mapping[str, NDArray[Any]], cameras: Sequence[str]) -> NDArray[np.uint8]:
    """What a model of these cameras is shown of an observation: their views side by side, (..., H, V*W, 3).

    Of an observation that lacks some of them only the main one, which is the first: a model draws the others itself.
    """
    shown = cameras if all(image_key(camera) in observation for camera in cameras) else cameras[:1]
    return np.asarray(side_by_side({camera: np.asarray(observation[image_key(camera)]) for camera in shown}, shown))


def observed(pictures: NDArray[np.uint8], cameras: Sequence[str]) -> dict[str, NDArray[np.uint8]]:
    """Entries of an observation that show pictures (..., H, V*W, 3)."""
    return {image_key(camera): view for camera, view in apart(pictures, cameras).items()}


def depth_key(camera: str) -> str:
    """Observation key of a camera's depth images."""
    return f"depth_{camera}"


def observation_space(size: int = 64, cameras: Sequence[str] = ("front",), depth: bool = False) -> spaces.Dict:
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
    entries: dict[str, spaces.Space[Any]] = {}
    for camera in cameras:
        entries[image_key(camera)] = spaces.Box(0, 255, (size, size, 3), np.uint8)
        if depth:
            entries[depth_key(camera)] = spaces.Box(0.0, MAX_DEPTH, (size, size, 1), np.float32)
    entries["agent_pos"] = spaces.Box(TELEMETRY_LOW, TELEMETRY_HIGH, dtype=np.float32)
    return spaces.Dict(entries)


def action_space() -> spaces.Box:
    """Action space of one environment: change of the commanded end-effector position, gripper rate."""
    return spaces.Box(-1.0, 1.0, (len(ACTION_NAMES),), np.float32)


def check_action(action: ArrayLike, space: spaces.Space[Any]) -> NDArray[np.float64]:
    """Return `action` clipped to its space, of one environment (A,) or of many (num_envs, A).

    Raises:
        ValueError: The shape is wrong, or a number is NaN or infinite.
    """
    assert isinstance(space, spaces.Box)
    values = np.asarray(action, dtype=np.float64)
    if values.shape != space.shape:
        raise ValueError(f"The action has shape {values.shape}, expected {space.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"The action must be finite, got {values.tolist()}; zeros hold the arm still")
    return values.clip(space.low, space.high)


def integrate_command(command: NDArray[np.float64], action: NDArray[np.float64]) -> NDArray[np.float64]:
    """Commanded end-effector position (..., 3) [m] after one step of `action` (..., A), kept in the workspace."""
    return (command + ACTION_SCALE * action[..., :3]).clip(WORKSPACE_LOW, WORKSPACE_HIGH)


def resolve_properties(requested: Mapping[str, float] | str | None, rng: np.random.Generator) -> dict[str, float]:
    """Physics properties of an episode.

    Args:
        requested: Values by name (others keep their default), "random" to draw all from their ranges, None for the
        defaults.
        rng: The episode's generator, used only for "random".

    Raises:
        ValueError: An unknown name, or a value outside its range.
    """
    if requested is None:
        return dict(PROPERTY_DEFAULTS)
    valid = ", ".join(f"{name} {low} to {high}" for name, (low, high) in PROPERTY_RANGES.items())
    if isinstance(requested, str):
        if requested != "random":
            raise ValueError(f'properties must be "random" or a dict of values ({valid}), got {requested!r}')
        return {name: float(rng.uniform(low, high)) for name, (low, high) in PROPERTY_RANGES.items()}
    for name, value in requested.items():
        if name not in PROPERTY_RANGES:
            raise ValueError(f"Unknown property {name!r}; valid properties: {valid}")
        low, high = PROPERTY_RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"Property {name}={value} is out of range; valid properties: {valid}")
    return {name: float(requested.get(name, default)) for name, default in PROPERTY_DEFAULTS.items()}
