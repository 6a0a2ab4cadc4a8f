"""Recordings of things with attributes, of which one may be absent, for the tests: those of `recordings`, with both."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from recordings import make_episode, make_schema

from gwm_sim.data.episode_file import Episode, EpisodeWriter
from gwm_sim.data.schema import Schema

ATTRIBUTES = ("die", "marble", "red", "size", "bounciness")


def slots_schema(**changes: Any) -> Schema:
    known: dict[str, Any] = {
        "object_attributes": ATTRIBUTES,
        "object_looks": ("red",),
        "object_symmetry": {"die": "cubic", "marble": "spherical"},
    }
    return dataclasses.replace(make_schema(), **(known | changes))


def slots_episode(seed: int) -> Episode:
    """The first thing is there in the first two frames, the other one always, and bounces better from the third on."""
    episode = make_episode(seed)
    assert episode.objects is not None
    attributes = np.zeros((len(episode) + 1, 2, len(ATTRIBUTES)), np.float32)
    attributes[:, 0] = (1.0, 0.0, 1.0, 0.04, 0.1)
    attributes[:, 1] = (0.0, 1.0, 0.0, 0.03, 0.2)
    attributes[2:, 1, -1] = 0.8
    attributes[2:, 0] = np.nan
    return dataclasses.replace(
        episode, attributes=attributes, objects=np.where(np.isnan(attributes[..., :1]), np.nan, episode.objects)
    )


def write_slots(path: Path, indices: Iterable[int] = range(3)) -> Path:
    writer = EpisodeWriter(path, slots_schema())
    for index in indices:
        writer.write(index, slots_episode(index))
    writer.merge()
    return path
