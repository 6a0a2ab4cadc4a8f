"""Minari datasets stored as HDF5.

    data/metadata.json      observation_space, action_space (JSON), data_format, dataset_id
    data/main_data.hdf5     /episode_3/observations[/<key>...] (T+1, ...)    actions (T, A)    rewards (T,)
                            infos/{success, is_success} (T+1,)

Pictures are arrays, or one JPEG file per row. Minari knows no rate: `--fps` says it, or `--source-fps` where `--fps`
is to be less. Actions of a Dict or Tuple space are groups; `reading.spaces` says what choices become.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gwm_sim.data.demos import open_file
from gwm_sim.data.images import decode_picture
from gwm_sim.data.importers import hdf5
from gwm_sim.data.importers.source import (
    AS_STORED,
    Action,
    Column,
    ImportFormat,
    Layout,
    Recording,
    SourceOptions,
    listed,
    standing,
)
from gwm_sim.data.reading.checks import MAX_COLUMNS, MAX_ROWS, Array, join_columns, json_object, reading, rows_of
from gwm_sim.data.reading.spaces import Part, parts_of
from gwm_sim.errors import DataError

_DATA = "main_data.hdf5"
_GOALS = ("achieved_goal", "desired_goal")
"""What an environment asks for is no telemetry of the robot."""
_SUCCESS = ("infos/success", "infos/is_success")


class MinariSource(hdf5.Hdf5Source):
    """Episodes of a dataset, in numeric order."""

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """Open the data file and read the columns of the first episode."""
        self.options = options
        self._data = data = _data_file(path)
        metadata = _metadata(data.with_name("metadata.json"))
        self._own = "gwm_sim" in metadata
        names = [name for name in self._open(data) if re.fullmatch(r"episode_\d{1,9}", name)]
        self._episodes = sorted(names, key=lambda name: int(name[8:]))
        if not self._episodes:
            raise DataError(f"{data} holds no episode.")
        first = self._episode(0)
        observations = dict(_observations(first))
        self._numbers = _telemetry(observations)
        jpegs = [key for key, item in observations.items() if _is_jpeg(item)]
        views, depths, remarks = hdf5.sort_views(observations, hdf5.place(first), jpegs)
        self._cameras = {_name(key): key for key in observations if key in views}
        self._depths = {_name(key): depth for key, depth in depths.items()}
        for remark in remarks:
            self.remark(remark)
        if not self._cameras:
            raise DataError(
                f"{hdf5.place(first)} holds no pictures. Record again with them among the observations, for example "
                "with gymnasium.wrappers.AddRenderObservation(env, render_only=False)."
            )
        if not self._numbers:
            raise DataError(f"{hdf5.place(first)} holds no telemetry beside its pictures.")
        self._parts = self._find_parts(first, metadata)
        numbers = [number for part in self._parts for number in part.columns]
        self.layout = Layout(
            robot=str(metadata.get("dataset_id") or "Minari"),
            rate=options.source_fps,
            telemetry=tuple(Column(name) for key in self._numbers for name in _columns(key, observations[key])),
            actions=tuple(Action(n.name, "", "target" if n.chosen else None, n.low, n.high) for n in numbers),
            cameras=tuple(self._cameras),
            depth=tuple(self._depths),
            task="task",
        )

    def __len__(self) -> int:
        return len(self._episodes)

    def _episode(self, k: int) -> h5py.Group:
        return hdf5.group_at(self._open(self._data), self._episodes[k])

    def advice(self, k: int) -> str:
        """Name the episode that is to be deleted."""
        return hdf5.how_to_delete(self._data, self._episodes[k])

    def _find_parts(self, episode: h5py.Group, metadata: dict[str, Any]) -> list[Part]:
        """Return the arrays that the actions consist of, by the declared space or, where there is none, by one box."""
        stored, where = hdf5.member(episode, "actions"), hdf5.place(episode, "actions")
        with reading("the action_space of metadata.json"):
            space = metadata.get("action_space")
            space = json.loads(space) if isinstance(space, str) else space
        if space is not None:
            parts = parts_of(space, "the action_space of metadata.json")
        elif isinstance(stored, h5py.Dataset):
            if stored.dtype.kind in "iub":
                self.remark(f"the actions are {stored.dtype} and no action_space says what they choose: numbers, then")
            parts = parts_of({"type": "Box", "shape": stored.shape[1:]}, where)
        else:
            raise DataError(f"{where} is no array, and metadata.json has no action_space that says what is in it.")
        chosen = [str(part) for part in parts if part.kind != "Box"]
        if chosen:
            names = [number.name for part in parts if part.kind != "Box" for number in part.columns]
            self.remark(
                f"actions are chosen from {', '.join(chosen)}: each choice becomes a column that is 1 where it was "
                f"taken and else 0 ({listed(names)})"
            )
        return parts

    def _actions(self, episode: h5py.Group) -> Array:
        """Read the columns of all actions, (T, A) float32."""
        columns = {}
        for part in self._parts:
            path = f"actions{part.path}"
            values, where = _array(episode, path), hdf5.place(episode, path)
            columns[path] = part.read(values, where)
            if part.beyond(values):
                self.remark(f"{path} leaves the limits of its {part}", episode.name.strip("/"))
        return join_columns(columns, hdf5.place(episode, "actions"))

    def _recording(self, k: int) -> Recording:
        episode = self._episode(k)
        if _telemetry(dict(_observations(episode))) != self._numbers:
            raise DataError(f"{hdf5.place(episode)} holds other observations than the first episode.")
        where = hdf5.place(episode)
        telemetry = join_columns({key: hdf5.matrix_at(episode, key) for key in self._numbers}, where)
        actions = self._actions(episode)
        rewards = rows_of(hdf5.array_at(episode, "rewards"), len(actions), f"{where}/rewards")
        key = next((key for key in _SUCCESS if hdf5.member(episode, key) is not None), None)
        unjudged = self._own and key is None  # an export of ours has rewards of 0 where nobody gave any
        success = None if key is None else rows_of(hdf5.array_at(episode, key), len(telemetry), f"{where}/{key}") > 0
        return Recording(
            where=where,
            telemetry=telemetry,
            actions=actions,
            reward=None if unjudged else standing(rewards, len(telemetry)),
            success=success,
            succeeded=None if success is None else bool(success.any()),
        )

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        episode = self._episode(k)
        stored, count = hdf5.dataset_at(episode, self._cameras[camera]), self._rows(episode)
        if not _is_jpeg(stored):
            yield from hdf5.pictures(stored, rows, count)
            return
        where = hdf5.place(stored)
        if len(stored) != count:
            raise DataError(f"{where} is {stored.dtype} {stored.shape}, expected {count} pictures.")
        for row in rows.tolist():
            with reading(f"{where}, row {row}"):
                data = np.asarray(stored[row], dtype=np.uint8).tobytes()
            yield decode_picture(data, f"{where}, row {row}")

    def _depth(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        episode, depth = self._episode(k), self._depths[camera]
        return hdf5.distances(hdf5.dataset_at(episode, depth.name), rows, self._rows(episode), depth.scale)

    def _rows(self, episode: h5py.Group) -> int:
        """Return how many rows of observations belong to the actions, which may lie in several arrays."""
        return len(hdf5.dataset_at(episode, f"actions{self._parts[0].path}")) + 1


def _data_file(path: Path) -> Path:
    for candidate in (path, path / _DATA, path / "data" / _DATA):
        if candidate.is_file():
            return candidate
    metadata = _metadata(path / "data" / "metadata.json")
    if metadata.get("data_format") == "arrow":
        raise DataError(f"{path} is stored as Arrow shards; the HDF5 form is read. Record or combine it as hdf5.")
    raise DataError(f"{path} holds no data/{_DATA}. Give the folder of a Minari dataset, such as .../name-v0.")


def _metadata(path: Path) -> dict[str, Any]:
    return json_object(path) if path.is_file() else {}


def _observations(episode: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield every dataset of the observations with its path, however deep the spaces are nested."""
    waiting = ["observations"]
    while waiting:
        path = waiting.pop()
        item = hdf5.member(episode, path)
        if isinstance(item, h5py.Dataset):
            yield path, item
        elif isinstance(item, h5py.Group):
            waiting += [f"{path}/{name}" for name in sorted(item, reverse=True)]
        else:
            raise DataError(f"{hdf5.place(episode, path)} is missing.")


