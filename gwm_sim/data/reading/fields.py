"""What the numbers in robots' annotations are: names and units of usual fields, and what actions do to a pose."""

from collections.abc import Iterable

import numpy as np

from gwm_sim.data.reading.checks import Array
from gwm_sim.data.recording import Action, Column, Kind

POSE = tuple(Column(axis, "m") for axis in ("x", "y", "z")) + tuple(Column(a, "rad") for a in ("roll", "pitch", "yaw"))
_GRIPPER = Column("gripper")

_SAME = 1e-4
"""Difference [m] up to which recorded actions are what the states say [m]."""

_LONGEST_STEP = 0.2
"""Distance [m] that an arm is told to go in one step at most."""


def last_part(key: str) -> str:
    """Shorten `action.joint_position` to `joint_position`."""
    return key.rpartition(".")[2]


def names_of(columns: Iterable[Column]) -> list[str]:
    """Return the names of columns."""
    return [column.name for column in columns]


def as_action(column: Column) -> Action:
    """Return an action as it is, and another column as one of which nobody says how it adds up."""
    return column if isinstance(column, Action) else Action(column.name, column.unit)


def state_columns(key: str, values: Array) -> tuple[Column, ...]:
    """Name the numbers of a field (R, columns) that the robot reports."""
    last, width = last_part(key), values.shape[1]
    if last in ("state", "states") and width == 7:
        gripper = values[:, 6]
        if gripper.min() >= -0.01 and gripper.max() <= 1.01:  # else it is a seventh joint
            return (*POSE, _GRIPPER)
    return _known(last, width) or _numbered(last, width)


def action_columns(key: str, values: Array, pose: Array | None, reports: bool) -> tuple[tuple[Column, ...], str]:
    """Name the numbers of a field that the robot is told.

    Args:
        key: Name of the field.
        values: Its numbers in an episode, (R-1 or R, columns).
        pose: What the robot reports of its pose then, first x, y, z, roll, pitch, yaw, (R, at least 6).
        reports: Whether it reports anything.

    Returns:
        The columns, those that are no `Action` as nobody says how they add up; and what the user has to know.
    """
    last, width = last_part(key), values.shape[1]
    if last in ("cartesian_position", "joint_position", "gripper_position"):
        return tuple(Action(c.name, c.unit, "target") for c in _known(last, width) or _numbered(last, width)), ""
    if last == "joint_velocity":
        return tuple(Action(f"joint_{i}", "", "rate") for i in range(width)), ""
    if width == 7 and pose is not None:
        kind, frame = _what_moves(values, pose)
        if kind == "target":
            return tuple(Action(c.name, c.unit, "target") for c in (*POSE, _GRIPPER)), ""
        if kind == "delta":
            remark = (
                f"{key} changes the pose in the frame of the gripper, as the states tell: where --fps leaves frames "
                "out, their sum is that change nearly, not exactly"
            )
            changes = (Action(f"d{c.name}", c.unit, "delta") for c in POSE)
            return (*changes, Action("gripper", "", "target")), remark if frame == "gripper" else ""
    if width == 2 and not reports and np.abs(values).max() <= _LONGEST_STEP:
        remark = f"{key} holds two small numbers, which are taken for changes dx and dy [m], as in Language-Table"
        return (Action("dx", "m", "delta"), Action("dy", "m", "delta")), remark
    return _numbered("action", width), ""


def _numbered(name: str, width: int) -> tuple[Column, ...]:
    return tuple(Column(f"{name}_{i}" if width > 1 else name) for i in range(width))


def _known(last: str, width: int) -> tuple[Column, ...] | None:
    """Name the columns of a field by the last part of its name, where its width fits."""
    joints = tuple(Column(f"joint_{i}", "rad") for i in range(7))
    known = {
        ("cartesian_position", 6): POSE,
        ("gripper_position", 1): (_GRIPPER,),
        **{(name, 7): joints for name in ("joint_position", "joint_positions", "joints")},
        ("joints", 8): (*joints, _GRIPPER),
        ("continuous_gripper_state", 1): (Column("gripper_continuous"),),
    }
    return known.get((last, width))


def _what_moves(actions: Array, states: Array) -> tuple[Kind | None, str]:
    """Tell by the states (R, 7) what actions (R-1 or R, 7) mean: where to go, or by how much and in which frame."""
    count = min(len(actions), len(states) - 1)
    if count < 1:
        return None, ""
    told, before, after = actions[:count, :3], states[:count], states[1 : count + 1]
    moved = after[:, :3] - before[:, :3]
    if np.abs(moved).max() < 10 * _SAME:  # it stands still
        return None, ""
    turned = np.einsum("tji,tj->ti", _rotations(before[:, 3:6]), moved)
    if np.abs(told - after[:, :3]).max() < _SAME:
        return "target", "world"
    seen_from = {"world": moved, "gripper": turned}
    frame = next((name for name, truth in seen_from.items() if np.abs(told - truth).max() < _SAME), "")
    return ("delta" if frame else None), frame


def _rotations(euler: Array) -> Array:
    """Return the rotations (R, 3, 3) of roll, pitch and yaw (R, 3) [rad], about the axes of the world in this order."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(euler).T, np.sin(euler).T
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.moveaxis(np.array(rows), 2, 0)
