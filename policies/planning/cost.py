"""The cost that planners minimise: imagine every candidate in a world model and judge what happens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gwm_sim.model.state import Rollout, WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.planning.objectives import Objective


@dataclass(frozen=True)
class Explanation:
    """What is expected of a plan, for T environment steps."""

    cost: Tensor  # (B,)
    terms: dict[str, Tensor]  # what each term adds to the cost, (B, T) or (B,)
    rollout: Rollout  # telemetry, objects, reward, success and uncertainty of each step
    frames: Tensor  # (B, T, H, W, 3) uint8, what the camera would see


@dataclass(frozen=True)
class ModelCost:
    """Costs of action sequences that begin in B present worlds: a `Cost` of the planners.

    One plan step is `block` environment steps with the same action.
    """

    model: WorldModel
    state: WorldState
    """The present worlds, B rows."""
    objective: Objective
    goal: Goal
    """Of B rows, or of one that all share."""
    block: int = 1
    """Environment steps per plan step."""
    chunk: int = 64
    """Worlds that are imagined at a time; each takes about a megabyte for its memory of the past."""
    moves: Moves | None = None
    """What plans are made of; None where these are actions."""
    before: Tensor | None = None
    """The actions before the plans, (B, A), where these are moves."""

    def __post_init__(self) -> None:
        if self.goal.rows not in (1, len(self.state)):
            raise ValueError(f"the goal has {self.goal.rows} rows, expected 1 or one for each of {len(self.state)}")

    def __call__(self, actions: Tensor) -> Tensor:
        """Costs (B, S) of plans (B, S, T, A)."""
        b, s = actions.shape[:2]
        plans = actions.flatten(0, 1).split(self.chunk)
        worlds = torch.arange(b, device=actions.device).repeat_interleave(s).split(self.chunk)
        return torch.cat([self._judge(*part) for part in zip(plans, worlds, strict=True)]).unflatten(0, (b, s))

    def _judge(self, plans: Tensor, worlds: Tensor) -> Tensor:
        """Costs (R,) of plans (R, T, A), each beginning in one of the present worlds (R,)."""
        actions = self.actions(plans, worlds)
        rollout = self.model.imagine(
            self.state.select(worlds), actions, judged=self.objective.judged, draw=self.objective.pictured
        )
        return self.objective(rollout, actions, self.goal.select(worlds))

    def actions(self, plans: Tensor, worlds: Tensor) -> Tensor:
        """The actions of environment steps that plans (R, T, A) mean, each in one of the present worlds (R,)."""
        steps = plans.repeat_interleave(self.block, dim=1)
        return steps if self.moves is None or self.before is None else self.moves.actions(steps, self.before[worlds])

    def explain(self, plans: Tensor) -> Explanation:
        """What is expected of one plan for each of the present worlds, (B, T, A)."""
        actions = self.actions(plans, torch.arange(len(plans), device=plans.device))
        rollout = self.model.imagine(self.state, actions)
        goal = self.goal.select(range(len(plans)))
        return Explanation(
            cost=self.objective(rollout, actions, goal),
            terms=self.objective.explain(rollout, actions, goal),
            rollout=rollout,
            frames=self.model.decode(rollout),
        )
