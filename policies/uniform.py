"""The floors: uniformly random actions, and holding still."""

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks.spec import ACTION_NAMES
from gwm_sim.policies.policy import Observation, State


class UniformPolicy:
    """Independent uniform actions at every step."""

    name = "uniform"

    def __init__(self, seed: int = 0, actions: int = len(ACTION_NAMES)) -> None:
        """Draw vectors of so many numbers."""
        self._rng, self._actions = np.random.default_rng(seed), actions

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """Draw actions in [-1, 1]."""
        shape = (*observation["agent_pos"].shape[:-1], self._actions)
        return self._rng.uniform(-1.0, 1.0, shape).astype(np.float32), None


class HoldPolicy:
    """The null action at every step."""

    name = "hold"

    def __init__(self, actions: int = len(ACTION_NAMES)) -> None:
        """Give vectors of so many zeros."""
        self._actions = actions

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """Return zeros."""
        return np.zeros((*observation["agent_pos"].shape[:-1], self._actions), np.float32), None
