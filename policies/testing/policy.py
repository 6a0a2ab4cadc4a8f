"""What the contract of a policy says, as tests."""

from abc import ABC, abstractmethod
from copy import deepcopy
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwm_sim.policies.policy import Policy
from gwm_sim.policies.rollout import Env, rollout, rows_of


class PolicyConformance(ABC):
    """Holds a policy to `gwm_sim.policies.policy.Policy`.

    class TestMine(PolicyConformance):
        def make_env(self, num_envs):
            return gym.make(ID) if num_envs is None else gym.make_vec(ID, num_envs=num_envs)

        def make_policy(self, env):
            return Mine(seed=0)
    """

    steps = 5
    """How long to act in each test."""

    @abstractmethod
    def make_env(self, num_envs: int | None) -> Env:
        """A fresh environment that the policy is for: a vector of so many rows, or a single one for None."""

    @abstractmethod
    def make_policy(self, env: Env) -> Policy:
        """A fresh policy for an environment, with the same seed every time."""

    def test_actions_of_rows_are_of_the_action_space(self) -> None:
        """Shape, type and bounds, for a vector of environments."""
        self._act(self.make_env(3))

    def test_actions_of_one_environment_are_of_the_action_space(self) -> None:
        """Shape, type and bounds, for a single environment."""
        self._act(self.make_env(None))

    def test_equal_seeds_act_alike(self) -> None:
        """A fresh policy repeats what another one did."""
        np.testing.assert_array_equal(self._act(self.make_env(2)), self._act(self.make_env(2)))

    def test_all_rows_begin_where_there_is_no_memory(self) -> None:
        """Without a state it makes no difference whether `episode_start` says that episodes begin."""
        actions = []
        for start in (None, np.ones(2, bool)):
            env = self.make_env(2)
            observation, _ = env.reset(seed=0)
            actions.append(self.make_policy(env).predict(observation, None, start, True)[0])
        np.testing.assert_array_equal(actions[0], actions[1])

    def test_acts_on_into_the_next_episode(self) -> None:
        """The memory of an episode that was broken off is taken, and a new one begun."""
        env = self.make_env(2)
        policy, state, start = self.make_policy(env), None, np.ones(2, bool)
        for seed in range(3):
            action, state = policy.predict(env.reset(seed=seed)[0], state, start, True)
            assert env.action_space.contains(action)

    def test_observations_are_not_written_to(self) -> None:
        """Whoever records them finds them as the environment gave them."""
        env = self.make_env(2)
        observation, _ = env.reset(seed=0)
        before = deepcopy(observation)
        self.make_policy(env).predict(observation, None, np.ones(2, bool))
        for key, value in before.items():
            np.testing.assert_array_equal(observation[key], value)

    def _act(self, env: Env) -> NDArray[np.float32]:
        policy: Any = self.make_policy(env)
        observation, _ = env.reset(seed=0)
        actions = np.stack([step.action for step in islice(rollout(policy, env, observation), self.steps)])
        assert actions.dtype == np.float32, f"actions must be float32, got {actions.dtype}"
        for action in actions:
            assert env.action_space.contains(action), f"{action} of {rows_of(env)} rows is not in {env.action_space}"
        return actions
