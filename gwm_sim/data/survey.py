"""What is in a recording of a foreign format, before it is imported, and what of it would harm a world model.

All numbers are read, one episode at a time; pictures only of some episodes. A model learns what follows from an action
where actions vary, the robot moves, time is even and the camera stands still: the warnings say where that is not so.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.conversion.continuity import Continuity
from gwm_sim.data.conversion.resampling import UNEVEN, cuts, rate_of
from gwm_sim.data.formats import Readable, open_source
from gwm_sim.data.images import shrink
from gwm_sim.data.importers.source import Source, chosen_cameras
from gwm_sim.data.inspection import Range, Tally
from gwm_sim.data.reading.checks import listed
from gwm_sim.data.recording import AS_STORED, Kind, Recording, SourceOptions
from gwm_sim.data.tracking.readiness import Scene, outlook
from gwm_sim.data.viewpoint import moves, rides_along
from gwm_sim.errors import DamagedEpisode
from gwm_sim.media.sheets import chosen_rows, spread
from gwm_sim.progress import Show

_SIZE = 64
"""Height and width at which pictures are judged and drawn [px]."""

_WATCHED = 300
"""Rows from the start of an episode that are compared with each other, to see frozen and moved pictures."""

_CELLS = 5
"""Cells per axis of the box around the end-effector's places."""

_STILL = 1e-3
"""Change within a step, as a share of the whole range of a telemetry column, that is no motion."""

_SATURATED, _MOSTLY_STILL, _FROZEN = 0.5, 0.5, 0.05
"""Shares of the rows from which on a warning is due."""

_FEW_RUNS = 5
"""Times that a picture is repeated from which on it may be regular."""

_REGULAR = 0.25
"""Least share of the repeats that a camera with a steady rate would make, from which on they are regular."""


@dataclass(frozen=True)
class Survey:
    """What is in a recording."""

    source: str
    format: Readable
    robot: str
    episodes: int
    rows: int
    shortest: int
    """Fewest rows of an episode."""
    longest: int
    rate: float | None
    """What the source says [Hz]; None when it does not."""
    measured_rates: tuple[float, float] | None
    """Lowest and highest rate of an episode, by its times [Hz]; None when there are none."""
    gaps: int
    """Places where rows are missing in time."""
    cameras: dict[str, tuple[int, int]]
    """Height and width in the first episode that was looked at [px]."""
    outcomes: dict[str, int]
    """Episodes by how they ended."""
    actions: dict[str, Range]
    telemetry: dict[str, Range]
    kinds: dict[str, str]
    """How each action adds up over time."""
    still: float
    """Share of the steps in which the robot does not move."""
    coverage: float | None
    """Share of the 5x5x5 cells around the end-effector's places that it visited; None when it is not known."""
    warnings: list[str]
    tracking: str
    """Whether `gwm track` can work once this is imported, or why not."""


@dataclass(frozen=True)
class Watched:
    """Pictures of one episode from one camera."""

    episode: int
    size: tuple[int, int]
    """Height and width of its pictures as they are stored [px]."""
    stretch: Array
    """The first rows, (W, 64, 64, 3) uint8."""
    moments: list[Array]
    """Rows spread over the episode."""
    moving: Array
    """Whether the robot moves from one picture of the stretch to the next, (W-1,) bool."""


def survey(
    format: Readable,
    path: Path,
    show: Show = lambda share, text: None,
    draw: Callable[[list[Watched], float], None] = lambda episodes, rate: None,
    options: SourceOptions = AS_STORED,
) -> Survey:
    """Read a recording and say what is in it.

    Args:
        format: Who wrote it.
        path: File or folder.
        show: Told about the progress.
        draw: Given what the first camera saw in some episodes, and rows per second [Hz].
        options: How it is read.
    """
    # Formats that leave rows out themselves ask how actions add up, which changes nothing of what is said here.
    told = replace(options, actions=options.actions or "target")
    with open_source(format, path, told) as source:
        cameras = chosen_cameras(source.layout.cameras, options.camera)
        numbers = _Numbers(source, options.actions, show)
        watched = {camera: _watch(source, camera, numbers) for camera in cameras}
        draw(watched[cameras[0]], source.layout.rate or 10.0)
        warnings = [*source.remarks, *numbers.warnings()]
        for camera, episodes in watched.items():
            warnings += _picture_warnings(camera, episodes, source.layout.rate)
        scenes = [numbers.scene(camera, seen) for camera, seen in watched.items()]
        sizes = {camera: seen[0].size for camera, seen in watched.items()}
        return numbers.survey(str(path), format, sizes, warnings, outlook(scenes))


