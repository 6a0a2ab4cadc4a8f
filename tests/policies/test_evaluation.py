"""Evaluation: what of an episode counts, and where it began."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from gwm_sim.envs.spaces import SUCCESS_OF
from gwm_sim.policies.evaluation import evaluate
from gwm_sim.policies.rollout import Env
from gwm_sim.policies.uniform import HoldPolicy

STEPS = 8


class Staged(gym.Env[Any, Any]):
    """Even seeds succeed from the third step on; "reach" is fulfilled at the second step of any, "late" at the last."""

    observation_space = gym.spaces.Dict({"agent_pos": gym.spaces.Box(-1, 1, (1,), np.float32)})
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.own = 0, seed
        return {"agent_pos": np.zeros(1, np.float32)}, self.told()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return {"agent_pos": np.zeros(1, np.float32)}, 1.0, False, self.steps == STEPS, self.told()

    def told(self) -> dict[str, bool]:
        stages = {"reach": self.steps == 2, "late": self.steps == STEPS, "never": False}
        success = self.own is not None and self.own % 2 == 0 and self.steps >= 3
        return {"success": success} | {f"{SUCCESS_OF}{name}": reached for name, reached in stages.items()}


def staged(rows: int | None) -> Env:
    return Staged() if rows is None else SyncVectorEnv([Staged] * rows, autoreset_mode=AutoresetMode.SAME_STEP)


def test_every_seed_is_scored_once_whatever_the_rows() -> None:
    policy = HoldPolicy(Staged.action_space)
    alone, *others = (evaluate(policy, staged(rows), 5, seed=10).episodes for rows in (None, 1, 2, 4))
    assert [run.seed for run in alone] == list(range(10, 15)) and all(runs == alone for runs in others)
    assert [run.success for run in alone] == [True, False, True, False, True]
    assert alone[0].steps_to_success == 7 and alone[1].steps_to_success is None


def test_stages_are_those_that_were_fulfilled_at_any_step() -> None:
    for rows in (None, 2):
        episodes = evaluate(HoldPolicy(Staged.action_space), staged(rows), 2, seed=0).episodes
        assert [run.stages for run in episodes] == [("late", "reach")] * 2


def test_decided_episodes_may_end_early() -> None:
    first, second = evaluate(HoldPolicy(Staged.action_space), staged(2), 2, seed=0, until_sustained=True).episodes
    assert first.length == 7 and second.length == STEPS
