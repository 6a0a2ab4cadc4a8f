"""Act by planning: look, imagine, execute the first block of the best plan, look again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwm_sim.envs.spaces import picture
from gwm_sim.errors import ConfigError
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.cost import Explanation, ModelCost
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.objectives import Objective, default_objective
from gwm_sim.policies.planning.optimizers import Bounds, Cost, IcemSettings, Settings, Start, plan
from gwm_sim.policies.planning.prior.guide import Guide
from gwm_sim.policies.planning.subgoals import Progress, SubgoalSchedule
from gwm_sim.policies.policy import Observation, State
from gwm_sim.protocol import CONTEXT

GRIPPER_RATE = "gripper"
"""Name of the action that opens a gripper at its lowest and closes it at its highest."""

SPREAD = 0.1  # of the candidates around a proposal, in halves of the range


@dataclass(frozen=True)
class MpcConfig:
    """How to plan; the defaults imagine about 900 steps per plan, for two CPU cores."""

    planner: Settings | None = IcemSettings(population=24, iterations=3, elites=6)
    """Which planner, and its settings; None does what the prior proposes, without a search."""
    horizon: int = 3
    """Length of a plan in plan steps."""
    block: int = 5
    """Environment steps per plan step, in which the action stays the same."""
    execute: int = 1
    """Plan steps that are executed before the next plan is made."""
    ternary: tuple[str, ...] = ()
    """Names of actions that are either lowest, in the middle or highest, such as gripper."""
    progress: Progress = Progress()
    """When to go on to the next goal."""
    time_budget: float | None = None
    """Time for a plan, reading the frames included [s]; None plans to the end."""
    chunk: int = 64
    """Worlds that are imagined at a time."""
    seed: int = 0
    """Row i of a batch searches with its own generator, seeded seed + i."""

    def __post_init__(self) -> None:
        if not 1 <= self.execute <= self.horizon or self.block < 1:
            raise ConfigError(
                f"execute must be from 1 to the horizon and block at least 1, got execute={self.execute}, "
                f"horizon={self.horizon}, block={self.block}"
            )


def guided_config(model: WorldModel, planner: Settings | None = None, **changes: Any) -> MpcConfig:
    """How to plan around what a guide proposes: 64 imagined steps per plan, for two CPU cores in real time.

    The search varies where the robot goes and leaves the gripper to the guide: how firmly something is held is not
    seen before it slips.

    Args:
        model: The world to plan in.
        planner: Replaces the search, but for the spread of its candidates.
        changes: Replace other fields of the configuration.
    """
    names = model.config.schema.action_names
    spread = tuple(0.0 if name == GRIPPER_RATE else SPREAD for name in names)
    search = replace(planner or IcemSettings(population=8, iterations=1, elites=2), std=spread)
    grippers = tuple(name for name in names if name == GRIPPER_RATE)
    return replace(MpcConfig(search, horizon=8, block=1, execute=5, ternary=grippers), **changes)


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
    ) -> None:
        """Make the policy.

        Args:
            model: The world to plan in.
            goal: What to reach, or sub-goals one after the other with the goal as the last; each has one row for every
                environment or a row for each, and all ask for the same kinds of things.
            objective: What plans are judged by; None takes `default_objective`.
            config: How to plan.
            guide: Gives sub-goals to a single goal, and a proposal around which every search begins.

        Raises:
            ConfigError: There is neither a planner nor a guide to follow.
        """
        self.model = model
        self.goals = [goal] if isinstance(goal, Goal) else list(goal)
        self.objective = default_objective(model, self.goals[-1]) if objective is None else objective
        self.config = MpcConfig() if config is None else config
        if self.config.planner is None and guide is None:
            raise ConfigError("without a planner there must be a guide, whose proposals are followed")
        self.plan_seconds: list[float] = []
        """Duration of every plan that was made [s]."""
        self._guide = guide
        self._bounds = action_bounds(model, self.config.ternary)

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """Continue the plan of every row, or make a new one; `deterministic` changes nothing."""
        begun = monotonic()
        telemetry = np.asarray(observation["agent_pos"], np.float32)
        frames = picture(observation, self.model.config.cameras)
        batched = telemetry.ndim == 2
        if not batched:
            telemetry, frames = telemetry[None], frames[None]
        rows: list[_Row] = [_Row(self.config.seed + i) for i in range(len(telemetry))] if state is None else state
        fresh = np.zeros(len(rows), bool) if episode_start is None else np.atleast_1d(episode_start)
        for row, frame, reported, first in zip(rows, frames, telemetry, fresh, strict=True):
            row.observe(frame, reported, bool(first), len(self._bounds.low))
        for i, row in enumerate(rows):
            if row.pursuit is None:
                goals = [goal.select([i]) if goal.rows > 1 else goal for goal in self.goals]
                row.pursuit = SubgoalSchedule(self.model, goals, self._guide, self.config.progress)
        if due := [i for i, row in enumerate(rows) if not row.queue]:
            self._plan(rows, due, begun)
            self.plan_seconds.append(monotonic() - begun)
        actions = np.stack([row.act() for row in rows])
        return (actions if batched else actions[0]), rows

    @torch.inference_mode()
    def explain(self, state: State, row: int = 0) -> Explanation:
        """What the last plan of a row is expected to lead to, from the memory that `predict` returned."""
        planned = state[row].planned
        if planned is None:
            raise ValueError(f"Row {row} has not planned yet: call predict first")
        world, goal, actions = planned
        c = self.config
        return ModelCost(self.model, world, self.objective, goal, c.block, c.chunk).explain(actions)

    def cost(self, worlds: WorldState, goal: Goal, rows: Sequence[int]) -> Cost:
        """What plans cost that begin in the worlds of some rows of the batch, each with its row of the goal."""
        c = self.config
        return ModelCost(self.model, worlds, self.objective, goal, c.block, c.chunk)

    @torch.inference_mode()
    def _plan(self, rows: Sequence[_Row], due: Sequence[int], begun: float) -> None:
        """Make new plans for the rows that are due."""
        c = self.config
        waiting = [rows[i] for i in due]
        worlds = self.model.encode(
            *(
                torch.from_numpy(np.stack([np.stack(getattr(row, name)) for row in waiting]))
                for name in ("frames", "telemetry", "actions")
            )
        )
        rate = self.model.config.schema.rate
        goals = []
        for i, row in enumerate(waiting):
            assert row.pursuit is not None
            goals.append(row.pursuit.goal(worlds.select([i]), row.steps / rate))
        goal = Goal.join(goals)
        start = Start.join([row.start or self._hold() for row in waiting])
        if self._guide is not None:
            start = start.around(self._bounds.admit(self._guide.propose(worlds, goal, c.horizon, c.block)))
        if c.planner is None:
            actions, following = start.mean, start
        else:
            deadline = None if c.time_budget is None else begun + c.time_budget
            generators = [row.generator for row in waiting]
            found = plan(self.cost(worlds, goal, due), start, self._bounds, generators, c.planner, deadline)
            actions, following = found.actions, found.start
        following = following.shift(c.execute)
        steps = actions[:, : c.execute].repeat_interleave(c.block, dim=1).cpu().numpy()
        for i, row in enumerate(waiting):
            row.queue.extend(steps[i])
            row.start = following.select([i])
            row.planned = worlds.select([i]), goals[i], actions[i : i + 1]

    def _hold(self) -> Start:
        return Start.hold(1, self.config.horizon, len(self._bounds.low), self.model.device)


class _Row:
    """What is remembered of one environment."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.frames: deque[NDArray[np.uint8]] = deque(maxlen=CONTEXT)
        self.telemetry: deque[NDArray[np.float32]] = deque(maxlen=CONTEXT)
        self.actions: deque[NDArray[np.float32]] = deque(maxlen=CONTEXT - 1)  # between the frames
        self.queue: deque[NDArray[np.float32]] = deque()  # the rest of the plan
        self.start: Start | None = None
        self.pursuit: SubgoalSchedule | None = None
        self.steps = 0  # since the start of the episode
        self.planned: tuple[WorldState, Goal, Tensor] | None = None  # the last plan (1, T, A), where it began, its goal

    def observe(self, frame: NDArray[np.uint8], telemetry: NDArray[np.float32], fresh: bool, actions: int) -> None:
        """Take in what is seen now; at the start of an episode, as if the robot had held still before."""
        frame, telemetry = frame.copy(), telemetry.copy()
        if fresh or not self.frames:
            self.queue.clear()
            self.start = self.pursuit = None
            self.steps = 0
            self.frames.extend([frame] * CONTEXT)
            self.telemetry.extend([telemetry] * CONTEXT)
            self.actions.extend([np.zeros(actions, np.float32)] * (CONTEXT - 1))
        else:
            self.steps += 1
            self.frames.append(frame)
            self.telemetry.append(telemetry)

    def act(self) -> NDArray[np.float32]:
        """The next action of the plan."""
        action = self.queue.popleft()
        self.actions.append(action)
        return action


def action_bounds(model: WorldModel, ternary: Sequence[str] = ()) -> Bounds:
    """The permitted actions of the data that a model learned from.

    Raises:
        ConfigError: There is no action of a name in `ternary`.
    """
    schema = model.config.schema
    if unknown := sorted(set(ternary) - set(schema.action_names)):
        raise ConfigError(f"{model.config.name} has the actions {', '.join(schema.action_names)}, not {unknown}")
    low, high = (
        torch.tensor(limit, dtype=torch.float32, device=model.device)
        for limit in (schema.action_low, schema.action_high)
    )
    return Bounds(low, high, tuple(schema.action_names.index(name) for name in ternary))


__all__ = ["MpcConfig", "MpcPolicy", "action_bounds", "guided_config"]
