"""What environments of any world must do: inherit it, and say how they are made."""

from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common import env_checker as sb3_checker

from gwm_sim.envs.blocks import spec


class WorldConformance(ABC):
    """Claims about both worlds; `options` are the keyword arguments that make one."""

    world = ""

    @pytest.fixture
    @abstractmethod
    def options(self) -> dict[str, Any]: ...

    @pytest.mark.parametrize("task", spec.TASKS)
    def test_checkers_accept_the_environment(self, task: str, options: dict[str, Any]) -> None:
        env = gym.make(spec.env_id(self.world, task), **options)
        check_env(env.unwrapped)
        sb3_checker.check_env(env)
        env.close()

    @pytest.mark.parametrize("task", spec.TASKS)
    def test_the_time_limit_truncates_and_nothing_terminates(self, task: str, options: dict[str, Any]) -> None:
        env = gym.make(spec.env_id(self.world, task), **options)
        env.reset(seed=0)
        ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(spec.TIME_LIMIT[task])]
        assert ends == [(False, False)] * (len(ends) - 1) + [(False, True)]
        env.close()

    def test_bad_actions_are_refused_and_large_ones_clipped(self, options: dict[str, Any]) -> None:
        env: Any = gym.make(spec.env_id(self.world, "stack"), **options).unwrapped
        env.reset(seed=0)
        with pytest.raises(ValueError, match="shape"):
            env.step(np.zeros(3, np.float32))
        with pytest.raises(ValueError, match="finite"):
            env.step(np.array([np.nan, 0, 0, 0], np.float32))
        state = env.get_state()
        large = env.step(np.array([9, -9, 9, 9], np.float32))[0]
        env.set_state(state)
        clipped = env.step(np.array([1, -1, 1, 1], np.float32))[0]
        assert large.keys() == clipped.keys()
        assert all(np.array_equal(large[key], clipped[key]) for key in large)
        env.close()

    def test_sparse_reward_is_the_success(self, options: dict[str, Any]) -> None:
        env = gym.make(spec.env_id(self.world, "reach"), reward="sparse", **options)
        env.reset(seed=0)
        for action in np.random.default_rng(0).uniform(-1, 1, (10, 4)).astype(np.float32):
            _, reward, _, _, info = env.step(action)
            assert reward == float(info["success"]) and type(info["success"]) is bool
        env.close()

    def test_rendering_without_a_mode_is_refused(self, options: dict[str, Any]) -> None:
        env = gym.make(spec.env_id(self.world, "reach"), **options).unwrapped
        env.reset(seed=0)
        with pytest.raises(ValueError, match="render_mode"):
            env.render()
        env.close()
