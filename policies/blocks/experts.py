"""Scripted experts for reach, grasp and stack, as policies like any other.

They are privileged: they read cube poses and grasps from the environment they are made with, which an image policy
cannot. The scripts watch the measured state, so a missed or lost cube is picked again.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks.spec import COMMAND
from gwm_sim.envs.blocks.tasks import BLUE, RED, reach_point
from gwm_sim.policies.blocks.motions import Bench, Script, hold, lift, pick, place, release, toward
from gwm_sim.policies.policy import Actions, Observation, Starts, State

LIFTED: Final = 0.13  # height of the end-effector at which the grasp expert holds the cube [m]

ScriptFactory = Callable[[Bench, np.random.Generator], Script]


class ScriptedPolicy:
    """Runs one script per environment, a fresh one at every start of an episode.

    Its memory are the running scripts: pass back the state that `predict` returns.
    """

    def __init__(self, env: Any, script: ScriptFactory, name: str, seed: int = 0) -> None:
        """Make the policy.

        Args:
            env: The environment it will act in, single or vector; it must tell where its cubes are, as the twin and
                learned block worlds do.
            script: Makes the script of one episode.
            name: What to call this behaviour.
            seed: Row i draws from its own generator, seeded seed + i.
        """
        self.name = name
        self._env = env.unwrapped
        if not hasattr(self._env, "task_state"):
            raise ValueError(
                f"{type(self._env).__name__} has no task_state(): scripts need a world that tells where its cubes are"
            )
        self._script = script
        self._seed = seed

    def predict(
        self, observation: Observation, state: State = None, episode_start: Starts = None, deterministic: bool = False
    ) -> tuple[Actions, State]:
        """Advance every script by one step."""
        command = np.asarray(observation["agent_pos"], dtype=np.float64)[..., COMMAND]
        batched = command.ndim == 2
        commands = np.atleast_2d(command)
        task_state = self._env.task_state()
        # Not the stream of the start, which has the same seed: behaviour must not follow from the start.
        rows: list[_Row] = state or [_Row(np.random.default_rng([self._seed + i, 1])) for i in range(len(commands))]
        starts = np.zeros(len(rows), bool) if episode_start is None else np.atleast_1d(episode_start)
        actions = np.empty((len(rows), 4), np.float32)
        for i, row in enumerate(rows):
            bench = Bench(task_state[i] if batched else task_state, commands[i])
            actions[i] = row.advance(bench, self._script, fresh=bool(starts[i]))
        return (actions if batched else actions[0]), rows


class _Row:
    """One environment's generator, live bench and running script."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._bench: Bench | None = None
        self._running: Script | None = None

    def advance(self, now: Bench, script: ScriptFactory, fresh: bool) -> NDArray[np.float64]:
        if self._bench is None or self._running is None or fresh:
            self._bench = now
            self._running = script(self._bench, self._rng)
        else:
            self._bench.state, self._bench.command = now.state, now.command
        return next(self._running, np.zeros(4)).clip(-1.0, 1.0)


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
