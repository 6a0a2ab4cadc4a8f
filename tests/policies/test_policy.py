"""Policies keep their contract, and the suite that says so finds those that do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from gwm_sim.envs.blocks import spec
from gwm_sim.errors import ConfigError
from gwm_sim.policies.policy import Policy
from gwm_sim.policies.rollout import Env
from gwm_sim.policies.testing.policy import PolicyConformance
from gwm_sim.policies.uniform import HoldPolicy, RecordedPolicy, UniformPolicy

ASKEW = gym.spaces.Box(np.array([0.5, -3.0], np.float32), np.array([2.0, -1.0], np.float32))


class Probe(gym.Env[Any, Any]):
    """Three steps of nothing, for actions of any bounds."""

    observation_space = gym.spaces.Dict({"agent_pos": gym.spaces.Box(-1, 1, (3,), np.float32)})

    def __init__(self, action_space: gym.spaces.Box) -> None:
        self.action_space, self._steps = action_space, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return {"agent_pos": self.np_random.uniform(-1, 1, 3).astype(np.float32)}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self._steps += 1
        return {"agent_pos": np.zeros(3, np.float32)}, 0.0, self._steps == 3, False, {}


def probe(num_envs: int | None, space: gym.spaces.Box = ASKEW) -> Env:
    if num_envs is None:
        return Probe(space)
    return SyncVectorEnv([lambda: Probe(space)] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


class TestUniform(PolicyConformance):
    def make_env(self, num_envs: int | None) -> Env:
        return probe(num_envs)

    def make_policy(self, env: Env) -> Policy:
        return UniformPolicy(ASKEW, seed=1)


class TestHold(TestUniform):
    def make_policy(self, env: Env) -> Policy:
        return HoldPolicy(ASKEW)


class TestRecorded(TestUniform):
    def make_policy(self, env: Env) -> Policy:
        return RecordedPolicy(np.tile(ASKEW.high, (5, 1)))


class TestScripted(PolicyConformance):
    def make_env(self, num_envs: int | None) -> Env:
        pytest.importorskip("mujoco")
        name = spec.env_id("twin", "grasp")
        options: dict[str, Any] = {"size": 4, "rendering": "fast"}
        return gym.make(name, **options) if num_envs is None else gym.make_vec(name, num_envs=num_envs, **options)

    def make_policy(self, env: Env) -> Policy:
        from gwm_sim.policies.registry import make_policy

        return make_policy("scripted:lapse=0.2:noise=0.1:press=1", env, seed=3).policy


class TestAgent(PolicyConformance):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        """A small agent that has learned nothing."""
        pytest.importorskip("stable_baselines3")
        from gwm_sim.policies.rl import SB3VecEnv
        from gwm_sim.policies.rl.agents import AgentConfig, algorithm, policy_kwargs, save_agent

        config = AgentConfig("ppo", "Probe", (), "", "", (8,), ())
        env: Any = self.make_env(1)
        make: Any = algorithm("ppo")
        agent = make("MultiInputPolicy", SB3VecEnv(env), policy_kwargs=policy_kwargs(config), device="cpu", seed=0)
        save_agent(agent, config, tmp_path)
        self.saved = tmp_path

    def make_env(self, num_envs: int | None) -> Env:
        return probe(num_envs, spec.action_space())

    def make_policy(self, env: Env) -> Policy:
        from gwm_sim.policies.rl.agents import AgentPolicy

        return AgentPolicy(self.saved)


class Broken(HoldPolicy):
    """Breaks the contract in one way."""

    def __init__(self, how: str) -> None:
        super().__init__(ASKEW)
        self._how, self._calls = how, 0

    def predict(self, observation: Any, state: Any = None, *others: Any, **more: Any) -> tuple[Any, Any]:
        action, _ = super().predict(observation)
        match self._how:
            case "bounds":
                return action + 5, None
            case "type":
                return action.astype(np.float64), None
            case "rows":
                return action[..., :1], None
            case "writes":
                observation["agent_pos"][:] = 0
            case "unseeded":
                return np.random.default_rng().uniform(ASKEW.low, ASKEW.high, action.shape).astype(np.float32), None
            case "memory":
                assert state is None
        return action, self._how


@pytest.mark.parametrize("how", ["bounds", "type", "rows", "writes", "unseeded", "memory"])
def test_the_suite_finds_broken_policies(how: str) -> None:
    class Suite(TestUniform):
        def make_policy(self, env: Env) -> Policy:
            return Broken(how)

    tests = [getattr(Suite(), name) for name in dir(Suite) if name.startswith("test_")]
    with pytest.raises(AssertionError):
        for test in tests:
            test()


def test_uniform_actions_fill_the_bounds_whatever_they_are() -> None:
    observation = {"agent_pos": np.zeros((1000, 3), np.float32)}
    drawn, _ = UniformPolicy(ASKEW, seed=0).predict(observation)
    np.testing.assert_allclose(drawn.min(axis=0), ASKEW.low, atol=0.02)
    np.testing.assert_allclose(drawn.max(axis=0), ASKEW.high, atol=0.02)
    usual, _ = UniformPolicy(spec.action_space(), seed=7).predict(observation)
    np.testing.assert_array_equal(usual, np.random.default_rng(7).uniform(-1.0, 1.0, (1000, 4)).astype(np.float32))
    with pytest.raises(ConfigError, match="finite bounds"):
        UniformPolicy(gym.spaces.Box(-np.inf, np.inf, (2,)))


def test_floors_by_name_act_within_the_bounds_of_the_world() -> None:
    from gwm_sim.policies.registry import make_policy

    for kind in ("uniform", "hold"):
        env = probe(2)
        observation, _ = env.reset(seed=0)
        action, _ = make_policy(kind, env).policy.predict(observation)
        assert env.action_space.contains(action)
