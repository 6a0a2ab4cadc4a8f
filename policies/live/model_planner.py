"""A planner that searches in a learned world while the robot moves."""

import math
from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

import torch

from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.live.planner import History
from gwm_sim.policies.live.safety import Vector
from gwm_sim.policies.planning import (
    Examples,
    Goal,
    Guide,
    MpcConfig,
    Objective,
    PlanStep,
    guided_config,
    searching_config,
)


def lead_of(seconds: float, rate: float) -> int:
    """How many steps before a plan is needed it has to be begun, if it takes so long [s], at so many steps a second."""
    return math.ceil(seconds * rate) + 1


def live_config(
    model: WorldModel, guide: Guide | None, seconds: float, rate: float, examples: Examples | None = None
) -> MpcConfig:
    """How to plan beside a robot that moves meanwhile: around what a guide proposes or by search, each plan in so many
    seconds, and executed for long enough that the next one is ready when it ends."""
    usual = searching_config(model, examples=examples) if guide is None else guided_config(model)
    execute = max(usual.execute, math.ceil(lead_of(seconds, rate) / usual.block))
    return replace(usual, execute=min(execute, usual.horizon), time_budget=seconds)


class ModelPlanner:
    """Searches in a learned world; takes what `MpcPolicy` takes, and goals one after the other.

    While it searches, the robot goes on with the last plan: the world is first imagined to the moment at which that
    ends, and the search begins there.
    """

    def __init__(
        self,
        model: WorldModel,
        goals: Sequence[Goal],
        objective: Objective | None = None,
        config: MpcConfig | None = None,
        guide: Guide | None = None,
        examples: Examples | None = None,
    ) -> None:
        """Make the planner: what to reach, each goal in one row, and otherwise the arguments of `PlanStep`."""
        self.model = model
        self._step = PlanStep(model, objective, config, guide, examples)
        self.config = self._step.config
        """How plans are made."""
        self._schedule = self._step.schedule(goals)
        self._generator = torch.Generator().manual_seed(self.config.seed)
        self._goal: Goal | None = None  # of the last plan
        self._start = self._step.hold()

    @property
    def current(self) -> int:
        """Index of the goal that is to be reached now."""
        return self._schedule.given

    @torch.inference_mode()
    def __call__(self, history: History) -> Vector:
        """A `Planner`."""
        begun = monotonic()
        seen = world = self._step.encode([(history.frames, history.telemetry, history.actions)])
        before = self._step.last([history.pending if len(history.pending) else history.actions])
        if len(history.pending):
            pending = torch.from_numpy(history.pending[None]).to(self.model.device)
            world = self.model.imagine(seen, pending, judged=False, draw=False).final
        goal = self._schedule.goal(seen, history.time)
        if goal is not self._goal:
            self._goal, self._start = goal, self._step.hold()
        cost = self._step.cost(world, goal, before)
        _, actions, self._start = self._step.plan(world, goal, before, self._start, [self._generator], cost, begun)
        return actions[0]
