"""stable-baselines3 on top of any Gymnasium `VectorEnv`: one batched model, one process, Dict observations.

SB3 steps lists of environments and has no adapter for a vector environment that is native. Put `VecMonitor` around this
one for episode statistics; SB3 adds `VecTransposeImage` by itself.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from gwm_sim.envs.single_env import row_of


class SB3VecEnv(VecEnv):
    """A Gymnasium `VectorEnv` as SB3 sees it.

    In the step that ends a row's episode the returned observation already is the first of the next one, as SB3 wants
    it; the row's info is the last one of the finished episode, with `terminal_observation` and `TimeLimit.truncated`,
    and the info of the new episode is in `reset_infos`.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        """Adapt `env`.

        Raises:
            ValueError: Its autoreset mode is not SAME_STEP, or SB3 has no use for its observation space.
        """
        mode = env.metadata.get("autoreset_mode")
        if mode is None or AutoresetMode(mode) is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"SB3 needs a vector environment that resets finished rows in the same step, this one has {mode}: "
                "make it with autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP"
            )
        space = env.single_observation_space
        leaves = list(space.values()) if isinstance(space, spaces.Dict) else [space]
        if any(isinstance(leaf, spaces.Dict | spaces.Tuple) for leaf in leaves):
            raise ValueError(f"SB3 takes observations that are arrays or a dict of arrays, this space is {space}")
        self.env: Any = env
        self.spec = env.spec  # VecMonitor names its log file's environment by it
        self._actions: NDArray[Any]
        super().__init__(env.num_envs, space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Reset all rows with the seeds of `seed` and the options of `set_options`, each of which is used once."""
        options, *others = self._options
        if any(other != options for other in others):
            raise ValueError(f"The rows of a vector environment share their reset options, got {self._options}")
        seed = None if all(s is None for s in self._seeds) else self._seeds
        observations: VecEnvObs
        observations, infos = self.env.reset(seed=seed, options=options or None)
        self.reset_infos = [row_of(infos, i) for i in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (num_envs, A) for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Advance all rows by one step."""
        observations, rewards, terminated, truncated, vector_info = self.env.step(self._actions)
        dones = terminated | truncated
        infos = [row_of(vector_info, i) for i in range(self.num_envs)]
        for i in np.flatnonzero(dones).tolist():
            last_observation, last_info = infos[i].pop("final_obs"), infos[i].pop("final_info", {})
            self.reset_infos[i] = infos[i]
            # The new episode's info stays below: wrappers write there what they know of the finished one.
            infos[i] = {**infos[i], **last_info, "terminal_observation": last_observation}
        for i, info in enumerate(infos):
            info["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        return observations, np.asarray(rewards, np.float32), dones, infos

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_images(self) -> list[NDArray[np.uint8] | None]:
        """Frame (H, W, 3) of each row, None where nothing is rendered."""
        if self.render_mode != "rgb_array":
            return [None] * self.num_envs
        return list(self.env.render() or ())

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Attribute of each row; one that all rows share is repeated."""
        env = self.env.unwrapped
        values = env.get_attr(attr_name) if hasattr(env, "get_attr") else (getattr(env, attr_name),) * self.num_envs
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of some rows; a native vector environment refuses what its rows can only share."""
        env = self.env.unwrapped
        rows = set(self._get_indices(indices))
        old = self.get_attr(attr_name) if len(rows) < self.num_envs else [None] * self.num_envs
        env.set_attr(attr_name, [value if i in rows else old[i] for i in range(self.num_envs)])

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method, for all rows at once, and return the results of the rows `indices`.

        A method of a wrapper, such as the `compute_reward` of goals, is asked once and its answer is every row's.
        """
        rows = list(self._get_indices(indices))
        env = self.env
        while env is not env.unwrapped:
            if hasattr(type(env), method_name) and not hasattr(VectorWrapper, method_name):
                return [getattr(env, method_name)(*method_args, **method_kwargs)] * len(rows)
            env = env.env
        results = env.call(method_name, *method_args, **method_kwargs)
        return [results[i] for i in rows]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Whether each row is wrapped; the rows of a native vector environment have no wrappers of their own."""
        envs = getattr(self.env.unwrapped, "envs", None)
        return [envs is not None and is_wrapped(envs[i], wrapper_class) for i in self._get_indices(indices)]
