"""LeRobot datasets, v2.0 and v2.1 (a file per episode) and v3.0 (several episodes in a file, found by their times).

    meta/info.json                          codebase_version, fps, features, data_path, video_path
    v2  meta/episodes.jsonl                 data/chunk-000/episode_000003.parquet
                                            videos/chunk-000/<key>/episode_000003.mp4
    v3  meta/episodes/chunk-*/*.parquet     data/chunk-000/file-000.parquet
                                            videos/<key>/chunk-000/file-000.mp4

A row has its picture at `from_timestamp + timestamp` seconds in the video. The default codec is AV1. Pictures may
also lie in the parquet files, as PNG or JPEG. Units are not stored: degrees, radians and percent all occur.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.images import decode_picture
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
)
from gwm_sim.data.reading import checks
from gwm_sim.data.reading.videos import frames_at, inside
from gwm_sim.errors import DataError
from gwm_sim.storage import reason

_STATE, _ACTION = "observation.state", "action"
_REWARD, _SUCCESS = "next.reward", "next.success"
_INFO = "meta/info.json"


@dataclass(frozen=True)
class _Place:
    """Where an episode lies."""

    episode: int
    data: str
    """Parquet file, relative to the dataset."""
    videos: dict[str, tuple[str, float]]
    """File and first moment in it [s], by feature."""


class LeRobotSource(Source):
    """Episodes of a dataset, in the order of their index."""

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """Read the metadata of all episodes."""
        self.options = options
        self._root, info = path, path / _INFO
        if not info.is_file():
            raise DataError(f"{info} does not exist. Give the folder of a LeRobot dataset, which holds meta and data.")
        self._info = checks.json_object(info)
        self._rate = _positive(self._info.get("fps"), info)
        self._features = _features(self._info, info)
        self._cameras = {_camera(key): key for key, feature in self._features.items() if _shows_colours(feature)}
        if not self._cameras:
            raise DataError(f"{info} lists no feature of dtype video or image: there are no pictures.")
        self._places = self._find_places()
        if not self._places:
            raise DataError(f"{path} has no episode. Was the recording finished?")
        self.layout = Layout(
            robot=str(self._info.get("robot_type") or "LeRobot"),
            rate=self._rate,
            telemetry=tuple(Column(name) for name in self._names(_STATE)),
            actions=tuple(Action(name, kind=_kind(name)) for name in self._names(_ACTION)),
            cameras=tuple(self._cameras),
            task="task" if {_REWARD, _SUCCESS} & set(self._features) else None,
        )

    def __len__(self) -> int:
        return len(self._places)

    def _names(self, key: str) -> list[str]:
        """Return the column names of a vector, numbered ones where it has none."""
        feature = self._features.get(key)
        where = f"{self._root / _INFO}: features"
        if feature is None or not feature["shape"] or len(feature["shape"]) != 1:
            raise DataError(f"{where} lists no vector {key!r}.")
        width, names = feature["shape"][0], feature.get("names")
        if not isinstance(width, int) or not 0 < width <= checks.MAX_COLUMNS:
            raise DataError(f"{where}: {key} has shape {checks.brief(feature['shape'])}.")
        if isinstance(names, dict):  # {"motors": [...]}
            names = next(iter(names.values()), None)
        prefix = "state" if key == _STATE else "action"
        if not isinstance(names, list) or len(names) != width or len(set(map(str, names))) != width:
            names = [f"{prefix}_{i}" for i in range(width)]
        return [str(name) for name in names]

    def _find_places(self) -> list[_Place]:
        version = str(self._info.get("codebase_version"))
        if version.startswith("v3."):
            return self._places_v3()
        if version in ("v2.0", "v2.1"):
            return self._places_v2()
        raise DataError(
            f"{self._root / _INFO} says codebase_version {checks.brief(version)}; v2.0, v2.1 and v3.0 are read. "
            "Convert it with LeRobot's own scripts."
        )

    def _video_keys(self) -> list[str]:
        return [key for key in self._cameras.values() if self._features[key]["dtype"] == "video"]

    def _places_v2(self) -> list[_Place]:
        path = self._root / "meta/episodes.jsonl"
        chunk_size = int(_positive(self._info.get("chunks_size", 1000), self._root / _INFO))
        with checks.reading(path):
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
            indices = sorted(int(line["episode_index"]) for line in lines)
        places = []
        for index in indices:
            fields = {"episode_index": index, "episode_chunk": index // chunk_size}
            data = self._fill("data_path", fields)
            videos = {key: (self._fill("video_path", fields | {"video_key": key}), 0.0) for key in self._video_keys()}
            places.append(_Place(index, data, videos))
        return places

    def _places_v3(self) -> list[_Place]:
        folder = self._root / "meta/episodes"
        files = sorted(folder.glob("chunk-*/file-*.parquet"))
        if not files:
            raise DataError(f"{folder} holds no chunk-*/file-*.parquet.")
        places = []
        for path in files:
            columns = ["episode_index", "data/chunk_index", "data/file_index"]
            for key in self._video_keys():
                columns += [f"videos/{key}/{field}" for field in ("chunk_index", "file_index", "from_timestamp")]
            for row in _table(inside(self._root, str(path.relative_to(self._root)), str(path)), columns).to_pylist():
                with checks.reading(path):
                    places.append(self._place_v3(row))
        return sorted(places, key=lambda place: place.episode)

    def _place_v3(self, row: dict[str, Any]) -> _Place:
        def fields(prefix: str) -> dict[str, int | str]:
            return {name: int(row[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}

        videos = {}
        for key in self._video_keys():
            file = self._fill("video_path", fields(f"videos/{key}") | {"video_key": key})
            videos[key] = (file, float(row[f"videos/{key}/from_timestamp"]))
        return _Place(int(row["episode_index"]), self._fill("data_path", fields("data")), videos)

    def _fill(self, template: str, fields: Mapping[str, int | str]) -> str:
        """Fill a path template of the dataset. Not with `str.format`, which would obey any width or attribute in it."""
        text, where = self._info.get(template), self._root / _INFO

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

    def _rows(self, k: int, columns: list[str]) -> dict[str, list[Any]]:
        """Read columns of one episode, in the order of its frames."""
        place = self._places[k]
        path = inside(self._root, place.data, f"{self._root}, episode {place.episode}")
        table = _table(path, [*columns, "frame_index", "episode_index"], episode=place.episode)
        if table.num_rows > checks.MAX_ROWS:
            raise DataError(f"{path}: episode {place.episode} has {table.num_rows:,} rows.")
        with checks.reading(path):
            rows = table.sort_by("frame_index").to_pydict()
        if rows["frame_index"] != list(range(len(rows["frame_index"]))):
            raise DataError(f"{path}: episode {place.episode} lacks rows: frame_index is not 0, 1, 2, ...")
        return dict(rows)

    def _where(self, k: int) -> str:
        return f"{self._root / self._places[k].data}, episode {self._places[k].episode}"

    def _recording(self, k: int) -> Recording:
        optional = [key for key in (_REWARD, _SUCCESS) if key in self._features]
        rows, where = self._rows(k, [_STATE, _ACTION, "timestamp", *optional]), self._where(k)
        count = len(rows["timestamp"])
        with checks.reading(where):
            telemetry = checks.matrix(rows[_STATE], f"{where}: {_STATE}")
            actions = checks.matrix(rows[_ACTION], f"{where}: {_ACTION}")
            times = checks.moments(rows["timestamp"], f"{where}: timestamp")
            # next.*[t] speaks of the frame after row t
            after = {key: checks.rows_of(rows[key], count, f"{where}: {key}") for key in optional}
        reward, flags = after.get(_REWARD), after.get(_SUCCESS)
        success = None
        if flags is not None:
            success = np.concatenate([[False], flags[:-1] > 0])
            success[-1] |= flags[-1] > 0  # of the frame after the last one: most recordings end with it
        return Recording(
            where=where,
            telemetry=telemetry,
            actions=actions[:-1],  # the last action leads to a frame that was not stored
            times=times,
            reward=None if reward is None else np.concatenate([reward[:1] * 0, reward[:-1]]),
            success=success,
            succeeded=None if success is None else bool(success.any()),
        )

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        key = self._cameras[camera]
        if self._features[key]["dtype"] == "image":
            return self._stored_pictures(k, key, rows)
        file, start = self._places[k].videos[key]
        times = np.asarray(self._rows(k, ["timestamp"])["timestamp"], dtype=np.float64)
        # Half a period: the nearest frame, whatever the rounding of float32 timestamps.
        return frames_at(inside(self._root, file, self._where(k)), start + times[rows], 0.5 / self._rate)

    def _stored_pictures(self, k: int, key: str, rows: Array) -> Iterator[Array]:
        where = f"{self._where(k)}: {key}"
        stored = self._rows(k, [key])[key]
        for row in rows.tolist():
            item = stored[row]
            if isinstance(item, dict) and item.get("bytes"):
                yield decode_picture(bytes(item["bytes"]), f"{where}, row {row}")
            elif isinstance(item, dict) and isinstance(item.get("path"), str):
                yield decode_picture(inside(self._root, item["path"], where).read_bytes(), f"{where}, row {row}")
            else:
                raise DataError(f"{where} holds no picture at row {row}.")


def _table(path: Path, columns: list[str], episode: int | None = None) -> Any:
    """Read columns of a parquet file, of one episode if told; statistics of the row groups keep the rest unread."""
    import pyarrow.parquet  # late: it is optional

    filters = None if episode is None else [("episode_index", "=", episode)]
    try:
        found = set(pyarrow.parquet.read_schema(path).names)
        missing = [name for name in columns if name not in found]
        if missing:
            raise DataError(f"{path} has no column {missing[0]!r}; it has {sorted(found)[:20]}.")
        return pyarrow.parquet.read_table(path, columns=columns, filters=filters, partitioning=None)
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, MemoryError) as error:
        if (refused := reason(error)) is not None:
            raise DataError(f"{path} cannot be read: {refused}.") from error
        raise DataError(
            f"{path} is damaged or was never finished ({str(error).splitlines()[0][:200]}). "
            "A recording must end with dataset.finalize(); else copy the file again."
        ) from error


def _features(info: dict[str, Any], where: Path) -> dict[str, dict[str, Any]]:
    features = info.get("features")
    if not isinstance(features, dict) or not all(
        isinstance(f, dict) and isinstance(f.get("dtype"), str) and isinstance(f.get("shape"), list)
        for f in features.values()
    ):
        raise DataError(f"{where}: features is damaged, expected dtype and shape for each.")
    return features


def _shows_colours(feature: dict[str, Any]) -> bool:
    """Return whether a feature is a camera's picture; depth maps are stored as videos too."""
    info = feature.get("info") or feature.get("video_info") or {}
    depth = isinstance(info, dict) and (info.get("is_depth_map") or info.get("video.is_depth_map"))
    return feature["dtype"] in ("video", "image") and not depth


def _positive(value: Any, where: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise DataError(f"{where} gives {checks.brief(value)} where a positive number is expected.")
    return float(value)


def _camera(key: str) -> str:
    """Shorten `observation.images.front` to `front`, and `observation.image` to `image`."""
    return key.removeprefix("observation.images.").removeprefix("observation.").replace("/", "_") or key


def _kind(name: str) -> Kind | None:
    """Say what an action is where its name tells: LeRobot's own robots take positions named `<motor>.pos`."""
    if name.endswith(".pos") or "gripper" in name.lower():
        return "target"
    if name.endswith(".vel"):
        return "rate"
    return "delta" if re.match(r"delta_|d[xyz]$|dR[xyz]$", name) else None


FORMAT = ImportFormat("lerobot", LeRobotSource, lambda path: (path / _INFO).is_file(), packages=("pyarrow",), rank=3)
