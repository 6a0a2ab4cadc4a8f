"""LeRobot datasets v3.0: several episodes in a file, tables in parquet, pictures in video.

    meta/info.json                          fps, features, counts, path templates, gwm_sim, [imagined],
                                            [tracked_objects]
    meta/episodes/chunk-000/file-000.parquet     a row per episode: where it lies, its statistics
    meta/stats.json  meta/tasks.parquet
    data/chunk-000/file-000.parquet         a row per frame, a row group per episode
    videos/<key>/chunk-000/file-000.mp4

A row holds a frame and the action that follows. The last frame of an episode is stored too, since it shows what the
last action did; no action follows it, so its row repeats the last one, with 0 for what is a change or a rate.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode import UNTOLD
from gwm_sim.data.episode_file import Episode
from gwm_sim.data.exporters.recordings import ExportFormat, Recordings
from gwm_sim.data.exporters.summaries import Summaries
from gwm_sim.data.exporters.videos import PIXEL_FORMAT, Codec, VideoFile, check_codec
from gwm_sim.data.schema import AXES, Schema
from gwm_sim.data.tracking.sightings import COLUMNS
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json

_CHUNK_FILES = 1000
_DATA_MEGABYTES = 100
_VIDEO_MEGABYTES = 200
"""LeRobot's usual limits: files per folder, and sizes at which a new file begins."""

_CHANGES = ("delta", "rate")
"""Kinds of actions of which 0 is none, see `importers.source.Kind`."""

_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"


def write_lerobot(recordings: Recordings, folder: Path, codec: Codec = "av1", task: str | None = None) -> None:
    """Write episodes as a dataset; `task` is what the robot was told to do.

    By default that is the instruction of each episode, or else the task of its labels.
    """
    schema = recordings.schema
    tasks: dict[str, int] = {}
    check_codec(codec, schema.cameras)
    keys = {camera: _picture_key(camera) for camera in schema.cameras}
    summaries = Summaries()
    records: list[dict[str, Any]] = []
    with ExitStack() as stack:
        tables = stack.enter_context(closing(_Series(folder / "data", ".parquet", _DATA_MEGABYTES, _Table)))
        make_video = partial(VideoFile, codec=codec, rate=schema.rate)
        videos = {
            camera: stack.enter_context(closing(_Series(folder / "videos" / key, ".mp4", _VIDEO_MEGABYTES, make_video)))
            for camera, key in keys.items()
        }
        start = 0
        for k, episode in enumerate(recordings):
            stop = start + len(episode) + 1
            told = task or episode.instruction or recordings.task_of(episode) or UNTOLD
            number = tasks.setdefault(told, len(tasks))
            columns = _columns(episode, recordings) | _counters(k, start, stop, schema.rate, number)
            tables.present().add(columns)
            record = {"episode_index": k, "tasks": [told], "length": stop - start}
            record |= {"dataset_from_index": start, "dataset_to_index": stop} | tables.place("data")
            for camera, key in keys.items():
                record |= _film(videos[camera], key, episode.frames[camera], schema.rate)
            record |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
            statistics = {key: summaries.add_numbers(key, values) for key, values in columns.items()}
            statistics |= {key: summaries.add_pictures(key, episode.frames[camera]) for camera, key in keys.items()}
            record |= {f"stats/{key}/{name}": x for key, found in statistics.items() for name, x in found.items()}
            records.append(record)
            start = stop
    _write_meta(folder / "meta", recordings, codec, records, summaries, list(tasks))


def _film(videos: _Series, key: str, frames: Array, rate: float) -> dict[str, Any]:
    """Append an episode to the present video of a camera; return where and when it is found there."""
    video = videos.present()
    first = video.frames
    video.add(frames)
    times = {"from_timestamp": first / rate, "to_timestamp": video.frames / rate}
    return videos.place(f"videos/{key}") | {f"videos/{key}/{name}": time for name, time in times.items()}


