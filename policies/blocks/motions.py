"""Motions that scripts are made of. A script is a generator: it looks at a live `Bench` and yields one action per step.

Whatever advances the script refreshes the bench first, so after every `yield` the script sees the new state. Motions
end by returning, and scripts chain them with `yield from`. They act on the *commanded* position, which follows
actions exactly, and wait on the *measured* state.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks.spec import ACTION_SCALE, CUBE_SIZE, GRIPPER_MAX, WORKSPACE_HIGH, WORKSPACE_LOW
from gwm_sim.envs.blocks.tasks import RED, TaskState, is_on_blue

Array = NDArray[np.float64]
Script = Iterator[Array]
Motion = Generator[Array, None, bool]

OPEN, CLOSE, KEEP = -1.0, 1.0, 0.0  # gripper rates

CLEARANCE = 0.085  # height of the fingers above a cube's centre at which they pass over it [m]
PASSAGE = 0.03  # height above its place at which a carried cube comes in [m]
ALIGNED = 0.006  # horizontal error at which the fingers go down around a cube [m]


@dataclass
class Bench:
    """The present of one environment: privileged state and the commanded end-effector (3,) [m]."""

    state: TaskState
    command: Array

    @property
    def end_effector(self) -> Array:
        """Measured position (3,) [m]."""
        return self.state.end_effector

    def cube(self, index: int) -> Array:
        """Centre (3,) of a cube [m]."""
        return np.asarray(self.state.position[index])

    def grasped(self, index: int) -> bool:
        """Whether a cube is grasped."""
        return bool(self.state.grasped[index])

    def is_stacked(self) -> bool:
        """Whether red lies on blue and nobody holds it."""
        return bool(is_on_blue(self.state)) and not self.grasped(RED)


def toward(bench: Bench, target: Array, gripper: float = KEEP, speed: float = 1.0) -> Array:
    """Action (4,) that takes the command straight to `target` [m], at most `speed` of the fastest along any axis."""
    delta = (np.clip(target, WORKSPACE_LOW, WORKSPACE_HIGH) - bench.command) / ACTION_SCALE
    return np.append(delta * min(1.0, speed / max(np.abs(delta).max(), 1e-9)), gripper)


def move(
    bench: Bench,
    target: Callable[[], Array],
    gripper: float = KEEP,
    tolerance: float = ALIGNED,
    speed: float = 1.0,
    limit: int = 40,
) -> Motion:
    """Move until the measured end-effector is at `target()`; False when `limit` steps did not get it there."""
    for _ in range(limit):
        if np.linalg.norm(bench.end_effector - np.clip(target(), WORKSPACE_LOW, WORKSPACE_HIGH)) <= tolerance:
            return True
        yield toward(bench, target(), gripper, speed)
    return False


def hold(steps: int, gripper: float = KEEP) -> Script:
    """Stay for a number of steps."""
    return repeat(np.array([0.0, 0.0, 0.0, gripper]), steps)


def hover(bench: Bench, index: int, gripper: float = OPEN, offset: Array | float = 0.0, speed: float = 1.0) -> Motion:
    """Come over a cube, going up first where the way is low."""
    for _ in range(25):
        above = np.clip(bench.cube(index) + offset + [0.0, 0.0, CLEARANCE], WORKSPACE_LOW, WORKSPACE_HIGH)
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
    yield from move(bench, lambda: bench.cube(index) + offset, tolerance=0.008, speed=speed, limit=8)
    for _ in range(6):
        pressed = bench.grasped(index)
        yield from hold(1, CLOSE)
        if pressed:  # once more: the command runs into the cube until the gripper's full force is on it
            break
    return bench.grasped(index)


def lift(bench: Bench, height: float, speed: float = 1.0) -> Motion:
    """Go straight up to a height of the end-effector [m]."""
    place = np.append(bench.command[:2], height)
    return (yield from move(bench, lambda: place, tolerance=0.01, speed=speed, limit=20))


def carry(
    bench: Bench, index: int, target: Callable[[], Array], speed: float = 1.0, tolerance: float = 0.005
) -> Motion:
    """Bring a grasped cube's centre to `target()` [m] along a straight line; False when it is lost."""
    for _ in range(40):
        if not bench.grasped(index):
            return False
        error = target() - bench.cube(index)
        if np.linalg.norm(error) <= tolerance:
            return True
        # The cube need not sit in the middle of the fingers: correct what is measured, not what is assumed.
        grip = bench.cube(index) - bench.end_effector
        yield toward(bench, target() - grip, KEEP, speed)
    return True


def place(
    bench: Bench, index: int, onto: int, offset: Array | float = 0.0, drop: float = 0.0, speed: float = 1.0
) -> Motion:
    """Carry a grasped cube over another and set it down there; False when it is lost.

    For failures on purpose the place can lie `offset` (3,) aside or `drop` above the right one [m].
    """
    shift = np.array([0.0, 0.0, CUBE_SIZE + drop]) + offset

    def goal() -> Array:
        return bench.cube(onto) + shift

    def above() -> Array:
        return goal() + [0.0, 0.0, PASSAGE]

    while bench.grasped(index) and bench.cube(index)[2] < above()[2] - 0.012 and bench.command[2] < WORKSPACE_HIGH[2]:
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
