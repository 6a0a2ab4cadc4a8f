"""What lies in files of robomimic's layout: observations that a robot reports, and masks."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from gwm_sim.data.conversion import rotations
from gwm_sim.data.importers import hdf5
from gwm_sim.data.importers.source import Column
from gwm_sim.data.reading.checks import MAX_ROWS, Array, reading
from gwm_sim.errors import DataError

_NO_TELEMETRY = re.compile(r"(^|_)object|_cos$|_sin$|_depth$|^ee_states$")
"""Observations that no robot reports, or that repeat others: simulator state, angles twice, depth, ee_pos + ee_ori."""

LIBERO_PICTURES = "agentview_rgb"
"""By this observation LIBERO's files are told apart."""

_UNITS = (
    (r"joint_(pos|states)", "rad"),
    (r"joint_vel", "rad/s"),
    (r"gripper_(qpos|states)|(eef|ee)_pos", "m"),
    (r"gripper_qvel|(eef|ee)_vel_lin", "m/s"),
    (r"(eef|ee)_vel_ang", "rad/s"),
)

_ROTATIONS = {
    "xyzw": rotations.from_xyzw,
    "axis-angle": rotations.from_axis_angle,
    "unordered": rotations.continuous,
}
"""What rotations become. The order of a quaternion is known from robosuite only, Isaac Lab has another."""


@dataclass(frozen=True)
class Signal:
    """One low-dimensional observation."""

    key: str
    width: int
    rotation: str | None = None
    """How a rotation is stored, see `_ROTATIONS`."""

    def columns(self) -> tuple[Column, ...]:
        """Name its columns."""
        if self.rotation in ("xyzw", "axis-angle"):
            return tuple(Column(f"{self.key}_{axis}") for axis in "wxyz")
        unit = next((unit for pattern, unit in _UNITS if re.search(pattern, self.key)), "")
        if self.width == 3 and unit in ("m", "m/s"):
            return tuple(Column(f"{self.key}_{axis}", unit) for axis in "xyz")
        return tuple(Column(f"{self.key}_{i}" if self.width > 1 else self.key, unit) for i in range(self.width))

    def read(self, demo: h5py.Group) -> Array:
        """Read it from every observation of a demo and, where stored, from the one after the last action."""
        values, where = hdf5.matrix_at(demo, f"obs/{self.key}"), hdf5.place(demo, f"obs/{self.key}")
        if hdf5.member(demo, f"next_obs/{self.key}") is not None:
            following = hdf5.matrix_at(demo, f"next_obs/{self.key}")
            if following.shape != values.shape:
                raise DataError(f"{where} is {values.shape}, but its next_obs is {following.shape}.")
            values = np.concatenate([values, following[-1:]])
        return _ROTATIONS[self.rotation](values, where) if self.rotation else values


def signals_in(observations: h5py.Group, axis_angles: Collection[str] = ()) -> tuple[Signal, ...]:
    """Find what a robot reports among observations; `axis_angles` are those that are known to be rotation vectors."""
    signals = []
    for key in sorted(observations):
        item = hdf5.member(observations, key)
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fi" or item.ndim not in (1, 2):
            continue
        width = int(item.shape[1]) if item.ndim == 2 else 1
        if _NO_TELEMETRY.search(key) or width == 0:
            continue
        signals.append(Signal(key, width, _rotation(key, width, axis_angles)))
    if not signals:
        raise DataError(f"{hdf5.place(observations)} holds no telemetry, such as robot0_eef_pos.")
    return tuple(signals)


def _rotation(key: str, width: int, axis_angles: Collection[str]) -> str | None:
    if key in axis_angles and width == 3:
        return "axis-angle"
    if "quat" not in key or width != 4:
        return None
    return "xyzw" if re.match(r"robot\d+_", key) else "unordered"


def masks_in(file: h5py.File) -> dict[str, list[str]]:
    """Return the names of demos under each filter key of a file, whether stored as bytes or as text."""
    group = hdf5.member(file, "mask")
    masks = {}
    for mask in sorted(group) if isinstance(group, h5py.Group) else ():
        dataset, where = hdf5.dataset_at(group, mask), hdf5.place(group, mask)
        with reading(where):
            is_text = dataset.dtype.kind == "S" or h5py.check_string_dtype(dataset.dtype) is not None
            if not is_text or dataset.ndim != 1 or len(dataset) > MAX_ROWS:
                raise DataError(f"{where} is {dataset.dtype} {dataset.shape}, expected a list of names of demos.")
            masks[mask] = [name.decode() if isinstance(name, bytes) else str(name) for name in dataset[:].tolist()]
    return masks


def observed(path: Path) -> tuple[str, ...] | None:
    """Return what the first demo of a file, or of a folder's first file, observes; None if it is not this layout.

    A file that gwm_sim wrote has this layout too, but is no foreign recording.
    """
    with hdf5.first_data(path) as data:
        demo = None if data is None else next((name for name in data if name.startswith("demo_")), None)
        if data is None or demo is None or "gwm_schema" in data.attrs:
            return None
        observations = hdf5.member(data, f"{demo}/obs")
        return tuple(observations) if isinstance(observations, h5py.Group) else ()
