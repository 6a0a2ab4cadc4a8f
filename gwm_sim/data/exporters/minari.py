"""Minari datasets, stored as HDF5. Keys and shapes are those that our environments observe.

    data/metadata.json      observation_space, action_space (JSON), dataset_id, rate, gwm_sim, [imagined],
                            [tracked_objects]
    data/main_data.hdf5     /episode_3       attrs: id, total_steps, policy, [seed], [options/properties/<name>]
        observations/{pixels, pixels_<camera>, agent_pos} (N+1, ...)     actions (N, A)     rewards (N,)
        terminations, truncations (N,)     infos/{success, objects, objects_confidence,
                                                attributes, sightings/<camera>, labels/<task>/...} (N+1, ...)

A picture is a file in a row of bytes, as Minari has it, but PNG instead of JPEG: Minari reads both, and PNG is exact.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import Episode, arrays_of
from gwm_sim.data.exporters.recordings import ExportFormat, Recordings
from gwm_sim.data.hdf5 import new_file
from gwm_sim.data.schema import Schema
from gwm_sim.files import write_json
from gwm_sim.media.video import encode_png

_MINARI_VERSION = "0.5.3"
"""Release whose layout this is."""

_SMALLEST_PICTURE = 32
"""Pictures with a shorter side are plain arrays to Minari [px]."""


def write_minari(recordings: Recordings, folder: Path) -> None:
    """Write episodes as a dataset; the name of the folder becomes the id, with `-v0` if it has no version."""
    data = folder / "data"
    data.mkdir(parents=True)
    policies = set()
    with new_file(data / "main_data.hdf5", track_order=True) as file:
        for k, episode in enumerate(recordings):
            _write_episode(file.create_group(f"episode_{k}"), k, episode, recordings)
            policies.add(episode.policy)
            file.check()
    metadata = _metadata(recordings) | {
        "dataset_id": _dataset_id(folder.name),
        "dataset_size": round((data / "main_data.hdf5").stat().st_size / 1e6, 1),  # [MB]
        "algorithm_name": ", ".join(sorted(policies)),
    }
    write_json(data / "metadata.json", metadata)


def _write_episode(group: h5py.Group, k: int, episode: Episode, recordings: Recordings) -> None:
    length, labels = len(episode), recordings.labels(episode)
    group.attrs["id"] = k
    group.attrs["total_steps"] = length
    group.attrs["policy"] = episode.policy
    if episode.seed is not None:
        group.attrs["seed"] = episode.seed
    for name, value in episode.properties.items():
        group.attrs[f"options/properties/{name}"] = value  # Minari's form of reset(options={"properties": {...}})
    group["actions"] = episode.actions
    group["rewards"] = np.zeros(length) if labels is None else labels.reward[1:].astype(np.float64)
    group["terminations"] = np.zeros(length, bool)  # no task terminates: episodes end by their length
    group["truncations"] = np.arange(length) == length - 1
    if recordings.schema.telemetry_names:
        group["observations/agent_pos"] = episode.telemetry
    for camera, frames in episode.frames.items():
        _store_pictures(group, f"observations/{_pixels(camera)}", frames)
    if labels is not None:
        group["infos/success"] = labels.success
    for key, array in arrays_of(episode).items():
        if key.startswith(("objects", "attributes", "sightings/", "labels/")):
            group[f"infos/{key}"] = array


def _store_pictures(group: h5py.Group, key: str, pictures: Array) -> None:
    """Store pictures (R, H, W, 3) uint8 in the form in which Minari looks for them."""
    if min(pictures.shape[1:3]) < _SMALLEST_PICTURE:
        group[key] = pictures
        return
    stored = group.create_dataset(key, (len(pictures),), h5py.vlen_dtype(np.uint8))
    for row, picture in enumerate(pictures):
        stored[row] = np.frombuffer(encode_png(picture), np.uint8)


def _metadata(recordings: Recordings) -> dict[str, Any]:
    schema, imagined = recordings.schema, recordings.imagined
    source = f"Imagined by the world model {imagined['model']}." if imagined else "Recorded."
    if schema.tracked:
        source += f" Positions of objects were tracked in the pictures of {', '.join(schema.tracked)}, not measured."
    return {
        "total_episodes": len(recordings),
        "total_steps": sum(recordings.lengths),
        "data_format": "hdf5",
        "minari_version": _MINARI_VERSION,
        "observation_space": json.dumps(_observation_space(schema)),
        "action_space": json.dumps(_vector_space(schema.action_low, schema.action_high)),
        "description": f"{schema.env_id} at {schema.rate:g} Hz. {source}",
        "rate": schema.rate,  # [Hz]; Minari itself knows none
        **recordings.origin(),
    }


def _observation_space(schema: Schema) -> dict[str, Any]:
    spaces = {}
    if schema.telemetry_names:
        spaces["agent_pos"] = _vector_space(schema.telemetry_low, schema.telemetry_high)
    for name, camera in schema.cameras.items():
        black = np.zeros((camera.height, camera.width, 3), np.uint8)
        spaces[_pixels(name)] = _box(black, black + 255)
    return {"type": "Dict", "subspaces": spaces}


def _vector_space(low: Sequence[float], high: Sequence[float]) -> dict[str, Any]:
    return _box(np.asarray(low, np.float32), np.asarray(high, np.float32))


def _box(low: Array, high: Array) -> dict[str, Any]:
    """Return a Box in Minari's JSON, which lists the limits of every single number."""
    return {"type": "Box", "dtype": str(low.dtype), "shape": low.shape, "low": low.tolist(), "high": high.tolist()}


def _pixels(camera: str) -> str:
    """Name a camera's pictures as the environments do."""
    return "pixels" if camera == "front" else f"pixels_{camera}"


def _dataset_id(name: str) -> str:
    """Make `<name>-v<number>` of a folder's name: Minari allows letters, digits, `_` and `-`."""
    allowed = re.sub(r"[^\w-]+", "-", name)
    return allowed if re.search(r"-v\d+$", allowed) else f"{allowed}-v0"


FORMAT = ExportFormat("minari", write_minari)
