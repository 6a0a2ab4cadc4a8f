"""One plan, for whoever acts: encode what was seen, look around what a prior proposes, search, take the first block.

`MpcPolicy` makes its plans between the steps of environments, `ModelPlanner` beside a robot that moves meanwhile.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.cost import ModelCost
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.planning.objectives import Objective, default_objective
from gwm_sim.policies.planning.optimizers import Bounds, Cost, IcemSettings, Settings, WarmStart, plan, sized
from gwm_sim.policies.planning.policy_rollouts import PolicyRollouts
from gwm_sim.policies.planning.prior.examples import Examples
from gwm_sim.policies.planning.prior.guide import Guide
from gwm_sim.policies.planning.subgoals import Progress, SubgoalSchedule
from gwm_sim.policies.planning.via_points import ViaPoints
from gwm_sim.protocol import CONTEXT

GRIPPER_RATE = "gripper"
"""Name of the action that opens a gripper, holds it or closes it."""
FIRST_PART = 16
"""So many proposals are judged first where time is short: in a small batch, twice as many hardly take longer."""
AROUND = 0.25  # spread of the candidates around the best way over places that matter, in halves of the range
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
    three_level: tuple[str, ...] = ()
    """Names of actions that are either lowest, in the middle or highest, such as gripper."""
    progress: Progress = Progress()
    """When to go on to the next goal."""
    proposals: int = 0
    """Candidates by way of places that matter, the best of which a search begins with, where there is no guide and such
    places are known (`ViaPoints`); or a share of them that follow a policy (`PolicyRollouts`), the best of which is the
    plan."""
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

    The search varies where the robot goes and leaves the gripper to the guide: how firmly something is grasped is not
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
    return replace(MpcConfig(search, horizon=8, block=1, execute=5, three_level=grippers), **changes)


def searching_config(
    model: WorldModel, planner: Settings | None = None, examples: Examples | None = None, **changes: Any
) -> MpcConfig:
    """How to plan without demonstrations: some hundred candidates over 24 steps. Where the robot is known in the frame
    of the things, most of them lead over places that matter; of a robot with a gripper, some follow what recordings
    show, step by step.

    Args:
        model: The world to plan in.
        planner: Replaces the search.
        examples: Those that the plans will be made with.
        changes: Replace other fields of the configuration.
    """
    names = model.config.schema.action_names
    grippers = tuple(name for name in names if name == GRIPPER_RATE)
    config = MpcConfig(horizon=8, block=3, execute=1, three_level=grippers, chunk=1024)
    search = planner or sized("icem", population=128, iterations=3)
    if ViaPoints(model, Moves(model)).known:
        search = replace(planner or sized("icem", population=64, iterations=2), std=AROUND)
        config = replace(config, proposals=256)
    if examples is not None and examples.policy is not None:
        config = replace(config, horizon=24, block=1, execute=3, proposals=256)
    return replace(config, planner=search, **changes)


Context = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]
"""Frames (C, H, V*W, 3), telemetry (C, P) and actions (C-1, A), as `WorldModel.encode` takes them in batches."""


class ContextWindow:
    """The last `CONTEXT` frames, their telemetry and the actions between them."""

    def __init__(self, schema: Schema) -> None:
        """Begin with nothing seen; the schema says what holds the robot still."""
        self._schema = schema
        self._frames: deque[NDArray[np.uint8]] = deque(maxlen=CONTEXT)
        self._telemetry: deque[NDArray[np.float32]] = deque(maxlen=CONTEXT)
        self._actions: deque[NDArray[np.float32]] = deque(maxlen=CONTEXT - 1)

    def see(self, frame: NDArray[np.uint8], telemetry: NDArray[np.float32]) -> None:
        """Add what is seen now; at first, as if the robot had held still before."""
        times = 1 if self._frames else CONTEXT
        if not self._frames:
            self._actions.extend([self._schema.hold(telemetry)] * (CONTEXT - 1))
        self._frames.extend([frame] * times)
        self._telemetry.extend([telemetry] * times)

    def act(self, action: NDArray[np.float32]) -> None:
        """Add what is done until the next frame."""
        self._actions.append(action)

    def arrays(self) -> Context:
        """The window as it is now."""
        return np.stack(self._frames), np.stack(self._telemetry), np.stack(self._actions)


class Proposed(NamedTuple):
    """The best of what was proposed."""

    best: Tensor  # (B, T, A)
    everything: bool
    """Whether there was time to judge all."""


def best_proposed(
    propose: Callable[[int], Tensor], count: int, known: Tensor, cost: Cost, deadline: float | None
) -> Proposed:
    """The best of so many proposals for each of B worlds.

    They are drawn all at once, or part by part where there is a deadline, a reading of `time.monotonic()` [s]: each
    part twice as large as the one before, and none but the first is begun that would end too late if it took twice as
    long. As few may be drawn then, what is `known` already, (B, G, T, A), stands among them.
    """
    best: list[Tensor] = []
    least: list[Tensor] = []
    left, part = count, count if deadline is None else min(FIRST_PART, count)
    while left:
        begun = monotonic()
        proposed = propose(part)
        if deadline is not None and not best:
            proposed = torch.cat((known, proposed), dim=1)
        costs, index = cost(proposed).nan_to_num(torch.inf, torch.inf).min(dim=1)
        best.append(proposed[torch.arange(len(index)), index])
        least.append(costs)
        left, now = left - part, monotonic()
        if deadline is not None and now + 2 * (now - begun) > deadline:
            break
        part = min(2 * part, left)
    index = torch.stack(least).argmin(dim=0)
    return Proposed(torch.stack(best)[index, torch.arange(len(index))], not left)


class PlanStep:
    """Plans in a world model, for B present worlds at once."""

    def __init__(
        self,
        model: WorldModel,
        objective: Objective | None,
        config: MpcConfig | None,
        guide: Guide | None,
        examples: Examples | None = None,
    ) -> None:
        """Join what a plan is made of.

        Args:
            model: The world to plan in.
            objective: What plans are judged by; None takes `default_objective` of each goal.
            config: How to plan.
            guide: Gives sub-goals to a single goal, and a proposal around which every search begins.
            examples: Recordings, by whose example some candidates go where there is no guide.

        Raises:
            ConfigError: There is neither a planner nor a guide to follow, or no action of a name in `three_level`.
        """
        self.model, self.objective, self.guide = model, objective, guide
        self.config = MpcConfig() if config is None else config
        if self.config.planner is None and guide is None:
            raise ConfigError("without a planner there must be a guide, whose proposals are followed")
        names, named = model.config.schema.action_names, self.config.three_level
        if unknown := sorted(set(named) - set(names)):
            raise ConfigError(f"{model.config.name} has the actions {', '.join(names)}, not {unknown}")
        self.moves = Moves(model)
        self.via_points = ViaPoints(model, self.moves, examples)
        policy = None if examples is None else examples.policy
        self.followed = None if policy is None else PolicyRollouts(model, self.moves, policy)
        low, high = self.moves.bounds
        self.bounds = Bounds(low, high, tuple(names.index(name) for name in named))

    def hold(self) -> WarmStart:
        """Where the first search of one world begins."""
        return WarmStart.hold(1, self.config.horizon, len(self.bounds.low), self.model.device)

    def schedule(self, goals: Sequence[Goal]) -> SubgoalSchedule:
        """The goals of one world one after the other, or sub-goals of a single one."""
        return SubgoalSchedule(self.model, goals, self.guide, self.config.progress)

    def encode(self, contexts: Sequence[Context]) -> WorldState:
        """The present worlds, one row each."""
        return self.model.encode(*(torch.from_numpy(np.stack(rows)) for rows in zip(*contexts, strict=True)))

    def last(self, actions: Sequence[NDArray[np.float32]]) -> Tensor:
        """The last of some actions (N, A) in each world, (B, A)."""
        return torch.from_numpy(np.stack([done[-1] for done in actions])).to(self.model.device)

    def cost(self, worlds: WorldState, goal: Goal, before: Tensor) -> ModelCost:
        """What plans cost that begin in some worlds, each with its row of the goal, behind actions `before` (B, A)."""
        objective = self.objective or default_objective(self.model, goal)
        return ModelCost(self.model, worlds, objective, goal, self.config.block, self.config.chunk, self.moves, before)

    def proposer(self, goal: Goal) -> ViaPoints | PolicyRollouts | None:
        """What draws the first candidates, where there is no guide: of goals for things."""
        if not self.config.proposals or goal.objects is None:
            return None
        return self.followed or (self.via_points if self.via_points.known else None)

    def plan(
        self,
        worlds: WorldState,
        goal: Goal,
        before: Tensor,
        start: WarmStart,
        generators: Sequence[torch.Generator],
        cost: Cost,
        begun: float,
    ) -> tuple[Tensor, NDArray[np.float32], WarmStart]:
        """Make a plan for every world.

        Args:
            worlds: Where the plans begin.
            goal: What to reach, a row for each world.
            before: What was done last in each, (B, A).
            start: What the plans before have left.
            generators: One per world; nothing else is random.
            cost: What plans cost, as `cost` says or otherwise.
            begun: Reading of `time.monotonic()` from which the time for a plan counts [s].

        Returns:
            The plans, which are moves (B, T, A); actions (B, K, A) of the environment steps that are executed before
            the next plan; and where the next search begins, these left behind.
        """
        c = self.config
        deadline = None if c.time_budget is None else begun + c.time_budget
        proposer = None if self.guide is not None else self.proposer(goal)
        refining = c.planner is not None
        if self.guide is not None:
            proposed = self.moves.of(self.guide.propose(worlds, goal, c.horizon, c.block), before, c.block)
            start = start.around(self.bounds.admit(proposed))
        elif proposer is not None:

            def propose(count: int) -> Tensor:
                drawn = proposer.propose(worlds, goal, before, c.horizon, c.block, count, generators)
                return self.bounds.admit(drawn)

            first = best_proposed(propose, c.proposals, start.mean[:, None], cost, deadline)
            start = start.around(first.best)
            refining = refining and proposer.refined and first.everything
        plans, following = start.mean, WarmStart(start.mean, start.guesses[:, :0])
        if refining:
            assert c.planner is not None
            found = plan(cost, start, self.bounds, generators, c.planner, deadline)
            plans, following = found.actions, found.start
        steps = plans[:, : c.execute].repeat_interleave(c.block, dim=1)
        actions = self.moves.actions(steps, before).cpu().numpy()
        return plans, actions, following.shift(c.execute)