def _columns(episode: Episode, recordings: Recordings) -> dict[str, Array]:
    """Return what an episode's table holds, R = N+1 rows each; `next.*` speaks of the frame after a row."""
    labels, rows = recordings.labels(episode), len(episode) + 1
    columns = {"observation.state": episode.telemetry} if recordings.schema.telemetry_names else {}
    columns["action"] = np.concatenate([episode.actions, _last_action(episode, recordings.schema)])
    if episode.objects is not None:
        columns["objects"] = episode.objects.reshape(rows, -1)
    if episode.objects_confidence is not None:
        columns["objects_confidence"] = episode.objects_confidence
    if episode.attributes is not None:
        columns["objects_attributes"] = episode.attributes.reshape(rows, -1)
    columns |= {f"sightings.{camera}": seen.reshape(rows, -1) for camera, seen in episode.sightings.items()}
    if labels is not None:
        columns["next.reward"] = np.append(labels.reward[1:], labels.reward[-1])
        columns["next.success"] = np.append(labels.success[1:], labels.success[-1])
    return columns | {"next.done": np.arange(rows) == rows - 1}


def _last_action(episode: Episode, schema: Schema) -> Array:
    """Return an action (1, A) for the last frame, which asks for nothing new."""
    last = episode.actions[-1:].copy()
    kinds = schema.settings.get("action_kinds", [None] * last.shape[1])
    none = {i for i, kind in enumerate(kinds) if kind in _CHANGES}
    none |= {command.action for command in schema.commands if not command.absolute}
    last[:, sorted(none)] = 0
    return last


def _counters(k: int, start: int, stop: int, rate: float, task: int) -> dict[str, Array]:
    """Return the columns by which LeRobot finds rows `start` to `stop` (exclusive) of the dataset."""
    index = np.arange(stop - start)
    return {
        "timestamp": (index / rate).astype(np.float32),
        "frame_index": index,
        "episode_index": np.full(len(index), k),
        "index": start + index,
        "task_index": np.full(len(index), task),
    }


def _write_meta(
    folder: Path,
    recordings: Recordings,
    codec: Codec,
    records: list[dict[str, Any]],
    summaries: Summaries,
    tasks: list[str],
) -> None:
    import pandas as pd  # late, as below: these are optional
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(records), folder / "episodes/chunk-000/file-000.parquet")
    table = pd.DataFrame({"task_index": range(len(tasks))}, index=pd.Index(tasks, name="task"))
    table.to_parquet(folder / "tasks.parquet")
    write_json(folder / "stats.json", summaries.of_all())
    schema = recordings.schema
    info = {
        "codebase_version": "v3.0",
        "robot_type": schema.env_id,
        "total_episodes": len(recordings),
        "total_frames": sum(recordings.lengths) + len(recordings),
        "total_tasks": len(tasks),
        "chunks_size": _CHUNK_FILES,
        "data_files_size_in_mb": _DATA_MEGABYTES,
        "video_files_size_in_mb": _VIDEO_MEGABYTES,
        "fps": int(schema.rate) if schema.rate == int(schema.rate) else schema.rate,
        "splits": {"train": f"0:{len(recordings)}"},
        "data_path": f"data/{_FILE}.parquet",
        "video_path": f"videos/{{video_key}}/{_FILE}.mp4",
        "features": _features(recordings, codec),
        **recordings.origin(),
    }
    write_json(folder / "info.json", info)


