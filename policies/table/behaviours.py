"""Behaviours of mixed quality, from which a world model learns what actions do and not only what experts do.

Each episode begins with one named behaviour, drawn by `WEIGHTS`, and goes on with further pieces, so that long
episodes keep touching things: they are pushed, lifted, dropped, thrown, stacked and knocked over. All of it is
privileged and drawn from the episode's seed.
"""

from collections.abc import Generator, Mapping
from itertools import repeat
from typing import Any, Final

import numpy as np

from gwm_sim.envs.tabletop.robot import ACTION_SCALE, GRIPPER_MAX, GRIPPER_SCALE, WORKSPACE_HIGH, WORKSPACE_LOW
from gwm_sim.policies.table.experts import ScriptedPolicy, ScriptFactory, push_to, put_at, put_on
from gwm_sim.policies.table.motions import Bench, hover, on_top, pick, place, raise_over, release
from gwm_sim.policies.tabletop.hands import habitual
from gwm_sim.policies.tabletop.motions import (
    CLOSE,
    KEEP,
    OPEN,
    Array,
    Script,
    aside,
    hold,
    lift,
    move,
    toward,
    wander,
)

Rng = np.random.Generator

# Where things are taken to: inside the workspace, so that they stay in view and in reach.
TABLE_LOW: Final = np.array([0.41, -0.12])  # [m]
TABLE_HIGH: Final = np.array([0.59, 0.12])  # [m]
# Where things are pushed and let fall: they tumble from there and should not leave the table's middle.
MIDDLE_LOW: Final = np.array([0.46, -0.07])  # [m]
MIDDLE_HIGH: Final = np.array([0.54, 0.07])  # [m]
HABITS: Final = 0.4  # share of pieces that are done by a hand with habits


def grasped(bench: Bench) -> int | None:
    """Number of the object that the gripper holds, or None."""
    return next((i for i in bench.objects if bench.grasped(i)), None)


def stacks(bench: Bench) -> list[tuple[int, int]]:
    """Pairs (top, bottom) of objects of which one lies on the other."""
    return [(i, j) for i in bench.objects for j in bench.objects if i != j and bench.is_on(i, j)]


def choose(bench: Bench, rng: Rng) -> int | None:
    """Any object in reach on which no other lies; None where there is none."""
    below = {bottom for _, bottom in stacks(bench)}
    low, high = WORKSPACE_LOW - 0.01, WORKSPACE_HIGH + 0.01
    free = [i for i in bench.objects if i not in below and (bench.centre(i)[:2] >= low[:2]).all()]
    free = [i for i in free if (bench.centre(i)[:2] <= high[:2]).all()]
    return int(rng.choice(free)) if free else None


def carrier(bench: Bench, rng: Rng, carried: int) -> int | None:
    """Another object in reach on which one may be put; None where there is none."""
    other = [i for i in {choose(bench, rng) for _ in range(4)} if i is not None and i != carried]
    return int(rng.choice(sorted(other))) if other else None


def inward(position: Array, rng: Rng) -> Array:
    """Horizontal unit vector (3,) from a position to somewhere in the middle of the table."""
    way = np.append(rng.uniform(MIDDLE_LOW, MIDDLE_HIGH) - position[:2], 0.0)
    return np.asarray(way / max(float(np.linalg.norm(way)), 1e-6))


def _speed(rng: Rng) -> float:
    return float(rng.uniform(0.5, 1.0))


def _take(bench: Bench, rng: Rng) -> Generator[Array, None, int | None]:
    """Grasp an object, picking one where none is grasped yet; its number, or None where that failed."""
    if grasped(bench) is None:
        index = choose(bench, rng)
        if index is None or not (yield from pick(bench, index, speed=_speed(rng))):
            yield from lift(bench, bench.command[2] + 0.05)
    return grasped(bench)


def _let_go(bench: Bench) -> Script:
    index = grasped(bench)
    if index is not None:
        yield from release(bench, index)


def stack_up(bench: Bench, rng: Rng) -> Script:
    """Put an object on another, exactly."""
    top = yield from _take(bench, rng)
    bottom = None if top is None else carrier(bench, rng, top)
    if top is None or bottom is None:
        return
    yield from put_on(bench, top, bottom, _speed(rng))
    yield from hold(int(rng.integers(1, 6)))


