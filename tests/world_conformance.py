"""What environments of any world must do: inherit it, and say how they are made."""

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common import env_checker as sb3_checker

from gwm_sim.envs.blocks import spec


def pickled(env: Any) -> Any:
    return pickle.loads(pickle.dumps(env))


def equal(a: Any, b: Any) -> bool:
    """Whether two outcomes are the same to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(equal, a, b))
    return np.array_equal(a, b)


class WorldConformance(ABC):
    """Claims about both worlds; `options` are the keyword arguments that make one."""

    world = ""

    @pytest.fixture
    @abstractmethod
    def options(self) -> dict[str, Any]: ...

    def make(self, task: str, rows: int = 0, **options: Any) -> Any:
        """The environment of a task, in vector form where there are `rows`."""
        name = spec.env_id(self.world, task)
        return gym.make_vec(name, num_envs=rows, **options) if rows else gym.make(name, **options)

    def limit(self, task: str) -> int:
        """Steps after which an episode of a task is truncated."""
        return spec.TIME_LIMIT[task]

    @pytest.mark.parametrize("task", spec.TASKS)
    def test_checkers_accept_the_environment(self, task: str, options: dict[str, Any]) -> None:
        env = self.make(task, **options)
        check_env(env.unwrapped)
        sb3_checker.check_env(env)
        env.close()

    @pytest.mark.parametrize("task", spec.TASKS)
    def test_the_time_limit_truncates_and_nothing_terminates(self, task: str, options: dict[str, Any]) -> None:
        env = self.make(task, **options)
        env.reset(seed=0)
        ends = [env.step(np.zeros(4, np.float32))[2:4] for _ in range(self.limit(task))]
        assert ends == [(False, False)] * (len(ends) - 1) + [(False, True)]
        env.close()

    def test_bad_actions_are_refused_and_large_ones_clipped(self, options: dict[str, Any]) -> None:
        env = self.make("stack", **options).unwrapped
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
        env = self.make("reach", reward="sparse", **options)
        env.reset(seed=0)
        for action in np.random.default_rng(0).uniform(-1, 1, (10, 4)).astype(np.float32):
            _, reward, _, _, info = env.step(action)
            assert reward == float(info["success"]) and type(info["success"]) is bool
        env.close()

    def test_rendering_without_a_mode_is_refused(self, options: dict[str, Any]) -> None:
        env = self.make("reach", **options).unwrapped
        env.reset(seed=0)
        with pytest.raises(ValueError, match="render_mode"):
            env.render()
        env.close()

    @pytest.mark.parametrize("duplicate", [deepcopy, pickled])
    @pytest.mark.parametrize("rows", [0, 2])
    def test_a_copy_goes_on_as_the_original_would(
        self, rows: int, duplicate: Callable[[Any], Any], options: dict[str, Any]
    ) -> None:
        """Also after its next reset, and whatever the original does meanwhile; `rows` of 0 is a single environment."""
        env = self.make("grasp", rows, **options)
        shape = (rows, 4) if rows else (4,)
        actions = np.random.default_rng(0).uniform(-1, 1, (6, *shape)).astype(np.float32)

        def live(world: Any) -> list[Any]:
            return [*(world.step(action) for action in actions[:4]), world.reset(), *map(world.step, actions[4:])]

        env.reset(seed=3)
        env.step(actions[0])
        twin = duplicate(env)
        other = duplicate(twin)
        expected = live(env)
        assert equal(live(twin), expected)
        assert equal(live(other), expected)
        assert not equal(expected[0], expected[1])
        for world in (env, twin, other):
            world.close()

    @pytest.mark.parametrize("duplicate", [deepcopy, pickled])
    def test_a_world_without_a_present_can_be_copied(
        self, duplicate: Callable[[Any], Any], options: dict[str, Any]
    ) -> None:
        env = self.make("reach", **options)
        twin = duplicate(env)
        assert equal(twin.reset(seed=5), env.reset(seed=5))
        env.close()
        twin.close()

    @pytest.mark.parametrize("rows", [0, 2])
    def test_nothing_happens_before_a_reset(self, rows: int, options: dict[str, Any]) -> None:
        env = self.make("reach", rows, **options, render_mode="rgb_array").unwrapped
        with pytest.raises(ResetNeeded, match="reset"):
            env.render()
        with pytest.raises(ResetNeeded, match="reset"):
            env.step(np.zeros((rows, 4) if rows else 4, np.float32))
        env.reset(seed=0)
        env.render()
        env.close()
