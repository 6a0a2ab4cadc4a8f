"""What the actions of robosuite mean, from the controllers that the `env_args` of a recording describe.

Before 1.5 a controller is flat and drives every arm of its robot; there may be one for each robot. Since then a
composite one says what each part of the body is told:

    {"type": "BASIC", "body_parts": {"right": {"type": "OSC_POSE", "gripper": {...}}, "left": {...}, "torso": {...}}}

It may describe parts that the robot lacks, and of most it does not say how many numbers they take. What the robot has
is told by what it observes and by the width of the actions. Where that leaves no answer, or several, none is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import Any

import numpy as np

from gwm_sim.data.reading.checks import brief
from gwm_sim.data.recording import Action, Kind

_POSE = ("x", "y", "z", "ax", "ay", "az")
_CONTROLLERS: dict[str, tuple[tuple[str, ...], Kind]] = {
    "OSC_POSE": (_POSE, "delta"),
    "OSC_POSITION": (_POSE[:3], "delta"),
    "IK_POSE": (_POSE, "delta"),
    "JOINT_POSITION": ((), "delta"),
    "JOINT_VELOCITY": ((), "rate"),
    "JOINT_TORQUE": ((), "rate"),
}
"""What controllers take, in units of their own limits; of joints as many as there are."""

_ARMS = ("right", "left")
_USUAL_JOINTS = 7
_MOST_ROBOTS = 4
_HANDS = (3, 6)
"""Columns of grippers with more than one: hands of three fingers, and of five."""

_BASE_COLUMNS = 3
"""Forward, sideways and turn of a base on wheels."""

_WHOLE_BODY = "WHOLE_BODY"
"""How composite controllers are called that take the poses of the hands and move arms and trunk for them."""


@dataclass(frozen=True)
class _Part:
    """A part of the body that is told something."""

    name: str
    columns: tuple[Action, ...] = ()
    open: Action | None = None
    """What each column is like where nobody says how many there are."""


@dataclass(frozen=True)
class _Robot:
    """One robot as it is taken to be."""

    prefix: str
    arms: tuple[str, ...]
    joints: int
    """Joints of an arm."""
    trunk: bool
    """Whether it has what its controller describes beside the arms."""
    gripper: int
    """Columns of each gripper."""
    grippers_last: bool
    """Whether grippers come after all else, as since 1.5, or each after its arm."""


def name_actions(
    kwargs: Mapping[str, Any], version: str, width: int, observed: Mapping[str, int]
) -> tuple[tuple[Action, ...] | None, str]:
    """Name the columns of actions.

    Args:
        kwargs: What the environment was made with: `controller_configs`, `robots`, `gripper_types`.
        version: Version of robosuite; empty if unknown.
        width: Number of the columns.
        observed: Widths of what the robots report, by names such as `robot0_eef_pos`.

    Returns:
        The columns, or None where they are not certain, and then the reason in words; none where no controller of
        robosuite is described.
    """
    configs = kwargs.get("controller_configs")
    configs = [config for config in configs if isinstance(config, dict)] if isinstance(configs, list) else [configs]
    if not configs or not all(isinstance(config, dict) and config for config in configs):
        return None, ""
    expected = ""
    for trunk in (False, True):  # what is usual comes first: no more than the arms move
        found: list[tuple[Action, ...]] = []
        for gripper in _gripper_widths(kwargs, observed):
            for robots in _robots(kwargs, configs, version, observed, trunk, gripper):
                each = configs if len(configs) == len(robots) else configs[:1] * len(robots)
                parts = [part for robot, config in zip(robots, each, strict=True) for part in _parts(config, robot)]
                columns = _filled(parts, width)
                if columns is not None and columns not in found:
                    found.append(columns)
                expected = expected or _described(parts)
        if len(found) == 1:
            return found[0], ""
        if found:
            names = " or ".join(f"{columns[width // 2].name} (column {width // 2})" for columns in found)
            return None, f"the controllers of env_args leave open what the {width} actions are, such as {names}"
    if not expected:
        kinds = ", ".join(brief(config.get("type")) for config in configs)
        return None, f"env_args names the controller {kinds}, of which it is not known what its {width} actions are"
    return None, f"the actions have {width} columns, but the controllers of env_args take others: {expected}"


def _gripper_widths(kwargs: Mapping[str, Any], observed: Mapping[str, int]) -> tuple[int, ...]:
    """Return how many columns a gripper may take: one, or as many as hands take where enough joints are observed."""
    if "gripper_types" in kwargs and kwargs["gripper_types"] is None:
        return (0,)
    joints = [width for key, width in observed.items() if re.fullmatch(r"robot\d_(\w+_)?gripper_qpos", key)]
    if joints:
        return (1, *(width for width in _HANDS if width <= min(joints)))
    return (1, 0) if observed else (1,)


def _robots(
    kwargs: Mapping[str, Any],
    configs: Sequence[dict[str, Any]],
    version: str,
    observed: Mapping[str, int],
    trunk: bool,
    gripper: int,
) -> Iterator[list[_Robot]]:
    """Say what robots there may be: as many as are named or observed, and arms as observed or described."""
    named = kwargs.get("robots")
    seen = {int(match[1]) for key in observed if (match := re.match(r"robot(\d)_", key))}
    count = len(named) if isinstance(named, list) else 1 if isinstance(named, str) else len(seen)
    if count > _MOST_ROBOTS:
        return
    counts = (count,) if count else (len(configs),) if len(configs) > 1 else (1, 2)
    flat = not any("body_parts" in config for config in configs)
    modern = _version(version)
    orders = (modern,) if flat and modern is not None else (False, True) if flat else (True,)
    for count in counts:
        arms = [_arms(configs[min(i, len(configs) - 1)], observed, i) for i in range(count)]
        if trunk is False and any(f"robot{i}_base_pos" in observed for i in range(count)):
            continue  # it moves about
        for sides_of, last in product(product(*arms), orders):
            robots = []
            for i, sides in enumerate(sides_of):
                prefix = "" if count == 1 else f"arm{i}_" if len(sides) == 1 else f"robot{i}_"
                joints = observed.get(f"robot{i}_joint_pos", 0) // len(sides) or _USUAL_JOINTS
                robots.append(_Robot(prefix, sides, joints, trunk, gripper, last))
            yield robots


def _version(version: str) -> bool | None:
    """Return whether a version is 1.5 or later, None if it is not known."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) >= (1, 5) if match else None


