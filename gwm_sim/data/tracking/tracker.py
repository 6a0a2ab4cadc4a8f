"""A tracker: what things look like, found once in a file, and where they are in pictures of that scene."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.appearance import Appearance
from gwm_sim.data.tracking.background import Background, levels
from gwm_sim.data.tracking.discovery.choice import Found, Refused, discover
from gwm_sim.data.tracking.discovery.clicked import clicked, look_alike, region_at
from gwm_sim.data.tracking.discovery.evidence import Evidence, gather
from gwm_sim.data.tracking.discovery.practice import practise
from gwm_sim.data.tracking.discovery.trial import on_trial
from gwm_sim.data.tracking.palette import MOST_LOOKS, Palette, bins
from gwm_sim.data.tracking.poses import PoseLibrary
from gwm_sim.data.tracking.readiness import FEWEST_CLICKED
from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.data.tracking.tracks import Look, follow
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.media.color_names import color_name

Show = Callable[[float, str], None]

LEARNED_FROM = 60
"""Episodes in which things are looked for, at most; more find the same."""

_AT_ONCE = 128
"""Pictures that are looked at together, which bounds memory."""


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

    @property
    def moment(self) -> tuple[int, int]:
        """Episode and frame."""
        return self.episode, self.frame

    def __str__(self) -> str:
        """Say where it is."""
        return f"episode {self.episode}, frame {self.frame}, column {self.column:g}, row {self.row:g}"


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
    confidence: float
    """How surely this is a thing, in [0, 1]."""
    look: int
    """Number of its look; things that look alike share it."""
    place: tuple[float, float] = (0.0, 0.0)
    """Column and row [px] where it usually is."""


@dataclass(frozen=True)
class Tracker:
    """What things look like before one camera."""

    camera: str
    things: tuple[Thing, ...]
    """In the order of their looks."""
    rejected: tuple[Refused, ...]
    background: Background
    palette: Palette
    appearances: Mapping[int, Appearance] = field(default_factory=dict)
    """What tells things from others of their colours, by the number of their look, where there are such."""

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
            episodes: Which episodes to learn from; by default some spread over the file.
            show: Told about the progress.

        Raises:
            NothingToTrack: Nothing qualifies; the message says why.
            ConfigError: `drop` names what was not found, or there are too many clicks, or two on one thing.
        """
        chosen = episodes or np.unique(np.linspace(0, len(file) - 1, LEARNED_FROM).round().astype(int)).tolist()
        if len(chosen) < FEWEST_CLICKED:
            count = "1 episode is" if len(chosen) == 1 else f"{len(chosen)} episodes are"
            raise NothingToTrack(
                f"{count} too few to tell things from the robot: {FEWEST_CLICKED} are needed, or a tracked file of the "
                "same things for --like"
            )
        library = PoseLibrary.of(file, camera, chosen)
        evidence = gather(file, camera, library, chosen, lambda share, text: show(0.6 * share, text))
        found, refused = (
            (_clicked(file, camera, evidence, clicks), list[Refused]())
            if clicks
            else discover(evidence, objects, lambda share, text: show(0.6 + 0.3 * share, text))
        )
        if found:
            found, still = on_trial(evidence, found, believed=bool(clicks) or objects is not None)
            refused += still
        things = _named(found)
        if things and (unknown := [number for number in drop if not 0 <= number < len(things)]):
            raise ConfigError(f"--drop {unknown[0]}: what was found has the numbers 0 to {len(things) - 1}.")
        kept = [number for number in range(len(things)) if number not in drop]
        if not kept:
            raise NothingToTrack(_why_nothing(refused, bool(things)))
        palette = Palette.of([item.candidate.colors(evidence) for item in found])
        learned = {look: practise(evidence, palette, look, found[look - 1]) for look in {things[i].look for i in kept}}
        appearances = {look: appearance for look, appearance in learned.items() if appearance is not None}
        return cls(camera, tuple(things[i] for i in kept), tuple(refused), evidence.background, palette, appearances)

    def follow(self, frames: Array, explained: Array | None = None) -> Sightings:
        """Follow the things through one episode.

        Args:
            frames: Its pictures in order, (T, H, W, 3) uint8.
            explained: The scene with the robot alone as its telemetry tells, (T, H, W, 3) uint8, where that is known.
        """
        looks, front, lit = self._read(frames, explained)
        return follow(looks, front, lit, self._looks)

    def look(self, frames: Array) -> Sightings:
        """Find the things in pictures (T, H, W, 3) uint8 each by itself, imagined ones as well; knows no telemetry."""
        looks, front, lit = self._read(frames, None)
        alone = [slice(t, t + 1) for t in range(len(frames))]
        parts = [follow(looks[t], front[t], lit[t], self._looks) for t in alone]
        return Sightings(*(np.concatenate(part) for part in zip(*(vars(p).values() for p in parts), strict=True)))

    def _read(self, frames: Array, explained: Array | None) -> tuple[Array, Array, Array]:
        """Return the look of each pixel and what is in front of the background, (T, H, W) each, and the pictures under
        its light, (T, H, W, 3) uint8."""
        parts = [slice(start, start + _AT_ONCE) for start in range(0, len(frames), _AT_ONCE)]
        read = [self._read_some(frames[rows], None if explained is None else explained[rows]) for rows in parts]
        looks, front, lit = (np.concatenate(part) for part in zip(*read, strict=True))
        return looks, front, lit

    def _read_some(self, frames: Array, explained: Array | None) -> tuple[Array, Array, Array]:
        lit = self.background.relit(frames)
        front = self.background.differs(lit)
        told = None
        if explained is not None:
            told = self.background.explains(lit, self.background.relit(explained))
        lit = levels(lit)
        return self.palette.read(bins(lit), front, told), front, lit

    @property
    def _looks(self) -> list[Look]:
        """The looks in the order of the palette; those of dropped things as well, so that others are not taken for
        them."""
        counts = Counter(thing.look for thing in self.things)
        size = {thing.look: (thing.width, thing.height, thing.area, thing.place) for thing in self.things}
        nobody = (1.0, 1.0, 1.0, (0.0, 0.0))
        last = max(int(self.palette.looks.max()), *size)  # of a look whose colours are all another's nothing is read
        numbers = range(1, 1 + last)
        return [Look(counts[n], *size.get(n, nobody), self.appearances.get(n)) for n in numbers]

    def arrays(self) -> dict[str, Array]:
        """Return all that it knows as arrays, for a file."""
        told = {
            "camera": self.camera,
            "things": [asdict(thing) for thing in self.things],
            "rejected": [asdict(refused) for refused in self.rejected],
        }
        learned = {look: appearance.arrays() for look, appearance in self.appearances.items()}
        return {
            "background": self.background.picture,
            "threshold": np.array(self.background.threshold),
            "looks": self.palette.looks,
            **{f"appearance.{look}.{name}": array for look, part in learned.items() for name, array in part.items()},
            "told": np.frombuffer(json.dumps(told, sort_keys=True).encode(), np.uint8),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Tracker:
        """Make a tracker from what `arrays` returned.

        Raises:
            DataError: They are not what `arrays` returned.
        """
        try:
            told = json.loads(arrays["told"].tobytes())
            return cls(
                told["camera"],
                tuple(Thing(**_tupled(thing)) for thing in told["things"]),
                tuple(Refused(**_tupled(refused)) for refused in told["rejected"]),
                Background(arrays["background"], float(arrays["threshold"])),
                Palette(arrays["looks"]),
                _appearances(arrays),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"the tracker is damaged: {error!r}") from error

    def digest(self) -> str:
        """Return a fingerprint: things of two files are the same things only where it is the same."""
        content = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            content.update(name.encode() + array.tobytes())
        return content.hexdigest()[:16]


def _appearances(arrays: Mapping[str, Array]) -> dict[int, Appearance]:
    by_look: dict[int, dict[str, Array]] = {}
    for name, array in arrays.items():
        if name.startswith("appearance."):
            _, look, part = name.split(".")
            by_look.setdefault(int(look), {})[part] = array
    return {look: Appearance.from_arrays(parts) for look, parts in by_look.items()}


def _tupled(value: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}


def _clicked(file: EpisodeFile, camera: str, evidence: Evidence, clicks: tuple[Click, ...]) -> list[Found]:
    """Learn what was clicked; things that look alike are several of one look."""
    if len(clicks) > MOST_LOOKS:
        raise ConfigError(f"{len(clicks)} clicks are too many: at most {MOST_LOOKS} things can be followed")
    found: list[Found] = []
    masks: list[tuple[Click, Array]] = []
    for click in clicks:
        frames = file.read(click.episode, click.frame, click.frame + 1, cameras=(camera,), depth=False).frames[camera]
        picture = evidence.background.relit(frames)[0]
        column, row = round(click.column), round(click.row)
        mask = region_at(evidence, picture, column, row)
        if not mask.any():
            raise NothingToTrack(f"{click} shows nothing of one colour: click the middle of a thing")
        if twice := [other for other, its in masks if other.moment == click.moment and its[row, column]]:
            raise ConfigError(f"{click} shows the same thing as {twice[0]}: one click per thing")
        masks.append((click, mask))
        item = clicked(evidence, picture, mask)
        names = (click.name or color_name(item.candidate.color),)
        if (i := next((i for i, other in enumerate(found) if look_alike(item, other)), None)) is None:
            found.append(replace(item, names=names))
        else:
            several = replace(found[i].candidate, count=found[i].candidate.count + 1)
            found[i] = replace(found[i], candidate=several, names=found[i].names + names)
    return found


def _named(found: list[Found]) -> list[Thing]:
    """Name things by their colours, and number those whose names are the same."""
    things = []
    for look, item in enumerate(found, 1):
        color = item.candidate.color
        width, height, area = (round(value, 2) for value in item.size)
        names, confidence = item.names or (color_name(color),) * item.candidate.count, round(item.confidence, 2)
        things += [Thing(name, color, width, height, area, confidence, look, item.place) for name in names]
    total, seen = Counter(thing.name for thing in things), Counter[str]()
    named = []
    for thing in things:
        seen[thing.name] += 1
        alone = total[thing.name] == 1
        named.append(thing if alone else replace(thing, name=f"{thing.name}-{seen[thing.name]}"))
    return named


def _why_nothing(refused: list[Refused], dropped: bool) -> str:
    if dropped:
        return "nothing is left to track: --drop names everything that was found."
    if not refused:
        return (
            "nothing to track was found: nothing moves before the background that the robot's pose does not explain. "
            "If there is something, say where with --click."
        )
    what = "; ".join(f"something {color_name(item.color)}: {item.reason}" for item in refused[:3])
    return f"nothing to track was found ({what}). If one of these is a thing, use --objects or --click."
