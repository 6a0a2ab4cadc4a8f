"""A drawn world for the tests: a camera straight above a table, cubes as squares with smooth edges, and episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.data.episode_file import Episode, EpisodeWriter, TaskLabels
from gwm_sim.data.schema import Command, Schema

Array = NDArray[Any]

SIZE = 64
CUBE = 0.05  # [m]
CUBE_PIXELS = 8.0
TABLE = (155, 149, 142)
PAINT = {"red": (203, 10, 10), "blue": (10, 26, 217), "green": (20, 160, 40), "yellow": (210, 190, 20)}
CAMERA = Camera(
    position=np.array([0.0, 0.0, 1.0]),
    rotation=np.eye(3),
    fovy=float(2 * np.rad2deg(np.arctan(0.5 * SIZE * CUBE / CUBE_PIXELS))),  # a cube at height 0 is 8 px wide
    height=SIZE,
    width=SIZE,
)
CM_PER_PIXEL = 100 * CUBE / CUBE_PIXELS
GAIN = 0.01  # [m] that the effector, and the red cube with it, moves per unit of action


def table() -> Array:
    """Return a picture without cubes, (H, W, 3) uint8."""
    return np.full((SIZE, SIZE, 3), TABLE, np.uint8)


def draw(picture: Array, centre: Sequence[float] | Array, colour: Sequence[int], width: float = CUBE_PIXELS) -> Array:
    """Return the picture with an upright square of `width` pixels around (column, row) drawn over it."""
    pixels = np.arange(SIZE)
    cover = [np.clip(width / 2 + 0.5 - np.abs(pixels - middle), 0, 1) for middle in centre]
    alpha = (cover[1][:, None] * cover[0])[..., None]
    blended: Array = np.round((1 - alpha) * picture + alpha * np.array(colour)).astype(np.uint8)
    return blended


def draw_scene(objects: Array, names: Sequence[str] = ("blue", "red")) -> Array:
    """Return the picture of cubes at poses (K, 7) in the order of the schema, later names over earlier ones."""
    picture = table()
    for name in names:
        picture = draw(picture, CAMERA.project(objects[("red", "blue").index(name), :3]), PAINT[name])
    return picture


def make_schema() -> Schema:
    """Describe the drawn world: an effector at (x, y, 0) that is moved in x and y and drags the red cube along."""
    return Schema(
        env_id="Drawn-v0",
        rate=10.0,
        telemetry_names=("x", "y", "z", "command"),
        telemetry_units=("m",) * 4,
        telemetry_low=(-1.0,) * 4,
        telemetry_high=(1.0,) * 4,
        action_names=("dx", "dy"),
        action_low=(-1.0, -1.0),
        action_high=(1.0, 1.0),
        cameras={"front": CAMERA},
        commands=(Command(telemetry=3, action=0, scale=GAIN, measured=0),),
        effector=(0, 1, 2),
        object_names=("red", "blue"),
        object_size=CUBE,
        tasks=("grasp", "stack"),
    )


def make_episode(seed: int, length: int = 30) -> Episode:
    """Drag the red cube along a random course; the blue one stays. Seeds 0, 1, 2 mod 3 end neither, held, stacked."""
    rng = np.random.default_rng(seed)
    course = np.deg2rad(rng.uniform(0, 360)) + np.cumsum(rng.normal(0, 0.2, length))
    actions = np.stack([np.cos(course), np.sin(course)], axis=-1).astype(np.float32) * 0.5
    xy = np.concatenate([np.zeros((1, 2)), GAIN * np.cumsum(actions, axis=0)])
    telemetry = np.zeros((length + 1, 4), np.float32)
    telemetry[:, :2], telemetry[:, 3] = xy, xy[:, 0]
    objects = np.zeros((length + 1, 2, 7), np.float32)
    objects[..., 3] = 1.0
    objects[:, 0, :2] = xy
    objects[:, 1, :2] = rng.choice([-0.15, 0.15], 2)
    success = {task: np.zeros(length + 1, bool) for task in ("grasp", "stack")}
    success["grasp"][-1], success["stack"][-1] = seed % 3 == 1, seed % 3 == 2
    return Episode(
        frames={"front": np.stack([draw_scene(poses) for poses in objects])},
        telemetry=telemetry,
        actions=actions,
        labels={task: TaskLabels(np.zeros(length + 1, np.float32), instants) for task, instants in success.items()},
        objects=objects,
        properties={"friction": 1.0},
        seed=seed,
        policy="drag",
    )


def write_file(path: Path, episodes: int = 6, length: int = 30, first_seed: int = 0) -> Path:
    """Write an episode file of the drawn world."""
    writer = EpisodeWriter(path, make_schema())
    for index in range(episodes):
        writer.write(index, make_episode(first_seed + index, length))
    writer.merge()
    return path
