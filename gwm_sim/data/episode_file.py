"""Episodes and their store: what the cameras saw, what the robot reported, what was commanded, and how well it went.

On disk an episode file is HDF5 in robomimic's layout, so robomimic opens it as it is. The sources are `frames/<camera>`
and `telemetry` with N+1 rows; robomimic's `obs/*` and `next_obs/*` are virtual datasets on them and cost nothing.
Object poses, labels for every task, physics properties and seeds lie beside; `gwm_schema` says what the columns mean.

    /data                       attrs: total, env_args (JSON), gwm_schema (JSON)
    /data/demo_3                attrs: num_samples = N, seed, policy, properties (JSON)
        actions (N, A)          action t leads from frame t to frame t+1
        telemetry (N+1, P)      frames/<camera> (N+1, H, W, 3)      objects (N+1, K, 7)
        labels/<task>/reward (N+1,)      labels/<task>/success (N+1,)
        depth/<camera> (N+1, H, W, 1)   in units of 0.1 mm, where it was measured
        rewards (N,)  dones (N,)                                    for robomimic: the file's own task
        obs/<camera>_image, obs/<camera>_depth, obs/agent_pos, next_obs/...             virtual, (N, ...)

A writer makes one part file per episode and renames it into place, so a killed run loses only episodes in progress.
Knows numpy and h5py; nothing of environments, policies or models.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.errors import ConfigError, DataError

Array = NDArray[Any]

FORMAT = 1
"""Version of the layout; raised when an older reader would misread a newer file."""

DEPTH_UNIT = 1e-4
"""Metres per unit of a stored depth image."""

_ROBOMIMIC_GYM = 2
"""robomimic's code for a Gym environment in `env_args`."""


@dataclass(frozen=True)
class TaskLabels:
    """How well one task stands at every frame."""

    reward: Array
    """Dense reward in [0, 1], (N+1,) float32."""
    success: Array
    """Whether the task is fulfilled at this instant, (N+1,) bool."""


@dataclass(frozen=True)
class Episode:
    """One recording: N actions between N+1 frames."""

    frames: dict[str, Array]
    """Pictures per camera, (N+1, H, W, 3) uint8."""
    telemetry: Array
    """What the robot reported, (N+1, P) float32, columns as in `Schema.telemetry_names`."""
    actions: Array
    """Commands, (N, A) float32; action t leads from frame t to frame t+1."""
    labels: dict[str, TaskLabels]
    """Labels per task; empty when nobody labelled the recording."""
    objects: Array | None
    """Object poses as xyz [m] and quaternion wxyz, (N+1, K, 7) float32; None when they are unknown."""
    properties: dict[str, float]
    """Physics properties of this episode, such as friction and gravity."""
    seed: int | None
    """Seed of the start and of the behaviour; None for recordings of a real robot."""
    policy: str
    """Name of the behaviour that acted."""
    depth: dict[str, Array] = field(default_factory=dict)
    """Depth images per camera in units of `DEPTH_UNIT`, (N+1, H, W, 1) uint16; empty where nobody measured them."""

    def __len__(self) -> int:
        """Return the number of actions N."""
        return len(self.actions)


@dataclass(frozen=True)
class Command:
    """A quantity that the controller integrates exactly: command <- clip(command + scale * action)."""

    telemetry: int
    """Index of the commanded quantity in the telemetry."""
    action: int
    """Index of the action that changes it."""
    scale: float
    """Change per unit of action, in the unit of the telemetry."""
    measured: int
    """Index of the measured counterpart in the telemetry."""