def failed_stack(bench: Bench, rng: Rng) -> Script:
    """Set an object on another off its middle, or let go above it."""
    top = yield from _take(bench, rng)
    bottom = None if top is None else carrier(bench, rng, top)
    if top is None or bottom is None:
        return
    offset, height = aside(rng, 0.2, 0.9) * bench.size(bottom), 0.0
    if rng.random() < 0.4:
        offset, height = aside(rng, 0.0, 0.015), float(rng.uniform(0.01, 0.08))
    if (yield from place(bench, top, on_top(bench, top, bottom, offset), height, _speed(rng), tolerance=0.006)):
        yield from release(bench, top, retreat=float(rng.uniform(0.04, 0.12)))
        yield from hold(int(rng.integers(1, 6)))


def pick_up(bench: Bench, rng: Rng) -> Script:
    """Pick an object, hold it up and carry it about."""
    index = yield from _take(bench, rng)
    if index is None:
        return
    yield from raise_over(bench, index, float(rng.uniform(0.08, 0.22)), _speed(rng))
    yield from hold(int(rng.integers(1, 6)))
    for _ in range(int(rng.integers(0, 3))):
        target = np.append(rng.uniform(TABLE_LOW, TABLE_HIGH), rng.uniform(0.12, 0.26))
        yield from move(bench, target.copy, tolerance=0.02, speed=_speed(rng), limit=12)


def put_down(bench: Bench, rng: Rng) -> Script:
    """Set an object down somewhere on the table."""
    index = yield from _take(bench, rng)
    if index is not None:
        yield from put_at(bench, index, rng.uniform(TABLE_LOW, TABLE_HIGH), _speed(rng))


def drop(bench: Bench, rng: Rng) -> Script:
    """Let an object fall from some height, at times over another."""
    index = yield from _take(bench, rng)
    if index is None:
        return
    below = carrier(bench, rng, index) if rng.random() < 0.4 else None
    spot = rng.uniform(MIDDLE_LOW, MIDDLE_HIGH) if below is None else bench.centre(below)[:2] + aside(rng, 0, 0.03)[:2]
    yield from raise_over(bench, index, float(rng.uniform(0.08, 0.27)), _speed(rng))
    over = np.append(spot, bench.command[2])
    yield from move(bench, over.copy, tolerance=0.02, speed=_speed(rng), limit=12)
    yield from hold(3, OPEN)
    yield from hold(int(rng.integers(3, 10)))


def throw(bench: Bench, rng: Rng) -> Script:
    """Let go of an object while the hand moves."""
    index = yield from _take(bench, rng)
    if index is None:
        return
    yield from raise_over(bench, index, float(rng.uniform(0.08, 0.24)), _speed(rng))
    way = inward(bench.end_effector, rng) + [0.0, 0.0, rng.uniform(-0.3, 0.5)]
    way *= rng.uniform(0.5, 1.0) / np.abs(way).max()
    yield from repeat(np.append(way, KEEP), int(rng.integers(1, 4)))
    yield from repeat(np.append(way, OPEN), 3)
    yield from hold(int(rng.integers(4, 10)))


def near_miss(bench: Bench, rng: Rng) -> Script:
    """Close beside or on the edge of an object, and go up as if it were grasped."""
    yield from _let_go(bench)
    if (index := choose(bench, rng)) is not None:
        yield from pick(bench, index, aside(rng, 0.012, 0.05), _speed(rng))
        yield from lift(bench, float(rng.uniform(0.10, 0.18)), _speed(rng))


