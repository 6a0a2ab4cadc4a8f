"""robomimic's HDF5, self-contained.

An episode file has this layout already, but its observations are views of arrays that robomimic does not know. Here
every observation is stored twice, in `obs` and in `next_obs`, as robomimic does it, and nothing but HDF5 is needed.

    /data                  attrs: total, env_args (JSON), gwm_sim (JSON), [imagined, tracked_objects (JSON)]
    /data/demo_3           attrs: num_samples = N, policy, properties (JSON), [seed], [task, which rewards speak of]
        actions (N, A)     rewards, dones (N,)     obs/<key>, next_obs/<key> (N, ...)
        [objects (N+1, K, 7)]     [objects_confidence (N+1, K), sightings/<camera> (N+1, K, 6)]
        [attributes (N+1, K, F)]  [labels/<task>/reward, labels/<task>/success (N+1,)]
    /mask/<key>            names of the demos that belong to a filter key; train and valid when asked for
"""

import json
from pathlib import Path

import h5py
import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.demos import env_args
from gwm_sim.data.episode_file import Episode, arrays_of, write_attributes
from gwm_sim.data.exporters.recordings import ExportFormat, Recordings
from gwm_sim.data.hdf5 import new_file
from gwm_sim.errors import ConfigError

_SPLIT_SEED = 0


def write_robomimic(recordings: Recordings, path: Path, valid: float = 0.0) -> None:
    """Write episodes as one HDF5 file, with the masks that they have.

    `valid` is the share of them that a new `mask/valid` names, and `mask/train` the others; 0 splits nothing.

    Raises:
        ConfigError: They are split already.
    """
    masks: dict[str, list[int]] = {}
    for k, keys in enumerate(recordings.masks):
        for key in keys:
            masks.setdefault(key, []).append(k)
    if valid:
        split = _split(len(recordings), valid)
        if clash := sorted(masks.keys() & split.keys()):
            sizes = " and ".join(f"{key} ({len(masks[key])} episodes)" for key in clash)
            raise ConfigError(
                f"--valid {valid:g} would make masks {' and '.join(split)}, but the episodes have {sizes} already, "
                "which are exported as they are: leave out --valid"
            )
        masks |= split
    with new_file(path) as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(recordings.lengths)
        # control_freq is where robomimic's files keep their rate.
        data.attrs["env_args"] = env_args(recordings.schema, control_freq=recordings.schema.rate)
        for key, value in recordings.origin().items():
            data.attrs[key] = json.dumps(value)
        for k, episode in enumerate(recordings):
            _write_demo(data.create_group(f"demo_{k}"), episode, recordings)
            file.check()
        for name, demos in masks.items():
            file.create_dataset(f"mask/{name}", data=np.array([f"demo_{k}" for k in demos], dtype="S"))


def _write_demo(group: h5py.Group, episode: Episode, recordings: Recordings) -> None:
    length, labels = len(episode), recordings.labels(episode)
    write_attributes(group, episode)
    if task := recordings.task_of(episode):
        group.attrs["task"] = task
    group["rewards"] = np.zeros(length, np.float32) if labels is None else labels.reward[1:]
    group["dones"] = np.eye(1, length, length - 1, dtype=np.int64)[0]
    for view, rows in (("obs", slice(0, length)), ("next_obs", slice(1, length + 1))):
        if recordings.schema.telemetry_names:
            group[f"{view}/agent_pos"] = episode.telemetry[rows]
        for camera, frames in episode.frames.items():
            _store_pictures(group, f"{view}/{camera}_image", frames[rows])
    for key, array in arrays_of(episode).items():
        if key.startswith(("actions", "objects", "attributes", "sightings/", "labels/")):
            group[key] = array


def _split(count: int, valid: float) -> dict[str, list[int]]:
    """Share out episodes at random, but always alike; both parts get one at least."""
    if count < 2:
        raise ConfigError("one episode cannot be split into train and valid: leave out --valid")
    order = np.random.default_rng(_SPLIT_SEED).permutation(count).tolist()
    validation = min(max(round(valid * count), 1), count - 1)
    return {"train": sorted(order[validation:]), "valid": sorted(order[:validation])}


def _store_pictures(group: h5py.Group, key: str, pictures: Array) -> None:
    """Store pictures (R, H, W, 3) uint8 without loss, one to a chunk: training reads single rows at random."""
    chunks = (1, *pictures.shape[1:])
    group.create_dataset(key, data=pictures, chunks=chunks, compression="gzip", compression_opts=1)


FORMAT = ExportFormat("robomimic", write_robomimic, options=("valid",))
