"""A folder of videos and tables: the layout for recordings that have none of their own.

    SRC/<episode>/<camera>.mp4      one video per camera
    SRC/<episode>/<any name>.csv    time, state.<name> [unit], delta.<name> [unit], target.<name>, rate.<name>

`state` columns are telemetry. The prefix of an action says how it adds up over time: `delta` changes are summed,
`target` values replace each other, `rate` values are averaged; `action` leaves it open. The action of a row leads to
the next row. `time` [s] counts from the first frame of every video. A table that begins after their end has another
clock, such as Unix time, and is taken to begin with them. Without `time`, row i belongs to frame i. A table may be
faster than the videos: it is then thinned to their rate. SRC may also be a single episode.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gwm_sim.data.importers.resampling import aggregate, nearest, rate_of
from gwm_sim.data.importers.source import (
    AS_STORED,
    Action,
    Column,
    ImportFormat,
    Kind,
    Layout,
    Recording,
    Source,
    SourceOptions,
    how_to_move,
)
from gwm_sim.data.reading.checks import MAX_COLUMNS, MAX_ROWS, Array, brief, matrix, moments, reading
from gwm_sim.data.reading.videos import SUFFIXES, frame_times, frames
from gwm_sim.errors import DataError

_HEADER = re.compile(r"(state|action|delta|target|rate)\.([^\[\]]+?)\s*(?:\[([^\[\]]*)\])?")
_SLACK_ROWS, _SLACK_SHARE = 2, 0.02
"""Rows, and share of the rows, by which a table without times and its videos may differ in length."""

_NEAR_PERIODS = 0.75
"""Periods of a video that its nearest frame may be off: half when none is lost, a whole one where one is."""

_KINDS: dict[str, Kind] = {"delta": "delta", "target": "target", "rate": "rate"}


@dataclass(frozen=True)
class _Table:
    """The numbers of a CSV file, N rows."""

    times: Array | None
    telemetry: Array
    actions: Array
    columns: tuple[Column, ...]
    action_columns: tuple[Action, ...]


@dataclass(frozen=True)
class _Take:
    """One episode: its table, its videos, and how they belong together."""

    table: _Table
    videos: dict[str, Path]
    stamps: dict[str, Array]
    """When the frames of each video are shown [s], counted from its first."""
    times: Array
    """Moments of all rows of the table, counted from the first frame of every video [s], (N,)."""
    kept: Array
    """Rows that have a picture of their own from every camera, (R,)."""


class FolderSource(Source):
    """Episodes in the order of their folders' names."""

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """List the episodes and read the first."""
        self.options = options
        if not path.is_dir():
            raise DataError(f"{path} is no folder. Give the folder that holds one folder per episode.")
        below = sorted(item for item in path.iterdir() if item.is_dir() and not item.is_symlink())
        self._folders = [folder for folder in (path, *below) if _files(folder, ".csv") and _videos(folder)]
        if not self._folders:
            raise DataError(f"{path} holds no episode: a folder with a .csv table and a video such as front.mp4.")
        first = _read_take(self._folders[0])
        self._cached = (0, first)
        self.layout = Layout(
            robot=path.resolve().name,
            rate=rate_of(first.times[first.kept], str(self._folders[0])),
            telemetry=first.table.columns,
            actions=first.table.action_columns,
            cameras=tuple(first.videos),
        )

    def __len__(self) -> int:
        return len(self._folders)

    def _take(self, k: int) -> _Take:
        if self._cached[0] != k:
            self._cached = (k, _read_take(self._folders[k]))
        return self._cached[1]

    def advice(self, k: int) -> str:
        """Name the folder that is to be moved."""
        return how_to_move(self._folders[k])

    def _recording(self, k: int) -> Recording:
        take = self._take(k)
        if (take.table.columns, take.table.action_columns) != (self.layout.telemetry, self.layout.actions):
            raise DataError(f"{self._folders[k]}: the table has other columns than that of the first episode.")
        missing = [camera for camera in self.layout.cameras if camera not in take.videos]
        if missing:
            raise DataError(f"{self._folders[k]} has no video of {missing[0]!r}, the first episode has one.")
        return Recording(
            where=str(self._folders[k]),
            telemetry=take.table.telemetry[take.kept],
            actions=aggregate(take.table.actions, self.layout.actions, take.kept, self.options.actions),
            times=take.times[take.kept],
        )

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        take = self._take(k)
        wanted = take.kept[rows]
        if take.table.times is not None:
            wanted = nearest(take.stamps[camera], take.times[wanted])
        return frames(take.videos[camera], wanted)


