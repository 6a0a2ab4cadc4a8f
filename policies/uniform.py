"""The floors: uniformly random actions, and holding still."""

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.contract import ACTION_NAMES
from gwm_sim.policies.policy import Observation, State


def _action_shape(observation: Observation) -> tuple[int, ...]:
    return (*observation["agent_pos"].shape[:-1], len(ACTION_NAMES))


class UniformPolicy:
    """Independent uniform actions at every step."""

    name = "uniform"

    def __init__(self, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """Draw actions in [-1, 1]."""
        return self._rng.uniform(-1.0, 1.0, _action_shape(observation)).astype(np.float32), None


class HoldPolicy:
    """The null action at every step."""

    name = "hold"

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """Return zeros."""
        return np.zeros(_action_shape(observation), np.float32), None
