"""What is in a recording of a foreign format, before it is imported, and what of it would harm a world model.

All numbers are read, one episode at a time; pictures only of some episodes. A model learns what follows from an action
where actions vary, the robot moves, time is even and the camera stands still: the warnings say where that is not so.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.formats import Readable, open_source
from gwm_sim.data.images import shrink
from gwm_sim.data.importers.continuity import Continuity
from gwm_sim.data.importers.resampling import UNEVEN, cuts, rate_of
from gwm_sim.data.importers.source import AS_STORED, Recording, Source, SourceOptions
from gwm_sim.data.inspection import Range, Tally
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

_SHIFT_PX = 2
"""Shift of the background, of 64 pixels, that says the camera was moved."""

_SAME_LEVELS = 8
"""Grey levels by which a pixel of a scene that stands still may change."""

_MOSTLY_SAME = 0.8
"""Share of the pixels that do not change when something moved and not the camera."""

_STATIC_STD = 12.0
"""Grey levels that the median pixel of a camera that stands still changes at most; one on the arm changes more."""


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
    """Height and width in the first episode [px]."""
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


@dataclass(frozen=True)
class Watched:
    """Pictures of one episode from one camera."""

    episode: int
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
    # How actions add up matters to nothing that is said here, but formats ask for it that leave rows out themselves.
    options = replace(options, actions=options.actions or "target")
    with open_source(format, path, options) as source:
        numbers = _Numbers(source, show)
        watched = {camera: list(_watch(source, camera, numbers)) for camera in source.layout.cameras}
        draw(next(iter(watched.values())), source.layout.rate or 10.0)
        warnings = [*source.remarks, *numbers.warnings()]
        for camera, episodes in watched.items():
            warnings += _picture_warnings(camera, episodes)
        return numbers.survey(str(path), format, warnings)


class _Numbers:
    """Everything that the numbers tell: their ranges first, then what only the ranges make visible."""

    def __init__(self, source: Source, show: Show) -> None:
        self._layout = source.layout
        self._sizes = {camera: next(source.frames(0, camera, [0])).shape[:2] for camera in source.layout.cameras}
        self.telemetry, self.actions = Tally(len(source.layout.telemetry)), Tally(len(source.layout.actions))
        self._lengths: list[int] = []
        self._rates: list[float] = []
        self._gaps = 0
        self._outcomes: Counter[str] = Counter()
        self._continuity = Continuity(source.layout, source.layout.actions)
        for k in range(len(source)):
            self._add(source.recording(k))
            show((k + 1) / (2 * len(source)), f"{k + 1} of {len(source)} episodes")
        still = 0
        cells: set[tuple[int, ...]] = set()
        for k in range(len(source)):  # again, now that the ranges are known
            recording = source.recording(k)
            self._continuity(recording)  # counts where angles jump
            still += int((~self.moving(recording)).sum())
            cells |= self._cells(recording)
            show((len(source) + k + 1) / (2 * len(source)), f"motion of {k + 1} of {len(source)} episodes")
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
        span = self.actions.high - self.actions.low
        for i, (action, share) in enumerate(zip(self._layout.actions, self.actions.at_ends, strict=True)):
            if span[i] < 1e-6:
                found.append(f"action {action.name} never changes: the model cannot learn what it does.")
            elif share > _SATURATED and action.kind != "target":
                found.append(f"action {action.name} is at its limit in {share:.0%} of the rows: it was saturated.")
        if unsaid := [action.name for action in self._layout.actions if action.kind is None]:
            names = ", ".join(unsaid[:8])
            found.append(f"the source does not say how {names} add up: give it to gwm import with --actions.")
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

    def survey(self, path: str, format: Readable, warnings: list[str]) -> Survey:
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
            cameras={name: (int(height), int(width)) for name, (height, width) in self._sizes.items()},
            outcomes=dict(self._outcomes),
            actions=self.actions.ranges([a.name for a in layout.actions], [a.unit for a in layout.actions]),
            telemetry=self.telemetry.ranges([c.name for c in layout.telemetry], [c.unit for c in layout.telemetry]),
            kinds={action.name: action.kind or "unknown" for action in layout.actions},
            still=self._still_share,
            coverage=self._coverage_share,
            warnings=warnings,
        )


def _watch(source: Source, camera: str, numbers: _Numbers) -> Iterator[Watched]:
    """Read pictures of some episodes."""
    for k in spread(len(source)):
        recording = source.recording(k)
        stretch = min(_WATCHED, len(recording))
        shown = chosen_rows(len(recording))
        rows = sorted({*range(stretch), *shown})
        pictures = {
            row: shrink(picture, _SIZE) for row, picture in zip(rows, source.frames(k, camera, rows), strict=True)
        }
        yield Watched(
            episode=k,
            stretch=np.stack([pictures[row] for row in range(stretch)]),
            moments=[pictures[row] for row in shown],
            moving=numbers.moving(recording)[: stretch - 1],
        )


def _picture_warnings(camera: str, episodes: list[Watched]) -> list[str]:
    found = []
    frozen = [_frozen(watched) for watched in episodes]
    worst = int(np.argmax(frozen))
    if frozen[worst] > _FROZEN:
        found.append(
            f"camera {camera} shows the same picture again in {frozen[worst]:.0%} of the steps in which the robot "
            f"moves (episode {episodes[worst].episode}): its stream was frozen."
        )
    moved = _moved(episodes)
    if moved:
        found.append(
            f"camera {camera} was moved, or the scene rebuilt, by episode {moved[0]}: train on one view at a time."
        )
    return found


def _frozen(watched: Watched) -> float:
    """Return the share of the steps with motion in which the picture stays the same."""
    change = np.abs(np.diff(watched.stretch.astype(np.int16), axis=0)).max(axis=(1, 2, 3))
    return float(((change <= 1) & watched.moving).sum() / max(1, watched.moving.sum()))


def _moved(episodes: list[Watched]) -> list[int]:
    """List the episodes whose background is shifted from that of the first; none for a camera on the arm."""
    grey = [watched.stretch.mean(axis=-1) for watched in episodes]
    if np.median([np.median(frames.std(axis=0)) for frames in grey]) > _STATIC_STD:
        return []
    halves = [(frames[: len(frames) // 2 + 1], frames[len(frames) // 2 :]) for frames in grey]
    reference = np.median(halves[0][0], axis=0)
    return [
        watched.episode
        for watched, parts in zip(episodes, halves, strict=True)
        if any(_shift(reference, np.median(part, axis=0)) >= _SHIFT_PX for part in parts)
    ]


def _shift(first: Array, second: Array) -> float:
    """Return by how much one picture is shifted from the other [px]: the peak of their phase correlation.

    A large arm in another place makes a peak too; but then the pictures agree best as they are, and it is 0. So it is
    where most of them is the same: an object that lies elsewhere on a plain table is no moved camera.
    """
    window = np.outer(np.hanning(len(first)), np.hanning(len(first)))
    spectra = [np.fft.fft2((picture - picture.mean()) * window) for picture in (first, second)]
    cross = spectra[0] * np.conj(spectra[1])
    correlation = np.fft.ifft2(cross / np.maximum(np.abs(cross), 1e-9)).real
    peak = np.unravel_index(correlation.argmax(), correlation.shape)
    undone = np.roll(second, peak, axis=(0, 1))
    agrees = [(np.abs(picture - first) < _SAME_LEVELS).mean() for picture in (second, undone)]
    if agrees[0] >= min(agrees[1], _MOSTLY_SAME):
        return 0.0
    return max(float(min(step, size - step)) for step, size in zip(peak, correlation.shape, strict=True))
