"""Recordings whose objects were tracked in pictures, for the tests: those of `recordings`, with sightings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from recordings import make_episode, make_schema

from gwm_sim.data.episode_file import Episode, EpisodeWriter
from gwm_sim.data.schema import TRACKER, Schema

DIGEST = "0123456789abcdef" * 4
ARRAYS = {
    "background": np.arange(48, dtype=np.uint8).reshape(4, 4, 3),
    "things/names": np.array([b"red", b"blue"]),
    "things/size": np.array([8.5, 9.0], np.float32),
    "known": np.array(True),
    "none": np.zeros((0, 2)),
}
"""What stands for a tracker."""


def tracked_schema(**changes: Any) -> Schema:
    settings = {"policy": "mixed", "seed": 0, TRACKER: DIGEST}
    known: dict[str, Any] = {"tracked": ("front",), "object_size": 0.0, "settings": settings}
    return dataclasses.replace(make_schema(), **(known | changes))


def tracked_episode(seed: int, cameras: Iterable[str] = ("front",)) -> Episode:
    """The red thing is seen in every frame but the first; the blue one is never seen."""
    episode = make_episode(seed)
    seen = np.zeros((len(episode) + 1, 2, 6), np.float32)
    seen[..., :4] = np.random.default_rng(seed).uniform(2, 12, (*seen.shape[:2], 4))
    seen[1:, 0, 4:] = (0.5, 0.8)
    surely = 0.5 * seen[..., 5] if cameras else None
    return dataclasses.replace(
        episode, sightings={camera: seen.copy() for camera in cameras}, objects_confidence=surely
    )


def write_tracked(path: Path, indices: Iterable[int] = range(12), attach: bool = True, **changes: Any) -> Path:
    schema = tracked_schema(**changes)
    writer = EpisodeWriter(path, schema)
    if attach:
        writer.attach("tracker", ARRAYS)
    for index in indices:
        writer.write(index, tracked_episode(index, schema.tracked))
    writer.merge()
    return path
