"""An episode file with the objects that a tracker found in its pictures: what it is made of, and how it is resumed.

Two things are attached to the file: `tracker`, its arrays, and `tracking`, with which options and how places are had.
So whoever has the file can follow the same things elsewhere, and a killed run goes on with the tracker that it had.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.attachments import load_beside
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.data.schema import TRACKER, Schema
from gwm_sim.data.tracking.placement import Placement
from gwm_sim.data.tracking.poses import PoseLibrary
from gwm_sim.data.tracking.readiness import FEWEST_EPISODES
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.data.tracking.tracker import Tracker
from gwm_sim.errors import ConfigError

_ATTACHED = "tracking"


@dataclass(frozen=True)
class Tracking:
    """A tracker, how places come of what it sees, and how it was made."""

    tracker: Tracker
    placement: Placement
    options: Mapping[str, Any]
    """What the user asked for, as JSON has it; only what differs from saying nothing."""
    recorded: Schema
    """Of the recordings before they were tracked."""

    @property
    def schema(self) -> Schema:
        """Of episodes with the things that the tracker follows, in place of any others."""
        placed = self.placement.schema(self.recorded.without_objects())
        return replace(
            placed,
            object_names=tuple(thing.name for thing in self.tracker.things),
            tracked=(self.tracker.camera,),
            settings=placed.settings | {TRACKER: self.tracker.digest()},
        )

    def attach(self, writer: EpisodeWriter) -> None:
        """Store it in the file."""
        writer.attach("tracker", self.tracker.arrays())
        recorded = replace(self.recorded, versions={})  # which are no part of the content
        said = {"options": self.options, "placement": self.placement.to_json(), "recorded": recorded.to_json()}
        letters = np.frombuffer(json.dumps(said, sort_keys=True).encode(), np.uint8)
        writer.attach(_ATTACHED, {"json": letters})

    @classmethod
    def of(cls, path: Path) -> Tracking | None:
        """Read it from a finished file, or from the parts of one that was begun; None where neither has one."""
        arrays, told = (_attached(path, name) for name in ("tracker", _ATTACHED))
        if arrays is None or told is None:
            return None
        said = json.loads(told["json"].tobytes())
        return cls(
            Tracker.from_arrays(arrays),
            Placement.from_json(said["placement"]),
            said["options"],
            Schema.from_json(said["recorded"]),
        )


def _attached(path: Path, name: str) -> dict[str, Array] | None:
    if path.is_file():
        with EpisodeFile(path) as file:
            return file.attached(name)
    return load_beside(parts_folder(path), name)


class Follower:
    """Follows the things of a tracker through the episodes of a file, one after the other."""

    def __init__(self, file: EpisodeFile, tracker: Tracker) -> None:
        """Prepare to follow."""
        self.frames, self.seconds = 0, 0.0
        self._file, self._tracker = file, tracker
        self._kept: dict[int, Sightings] = {}

    @cached_property
    def _library(self) -> PoseLibrary | None:
        """Pictures of many poses, which are read when the first episode is followed."""
        # Of few episodes the same things are in the picture of every pose, and telemetry would explain them.
        explains = self._file.schema.telemetry_names and len(self._file) >= FEWEST_EPISODES
        return PoseLibrary.of(self._file, self._tracker.camera) if explains else None

    def look_ahead(self, k: int, episode: Episode) -> Sightings:
        """Follow the things through the k-th episode, and keep what was seen for `follow`."""
        self._kept[k] = self.follow(k, episode)
        return self._kept[k]

    def follow(self, k: int, episode: Episode) -> Sightings:
        """Follow the things through the k-th episode, which has been read."""
        if k in self._kept:
            return self._kept.pop(k)
        frames, started = episode.frames[self._tracker.camera], time.perf_counter()
        explained = None if self._library is None else self._library.picture(episode.telemetry, without=k)
        seen = self._tracker.follow(frames, explained)
        self.seconds += time.perf_counter() - started
        self.frames += len(frames)
        return seen


def write_tracked(file: EpisodeFile, out: Path, tracking: Tracking, follower: Follower) -> Iterator[int]:
    """Write the episodes of a file that `out` does not have yet, with the things in them, and finish it.

    Yields:
        The number of each episode that was written.

    Raises:
        ConfigError: `out` was begun with another tracker, or of another file.
    """
    writer = EpisodeWriter(out, tracking.schema)
    with writer.finishing():
        _check_stored(file, writer)
        tracking.attach(writer)
        for k in range(len(file)):
            if not writer.has(k):
                episode = file.read(k)
                seen = follower.follow(k, episode)
                objects, surely = tracking.placement.objects(seen, episode, file.schema)
                sightings = {tracking.tracker.camera: seen.columns()}
                writer.write(k, replace(episode, objects=objects, objects_confidence=surely, sightings=sightings))
                yield k


def _check_stored(file: EpisodeFile, writer: EpisodeWriter) -> None:
    """Refuse to mix episodes of two files."""
    for k, telemetry, actions in writer.numbers():
        same = k < len(file) and file.lengths[k] == len(actions)
        if not same or not np.array_equal(file.read(k, cameras=(), depth=False).telemetry, telemetry):
            raise ConfigError(
                f"episode {k} of {writer.path} is not the one that {file.path} holds there: it was made of another "
                "file. Give another --out."
            )
