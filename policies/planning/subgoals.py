"""Which goal to go for now: sub-goals one after the other, each until it is reached or its time is over."""

from collections.abc import Sequence
from dataclasses import dataclass

from gwm_sim.envs.learned.goals import away, matched, near, turns_of
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.prior.guide import Guide


@dataclass(frozen=True)
class Progress:
    """When a goal counts as reached, and how long to try."""

    effector: float = 0.012
    """Distance of the end-effector [m]."""
    telemetry: float = 0.008
    """Difference of every other telemetry that is asked for, such as the gripper's opening, in its own unit."""
    objects: float = 0.02
    """Distance of each object [m]; in the image frame that is `near` instead."""
    codes: float = 0.1
    """Share of a picture's codes that may differ, where the goal is a picture alone."""
    patience: float = 1.5
    """Time for each goal but the last; after it the next one is tried, or sub-goals are looked up anew [s]."""


class SubgoalSchedule:
    """The goals of one world, in their order.

    With a guide a single goal gets sub-goals from the demonstrations; where one of them is not reached in time, or the
    objects are not where the last one wants them, they are looked up anew from what is there then.
    """

    def __init__(
        self, model: WorldModel, goals: Sequence[Goal], guide: Guide | None = None, progress: Progress | None = None
    ) -> None:
        """Begin with the first goal; each has one row."""
        self.current = 0
        """Index of the present goal, among the sub-goals that were looked up where there are any."""
        self._model = model
        self._goals = list(goals)
        understood = len(goals) == 1 and goals[0].telemetry is not None and goals[0].objects is not None
        self._guide = guide if understood else None  # sub-goals follow from where robot and objects should be
        self._progress = Progress() if progress is None else progress
        self._since: float | None = None

    @property
    def given(self) -> int:
        """Index of the present goal, among those that were given."""
        return 0 if self._guide is not None else self.current

    def goal(self, world: WorldState, now: float) -> Goal:
        """Where to go from a world of one row at the time `now` [s]."""
        if self._since is None:
            self._look_up(world, now)
            self._since = now
        if self.current + 1 < len(self._goals) and self.reached(world):
            self.current, self._since = self.current + 1, now
        elif now - self._since > self._progress.patience:
            if self._guide is not None and not self._objects_in_place(world):
                self._look_up(world, now)
            elif self.current + 1 < len(self._goals):
                self.current, self._since = self.current + 1, now
        return self._goals[self.current]

    def reached(self, world: WorldState) -> bool:
        """Whether the current goal is reached."""
        goal, progress = self._goals[self.current], self._progress
        if goal.telemetry is None and goal.objects is None:
            if goal.codes is None:
                return False
            seen = world.codes[:, : goal.codes.shape[1]]  # of the views that the goal shows
            return float((seen != goal.codes).float().mean()) <= progress.codes
        if goal.telemetry is not None:
            difference = (world.telemetry - goal.telemetry)[0].nan_to_num(0.0)
            effector = list(self._model.config.dynamics.effector)
            if float(difference[effector].norm()) > progress.effector:
                return False
            others = [i for i in range(len(difference)) if i not in effector]
            if others and float(difference[others].abs().max()) > progress.telemetry:
                return False
        return self._objects_in_place(world)

    def _objects_in_place(self, world: WorldState) -> bool:
        wanted = self._goals[self.current].objects
        if wanted is None or not wanted.shape[1]:
            return True
        model = self._model
        near_enough = near(model) if model.config.dynamics.object_frame == "image" else self._progress.objects
        objects, _ = matched(model, world.objects, turns_of(model, world.residual), wanted)
        return float(away(model, objects, wanted).max()) <= near_enough

    def _look_up(self, world: WorldState, now: float) -> None:
        if self._guide is not None:
            self._goals = [*self._guide.subgoals(world, self._goals[-1]), self._goals[-1]]
        self.current, self._since = 0, now
