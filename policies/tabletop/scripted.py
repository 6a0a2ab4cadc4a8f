"""The policy that runs scripts: privileged, since it reads the state of the environment that it is made with."""

from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.tabletop.robot import COMMAND
from gwm_sim.policies.policy import Actions, Observation, Starts, State
from gwm_sim.policies.tabletop.motions import AnyBench, Script

BenchOf = TypeVar("BenchOf", bound=AnyBench)
Factory = Callable[[BenchOf, np.random.Generator], Script]
"""Makes the script of one episode."""


class ScriptedPolicy(Generic[BenchOf]):
    """Runs one script per environment, a fresh one at every start of an episode.

    Its memory are the running scripts: pass back the state that `predict` returns.
    """

    bench: ClassVar[type[Any]]
    """What scripts see of the world."""

    def __init__(self, env: Any, script: Factory[BenchOf], name: str, seed: int = 0) -> None:
        """Make the policy.

        Args:
            env: The environment it will act in, single or vector; it must tell where its objects are, as twins and
                learned worlds do.
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
        rows: list[_Row[BenchOf]] = state or [
            _Row(np.random.default_rng([self._seed + i, 1])) for i in range(len(commands))
        ]
        starts = np.zeros(len(rows), bool) if episode_start is None else np.atleast_1d(episode_start)
        actions = np.empty((len(rows), 4), np.float32)
        for i, row in enumerate(rows):
            bench = self.bench(task_state[i] if batched else task_state, commands[i])
            actions[i] = row.advance(bench, self._script, fresh=bool(starts[i]))
        return (actions if batched else actions[0]), rows


class _Row(Generic[BenchOf]):
    """One environment's generator, live bench and running script."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._bench: BenchOf | None = None
        self._running: Script | None = None

    def advance(self, now: BenchOf, script: Factory[BenchOf], fresh: bool) -> NDArray[np.float64]:
        if self._bench is None or self._running is None or fresh:
            self._bench = now
            self._running = script(self._bench, self._rng)
        else:
            self._bench.state, self._bench.command = now.state, now.command
        return next(self._running, np.zeros(4)).clip(-1.0, 1.0)
