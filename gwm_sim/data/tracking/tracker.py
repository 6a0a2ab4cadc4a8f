"""A tracker: what things look like, found once in a file, and where they are in pictures of that scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.errors import DataError

Show = Callable[[float, str], None]


class NothingToTrack(DataError):
    """Nothing in a recording can be followed; the message says why and what helps."""


@dataclass(frozen=True)
class Click:
    """Where a person says that a thing is."""

    episode: int
    frame: int
    column: float
    """[px] of the stored pictures."""
    row: float
    name: str | None = None


@dataclass(frozen=True)
class Thing:
    """What was found out about one thing."""

    name: str
    """Such as `red`, `grey` or, of two alike, `red-1`."""
    color: tuple[int, int, int]
    """Its usual colour, for people."""
    width: float
    """Usual apparent width [px]."""
    height: float
    area: float
    """Pixels that it usually has when nothing covers it."""
    episodes: int
    """Number of the episodes in which it was seen."""
    confidence: float
    """How surely this is a thing, in [0, 1]."""


@dataclass(frozen=True)
class Rejected:
    """What looked like a thing and was none."""

    color: tuple[int, int, int]
    reason: str
    """Why not, in words that go on `a reddish region ...`."""


@dataclass(frozen=True)
class Tracker:
    """What things look like before one camera."""

    camera: str
    things: tuple[Thing, ...]
    rejected: tuple[Rejected, ...]
    background: Array
    """The empty scene, (H, W, 3) uint8."""
    parameters: Mapping[str, Array] = field(default_factory=dict)

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
        show: Show = lambda share, text: None,
    ) -> Tracker:
        """Find the things in a file.

        Args:
            file: Recordings of one scene.
            camera: Whose pictures are looked at.
            objects: How many things there are, if that is known.
            clicks: One place of each thing, in any frame; these things alone are looked for.
            drop: Numbers of things, in the order in which they are found, that are none.
            episodes: Which episodes to learn from; by default all, or enough of them.
            show: Told about the progress.

        Raises:
            NothingToTrack: Nothing qualifies; the message says why.
        """
        raise NotImplementedError

    def follow(self, frames: Array, explained: Array | None = None) -> Sightings:
        """Follow the things through one episode.

        Args:
            frames: Its pictures in order, (T, H, W, 3) uint8.
            explained: The scene with the robot alone as its telemetry tells, (T, H, W, 3) uint8, where that is known.
        """
        raise NotImplementedError

    def look(self, frames: Array) -> Sightings:
        """Find the things in pictures (T, H, W, 3) uint8 each by itself, imagined ones as well; knows no telemetry."""
        raise NotImplementedError

    def arrays(self) -> dict[str, Array]:
        """Return all that it knows as arrays, for a file."""
        raise NotImplementedError

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Tracker:
        """Make a tracker from what `arrays` returned."""
        raise NotImplementedError

    def digest(self) -> str:
        """Return a fingerprint: things of two files are the same things only where it is the same."""
        raise NotImplementedError
