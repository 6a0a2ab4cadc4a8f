"""What a policy is here: anything with stable-baselines3's `predict`."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Observation = Any  # dict of arrays, with or without a leading num_envs axis
State = Any


class Policy(Protocol):
    """Maps observations to actions, for one environment or for many.

    `state` is whatever the policy remembers between steps: pass back what the last call returned, None at first.
    Memoryless policies return None.
    """

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """Choose actions.

        Args:
            observation: Observation dict of one environment, or batched with a leading num_envs axis.
            state: The memory returned by the last call, None at first.
            episode_start: Which rows begin a new episode with this observation (num_envs,); None means none do.
            deterministic: Whether to take the most likely action instead of sampling one.

        Returns:
            Actions (A,) or (num_envs, A) in [-1, 1], and the memory for the next call.
        """
