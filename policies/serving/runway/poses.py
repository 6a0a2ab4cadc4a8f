"""Poses as actions: what each of the seven numbers that the client sends becomes in a model, and which are lost.

A pose is absolute: x, y, z [m] in the frame of the robot's base, roll, pitch, yaw [rad], and the gripper, 0 open and 1
closed. A model's action may be a target, or a change of what is commanded or measured: then the pose is compared with
what the robot reports, step by step, and what one step cannot do is left to the next ones.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from gwm_sim.data.conversion.angles import bare_name, base_name
from gwm_sim.data.schema import Schema
from gwm_sim.envs.blocks import spec
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.policies.serving.errors import refused

POSE: Final = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
GRIPPER: Final = POSE.index("gripper")
PLACE: Final = frozenset(range(3))  # numbers of a pose without which there is nothing to do
TURNS: Final = frozenset(range(3, 6))


class Way(NamedTuple):
    """How one number of a pose is told to a model."""

    number: int  # of the pose
    action: int
    column: int | None  # of the telemetry, in which the robot reports it
    changes: int | None  # column of the telemetry that the action changes, None where it is a target
    scale: float = 1.0  # change or target per unit of action, in the unit of the telemetry
    offset: float = 0.0  # what 0 is, in that unit
    gain: float = 1.0  # what 1 adds to that


class Poses:
    """What poses are to one model."""

    def __init__(self, config: WorldModelConfig) -> None:
        """Find a way for each number of a pose.

        Raises:
            ServingError: The model cannot be told where its end-effector is to be.
        """
        self._schema = config.control
        self._ways = ways(self._schema)
        known = {way.number for way in self._ways}
        self.lost = tuple(name for number, name in enumerate(POSE) if number not in known)
        """Names of the numbers that this model cannot be told."""
        if not known >= PLACE:
            raise refused(
                f"{config.name} takes no poses: its actions are {', '.join(self._schema.action_names)}, and they do "
                "not command where the end-effector is; step it by the API of gwm serve instead"
            )

    def action(self, pose: Sequence[float], telemetry: Sequence[float]) -> list[float]:
        """The action (A,), not yet clipped, that takes a robot which reports telemetry (P,) to a pose (7,).

        What the model can be told and a pose does not say is held.
        """
        action: list[float] = self._schema.hold(np.array(telemetry, np.float32)).tolist()
        for number, place, column, changes, scale, offset, gain in self._ways:
            wanted = offset + gain * pose[number]
            if number in TURNS and column is not None:  # the nearest of all angles that are the same
                wanted = telemetry[column] + math.remainder(wanted - telemetry[column], math.tau)
            action[place] = (wanted - (0.0 if changes is None else telemetry[changes])) / scale
        return action


def ways(schema: Schema) -> list[Way]:
    """The numbers of a pose that a robot can be told."""
    found = (way_of(schema, number, column) for number, column in enumerate(pose_columns(schema)))
    return [way for way in found if way is not None]


def way_of(schema: Schema, number: int, column: int | None) -> Way | None:
    """How one number of a pose is told, as the data declare it or as the kinds of their actions say; None if not."""
    offset, gain = 0.0, 1.0
    if column is not None and column in schema.gripper:  # which says how far it is open
        low, high = schema.telemetry_low[column], schema.telemetry_high[column]
        offset, gain = high, low - high
    for command in schema.commands:
        if command.measured == column:
            changes = None if command.absolute else command.telemetry
            return Way(number, command.action, column, changes, command.scale, offset, gain)
    kinds = schema.settings.get("action_kinds", ())
    for action, (name, kind) in enumerate(zip(schema.action_names, kinds, strict=False)):
        if kind == "target" and bare_name(name) == POSE[number]:
            return Way(number, action, column, None, 1.0, offset, gain)
        if kind == "delta" and base_name(name) == POSE[number] and column is not None:
            return Way(number, action, column, column, 1.0, offset, gain)
    if number == GRIPPER and (schema.action_names, schema.telemetry_names) == (spec.ACTION_NAMES, spec.TELEMETRY_NAMES):
        return Way(number, spec.GRIPPER, column, spec.OPENING, -spec.GRIPPER_SCALE, offset, gain)  # closes at a rate
    return None


def pose_columns(schema: Schema) -> list[int | None]:
    """The telemetry in which a robot reports each number of a pose, None for what it does not."""
    names = [bare_name(name) for name in schema.telemetry_names]
    columns = [names.index(name) if name in names else None for name in POSE]
    if len(schema.effector) == len(PLACE):
        columns[: len(PLACE)] = schema.effector
    if schema.gripper:
        columns[GRIPPER] = schema.gripper[0]
    return columns
