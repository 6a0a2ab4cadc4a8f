"""What no solid object does: how often do objects overlap, float, jump, or pass through table and gripper?

Judged from positions alone, so objects count as the balls inside them: whatever way two cubes are turned, they overlap
if their balls do. The table's and the gripper's shape are those of the block environments. Every limit leaves room for
the contacts of real physics, which give way a little. Knows nothing of models and files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gwm_sim.evaluation.metrics import Metric, number
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window
from gwm_sim.evaluation.statistics import Array

KINDS = ("overlap", "float", "teleport", "table", "gripper")
"""Two objects in one place; resting on nothing; moved without cause; in the table; in the gripper."""

MARGIN = 0.01
"""How deep objects may seem to be in something solid, and how high above the table they may seem to rest [m]."""

REACH = 0.02  # between surfaces that are at most this far apart there may be contact [m]

STILL = 0.006
"""An object rests if it moves less than this in each of two steps [m]; at 10 Hz, free fall changes by 0.016 or more."""

PUSH = 0.06
"""An object in contact gains at most this much speed in a step [m per step]; the gripper's own is at most 0.05."""

GRAVITY = 15.0  # the strongest there is [m/s^2]
TABLE_LOW, TABLE_HIGH = np.array([-0.4, -0.8]), np.array([1.1, 0.8])  # edges of the table, whose top is at height 0 [m]

# Middle relative to the end-effector, half size, and the side to which it moves as the gripper opens.
_BAR, _PAD = ((0.0, 0.011, 0.018), (0.010, 0.005, 0.028)), ((0.0, 0.003, 0.001), (0.010, 0.003, 0.011))
_SIDES = np.array([1, 1, -1, -1, 0])
_MIDDLES = np.array([_BAR[0], _PAD[0], _BAR[0], _PAD[0], (0.0, 0.0, 0.0754)])
_MIDDLES[2:4, 1] *= -1
_HALF_SIZES = np.array([_BAR[1], _PAD[1], _BAR[1], _PAD[1], (0.026, 0.066, 0.030)])


class Violations(Metric):
    """Share of steps in which something is impossible, in the prediction and in what was recorded.

    violations: Of `model` and `twin` what `violation_rates` says; None where it is not known where everything is.
    """

    name = "impossible steps"

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        schema = test.file.schema
        if len(schema.gripper) != 1 or len(schema.effector) != 3:
            return "the data do not say where the gripper is and how far it is open"
        if not schema.object_names or schema.tracked:
            return "the data do not say where objects truly are"
        return None if schema.object_size > 0 else "the data do not say of one size that all objects have"

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        schema = self.test.file.schema
        courses: dict[str, Window | Prediction] = {"model": prediction, "twin": windows}
        for world, course in courses.items():
            telemetry, objects = course.course_telemetry, course.course_objects
            if telemetry is None or objects is None or not objects.size:
                continue
            opening = telemetry[..., schema.gripper[0]]
            effector = telemetry[..., list(schema.effector)]
            found = find_violations(objects, effector, opening, schema.object_size, schema.rate)
            self.cases[world].append(found.reshape(len(KINDS), -1))

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        rates = {
            world: violation_rates(np.concatenate(parts, axis=1)) if (parts := self.cases[world]) else None
            for world in ("model", "twin")
        }
        return {"violations": rates}

    @staticmethod
    def lines(report: Mapping[str, Any]) -> Iterable[str]:
        for world, rates in report["violations"].items():
            if rates is not None:
                shares = ", ".join(f"{kind} {number(rates[kind], 2, 100)}" for kind in (*KINDS, "any"))
                yield f"impossible steps in the {world} [%]: {shares}"


def gripper_boxes(effector: Array, opening: Array) -> tuple[Array, Array]:
    """Boxes that the fingers and the hand fill, their edges along the world's axes: middles (..., 5, 3) and half sizes
    (5, 3) [m], from the measured end-effector (..., 3) [m] between the pads and their distance (...) [m]."""
    middles = effector[..., None, :] + _MIDDLES
    middles[..., 1] += 0.5 * opening[..., None] * _SIDES
    return middles, _HALF_SIZES


