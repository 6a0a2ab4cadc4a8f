"""Plans that follow a policy through imagination, each a little off its way: the policy prior of a search.

A robot with a gripper is led by what people did with it (Hansen et al., 2022, https://arxiv.org/abs/2203.04955, where
such plans are some of many). A world that has hardly seen a grasp fail believes in those that a search invents, beside
the thing or with closed fingers; so plans leave the gripper to the policy and do not go far from it, and the world says
which of them is best.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final

import torch
from torch import Tensor

from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.hand import Hands
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.planning.prior.cloned import ClonedPolicy, goal_of, state_of

ASIDE: Final = 0.1  # standard deviation of the plan that is farthest off its way, in halves of the range of moves
WORK: Final = 4  # plans by way of places that take as long as one of these, which is followed before it is judged


class PolicyRollouts:
    """Draws such plans in the world of one model."""

    refined: ClassVar[bool] = False
    """A search around the best of them would lead away from the policy."""

    def __init__(self, model: WorldModel, moves: Moves, policy: ClonedPolicy) -> None:
        """Take the policy that is followed."""
        self._model, self._moves, self._policy = model, moves, policy
        self._hands = Hands(model, moves)

    def propose(
        self,
        worlds: WorldState,
        goal: Goal,
        before: Tensor,
        steps: int,
        block: int,
        count: int,
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        """Moves (B, S, steps, A) for B worlds behind actions `before` (B, A), in each plan step `block` environment
        steps alike; S is `count` // `WORK`, of which the first is the policy's own."""
        each, problems = max(1, count // WORK), len(worlds)
        rows = torch.arange(problems, device=before.device).repeat_interleave(each)
        followed = worlds.select(rows)
        followed = replace(followed, memory=followed.memory.clone())
        goals = goal_of(self._model, goal).expand(problems, -1)[rows]
        low, high = self._moves.bounds
        moving = self._hands.grips(worlds.select([0]), before[:1]) == 0
        aside = ASIDE * torch.linspace(0, 1, each, device=before.device).repeat(problems)[:, None]
        aside = aside * moving * (high - low) / 2
        first, last = self._policy.middle - self._policy.reach, self._policy.middle + self._policy.reach
        taken = []
        for _ in range(steps * block):
            chance = [torch.randn(each, len(low), generator=generator) for generator in generators]
            action = self._policy(state_of(self._model, followed), goals) + aside * torch.cat(chance).to(before.device)
            taken.append(torch.minimum(torch.maximum(action, first), last))
            followed = self._model.step_(followed, taken[-1], draw=False)
        actions = torch.stack(taken, dim=1).unflatten(1, (steps, block)).mean(dim=2)
        return self._moves.of(actions, before[rows], block).unflatten(0, (problems, each))
