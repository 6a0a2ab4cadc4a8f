"""Recordings that codecs can hold, exported for the tests of exporters."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recordings import make_camera, make_episode, make_schema

from gwm_sim.commands.export import ExportConfig, export_episodes
from gwm_sim.data.episode_file import Episode, EpisodeWriter
from gwm_sim.data.schema import Schema

Array = NDArray[Any]

SIZE = 64
LENGTHS = (6, 9, 7)


def smooth_pictures(rows: int, phase: float) -> Array:
    """Draw a bright spot that wanders over a slope, (rows, 64, 64, 3) uint8."""
    y, x = np.mgrid[:SIZE, :SIZE]
    spots = [np.exp(-((x - 12 - 4 * row) ** 2 + (y - 30 - phase) ** 2) / 60) for row in range(rows)]
    colours = [(40 + y + 80 * spot, 60 + x + 0 * spot, 130 - 60 * spot) for spot in spots]
    return np.stack([np.stack(colour, axis=-1) for colour in colours]).round().astype(np.uint8)


def smooth_schema(**changes: Any) -> Schema:
    cameras = {"front": make_camera(SIZE), "wrist": make_camera(SIZE)}
    return dataclasses.replace(make_schema(), cameras=cameras, **changes)


def smooth_episode(seed: int, length: int) -> Episode:
    """A recording that codecs can hold; each picture is far from its neighbours."""
    drawn = dataclasses.replace(make_episode(3), seed=seed)  # eight actions
    rng = np.random.default_rng(seed)
    return dataclasses.replace(
        drawn,
        frames={camera: smooth_pictures(length + 1, 10 * i + seed) for i, camera in enumerate(("front", "wrist"))},
        telemetry=rng.normal(size=(length + 1, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (length, 2)).astype(np.float32),
        labels={task: dataclasses.replace(labels, reward=rng.random(length + 1, np.float32),
                                          success=rng.random(length + 1) < 0.5)
                for task, labels in drawn.labels.items()},
        objects=rng.normal(size=(length + 1, 2, 7)).astype(np.float32),
    )  # fmt: skip


def write_smooth(path: Path, lengths: Sequence[int] = LENGTHS, schema: Schema | None = None) -> Path:
    writer = EpisodeWriter(path, schema or smooth_schema())
    for k, length in enumerate(lengths):
        writer.write(k, smooth_episode(k, length))
    writer.merge()
    return path


def export(format: str, file: Path, out: Path, **options: Any) -> Path:
    export_episodes(ExportConfig(format, file, out, **options))
    return out


def psnr(frames: Array, truth: Array) -> float:
    """Return the worst of all frames [dB]."""
    error = ((frames.astype(float) - truth) ** 2).mean(axis=(1, 2, 3)).max()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
