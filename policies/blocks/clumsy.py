"""Hands that do not follow the script: pressed on, half closed, let go little by little, unsteady, absent.

A policy that is still learning does all of this. A model that has only seen clean grips believes whatever it likes of
the others: fingers that close through a cube, or carry it without touching it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from gwm_sim.envs.blocks.spec import CUBE_SIZE, GRIPPER_MAX, GRIPPER_SCALE
from gwm_sim.policies.blocks import behaviours
from gwm_sim.policies.blocks.motions import KEEP, Array, Bench, Script, hold, hover, lift, move

Rng = np.random.Generator


def handle(bench: Bench, rng: Rng) -> Script:
    """Take cubes, carry and stack them for ever, each time with other habits."""
    yield from hold(int(rng.integers(0, 5)))
    while True:
        pieces = WHILE_HOLDING if behaviours.held(bench) is not None else PIECES
        piece = pieces[rng.integers(len(pieces))]
        yield from habitual(piece(bench, rng), rng)
        yield from hold(1)


def habitual(script: Iterator[Array], rng: Rng) -> Iterator[Array]:
    """The same movements by a hand with habits: it goes on closing or opening, does so gently, trembles, has lapses."""
    presses = rng.random() < 0.5
    gain = 1.0 if rng.random() < 0.6 else rng.uniform(0.15, 0.8)
    tremor = 0.0 if rng.random() < 0.4 else rng.uniform(0.05, 0.5)
    lapse = 0.0 if rng.random() < 0.7 else rng.uniform(0.03, 0.2)
    yield from clumsy(script, rng, presses, gain, tremor, lapse)


def clumsy(
    script: Iterator[Array], rng: Rng, presses: bool, gain: float, tremor: float, lapse: float
) -> Iterator[Array]:
    """The same movements by another hand.

    Args:
        script: Actions (4,).
        rng: What the hand draws from.
        presses: Whether it goes on closing or opening where it would hold still.
        gain: Factor on the rate of the gripper.
        tremor: Standard deviation of the noise on its movements, in units of the fastest one.
        lapse: Share of the actions in whose place it does anything at all.
    """
    rate = KEEP
    for action in script:
        if rng.random() < lapse:
            yield rng.uniform(-1.0, 1.0, 4)
            continue
        if not presses or action[3] != KEEP:
            rate = action[3]
        yield np.append(action[:3] + tremor * rng.normal(size=3), gain * rate)


def build(bench: Bench, rng: Rng) -> Script:
    """Stack red on blue and take it down for ever, each time with another steadiness: of a tower that falls, the cube
    was let go of aside, too high, or turned."""
    yield from hold(int(rng.integers(0, 5)))
    while True:
        tremor = rng.uniform(0.0, 0.4)
        lapse = 0.0 if rng.random() < 0.6 else rng.uniform(0.05, 0.4)
        yield from clumsy(behaviours.stack_up(bench, rng), rng, False, 1.0, tremor, lapse)
        yield from hold(1)


def half_grip(bench: Bench, rng: Rng) -> Script:
    """Close around a cube to some opening, wider than the cube or hardly narrower, and go up."""
    index = behaviours.choose_cube(bench, rng)
    offset = behaviours.aside(rng, 0.0, 0.012)
    if not (yield from hover(bench, index, offset=offset, speed=rng.uniform(0.5, 1.0))):
        return
    yield from move(bench, lambda: bench.cube(index) + offset, tolerance=0.008, limit=8)
    wanted, steps = rng.uniform(CUBE_SIZE - 0.004, GRIPPER_MAX - 0.005), int(rng.integers(1, 4))
    rate = (GRIPPER_MAX - wanted) / GRIPPER_SCALE / steps
    yield from hold(steps, min(rate, 1.0))
    yield from lift(bench, bench.command[2] + rng.uniform(0.03, 0.15), rng.uniform(0.3, 1.0))
    aside = bench.command + behaviours.aside(rng, 0.0, 0.08)
    yield from move(bench, lambda: aside, tolerance=0.02, limit=6)
    yield from hold(int(rng.integers(1, 6)))


def slacken(bench: Bench, rng: Rng) -> Script:
    """Open a little while something is held, standing or moving."""
    yield from lift(bench, bench.command[2] + rng.uniform(0.0, 0.1))
    drift = rng.uniform(-0.5, 0.5, 3) * (rng.random() < 0.5)
    for _ in range(int(rng.integers(1, 6))):
        yield np.append(drift, rng.uniform(-0.4, 0.0))
    yield from hold(int(rng.integers(1, 6)))


Piece = Callable[[Bench, Rng], Iterator[Array]]
PIECES: Final[tuple[Piece, ...]] = (
    *(behaviours.stack_up,) * 3,
    *(behaviours.pick_up,) * 3,
    *(half_grip,) * 2,
    behaviours.around,
    behaviours.near_miss,
)
WHILE_HOLDING: Final[tuple[Piece, ...]] = (
    *(behaviours.stack_up,) * 2,
    *(behaviours.pick_up,) * 2,
    slacken,
    behaviours.put_down,
    behaviours.failed_stack,
    behaviours.drop,
)
