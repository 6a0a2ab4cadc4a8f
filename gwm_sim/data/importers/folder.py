"""A folder of films and tables: the layout for recordings that have none of their own.

    SRC/<episode>/<camera>.mp4      one film per camera, or a folder of pictures: <camera>/000001.jpg, PNG or JPEG
    SRC/<episode>/<any name>.csv    time, state.<name> [unit], delta.<name> [unit], target.<name>, rate.<name>
    SRC/<episode>/episode.json      {"success": true, "instruction": "put the cup away"}, if known

`state` columns are telemetry; a robot that reports nothing has none. The prefix of an action says how it adds up over
time: `delta` changes are summed, `target` values replace each other, `rate` values are averaged; `action` leaves it
open. The action of a row leads to the next row. `time` counts from the first frame of every film, in seconds or in the
unit that its name gives, as `time [ms]`; without one, the length of the films tells. Dates as in ISO 8601 will do as
well. A table that begins after the films' end has another clock, such as Unix time, and is taken to begin with them.
Without `time`, row i belongs to frame i, and so it does for pictures, which have no times. A table may be faster than
the films: it is then thinned to their rate. `<camera>_depth` beside `<camera>` is its depth in millimetres: a film in
grey of 16 bits, such as FFV1 in .mkv, or 16-bit PNG. SRC may also be a single episode.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gwm_sim.data.conversion.resampling import UNEVEN, aggregate, nearest, paired, rate_of
from gwm_sim.data.images import decode_levels, decode_picture, picture_bits
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
    listed,
)
from gwm_sim.data.pictures.depth import Shown, sort_cameras
from gwm_sim.data.pictures.videos import SUFFIXES, film_bits, frame_times, frames, levels
from gwm_sim.data.reading.checks import MAX_COLUMNS, Array, brief, json_object, matrix
from gwm_sim.data.reading.clocks import Moments
from gwm_sim.data.reading.folders import PICTURES, begins_late, files_in, jump, natural, unlinked
from gwm_sim.data.reading.tables import read_table
from gwm_sim.errors import DataError

_HEADER = re.compile(r"(state|action|delta|target|rate)\.([^\[\]]+?)\s*(?:\[([^\[\]]*)\])?")
_TIME = re.compile(r"time\s*(?:\[[^\[\]]*\])?")
_OTHER_TIMES = ("t", "timestamp", "timestamps", "stamp", "date", "datetime", "clock", "seconds")

_NEAR_PERIODS = 0.75
"""Periods of a film that its nearest frame may be off: half when none is lost, a whole one where one is."""

_KINDS: dict[str, Kind] = {"delta": "delta", "target": "target", "rate": "rate"}

_OUTCOME = "episode.json"


@dataclass(frozen=True)
class _Table:
    """The numbers of a CSV file, N rows."""

    moments: Moments | None
    telemetry: Array
    actions: Array
    columns: tuple[Column, ...]
    action_columns: tuple[Action, ...]


@dataclass(frozen=True)
class _Camera:
    """What one camera saw: a film, or pictures."""

    film: Path | None
    pictures: tuple[Path, ...]
    stamps: Array | None
    """When its frames are shown [s], counted from the first; None for pictures, which do not say."""

    def __len__(self) -> int:
        return len(self.pictures) if self.stamps is None else len(self.stamps)

    def bits(self) -> int:
        """Return the bits of each number where there are no colours, else 0."""
        if self.film is not None:
            return film_bits(self.film)
        return picture_bits(unlinked(self.pictures[0]).read_bytes(), str(self.pictures[0]))

    def frames(self, indices: Array) -> Iterator[Array]:
        """Read the frames with some numbers, not decreasing, (H, W, 3) uint8."""
        return self._pictures(indices, decode_picture) if self.film is None else frames(self.film, indices)

    def levels(self, indices: Array) -> Iterator[Array]:
        """Read the numbers of frames that show no colours, (H, W)."""
        return self._pictures(indices, decode_levels) if self.film is None else frames(self.film, indices, levels)

    def _pictures(self, indices: Array, decode: Callable[[bytes, str], Array]) -> Iterator[Array]:
        for index in indices.tolist():
            path = unlinked(self.pictures[index])
            yield decode(path.read_bytes(), str(path))


@dataclass(frozen=True)
class _Take:
    """One episode: its table, its cameras, and how they belong together."""

    table: _Table
    cameras: dict[str, _Camera]
    times: Array | None
    """Moments of all rows of the table, counted from the first frame of every film [s], (N,); None if unknown."""
    kept: Array
    """Rows that have a picture of their own from every camera, (R,)."""

    def frame_of(self, camera: _Camera, rows: Array) -> Array:
        """Return which frame of a camera belongs to each row."""
        if self.table.moments is None or self.times is None or camera.stamps is None:
            return rows
        return nearest(camera.stamps, self.times[rows])


class FolderSource(Source):
    """Episodes in the order of their folders' names."""

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """List the episodes and read the first."""
        self.options = options
        if not path.is_dir():
            raise DataError(f"{path} is no folder. Give the folder that holds one folder per episode.")
        self._folders = self._episodes(path)
        if not self._folders:
            text = f"{path} holds no episode: a folder with a .csv table and a film such as front.mp4."
            raise DataError(" ".join([text, *(f"{remark}." for remark in self.remarks)]))
        first = self._read(self._folders[0])
        self._cached = (0, first)
        shown = [Shown(name, camera.bits(), False, {}) for name, camera in first.cameras.items()]
        cameras, self._depths, remarks = sort_cameras(shown, str(self._folders[0]))
        for remark in remarks:
            self.remark(remark)
        self.layout = Layout(
            robot=path.resolve().name,
            rate=None if first.times is None else rate_of(first.times[first.kept], str(self._folders[0])),
            telemetry=first.table.columns,
            actions=first.table.action_columns,
            cameras=tuple(cameras),
            depth=tuple(self._depths),
        )

    def _episodes(self, path: Path) -> list[Path]:
        episodes = []
        for folder in (path, *sorted(item for item in path.iterdir() if item.is_dir())):
            if folder != path and folder.is_symlink():
                self.remark("symbolic links are not followed, and were left out", folder.name)
                continue
            parts = bool(files_in(folder, ".csv")), bool(_films(folder) or _picture_folders(folder))
            if all(parts):
                episodes.append(folder)
            elif any(parts) and folder != path and not files_in(folder, *PICTURES):
                what = ("films, but no table", "a table, but no films")[parts[0]]
                self.remark(f"folders hold {what}, and were left out", folder.name)
        return episodes

    def __len__(self) -> int:
        return len(self._folders)

    def _take(self, k: int) -> _Take:
        if self._cached[0] != k:
            self._cached = (k, self._read(self._folders[k]))
        return self._cached[1]

    def advice(self, k: int) -> str:
        """Name the folder that is to be moved."""
        return how_to_move(self._folders[k])

    def _recording(self, k: int) -> Recording:
        take = self._take(k)
        if (take.table.columns, take.table.action_columns) != (self.layout.telemetry, self.layout.actions):
            raise DataError(f"{self._folders[k]}: the table has other columns than that of the first episode.")
        wanted = [*self.layout.cameras, *(depth.name for depth in self._depths.values())]
        missing = [camera for camera in wanted if camera not in take.cameras]
        if missing:
            raise DataError(f"{self._folders[k]} has no film of {missing[0]!r}, the first episode has one.")
        succeeded, instruction = self._outcome(self._folders[k])
        return Recording(
            where=str(self._folders[k]),
            telemetry=take.table.telemetry[take.kept],
            actions=aggregate(take.table.actions, self.layout.actions, take.kept, self.options.actions),
            times=None if take.times is None else take.times[take.kept],
            succeeded=succeeded,
            instruction=instruction,
        )

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        take = self._take(k)
        return take.cameras[camera].frames(take.frame_of(take.cameras[camera], take.kept[rows]))

    def _depth(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        take, depth = self._take(k), self._depths[camera]
        seen = take.cameras[depth.name]
        return map(depth.scale.distances, seen.levels(take.frame_of(seen, take.kept[rows])))

    def _outcome(self, folder: Path) -> tuple[bool | None, str | None]:
        """Read whether the episode succeeded, and what was asked for."""
        path = folder / _OUTCOME
        if not path.is_symlink() and not path.exists():
            return None, None
        told = json_object(unlinked(path))
        for name, kind, what in (("success", bool, "true or false"), ("instruction", str, "a text")):
            if not isinstance(told.get(name), kind | None):
                raise DataError(f"{path}: {name} is {brief(told[name])}, expected {what}.")
        if unread := sorted(told.keys() - {"success", "instruction"}):
            self.remark(
                f"{_OUTCOME} says more than success and instruction: {listed(unread)} was not read", folder.name
            )
        return told.get("success"), told.get("instruction") or None

    def _read(self, folder: Path) -> _Take:
        tables = files_in(folder, ".csv")
        if len(tables) > 1:
            raise DataError(f"{folder} holds {len(tables)} .csv files; an episode has one.")
        table = _read_table(tables[0])
        found = [(path.stem, self._film(path)) for path in _films(folder)]
        found += [(path.name, self._pictures(path)) for path in _picture_folders(folder)]
        cameras = dict(found)
        if twice := [name for i, (name, _) in enumerate(found) if name in dict(found[:i])]:
            raise DataError(f"{folder} shows {twice[0]!r} twice, as a film or as pictures. Remove one.")
        return self._untimed(folder, table, cameras) if table.moments is None else self._timed(folder, table, cameras)

    def _film(self, path: Path) -> _Camera:
        stamps = frame_times(unlinked(path))
        return _Camera(path, (), self._shown(len(stamps), stamps))

    def _pictures(self, folder: Path) -> _Camera:
        pictures = tuple(files_in(folder, *PICTURES))
        return _Camera(None, pictures, self._shown(len(pictures), None))

    def _shown(self, count: int, stamps: Array | None) -> Array | None:
        """Return when frames are shown, whatever their file says where the user knows better."""
        return stamps if self.options.source_fps is None else np.arange(count) / self.options.source_fps

    def _untimed(self, folder: Path, table: _Table, cameras: dict[str, _Camera]) -> _Take:
        """Row i belongs to frame i, and the films say when that was."""
        rows = len(table.telemetry)
        counts = {name: len(camera) for name, camera in cameras.items()}
        self._check_numbers(folder, rows, cameras)
        kept = np.arange(paired(self, str(folder), rows, counts, remedy="Or add a column time to the table."))
        slowest = _slowest(cameras, folder)
        times = None if slowest is None else np.arange(rows) * _period(slowest, folder)
        return _Take(table, cameras, times, kept)

    def _timed(self, folder: Path, table: _Table, cameras: dict[str, _Camera]) -> _Take:
        """The table says when its rows were; pictures without times belong to its rows one by one."""
        assert table.moments is not None
        films = {name: camera.stamps for name, camera in cameras.items() if camera.stamps is not None}
        slowest = _slowest(cameras, folder)
        end = max(shown[-1] for shown in films.values()) if films else None
        clock = table.moments.read(end)
        if not clock.certain:
            text = f"time is in {clock.unit}, as the length of the films tells: name it time [{clock.unit}]"
            self.remark(text, folder.name)
        times, counts = clock.times, {name: len(camera) for name, camera in cameras.items() if name not in films}
        self._check_numbers(folder, len(times), cameras)
        rows = np.arange(paired(self, str(folder), len(times), counts) if counts else len(times))
        if len(times) and (end is None or times[0] > end or times[-1] < 0):
            if end is not None and clock.unit != "date":
                text = "time is of another clock than the films: the first row was taken for the first frame"
                self.remark(text, folder.name)
            times = times - times[0]
        if slowest is not None:
            if not counts and _period(times, folder) < 0.95 * _period(slowest, folder):  # faster than the films
                rows = np.unique(nearest(times, slowest[slowest <= times[-1] + 1e-6]))
            self._compare(folder, times, slowest, films)
            rows = rows[_has_pictures(times[rows], films, folder)]
        return _Take(table, cameras, times, rows)

    def _check_numbers(self, folder: Path, rows: int, cameras: dict[str, _Camera]) -> None:
        """Refuse pictures of which one is missing before the last: those after it would belong to other rows."""
        for name, camera in cameras.items():
            before = jump(camera.pictures)
            if len(camera) != rows and (before is not None or begins_late(camera.pictures)):
                place = f"after {before.name}" if before is not None else f"before {camera.pictures[0].name}"
                raise DataError(
                    f"{folder} has {rows} rows, but {len(camera)} pictures of {name}, and none of the number {place}. "
                    "Copy it again, or delete the row of each picture that is missing."
                )
            if before is not None:
                text = "numbers of pictures are missing as if some were deleted: only a column time can say where"
                self.remark(text, f"{folder.name}/{name}: after {before.name}")

    def _compare(self, folder: Path, times: Array, slowest: Array, films: dict[str, Array]) -> None:
        """Say which rows and frames have no partner, and whether the films' rate is why."""
        rate, told = 1 / _period(times, folder), {name: 1 / _period(shown, folder) for name, shown in films.items()}
        if others := [f"{name} {other:.3g}" for name, other in told.items() if abs(other / rate - 1) > UNEVEN]:
            text = "films and table differ in rate: a row shows the frame nearest in time, a faster table is thinned"
            self.remark(text, f"{folder.name}: {rate:.3g} rows a second, frames of {listed(others)}")
        alone = int((~_has_pictures(times, films, folder)).sum())
        if len(times) - alone < 2:
            spans = f"it goes from {times[0]:.4g} to {times[-1]:.4g} s, the films last {slowest[-1]:.4g} s"
            raise DataError(f"{folder}: {len(times) - alone} of {len(times)} rows have a frame at their time: {spans}.")
        period = max(_period(times, folder), _period(slowest, folder))
        early, late = slowest < times[0] - period, slowest > times[-1] + period
        unseen = int((early | late).sum())
        if not alone and not unseen:
            return
        shares = f"{folder.name}: {alone} of {len(times)} rows, {unseen} of {len(slowest)} frames"
        self.remark("rows without a frame at their time, and frames without a row, were left out", shares)
        ratio = float(slowest[-1] / (times[-1] - times[0]))
        if self.options.source_fps is None and abs(times[0]) <= period and abs(ratio - 1) > UNEVEN:
            stated = 1 / _period(slowest, folder)
            lengths = f"{folder.name}: {slowest[-1]:.4g} s at {stated:.3g} Hz, {times[-1] - times[0]:.4g} s"
            self.remark(
                "films last longer or shorter than the table, as if their files gave a wrong rate: where both show "
                f"the whole episode, --source-fps {stated * ratio:.2g} would fit",
                lengths,
            )


def _slowest(cameras: dict[str, _Camera], folder: Path) -> Array | None:
    """Return the moments of the camera with the fewest frames per second, of those that say any."""
    stamps = [camera.stamps for camera in cameras.values() if camera.stamps is not None]
    return max(stamps, key=lambda shown: _period(shown, folder), default=None)


def _has_pictures(times: Array, films: dict[str, Array], folder: Path) -> Array:
    """Return which moments have a picture of their own from every film; where one lost frames, some have not."""
    own = np.full(len(times), True)
    for shown in films.values():
        own &= np.abs(shown[nearest(shown, times)] - times) <= _NEAR_PERIODS * _period(shown, folder)
    return own


def _period(times: Array, where: Path) -> float:
    return 1 / rate_of(times, str(where))


def _films(folder: Path) -> list[Path]:
    return files_in(folder, *SUFFIXES)


def _picture_folders(folder: Path) -> list[Path]:
    """List the folders in a folder that hold pictures, which are its cameras."""
    below = sorted((item for item in folder.iterdir() if item.is_dir()), key=natural)
    return [unlinked(item) for item in below if item.suffix.lower() not in SUFFIXES and files_in(item, *PICTURES)]


def _read_table(path: Path) -> _Table:
    read = read_table(unlinked(path), lambda names: _check_header(names, path))
    matches = {i: match for i, name in enumerate(read.names) if (match := _HEADER.fullmatch(name))}
    states = {i: Column(match[2], match[3] or "") for i, match in matches.items() if match[1] == "state"}
    actions = {
        i: Action(match[2], match[3] or "", _KINDS.get(match[1])) for i, match in matches.items() if i not in states
    }
    time = next((name for name in read.names if _TIME.fullmatch(name)), "")
    return _Table(
        moments=None if read.moments is None else Moments(read.moments, read.lines, time, str(path)),
        telemetry=matrix(read.values[:, list(states)], str(path)),
        actions=matrix(read.values[:, list(actions)], str(path)),
        columns=tuple(states.values()),
        action_columns=tuple(actions.values()),
    )


def _check_header(header: list[str], path: Path) -> int | None:
    """Refuse names that mean nothing; return which column is the time."""
    times = [i for i, name in enumerate(header) if _TIME.fullmatch(name)]
    unknown = [name for i, name in enumerate(header) if i not in times and not _HEADER.fullmatch(name)]
    if unknown and unknown[0].partition("[")[0].strip().lower() in ("time", *_OTHER_TIMES):
        raise DataError(f"{path}: {brief(unknown[0])} is no column name. Call it time [s], or [ms], [us] or [ns].")
    if unknown:
        raise DataError(
            f"{path}: {brief(unknown[0])} is no column name. Columns are time, perhaps with a unit as time [ms], and "
            "state.NAME, delta.NAME, target.NAME, rate.NAME or action.NAME, each perhaps with a [unit]."
        )
    if len(set(header)) < len(header) or len(times) > 1 or len(header) > MAX_COLUMNS:
        raise DataError(f"{path} names a column twice, or too many.")
    if not any(name.startswith(("action.", "delta.", "target.", "rate.")) for name in header):
        raise DataError(f"{path} has no actions: name columns delta.x [m], target.gripper, rate.vx.")
    return times[0] if times else None


def _recognises(path: Path) -> bool:
    """Return whether `path`, or one of the first folders in it, holds a table, and films or folders of pictures."""
    if not path.is_dir():
        return False
    folders = [path, *sorted(item for item in path.iterdir() if item.is_dir() and not item.is_symlink())][:3]
    return any(files_in(folder, ".csv") and (_films(folder) or _picture_folders(folder)) for folder in folders)


# After those that may hold a table and a film besides.
FORMAT = ImportFormat(
    "folder",
    FolderSource,
    _recognises,
    rank=5,
    options=("trim",),
    looks_for="a folder, or folders in it, each with a .csv table and a film such as front.mp4 or a folder of pictures",
)
