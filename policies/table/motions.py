"""Motions with the objects of the table world, of any kind and size; see `gwm_sim.policies.tabletop.motions`.

The hand goes over whatever stands on the table: fingers reach 1 cm below the end-effector, and what they hold further.
"""

from collections.abc import Callable

import numpy as np

from gwm_sim.envs.table.tasks import TableState
from gwm_sim.envs.tabletop.robot import ACTION_SCALE, GRIPPER_MAX, WORKSPACE_HIGH, WORKSPACE_LOW
from gwm_sim.policies.tabletop import motions
from gwm_sim.policies.tabletop.motions import (
    OPEN,
    Array,
    Motion,
    carry,
    close_around,
    hold,
    lift,
    move,
    toward,
)

FINGERTIPS = 0.010  # how far they reach below the end-effector [m]
MARGIN = 0.02  # between what moves and what it passes over [m]
PASSAGE = 0.025  # height above its place at which a carried object comes in [m]
OPENED = 0.006  # of the gripper short of its widest [m]


class Bench(motions.Bench[TableState]):
    """The present of one environment, with its objects."""

    @property
    def objects(self) -> list[int]:
        """Numbers of the objects that there are."""
        return np.flatnonzero(np.isfinite(self.state.size)).tolist()

    def size(self, index: int) -> float:
        """Height and width of an upright object [m]."""
        return float(self.state.size[index])

    def top(self, index: int) -> float:
        """Height of an object's upper side [m]."""
        return float(self.centre(index)[2]) + self.size(index) / 2

    def is_on(self, top: int, bottom: int) -> bool:
        """Whether an object lies on another, as it would where it was put there."""
        offset = self.centre(top) - self.centre(bottom)
        height = (self.size(top) + self.size(bottom)) / 2
        return bool(np.linalg.norm(offset[:2]) < 0.7 * height and abs(offset[2] - height) < 0.01)

    def passing_height(self, held: int | None = None) -> float:
        """Height of the end-effector at which it passes over everything in reach, with what it holds [m]."""
        others = [
            self.top(i)
            for i in self.objects
            if i != held and (abs(self.centre(i)[:2] - self.end_effector[:2]) < 0.35).all()
        ]
        below = FINGERTIPS if held is None else max(FINGERTIPS, self.end_effector[2] - self.centre(held)[2])
        below += 0.0 if held is None else self.size(held) / 2
        return float(min(max(others, default=0.0) + below + MARGIN, WORKSPACE_HIGH[2]))


def hover(bench: Bench, index: int, gripper: float = OPEN, offset: Array | float = 0.0, speed: float = 1.0) -> Motion:
    """Come over an object, going up first where the way is low."""
    aligned = alignment(bench, index)
    for _ in range(25):
        above = bench.centre(index) + offset
        above[2] = max(bench.passing_height(), bench.top(index) + FINGERTIPS + MARGIN)
        above = above.clip(WORKSPACE_LOW, WORKSPACE_HIGH)
        aside = np.linalg.norm((bench.end_effector - above)[:2])
        if aside <= aligned and bench.end_effector[2] < above[2] + 0.03:
            return True
        if aside > 0.03 and bench.command[2] < above[2] - 0.005:
            above[:2] = bench.command[:2]
        yield toward(bench, above, gripper, speed)
    return False


def alignment(bench: Bench, index: int) -> float:
    """Horizontal error at which the open fingers go down around an object [m]."""
    return float(np.clip((GRIPPER_MAX - 1.15 * bench.size(index)) / 2 - 0.002, 0.002, motions.ALIGNED))


def pick(bench: Bench, index: int, offset: Array | float = 0.0, speed: float = 1.0) -> Motion:
    """Come over an object, go down around it and close; True when it is grasped."""
    if not (yield from hover(bench, index, OPEN, offset, speed)):
        return False
    for _ in range(4):
        if bench.state.gripper_opening > GRIPPER_MAX - OPENED:
            break
        yield toward(bench, bench.command, OPEN)
    yield from move(bench, lambda: bench.centre(index) + offset, tolerance=0.006, speed=speed, limit=10)
    return (yield from close_around(bench, index, 7))


def raise_over(bench: Bench, index: int, height: float, speed: float = 1.0) -> Motion:
    """Lift a grasped object until its centre is at a height and it passes over all others; False when it is lost."""
    while bench.grasped(index) and bench.command[2] < WORKSPACE_HIGH[2]:
        over = bench.passing_height(index) - (bench.end_effector[2] - bench.centre(index)[2])
        if bench.centre(index)[2] >= max(height, over) - 0.012:
            break
        yield toward(bench, bench.command + [0.0, 0.0, ACTION_SCALE], speed=speed)
    return bench.grasped(index)


def place(
    bench: Bench, index: int, goal: Callable[[], Array], drop: float = 0.0, speed: float = 1.0, tolerance: float = 0.003
) -> Motion:
    """Carry a grasped object over its place `goal()` [m] and set it down, or stop `drop` above; False if it is lost."""

    def above() -> Array:
        return goal() + [0.0, 0.0, PASSAGE + drop]

    if not (yield from raise_over(bench, index, float(above()[2]), speed)):
        return False

    def level() -> Array:
        return np.append(goal()[:2], max(above()[2], bench.centre(index)[2]))

    if not (yield from carry(bench, index, level, speed, tolerance=0.006)):
        return False
    return (yield from carry(bench, index, lambda: goal() + [0.0, 0.0, drop], 0.7 * speed, tolerance))


def on_top(bench: Bench, top: int, bottom: int, offset: Array | float = 0.0) -> Callable[[], Array]:
    """Where an object's centre belongs on another (3,) [m], wherever that one goes."""
    height = (bench.size(top) + bench.size(bottom)) / 2
    return lambda: bench.centre(bottom) + [0.0, 0.0, height] + offset


def release(bench: Bench, index: int, retreat: float = 0.10) -> Motion:
    """Open, wait for the fingers to be free, then go up without haste."""
    for _ in range(6):
        if bench.state.gripper_opening > min(bench.size(index) + 0.022, GRIPPER_MAX - OPENED):
            break
        yield from hold(1, OPEN)
    return (yield from lift(bench, bench.command[2] + retreat, speed=0.6))