@dataclass(frozen=True)
class Schema:
    """What all episodes of a file have in common: the meaning of the columns and how they were made."""

    env_id: str
    """Environment or robot that was recorded."""
    rate: float
    """Frames and actions per second [Hz]."""
    telemetry_names: tuple[str, ...]
    telemetry_units: tuple[str, ...]
    telemetry_low: tuple[float, ...]
    telemetry_high: tuple[float, ...]
    action_names: tuple[str, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    cameras: dict[str, Camera]
    """Calibration at the start of the first episode; of a camera on the arm only picture size and `fovy` stay true."""
    commands: tuple[Command, ...] = ()
    """Telemetry that is commanded, not measured, and therefore known in advance."""
    effector: tuple[int, ...] = ()
    """Telemetry indices of the end-effector position, in the frame of the object poses; empty if unknown."""
    object_names: tuple[str, ...] = ()
    """Objects whose poses are stored; empty when none are."""
    object_size: float = 0.0
    """Edge length of the objects [m]."""
    tasks: tuple[str, ...] = ()
    """Tasks that every frame is labelled for."""
    task: str | None = None
    """The task whose reward robomimic sees as `rewards`."""
    depth: tuple[str, ...] = ()
    """Cameras that also measured depth."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Everything else that decides the content, such as policy and first seed."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that made the data; not part of the content digest."""

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        value = asdict(self) | {"cameras": {name: camera.to_json() for name, camera in self.cameras.items()}}
        if not self.depth:
            del value["depth"]  # older files, which do not know it, keep their digest
        return {"format": FORMAT, **json.loads(json.dumps(value))}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Schema:
        """Make a schema from what `to_json` returned."""
        members = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
        del members["format"]
        cameras = {name: Camera.from_json(camera) for name, camera in value["cameras"].items()}
        commands = tuple(Command(**command) for command in value["commands"])
        return cls(**members | {"cameras": cameras, "commands": commands})

    def differences(self, other: Schema) -> list[str]:
        """Name every entry in which two schemas differ, as `settings.seed: 0, here 5`."""
        ours, theirs = _flatten(self.to_json()), _flatten(other.to_json())
        return [
            f"{key}: {ours.get(key, 'absent')}, here {theirs.get(key, 'absent')}"
            for key in sorted(ours.keys() | theirs.keys())
            if ours.get(key) != theirs.get(key)
        ]

    def layout(self, length: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Return shape and type of every source dataset of an episode with `length` actions."""
        rows, float32 = length + 1, np.dtype(np.float32)
        layout: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
            "actions": ((length, len(self.action_names)), float32),
            "telemetry": ((rows, len(self.telemetry_names)), float32),
        }
        for name, camera in self.cameras.items():
            layout[f"frames/{name}"] = ((rows, camera.height, camera.width, 3), np.dtype(np.uint8))
        for name in self.depth:
            layout[f"depth/{name}"] = ((rows, *layout[f"frames/{name}"][0][1:3], 1), np.dtype(np.uint16))
        if self.object_names:
            layout["objects"] = ((rows, len(self.object_names), 7), float32)
        for task in self.tasks:
            layout[f"labels/{task}/reward"] = ((rows,), float32)
            layout[f"labels/{task}/success"] = ((rows,), np.dtype(np.bool_))
        return layout


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flatten(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return flat


def parts_folder(path: str | Path) -> Path:
    """Return the folder that holds the part files of an unfinished episode file."""
    path = Path(path)
    return path.with_name(path.name + ".parts")


class EpisodeWriter:
    """Writes an episode file part by part; several processes may write different episodes of the same file.

    Episodes that exist already, in the file or as parts of a killed run, are kept: ask `has` before making one again.
    """

    def __init__(self, path: str | Path, schema: Schema) -> None:
        """Prepare to write, or to go on writing, the file at `path`.

        Raises:
            ConfigError: `path` or its parts were made with other settings.
        """
        self.path = Path(path)
        self.schema = schema
        self._parts = parts_folder(self.path)
        self._merged = self._existing(self.path)
        for part in self._part_files():
            self._existing(part)
        self._parts.mkdir(parents=True, exist_ok=True)

    def has(self, index: int) -> bool:
        """Return whether episode `index` is stored already."""
        return index in self._merged or self._part(index).exists()

    def write(self, index: int, episode: Episode) -> None:
        """Store an episode completely or, when killed meanwhile, not at all.

        Args:
            index: Number of the episode in the file: it becomes `demo_<index>`.
            episode: The recording; shapes, types and finite numbers are checked against the schema.
        """
        temporary = self._parts / f"{index:06d}.{os.getpid()}.tmp"
        with h5py.File(temporary, "w") as file:
            _write_head(file, self.schema)
            _write_demo(file["data"], f"demo_{index}", episode, self.schema)
            file["data"].attrs["total"] = len(episode)
        _move_into_place(temporary, self._part(index))

    def merge(self) -> None:
        """Make the file out of what it held before and all parts, then remove the parts."""
        sources = {index: self.path for index in self._merged} | {int(part.stem): part for part in self._part_files()}
        if sources.keys() != self._merged:
            temporary = self._parts / "merged.tmp"
            self._copy_all(sources, temporary)
            _move_into_place(temporary, self.path)
            self._merged = set(sources)
        shutil.rmtree(self._parts)

    def _copy_all(self, sources: dict[int, Path], target: Path) -> None:
        with h5py.File(target, "w") as file:
            data = _write_head(file, self.schema)
            total = 0
            for index in sorted(sources):
                with h5py.File(sources[index], "r") as source:
                    total += _copy_demo(source[f"data/demo_{index}"], data)
            data.attrs["total"] = total

    def _part(self, index: int) -> Path:
        return self._parts / f"{index:06d}.hdf5"

    def _part_files(self) -> list[Path]:
        return sorted(self._parts.glob("*.hdf5"))

    def _existing(self, path: Path) -> set[int]:
        """Return the numbers of the episodes in a file; refuse it when its schema is another one."""
        if not path.exists():
            return set()
        with _open(path) as file:
            differences = _read_schema(file, path).differences(self.schema)
            if differences:
                raise ConfigError(
                    f"{path} was made with other settings: {'; '.join(differences)}. "
                    "Repeat the command that made it, or write to another file."
                )
            return {_number(name) for name in _demos(file)}


class EpisodeFile:
    """Reads an episode file, or the finished parts of one that is being written or whose writer was killed.

    Opening checks the structure of every episode; reading checks numbers. What is wrong raises `DataError` with file,
    episode, dataset and row.
    """

    schema: Schema
    lengths: list[int]
    """Number of actions N of each episode."""
    seeds: list[int | None]
    policies: list[str]

    def __init__(self, path: str | Path) -> None:
        """Open the file at `path`, or the parts beside it when the file itself is not there yet."""
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._demos = self._find_demos()
        self.schema = _read_schema(self._open(self._demos[0][0]), self._demos[0][0])
        self.lengths, self.seeds, self.policies = [], [], []
        for file, demo in self._demos:
            group = self._open(file)["data"][demo]
            self.lengths.append(_check_structure(group, file, self.schema))
            self.seeds.append(int(group.attrs["seed"]) if "seed" in group.attrs else None)
            self.policies.append(str(group.attrs.get("policy", "unknown")))

    @property
    def unfinished(self) -> bool:
        """Whether these are the parts of a file that was never finished."""
        return not self.path.is_file()

    @property
    def size(self) -> int:
        """Size on disk [bytes]."""
        return sum(file.stat().st_size for file in {file for file, _ in self._demos})

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self._demos)

    def __getitem__(self, k: int) -> Episode:
        """Read the k-th episode whole."""
        return self.read(k)

    def __iter__(self) -> Iterator[Episode]:
        """Read one episode after the other."""
        return (self.read(k) for k in range(len(self)))

    def read(
        self,
        k: int,
        start: int = 0,
        stop: int | None = None,
        *,
        cameras: Collection[str] | None = None,
        depth: bool = True,
    ) -> Episode:
        """Read frames `start` to `stop` (exclusive) of the k-th episode and the actions between them.

        Args:
            k: Position in the file; negative counts from the end.
            start: First frame.
            stop: Frame after the last one; None reads to the end.
            cameras: Cameras whose frames are wanted, `()` for none; None reads all.
            depth: Whether their depth is wanted, where it was measured.
        """
        file, demo = self._demos[k]
        group = self._open(file)["data"][demo]
        first, last, _ = slice(start, stop).indices(self.lengths[k] + 1)
        rows, between = slice(first, last), slice(first, max(first, last - 1))

        def load(name: str, selection: slice = rows) -> Array:
            return _read_array(group, name, selection, file)

        measured = [name for name in self._known_cameras(cameras) if depth and name in self.schema.depth]
        return Episode(
            frames={name: load(f"frames/{name}") for name in self._known_cameras(cameras)},
            telemetry=load("telemetry"),
            actions=load("actions", between),
            labels={t: TaskLabels(load(f"labels/{t}/reward"), load(f"labels/{t}/success")) for t in self.schema.tasks},
            objects=load("objects") if self.schema.object_names else None,
            properties=json.loads(group.attrs.get("properties", "{}")),
            seed=self.seeds[k],
            policy=self.policies[k],
            depth={name: load(f"depth/{name}") for name in measured},
        )

    def check(self) -> None:
        """Read all numbers of the file; raise `DataError` at the first NaN or infinity. Pictures cannot hold any."""
        for k in range(len(self)):
            self.read(k, cameras=())

    def digest(self) -> str:
        """Return a fingerprint (SHA-256) of the content, which does not depend on how it was written or compressed."""
        content = hashlib.sha256()
        schema = {key: value for key, value in self.schema.to_json().items() if key != "versions"}
        content.update(_canonical(schema))
        for k, (file, demo) in enumerate(self._demos):
            group = self._open(file)["data"][demo]
            attributes = {name: _plain(group.attrs[name]) for name in group.attrs}
            content.update(_canonical([demo, attributes]))
            for name, (shape, dtype) in sorted(self.schema.layout(self.lengths[k]).items()):
                content.update(_canonical([name, shape, dtype.str]))
                for start in range(0, shape[0], _DIGEST_ROWS):
                    content.update(_read_array(group, name, slice(start, start + _DIGEST_ROWS), file).tobytes())
        return content.hexdigest()

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        """Return the open file."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _find_demos(self) -> list[tuple[Path, str]]:
        """List (file, name) of every episode in numeric order; `demo_10` comes after `demo_9`."""
        if self.path.is_file():
            names = sorted(_demos(self._open(self.path)), key=_number)
            demos = [(self.path, name) for name in names]
        else:
            folder = self.path if self.path.is_dir() else parts_folder(self.path)
            if not folder.is_dir():
                raise DataError(f"{self.path}: no such file. Record one with gwm collect.")
            parts = {int(part.stem): part for part in folder.glob("*.hdf5")}
            demos = [(parts[index], f"demo_{index}") for index in sorted(parts)]
        if not demos:
            raise DataError(f"{self.path} holds no finished episode.")
        return demos

    def _open(self, path: Path) -> h5py.File:
        """Open a file, or return it when it is the one opened last: thousands of parts cannot be open at once."""
        if self._file is None or Path(self._file.filename) != path:
            self.close()
            self._file = _open(path)
        return self._file

    def _known_cameras(self, cameras: Collection[str] | None) -> list[str]:
        names = list(self.schema.cameras) if cameras is None else list(cameras)
        unknown = [name for name in names if name not in self.schema.cameras]
        if unknown:
            raise DataError(f"{self.path} has no camera {unknown[0]!r}; it has {', '.join(self.schema.cameras)}.")
        return names


_DIGEST_ROWS = 256
"""Rows hashed at a time, which bounds memory for long episodes of large frames."""


def _write_head(file: h5py.File, schema: Schema) -> h5py.Group:
    data = file.create_group("data")
    env_args = {
        "env_name": schema.env_id,
        "env_version": schema.versions.get("gwm_sim", ""),
        "type": _ROBOMIMIC_GYM,
        "env_kwargs": schema.env_kwargs,
    }
    data.attrs["env_args"] = json.dumps(env_args)
    data.attrs["gwm_schema"] = json.dumps(schema.to_json())
    return data


def _write_demo(data: h5py.Group, name: str, episode: Episode, schema: Schema) -> None:
    length = len(episode)
    arrays = _arrays(episode)
    layout = schema.layout(length)
    if arrays.keys() != layout.keys():
        raise DataError(f"{name}: got {sorted(arrays)}, but the schema has {sorted(layout)}.")
    group = data.create_group(name)
    group.attrs["num_samples"] = length
    group.attrs["policy"] = episode.policy
    group.attrs["properties"] = json.dumps(episode.properties, sort_keys=True)
    if episode.seed is not None:
        group.attrs["seed"] = episode.seed
    for key, array in arrays.items():
        _check_dataset(array, *layout[key], where=f"{name}/{key}")
        _check_finite(array, first_row=0, where=f"{name}/{key}")
        storage = _frame_storage(array.shape) if key.startswith(("frames/", "depth/")) else {}
        group.create_dataset(key, data=array, **storage)
    rewards = episode.labels[schema.task].reward[1:] if schema.task else np.zeros(length, np.float32)
    group.create_dataset("rewards", data=rewards)
    dones = np.zeros(length, np.int64)
    dones[-1:] = 1  # episodes end by their length: no task terminates on success
    group.create_dataset("dones", data=dones)
    _link_observations(group)


def _arrays(episode: Episode) -> dict[str, Array]:
    arrays = {"actions": episode.actions, "telemetry": episode.telemetry}
    arrays |= {f"frames/{name}": frames for name, frames in episode.frames.items()}
    arrays |= {f"depth/{name}": depth for name, depth in episode.depth.items()}
    if episode.objects is not None:
        arrays["objects"] = episode.objects
    for task, labels in episode.labels.items():
        arrays |= {f"labels/{task}/reward": labels.reward, f"labels/{task}/success": labels.success}
    return arrays


_CHUNK_BYTES = 100_000
"""Target size of a chunk of frames: neighbours compress together, yet a short window reads little it does not need."""


def _frame_storage(shape: tuple[int, ...]) -> dict[str, Any]:
    frames = max(1, _CHUNK_BYTES // int(np.prod(shape[1:])))
    return {"chunks": (min(frames, shape[0]), *shape[1:]), "compression": "gzip", "compression_opts": 1}


def _copy_demo(demo: h5py.Group, data: h5py.Group) -> int:
    """Copy a demo without recompressing its frames; its virtual datasets are made anew."""
    name = demo.name.rsplit("/", 1)[-1]
    target = data.create_group(name)
    for key, value in demo.attrs.items():
        target.attrs[key] = value
    for key in demo:
        if key not in ("obs", "next_obs"):
            demo.copy(key, target)
    _link_observations(target)
    return int(target.attrs["num_samples"])


def _link_observations(group: h5py.Group) -> None:
    """Make robomimic's `obs` and `next_obs` as views of the sources: all rows but the last, all but the first."""
    sources = {f"{camera}_image": frames for camera, frames in group.get("frames", {}).items()}
    sources |= {f"{camera}_depth": depth for camera, depth in group.get("depth", {}).items()}
    sources["agent_pos"] = group["telemetry"]
    length = int(group.attrs["num_samples"])
    for view, first in (("obs", 0), ("next_obs", 1)):
        for key, dataset in sources.items():
            layout = h5py.VirtualLayout(shape=(length, *dataset.shape[1:]), dtype=dataset.dtype)
            source = h5py.VirtualSource(".", dataset.name, shape=dataset.shape, dtype=dataset.dtype)
            layout[:] = source[first : first + length]
            group.create_virtual_dataset(f"{view}/{key}", layout)


def _move_into_place(temporary: Path, path: Path) -> None:
    """Rename a finished file; after a crash of the machine `path` is the old file or the new one, never a piece."""
    for target, move in ((temporary, True), (path.parent, False)):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if move:
            os.replace(temporary, path)


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is truncated or no HDF5 file: {error}") from error


def _demos(file: h5py.File) -> list[str]:
    if not isinstance(file.get("data"), h5py.Group):
        raise DataError(f"{file.filename} is not a gwm_sim or robomimic file: it has no /data group.")
    return [name for name in file["data"] if name.startswith("demo_") and name[5:].isdigit()]


def _number(demo: str) -> int:
    return int(demo[5:])


def _read_schema(file: h5py.File, path: Path) -> Schema:
    _demos(file)
    text = file["data"].attrs.get("gwm_schema")
    if text is None:
        raise DataError(f"{path} has no gwm_schema: gwm_sim did not make it, and reads only its own.")
    try:
        value = json.loads(text)
        if value["format"] > FORMAT:
            raise DataError(f"{path} has format {value['format']}; this version reads up to {FORMAT}. Upgrade gwm_sim.")
        return Schema.from_json(value)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: /data has a damaged gwm_schema: {error!r}") from error


def _check_structure(group: h5py.Group, path: Path, schema: Schema) -> int:
    """Check names, shapes and types of a demo without reading its arrays; return its number of actions."""
    if "num_samples" not in group.attrs:
        raise DataError(f"{path}: {group.name} has no attribute num_samples.")
    length = int(group.attrs["num_samples"])
    for key, (shape, dtype) in schema.layout(length).items():
        where = f"{path}: {group.name}/{key}"
        dataset = group.get(key)
        if not isinstance(dataset, h5py.Dataset):
            raise DataError(f"{where} is missing.")
        _check_dataset(dataset, shape, dtype, where)
    return length


def _check_dataset(dataset: Array | h5py.Dataset, shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    if dataset.shape != shape or dataset.dtype != dtype:
        raise DataError(f"{where} is {dataset.dtype} {dataset.shape}, expected {dtype} {shape}.")


def _read_array(group: h5py.Group, name: str, rows: slice, path: Path) -> Array:
    where = f"{path}: {group.name}/{name}"
    try:
        array: Array = group[name][rows]
    except OSError as error:
        raise DataError(f"{where} is damaged: {error}") from error
    _check_finite(array, rows.start, where)
    return array


def _check_finite(array: Array, first_row: int, where: str) -> None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    row, *column = np.argwhere(~np.isfinite(array))[0]
    at = f" column {tuple(map(int, column)) if len(column) > 1 else int(column[0])}" if column else ""
    raise DataError(f"{where} holds {array[(row, *column)]} at row {first_row + row}{at}.")


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