class _Numbers:
    """Everything that the numbers tell: their ranges first, then what only the ranges make visible."""

    def __init__(self, source: Source, unsaid: Kind | None, show: Show) -> None:
        """Read all numbers; `unsaid` is how actions add up of which the source does not say so."""
        actions = tuple(replace(action, kind=action.kind or unsaid) for action in source.layout.actions)
        self._layout = replace(source.layout, actions=actions)
        self.telemetry, self.actions = Tally(len(source.layout.telemetry)), Tally(len(source.layout.actions))
        self._lengths: list[int] = []
        self._rates: list[float] = []
        self._gaps = 0
        self._outcomes: Counter[str] = Counter()
        self._continuity = Continuity(source.layout, actions)
        self.sound: list[int] = []
        for k in range(len(source)):
            if (recording := source.sound_recording(k)) is not None:
                self._add(recording)
                self.sound.append(k)
            show((k + 1) / (2 * len(source)), f"{k + 1} of {len(source)} episodes")
        if not self.sound:
            raise source.nothing_sound("there is no episode.")
        still = 0
        cells: set[tuple[int, ...]] = set()
        for done, k in enumerate(self.sound, 1):  # again, now that the ranges are known
            recording = source.recording(k)
            self._continuity(recording)  # counts where angles jump
            still += int((~self.moving(recording)).sum())
            cells |= self._cells(recording)
            show((1 + done / len(self.sound)) / 2, f"motion of {done} of {len(self.sound)} episodes")
        self._still_share = still / self.actions.rows
        self._coverage_share = len(cells) / _CELLS**3 if source.layout.effector else None

    def _add(self, recording: Recording) -> None:
        self.telemetry.add(recording.telemetry)
        self.actions.add(recording.actions)
        self._continuity.look(recording)
        self._lengths.append(len(recording))
        if recording.times is not None:
            self._rates.append(rate_of(recording.times, recording.where))
            self._gaps += len(cuts(recording.times)) - 1
        outcome = {True: "success", False: "failure", None: "unknown"}[recording.succeeded]
        self._outcomes[outcome] += 1

    def moving(self, recording: Recording) -> Array:
        """Return whether the robot moves in each step, (R-1,) bool; one without telemetry, whether it is told to."""
        if not self._layout.telemetry:
            return self._told_to_move(recording.actions)
        span = np.maximum(self.telemetry.high - self.telemetry.low, 1e-9)
        moved: Array = (np.abs(np.diff(recording.telemetry, axis=0)) > _STILL * span).any(axis=1)
        return moved

    def _told_to_move(self, actions: Array) -> Array:
        """Return where an action is not zero or, of targets, differs from the one before, (R-1,) bool."""
        targets = [action.kind in ("target", None) for action in self._layout.actions]
        before = np.concatenate([actions[:1], actions[:-1]]) * targets
        largest = np.maximum(np.maximum(-self.actions.low, self.actions.high), 1e-9)
        told: Array = (np.abs(actions - before) > _STILL * largest).any(axis=1)
        return told

    def _cells(self, recording: Recording) -> set[tuple[int, ...]]:
        columns = list(self._layout.effector)
        if not columns:
            return set()
        low, high = self.telemetry.low[columns], self.telemetry.high[columns]
        share = (recording.telemetry[:, columns] - low) / np.maximum(high - low, 1e-9)
        return set(map(tuple, np.minimum(share * _CELLS, _CELLS - 1).astype(int).tolist()))

    def warnings(self) -> list[str]:
        """Say what of the numbers would harm a world model."""
        found = self._continuity.notes(done=False)
        span, switches = self.actions.high - self.actions.low, self.actions.switches
        for i, (action, share) in enumerate(zip(self._layout.actions, self.actions.at_ends, strict=True)):
            if span[i] < 1e-6:
                found.append(f"action {action.name} never changes: the model cannot learn what it does.")
            elif share > _SATURATED and action.kind != "target" and not switches[i]:
                found.append(f"action {action.name} is at its limit in {share:.0%} of the rows: it was saturated.")
        if unsaid := [action.name for action in self._layout.actions if action.kind is None]:
            found.append(f"the source does not say how {listed(unsaid)} add up: give it to gwm import with --actions.")
        if self._gaps:
            found.append(f"{self._gaps} gaps in time: an import cuts the episodes there.")
        rate = self._layout.rate
        if rate and self._rates and max(abs(measured / rate - 1) for measured in self._rates) > UNEVEN:
            found.append(f"episodes ran at {min(self._rates):.3g} to {max(self._rates):.3g} Hz, not at {rate:.4g} Hz.")
        if rate is None:
            found.append("the source does not say its rate: give it to gwm import with --fps.")
        if self._still_share > _MOSTLY_STILL:
            found.append(f"the robot does not move in {self._still_share:.0%} of the steps: too little to learn from.")
        if not self._outcomes["failure"]:
            known = "all episodes succeed" if self._outcomes["success"] else "no outcome is stored"
            found.append(
                f"{known}: these may be demonstrations only, and a model of those imagines success for any action. "
                "Add failures, clumsy and random motion."
            )
        return found

    def scene(self, camera: str, episodes: list[Watched]) -> Scene:
        """Say what a camera saw, for who wants to track things before it."""
        stretches = {watched.episode: watched.stretch for watched in episodes}
        return Scene(camera, len(self.sound), bool(self._layout.telemetry), rides=False, watched=stretches)

    def survey(
        self, path: str, format: Readable, sizes: dict[str, tuple[int, int]], warnings: list[str], tracking: str
    ) -> Survey:
        layout, lengths = self._layout, self._lengths
        return Survey(
            source=path,
            format=format,
            robot=layout.robot,
            episodes=len(lengths),
            rows=sum(lengths),
            shortest=min(lengths),
            longest=max(lengths),
            rate=layout.rate,
            measured_rates=(min(self._rates), max(self._rates)) if self._rates else None,
            gaps=self._gaps,
            cameras=sizes,
            outcomes=dict(self._outcomes),
            actions=self.actions.ranges([a.name for a in layout.actions], [a.unit for a in layout.actions]),
            telemetry=self.telemetry.ranges([c.name for c in layout.telemetry], [c.unit for c in layout.telemetry]),
            kinds={action.name: action.kind or "unknown" for action in layout.actions},
            still=self._still_share,
            coverage=self._coverage_share,
            warnings=warnings,
            tracking=tracking,
        )


