"""DROID in its raw form: one folder per episode with `trajectory.h5` and MP4 videos.

    <lab>/<success|failure>/<date>/<time>/
        trajectory.h5      action/{cartesian_velocity (T, 6), gripper_position (T,)}
                           observation/robot_state/{joint_positions, cartesian_position, gripper_position}
                           observation/controller_info/movement_enabled     observation/timestamp/skip_action
        metadata_*.json    {wrist,ext1,ext2}_cam_serial
        recordings/MP4/<serial>.mp4      (<serial>-stereo.mp4 has both eyes: not used)

Row i belongs to frame i; the films are known to differ from the rows by a frame or two, which are dropped at the end.
Rows in which the operator had let go, or whose action was skipped, are left out: their actions did nothing. What is
left has gaps in time, at which an import cuts the episode.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from gwm_sim.data.conversion.resampling import paired
from gwm_sim.data.importers.hdf5 import Hdf5Source, array_at, attribute, group_at, matrix_at, member, place
from gwm_sim.data.importers.source import (
    AS_STORED,
    Action,
    Column,
    ImportFormat,
    Layout,
    Recording,
    SourceOptions,
    how_to_move,
    listed,
)
from gwm_sim.data.pictures.videos import frame_count, frames, inside
from gwm_sim.data.reading.checks import Array, join_columns, json_object, matrix
from gwm_sim.errors import DataError

RATE = 15.0
"""Control rate of the platform [Hz]."""

_SLACK = 2
"""Rows by which numbers and films of an episode are known to differ."""

_TRAJECTORY = "trajectory.h5"
_STATE = "observation/robot_state"
_CAMERAS = ("wrist", "ext1", "ext2")


class DroidSource(Hdf5Source):
    """Every episode below a folder, in the order of the paths."""

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """Find the episodes; folders that are links are not entered."""
        self.options = options
        self._rate = options.source_fps or RATE
        found = (os.path.relpath(folder, path) for folder, _, files in os.walk(path) if _TRAJECTORY in files)
        self._folders = [path / folder for folder in sorted(found)]
        if not self._folders:
            raise DataError(f"{path} holds no {_TRAJECTORY}, in it or below. Give a folder of DROID's raw data.")
        self.layout = Layout(
            robot="DROID",
            rate=self._rate,
            telemetry=(
                *(Column(f"joint_{i}", "rad") for i in range(7)),
                *(Column(f"eef_pos_{axis}", "m") for axis in "xyz"),
                Column("gripper"),  # 0 open, 1 closed
            ),
            actions=(
                # In [-1, 1]: 0.075 m and 0.15 rad per step.
                *(Action(f"d{axis}", "0.075 m", "delta", -1.0, 1.0) for axis in "xyz"),
                *(Action(f"dr{axis}", "0.15 rad", "delta", -1.0, 1.0) for axis in "xyz"),
                Action("gripper", "", "target", 0.0, 1.0),
            ),
            cameras=tuple(_videos(self._folders[0], self._trajectory(0))),
            effector=(7, 8, 9),
        )

    def __len__(self) -> int:
        return len(self._folders)

    def _trajectory(self, k: int) -> h5py.File:
        return self._open(self._folders[k] / _TRAJECTORY)

    def advice(self, k: int) -> str:
        """Name the folder that is to be moved."""
        return how_to_move(self._folders[k])

    def _recording(self, k: int) -> Recording:
        file = self._trajectory(k)
        joints = _either(file, f"{_STATE}/joint_positions", f"{_STATE}/joint_position")
        gripper = _either(file, "action/gripper_position", "action/gripper_positions")
        columns = {
            "joints": _sized(file, joints, 7),
            "cartesian_position": _sized(file, f"{_STATE}/cartesian_position", 6)[:, :3],
            "gripper_position": _sized(file, f"{_STATE}/gripper_position", 1),
            "cartesian_velocity": _sized(file, "action/cartesian_velocity", 6),
            "gripper action": _sized(file, gripper, 1),
        }
        values = join_columns(columns, file.filename)
        telemetry, actions = values[:, : len(self.layout.telemetry)], values[:, len(self.layout.telemetry) :]
        kept = self._kept_rows(k, len(values))
        return Recording(
            where=file.filename,
            telemetry=telemetry[kept],
            actions=actions[kept[:-1]],
            times=kept / self._rate,
            succeeded=_succeeded(self._folders[k], file),
        )

    def _kept_rows(self, k: int, rows: int) -> Array:
        """Return the rows in which the robot obeyed and that every video shows."""
        file = self._trajectory(k)
        videos = _videos(self._folders[k], file)
        missing = [camera for camera in self.layout.cameras if camera not in videos]
        if missing:
            raise DataError(
                f"{self._folders[k]} has no video of {missing[0]}, the first episode has one. Leave it out."
            )
        counts = {camera: frame_count(videos[camera]) for camera in self.layout.cameras}
        rows = paired(self, str(self._folders[k]), rows, counts, slack=_SLACK)
        if further := sorted(videos.keys() - set(self.layout.cameras)):
            self.remark(f"camera {listed(further)}, which the first episode lacks, is left out", str(self._folders[k]))
        # Without these flags, which some recorders leave out, every row counts, as for DROID's own loader.
        enabled = _flags(file, "observation/controller_info/movement_enabled", rows, default=True)
        skipped = _flags(file, "observation/timestamp/skip_action", rows, default=False)
        return np.flatnonzero(enabled & ~skipped)

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        file = self._trajectory(k)
        videos = _videos(self._folders[k], file)
        kept = self._kept_rows(k, len(array_at(file, f"{_STATE}/gripper_position")))
        return frames(videos[camera], kept[rows])


def _videos(folder: Path, file: h5py.File) -> dict[str, Path]:
    """Return the left-eye video of each camera, by the serials of the metadata or by their type in the trajectory."""
    serials = _serials_of_metadata(folder) or _serials_of_types(file)
    recordings = {name: f"recordings/MP4/{serial}.mp4" for name, serial in serials.items()}
    videos = {
        name: inside(folder, reference, str(folder))
        for name, reference in recordings.items()
        if ".." in reference or os.path.lexists(folder / reference)
    }
    if not videos:
        raise DataError(f"{folder} has none of the videos {sorted(recordings.values())}. Copy recordings/MP4 too.")
    return videos


def _serials_of_metadata(folder: Path) -> dict[str, str]:
    for path in sorted(folder.glob("metadata_*.json")):
        metadata = json_object(path)
        return {name: str(metadata[f"{name}_cam_serial"]) for name in _CAMERAS if metadata.get(f"{name}_cam_serial")}
    return {}


def _serials_of_types(file: h5py.File) -> dict[str, str]:
    """Tell cameras apart by their type: 0 is on the hand, others stand beside the robot."""
    types = group_at(file, "observation/camera_type")
    hands = {serial: bool((array_at(types, serial) == 0).all()) for serial in sorted(types)}
    wrist = [serial for serial, hand in hands.items() if hand][:1]
    others = [serial for serial, hand in hands.items() if not hand][:2]
    return dict(zip(("wrist",), wrist, strict=False)) | dict(zip(("ext1", "ext2"), others, strict=False))


def _either(file: h5py.File, *paths: str) -> str:
    """Return the path that exists: versions of the platform differ between plural and singular."""
    return next((path for path in paths if member(file, path) is not None), paths[0])


def _sized(file: h5py.File, path: str, width: int) -> Array:
    values = matrix_at(file, path)
    if values.shape[1] != width:
        raise DataError(f"{place(file, path)} has {values.shape[1]} columns, expected {width}.")
    return values


def _flags(file: h5py.File, path: str, rows: int, *, default: bool) -> Array:
    if member(file, path) is None:
        return np.full(rows, default)
    values = matrix(array_at(file, path), place(file, path))
    if len(values) < rows or values.shape[1] != 1:
        raise DataError(f"{place(file, path)} has shape {values.shape}, expected {rows} flags.")
    return values[:rows, 0] != 0


def _succeeded(folder: Path, file: h5py.File) -> bool | None:
    outcomes = {"success": True, "failure": False}
    marks = [*(flag for flag in outcomes if attribute(file, flag)), *folder.parts[::-1]]
    return next((outcomes[mark] for mark in marks if mark in outcomes), None)


def _recognises(path: Path) -> bool:
    return any(_TRAJECTORY in files for _, _, files in os.walk(path))


# Last: to find an episode all folders must be walked through.
FORMAT = ImportFormat(
    "droid",
    DroidSource,
    _recognises,
    rank=6,
    options=("trim",),
    looks_for=f"a folder with {_TRAJECTORY} in it or anywhere below",
)