def half_grip(bench: Bench, rng: Rng) -> Script:
    """Close around an object to some opening, wider than it or hardly narrower, and go up."""
    yield from _let_go(bench)
    index = choose(bench, rng)
    if index is None or not (yield from hover(bench, index, offset=aside(rng, 0.0, 0.01), speed=_speed(rng))):
        return
    yield from move(bench, lambda: bench.centre(index), tolerance=0.008, limit=8)
    wanted = rng.uniform(bench.size(index) - 0.004, GRIPPER_MAX - 0.005)
    steps = int(rng.integers(2, 4))
    yield from hold(steps, min((GRIPPER_MAX - wanted) / GRIPPER_SCALE / steps, 1.0))
    yield from lift(bench, bench.command[2] + float(rng.uniform(0.03, 0.15)), float(rng.uniform(0.3, 1.0)))
    for _ in range(int(rng.integers(1, 5))):
        yield np.append(rng.uniform(-0.5, 0.5, 3), rng.uniform(-0.4, 0.1))


def push(bench: Bench, rng: Rng) -> Script:
    """Push an object to somewhere on the table with closed fingers."""
    yield from _let_go(bench)
    if (index := choose(bench, rng)) is not None:
        yield from push_to(bench, index, rng.uniform(TABLE_LOW, TABLE_HIGH), _speed(rng))


def strike(bench: Bench, rng: Rng) -> Script:
    """Hit an object with closed fingers and stay behind, so that it goes on as friction lets it."""
    yield from _let_go(bench)
    if (index := choose(bench, rng)) is None:
        return
    steps, speed = int(rng.integers(1, 4)), rng.uniform(0.6, 1.0)
    way = inward(bench.centre(index), rng)
    run_up = steps * speed * ACTION_SCALE / np.abs(way).max()
    behind = bench.centre(index) - (run_up + bench.size(index) / 2 + 0.013 + rng.uniform(-0.02, 0.01)) * way
    behind[2] = max(WORKSPACE_LOW[2], bench.centre(index)[2] + rng.uniform(-0.01, 0.01))
    yield from lift(bench, max(bench.passing_height(), behind[2]))
    over = np.append(behind[:2], bench.command[2])
    yield from move(bench, over.copy, CLOSE, tolerance=0.01, limit=15)
    yield from move(bench, behind.copy, CLOSE, tolerance=0.006, limit=8)
    yield from repeat(np.append(speed * way / np.abs(way).max(), KEEP), steps)
    yield from hold(int(rng.integers(1, 6)))
    yield from lift(bench, bench.command[2] + float(rng.uniform(0.05, 0.12)))


def sweep(bench: Bench, rng: Rng) -> Script:
    """Go low over the table, through whatever stands in the way."""
    yield from _let_go(bench)
    sides = rng.uniform(WORKSPACE_LOW[:2], WORKSPACE_HIGH[:2], (2, 2))
    axis = int(rng.integers(2))
    sides[:, axis] = rng.permutation([WORKSPACE_LOW[axis], WORKSPACE_HIGH[axis]])
    height, gripper = rng.uniform(0.02, 0.06), float(rng.choice([OPEN, CLOSE]))
    yield from lift(bench, bench.passing_height())
    for point in (np.append(sides[0], bench.command[2]), np.append(sides[0], height)):
        yield from move(bench, point.copy, gripper, tolerance=0.015, limit=14)
    end = np.append(sides[1], height)
    yield from move(bench, end.copy, KEEP, tolerance=0.015, speed=float(rng.uniform(0.3, 1.0)), limit=20)
    yield from lift(bench, bench.command[2] + 0.06)


def topple(bench: Bench, rng: Rng) -> Script:
    """Strike something high up from the side, the top of a stack where there is one; slowly or fast."""
    yield from _let_go(bench)
    tops = [top for top, _ in stacks(bench)]
    index = int(rng.choice(tops)) if tops else choose(bench, rng)
    if index is None:
        return
    way = inward(bench.centre(index), rng)
    beside = bench.centre(index) - (0.04 + bench.size(index) / 2) * way + [0.0, 0.0, rng.uniform(-0.005, 0.015)]
    over = np.append(beside[:2], bench.passing_height())
    yield from lift(bench, over[2])
    yield from move(bench, over.copy, CLOSE, tolerance=0.015, speed=_speed(rng), limit=15)
    yield from move(bench, beside.copy, CLOSE, tolerance=0.01, speed=_speed(rng), limit=8)
    end = beside + way * rng.uniform(0.08, 0.16)
    yield from move(bench, end.copy, KEEP, tolerance=0.01, speed=float(rng.uniform(0.3, 1.0)), limit=10)
    yield from lift(bench, bench.command[2] + 0.06)


