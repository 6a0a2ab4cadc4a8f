"""What a server tells of a model, as an environment says it: spaces and metadata."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from gwm_sim.envs.spaces import robot_space

Told = Mapping[str, Any]


def check(told: Told, task: str | None, depth: bool) -> None:
    """Refuse what a model cannot do.

    Raises:
        ValueError: It does not know the task, or imagines no depth.
    """
    if task is not None and task not in told["tasks"]:
        raise ValueError(f"{told['model']} knows no task {task!r}; its tasks are {', '.join(told['tasks']) or 'none'}")
    if depth and not any(camera["depth"] for camera in told["cameras"]):
        raise ValueError(f"{told['model']} does not imagine depth")


def observation_space(told: Told, depth: bool) -> Dict:
    """Space of one observation."""
    cameras = told["cameras"]
    return robot_space(
        (cameras[0]["height"], cameras[0]["width"]),
        [camera["name"] for camera in cameras],
        [camera["name"] for camera in cameras if camera["depth"]] if depth else (),
        *bounds(told["telemetry"]),
    )


def action_space(told: Told) -> Box:
    """Space of one action."""
    return Box(*bounds(told["actions"]), dtype=np.float32)


def bounds(numbers: Sequence[Told]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Least and greatest values of numbers."""
    low, high = (np.array([number[key] for number in numbers], np.float32) for key in ("low", "high"))
    return low, high


def metadata(told: Told) -> dict[str, Any]:
    """What the numbers of a world mean, and what it lacks, as its own environment says it."""
    cameras = tuple(camera["name"] for camera in told["cameras"])
    return {
        "render_fps": told["rate"],
        "rate": told["rate"],
        "model": told["model"],
        "camera": cameras[0],
        "cameras": cameras,
        "telemetry_names": tuple(number["name"] for number in told["telemetry"]),
        "telemetry_units": tuple(number["unit"] for number in told["telemetry"]),
        "action_names": tuple(number["name"] for number in told["actions"]),
        "action_units": tuple(number["unit"] for number in told["actions"]),
        "object_names": tuple(told["objects"]),
        "tasks": tuple(told["tasks"]),
        "lacks": told["lacks"],
    }
