"""Where things are, from where they are seen: in metres where these can be had, else in image coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode import Episode
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.schema import ObjectFrame
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.progress import Show


@dataclass(frozen=True)
class Placement:
    """How places come of what one camera sees."""

    camera: str
    words: str
    """How metres are had, or why there are none."""
    frame: ObjectFrame = "image"

    @classmethod
    def of(cls, file: EpisodeFile, camera: str, follow: Callable[[int], Sightings], show: Show) -> Placement:
        """Find the best way to places that a file allows; `follow` says what is seen in its k-th episode."""
        return cls(camera, "nothing tells metres")

    def objects(self, seen: Sightings, episode: Episode) -> Array:
        """Return poses (T, K, 7) float32: places in `frame`, and a quaternion of no turn, which is not known."""
        size = np.sqrt(seen.size.prod(axis=-1, keepdims=True))
        turn = np.broadcast_to(np.array([1.0, 0.0, 0.0, 0.0]), (*seen.confidence.shape, 4))
        return np.concatenate([seen.centre, size, turn], axis=-1).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"camera": self.camera, "words": self.words, "frame": self.frame}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Placement:
        """Make one from what `to_json` returned."""
        return cls(**value)
