"""Experts that are disturbed succeed less, and tell by sight what they grasp."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from gwm_sim.envs.blocks.tasks import TASK
from gwm_sim.policies.evaluation import evaluate
from gwm_sim.policies.registry import make_policy


def test_noise_and_wrong_offsets_cost_the_expert_its_success() -> None:
    rates = []
    for spec in ("scripted", "scripted:noise=0.6", "scripted:offset=0.06"):
        policy, env = make_policy(spec, gym.make_vec("MuJoCo-BlockReach-v0", num_envs=10, rendering="fast"))
        rates.append(evaluate(policy, env, 10, seed=0).success_rate)
    assert rates[0] == 1.0 and max(rates[1:]) < 1.0


def test_experts_tell_by_sight_what_they_hold() -> None:
    """Fingers that feel nothing make an expert act no other way."""

    class Touchless:
        """The twin, whose fingers never feel anything."""

        def __init__(self, env: Any) -> None:
            self.unwrapped, self._env = self, env.unwrapped
            self.task, self.num_envs = self._env.task, 2

        def task_state(self) -> Any:
            state = self._env.task_state()
            return replace(state, grasped=np.zeros_like(state.grasped))

    actions = []
    worlds: tuple[Any, ...] = (lambda env: env, Touchless)
    for wrap in worlds:
        env = gym.make_vec("MuJoCo-BlockStack-v0", num_envs=2, rendering="fast", size=8)
        policy = make_policy("scripted", wrap(env)).policy
        observation, _ = env.reset(seed=0)
        memory = None
        for _ in range(30):
            action, memory = policy.predict(observation, memory)
            observation, *_ = env.step(action)
            actions.append(action)
        assert env.unwrapped.task_state().position[:, 0, 2].min() > 0.06  # type: ignore[attr-defined]
        env.close()
    np.testing.assert_array_equal(actions[:30], actions[30:])


def test_a_pressing_hand_never_rests() -> None:
    env = gym.make_vec("MuJoCo-BlockGrasp-v0", num_envs=2, rendering="fast", size=8)
    policy, seen = make_policy("scripted:press=1", env)
    observation, _ = seen.reset(seed=0)
    memory, start, rates = None, np.ones(2, bool), []
    for _ in range(30):
        actions, memory = policy.predict(observation, memory, start)
        start = np.zeros(2, bool)
        rates.append(actions[:, 3])
        observation, *_ = seen.step(actions)
    assert (np.array(rates)[5:] != 0).all() and (rates[-1] == 1).all()
    single = gym.make("MuJoCo-BlockGrasp-v0", rendering="fast", size=8)
    assert evaluate(make_policy("scripted:press=1", single).policy, single, 2, seed=0).success_rate == 1.0


def test_the_learned_world_tells_the_expert_what_it_believes(tiny_checkpoint: Path) -> None:
    env: Any = gym.make_vec("GWM-BlockReach-v0", num_envs=3, model=tiny_checkpoint)
    env.reset(seed=0)
    state = env.unwrapped.task_state()
    assert state.position.shape == (3, 2, 3) and state.grasped.dtype == bool
    assert TASK["reach"].reward(state).shape == (3,)
    policy, seen = make_policy("scripted", env)
    assert evaluate(policy, seen, 3, seed=0).episodes[0].length == 30
