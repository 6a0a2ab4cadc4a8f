"""Act by planning: look, imagine, execute the first block of the best plan, look again."""

from collections import deque
from collections.abc import Sequence
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwm_sim.envs.spaces import picture
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.cost import Explanation
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.objectives import Objective, default_objective
from gwm_sim.policies.planning.optimizers import Cost, WarmStart
from gwm_sim.policies.planning.plan_step import ContextWindow, MpcConfig, PlanStep
from gwm_sim.policies.planning.prior.examples import Examples
from gwm_sim.policies.planning.prior.guide import Guide
from gwm_sim.policies.policy import Observation, State


class MpcPolicy:
    """Model predictive control in a learned world, for one environment or a batch.

    Its memory, the `state` of `predict`, holds for each row the last frames, the rest of its plan and the warm start of
    the next; rows that run out of plan at the same time are planned together.
    """

    name = "mpc"

    def __init__(
        self,
        model: WorldModel,
        goal: Goal | Sequence[Goal],
        objective: Objective | None = None,
        config: MpcConfig | None = None,
        guide: Guide | None = None,
        examples: Examples | None = None,
    ) -> None:
        """Make the policy; the other arguments are those of `PlanStep`.

        Args:
            goal: What to reach, or sub-goals one after the other with the goal as the last; each has one row for every
                environment or a row for each, and all ask for the same kinds of things.
        """
        self.model = model
        self.goals = [goal] if isinstance(goal, Goal) else list(goal)
        self.objective = default_objective(model, self.goals[-1]) if objective is None else objective
        self.plan_seconds: list[float] = []
        """Duration of every plan that was made [s]."""
        self._step = PlanStep(model, self.objective, config, guide, examples)
        self.config = self._step.config

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """Continue the plan of every row, or make a new one; `deterministic` changes nothing."""
        begun = monotonic()
        telemetry = np.array(observation["agent_pos"], np.float32)  # copies: a window outlives the observation
        frames = np.array(picture(observation, self.model.config.cameras))
        batched = telemetry.ndim == 2
        if not batched:
            telemetry, frames = telemetry[None], frames[None]
        rows: list[_Row] = state or [
            _Row(self._step, [goal.select([i]) if goal.rows > 1 else goal for goal in self.goals], self.config.seed + i)
            for i in range(len(telemetry))
        ]
        fresh = np.zeros(len(rows), bool) if episode_start is None else np.atleast_1d(episode_start)
        for row, frame, reported, first in zip(rows, frames, telemetry, fresh, strict=True):
            if first:
                row.begin()
            row.window.see(frame, reported)
        if due := [row for row in rows if not row.queue]:
            self._plan(due, begun)
            self.plan_seconds.append(monotonic() - begun)
        actions = np.stack([row.act() for row in rows])
        return (actions if batched else actions[0]), rows

    @torch.inference_mode()
    def explain(self, state: State, row: int = 0) -> Explanation:
        """What the last plan of a row is expected to lead to, from the memory that `predict` returned."""
        world, goal, before, plan = state[row].planned
        return self._step.cost(world, goal, before).explain(plan)

    def cost(self, worlds: WorldState, goal: Goal, before: Tensor) -> Cost:
        """What plans cost that begin in some worlds, each with its row of the goal, behind actions `before` (B, A)."""
        return self._step.cost(worlds, goal, before)

    @torch.inference_mode()
    def _plan(self, rows: Sequence["_Row"], begun: float) -> None:
        """Make new plans for the rows that are due."""
        contexts = [row.window.arrays() for row in rows]
        worlds, before = self._step.encode(contexts), self._step.last([actions for _, _, actions in contexts])
        rate = self.model.config.schema.rate
        goals = [row.schedule.goal(worlds.select([i]), row.steps / rate) for i, row in enumerate(rows)]
        goal = Goal.join(goals)
        start = WarmStart.join([row.start for row in rows])
        generators = [row.generator for row in rows]
        cost = self.cost(worlds, goal, before)
        plans, actions, following = self._step.plan(worlds, goal, before, start, generators, cost, begun)
        for i, row in enumerate(rows):
            row.queue.extend(actions[i])
            row.start = following.select([i])
            row.planned = worlds.select([i]), goals[i], before[i : i + 1], plans[i : i + 1]


class _Row:
    """What is remembered of one environment."""

    planned: tuple[WorldState, Goal, Tensor, Tensor]
    """Where the last plan began, its goal, the action before it (1, A), and the plan (1, T, A)."""

    def __init__(self, step: PlanStep, goals: Sequence[Goal], seed: int) -> None:
        self._step, self._goals = step, goals
        self.generator = torch.Generator().manual_seed(seed)
        self.begin()

    def begin(self) -> None:
        """Forget everything but the state of the generator: an episode begins."""
        self.window = ContextWindow(self._step.model.config.control)
        self.queue: deque[NDArray[np.float32]] = deque()  # the rest of the plan
        self.start = self._step.hold()
        self.schedule = self._step.schedule(self._goals)
        self.steps = 0  # since the first frame of the episode

    def act(self) -> NDArray[np.float32]:
        """The next action of the plan."""
        action = self.queue.popleft()
        self.window.act(action)
        self.steps += 1
        return action
