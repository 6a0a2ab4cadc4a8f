"""How an episode lies in HDF5: the head of a file, its demos, and what makes one sound.

`episode_file` draws the layout.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode import Episode, arrays_of, write_attributes
from gwm_sim.data.hdf5 import open_file as open_file
from gwm_sim.data.schema import FORMAT, Schema
from gwm_sim.data.tracking.sightings import COLUMNS
from gwm_sim.errors import DataError
from gwm_sim.storage import reason

_ROBOMIMIC_GYM = 2
"""robomimic's code for a Gym environment in `env_args`."""


def env_args(schema: Schema, **more: Any) -> str:
    """Return what robomimic makes an environment from, as JSON; `more` are further keyword arguments of it."""
    version, kwargs = schema.versions.get("gwm_sim", ""), schema.env_kwargs | more
    return json.dumps({"env_name": schema.env_id, "env_version": version, "type": _ROBOMIMIC_GYM, "env_kwargs": kwargs})


def write_head(file: h5py.File, schema: Schema) -> h5py.Group:
    """Make the group of all demos, which says what they are."""
    data = file.create_group("data")
    data.attrs["env_args"] = env_args(schema)
    data.attrs["gwm_schema"] = json.dumps(schema.to_json())
    return data


def write_part(file: h5py.File, index: int, episode: Episode, schema: Schema) -> None:
    """Write what a file of one episode holds, which becomes `demo_<index>` of a whole one."""
    data = write_head(file, schema)
    write_demo(data, f"demo_{index}", episode, schema)
    data.attrs["total"] = len(episode)


def pack(index: int, episode: Episode, schema: Schema) -> bytes:
    """Return such a file, made in memory: another process, which may be on another machine, stores it."""
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        write_part(file, index, episode, schema)
    return memory.getvalue()


def write_demo(data: h5py.Group, name: str, episode: Episode, schema: Schema) -> None:
    """Write an episode, with whatever of it does not fit the schema refused as a DataError."""
    length = len(episode)
    arrays = arrays_of(episode)
    told = tuple(task for task in schema.tasks if task in episode.labels)
    layout = schema.layout(length, told)
    if arrays.keys() != layout.keys():
        raise DataError(f"{name}: got {sorted(arrays)}, but the schema has {sorted(layout)}.")
    group = data.create_group(name)
    write_attributes(group, episode)
    if told != schema.tasks:
        group.attrs["labelled"] = json.dumps(told)
    for key, array in arrays.items():
        check_dataset(array, *layout[key], where=f"{name}/{key}")
    for key, array in arrays.items():
        check_finite(array, 0, f"{name}/{key}", episode.attributes if key in _OF_PRESENT else None)
        check_shares(key, array, where=f"{name}/{key}")
        storage = frame_storage(array.shape) if key.startswith(_COMPRESSED) else {}
        group.create_dataset(key, data=array, **storage)
    own = episode.labels_of(schema.task)
    group["rewards"] = np.zeros(length, np.float32) if own is None else own.reward[1:]
    # Episodes end by their length: no task terminates on success.
    group["dones"] = (np.arange(1, length + 1) == length).astype(np.int64)
    link_observations(group)


_COMPRESSED = ("frames/", "depth/", "attributes")
_OF_PRESENT = ("objects", "attributes")
"""What is NaN of absent objects, where there are attributes."""

_CHUNK_BYTES = 100_000
"""Target size of a chunk of frames: neighbours compress together, yet a short window reads little it does not need."""


