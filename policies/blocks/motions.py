"""Motions with cubes that scripts are made of, see `gwm_sim.policies.tabletop.motions`."""

import numpy as np

from gwm_sim.envs.blocks.spec import ACTION_SCALE, CUBE_SIZE, GRIPPER_MAX, WORKSPACE_HIGH, WORKSPACE_LOW
from gwm_sim.envs.blocks.tasks import RED, TaskState, is_on_blue
from gwm_sim.policies.tabletop import motions
from gwm_sim.policies.tabletop.motions import (
    ALIGNED,
    CLOSE,
    KEEP,
    OPEN,
    Array,
    Motion,
    Script,
    carry,
    close_around,
    hold,
    lift,
    move,
    toward,
)

CLEARANCE = 0.085  # height of the fingers above a cube's centre at which they pass over it [m]
PASSAGE = 0.03  # height above its place at which a carried cube comes in [m]


class Bench(motions.Bench[TaskState]):
    """The present of one environment, with its cubes."""

    def is_stacked(self) -> bool:
        """Whether red lies on blue and nobody holds it."""
        return bool(is_on_blue(self.state)) and not self.grasped(RED)


def hover(bench: Bench, index: int, gripper: float = OPEN, offset: Array | float = 0.0, speed: float = 1.0) -> Motion:
    """Come over a cube, going up first where the way is low."""
    for _ in range(25):
        above = np.clip(bench.centre(index) + offset + [0.0, 0.0, CLEARANCE], WORKSPACE_LOW, WORKSPACE_HIGH)
        aside = np.linalg.norm((bench.end_effector - above)[:2])
        if aside <= ALIGNED and abs(bench.end_effector[2] - above[2]) < 0.03:
            return True
        if aside > 0.04 and bench.command[2] < above[2] - 0.01:
            # Not through the cubes: rise before travelling.
            above[:2] = bench.command[:2]
        yield toward(bench, above, gripper, speed)
    return False


def pick(bench: Bench, index: int, offset: Array | float = 0.0, speed: float = 1.0) -> Motion:
    """Come over a cube, go down around it and close; True when it is grasped."""
    if not (yield from hover(bench, index, OPEN, offset, speed)):
        return False
    for _ in range(4):
        if bench.state.gripper_opening > GRIPPER_MAX - 0.006:
            break
        yield toward(bench, bench.command, OPEN)
    yield from move(bench, lambda: bench.centre(index) + offset, tolerance=0.008, speed=speed, limit=8)
    return (yield from close_around(bench, index, 6))


def place(
    bench: Bench, index: int, onto: int, offset: Array | float = 0.0, drop: float = 0.0, speed: float = 1.0
) -> Motion:
    """Carry a grasped cube over another and set it down there; False when it is lost.

    For failures on purpose the place can lie `offset` (3,) aside or `drop` above the right one [m].
    """
    shift = np.array([0.0, 0.0, CUBE_SIZE + drop]) + offset

    def goal() -> Array:
        return bench.centre(onto) + shift

    def above() -> Array:
        return goal() + [0.0, 0.0, PASSAGE]

    while bench.grasped(index) and bench.centre(index)[2] < above()[2] - 0.012 and bench.command[2] < WORKSPACE_HIGH[2]:
        yield toward(bench, bench.command + [0.0, 0.0, ACTION_SCALE], speed=speed)
    if not (yield from carry(bench, index, above, speed, tolerance=ALIGNED)):
        return False
    return (yield from carry(bench, index, goal, 0.7 * speed, tolerance=0.004))


def release(bench: Bench, retreat: float = 0.10) -> Motion:
    """Open, wait for the fingers to be free, then go up without haste."""
    for _ in range(8):
        if bench.state.gripper_opening > CUBE_SIZE + 0.022:
            break
        yield from hold(1, OPEN)
    return (yield from lift(bench, bench.command[2] + retreat, speed=0.6))


__all__ = [
    "ALIGNED",
    "Array",
    "Bench",
    "CLEARANCE",
    "CLOSE",
    "KEEP",
    "Motion",
    "OPEN",
    "PASSAGE",
    "Script",
    "carry",
    "hold",
    "hover",
    "lift",
    "move",
    "pick",
    "place",
    "release",
    "toward",
]
