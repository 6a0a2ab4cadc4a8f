"""Where things are, from where one camera sees them: in metres where these can be had, else in image coordinates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode import DEPTH_UNIT, Episode
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.schema import ObjectFrame, Schema
from gwm_sim.data.tracking.metres.calibration import Calibration, NoMetres, Take, calibrate
from gwm_sim.data.tracking.metres.positions import locate
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.media.sheets import spread
from gwm_sim.progress import Show

_CALIBRATED = 300
"""Episodes that a camera is fitted to at most."""


@dataclass(frozen=True)
class Placement:
    """How places come of what a camera sees."""

    camera: str
    words: str
    """How metres are had, or why there are none."""
    calibration: Calibration | None = None

    @classmethod
    def of(cls, file: EpisodeFile, camera: str, follow: Callable[[int, Episode], Sightings], show: Show) -> Placement:
        """Find the best way to places that a file allows.

        Args:
            file: Recordings of one scene.
            camera: Who sees the things.
            follow: Says what is seen in an episode, by its place in the file.
            show: Told about the progress.
        """
        chosen = spread(len(file), _CALIBRATED)
        takes = []
        for done, k in enumerate(chosen, 1):
            episode = file.read(k, cameras=(camera,), depth=False)
            takes.append(Take({camera: follow(k, episode)}, episode.telemetry))
            show(done / len(chosen), f"{done} of {len(chosen)} episodes looked at")
        try:
            calibration = calibrate(takes, file.schema)
        except NoMetres as error:
            return cls(camera, str(error))
        return cls(camera, str(calibration), calibration)

    @property
    def frame(self) -> ObjectFrame:
        """In what places are."""
        return "image" if self.calibration is None else "metres"

    def schema(self, schema: Schema) -> Schema:
        """Return the schema of episodes with these places: a camera that was fitted stands where it was fitted to."""
        if self.calibration is None or not self.calibration.view.fitted:
            return replace(schema, object_frame=self.frame)
        views = {name: view.camera for name, view in self.calibration.views.items()}
        return replace(schema, object_frame=self.frame, cameras=schema.cameras | views)

    def objects(self, seen: Sightings, episode: Episode, schema: Schema) -> tuple[Array, Array]:
        """Return poses (T, K, 7) float32, places in `frame` and a quaternion of no turn, which is not known; and how
        surely things are there, (T, K) float32 in [0, 1].

        Args:
            seen: What the camera sees of K things.
            episode: In which episode.
            schema: What its columns mean, as the recordings have it.
        """
        if self.calibration is None:
            size = np.sqrt(seen.size.prod(axis=-1, keepdims=True))
            places, surely = np.concatenate([seen.centre, size], axis=-1), seen.confidence
        else:
            found = locate(_take(self.camera, seen, episode), schema, self.calibration)
            places, surely = found.xyz, found.confidence
        turn = np.broadcast_to(np.array([1.0, 0.0, 0.0, 0.0]), (*places.shape[:2], 4))
        return np.concatenate([places, turn], axis=-1).astype(np.float32), surely.astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        calibration = None if self.calibration is None else self.calibration.to_json()
        return {"camera": self.camera, "words": self.words, "calibration": calibration}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Placement:
        """Make one from what `to_json` returned."""
        told = value["calibration"]
        return cls(value["camera"], value["words"], None if told is None else Calibration.from_json(told))


def _take(camera: str, seen: Sightings, episode: Episode) -> Take:
    depth = {name: image[..., 0] * np.float32(DEPTH_UNIT) for name, image in episode.depth.items() if name == camera}
    return Take({camera: seen}, episode.telemetry, depth)