def frames_per_chunk(shape: Sequence[int]) -> int:
    """Return how many pictures of this shape, (H, W, 3) or (H, W, 1), are compressed together."""
    return max(1, _CHUNK_BYTES // math.prod(shape))


def frame_storage(shape: tuple[int, ...]) -> dict[str, Any]:
    frames = frames_per_chunk(shape[1:])
    return {"chunks": (min(frames, shape[0]), *shape[1:]), "compression": "gzip", "compression_opts": 1}


def copy_demo(demo: h5py.Group, data: h5py.Group) -> int:
    """Copy a demo without recompressing its frames; its virtual datasets are made anew."""
    name = demo.name.rsplit("/", 1)[-1]
    target = data.create_group(name)
    target.attrs.update(demo.attrs)
    for key in demo:
        if key not in ("obs", "next_obs"):
            demo.copy(key, target)
    link_observations(target)
    return int(target.attrs["num_samples"])


def link_observations(group: h5py.Group) -> None:
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


def write_masks(file: h5py.File) -> None:
    """Write the filter keys of all demos as robomimic looks for them: under each the names of its demos."""
    data = file["data"]
    demos: dict[str, list[str]] = {}
    for name in sorted(demo_names(file), key=demo_number):
        for mask in masks_of(data[name]):
            demos.setdefault(mask, []).append(name)
    for mask, names in demos.items():
        file.create_dataset(f"mask/{mask}", data=np.array(names, dtype="S"))


def masks_of(group: h5py.Group) -> tuple[str, ...]:
    """Return the filter keys that a demo belongs to."""
    return _names(group, "masks", ())


def labelled(group: h5py.Group, schema: Schema) -> tuple[str, ...]:
    """Return the tasks that a demo has labels for: all, unless it names some of them."""
    tasks = _names(group, "labelled", schema.tasks)
    if unknown := [task for task in tasks if task not in schema.tasks]:
        raise DataError(f"{group.file.filename}: {group.name} has labels for {unknown[0]!r}, which the schema lacks.")
    return tasks


def _names(group: h5py.Group, attribute: str, default: tuple[str, ...]) -> tuple[str, ...]:
    if attribute not in group.attrs:
        return default
    try:
        names = json.loads(group.attrs[attribute])
    except (ValueError, TypeError) as error:
        raise DataError(f"{group.file.filename}: {group.name} has a damaged {attribute}: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{group.file.filename}: {group.name} has a damaged {attribute}: expected a list of names.")
    return tuple(names)


def is_own(path: Path) -> bool:
    """Return whether a path says that it is an episode file, or a folder of parts, whatever is wrong with it."""
    files = sorted(path.glob("*.hdf5"))[:1] if path.is_dir() else [path]
    try:
        for part in files:
            with open_file(part) as file:
                return "data" in file and "gwm_schema" in file["data"].attrs
    except (DataError, OSError, KeyError):
        return False
    return False


def demo_names(file: h5py.File) -> list[str]:
    if not isinstance(file.get("data"), h5py.Group):
        raise DataError(f"{file.filename} is not a gwm_sim or robomimic file: it has no /data group.")
    return [name for name in file["data"] if name.startswith("demo_") and name[5:].isdigit()]


def demo_number(demo: str) -> int:
    return int(demo[5:])


def read_schema(file: h5py.File, path: Path) -> Schema:
    demo_names(file)
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


def check_structure(group: h5py.Group, path: Path, schema: Schema) -> int:
    """Check names, shapes and types of a demo without reading its arrays; return its number of actions."""
    if "num_samples" not in group.attrs:
        raise DataError(f"{path}: {group.name} has no attribute num_samples.")
    length = int(group.attrs["num_samples"])
    for key, (shape, dtype) in schema.layout(length, labelled(group, schema)).items():
        where = f"{path}: {group.name}/{key}"
        dataset = group.get(key)
        if not isinstance(dataset, h5py.Dataset):
            raise DataError(f"{where} is missing.")
        check_dataset(dataset, shape, dtype, where)
    return length


def check_dataset(dataset: Array | h5py.Dataset, shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    if dataset.shape != shape or dataset.dtype != dtype:
        raise DataError(f"{where} is {dataset.dtype} {dataset.shape}, expected {dtype} {shape}.")


def read_array(group: h5py.Group, name: str, rows: slice, path: Path) -> Array:
    where = f"{path}: {group.name}/{name}"
    try:
        array: Array = group[name][rows]
        told = group["attributes"][rows] if name in _OF_PRESENT and "attributes" in group else None
    except OSError as error:
        raise DataError(f"{where} {reason(error) or f'is damaged: {error}'}") from error
    check_finite(array, rows.start, where, told)
    check_shares(name, array, where)
    return array


_DIGEST_ROWS = 256
"""Rows hashed at a time, which bounds memory for long episodes of large frames."""


def add_to_digest(
    content: Any, group: h5py.Group, layout: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], path: Path
) -> None:
    """Take name, attributes and arrays of a demo into a hash, `content`."""
    attributes = {name: _plain(group.attrs[name]) for name in group.attrs}
    content.update(canonical([group.name.rsplit("/", 1)[-1], attributes]))
    for name, (shape, dtype) in sorted(layout.items()):
        content.update(canonical([name, shape, dtype.str]))
        for start in range(0, shape[0], _DIGEST_ROWS):
            content.update(read_array(group, name, slice(start, start + _DIGEST_ROWS), path).tobytes())


def canonical(value: object) -> bytes:
    """Return a value as the one JSON text that stands for it in digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value


def check_finite(array: Array, first_row: int, where: str, told: Array | None = None) -> None:
    """Refuse numbers that are not finite. Where attributes (N+1, K, F) of objects are `told`, absent ones have NaN, and
    nothing else."""
    if array.dtype.kind != "f":
        return
    absent = False if told is None else np.isnan(told[..., :1])
    if (good := np.where(absent, np.isnan(array), np.isfinite(array))).all():
        return
    row, *column = np.argwhere(~good)[0]
    at = f" column {tuple(map(int, column)) if len(column) > 1 else int(column[0])}" if column else ""
    of = f" of an object whose attributes are {told[(row, column[0])].tolist()}" if told is not None else ""
    raise DataError(f"{where} holds {array[(row, *column)]} at row {first_row + row}{at}{of}.")


def check_shares(key: str, array: Array, where: str) -> None:
    """Refuse sightings (N+1, K, 6) whose visibility or confidence is no share, and such a confidence of objects."""
    if key == "objects_confidence":
        told = {"confidence": array}
    elif key.startswith("sightings/"):
        told = {name: array[..., COLUMNS.index(name)] for name in ("visible", "confidence")}
    else:
        return
    for name, shares in told.items():
        if wrong := shares[(shares < 0) | (shares > 1)].tolist():
            raise DataError(f"{where}: {name} must be in [0, 1], got {wrong[0]:g}.")
