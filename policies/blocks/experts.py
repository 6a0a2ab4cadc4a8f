"""Scripted experts for reach, grasp and stack, as policies like any other.

They are privileged: they read cube poses and grasps from the environment they are made with, which an image policy
cannot. The scripts watch the measured state, so a missed or lost cube is picked again.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from gwm_sim.envs.blocks.tasks import BLUE, RED, reach_point
from gwm_sim.policies.blocks.motions import Bench, Script, hold, lift, pick, place, release, toward
from gwm_sim.policies.tabletop import scripted

LIFTED: Final = 0.13  # height of the end-effector at which the grasp expert holds the cube [m]

ScriptFactory = Callable[[Bench, np.random.Generator], Script]


class ScriptedPolicy(scripted.ScriptedPolicy[Bench]):
    """Runs one script per environment of the block world, a fresh one at every start of an episode."""

    bench = Bench


def reach(bench: Bench, rng: np.random.Generator, speed: float = 1.0) -> Script:
    """Go to the point above the red cube and stay there."""
    while True:
        yield toward(bench, reach_point(bench.state), speed=speed)


def grasp(bench: Bench, rng: np.random.Generator, speed: float = 1.0) -> Script:
    """Pick the red cube and hold it up."""
    while True:
        if bench.grasped(RED):
            yield toward(bench, np.append(bench.command[:2], LIFTED), speed=speed)
        elif not (yield from pick(bench, RED, speed=speed)):
            yield from lift(bench, bench.command[2] + 0.05)


def stack(bench: Bench, rng: np.random.Generator, speed: float = 1.0) -> Script:
    """Put the red cube on the blue one, let go and stay away."""
    while True:
        if bench.is_stacked():
            yield from hold(1)
        elif not bench.grasped(RED) and not (yield from pick(bench, RED, speed=speed)):
            yield from lift(bench, bench.command[2] + 0.05)
        elif (yield from place(bench, RED, BLUE, speed=speed)):
            yield from release(bench)


EXPERTS: Final[dict[str, ScriptFactory]] = {"reach": reach, "grasp": grasp, "stack": stack}


def expert(env: Any, task: str | None = None, seed: int = 0) -> ScriptedPolicy:
    """The scripted expert of a task, by default the one of `env`."""
    task = env.unwrapped.task if task is None else task
    if task not in EXPERTS:
        raise ValueError(f"No expert for task {task!r}; there are {tuple(EXPERTS)}")
    return ScriptedPolicy(env, EXPERTS[task], f"scripted-{task}", seed)