def poke(bench: Bench, rng: Rng) -> Script:
    """Press on an object from above with closed fingers."""
    yield from _let_go(bench)
    if (index := choose(bench, rng)) is None:
        return
    offset = aside(rng, 0.0, 0.7) * bench.size(index)
    yield from hover(bench, index, CLOSE, offset, _speed(rng))
    down = bench.centre(index) + offset
    yield from move(bench, down.copy, CLOSE, tolerance=0.005, speed=float(rng.uniform(0.2, 0.8)), limit=8)
    yield from lift(bench, bench.command[2] + 0.08)


def around(bench: Bench, rng: Rng) -> Script:
    """Wander close around an object, opening and closing at random."""
    if (index := choose(bench, rng)) is None:
        return
    for _ in range(int(rng.integers(3, 8))):
        offset = rng.uniform([-0.06, -0.06, -0.01], [0.06, 0.06, 0.10])
        gripper = float(rng.choice([OPEN, KEEP, CLOSE, rng.uniform(-1.0, 1.0)]))
        for _ in range(int(rng.integers(2, 7))):
            yield toward(bench, bench.centre(index) + offset, gripper, _speed(rng))


def wait(bench: Bench, rng: Rng) -> Script:
    """The null action, for a while."""
    yield from hold(int(rng.integers(10, 30)))


# How often an episode begins with each behaviour [%].
WEIGHTS: Final[Mapping[str, tuple[float, ScriptFactory]]] = {
    "stack": (16.0, stack_up),
    "failed-stack": (8.0, failed_stack),
    "grasp": (10.0, pick_up),
    "put-down": (6.0, put_down),
    "drop": (12.0, drop),
    "throw": (8.0, throw),
    "near-miss": (4.0, near_miss),
    "half-grip": (4.0, half_grip),
    "push": (9.0, push),
    "strike": (7.0, strike),
    "sweep": (4.0, sweep),
    "topple": (3.0, topple),
    "poke": (2.0, poke),
    "around": (4.0, around),
    "wander": (2.0, wander),
    "wait": (1.0, wait),
}
_NAMES: Final = tuple(WEIGHTS)
_SHARES: Final = np.array([weight for weight, _ in WEIGHTS.values()]) / sum(weight for weight, _ in WEIGHTS.values())
# What may follow, by the situation that the piece before left.
_AFTER_STACK: Final[tuple[ScriptFactory, ...]] = (topple, topple, stack_up, stack_up, put_down, drop, sweep)
_WHILE_HOLDING: Final[tuple[ScriptFactory, ...]] = (put_down, drop, drop, throw, failed_stack, stack_up, pick_up)


def behave(name: str) -> ScriptFactory:
    """Script of an episode that begins with the behaviour `name` and goes on with others for ever."""

    def script(bench: Bench, rng: Rng) -> Script:
        # The frames before anything happens are what a learned world gets as context.
        yield from hold(int(rng.integers(0, 5)))
        piece = WEIGHTS[name][1]
        while True:
            acted = piece(bench, rng)
            yield from habitual(acted, rng) if rng.random() < HABITS else acted
            yield from hold(1)
            piece = _next_piece(bench, rng)

    return script


def _next_piece(bench: Bench, rng: Rng) -> ScriptFactory:
    if grasped(bench) is not None:
        return _WHILE_HOLDING[rng.integers(len(_WHILE_HOLDING))]
    if stacks(bench) and rng.random() < 0.5:
        return _AFTER_STACK[rng.integers(len(_AFTER_STACK))]
    return WEIGHTS[_NAMES[rng.choice(len(_NAMES), p=_SHARES)]][1]


def mixed(env: Any, seed: int) -> ScriptedPolicy:
    """Policy of one behaviour drawn by `WEIGHTS`; its `name` says which."""
    rng = np.random.default_rng([seed, len(_NAMES)])
    name = _NAMES[rng.choice(len(_NAMES), p=_SHARES)]
    return ScriptedPolicy(env, behave(name), name, seed)
