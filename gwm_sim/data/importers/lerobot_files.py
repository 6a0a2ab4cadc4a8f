"""Where the episodes of a LeRobot dataset lie: rows in parquet files, pictures in films.

    meta/info.json                          codebase_version, fps, features, data_path, video_path
    v2  meta/episodes.jsonl                 data/chunk-000/episode_000003.parquet
                                            videos/chunk-000/<key>/episode_000003.mp4
    v3  meta/episodes/chunk-*/*.parquet     data/chunk-000/file-000.parquet
                                            videos/<key>/chunk-000/file-000.mp4

Metadata may name wrong files: LeRobot's converter between versions is known to leave old numbers behind. Rows say to
which episode they belong, so they are found; films do not, and only what leaves no choice is taken from another one.
"""

import glob
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode import UNTOLD
from gwm_sim.data.pictures.videos import frame_times, inside, last_moment, own_frames
from gwm_sim.data.reading import checks
from gwm_sim.data.reading.parquet import EPISODE, read_numbers, read_table, rows_by_episode
from gwm_sim.data.reading.spans import Span, settle
from gwm_sim.errors import DataError, OutsideError

INFO = "meta/info.json"

_SLACK_PERIODS = 0.75
"""Periods by which a film may end before the last row: a frame that is missing makes 1, rounding much less."""


@dataclass(frozen=True)
class Place:
    """Where an episode lies, as the metadata say."""

    episode: int
    data: str
    """Parquet file, relative to the dataset."""
    videos: dict[str, tuple[str, float, float]]
    """File, first moment in it and where the episode ends [s], infinite where nobody says, by feature."""
    length: int | None
    """Rows that it should have; None when nobody says."""
    instruction: str | None
    """What the robot was asked to do."""


class Film(NamedTuple):
    """Where a film shows an episode."""

    path: Path
    start: float
    """First moment of the episode in it [s]."""
    stop: float
    """Where it ends and another one may begin [s]; infinite when nobody says."""
    origin: float
    """First moment of the first episode in it [s]."""


