"""LeRobot datasets, v2.0 and v2.1 (a file per episode) and v3.0 (several episodes in a file, found by their times).

A row has its picture at `from_timestamp + timestamp` seconds in the video. The default codec is AV1. Pictures may
also lie in the parquet files, as PNG or JPEG. Units are not stored: degrees, radians and percent all occur. Where files
lie, `lerobot_files` knows.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.images import decode_levels, decode_picture, picture_bits
from gwm_sim.data.importers.lerobot_files import INFO, LeRobotFiles, positive
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
    chosen_cameras,
    listed,
    standing,
)
from gwm_sim.data.pictures.depth import Shown, sort_cameras
from gwm_sim.data.pictures.videos import SAME_RATE, film, film_bits, frames, inside, levels, numbers_at
from gwm_sim.data.reading import checks
from gwm_sim.data.reading.names import flat_names
from gwm_sim.data.reading.parquet import first_cell
from gwm_sim.errors import ConfigError, DataError

_STATE, _ACTION = "observation.state", "action"
_REWARD, _SUCCESS = "next.reward", "next.success"

_NO_VECTORS = re.compile(r"(timestamp|frame_index|episode_index|index|task_index)$|next\.")
"""Numbers of every row that neither robot nor operator gave."""

_LOOKED_AT = 8
"""Episodes of which one must have a sound picture for it to be known what a camera shows."""


class LeRobotSource(Source):
    """Episodes of a dataset, in the order of their index."""

    leaves_out = True

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """Read the metadata of all episodes."""
        self.options = options
        self._root, info = path, path / INFO
        if not info.is_file():
            raise DataError(f"{info} does not exist. Give the folder of a LeRobot dataset, which holds meta and data.")
        described = checks.json_object(info)
        self._rate = positive(described.get("fps"), info)
        self._features = _features(described, info)
        self._shown = {_camera(key): key for key, item in self._features.items() if item["dtype"] in ("video", "image")}
        if not self._shown:
            raise DataError(f"{info} lists no feature of dtype video or image: there are no pictures.")
        self._files = LeRobotFiles(path, described, self._films(self._shown), self.remark, options.trim)
        if not self._files.places:
            raise DataError(f"{path} has no episode. Was the recording finished?")
        cameras, depths, remarks = sort_cameras(map(self._look, self._shown), str(info))
        self._cameras = {camera: self._shown[camera] for camera in chosen_cameras(cameras, options.camera)}
        self._depths = {camera: depth for camera, depth in depths.items() if camera in self._cameras}
        for remark in remarks:
            self.remark(remark)
        self._state = self._columns(options.state_key, _STATE, "--state-key")
        self._action = self._columns(options.action_key, _ACTION, "--action-key")
        self.layout = Layout(
            robot=str(described.get("robot_type") or "LeRobot"),
            rate=options.source_fps or self._rate,
            telemetry=tuple(Column(name) for name in self._names(self._state)),
            actions=tuple(Action(name, kind=_kind(name)) for name in self._names(self._action)),
            cameras=tuple(self._cameras),
            depth=tuple(self._depths),
            task="task" if {_REWARD, _SUCCESS} & set(self._features) else None,
        )

    def _films(self, cameras: Mapping[str, str]) -> list[str]:
        return [key for key in cameras.values() if self._features[key]["dtype"] == "video"]

    def __len__(self) -> int:
        return len(self._files.places)

    def title(self, k: int) -> str:
        return self._files.title(k)

    def _columns(self, told: str | None, usual: str, flag: str) -> list[str]:
        """Return the vectors that are the telemetry or the actions; no telemetry where there is none to choose."""
        keys = [key.strip() for key in (told or usual).split(",")]
        missing = [key for key in keys if key not in self._features]
        if not missing:
            return keys
        others = [key for key, feature in self._features.items() if _is_vector(key, feature)]
        if told is None and usual == _STATE:
            others = [key for key in others if key.split(".")[0] != _ACTION]
            if not others:
                return []
        ways = f"Name one, or several joined with a comma, with {flag}." if others else ""
        error = DataError if told is None else ConfigError
        raise error(
            f"{self._root / INFO}: features lists no vector {missing[0]!r}; it lists {listed(others) or 'none'}. {ways}"
        )

    def _names(self, keys: list[str]) -> list[str]:
        """Return the names of the columns of some vectors, numbered ones where they have none."""
        rows = {key: self._names_of(key) for key in keys}
        names = [name for row in rows.values() for name in row]
        if len(set(names)) < len(names):
            names = [f"{_short(key)}_{name}" for key, row in rows.items() for name in row]
        if len(set(names)) < len(names):
            names = [f"{key}_{i}" for key, row in rows.items() for i in range(len(row))]
        return names

    def _names_of(self, key: str) -> list[str]:
        feature, where = self._features[key], f"{self._root / INFO}: features"
        if not _is_vector(key, feature):
            raise DataError(
                f"{where}: {key} is {feature['dtype']} {checks.brief(feature['shape'])}, which is no vector."
            )
        (width,), names = feature["shape"], feature.get("names")
        found = flat_names(names, width)
        if found is None and names:
            self.remark(f"{where}: the names of {key} are not {width} different ones: its columns are numbered.")
        alone = width == 1 and key not in (_STATE, _ACTION)
        return found or ([_short(key)] if alone else [f"{_short(key)}_{i}" for i in range(width)])

    def _recording(self, k: int) -> Recording:
        optional = [key for key in (_REWARD, _SUCCESS) if key in self._features]
        rows = self._files.rows(k, [*self._state, *self._action, "timestamp", *optional])
        where = self._files.where(k)
        with checks.reading(where):
            times = checks.moments(rows["timestamp"], f"{where}: timestamp")
            count = self._shown_rows(k, times)
            self._note_rates(k)
            times, rows = times[:count], {key: values[:count] for key, values in rows.items()}
            telemetry, actions = (_joined(rows, keys, where) for keys in (self._state, self._action))
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
            times=times * self._rate / (self.layout.rate or self._rate),
            reward=None if reward is None else standing(reward, count),
            success=success,
            succeeded=None if success is None else bool(success.any()),
            instruction=self._files.places[k].instruction,
        )

    def _shown_rows(self, k: int, times: Array) -> int:
        """Return how many rows of an episode the films show that are read."""
        depths = {depth.name: self._shown[depth.name] for depth in self._depths.values()}
        return self._files.shown_rows(k, times, self._films(self._cameras | depths))

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        key = self._cameras[camera]
        if self._features[key]["dtype"] == "image":
            yield from self._stored_pictures(k, key, rows, decode_picture)
        else:
            yield from self._film_frames(k, key, rows)

    def _depth(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        depth = self._depths[camera]
        key = self._shown[depth.name]
        stored = self._features[key]["dtype"] == "image"
        read = self._stored_pictures(k, key, rows, decode_levels) if stored else self._film_frames(k, key, rows, levels)
        yield from map(depth.scale.distances, read)

    def _film_frames(
        self, k: int, key: str, rows: Array, read: Callable[[Any], Array] | None = None
    ) -> Iterator[Array]:
        shown = self._files.film(k, key)
        times = np.asarray(self._files.rows(k, ["timestamp"])["timestamp"], dtype=np.float64)
        moments = shown.start + times[: self._shown_rows(k, times)]
        numbers = numbers_at(shown.path, moments, shown.start, shown.stop, shown.origin)
        yield from frames(shown.path, numbers[rows], read)

    def _note_rates(self, k: int) -> None:
        """Say which films run at another rate than the rows."""
        for key in self._films(self._cameras):
            rate, camera = film(self._files.film(k, key).path).rate, _camera(key)
            if rate and abs(rate / self._rate - 1) > SAME_RATE:
                self.remark(
                    f"camera {camera} has {rate:.4g} frames a second, the table {self._rate:.4g} rows: each row shows "
                    "the frame that is nearest in time, or, where an episode has as many frames as rows, that of its "
                    "number." + (f" Rows show the same one repeatedly, unless --fps {rate:.4g}." * (rate < self._rate))
                )

    def _look(self, camera: str) -> Shown:
        """Look at the first picture of a feature, in the first episode that can be read."""
        key = self._shown[camera]
        feature, bits = self._features[key], None
        info = {**_object(feature.get("video_info")), **_object(feature.get("info"))}
        for k in range(min(len(self), _LOOKED_AT)):
            try:
                if feature["dtype"] == "video":
                    bits = film_bits(self._files.named_film(k, key))
                else:
                    bits = picture_bits(self._file_of(first_cell(self._files.table(k), key), key), key)
            except DataError:  # reading the episode will say what is wrong
                continue
            break
        return Shown(camera, bits, bool(info.get("is_depth_map") or info.get("video.is_depth_map")), info)

    def _stored_pictures(self, k: int, key: str, rows: Array, decode: Callable[[bytes, str], Array]) -> Iterator[Array]:
        where = f"{self._files.where(k)}: {key}"
        stored = self._files.rows(k, [key], pictures=True)[key]
        for row in rows.tolist():
            yield decode(self._file_of(stored[row], f"{where}, row {row}"), f"{where}, row {row}")

    def _file_of(self, item: Any, where: str) -> bytes:
        """Return the picture file that a cell of a table holds or names."""
        if isinstance(item, dict) and item.get("bytes"):
            return bytes(item["bytes"])
        if isinstance(item, dict) and isinstance(item.get("path"), str):
            return inside(self._root, item["path"], where).read_bytes()
        raise DataError(f"{where} holds no picture.")


def _is_vector(key: str, feature: dict[str, Any]) -> bool:
    """Return whether a feature could be telemetry or actions: some numbers in every row."""
    shape = feature["shape"]
    sized = len(shape) == 1 and isinstance(shape[0], int) and 0 < shape[0] <= checks.MAX_COLUMNS
    return sized and feature["dtype"] not in ("video", "image", "string") and not _NO_VECTORS.match(key)


def _short(key: str) -> str:
    """Shorten `observation.state` to `state`."""
    return key.rpartition(".")[2]


def _joined(rows: Mapping[str, list[Any]], keys: list[str], where: str) -> Array:
    """Join the columns of some vectors, (R, columns) float32."""
    parts = {key: checks.matrix(rows[key], f"{where}: {key}") for key in keys}
    return checks.join_columns(parts, where) if parts else np.zeros((len(rows["timestamp"]), 0), np.float32)


def _features(info: dict[str, Any], where: Path) -> dict[str, dict[str, Any]]:
    features = info.get("features")
    if not isinstance(features, dict) or not all(
        isinstance(f, dict) and isinstance(f.get("dtype"), str) and isinstance(f.get("shape"), list)
        for f in features.values()
    ):
        raise DataError(f"{where}: features is damaged, expected dtype and shape for each.")
    return features


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


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


FORMAT = ImportFormat(
    "lerobot",
    LeRobotSource,
    lambda path: (path / INFO).is_file(),
    packages=("pyarrow",),
    rank=3,
    options=("state_key", "action_key", "trim"),
    looks_for=f"a folder with {INFO}",
)
