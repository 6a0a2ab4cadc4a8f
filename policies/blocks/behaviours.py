"""Behaviours of mixed quality, from which a world model learns what actions do and not only what experts do.

Each episode begins with one named behaviour, drawn by `WEIGHTS`, and goes on with further pieces, so that long
episodes keep touching the cubes: a tower is toppled or taken apart, a grasped cube is put down, thrown or stacked. All
of it is privileged and drawn from the episode's seed.
"""

from collections.abc import Generator, Mapping
from functools import partial
from itertools import islice, repeat
from typing import Any, Final

import numpy as np

from gwm_sim.envs.blocks.spec import ACTION_SCALE, CUBE_SIZE, WORKSPACE_HIGH, WORKSPACE_LOW
from gwm_sim.envs.blocks.tasks import BLUE, RED
from gwm_sim.policies.blocks import experts
from gwm_sim.policies.blocks.experts import ScriptedPolicy, ScriptFactory
from gwm_sim.policies.blocks.motions import (
    CLOSE,
    KEEP,
    OPEN,
    Array,
    Bench,
    Script,
    carry,
    hold,
    hover,
    lift,
    move,
    pick,
    place,
    release,
    toward,
)
from gwm_sim.policies.tabletop.motions import aside, wander

Rng = np.random.Generator

# Where cubes are taken to: inside the workspace, so that they stay in view and in reach.
TABLE_LOW: Final = np.array([0.41, -0.12])  # [m]
TABLE_HIGH: Final = np.array([0.59, 0.12])  # [m]
# Where cubes are pushed and let fall: they tumble from there and should not leave the table's middle.
DROP_LOW: Final = np.array([0.45, -0.08])  # [m]
DROP_HIGH: Final = np.array([0.55, 0.08])  # [m]


def tower(bench: Bench) -> tuple[int, int] | None:
    """Indices (top, bottom) of a cube that lies on the other, or None."""
    for top, bottom in ((RED, BLUE), (BLUE, RED)):
        offset = bench.centre(top) - bench.centre(bottom)
        if np.linalg.norm(offset[:2]) < 0.7 * CUBE_SIZE and abs(offset[2] - CUBE_SIZE) < 0.01:
            return top, bottom
    return None


def grasped(bench: Bench) -> int | None:
    """Index of the cube that the gripper holds, or None."""
    return next((index for index in (RED, BLUE) if bench.grasped(index)), None)


def in_reach(bench: Bench, index: int) -> bool:
    """Whether the gripper can close on a cube."""
    position = bench.centre(index)
    return bool((position >= WORKSPACE_LOW - 0.01).all() and (position <= WORKSPACE_HIGH + 0.01).all())


def choose_cube(bench: Bench, rng: Rng) -> int:
    """Either cube, the reachable and upper one first."""
    stacked = tower(bench)
    if stacked is not None:
        return stacked[0]
    index = int(rng.integers(2))
    return index if in_reach(bench, index) else 1 - index


def somewhere(rng: Rng, low: float = 0.03, high: float = 0.25) -> Array:
    """A point (3,) over the table [m]."""
    return np.append(rng.uniform(TABLE_LOW, TABLE_HIGH), rng.uniform(low, high))


def inward(position: Array, rng: Rng) -> Array:
    """Horizontal unit vector (3,) from a position to somewhere in the middle of the table."""
    way = np.append(rng.uniform(DROP_LOW, DROP_HIGH) - position[:2], 0.0)
    return way / max(float(np.linalg.norm(way)), 1e-6)


def _speed(rng: Rng) -> float:
    return float(rng.uniform(0.5, 1.0))


def _take(bench: Bench, rng: Rng) -> Generator[Array, None, int | None]:
    """Grasp a cube, picking one where none is grasped yet; its index, or None where that failed."""
    if grasped(bench) is None and not (yield from pick(bench, choose_cube(bench, rng), speed=_speed(rng))):
        return None
    return grasped(bench)