def _watch(source: Source, camera: str, numbers: _Numbers) -> list[Watched]:
    """Read pictures of some episodes; of others where those are damaged."""
    chosen = [numbers.sound[i] for i in spread(len(numbers.sound))]
    watched: list[Watched] = []
    for k in [*chosen, *(k for k in numbers.sound if k not in chosen)]:
        if watched and k not in chosen:
            break
        recording = source.recording(k)
        stretch = min(_WATCHED, len(recording))
        shown = chosen_rows(len(recording))
        rows = sorted({*range(stretch), *shown})
        size, pictures = (0, 0), {}
        try:
            for row, picture in zip(rows, source.frames(k, camera, rows), strict=True):
                size, pictures[row] = picture.shape[:2], shrink(picture, _SIZE)
        except DamagedEpisode as error:
            source.leave_out(k, error)
            continue
        watched.append(
            Watched(
                episode=k,
                size=size,
                stretch=np.stack([pictures[row] for row in range(stretch)]),
                moments=[pictures[row] for row in shown],
                moving=numbers.moving(recording)[: stretch - 1],
            )
        )
    if not watched:
        raise source.nothing_sound("there is no picture.")
    return watched


def _picture_warnings(camera: str, episodes: list[Watched], rate: float | None) -> list[str]:
    found = []
    repeats = [_repeats(watched) for watched in episodes]
    worst = max(range(len(episodes)), key=lambda i: repeats[i].frozen)
    if repeats[worst].frozen > _FROZEN:
        found.append(
            f"camera {camera} shows the same picture again in {repeats[worst].frozen:.0%} of the steps in which the "
            f"robot moves (episode {episodes[worst].episode}): its stream was frozen."
        )
    worst = max(range(len(episodes)), key=lambda i: repeats[i].slow)
    if repeats[worst].slow > _FROZEN:
        found.append(_slower(camera, episodes[worst].episode, repeats[worst], rate))
    if moved := _moved(camera, episodes):
        found.append(moved)
    return found


class _Repeats(NamedTuple):
    """How often a picture is the one before again, while the robot moves."""

    frozen: float
    """Share of the steps with motion in which the picture stays the same for long."""
    slow: float
    """Share of those in which it does so shortly, again and again."""
    run: int
    """How often a picture is repeated then."""


def _repeats(watched: Watched) -> _Repeats:
    """Tell a stream that was frozen from a camera that is slower than the log: its repeats are short and regular."""
    same = np.abs(np.diff(watched.stretch.astype(np.int16), axis=0)).max(axis=(1, 2, 3)) <= 1
    same &= watched.moving
    edges = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]])))
    runs = edges[1::2] - edges[::2]
    if not len(runs):
        return _Repeats(0.0, 0.0, 0)
    moving, usual = max(1, int(watched.moving.sum())), int(np.median(runs))
    short = int(runs[runs <= 2 * usual + 1].sum()) / moving
    if len(runs) < _FEW_RUNS or (usual > 1 and short < _REGULAR * usual / (usual + 1)):
        short = 0.0
    return _Repeats(float(same.sum() / moving - short), short, usual)


def _slower(camera: str, episode: int, repeats: _Repeats, rate: float | None) -> str:
    shown = f"camera {camera} is slower than the log: {repeats.slow:.0%} of its pictures are the one before again"
    if rate is None:
        return f"{shown} (episode {episode}). Take fewer with gwm import --fps."
    return (
        f"{shown}, regularly (episode {episode}), so that about {rate * (1 - repeats.slow):.2g} of {rate:.4g} in a "
        f"second are new. Take rows with pictures of their own: gwm import --fps {rate / (repeats.run + 1):.4g}."
    )


def _moved(camera: str, episodes: list[Watched]) -> str | None:
    """Say by which episode a camera was moved since the first one; nothing of a camera on the arm."""
    stretches = [watched.stretch for watched in episodes]
    if rides_along(stretches) or (move := next(moves(stretches), None)) is None:
        return None
    return f"camera {camera} {move.words} by episode {episodes[move.place].episode}: train on one view at a time."
