"""What both table worlds promise beside the robot: cameras, time limits, where things may lie.

The physics twin, the learned world and policies share this page. It needs numpy and Gymnasium only.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from gwm_sim.envs.spaces import MAX_DEPTH, depth_key, image_key
from gwm_sim.envs.table.scene import TASKS
from gwm_sim.envs.tabletop.robot import TELEMETRY_HIGH, TELEMETRY_LOW, WORKSPACE_HIGH, WORKSPACE_LOW

TWIN_ID: Final = "MuJoCo-Table-v0"

TIME_LIMIT: Final[Mapping[str, int]] = {"grasp": 50, "stack": 80, "push": 60, "tower": 120, "drop": 40}  # [steps]
assert tuple(TIME_LIMIT) == TASKS

CAMERAS: Final[Mapping[str, tuple[int, int]]] = {"front": (64, 64), "film": (144, 256)}
"""Cameras with height and width of their frames [px], unless another size is asked for."""

MAX_HEIGHT: Final = 1080  # of any frame [px]

# Centres of objects begin in this box, which both cameras have in view but for what is high above the table.
PLACE_LOW: Final[NDArray[np.float64]] = np.array([WORKSPACE_LOW[0], WORKSPACE_LOW[1], 0.0])  # [m]
PLACE_HIGH: Final[NDArray[np.float64]] = np.array([WORKSPACE_HIGH[0], WORKSPACE_HIGH[1], 0.65])  # [m]


def frame_sizes(size: int | None, cameras: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Height and width of each camera's frames [px].

    Args:
        size: Height of all frames; those of `film` are 16:9, the others square. None for what `CAMERAS` says, and of
            other cameras for the size of the front one.
        cameras: Names of the cameras.
    """
    if size is not None and not 1 <= size <= MAX_HEIGHT:
        raise ValueError(f"size is the frames' height and must be 1 to {MAX_HEIGHT} pixels, got {size}")
    if len(set(cameras)) != len(cameras):
        raise ValueError(f"cameras must be different names, got {tuple(cameras)}")
    if size is None:
        return {name: CAMERAS.get(name, CAMERAS["front"]) for name in cameras}
    # As films need it, the width is even: 480 x 854.
    return {name: (size, 2 * -(-size * 8 // 9) if name == "film" else size) for name in cameras}


def observation_space(size: int | None = None, cameras: Sequence[str] = ("front",), depth: bool = False) -> Dict:
    """Observation space of one environment; see `frame_sizes` for the frames.

    Args:
        size: Height of the frames [px], or None for that of each camera.
        cameras: Names of the cameras, each giving one entry of frames.
        depth: Whether every camera also gives a depth image (H, W, 1) [m].
    """
    entries: dict[str, Box] = {}
    for name, frame in frame_sizes(size, cameras).items():
        entries[image_key(name)] = Box(0, 255, (*frame, 3), np.uint8)
        if depth:
            entries[depth_key(name)] = Box(0.0, MAX_DEPTH, (*frame, 1), np.float32)
    return Dict({**entries, "agent_pos": Box(TELEMETRY_LOW, TELEMETRY_HIGH, dtype=np.float32)})
