"""A price on uncertainty."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorWrapper
from numpy.typing import NDArray

from gwm_sim.envs.single_env import AnyVector, SingleWrapper
from gwm_sim.envs.spaces import UNCERTAINTY, Observation
from gwm_sim.envs.vector_world import VectorStep


class VectorUncertaintyPenalty(VectorWrapper):
    """Take from the reward `weight` for every centimetre by which the uncertainty grew in this step.

    Where the model is unsure a policy would otherwise live on its errors (MOPO, https://arxiv.org/abs/2005.13239). The
    uncertainty of an imagined world adds up, so the growth is what this step is answerable for. In the twin nothing is
    uncertain and the reward stays.
    """

    def __init__(self, env: AnyVector, weight: float) -> None:
        """Wrap `env`; `weight` is the price [1/cm]."""
        super().__init__(env)
        self._weight = positive("weight", weight)
        self._before = np.zeros(env.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset rows of the environment."""
        observation, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        self._before = np.array(infos.get(UNCERTAINTY, self._before))
        return observation, infos

    def step(self, actions: Any) -> VectorStep:
        """Step all rows and charge each for its step."""
        observation, rewards, terminated, truncated, infos = self.env.step(actions)
        if UNCERTAINTY in infos:
            rewards = rewards - self._weight * (last_uncertainty(infos) - self._before)
            self._before = infos[UNCERTAINTY].copy()
        return observation, rewards, terminated, truncated, infos


class UncertaintyPenalty(SingleWrapper):
    """`VectorUncertaintyPenalty` of a single environment."""

    vector = VectorUncertaintyPenalty


def last_uncertainty(infos: Mapping[str, Any]) -> NDArray[np.float64]:
    """Uncertainty (num_envs,) at the end of this step, also of rows that were reset in it."""
    now = np.asarray(infos[UNCERTAINTY])
    final = infos.get("final_info", {}).get(UNCERTAINTY)
    return now if final is None else np.where(infos["_final_info"], final, now)


def positive(name: str, value: float) -> float:
    """The value of an argument that must be positive.

    Raises:
        ValueError: It is not.
    """
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")
    return value
