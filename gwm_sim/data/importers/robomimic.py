"""robomimic's HDF5, which MimicGen, Isaac Lab and others write too.

    /data                  attrs: env_args (JSON: env_name, env_kwargs.control_freq, controller_configs)
    /data/demo_10          attrs: num_samples = N
        actions (N, A)     rewards (N,)     obs/<key>, next_obs/<key> (N, ...)

obs[t] and action t lead to next_obs[t]. Where `next_obs` was left out to save space, the last action leads to nothing
that was stored and is left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gwm_sim.data.importers import hdf5
from gwm_sim.data.importers.source import (
    AS_STORED,
    Action,
    Column,
    ImportFormat,
    Kind,
    Layout,
    Recording,
    SourceOptions,
)
from gwm_sim.data.reading import rotations
from gwm_sim.data.reading.checks import Array, brief, join_columns, rows_of
from gwm_sim.errors import ConfigError, DataError

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

_CONTROLLERS: dict[str, tuple[tuple[str, ...], Kind]] = {
    "OSC_POSE": (("x", "y", "z", "ax", "ay", "az"), "delta"),
    "OSC_POSITION": (("x", "y", "z"), "delta"),
    "IK_POSE": (("x", "y", "z", "ax", "ay", "az"), "delta"),
    "JOINT_POSITION": (tuple(f"joint_{i}" for i in range(7)), "delta"),
    "JOINT_VELOCITY": (tuple(f"joint_{i}" for i in range(7)), "rate"),
}
"""What robosuite's controllers take before the gripper, in units of their own limits."""


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


