"""Scripted experts for grasp, stack, push and tower, as policies like any other.

They are privileged: they read poses, sizes and grasps from the environment they are made with, which an image policy
cannot. The scripts watch the measured state, so a missed or lost object is picked again.
"""

from collections.abc import Callable
from itertools import repeat
from typing import Any, Final

import numpy as np

from gwm_sim.envs.table.scene import TASKS
from gwm_sim.envs.tabletop.robot import WORKSPACE_HIGH, WORKSPACE_LOW
from gwm_sim.policies.table.motions import Bench, on_top, pick, place, release
from gwm_sim.policies.tabletop import scripted
from gwm_sim.policies.tabletop.motions import CLOSE, KEEP, Array, Motion, Script, hold, lift, move, toward

LIFTED: Final = 0.09  # height above its place on the table at which the grasp expert holds an object [m]
FINGER_DEPTH: Final = 0.010  # from the middle of the closed fingers to their front, along x [m]
FINGER_WIDTH: Final = 0.016  # the same along y [m]
ARRIVED: Final = 0.012  # distance from its place at which an object is no longer pushed [m]
ASIDE: Final = 0.006  # distance of the fingers from the line to the place at which they correct it first [m]

ScriptFactory = Callable[[Bench, np.random.Generator], Script]


class ScriptedPolicy(scripted.ScriptedPolicy[Bench]):
    """Runs one script per environment of the table world, a fresh one at every start of an episode."""

    bench = Bench


def grasp(bench: Bench, rng: np.random.Generator, speed: float = 1.0) -> Script:
    """Pick the object and hold it up."""
    (index,) = bench.state.assignment.objects
    while True:
        if bench.grasped(index):
            height = bench.size(index) / 2 + LIFTED
            yield toward(bench, np.append(bench.command[:2], height), speed=speed)
        elif not (yield from pick(bench, index, speed=speed)):
            yield from lift(bench, bench.command[2] + 0.05)


def stack(bench: Bench, rng: np.random.Generator, speed: float = 1.0) -> Script:
    """Put one object on the other, let go and stay away."""
    top, bottom = bench.state.assignment.objects
    while True:
        yield from put_on(bench, top, bottom, speed)


def tower(bench: Bench, rng: np.random.Generator, speed: float = 1.0) -> Script:
    """Put the second object on the first and the third on the second."""
    low, middle, high = bench.state.assignment.objects
    while True:
        if bench.is_on(middle, low) and not bench.grasped(middle):
            yield from put_on(bench, high, middle, speed)
        else:
            yield from put_on(bench, middle, low, speed)


def put_on(bench: Bench, top: int, bottom: int, speed: float = 1.0) -> Motion:
    """Try once to stack an object on another; where it is done already, wait a step."""
    if bench.is_on(top, bottom) and not bench.grasped(top):
        yield from hold(1)
        return True
    if not bench.grasped(top) and not (yield from pick(bench, top, speed=speed)):
        yield from lift(bench, bench.command[2] + 0.05)
        return False
    if not (yield from place(bench, top, on_top(bench, top, bottom), speed=speed)):
        return False
    return (yield from release(bench, top))


def push(bench: Bench, rng: np.random.Generator, speed: float = 1.0) -> Script:
    """Push the object to its place with closed fingers, from behind, and leave it there."""
    (index,), goal = bench.state.assignment.objects, np.asarray(bench.state.place)
    while True:
        if np.linalg.norm(goal - bench.centre(index)[:2]) <= ARRIVED:
            yield from lift(bench, bench.passing_height(), speed)
            yield from hold(1)
        else:
            yield from push_to(bench, index, goal, speed)


def push_to(bench: Bench, index: int, goal: Array, speed: float = 1.0) -> Motion:
    """Go behind an object, push it along until it is at `goal` (2,) [m] or slips away to a side.

    One that lies too near the edge of the workspace to get behind is taken by hand.
    """
    way = direction(bench, index, goal)
    behind = bench.centre(index)[:2] - way * (reach(bench, index, way) + 0.018)
    if ((behind < WORKSPACE_LOW[:2]) | (behind > WORKSPACE_HIGH[:2])).any():
        return (yield from put_at(bench, index, goal, speed))
    height = float(np.clip(bench.size(index) / 2, 0.02, 0.03))
    yield from lift(bench, bench.passing_height(), speed)
    over = np.append(behind, bench.command[2])
    yield from move(bench, lambda: over, CLOSE, tolerance=0.01, speed=speed, limit=15)
    down = np.append(behind, height)
    yield from move(bench, lambda: down, CLOSE, tolerance=0.006, speed=speed, limit=10)
    for _ in range(40):
        left = float(np.linalg.norm(goal - bench.centre(index)[:2]))
        if left > 0.02:  # nearer it turns with every step
            way = direction(bench, index, goal)
        offset = bench.centre(index)[:2] - bench.end_effector[:2]
        aside = float(np.linalg.norm(offset - way * (offset @ way)))
        if left <= ARRIVED or aside > 0.6 * bench.size(index) or offset @ way < 0:
            break
        # Behind the object as seen from its place, and a little into it, unless it is about to slip away.
        ahead = min(0.02, left) if aside < ASIDE else -0.002
        target = bench.centre(index)[:2] - way * (reach(bench, index, way) - ahead)
        yield toward(bench, np.append(target, height), KEEP, 0.4 * speed)
    back = bench.end_effector[:2] + 0.03 * direction(bench, index, bench.end_effector[:2])
    away = np.append(back, height)
    yield from move(bench, lambda: away, KEEP, tolerance=0.01, speed=speed, limit=3)
    return True


def put_at(bench: Bench, index: int, spot: Array, speed: float = 1.0) -> Motion:
    """Pick an object and put it down at a place (2,) on the table [m]."""
    if not bench.grasped(index) and not (yield from pick(bench, index, speed=speed)):
        yield from lift(bench, bench.command[2] + 0.05)
        return False
    goal = np.append(spot, bench.size(index) / 2 + 0.001)
    if not (yield from place(bench, index, lambda: goal, speed=speed)):
        return False
    return (yield from release(bench, index))


def direction(bench: Bench, index: int, point: Array) -> Array:
    """Unit vector (2,) from an object to a point (2,)."""
    way = point - bench.centre(index)[:2]
    return np.asarray(way / max(float(np.linalg.norm(way)), 1e-6))


def reach(bench: Bench, index: int, way: Array) -> float:
    """Distance of the closed fingers from an object's centre when they touch it from behind [m]."""
    fingers = min(FINGER_DEPTH / max(abs(way[0]), 1e-6), FINGER_WIDTH / max(abs(way[1]), 1e-6))
    return bench.size(index) / 2 + float(fingers)


def watch(bench: Bench, rng: np.random.Generator) -> Script:
    """Do nothing: the arm is parked while things drop."""
    yield from repeat(np.zeros(4))


EXPERTS: Final[dict[str, ScriptFactory]] = {
    "grasp": grasp,
    "stack": stack,
    "push": push,
    "tower": tower,
    "drop": watch,
}
assert tuple(EXPERTS) == TASKS


def solve(bench: Bench, rng: np.random.Generator) -> Script:
    """Do what the state says is to be done."""
    yield from EXPERTS[bench.state.assignment.task](bench, rng)


def expert(env: Any, seed: int = 0) -> ScriptedPolicy:
    """The scripted expert of whatever task each row of `env` has; of a drop it watches."""
    return ScriptedPolicy(env, solve, f"scripted-{env.unwrapped.task}", seed)
