"""robomimic's HDF5, self-contained.

An episode file has this layout already, but its observations are views of arrays that robomimic does not know. Here
every observation is stored twice, in `obs` and in `next_obs`, as robomimic does it, and nothing but HDF5 is needed.

    /data                  attrs: total, env_args (JSON), gwm_sim (JSON), [imagined (JSON)]
    /data/demo_3           attrs: num_samples = N, policy, properties (JSON), [seed]
        actions (N, A)     rewards, dones (N,)     obs/<key>, next_obs/<key> (N, ...)
        [objects (N+1, K, 7)]     [labels/<task>/reward, labels/<task>/success (N+1,)]
    /mask/train, /mask/valid      names of demos, when asked for
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
    """Write episodes as one HDF5 file; `valid` is the share of them that `mask/valid` names, 0 writes no masks."""
    masks = _split(len(recordings), valid) if valid else {}
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
    group["rewards"] = np.zeros(length, np.float32) if labels is None else labels.reward[1:]
    group["dones"] = np.eye(1, length, length - 1, dtype=np.int64)[0]
    for view, rows in (("obs", slice(0, length)), ("next_obs", slice(1, length + 1))):
        group[f"{view}/agent_pos"] = episode.telemetry[rows]
        for camera, frames in episode.frames.items():
            _store_pictures(group, f"{view}/{camera}_image", frames[rows])
    for key, array in arrays_of(episode).items():
        if key.startswith(("actions", "objects", "labels/")):
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