class RobomimicSource(hdf5.Hdf5Source):
    """Demos of one file, or of several files of the same robot in one folder."""

    camera_suffix = "_image"
    axis_angles: tuple[str, ...] = ()
    default_controller: str | None = None

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """Read the structure of all files and the columns of the first demo."""
        self.options = options
        self._demos = [(file, name) for file in hdf5.hdf5_files(path) for name in self._demos_of(file)]
        if not self._demos:
            raise DataError(f"{path} holds no demo. Is the recording finished?")
        first = self._demo(0)
        self._signals = self._find_signals(hdf5.group_at(first, "obs"))
        self._args = hdf5.json_attribute(first.parent, "env_args")
        self.layout = self._find_layout(first)

    def __len__(self) -> int:
        return len(self._demos)

    def advice(self, k: int) -> str:
        """Name the demo that is to be deleted."""
        path, name = self._demos[k]
        return hdf5.how_to_delete(path, f"data/{name}")

    def _demos_of(self, path: Path) -> list[str]:
        """List the demos of a file in numeric order: demo_10 comes after demo_9."""
        data = hdf5.group_at(self._open(path), "data")
        if "gwm_schema" in data.attrs:
            raise ConfigError(f"{path} is an episode file already: give it to gwm inspect or gwm train as it is.")
        return sorted((name for name in data if re.fullmatch(r"demo_\d{1,9}", name)), key=lambda name: int(name[5:]))

    def _demo(self, k: int) -> h5py.Group:
        path, name = self._demos[k]
        demo = hdf5.group_at(self._open(path), f"data/{name}")
        if hdf5.member(demo, "obs") is None:
            raise DataError(
                f"{hdf5.place(demo)} has no observations: this is a raw recording of simulator states. "
                "Run robomimic's dataset_states_to_obs.py with --camera_names first."
            )
        return demo

    def _find_signals(self, observations: h5py.Group) -> tuple[Signal, ...]:
        signals = []
        for key in sorted(observations):
            item = hdf5.member(observations, key)
            if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fi" or item.ndim not in (1, 2):
                continue
            width = int(item.shape[1]) if item.ndim == 2 else 1
            if _NO_TELEMETRY.search(key) or width == 0:
                continue
            signals.append(Signal(key, width, self._rotation(key, width)))
        if not signals:
            raise DataError(f"{hdf5.place(observations)} holds no telemetry, such as robot0_eef_pos.")
        return tuple(signals)

    def _rotation(self, key: str, width: int) -> str | None:
        if key in self.axis_angles and width == 3:
            return "axis-angle"
        if "quat" not in key or width != 4:
            return None
        return "xyzw" if re.match(r"robot\d+_", key) else "unordered"

    def _find_layout(self, demo: h5py.Group) -> Layout:
        observations = hdf5.group_at(demo, "obs")
        pictures = [key for key in sorted(observations) if hdf5.is_picture(hdf5.member(observations, key))]
        if not pictures:
            raise DataError(
                f"{hdf5.place(observations)} holds no pictures (uint8, N x H x W x 3). "
                "Make them with robomimic's dataset_states_to_obs.py --camera_names agentview."
            )
        columns = tuple(column for signal in self._signals for column in signal.columns())
        names = [column.name for column in columns]
        eef = next((name[:-2] for name in names if re.search(r"(eef|ee)_pos_x$", name)), None)
        fingers = [name for name in names if re.search(r"gripper_(qpos|states)(_\d+)?$", name)]
        robot = str(self._args.get("env_name") or hdf5.text_attribute(demo.parent, "env_name") or "robomimic")
        return Layout(
            robot=robot,
            rate=self._rate(demo),
            telemetry=columns,
            actions=self._action_columns(hdf5.matrix_at(demo, "actions").shape[1]),
            cameras=tuple(key.removesuffix(self.camera_suffix) for key in pictures),
            effector=tuple(names.index(f"{eef}_{axis}") for axis in "xyz") if eef else (),
            gripper=tuple(map(names.index, fingers)) if len(fingers) <= 2 else (),  # more are joints of a hand [rad]
            task=re.sub(r"[^a-z0-9]+", "-", robot.lower()).strip("-") or None,
        )

    def _rate(self, demo: h5py.Group) -> float | None:
        rate = _object(self._args, "env_kwargs").get("control_freq")
        if rate is None:
            return None
        if not isinstance(rate, int | float) or not 0 < rate < 10_000:
            where = f"{hdf5.place(demo.parent)}: env_args"
            raise DataError(f"{where} gives control_freq {brief(rate)}, expected a rate in Hz.")
        return float(rate)

    def _action_columns(self, width: int) -> tuple[Action, ...]:
        """Name the actions after the controllers of the arms; those of an unknown controller get numbers."""
        arms = _controllers(_object(self._args, "env_kwargs").get("controller_configs"))
        if not arms and self.default_controller:
            arms = [{"type": self.default_controller}]
        actions: list[Action] = []
        for i, arm in enumerate(arms):
            names, kind = _CONTROLLERS[arm["type"]]
            absolute = arm.get("input_type") == "absolute" or arm.get("control_delta") is False
            prefix = f"arm{i}_" if len(arms) > 1 else ""
            low, high = (None, None) if absolute else (-1.0, 1.0)
            moves = "target" if absolute else kind
            mark = "d" if moves == "delta" else ""
            actions += [Action(f"{prefix}{mark}{name}", "", moves, low, high) for name in names]
            actions.append(Action(f"{prefix}gripper", "", "target", -1.0, 1.0))
        if len(actions) != width:
            return tuple(Action(f"action_{i}") for i in range(width))
        return tuple(actions)

    def _recording(self, k: int) -> Recording:
        demo = self._demo(k)
        where = hdf5.place(demo)
        if self._find_signals(hdf5.group_at(demo, "obs")) != self._signals:
            raise DataError(f"{where}/obs holds other telemetry than the first demo. Import it on its own.")
        actions = hdf5.matrix_at(demo, "actions")
        telemetry = join_columns({signal.key: signal.read(demo) for signal in self._signals}, hdf5.place(demo, "obs"))
        if len(telemetry) - len(actions) not in (0, 1):
            raise DataError(f"{where} has {len(actions)} actions, but observations of {len(telemetry)} rows.")
        samples = hdf5.attribute(demo, "num_samples")
        if samples is not None and str(samples) != str(len(actions)):
            raise DataError(f"{where} says num_samples {brief(samples)}, but has {len(actions)} actions.")
        rewards = None
        if hdf5.member(demo, "rewards") is not None:
            rewards = rows_of(hdf5.matrix_at(demo, "rewards"), len(actions), f"{where}/rewards")
        actions, stands = self._aligned(where, len(telemetry), actions, rewards)
        return Recording(
            where=where,
            telemetry=telemetry,
            actions=actions,
            reward=stands,
            success=None if stands is None else stands >= 1,
            succeeded=None if rewards is None else bool((rewards >= 1).any()),
        )

    def _aligned(self, where: str, rows: int, actions: Array, rewards: Array | None) -> tuple[Array, Array | None]:
        """Return the actions between rows, and the reward at each: robomimic's is that of the state after action t."""
        stands = None if rewards is None else np.concatenate([np.zeros(1, np.float32), rewards])[:rows]
        if stands is not None and rewards is not None and rewards[-1] >= 1:
            stands[-1] = rewards[-1]  # a success after the last row, which most recordings end with, is not lost
        return actions[: rows - 1], stands

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        demo = self._demo(k)
        suffixed, count = camera + self.camera_suffix, len(hdf5.dataset_at(demo, "actions"))
        key = camera if hdf5.member(demo, f"obs/{suffixed}") is None else suffixed
        yield from hdf5.pictures(hdf5.dataset_at(demo, f"obs/{key}"), rows[rows < count], count)
        if (after := rows[rows >= count]).size:
            yield from hdf5.pictures(hdf5.dataset_at(demo, f"next_obs/{key}"), after - 1, count)


def _object(value: dict[str, Any], key: str) -> dict[str, Any]:
    item = value.get(key)
    return item if isinstance(item, dict) else {}


def _controllers(config: Any) -> list[dict[str, Any]]:
    """Find the arm controllers in robosuite's configuration: flat or a list before 1.5, nested by body part since."""
    if isinstance(config, list):
        return [arm for item in config for arm in _controllers(item)]
    if not isinstance(config, dict):
        return []
    if isinstance(config.get("type"), str) and config["type"] in _CONTROLLERS:
        return [config]
    parts = _object(config, "body_parts")
    return [arm for side in ("right", "left") for arm in _controllers(parts.get(side))]


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


def _recognises(path: Path) -> bool:
    """Return whether `path` looks like robomimic's layout, raw recordings included."""
    keys = observed(path)
    return keys is not None and LIBERO_PICTURES not in keys


FORMAT = ImportFormat(
    "robomimic", RobomimicSource, _recognises, rank=1, looks_for="an .hdf5 file, or a folder of such, with /data/demo_0"
)
