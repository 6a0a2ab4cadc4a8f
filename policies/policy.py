"""The contract of a policy, which stable-baselines3's `predict` fulfils; `policies.testing.PolicyConformance` holds it.

    state, start = None, np.ones(num_envs, bool)
    while True:
        actions, state = policy.predict(observation, state, start)
        observation, rewards, terminated, truncated, infos = env.step(actions)
        start = terminated | truncated

is what `rollout` does, and all that a policy may rely on.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Observation = Any  # dict of arrays, with or without a leading num_envs axis
State = Any  # what a policy without memory calls None
Starts = NDArray[np.bool_] | None
Actions = NDArray[np.float32]


class Policy(Protocol):
    """Maps observations to actions, for one environment or for many.

    One `predict` is one step of all rows, in the order of time. What a policy remembers of the episodes that it is in
    belongs in `state`; random numbers may be its own. It is made for one number of rows, or serves any.
    """

    def predict(
        self, observation: Observation, state: State = None, episode_start: Starts = None, deterministic: bool = False
    ) -> tuple[Actions, State]:
        """Choose the actions of the next step.

        Args:
            observation: What the environment returned last, of one environment or with a leading num_envs axis. It has
                at least `agent_pos`, by whose axes a policy tells the two, and is not to be written to.
            state: What the last call returned, to be passed back as it is; None at first, when all rows begin. A
                policy without memory returns None.
            episode_start: Rows (num_envs,), or (1,) of a single environment, of which this is the first observation of
                an episode: of what was before them nothing counts. None means none but those that `state` says.
            deterministic: Whether to take the most likely action instead of sampling one. What has no such choice, such
                as a script or uniform noise, takes no notice.

        Returns:
            Actions float32 (A,) or (num_envs, A) within the bounds of the environment's action space and in its units,
            and the memory for the next call.
        """
