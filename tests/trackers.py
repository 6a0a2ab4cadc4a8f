"""A tracker for the tests that knows its colours, and raw recordings of the drawn world for it to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import CAMERA, PAINT, make_episode, make_schema
from numpy.typing import NDArray

from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter
from gwm_sim.data.schema import Schema
from gwm_sim.data.tracking import job, placement, readiness, tracked_file
from gwm_sim.data.tracking.background import Background
from gwm_sim.data.tracking.discovery.choice import Refused
from gwm_sim.data.tracking.metres.calibration import Calibration, NoMetres, Take
from gwm_sim.data.tracking.palette import Palette
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.data.tracking.tracker import Click, NothingToTrack, Thing, Tracker

Array = NDArray[Any]

EPISODES, LENGTH = 9, 12
NO_PALETTE = Palette(np.zeros(0, np.uint8))


def without_objects(episode: Episode) -> Episode:
    return replace(episode, objects=None)


def write_raw(
    path: Path,
    episodes: int = EPISODES,
    change: Callable[[Episode], Episode] = without_objects,
    cameras: Sequence[str] = ("front",),
    every: int = 1,
) -> Path:
    """Write recordings of the drawn world without what nobody would know of them, as several cameras that stand in the
    same place see it, of whose pictures only `every` so many pixels are kept."""
    schema = make_schema().without_objects()
    view = replace(CAMERA, height=CAMERA.height // every, width=CAMERA.width // every)
    writer = EpisodeWriter(path, replace(schema, cameras=dict.fromkeys(cameras, view)))
    for k in range(episodes):
        episode = change(without_objects(make_episode(k, LENGTH)))
        frames = episode.frames["front"][:, ::every, ::every]
        writer.write(k, replace(episode, frames=dict.fromkeys(cameras, frames)))
    writer.merge()
    return path


class ColorTracker(Tracker):
    """Follows the middles of the drawn squares."""

    fits: list[dict[str, Any]] = []
    """What each call of `fit` was asked for."""

    @classmethod
    def fit(
        cls,
        file: EpisodeFile,
        camera: str,
        *,
        objects: int | None = None,
        clicks: tuple[Click, ...] = (),
        drop: tuple[int, ...] = (),
        episodes: list[int] | None = None,
        show: Callable[[float, str], None] = lambda share, text: None,
    ) -> ColorTracker:
        cls.fits.append({"objects": objects, "clicks": clicks, "drop": drop})
        frames = file.read(0, cameras=(camera,)).frames[camera]
        names = [name for name in ("red", "blue") if _mask(frames, PAINT[name]).any()][:objects]
        if clicks:
            pixels = [file.read(c.episode).frames[camera][c.frame, round(c.row), round(c.column)] for c in clicks]
            names = [min(PAINT, key=lambda name: int(np.abs(pixel - np.array(PAINT[name])).sum())) for pixel in pixels]
        kept = [name for number, name in enumerate(names) if number not in drop]
        if not kept:
            raise NothingToTrack(f"nothing before camera {camera} moves but the robot.")
        things = tuple(_thing(look, name) for look, name in enumerate(kept, 1))
        return cls(camera, things, (Refused((155, 149, 142), "it never moves"),), Background.of(frames), NO_PALETTE)

    def follow(self, frames: Array, explained: Array | None = None) -> Sightings:
        masks = np.stack([_mask(frames, thing.color) for thing in self.things], axis=1)  # (T, K, H, W)
        area = masks.sum(axis=(2, 3))
        rows, columns = np.indices(frames.shape[1:3])
        centre = np.stack([(masks * grid).sum(axis=(2, 3)) for grid in (columns, rows)], -1)
        share = np.minimum(area / 64, 1.0)
        size = np.full((*area.shape, 2), 8.0)
        return Sightings(centre / np.maximum(area, 1)[..., None], size, share, share, area)

    def arrays(self) -> dict[str, Array]:
        letters = np.frombuffer("\n".join([self.camera, *(thing.name for thing in self.things)]).encode(), np.uint8)
        return {"names": letters, "background": self.background.picture}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> ColorTracker:
        camera, *names = arrays["names"].tobytes().decode().split("\n")
        things = tuple(_thing(look, name) for look, name in enumerate(names, 1))
        return cls(camera, things, (), Background(arrays["background"], 0.0), NO_PALETTE)

    def digest(self) -> str:
        return hashlib.sha256(b"".join(array.tobytes() for array in self.arrays().values())).hexdigest()


class NoPoses:
    """Explains nothing."""

    @classmethod
    def of(cls, file: EpisodeFile, camera: str, episodes: list[int] | None = None) -> NoPoses:
        return cls()

    def picture(self, telemetry: Array, without: int | None = None) -> None:
        return None


def _thing(look: int, name: str) -> Thing:
    return Thing(name, PAINT[name], 8.0, 8.0, 64.0, 0.97, look)


def _mask(frames: Array, color: tuple[int, int, int]) -> Array:
    near: Array = np.abs(frames.astype(int) - color).max(axis=-1) < 40
    return near


@pytest.fixture
def by_color(monkeypatch: pytest.MonkeyPatch) -> type[ColorTracker]:
    """Let `gwm track` follow colours, and place what it sees in image coordinates."""

    def nowhere(takes: Sequence[Take], schema: Schema) -> Calibration:
        raise NoMetres("nothing tells metres")

    monkeypatch.setattr(job, "Tracker", ColorTracker)
    monkeypatch.setattr(tracked_file, "Tracker", ColorTracker)
    monkeypatch.setattr(tracked_file, "PoseLibrary", NoPoses)
    monkeypatch.setattr(placement, "calibrate", nowhere)
    monkeypatch.setattr(readiness, "require", lambda: None)
    monkeypatch.setattr(ColorTracker, "fits", [])
    return ColorTracker


__all__ = ["by_color"]
