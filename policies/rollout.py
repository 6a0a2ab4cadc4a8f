"""The one loop that acts: a policy in one environment or in a vector of them, step by step.

Whoever evaluates, records or films asks for steps and looks at the world between them.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from gwm_sim.policies.policy import Observation, Policy

Env = gym.Env[Any, Any] | VectorEnv[Any, Any, Any]


class Step(NamedTuple):
    """What one step of n rows led to; a single environment is one row, whose action and observation have no row axis.

    Of a row that is done, a vector environment that resets in the same step already shows the next episode.
    """

    action: NDArray[np.float32]  # (n, A)
    observation: Observation  # each (n, ...)
    reward: NDArray[Any]  # (n,)
    done: NDArray[np.bool_]  # (n,)
    info: dict[str, Any]

    def last(self, key: str) -> NDArray[Any]:
        """An entry (n,) of the info at the end of this step, also for rows that are done."""
        now = np.atleast_1d(self.info[key])
        final = self.info.get("final_info", {}).get(key, now)
        return np.where(self.done & self.info.get("_final_info", False), final, now)


def rows_of(env: Env) -> int:
    """Episodes that run at a time."""
    return env.num_envs if isinstance(env, VectorEnv) else 1


def rollout(
    policy: Policy, env: Env, observation: Observation, deterministic: bool = True, clip: bool = False
) -> Iterator[Step]:
    """Act from the observation of a reset on: in a single environment to its end, in a vector of them for ever.

    With `clip`, actions of a policy that does not keep to float32 within bounds are made so before they are executed.
    """
    space: Any = env.action_space
    state, start = None, np.ones(rows_of(env), bool)
    while True:
        action, state = policy.predict(observation, state=state, episode_start=start, deterministic=deterministic)
        if clip:
            action = np.clip(action, space.low, space.high).astype(np.float32)
        observation, rewards, terminated, truncated, info = env.step(action)
        start = np.atleast_1d(terminated | truncated)
        yield Step(action, observation, np.atleast_1d(np.asarray(rewards)), start, info)
        if start.all() and not isinstance(env, VectorEnv):
            return
