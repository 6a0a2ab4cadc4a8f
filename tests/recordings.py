"""Tiny recordings of random content for the tests: two cameras, three telemetry numbers, two actions, two tasks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.data.cameras import Camera
from gwm_sim.data.episode_file import Episode, EpisodeWriter, TaskLabels
from gwm_sim.data.schema import Schema

TASKS = ("reach", "stack")


def make_camera(size: int = 16) -> Camera:
    return Camera(position=np.array([0.3, 0.0, 1.0]), rotation=np.eye(3), fovy=45.0, height=size, width=size)


def make_schema(settings: dict[str, Any] | None = None) -> Schema:
    return Schema(
        env_id="Bench-v0",
        rate=10.0,
        telemetry_names=("x", "y", "opening"),
        telemetry_units=("m", "m", "m"),
        telemetry_low=(-1.0, -1.0, 0.0),
        telemetry_high=(1.0, 1.0, 0.08),
        action_names=("dx", "dy"),
        action_low=(-1.0, -1.0),
        action_high=(1.0, 1.0),
        cameras={"front": make_camera(), "wrist": make_camera(8)},
        object_names=("red", "blue"),
        object_size=0.05,
        tasks=TASKS,
        task="stack",
        env_kwargs={"size": 16},
        settings=settings or {"policy": "mixed", "seed": 0},
        versions={"gwm_sim": "0.1.0"},
    )


def make_episode(seed: int) -> Episode:
    rng = np.random.default_rng(seed)
    length = 5 + seed % 4
    rows = length + 1
    return Episode(
        frames={
            "front": rng.integers(0, 256, (rows, 16, 16, 3), np.uint8),
            "wrist": rng.integers(0, 256, (rows, 8, 8, 3), np.uint8),
        },
        telemetry=rng.normal(size=(rows, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        labels={task: TaskLabels(rng.random(rows, np.float32), rng.random(rows) < 0.5) for task in TASKS},
        objects=rng.normal(size=(rows, 2, 7)).astype(np.float32),
        properties={"friction": rng.uniform(0.1, 1.2)},
        seed=seed,
        policy="uniform",
    )


def write_file(path: Path, indices: Iterable[int] = range(12)) -> Path:
    writer = EpisodeWriter(path, make_schema())
    for index in indices:
        writer.write(index, make_episode(index))
    writer.merge()
    return path
