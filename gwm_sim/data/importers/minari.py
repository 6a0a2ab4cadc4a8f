"""Minari datasets stored as HDF5.

    data/metadata.json      observation_space, action_space (JSON), data_format, dataset_id
    data/main_data.hdf5     /episode_3/observations[/<key>...] (T+1, ...)    actions (T, A)    rewards (T,)
                            infos/{success, is_success} (T+1,)

Pictures are arrays, or one JPEG file per row. Minari knows no rate: `--fps` says it.
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
from gwm_sim.data.importers.source import AS_STORED, Action, Column, ImportFormat, Layout, Recording, SourceOptions
from gwm_sim.data.reading.checks import Array, join_columns, json_object, reading, rows_of
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
        names = [name for name in self._open(data) if re.fullmatch(r"episode_\d{1,9}", name)]
        self._episodes = sorted(names, key=lambda name: int(name[8:]))
        if not self._episodes:
            raise DataError(f"{data} holds no episode.")
        first = self._episode(0)
        observations = dict(_observations(first))
        self._numbers = _telemetry(observations)
        shown = (key for key, item in observations.items() if hdf5.is_picture(item) or _is_jpeg(item))
        self._cameras = {_name(key): key for key in shown}
        if not self._cameras:
            raise DataError(
                f"{hdf5.place(first)} holds no pictures. Record again with them among the observations, for example "
                "with gymnasium.wrappers.AddRenderObservation(env, render_only=False)."
            )
        if not self._numbers:
            raise DataError(f"{hdf5.place(first)} holds no telemetry beside its pictures.")
        self.layout = Layout(
            robot=str(metadata.get("dataset_id") or "Minari"),
            rate=None,
            telemetry=tuple(Column(name) for key in self._numbers for name in _columns(key, observations[key])),
            actions=_actions(hdf5.matrix_at(first, "actions").shape[1], metadata),
            cameras=tuple(self._cameras),
            task="task",
        )

    def __len__(self) -> int:
        return len(self._episodes)

    def _episode(self, k: int) -> h5py.Group:
        return hdf5.group_at(self._open(self._data), self._episodes[k])

    def advice(self, k: int) -> str:
        """Name the episode that is to be deleted."""
        return hdf5.how_to_delete(self._data, self._episodes[k])

    def _recording(self, k: int) -> Recording:
        episode = self._episode(k)
        if _telemetry(dict(_observations(episode))) != self._numbers:
            raise DataError(f"{hdf5.place(episode)} holds other observations than the first episode.")
        where = hdf5.place(episode)
        telemetry = join_columns({key: hdf5.matrix_at(episode, key) for key in self._numbers}, where)
        actions = hdf5.matrix_at(episode, "actions")
        rewards = rows_of(hdf5.array_at(episode, "rewards"), len(actions), f"{where}/rewards")
        key = next((key for key in _SUCCESS if hdf5.member(episode, key) is not None), None)
        success = None if key is None else rows_of(hdf5.array_at(episode, key), len(telemetry), f"{where}/{key}") > 0
        return Recording(
            where=where,
            telemetry=telemetry,
            actions=actions,
            reward=np.concatenate([np.zeros(1, np.float32), rewards]),
            success=success,
            succeeded=None if success is None else bool(success.any()),
        )

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        episode = self._episode(k)
        stored, count = hdf5.dataset_at(episode, self._cameras[camera]), len(hdf5.dataset_at(episode, "actions")) + 1
        if hdf5.is_picture(stored):
            yield from hdf5.pictures(stored, rows, count)
            return
        where = hdf5.place(stored)
        if not _is_jpeg(stored) or len(stored) != count:
            raise DataError(f"{where} is {stored.dtype} {stored.shape}, expected {count} pictures.")
        for row in rows.tolist():
            with reading(f"{where}, row {row}"):
                data = np.asarray(stored[row], dtype=np.uint8).tobytes()
            yield decode_picture(data, f"{where}, row {row}")


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
        if item.dtype.kind in "fi" and item.ndim in (1, 2) and not key.endswith(_GOALS)
    ]


def _is_jpeg(item: h5py.Dataset) -> bool:
    return item.ndim == 1 and h5py.check_vlen_dtype(item.dtype) == np.uint8


def _name(key: str) -> str:
    return key.removeprefix("observations").strip("/").replace("/", "_") or "observation"


def _columns(key: str, item: h5py.Dataset) -> list[str]:
    width = item.shape[1] if item.ndim == 2 else 1
    return [f"{_name(key)}_{i}" for i in range(width)] if width > 1 else [_name(key)]


def _actions(width: int, metadata: dict[str, Any]) -> tuple[Action, ...]:
    """Take the limits of the action space, where it is a box of this width."""
    with reading("the action_space of metadata.json"):
        space = metadata.get("action_space", {})
        space = json.loads(space) if isinstance(space, str) else space
    kind = space.get("type") if isinstance(space, dict) else None
    if kind == "Discrete":
        raise DataError("the actions are discrete; a robot world needs continuous ones.")
    low, high = (space.get(name) if kind == "Box" else None for name in ("low", "high"))
    return tuple(Action(f"action_{i}", low=_limit(low, i, width), high=_limit(high, i, width)) for i in range(width))


def _limit(limits: object, i: int, width: int) -> float | None:
    if not isinstance(limits, list) or len(limits) != width:
        return None
    limit = limits[i]
    return float(limit) if isinstance(limit, int | float) and np.isfinite(limit) else None


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