def stack_up(bench: Bench, rng: Rng) -> Script:
    """Stack red on blue as the expert does; where red is already up, take it down again."""
    if bench.is_stacked():
        yield from put_down(bench, rng)
        return
    expert = experts.stack(bench, rng, _speed(rng))
    for _ in range(60):
        if bench.is_stacked() and bench.end_effector[2] > bench.centre(RED)[2] + 0.06:
            break
        yield next(expert)
    yield from hold(int(rng.integers(3, 9)))


def swap_up(bench: Bench, rng: Rng) -> Script:
    """Stack the wrong way around, blue on red."""
    if (yield from pick(bench, BLUE, speed=_speed(rng))) and (yield from place(bench, BLUE, RED, speed=_speed(rng))):
        yield from release(bench)
        yield from hold(int(rng.integers(2, 6)))


def pick_up(bench: Bench, rng: Rng) -> Script:
    """Pick a cube, hold it up and carry it about."""
    if (yield from _take(bench, rng)) is None:
        yield from lift(bench, bench.command[2] + 0.05)
        return
    yield from lift(bench, rng.uniform(0.08, 0.22), _speed(rng))
    yield from hold(int(rng.integers(1, 7)))
    for _ in range(int(rng.integers(0, 3))):
        target = somewhere(rng, 0.10, 0.24)
        yield from move(bench, partial(np.copy, target), tolerance=0.02, speed=_speed(rng), limit=12)


def reach_over(bench: Bench, rng: Rng) -> Script:
    """Go over the red cube as the reach expert does."""
    yield from islice(experts.reach(bench, rng, _speed(rng)), int(rng.integers(10, 22)))


def put_down(bench: Bench, rng: Rng) -> Script:
    """Set a cube down on a free part of the table."""
    if (index := (yield from _take(bench, rng))) is None:
        return
    yield from lift(bench, max(0.14, bench.command[2]), _speed(rng))
    spot = _free_spot(bench, rng, index)
    if not (yield from carry(bench, index, lambda: spot + [0.0, 0.0, 0.06], _speed(rng), 0.01)):
        return
    yield from carry(bench, index, lambda: spot, 0.7, tolerance=0.004)
    yield from release(bench)


def _free_spot(bench: Bench, rng: Rng, index: int) -> Array:
    """Where a cube (3,) fits on the table beside the other one [m]."""
    other = bench.centre(1 - index)[:2]
    while np.linalg.norm((spot := rng.uniform(TABLE_LOW, TABLE_HIGH)) - other) <= 0.09:
        pass
    return np.append(spot, CUBE_SIZE / 2)


def drop(bench: Bench, rng: Rng) -> Script:
    """Let a cube fall from some height, at times while moving."""
    if (yield from _take(bench, rng)) is None:
        return
    target = np.append(rng.uniform(DROP_LOW, DROP_HIGH), rng.uniform(0.08, 0.22))
    yield from lift(bench, target[2], _speed(rng))
    yield from move(bench, lambda: target, tolerance=0.02, speed=_speed(rng), limit=int(rng.integers(5, 14)))
    drift = np.append(rng.uniform(-0.4, 0.4, 3) * (rng.random() < 0.4), OPEN)
    yield from repeat(drift, int(rng.integers(2, 5)))
    yield from hold(int(rng.integers(2, 6)))


def near_miss(bench: Bench, rng: Rng) -> Script:
    """Close beside or on the edge of a cube, and go up as if it were grasped."""
    yield from pick(bench, choose_cube(bench, rng), aside(rng, 0.012, 0.05), _speed(rng))
    yield from lift(bench, rng.uniform(0.10, 0.18), _speed(rng))


