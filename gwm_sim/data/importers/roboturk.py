"""RoboTurk: the recordings of real Sawyer arms, and a clear word on the simulation pilot.

    /data/<user>/<demo>     attrs: front_rgb_video_file, top_rgb_video_file
        robot_observation/eef_poses (T, 7: xyz [m], quaternion xyzw)     eef_times (T,) [s]
        robot_observation/joint_states_gripper (T, 3: position, velocity, effort)

Row i belongs to frame i of the videos; where they differ by a frame or two, those are dropped at the end. Commands were
not stored in a usable form, so an action is what happened: the change of the end-effector pose, and where the gripper
went.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import h5py
import numpy as np

from gwm_sim.data.conversion import rotations
from gwm_sim.data.conversion.resampling import paired, rate_of
from gwm_sim.data.importers import hdf5
from gwm_sim.data.importers.source import (
    AS_STORED,
    Action,
    Column,
    ImportFormat,
    Layout,
    Recording,
    SourceOptions,
    counted,
    listed,
)
from gwm_sim.data.pictures.videos import frame_count, frames, inside
from gwm_sim.data.reading.checks import Array, moments
from gwm_sim.errors import ConfigError, DataError

_SLACK = 2
"""Rows by which numbers and films of a demo are known to differ."""

_CAMERAS = ("front", "top")
_OBSERVATION = "robot_observation"
_TIMES = f"{_OBSERVATION}/eef_times"


class RoboTurkSource(hdf5.Hdf5Source):
    """Demos of all users in the aligned files of a folder, in the order of user and time."""

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """List the demos; those whose operator recorded nothing are passed over."""
        self.options = options
        if options.source_fps is not None:
            raise ConfigError("--source-fps means nothing for roboturk: its files say when every row was recorded.")
        self._root = path if path.is_dir() else path.parent
        self._demos = [(file, *demo) for file in hdf5.hdf5_files(path) for demo in self._demos_of(file)]
        if not self._demos:
            raise DataError(f"{path} holds no /data/<user>/<demo> with {_OBSERVATION}: it is no RoboTurk recording.")
        counts = Counter(file.name.removesuffix(file.suffix) for file, _, _ in self._demos)
        if len(counts) > 1:
            named = listed(f"{name} ({counted(count, 'demo')})" for name, count in counts.items())
            self.remark(f"these are recordings of several tasks: {named}")
        first = self._demo(0)
        cameras = tuple(name for name in _CAMERAS if hdf5.text_attribute(first, f"{name}_rgb_video_file"))
        if not cameras:
            raise DataError(f"{hdf5.place(first)} names no video: it has no attribute front_rgb_video_file.")
        self.layout = Layout(
            robot="Sawyer",
            rate=rate_of(_times(first), hdf5.place(first, _TIMES)),
            telemetry=(
                *(Column(f"eef_pos_{axis}", "m") for axis in "xyz"),
                *(Column(f"eef_quat_{axis}") for axis in "wxyz"),
                Column("gripper", "m"),
            ),
            actions=(
                *(Action(f"d{axis}", "m", "delta") for axis in "xyz"),
                *(Action(f"da{axis}", "rad", "delta") for axis in "xyz"),
                Action("gripper", "m", "target"),
            ),
            cameras=cameras,
            effector=(0, 1, 2),
            gripper=(7,),
        )

    def __len__(self) -> int:
        return len(self._demos)

    def _demos_of(self, path: Path) -> list[tuple[str, str]]:
        data = hdf5.group_at(self._open(path), "data")
        if any(_is_pilot(hdf5.member(data, name)) for name in data):
            raise DataError(
                f"{path} is RoboTurk's simulation pilot: it holds simulator states and no images. Render it with "
                "robomimic's convert_roboturk_pilot.py and dataset_states_to_obs.py, then import it as robomimic. "
                "The recordings of real robots, and the port lerobot/roboturk, hold images."
            )
        users = ((name, hdf5.member(data, name)) for name in sorted(data))
        return [
            (name, demo)
            for name, user in users
            if isinstance(user, h5py.Group)
            for demo in sorted(user, key=lambda demo: (len(demo), demo))
            if hdf5.member(user, f"{demo}/{_OBSERVATION}") is not None
        ]

    def _demo(self, k: int) -> h5py.Group:
        path, user, demo = self._demos[k]
        return hdf5.group_at(self._open(path), f"data/{user}/{demo}")

    def advice(self, k: int) -> str:
        """Name the demo that is to be deleted."""
        path, user, demo = self._demos[k]
        return hdf5.how_to_delete(path, f"data/{user}/{demo}")

    def _recording(self, k: int) -> Recording:
        demo = self._demo(k)
        further = [n for n in _CAMERAS if hdf5.text_attribute(demo, f"{n}_rgb_video_file")]
        if further := [name for name in further if name not in self.layout.cameras]:
            self.remark(f"camera {listed(further)}, which the first demo lacks, is left out", hdf5.place(demo))
        poses = hdf5.matrix_at(demo, f"{_OBSERVATION}/eef_poses")
        gripper = hdf5.matrix_at(demo, f"{_OBSERVATION}/joint_states_gripper")[:, :1]
        times = _times(demo)
        if not len(poses) == len(gripper) == len(times) or poses.shape[1] != 7:
            raise DataError(
                f"{hdf5.place(demo)}: eef_poses {poses.shape}, eef_times {times.shape} and joint_states_gripper "
                f"{gripper.shape} do not fit together."
            )
        counts = {camera: frame_count(self._video(k, camera)) for camera in self.layout.cameras}
        rows = paired(self, hdf5.place(demo), len(poses), counts, slack=_SLACK)
        position, quaternion, gripper = poses[:rows, :3], poses[:rows, 3:], gripper[:rows]
        quaternion = rotations.from_xyzw(quaternion, hdf5.place(demo, f"{_OBSERVATION}/eef_poses"))
        return Recording(
            where=hdf5.place(demo),
            telemetry=np.concatenate([position, quaternion, gripper], axis=1),
            actions=np.concatenate([np.diff(position, axis=0), rotations.changes(quaternion), gripper[1:]], axis=1),
            times=times[:rows],
        )

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        return frames(self._video(k, camera), rows)

    def _video(self, k: int, camera: str) -> Path:
        """Find a video: beside the file or under `dataset_videos`, with or without the first folder of its path."""
        demo = self._demo(k)
        where = f"{hdf5.place(demo)}, attribute {camera}_rgb_video_file"
        reference = hdf5.text_attribute(demo, f"{camera}_rgb_video_file")
        if not reference:
            raise DataError(f"{where} is missing.")
        short = "/".join(PurePosixPath(reference).parts[1:])
        below = ("", "dataset_videos/", *(f"dataset_videos/{folder}/" for folder in self._video_folders()))
        for candidate in (base + name for name in (reference, short) if name for base in below):
            if not reference.startswith("/") and (self._root / candidate).is_file():
                return inside(self._root, candidate, where)
        return inside(self._root, reference, where)  # says what is wrong with it

    def _video_folders(self) -> list[str]:
        videos = self._root / "dataset_videos"
        return sorted(folder.name for folder in videos.iterdir() if folder.is_dir()) if videos.is_dir() else []


def _times(demo: h5py.Group) -> Array:
    return moments(hdf5.array_at(demo, _TIMES), hdf5.place(demo, _TIMES))


def _is_pilot(item: object) -> bool:
    """Return whether a member of /data is a demo of the simulation pilot."""
    return isinstance(item, h5py.Group) and ("gripper_actuations" in item or "joint_velocities" in item)


def _recognises(path: Path) -> bool:
    """Return whether `path` looks like a RoboTurk file or folder, the pilot included."""
    with hdf5.first_data(path) as data:
        members = [] if data is None else [hdf5.member(data, name) for name in list(data)[:3]]
        demos = [hdf5.member(user, name) for user in members if isinstance(user, h5py.Group) for name in list(user)[:1]]
        real = any(isinstance(demo, h5py.Group) and _OBSERVATION in demo for demo in demos)
        return real or any(_is_pilot(item) for item in members)


# Before robomimic, whose raw recordings the pilot looks like.
FORMAT = ImportFormat(
    "roboturk",
    RoboTurkSource,
    _recognises,
    rank=0,
    options=("trim",),
    looks_for=f"an .hdf5 file, or a folder with one, with /data/<user>/<demo>/{_OBSERVATION}",
)