def _arms(config: dict[str, Any], observed: Mapping[str, int], robot: int) -> list[tuple[str, ...]]:
    """Return which arms a robot may have."""
    sides = tuple(side for side in _ARMS if any(key.startswith(f"robot{robot}_{side}_") for key in observed))
    if sides:
        return [sides]
    if f"robot{robot}_eef_pos" in observed:
        return [_ARMS[:1]]
    described = [side for side in _ARMS if side in _body(config)]
    return [_ARMS[:1], _ARMS] if len(described) != 1 else [tuple(described)]


def _body(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a composite controller says of each part, in its order; nothing of a flat one."""
    parts = config.get("body_parts")
    flat: dict[str, Any] = {}
    for name, part in parts.items() if isinstance(parts, dict) else ():
        flat |= part if name == "arms" and isinstance(part, dict) else {name: part}
    return {name: part for name, part in flat.items() if isinstance(part, dict)}


def _moved(config: dict[str, Any]) -> list[Any]:
    """Name the parts that follow the hands, where a controller moves the whole body for them."""
    names = _specific(config).get("actuation_part_names") if _is_whole(config) else None
    return names if isinstance(names, list) else []


def _is_whole(config: dict[str, Any]) -> bool:
    return str(config.get("type")).startswith(_WHOLE_BODY)


def _specific(config: dict[str, Any]) -> dict[str, Any]:
    specific = config.get("composite_controller_specific_configs")
    return specific if isinstance(specific, dict) else {}


def _parts(config: dict[str, Any], robot: _Robot) -> list[_Part]:
    """Return the parts that a robot is told of, in the order of its actions; none where a controller is unknown."""
    body = _body(config) or {arm: config for arm in robot.arms}
    whole, moved = _is_whole(config), _moved(config)
    parts: dict[str, _Part] = {}
    if whole:
        parts |= {arm: _hand(_specific(config), arm, robot) for arm in robot.arms}
    for name, part in body.items():
        if name in _ARMS and not whole:
            if name in robot.arms:
                parts[name] = _arm(part, name, robot)
        elif name not in _ARMS and robot.trunk and name not in moved:
            parts[name] = _trunk_part(part, name, robot)
    if not all(arm in parts and parts[arm].columns for arm in robot.arms):
        return []
    grippers = {f"{arm}_gripper": _gripper(arm, robot) for arm in robot.arms}
    order = _specific(config).get("body_part_ordering")
    named = parts | grippers
    if isinstance(order, list) and all(name in order for name in named):
        ordered = [named[name] for name in map(str, order) if name in named]
    elif robot.grippers_last:
        ordered = [*parts.values(), *grippers.values()]
    else:
        ordered = [part for arm in robot.arms for part in (parts[arm], grippers[f"{arm}_gripper"])]
    if config.get("type") == "HYBRID_MOBILE_BASE":
        mode = Action(f"{robot.prefix}base_mode", "", "target", -1.0, 1.0)
        ordered.append(_Part("base mode", (mode,)))
    return ordered


def _prefix(arm: str, robot: _Robot) -> str:
    return robot.prefix + (f"{arm}_" if len(robot.arms) > 1 else "")


def _arm(config: dict[str, Any], arm: str, robot: _Robot) -> _Part:
    """Name what the controller of an arm takes; nothing where it is unknown."""
    kind = str(config.get("type"))
    if kind not in _CONTROLLERS:
        return _Part(f"{arm} {kind}")
    names, moves = _CONTROLLERS[kind]
    names = names or tuple(f"joint_{i}" for i in range(_size(config) or robot.joints))
    absolute = config.get("input_type") == "absolute" or config.get("control_delta") is False
    moves = "target" if absolute and moves == "delta" else moves
    mark, prefix, count = "d" if moves == "delta" else "", _prefix(arm, robot), len(names)
    if moves == "target":
        lows: list[float | None] = [None] * count  # not scaled by the limits
        highs = lows
    elif kind == "IK_POSE":
        reach = [*_numbers(config.get("ik_pos_limit"), 3), *_numbers(config.get("ik_ori_limit"), 3)]
        lows, highs = [None if limit is None else -limit for limit in reach], reach
    else:
        lows, highs = (_numbers(config.get(f"input_{end}", sign), count) for end, sign in (("min", -1), ("max", 1)))
    columns = [
        Action(f"{prefix}{mark}{name}", "", moves, low, high)
        for name, low, high in zip(names, lows, highs, strict=True)
    ]
    return _Part(f"{arm} {kind}", (*_impedance(config, prefix, 6 if kind.startswith("OSC") else count), *columns))


def _impedance(config: dict[str, Any], prefix: str, count: int) -> list[Action]:
    """Name how stiff and how damped an arm is told to be, before where it shall go."""
    told = {"variable": ("damping_ratio", "kp"), "variable_kp": ("kp",)}.get(str(config.get("impedance_mode")), ())
    columns = []
    for name in told:
        limits = config.get(f"{name}_limits")
        ends = limits if isinstance(limits, list) and len(limits) == 2 else (None, None)
        for i, (low, high) in enumerate(zip(*(_numbers(end, count) for end in ends), strict=True)):
            columns.append(Action(f"{prefix}{name}_{i}", "", "target", low, high))
    return columns


def _hand(specific: dict[str, Any], arm: str, robot: _Robot) -> _Part:
    """Name the pose of a hand that a whole body follows."""
    name = f"{arm} hand"
    if specific.get("ik_input_rotation_repr", "axis_angle") != "axis_angle" or specific.get("skip_wbc_action"):
        return _Part(name)
    kinds: dict[str, Kind] = {"delta": "delta", "absolute": "target"}
    kind = kinds.get(str(specific.get("ik_input_type")))
    mark = "d" if kind == "delta" else ""
    return _Part(name, tuple(Action(f"{_prefix(arm, robot)}{mark}{axis}", "", kind) for axis in _POSE))


def _trunk_part(config: dict[str, Any], name: str, robot: _Robot) -> _Part:
    """Name what torso, head, base or legs take; of those on joints nobody says how many there are."""
    kind = str(config.get("type"))
    absolute = config.get("input_type") == "absolute"
    moves = "target" if absolute else _CONTROLLERS[kind][1] if kind in _CONTROLLERS else None
    ends = (None, None) if absolute else (-1.0, 1.0)
    like = Action(f"{robot.prefix}{'d' if moves == 'delta' else ''}{name}", "", moves, *ends)
    size = _size(config) or (_BASE_COLUMNS if name == "base" and kind == "JOINT_VELOCITY" else 0)
    return _Part(f"{name} {kind}", _numbered(like, size)) if size else _Part(f"{name} {kind}", open=like)


def _gripper(arm: str, robot: _Robot) -> _Part:
    like = Action(f"{_prefix(arm, robot)}gripper", "", "target", -1.0, 1.0)
    return _Part(f"{arm} gripper", _numbered(like, robot.gripper))


def _numbered(like: Action, count: int) -> tuple[Action, ...]:
    return (like,) if count == 1 else tuple(replace(like, name=f"{like.name}_{i}") for i in range(count))


def _filled(parts: Sequence[_Part], width: int) -> tuple[Action, ...] | None:
    """Give the columns that are left to the parts that are open; None where they do not fit, or more than one way."""
    if not parts:
        return None
    left = width - sum(len(part.columns) for part in parts)
    # Neighbours that are told in the same way may share columns under one name, in whatever way they do.
    columns: list[Action] = []
    opened = 0
    for alike, run in groupby(parts, key=lambda part: part.open and replace(part.open, name="")):
        run_parts = list(run)
        if alike is None:
            columns += [column for part in run_parts for column in part.columns]
            continue
        opened += 1
        first = run_parts[0].open
        assert first is not None
        names = [first.name, *(part.name.split(" ")[0] for part in run_parts[1:])]
        columns += _numbered(replace(alike, name="_".join(names)), max(left, 0))
    fits = opened == 1 and left > 0 or opened == 0 and left == 0
    return tuple(columns) if fits else None


def _described(parts: Sequence[_Part]) -> str:
    return ", ".join(f"{part.name[:40]} {len(part.columns) or '?'}" for part in parts[:12])


def _size(config: dict[str, Any]) -> int:
    """Return how many numbers a controller takes, where its limits tell; else 0."""
    limits = (config.get(f"{way}_{end}") for way in ("output", "input") for end in ("max", "min"))
    return next((len(limit) for limit in limits if isinstance(limit, list)), 0)


def _numbers(value: object, count: int) -> list[float | None]:
    """Return a limit for each of some columns; None where the value gives none."""
    values = value if isinstance(value, list) and len(value) == count else [value] * count
    return [float(v) if isinstance(v, int | float) and np.isfinite(v) else None for v in values]