def failed_stack(bench: Bench, rng: Rng) -> Script:
    """Set one cube on the other off its middle, or let go above it."""
    if (index := (yield from _take(bench, rng))) is None:
        return
    offset, height = aside(rng, 0.012, 0.045), 0.0
    if rng.random() < 0.4:
        offset, height = aside(rng, 0.0, 0.015), rng.uniform(0.01, 0.06)
    yield from place(bench, index, 1 - index, offset, height, _speed(rng))
    yield from release(bench, retreat=rng.uniform(0.04, 0.12))
    yield from hold(int(rng.integers(1, 6)))


def push(bench: Bench, rng: Rng) -> Script:
    """Close the gripper, go down beside a cube and push it toward somewhere on the table."""
    index = int(rng.integers(2))
    if grasped(bench) is not None:
        yield from release(bench)
    way = inward(bench.centre(index), rng)
    # The closed gripper is wider along y than along x.
    standoff = -way * (0.055 + 0.02 * abs(way[1]))
    height = rng.uniform(0.02, 0.05) - CUBE_SIZE / 2
    yield from hover(bench, index, CLOSE, standoff, _speed(rng))
    beside = bench.centre(index) + standoff + [0.0, 0.0, height]
    yield from move(bench, lambda: beside, CLOSE, tolerance=0.01, speed=_speed(rng), limit=8)
    end = beside + way * rng.uniform(0.05, 0.16)
    yield from move(bench, lambda: end, KEEP, tolerance=0.01, speed=rng.uniform(0.3, 1.0), limit=14)
    yield from lift(bench, bench.command[2] + rng.uniform(0.05, 0.12))


def topple(bench: Bench, rng: Rng) -> Script:
    """Strike the tower's upper cube from the side, or a single cube high up; slowly or fast."""
    if grasped(bench) is not None:
        yield from release(bench)
    index = choose_cube(bench, rng)
    way = inward(bench.centre(index), rng)
    beside = bench.centre(index) - 0.075 * way + [0.0, 0.0, rng.uniform(-0.005, 0.02)]
    over = np.append(beside[:2], bench.centre(index)[2] + 0.10)
    yield from move(bench, lambda: over, CLOSE, tolerance=0.015, speed=_speed(rng), limit=15)
    yield from move(bench, lambda: beside, CLOSE, tolerance=0.01, speed=_speed(rng), limit=6)
    end = beside + way * rng.uniform(0.08, 0.16)
    yield from move(bench, lambda: end, KEEP, tolerance=0.01, speed=rng.uniform(0.3, 1.0), limit=10)
    yield from lift(bench, bench.command[2] + 0.06)


def strike(bench: Bench, rng: Rng) -> Script:
    """Hit a cube once with closed fingers and stay behind, so that it slides on as friction lets it."""
    if grasped(bench) is not None:
        yield from release(bench)
    index, steps, speed = int(rng.integers(2)), int(rng.integers(1, 4)), rng.uniform(0.6, 1.0)
    way = inward(bench.centre(index), rng)
    reach = steps * speed * ACTION_SCALE / np.abs(way).max()
    gap = CUBE_SIZE / 2 + 0.013 + rng.uniform(-0.02, 0.01)
    behind = bench.centre(index) - (reach + gap) * way
    behind[2] = rng.uniform(0.018, 0.03)
    over = np.append(behind[:2], 0.12)
    yield from lift(bench, 0.12)
    yield from move(bench, lambda: over, CLOSE, tolerance=0.01, limit=15)
    yield from move(bench, lambda: behind, CLOSE, tolerance=0.005, limit=8)
    yield from repeat(np.append(speed * way / np.abs(way).max(), KEEP), steps)
    yield from hold(int(rng.integers(1, 5)))
    yield from lift(bench, bench.command[2] + rng.uniform(0.05, 0.12))


def around(bench: Bench, rng: Rng) -> Script:
    """Wander close around a cube, opening and closing at random."""
    index = int(rng.integers(2))
    for _ in range(int(rng.integers(3, 8))):
        offset = rng.uniform([-0.06, -0.06, -0.01], [0.06, 0.06, 0.10])
        gripper = float(rng.choice([OPEN, KEEP, CLOSE, rng.uniform(-1.0, 1.0)]))
        for _ in range(int(rng.integers(2, 7))):
            yield toward(bench, bench.centre(index) + offset, gripper, _speed(rng))


