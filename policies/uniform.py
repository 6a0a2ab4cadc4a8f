"""Policies that look at nothing: uniformly random actions, holding still, and following a recording."""

from collections.abc import Iterable

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.policies.policy import Actions, Observation, Starts, State


class UniformPolicy:
    """Independent uniform actions at every step."""

    name = "uniform"

    def __init__(self, space: spaces.Box, seed: int = 0) -> None:
        """Draw from the bounds of one action.

        Raises:
            ConfigError: They are not finite.
        """
        if not space.is_bounded():
            raise ConfigError(f"uniform actions need finite bounds, got {space}")
        self._low, self._high = space.low.astype(np.float64), space.high.astype(np.float64)
        self._rng = np.random.default_rng(seed)

    def predict(
        self, observation: Observation, state: State = None, episode_start: Starts = None, deterministic: bool = False
    ) -> tuple[Actions, State]:
        """Draw actions."""
        shape = (*observation["agent_pos"].shape[:-1], *self._low.shape)
        return self._rng.uniform(self._low, self._high, shape).astype(np.float32), None


class RecordedPolicy:
    """Follows actions (A,), each step the next one."""

    name = "recorded"

    def __init__(self, actions: Iterable[NDArray[np.float32]]) -> None:
        """Begin with the first action."""
        self._actions = iter(actions)

    def predict(
        self, observation: Observation, state: State = None, episode_start: Starts = None, deterministic: bool = False
    ) -> tuple[Actions, State]:
        """Return the next action, in every row."""
        return np.tile(next(self._actions), (*observation["agent_pos"].shape[:-1], 1)), None


class HoldPolicy:
    """The null action at every step: zeros, or of a robot that is told where to be the pose that it began in."""

    name = "hold"

    def __init__(self, space: spaces.Box, schema: Schema | None = None) -> None:
        """Hold within the bounds of one action; `schema` says which actions are targets."""
        self._space, self._schema = space, schema

    def predict(
        self, observation: Observation, state: State = None, episode_start: Starts = None, deterministic: bool = False
    ) -> tuple[Actions, State]:
        """Return zeros, or the pose that each row had when its episode began."""
        reported = np.asarray(observation["agent_pos"], np.float32)
        if self._schema is None:
            zeros = np.zeros((*reported.shape[:-1], *self._space.shape), np.float32)
            return zeros.clip(self._space.low, self._space.high), None
        still = self._schema.hold(reported)
        if state is not None:
            begun = np.zeros(still.shape[:-1], bool) if episode_start is None else np.asarray(episode_start)
            still = np.where(begun.reshape(still.shape[:-1])[..., None], still, state)
        return still.clip(self._space.low, self._space.high), still
