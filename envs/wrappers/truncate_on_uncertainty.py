"""An end to episodes that are too uncertain."""

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorWrapper

from gwm_sim.envs.single_env import AnyVector, SingleWrapper
from gwm_sim.envs.spaces import UNCERTAINTY
from gwm_sim.envs.vector_world import VectorStep
from gwm_sim.envs.wrappers.uncertainty_penalty import positive


class VectorTruncateOnUncertainty(VectorWrapper):
    """End episodes whose uncertainty exceeds `limit`: what comes after is not worth learning from.

    It is a truncation, so that the value of going on is bootstrapped and ending early is no way to escape a penalty.
    Rows that end are reset in the same step; a single environment is left to whoever steps it.
    """

    def __init__(self, env: AnyVector, limit: float) -> None:
        """Wrap `env`; `limit` is the greatest expected error to accept [cm]."""
        super().__init__(env)
        self._limit = positive("limit", limit)

    def step(self, actions: Any) -> VectorStep:
        """Step all rows."""
        observation, rewards, terminated, truncated, infos = self.env.step(actions)
        uncertain = np.asarray(infos.get(UNCERTAINTY, np.zeros(self.num_envs))) > self._limit
        lost = uncertain & ~(terminated | truncated)
        if not lost.any() or self.metadata.get("autoreset_mode", AutoresetMode.SAME_STEP) is None:
            return observation, rewards, terminated, truncated | lost, infos
        fresh, begun = self.env.reset(options={"reset_mask": lost})
        final_obs = infos["final_obs"].copy() if "final_obs" in infos else np.full(self.num_envs, None, dtype=object)
        final_info = dict(infos.get("final_info", {}))
        for row in np.flatnonzero(lost):
            final_obs[row] = {key: value[row].copy() for key, value in observation.items()}
        ended = lost | infos.get("_final_obs", np.zeros(self.num_envs, bool))
        current = {key: value for key, value in infos.items() if isinstance(value, np.ndarray) and f"_{key}" in infos}
        for key, value in current.items():
            if key != "final_obs":
                kept = final_info.get(key, np.zeros_like(value))
                final_info |= {key: np.where(lost, value, kept), f"_{key}": ended.copy()}
        last = {"final_obs": final_obs, "_final_obs": ended, "final_info": final_info, "_final_info": ended.copy()}
        now = {key: np.where(lost, begun[key], value) for key, value in current.items() if key in begun}
        return fresh, rewards, terminated, truncated | lost, {**infos, **now, **last}


class TruncateOnUncertainty(SingleWrapper):
    """`VectorTruncateOnUncertainty` of a single environment."""

    vector = VectorTruncateOnUncertainty
