"""robomimic's HDF5, which MimicGen, Isaac Lab and others write too.

    /data                  attrs: env_args (JSON: env_name, env_kwargs.control_freq, controller_configs)
    /data/demo_10          attrs: num_samples = N, [task, where gwm_sim wrote it]
        actions (N, A)     rewards (N,)     obs/<key>, next_obs/<key> (N, ...)
    /mask/<key>            names of the demos of a filter key, such as train

obs[t] and action t lead to next_obs[t]. Where `next_obs` was left out to save space, the last action leads to nothing
that was stored and is left out.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py

from gwm_sim.data.importers import hdf5
from gwm_sim.data.importers.robomimic_files import LIBERO_PICTURES, Signal, masks_in, observed, signals_in
from gwm_sim.data.importers.source import (
    AS_STORED,
    Action,
    ImportFormat,
    Layout,
    Recording,
    SourceOptions,
    counted,
    listed,
    standing,
)
from gwm_sim.data.pictures.depth import DepthMap
from gwm_sim.data.reading import robosuite
from gwm_sim.data.reading.checks import Array, brief, join_columns
from gwm_sim.data.reading.masks import members_of
from gwm_sim.errors import ConfigError, DataError


@dataclass(frozen=True)
class _Environment:
    """What a file says of how its demos were recorded."""

    name: str
    rate: float | None
    actions: tuple[Action, ...]
    task: str | None
    instruction: str | None
    details: dict[str, str]
    """What else makes a difference."""


class RobomimicSource(hdf5.Hdf5Source):
    """Demos of one file, or of several files of the same robot in one folder."""

    camera_suffix = "_image"
    axis_angles: tuple[str, ...] = ()
    default_controller: str | None = None

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """Read the structure of all files and the columns of the first demo."""
        self.options = options
        demos = [(file, name) for file in hdf5.hdf5_files(path) for name in self._demos_of(file)]
        if not demos:
            raise DataError(f"{path} holds no demo. Is the recording finished?")
        masks = {file: masks_in(self._open(file)) for file in dict.fromkeys(file for file, _ in demos)}
        self._masks, remarks = members_of(masks, demos, options.mask)
        for remark in remarks:
            self.remark(remark)
        self._demos = [demo for demo in demos if options.mask is None or options.mask in self._masks[demo]]
        first = self._demo(0)
        self._signals = self._find_signals(first)
        self._environments: dict[Path, _Environment] = {}
        for k, (file, _) in enumerate(self._demos):
            if file not in self._environments:
                self._environments[file] = self._environment(self._demo(k))
        self._compare()
        self.layout = self._find_layout(self._demo(0))

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

    def _find_signals(self, demo: h5py.Group) -> tuple[Signal, ...]:
        return signals_in(hdf5.group_at(demo, "obs"), self.axis_angles)

    def _find_layout(self, demo: h5py.Group) -> Layout:
        observations = hdf5.group_at(demo, "obs")
        pictures, depths = self._find_views(observations)
        if not pictures:
            raise DataError(
                f"{hdf5.place(observations)} holds no pictures, such as uint8 (N, H, W, 3). "
                "Make them with robomimic's dataset_states_to_obs.py --camera_names agentview."
            )
        columns = tuple(column for signal in self._signals for column in signal.columns())
        names = [column.name for column in columns]
        eef = next((name[:-2] for name in names if re.search(r"(eef|ee)_pos_x$", name)), None)
        fingers = [name for name in names if re.search(r"gripper_(qpos|states)(_\d+)?$", name)]
        environment = self._environments[self._demos[0][0]]
        robots = dict.fromkeys(environment.name for environment in self._environments.values())
        return Layout(
            robot=listed(robots),
            rate=self.options.source_fps or environment.rate,
            telemetry=columns,
            actions=environment.actions,
            cameras=tuple(map(self._camera, pictures)),
            depth=tuple(depths),
            effector=tuple(names.index(f"{eef}_{axis}") for axis in "xyz") if eef else (),
            gripper=tuple(map(names.index, fingers)) if len(fingers) <= 2 else (),  # more are joints of a hand [rad]
            task=environment.task,
        )

    def _find_views(self, observations: h5py.Group) -> tuple[list[str], dict[str, DepthMap]]:
        """Return the keys of pictures, and the depth maps by camera."""
        members = {key: hdf5.member(observations, key) for key in sorted(observations)}
        pictures, depths, remarks = hdf5.sort_views(members, hdf5.place(observations))
        for remark in remarks:
            self.remark(remark)
        self._depths = {self._camera(key): depth for key, depth in depths.items()}
        return pictures, self._depths

    def _camera(self, key: str) -> str:
        return key.removesuffix(self.camera_suffix)

    def _environment(self, demo: h5py.Group) -> _Environment:
        """Read what a file says, from one of its demos."""
        args = hdf5.json_attribute(demo.parent, "env_args")
        name = str(args.get("env_name") or hdf5.text_attribute(demo.parent, "env_name") or "robomimic")
        robots = _object(args, "env_kwargs").get("robots")
        return _Environment(
            name=name,
            rate=self._rate(demo, args),
            actions=self._action_columns(demo, args),
            task=_slug(self._instruction(demo.parent) or name),
            instruction=self._instruction(demo.parent),
            details={
                "robot": brief(robots or "unsaid"),
                "version": brief(args.get("env_version") or "unsaid"),
                "observations": listed(sorted(hdf5.group_at(demo, "obs"))),
            },
        )

    def _instruction(self, data: h5py.Group) -> str | None:
        """Return what all demos of a file were told to do, in words, where it tells their tasks apart."""
        return None

    def _compare(self) -> None:
        """Refuse files that no schema fits together, and name what else differs between them."""
        counts = Counter(file for file, _ in self._demos)
        (first, one), *others = self._environments.items()
        for file, other in others:
            if other.rate != one.rate and self.options.source_fps is None:
                rates = [f"{rate:g} Hz" if rate else "a rate that it does not say" for rate in (one.rate, other.rate)]
                raise DataError(
                    f"{first} was recorded at {rates[0]}, {file} at {rates[1]}: import each on its own, at one --fps."
                )
            if other.actions != one.actions:
                told = [listed(_told(action) for action in file.actions) for file in (one, other)]
                raise DataError(f"{first} has actions {told[0]}; {file} has {told[1]}. Import each on its own.")
        for what in ("environment", "task", *one.details):
            shares: Counter[str] = Counter()
            for file, other in self._environments.items():
                told_of = {"environment": other.name, "task": str(other.task)} | other.details
                shares[told_of[what]] += counts[file]
            if len(shares) > 1:
                said = listed(f"{value} ({counted(count, 'demo')})" for value, count in shares.items())
                own = ": the labels of an episode are those of its own" if what == "task" else ""
                self.remark(f"the files differ in their {what}, {said}{own}")

    def _rate(self, demo: h5py.Group, args: dict[str, Any]) -> float | None:
        rate = _object(args, "env_kwargs").get("control_freq")
        if rate is None:
            return None
        if not isinstance(rate, int | float) or not 0 < rate < 10_000:
            where = f"{hdf5.place(demo.parent)}: env_args"
            raise DataError(f"{where} gives control_freq {brief(rate)}, expected a rate in Hz.")
        return float(rate)

    def _action_columns(self, demo: h5py.Group, args: dict[str, Any]) -> tuple[Action, ...]:
        """Name the actions after the controllers of robosuite, or by numbers where these do not tell."""
        width = hdf5.matrix_at(demo, "actions").shape[1]
        kwargs = _object(args, "env_kwargs")
        if not kwargs.get("controller_configs") and self.default_controller:
            kwargs = kwargs | {"controller_configs": {"type": self.default_controller}}
        observations = hdf5.group_at(demo, "obs")
        items = ((key, hdf5.member(observations, key)) for key in observations if key.startswith("robot"))
        observed = {key: math.prod(item.shape[1:]) for key, item in items if isinstance(item, h5py.Dataset)}
        named, reason = robosuite.name_actions(kwargs, str(args.get("env_version") or ""), width, observed)
        if reason:
            self.remark(f"{reason}; they are numbered, and only --actions can say how they add up")
        return named or tuple(Action(f"action_{i}") for i in range(width))

    def _recording(self, k: int) -> Recording:
        demo = self._demo(k)
        where = hdf5.place(demo)
        if self._find_signals(demo) != self._signals:
            raise DataError(f"{where}/obs holds other telemetry than the first demo. Import it on its own.")
        actions = hdf5.matrix_at(demo, "actions")
        telemetry = join_columns({signal.key: signal.read(demo) for signal in self._signals}, hdf5.place(demo, "obs"))
        if len(telemetry) - len(actions) not in (0, 1):
            raise DataError(f"{where} has {len(actions)} actions, but observations of {len(telemetry)} rows.")
        samples = hdf5.attribute(demo, "num_samples")
        if samples is not None and str(samples) != str(len(actions)):
            raise DataError(f"{where} says num_samples {brief(samples)}, but has {len(actions)} actions.")
        rewards = None if hdf5.is_unjudged_export(demo) else hdf5.rows_at(demo, "rewards", len(actions))
        told = hdf5.attribute(demo, "succeeded")
        actions, stands = self._aligned(where, len(telemetry), actions, rewards)
        environment = self._environments[self._demos[k][0]]
        return Recording(
            where=where,
            telemetry=telemetry,
            actions=actions,
            reward=stands,
            success=None if stands is None else stands >= 1,
            succeeded=bool(told) if told is not None else None if rewards is None else bool((rewards >= 1).any()),
            instruction=hdf5.text_attribute(demo, "instruction") or environment.instruction,
            masks=self._masks[self._demos[k]],
            task=_task(hdf5.text_attribute(demo, "task")) or environment.task,
        )

    def _aligned(self, where: str, rows: int, actions: Array, rewards: Array | None) -> tuple[Array, Array | None]:
        """Return the actions between rows, and the reward at each: robomimic's is that of the state after action t."""
        return actions[: rows - 1], None if rewards is None else standing(rewards, rows)

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        suffixed = camera + self.camera_suffix
        key = camera if hdf5.member(self._demo(k), f"obs/{suffixed}") is None else suffixed
        return self._views(k, key, rows, hdf5.pictures)

    def _depth(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        depth = self._depths[camera]
        return self._views(k, depth.name, rows, partial(hdf5.distances, scale=depth.scale))

    def _views(self, k: int, key: str, rows: Array, read: Callable[..., Iterator[Array]]) -> Iterator[Array]:
        demo = self._demo(k)
        count = len(hdf5.dataset_at(demo, "actions"))
        yield from read(hdf5.dataset_at(demo, f"obs/{key}"), rows[rows < count], count)
        if (after := rows[rows >= count]).size:
            yield from read(hdf5.dataset_at(demo, f"next_obs/{key}"), after - 1, count)


def _object(value: dict[str, Any], key: str) -> dict[str, Any]:
    item = value.get(key)
    return item if isinstance(item, dict) else {}


def _told(action: Action) -> str:
    limits = "" if action.low is None and action.high is None else f" [{action.low}, {action.high}]"
    return f"{action.name} ({action.kind or 'unknown kind'}{limits})"


def _task(name: str | None) -> str | None:
    """Return the name of a task as it is, where it can name one."""
    return name if name and re.fullmatch(r"[\w-]+", name) else None


def _slug(name: str) -> str | None:
    """Make the name of a task, None where nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or None


def _recognises(path: Path) -> bool:
    """Return whether `path` looks like robomimic's layout, raw recordings included."""
    keys = observed(path)
    return keys is not None and LIBERO_PICTURES not in keys


FORMAT = ImportFormat(
    "robomimic",
    RobomimicSource,
    _recognises,
    rank=1,
    options=("mask",),
    looks_for="an .hdf5 file, or a folder of such, with /data/demo_0",
)
