"""Planning while the robot moves: in a thread of its own, for the moment at which the plan will begin.

A planner is any callable from what was seen to a block of actions. `ModelPlanner` is the one that searches in a learned
world, as `MpcPolicy` does between steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.live.safety import Latch, Vector
from gwm_sim.policies.live.timing import Clock
from gwm_sim.policies.planning import (
    Goal,
    Guide,
    ModelCost,
    MpcConfig,
    Objective,
    SubgoalSchedule,
    WarmStart,
    default_objective,
    plan,
)
from gwm_sim.policies.planning.mpc import action_bounds

LAST_PLAN: Final = 10.0  # how long the end of a run waits for it [s]: no interpreter ends well with a thread in torch


@dataclass(frozen=True)
class History:
    """What is known when planning begins; C frames, the last one being the present."""

    frames: NDArray[np.uint8]  # (C, H, W, 3)
    telemetry: Vector  # (C, P)
    actions: Vector  # (C-1, A), what was done between the frames
    pending: Vector  # (M, A), what will be done from now on until the plan begins
    time: float
    """When the last frame was seen [s]."""


Planner = Callable[[History], Vector]
"""Maps what was seen to the actions (K, A) of the next K control steps."""


@dataclass(frozen=True)
class Planned:
    """A finished plan."""

    actions: Vector  # (K, A)
    seen: float
    """When the frame was seen that it was made from [s]."""
    seconds: float
    """How long it took [s]."""


class Planning:
    """Runs a planner in a thread, one request at a time."""

    def __init__(self, planner: Planner, actions: int, deadline: float, latch: Latch, clock: Clock) -> None:
        """Prepare the thread.

        Args:
            planner: What to run.
            actions: Number of actions A.
            deadline: Time for a plan [s].
            latch: Tripped when the planner fails.
            clock: The loop's.
        """
        self._planner = planner
        self._shape = (actions,)
        self._deadline = deadline
        self._latch = latch
        self._clock = clock
        self._changed = Condition()
        self._job: History | None = None
        self._begun = 0.0
        self._result: Planned | None = None
        self._closed = False
        self._thread = Thread(target=self._work, name="planner", daemon=True)

    def start(self) -> None:
        """Begin to wait for requests."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, after the plan in progress; one that hangs is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=LAST_PLAN)

    @property
    def busy(self) -> bool:
        """Whether a plan is being made."""
        with self._changed:
            return self._job is not None

    @property
    def idle(self) -> bool:
        """Whether there is neither a plan being made nor one to be taken."""
        with self._changed:
            return self._job is None and self._result is None

    def request(self, history: History) -> None:
        """Ask for a plan; only when idle."""
        with self._changed:
            assert self._job is None and self._result is None
            self._job, self._begun = history, self._clock.now()
            self._changed.notify()

    def take(self) -> Planned | None:
        """The finished plan, once, or None."""
        with self._changed:
            result, self._result = self._result, None
            return result

    def fault(self, now: float) -> str | None:
        """A `Check`: the thread lives and keeps its deadline."""
        with self._changed:
            spent = now - self._begun if self._job is not None else 0.0
            closed = self._closed
        if not closed and not self._thread.is_alive():
            return "planner: its thread has ended"
        if spent > self._deadline:
            return f"planner: no plan after {spent:.2f} s, the deadline is {self._deadline:g} s"
        return None

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                actions = self._check(self._planner(job))
                with self._changed:
                    self._result = Planned(actions, job.time, self._clock.now() - self._begun)
                    self._job = None
        except BaseException as error:  # nothing that ends this thread may leave the robot moving
            self._latch.trip(f"planner: {type(error).__name__}: {error}")

    def _next(self) -> History | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._job is not None)
            return None if self._closed else self._job

    def _check(self, actions: Vector) -> Vector:
        actions = np.asarray(actions, np.float32)
        if actions.ndim != 2 or len(actions) < 1 or actions.shape[1:] != self._shape:
            raise ValueError(f"a plan must have shape (K, {self._shape[0]}), got {actions.shape}")
        if not np.isfinite(actions).all():
            raise ValueError("a plan must be finite")
        return actions


# --- in a learned world -----------------------------------------------------------------------------------------------


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
    ) -> None:
        """Make the planner.

        Args:
            model: The world to plan in.
            goals: What to reach, one after the other, each in one row.
            objective: What plans are judged by; None takes `default_objective` of each goal.
            config: How to plan, and when to go on to the next goal.
            guide: Gives sub-goals to a single goal, and a proposal around which every search begins.
        """
        self.model = model
        self.config = MpcConfig() if config is None else config
        self._pursuit = SubgoalSchedule(model, goals, guide, self.config.progress)
        self._objective = objective
        self._guide = guide
        self._bounds = action_bounds(model, self.config.three_level)
        self._generator = torch.Generator().manual_seed(self.config.seed)
        self._goal: Goal | None = None  # of the last plan
        self._start = self._hold()

    @property
    def current(self) -> int:
        """Which of the goals is being pursued."""
        return self._pursuit.given

    @torch.inference_mode()
    def __call__(self, history: History) -> Vector:
        """A `Planner`."""
        c, begun = self.config, Clock().now()
        context = (torch.from_numpy(x[None]) for x in (history.frames, history.telemetry, history.actions))
        world = self.model.encode(*context)
        if len(history.pending):
            pending = torch.from_numpy(history.pending[None]).to(self.model.device)
            seen, world = world, self.model.imagine(world, pending, judged=False, draw=False).final
        else:
            seen = world
        goal = self._pursuit.goal(seen, history.time)
        if goal is not self._goal:
            self._goal, self._start = goal, self._hold()
        start = self._start
        if self._guide is not None:
            start = start.around(self._bounds.admit(self._guide.propose(world, goal, c.horizon, c.block)))
        actions, following = start.mean, start
        if c.planner is not None:
            deadline = None if c.time_budget is None else begun + c.time_budget
            objective = self._objective or default_objective(self.model, goal)
            cost = ModelCost(self.model, world, objective, goal, c.block, c.chunk)
            found = plan(cost, start, self._bounds, [self._generator], c.planner, deadline)
            actions, following = found.actions, found.start
        self._start = following.shift(c.execute)
        steps: Vector = actions[0, : c.execute].repeat_interleave(c.block, dim=0).cpu().numpy()
        return steps

    def _hold(self) -> WarmStart:
        return WarmStart.hold(1, self.config.horizon, len(self._bounds.low), self.model.device)


__all__ = ["History", "ModelPlanner", "Planned", "Planner", "Planning"]
