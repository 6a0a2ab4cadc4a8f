"""Both worlds of a task from the same starts, as vector environments for the one evaluation loop.

The twin is reset with a seed and held for the frames that a learned world is given; there both begin. Afterwards each
runs by itself to the time limit of the task.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from gwm_sim.envs.blocks.spec import TIME_LIMIT, env_id
from gwm_sim.envs.tabletop.paired_starts import HELD, PairedStart, start_twin, twin_options
from gwm_sim.envs.vector_world import Observation
from gwm_sim.model.world_model import WorldModel

World = Literal["twin", "learned"]
WORLDS: Final[tuple[World, ...]] = ("twin", "learned")


class PairedWorlds:
    """Makes the two worlds, and remembers the starts that it has shown."""

    def __init__(self, task: str, model: str | Path = "gwm-mini", rows: int = 20) -> None:
        """Prepare.

        Args:
            task: "reach", "grasp" or "stack".
            model: World model of the learned side.
            rows: Episodes that run at a time.
        """
        self.task = task
        self.rows = rows
        self.world_model = WorldModel.load(model)
        self._model = model
        self._twin: gym.Env[Any, Any] | None = None
        self._starts: dict[int, PairedStart] = {}

    def make(self, world: World, sees: bool = True) -> VectorEnv[Any, Any, Any]:
        """One of the worlds; its `reset(seed=s)` begins row i at the start of seed s + i.

        Args:
            world: "twin" or "learned".
            sees: Whether anybody looks at frames; drawing them takes most of the time of both.
        """
        if world == "learned":
            learned: Any = gym.make_vec(env_id("learned", self.task), num_envs=self.rows, model=self._model)
            if not sees:
                learned.unwrapped.observe_readings(())
            return _PairedRows(learned, self)
        from gwm_sim.envs.blocks.mujoco.vector import MuJoCoVectorEnv  # late: a learned world needs no MuJoCo

        options = twin_options(self.world_model.config) | ({} if sees else {"rendering": "fast"})
        limit = TIME_LIMIT[self.task] + len(HELD)
        return _HeldTwin(MuJoCoVectorEnv(self.rows, self.task, max_episode_steps=limit, **options))

    def start(self, seed: int) -> PairedStart:
        """What the learned world is given for the start of a seed."""
        if seed not in self._starts:
            if self._twin is None:
                self._twin = gym.make(env_id("twin", self.task), **twin_options(self.world_model.config))
            self._starts[seed] = start_twin(self._twin, self.world_model.config, seed)
        return self._starts[seed]


class _HeldTwin(VectorWrapper):
    """The twin, held still after every reset."""

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        for action in HELD:
            observation, _, _, _, info = self.env.step(np.tile(action, (self.num_envs, 1)))
        return observation, info


class _PairedRows(VectorWrapper):
    """A learned world whose rows begin where the twin was held."""

    def __init__(self, env: VectorEnv[Any, Any, Any], arena: PairedWorlds) -> None:
        super().__init__(env)
        self._arena = arena

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        if not isinstance(seed, int):
            raise ValueError(f"paired starts need the seed of the first row, got {seed!r}")
        observation, info = self.env.reset(seed=seed)  # the first reset must be of all rows
        for row in range(self.num_envs):
            mask = np.arange(self.num_envs) == row
            observation, info = self.env.reset(options={"reset_mask": mask, **self._arena.start(seed + row)._asdict()})
        return observation, info


__all__ = ["WORLDS", "PairedWorlds", "World"]