def _read_take(folder: Path) -> _Take:
    tables, videos = _files(folder, ".csv"), _videos(folder)
    if len(tables) > 1:
        raise DataError(f"{folder} holds {len(tables)} .csv files; an episode has one.")
    table = _read_table(tables[0])
    stamps = {camera: frame_times(video) for camera, video in videos.items()}
    slowest = max(stamps.values(), key=lambda times: _period(times, folder))
    if table.times is None:
        kept = _paired_rows(len(table.telemetry), {camera: len(shown) for camera, shown in stamps.items()}, folder)
        return _Take(table, videos, stamps, np.arange(len(table.telemetry)) * _period(slowest, folder), kept)
    end = max(shown[-1] for shown in stamps.values())
    times = table.times - table.times[0] if len(table.times) and table.times[0] > end else table.times
    rows = np.arange(len(times))
    if _period(times, folder) < 0.95 * _period(slowest, folder):  # the table is faster than the videos
        rows = np.unique(nearest(times, slowest[slowest <= times[-1] + 1e-6]))
    return _Take(table, videos, stamps, times, rows[_has_pictures(times[rows], stamps, folder)])


def _paired_rows(rows: int, frames: dict[str, int], folder: Path) -> Array:
    """Return the rows up to the end of the shortest video, when row i belongs to frame i."""
    counts = [rows, *frames.values()]
    if max(counts) - min(counts) > max(_SLACK_ROWS, _SLACK_SHARE * max(counts)):
        raise DataError(
            f"{folder}: its table has {rows} rows, its videos have {frames} frames. "
            "Add a column time [s] to the table: without it, row i belongs to frame i."
        )
    return np.arange(min(counts))


def _has_pictures(times: Array, stamps: dict[str, Array], folder: Path) -> Array:
    """Return which moments have a picture of their own from every camera; where a video lost frames, some have not."""
    own = np.full(len(times), True)
    for shown in stamps.values():
        own &= np.abs(shown[nearest(shown, times)] - times) <= _NEAR_PERIODS * _period(shown, folder)
    return own


def _period(times: Array, where: Path) -> float:
    return 1 / rate_of(times, str(where))


def _files(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.suffix.lower() in suffixes)


def _videos(folder: Path) -> dict[str, Path]:
    videos = _files(folder, *SUFFIXES)
    for video in videos:
        if video.is_symlink():
            raise DataError(f"{video} is a symbolic link, which is not followed. Copy with `cp -rL`.")
    return {video.stem: video for video in videos}


def _read_table(path: Path) -> _Table:
    if path.is_symlink():
        raise DataError(f"{path} is a symbolic link, which is not followed. Copy with `cp -rL`.")
    with reading(path), open(path, newline="", encoding="utf-8-sig") as file:
        lines = csv.reader(file, strict=True)
        header = [name.strip() for name in next(lines, [])]
        _check_header(header, path)
        rows = []
        for line in lines:
            if len(line) != len(header):
                raise DataError(f"{path} has {len(line)} values in line {lines.line_num}, expected {len(header)}.")
            rows.append([float(value) for value in line])
            if len(rows) > MAX_ROWS:
                raise DataError(f"{path} has more than {MAX_ROWS:,} rows.")
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(header))
    matches = {i: match for i, name in enumerate(header) if (match := _HEADER.fullmatch(name))}
    states = {i: Column(match[2], match[3] or "") for i, match in matches.items() if match[1] == "state"}
    actions = {
        i: Action(match[2], match[3] or "", _KINDS.get(match[1])) for i, match in matches.items() if i not in states
    }
    return _Table(
        times=moments(values[:, header.index("time")], f"{path}: time") if "time" in header else None,
        telemetry=matrix(values[:, list(states)], str(path)),
        actions=matrix(values[:, list(actions)], str(path)),
        columns=tuple(states.values()),
        action_columns=tuple(actions.values()),
    )


def _check_header(header: list[str], path: Path) -> None:
    unknown = [name for name in header if name != "time" and not _HEADER.fullmatch(name)]
    if unknown or len(set(header)) < len(header) or len(header) > MAX_COLUMNS:
        raise DataError(
            f"{path}: {brief(unknown[0])} is no column name. Columns are time, in seconds and named so, and "
            "state.NAME, delta.NAME, target.NAME, rate.NAME or action.NAME, each perhaps with a [unit]."
            if unknown
            else f"{path} names a column twice, or too many."
        )
    for prefix, what in (("state.", "telemetry"), (("action.", "delta.", "target.", "rate."), "actions")):
        if not any(name.startswith(prefix) for name in header):
            raise DataError(f"{path} has no {what}: name columns state.x [m], delta.x [m], target.gripper, rate.vx.")


def _recognises(path: Path) -> bool:
    """Return whether `path`, or the first folder in it, holds a table and a video."""
    if not path.is_dir():
        return False
    folders = [path, *sorted(item for item in path.iterdir() if item.is_dir())][:3]
    return any(_files(folder, ".csv") and _files(folder, *SUFFIXES) for folder in folders)


# After those that may hold a table and a video besides.
FORMAT = ImportFormat(
    "folder",
    FolderSource,
    _recognises,
    rank=5,
    looks_for="a folder, or folders in it, each with a .csv table and a video such as front.mp4",
)