def _telemetry(observations: dict[str, h5py.Dataset]) -> list[str]:
    return [
        key
        for key, item in observations.items()
        if item.dtype.kind in "fiub" and item.ndim in (1, 2) and not key.endswith(_GOALS)
    ]


def _is_jpeg(item: h5py.Dataset) -> bool:
    return item.ndim == 1 and h5py.check_vlen_dtype(item.dtype) == np.uint8


def _name(key: str) -> str:
    return key.removeprefix("observations").strip("/").replace("/", "_") or "observation"


def _columns(key: str, item: h5py.Dataset) -> list[str]:
    width = item.shape[1] if item.ndim == 2 else 1
    return [f"{_name(key)}_{i}" for i in range(width)] if width > 1 else [_name(key)]


def _array(episode: h5py.Group, path: str) -> Array:
    """Read an array of bounded size and any number of axes, in its own type."""
    dataset, where = hdf5.dataset_at(episode, path), hdf5.place(episode, path)
    with reading(where):
        shape: tuple[int, ...] = dataset.shape or ()
        if not shape or shape[0] > MAX_ROWS or int(np.prod(shape[1:])) > MAX_COLUMNS:
            raise DataError(f"{where} has shape {shape}, expected at most {MAX_ROWS:,} rows of {MAX_COLUMNS} numbers.")
        if dataset.dtype.kind not in "fiub":
            raise DataError(f"{where} is {dataset.dtype}, expected numbers.")
        values: Array = dataset[:]
        return values


def _recognises(path: Path) -> bool:
    """Return whether `path` is a Minari dataset, its data folder, or its data file."""
    if path.is_dir():
        return any((path / name).exists() for name in (f"data/{_DATA}", _DATA)) or (
            (path / "data/metadata.json").is_file() and not (path / "meta").exists()
        )
    if not hdf5.is_hdf5(path):
        return False
    with open_file(path) as file:
        return any(name.startswith("episode_") for name in file)


FORMAT = ImportFormat(
    "minari",
    MinariSource,
    _recognises,
    rank=4,
    looks_for=f"a folder with data/{_DATA}, or an HDF5 file with /episode_0",
)
