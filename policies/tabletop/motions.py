"""Motions of the hand that scripts are made of.

A script is a generator: it looks at a live `Bench` and yields one action per step. Whatever advances the script
refreshes the bench first, so after every `yield` the script sees the new state. Motions end by returning, and scripts
chain them with `yield from`. They act on the *commanded* position, which follows actions exactly, and wait on the
*measured* state.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.tabletop.robot import ACTION_SCALE, WORKSPACE_HIGH, WORKSPACE_LOW

Array = NDArray[np.float64]
Script = Iterator[Array]
Motion = Generator[Array, None, bool]
Rng = np.random.Generator

OPEN, CLOSE, KEEP = -1.0, 1.0, 0.0  # gripper rates

ALIGNED = 0.006  # horizontal error at which the fingers go down around an object [m]


class HandAndObjects(Protocol):
    """State of a world of which scripts know at least where hand and objects are, and which are held."""

    @property
    def end_effector(self) -> Array:
        """Measured position (..., 3) [m]."""

    @property
    def position(self) -> Array:
        """Centres of the objects (..., K, 3) [m]."""

    @property
    def grasped(self) -> NDArray[np.bool_]:
        """Whether each object is held between the fingers (..., K)."""


State = TypeVar("State", bound=HandAndObjects)


@dataclass
class Bench(Generic[State]):
    """The present of one environment: privileged state and the commanded end-effector (3,) [m]."""

    state: State
    command: Array

    @property
    def end_effector(self) -> Array:
        """Measured position (3,) [m]."""
        return self.state.end_effector

    def centre(self, index: int) -> Array:
        """Centre (3,) of an object [m]."""
        return np.asarray(self.state.position[index])

    def grasped(self, index: int) -> bool:
        """Whether an object is grasped."""
        return bool(self.state.grasped[index])


AnyBench = Bench[Any]


def toward(bench: AnyBench, target: Array, gripper: float = KEEP, speed: float = 1.0) -> Array:
    """Action (4,) that takes the command straight to `target` [m], at most `speed` of the fastest along any axis."""
    delta = (np.clip(target, WORKSPACE_LOW, WORKSPACE_HIGH) - bench.command) / ACTION_SCALE
    return np.append(delta * min(1.0, speed / max(np.abs(delta).max(), 1e-9)), gripper)


def move(
    bench: AnyBench,
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


def lift(bench: AnyBench, height: float, speed: float = 1.0) -> Motion:
    """Go straight up to a height of the end-effector [m]."""
    place = np.append(bench.command[:2], height)
    return (yield from move(bench, lambda: place, tolerance=0.01, speed=speed, limit=20))


def close_around(bench: AnyBench, index: int, limit: int) -> Motion:
    """Close the gripper until an object is grasped; False when `limit` steps did not do it."""
    for _ in range(limit):
        pressed = bench.grasped(index)
        yield from hold(1, CLOSE)
        if pressed:  # once more: the command runs into the object until the gripper's full force is on it
            break
    return bench.grasped(index)


def carry(
    bench: AnyBench, index: int, target: Callable[[], Array], speed: float = 1.0, tolerance: float = 0.005
) -> Motion:
    """Bring a grasped object's centre to `target()` [m] along a straight line; False when it is lost."""
    for _ in range(40):
        if not bench.grasped(index):
            return False
        if np.linalg.norm(target() - bench.centre(index)) <= tolerance:
            return True
        # It need not sit in the middle of the fingers: correct what is measured, not what is assumed.
        grip = bench.centre(index) - bench.end_effector
        yield toward(bench, target() - grip, KEEP, speed)
    return True


def aside(rng: Rng, low: float, high: float) -> Array:
    """A horizontal offset (3,) in any direction, `low` to `high` long [m]."""
    angle, length = rng.uniform(0.0, 2 * np.pi), rng.uniform(low, high)
    return length * np.array([np.cos(angle), np.sin(angle), 0.0])


def wander(bench: AnyBench, rng: Rng) -> Script:
    """Smooth random actions that know nothing of the objects, for a while."""
    action = np.zeros(4)
    for _ in range(int(rng.integers(20, 60))):
        action = 0.8 * action + 0.6 * rng.uniform(-1.0, 1.0, 4)
        yield action


def wander_on(bench: AnyBench, rng: Rng) -> Script:
    """Smooth random actions for ever."""
    while True:
        yield from wander(bench, rng)