def _features(recordings: Recordings, codec: Codec) -> dict[str, dict[str, Any]]:
    schema = recordings.schema
    features = {"action": _feature("float32", schema.action_names)}
    if schema.telemetry_names:  # Arrow has no columns of nothing
        features = {"observation.state": _feature("float32", schema.telemetry_names), **features}
    for name, camera in schema.cameras.items():
        info: dict[str, Any] = {"height": camera.height, "width": camera.width, "channels": 3, "fps": schema.rate}
        info |= {"codec": codec, "pix_fmt": PIXEL_FORMAT, "is_depth_map": False}
        features[_picture_key(name)] = {
            "dtype": "video",
            "shape": [camera.height, camera.width, 3],
            "names": ["height", "width", "channels"],
            "info": {f"video.{key}": value for key, value in info.items()} | {"has_audio": False},
        }
    if schema.object_names:
        # Not observation.environment_state, which policies would learn from and no real robot reports.
        features["objects"] = _of_objects(schema, (*AXES[schema.object_frame], "qw", "qx", "qy", "qz"))
    if schema.tracked:
        features["objects_confidence"] = _of_objects(schema, ("confidence",))
    if schema.object_attributes:
        features["objects_attributes"] = _of_objects(schema, schema.object_attributes)
    features |= {f"sightings.{camera}": _of_objects(schema, COLUMNS) for camera in schema.tracked}
    if recordings.task:
        features |= {"next.reward": _feature("float32"), "next.success": _feature("bool")}
    features |= {"next.done": _feature("bool"), "timestamp": _feature("float32")}
    return features | {key: _feature("int64") for key in ("frame_index", "episode_index", "index", "task_index")}


def _of_objects(schema: Schema, columns: Sequence[str]) -> dict[str, Any]:
    return _feature("float32", [f"{name}_{column}" for name in schema.object_names for column in columns])


def _feature(dtype: str, names: Sequence[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names or "1")], "names": names and list(names)}


def _picture_key(camera: str) -> str:
    """Return the feature of a camera, which is also the name of a folder and may lead nowhere else."""
    if not re.fullmatch(r"[\w.-]+", camera):
        raise ConfigError(f"camera {camera!r} cannot name a folder: only letters, digits, '_', '-' and '.' can")
    return f"observation.images.{camera}"


class _Series:
    """Files `chunk-000/file-000`, `chunk-000/file-001`, ... below a folder: a new one begins when the last is full."""

    def __init__(self, folder: Path, suffix: str, megabytes: int, make: Callable[[Path], Any]) -> None:
        self._folder, self._suffix, self._megabytes, self._make = folder, suffix, megabytes, make
        self._number = -1
        self._file: Any = None

    def present(self) -> Any:
        """Return the file that takes the next episode."""
        if self._file is None or self._path().stat().st_size >= self._megabytes * 1e6:
            self.close()
            self._number += 1
            self._path().parent.mkdir(parents=True, exist_ok=True)
            self._file = self._make(self._path())
        return self._file

    def place(self, prefix: str) -> dict[str, int]:
        """Return the numbers of the present file, named as in meta/episodes."""
        chunk, file = divmod(self._number, _CHUNK_FILES)
        return {f"{prefix}/chunk_index": chunk, f"{prefix}/file_index": file}

    def close(self) -> None:
        """Finish the present file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _path(self) -> Path:
        chunk, file = divmod(self._number, _CHUNK_FILES)
        return self._folder / (_FILE.format(chunk_index=chunk, file_index=file) + self._suffix)


class _Table:
    """A parquet file with a row group per episode."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None  # made with the first episode, which knows the columns

    def add(self, columns: dict[str, Array]) -> None:
        """Append the rows of an episode."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({key: _column(values) for key, values in columns.items()})
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="snappy")
        self._writer.write_table(table)

    def close(self) -> None:
        """Write the footer."""
        if self._writer is not None:
            self._writer.close()


def _column(values: Array) -> Any:
    """Return one number, or a list of fixed length, per row; LeRobot stores vectors of length 1 as numbers."""
    import pyarrow as pa

    if values.ndim == 1 or values.shape[1] == 1:
        return pa.array(values.reshape(-1))
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


FORMAT = ExportFormat("lerobot", write_lerobot, options=("codec", "task"), packages=("pyarrow", "pandas"))