def wait(bench: Bench, rng: Rng) -> Script:
    """The null action, for a while."""
    yield from hold(int(rng.integers(15, 40)))


def noisy(piece: ScriptFactory) -> ScriptFactory:
    """The same behaviour with correlated noise on its actions and now and then a wrong gripper rate."""

    def script(bench: Bench, rng: Rng) -> Script:
        scale, noise = rng.uniform(0.1, 0.5), np.zeros(4)
        for action in piece(bench, rng):
            noise = 0.7 * noise + scale * rng.normal(size=4) * [1.0, 1.0, 1.0, 0.3]
            if rng.random() < 0.02:
                action = np.append(action[:3], rng.uniform(-1.0, 1.0))
            yield action + noise

    return script


# How often an episode begins with each behaviour [%].
WEIGHTS: Final[Mapping[str, tuple[float, ScriptFactory]]] = {
    "stack": (19.0, stack_up),
    "grasp": (8.0, pick_up),
    "reach": (3.0, reach_over),
    "noisy-stack": (12.0, noisy(stack_up)),
    "noisy-grasp": (8.0, noisy(pick_up)),
    "failed-stack": (8.0, failed_stack),
    "drop": (5.0, drop),
    "near-miss": (4.0, near_miss),
    "topple": (2.0, topple),
    "swap": (1.0, swap_up),
    "push": (10.0, push),
    "around": (12.0, around),
    "wander": (5.0, wander),
    "wait": (3.0, wait),
}
_NAMES: Final = tuple(WEIGHTS)
_SHARES: Final = np.array([weight for weight, _ in WEIGHTS.values()]) / sum(weight for weight, _ in WEIGHTS.values())
# What may follow, by the situation that the piece before left.
_AFTER_TOWER: Final[tuple[ScriptFactory, ...]] = (topple, topple, put_down, put_down, near_miss, around, wait)
_WHILE_HOLDING: Final[tuple[ScriptFactory, ...]] = (put_down, drop, failed_stack, stack_up, pick_up)


def behave(name: str) -> ScriptFactory:
    """Script of an episode that begins with the behaviour `name` and goes on with others for ever."""

    def script(bench: Bench, rng: Rng) -> Script:
        # The frames before anything happens are what a learned world gets as context.
        yield from hold(int(rng.integers(0, 5)))
        yield from WEIGHTS[name][1](bench, rng)
        while True:
            yield from hold(1)
            yield from _next_piece(bench, rng)(bench, rng)

    return script


def _next_piece(bench: Bench, rng: Rng) -> ScriptFactory:
    if grasped(bench) is not None:
        return _WHILE_HOLDING[rng.integers(len(_WHILE_HOLDING))]
    if tower(bench) is not None:
        return _AFTER_TOWER[rng.integers(len(_AFTER_TOWER))]
    return WEIGHTS[_NAMES[rng.choice(len(_NAMES), p=_SHARES)]][1]


def mixed(env: Any, seed: int) -> ScriptedPolicy:
    """Policy of one behaviour drawn by `WEIGHTS`; its `name` says which."""
    rng = np.random.default_rng([seed, len(_NAMES)])
    name = _NAMES[rng.choice(len(_NAMES), p=_SHARES)]
    return ScriptedPolicy(env, behave(name), name, seed)


def let_loose(bench: Bench, rng: Rng) -> Script:
    """Strike cubes and let them fall: what friction and gravity decide, and nothing holds back."""
    yield from hold(int(rng.integers(0, 5)))
    while True:
        yield from (strike if rng.random() < 0.6 else drop)(bench, rng)
        yield from hold(int(rng.integers(1, 5)))