def find_violations(objects: Array, effector: Array, opening: Array, size: float, rate: float) -> Array:
    """Say what is impossible in each step.

    Args:
        objects: Positions at T successive steps [m], (..., T, K, 3).
        effector: Measured end-effector [m], (..., T, 3).
        opening: Gripper opening [m], (..., T).
        size: Edge length of the objects [m].
        rate: Steps per second [Hz].

    Returns:
        For each of `KINDS` and each step whether any object does it, (kinds, ..., T) bool. A jump needs two steps
        before it and rest one, so the first steps are never found guilty of them.
    """
    objects, effector, opening = (np.asarray(value, np.float64) for value in (objects, effector, opening))
    radius = size / 2
    apart = _nearest_other(objects)  # (..., T, K)
    to_gripper = _distance_to_gripper(objects, effector, opening)
    height = objects[..., 2]
    over_table = ((objects[..., :2] > TABLE_LOW) & (objects[..., :2] < TABLE_HIGH)).all(axis=-1)
    # Corners of upright cubes reach farther than their balls.
    touched = (apart < np.sqrt(2) * size + REACH) | (to_gripper < np.sqrt(2) * radius + REACH)
    found = {
        "overlap": apart < size - MARGIN,
        "float": _at_rest(objects) & _lasting(over_table & ~touched & (height > radius + MARGIN), 3),
        "teleport": _jumps(objects, touched, rate),
        "table": over_table & (height < radius - MARGIN),
        "gripper": to_gripper < radius - MARGIN,
    }
    return np.stack([found[kind].any(axis=-1) for kind in KINDS])


def violation_rates(found: Array) -> dict[str, float | int | None]:
    """Share of steps with each kind of violation, and with any, of what `find_violations` returned, (kinds, ...) bool;
    None without a step."""
    steps = found.reshape(len(KINDS), -1)
    count = steps.shape[1]
    shares = [*steps.mean(axis=1).tolist(), steps.any(axis=0).mean().item()] if count else [None] * (len(KINDS) + 1)
    return {**dict(zip((*KINDS, "any"), shares, strict=True)), "steps": count}


def _nearest_other(objects: Array) -> Array:
    """Distance of each object's middle to that of the nearest other one, (..., K, 3) -> (..., K)."""
    between = np.linalg.norm(objects[..., :, None, :] - objects[..., None, :, :], axis=-1)  # (..., K, K)
    nearest: Array = np.where(np.eye(objects.shape[-2], dtype=bool), np.inf, between).min(axis=-1, initial=np.inf)
    return nearest


def _distance_to_gripper(objects: Array, effector: Array, opening: Array) -> Array:
    """Distance of each object's middle to the nearest box of the gripper, (..., K)."""
    middles, half_sizes = gripper_boxes(effector, opening)
    outside = np.abs(objects[..., :, None, :] - middles[..., None, :, :]) - half_sizes  # (..., K, 5, 3)
    distance: Array = np.linalg.norm(outside.clip(0), axis=-1).min(axis=-1)
    return distance


def _lasting(mask: Array, steps: int) -> Array:
    """Whether a mask (..., T, K) holds at a step and at those before it, `steps` in all."""
    lasting = np.zeros_like(mask)
    length = mask.shape[-2] - steps + 1
    if length > 0:
        lasting[..., steps - 1 :, :] = np.all([mask[..., k : k + length, :] for k in range(steps)], axis=0)
    return lasting


def _at_rest(objects: Array) -> Array:
    """Whether each object hardly moved in the last two steps, (..., T, K)."""
    still = np.zeros(objects.shape[:-1], bool)
    still[..., 1:, :] = np.linalg.norm(np.diff(objects, axis=-3), axis=-1) < STILL
    return _lasting(still, 2)


def _jumps(objects: Array, touched: Array, rate: float) -> Array:
    """Whether each object moved in a way that neither its speed nor a push nor gravity explains, (..., T, K)."""
    jumps = np.zeros(touched.shape, bool)
    if objects.shape[-3] < 3:
        return jumps
    moves = np.diff(objects, axis=-3)
    before, now = moves[..., :-1, :, :], moves[..., 1:, :, :]  # (..., T-2, K, 3)
    push = np.where(touched[..., :-2, :] | touched[..., 1:-1, :] | touched[..., 2:, :], PUSH, MARGIN)
    sideways = np.linalg.norm(now[..., :2], axis=-1) - np.linalg.norm(before[..., :2], axis=-1)
    upward = now[..., 2] - before[..., 2].clip(0)
    downward = before[..., 2].clip(None, 0) - now[..., 2]
    jumps[..., 2:, :] = (sideways > push) | (upward > push) | (downward > push + GRAVITY / rate**2)
    return jumps