class LeRobotFiles:
    """The files of a dataset, by the position of an episode among those that the metadata list."""

    def __init__(
        self,
        root: Path,
        info: dict[str, Any],
        films: Sequence[str],
        remark: Callable[[str, str], None],
        trim: bool = False,
    ) -> None:
        """Read the list of the episodes.

        Args:
            root: Folder of the dataset.
            info: What `meta/info.json` holds.
            films: Features that are video.
            remark: Hears of wrong files, and of which episode.
            trim: Whether rows after the end of a film may be dropped.
        """
        self._root, self._info, self._films, self._remark, self._trim = root, info, films, remark, trim
        self._rate = positive(info.get("fps"), root / INFO)
        self.places = self._find_places()
        self._holders: dict[int, str] = {}  # files that truly have the rows
        self._settled: dict[str, list[Span | str]] = {}  # see `_spans`
        total = info.get("total_episodes")
        if isinstance(total, int) and total != len(self.places):
            remark(f"{INFO} says total_episodes {total}, but lists {len(self.places)}: only those are read.", "")

    def title(self, k: int) -> str:
        """Name an episode by its index."""
        return f"episode {self.places[k].episode}"

    def where(self, k: int) -> str:
        """Name the file and the episode in it, for messages."""
        return f"{self._root / self._holders.get(k, self.places[k].data)}, {self.title(k)}"

    def _find_places(self) -> list[Place]:
        version = str(self._info.get("codebase_version"))
        if version.startswith("v3."):
            return self._places_v3()
        if version in ("v2.0", "v2.1"):
            return self._places_v2()
        raise DataError(
            f"{self._root / INFO} says codebase_version {checks.brief(version)}; v2.0, v2.1 and v3.0 are read. "
            "Convert it with LeRobot's own scripts."
        )

    def _places_v2(self) -> list[Place]:
        path = self._root / "meta/episodes.jsonl"
        chunk_size = int(positive(self._info.get("chunks_size", 1000), self._root / INFO))
        with checks.reading(path):
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
            told = sorted(((int(line["episode_index"]), line) for line in lines), key=itemgetter(0))
        places = []
        for index, line in told:
            fields = {"episode_index": index, "episode_chunk": index // chunk_size}
            data = self._fill("data_path", fields)
            videos = {
                key: (self._fill("video_path", fields | {"video_key": key}), 0.0, float("inf")) for key in self._films
            }
            places.append(Place(index, data, videos, _length(line), _instruction(line)))
        return places

    def _places_v3(self) -> list[Place]:
        folder = self._root / "meta/episodes"
        files = sorted(folder.glob("chunk-*/file-*.parquet"))
        if not files:
            raise DataError(f"{folder} holds no chunk-*/file-*.parquet.")
        places = []
        for path in files:
            columns = [EPISODE, "data/chunk_index", "data/file_index"]
            for key in self._films:
                columns += [f"videos/{key}/{field}" for field in ("chunk_index", "file_index", "from_timestamp")]
            optional = ["length", "tasks", *(f"videos/{key}/to_timestamp" for key in self._films)]
            table = read_table(
                self._inside(path.relative_to(self._root).as_posix(), str(path)), columns, None, optional
            )
            for row in table.to_pylist():
                with checks.reading(path):
                    places.append(self._place_v3(row))
        return sorted(places, key=lambda place: place.episode)

    def _place_v3(self, row: dict[str, Any]) -> Place:
        def fields(prefix: str) -> dict[str, int | str]:
            return {name: int(row[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}

        videos = {}
        for key in self._films:
            file = self._fill("video_path", fields(f"videos/{key}") | {"video_key": key})
            start, stop = row[f"videos/{key}/from_timestamp"], row.get(f"videos/{key}/to_timestamp")
            videos[key] = (file, float(start), float("inf") if stop is None else float(stop))
        data = self._fill("data_path", fields("data"))
        return Place(int(row[EPISODE]), data, videos, _length(row), _instruction(row))

    def _fill(self, template: str, fields: Mapping[str, int | str]) -> str:
        """Fill a path template of the dataset. Not with `str.format`, which would obey any width or attribute in it."""
        text, where = self._info.get(template), self._root / INFO

        def value(match: re.Match[str]) -> str:
            name, digits = match[1], match[2]
            if name not in fields:
                raise DataError(f"{where}: {template} asks for {checks.brief(name)}; known are {sorted(fields)}.")
            return str(fields[name]).zfill(int(digits or 0))

        if not isinstance(text, str):
            raise DataError(f"{where} gives no {template}.")
        filled = re.sub(r"\{(\w+)(?::0(\d)d)?\}", value, text)
        if "{" in filled:
            raise DataError(f"{where}: {template} {checks.brief(text)} is no template of LeRobot.")
        return filled

    def _inside(self, file: str, where: str) -> Path:
        return inside(self._root, file, where)

    def rows(self, k: int, columns: Sequence[str], pictures: bool = False) -> dict[str, list[Any]]:
        """Read columns of one episode, numbers or pictures, in the order of its frames."""
        episode = self.places[k].episode
        path = self.table(k)
        table = (read_table if pictures else read_numbers)(path, [*columns, "frame_index", EPISODE], episode)
        if table.num_rows > checks.MAX_ROWS:
            raise DataError(f"{path}: episode {episode} has {table.num_rows:,} rows.")
        with checks.reading(path):
            rows = table.sort_by("frame_index").to_pydict()
        if rows["frame_index"] != list(range(len(rows["frame_index"]))):
            raise DataError(f"{path}: episode {episode} lacks rows: frame_index is not 0, 1, 2, ...")
        return dict(rows)

    def table(self, k: int) -> Path:
        """Return the file with the rows of an episode."""
        return self._inside(self._holder(k), f"{self._root}, {self.title(k)}")

    def _holder(self, k: int) -> str:
        """Return the file with the rows of an episode: the one that the metadata name, or the one that has them."""
        if k in self._holders:
            return self._holders[k]
        place, named = self.places[k], self._count_as_named(k)
        if named and named == (place.length or named):
            self._holders[k] = place.data
            return place.data
        holdings = self._holdings.get(place.episode, {})
        counts = {path.relative_to(self._root).as_posix(): count for path, count in holdings.items()}
        others = [file for file, count in counts.items() if count == (place.length or count) and file != place.data]
        if len(others) != 1:
            there = ", ".join(f"{count} in {file}" for file, count in counts.items())
            raise DataError(
                f"{self.where(k)}: metadata and rows disagree: {'some' if place.length is None else place.length} rows "
                f"are expected in {place.data}{', which is missing' if named is None else ''}; there are "
                f"{there or 'none in any file'}."
            )
        self._holders[k] = others[0]
        self._remark(f"rows were read from {others[0]}, where they are; the metadata name {place.data}", self.title(k))
        return others[0]

    def _count_as_named(self, k: int) -> int | None:
        """Return how many rows of an episode the file has that the metadata name; None where there is no such file."""
        place = self.places[k]
        try:
            path = self._inside(place.data, f"{self._root}, {self.title(k)}")
        except OutsideError:
            raise
        except DataError:
            return None
        return int(read_numbers(path, [EPISODE], place.episode).num_rows)

    @cached_property
    def _holdings(self) -> dict[int, dict[Path, int]]:
        """Which files have how many rows of which episode."""
        files = [path for path in sorted((self._root / "data").rglob("*.parquet")) if not path.is_symlink()]
        return rows_by_episode(files)

    def named_film(self, k: int, key: str) -> Path:
        """Return the film that the metadata name, whatever it shows."""
        return self._inside(self.places[k].videos[key][0], self.where(k))

    def film(self, k: int, key: str) -> Film:
        """Return where an episode is shown to a camera."""
        file, span = self.places[k].videos[key][0], self._spans(key)[k]
        if isinstance(span, str):
            raise DataError(f"{self.where(k)}: {key}: {span}")
        if span.file != file:
            self._remark(f"pictures were read from {span.file}, the metadata name {file}", self.title(k))
        return self._film(k, key, span)

    def _film(self, k: int, key: str, span: Span) -> Film:
        _, start, stop = self.places[k].videos[key]
        starts = self._starts[key].get(span.file, [start])
        following = starts[bisect_right(starts, start) :]
        return Film(self._inside(span.file, self.where(k)), start, min([stop, *following[:1]]), min(starts[0], start))

    @cached_property
    def _starts(self) -> dict[str, dict[str, list[float]]]:
        """First moments [s] of the episodes that the metadata put into each film, increasing, by feature and file."""
        starts: dict[str, dict[str, list[float]]] = {key: {} for key in self._films}
        for place in self.places:
            for key, (file, start, _) in place.videos.items():
                starts[key].setdefault(file, []).append(start)
        return {key: {file: sorted(moments) for file, moments in films.items()} for key, films in starts.items()}

    def shown_rows(self, k: int, times: Array, films: Sequence[str]) -> int:
        """Return how many rows of an episode its films show, as far as they say so; decoding them tells the rest.

        Args:
            k: Position of the episode.
            times: Moments of its rows [s], (R,).
            films: Features that are read.

        Raises:
            DataError: Not all of them, and what is too much may not be dropped.
        """
        shown = len(times)
        for key in films:
            film = self.film(k, key)
            last = self._end(film.path, [film.origin]) + _SLACK_PERIODS / self._rate - film.start
            own = own_frames(film.path, film.start, film.stop, film.origin)
            if times[-1] <= last or len(own) == len(times):  # or its clock is wrong
                continue
            found = int(np.searchsorted(times, last, side="right"))
            if not self._trim or not found:
                remedy = " Give --trim to drop the others." if found else ""
                raise DataError(f"{self.where(k)}: {film.path} shows {found} of {len(times)} rows.{remedy}")
            shown = min(shown, found)
            self._remark(f"rows after the end of {key} were dropped", self.title(k))
        return shown

    def _end(self, path: Path, starts: Sequence[float]) -> float:
        """Return when the last row may be shown by a film [s], given when its episodes begin in it."""
        return last_moment(path, 1 / self._rate, min(starts, default=0.0))

    def _spans(self, key: str) -> list[Span | str]:
        """Find the stretch of a film that shows each episode to a camera, or say what is wrong with it."""
        if key not in self._settled:
            shared = str(self._info.get("codebase_version")).startswith("v3.")
            self._settled[key] = self._settle(key) if shared else [_whole(place, key) for place in self.places]
        return self._settled[key]

    def _settle(self, key: str) -> list[Span | str]:
        claims = [
            _whole(place, key)._replace(stop=place.videos[key][1] + max(0, (place.length or 1) - 1) / self._rate)
            for place in self.places
        ]
        ends, slack = self._ends(key, {claim.file for claim in claims}), _SLACK_PERIODS / self._rate
        claims = [claim if claim.file not in ends else self._as_shown(k, key, claim) for k, claim in enumerate(claims)]
        settled = settle(claims, ends, slack)
        if self._trim:  # what lies in no other film is cut where its own one ends
            claims = [
                _cut(claim, ends.get(claim.file, claim.stop)) if isinstance(found, str) else found
                for claim, found in zip(claims, settled, strict=True)
            ]
            settled = settle(claims, ends, slack)
        return settled

    def _as_shown(self, k: int, key: str, claim: Span) -> Span:
        """End a stretch that has a frame for each row with the last of them, whatever the clock of its film says."""
        film = self._film(k, key, claim)
        own = own_frames(film.path, film.start, film.stop, film.origin)
        if not len(own) or len(own) != self.places[k].length:
            return claim
        shown = frame_times(film.path)[own]
        return claim._replace(stop=min(claim.stop, claim.start + float(shown[-1] - shown[0])))

    def _ends(self, key: str, claimed: set[str]) -> dict[str, float]:
        """Return the last moment [s] of every film of a feature that can be opened, by its file."""
        pattern = re.sub(r"\{(chunk|file)_index[^}]*\}", "*", str(self._info.get("video_path")))
        pattern = pattern.replace("{video_key}", glob.escape(key))
        others = set() if pattern.startswith("/") or ".." in pattern else set(self._root.glob(pattern))
        ends = {}
        for file in sorted(claimed | {path.relative_to(self._root).as_posix() for path in others}):
            try:
                path = self._inside(file, f"{self._root}: {key}")
                ends[file] = self._end(path, self._starts[key].get(file, []))
            except OutsideError:
                if file in claimed:
                    raise
            except DataError:  # it is said of the episodes that need it
                continue
        return ends


def _whole(place: Place, key: str) -> Span:
    file, start, _ = place.videos[key]
    return Span(file, start, start)


def _cut(span: Span, end: float) -> Span:
    """End a stretch with its film, if it begins before."""
    return span._replace(stop=min(span.stop, end)) if span.start < end else span


def positive(value: Any, where: Path) -> float:
    """Return a number that must be positive."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise DataError(f"{where} gives {checks.brief(value)} where a positive number is expected.")
    return float(value)


def _length(line: Mapping[str, Any]) -> int | None:
    """Return how many rows an episode should have; older datasets do not say."""
    length = line.get("length")
    return length if isinstance(length, int) and not isinstance(length, bool) else None


def _instruction(line: Mapping[str, Any]) -> str | None:
    """Return what an episode was recorded for, in words; None where nobody says."""
    tasks = line.get("tasks")
    texts = (
        [text for text in tasks if isinstance(text, str) and text not in ("", UNTOLD)]
        if isinstance(tasks, list)
        else []
    )
    return "; ".join(texts) or None
