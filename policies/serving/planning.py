"""Ways to where a client wants something: searched in the session's own world, and imagined before anything is done.

A plan is made piece by piece in a copy of the present, which nobody else sees. Between two pieces other sessions step.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from gwm_sim.envs.learned.goals import away, near
from gwm_sim.errors import GwmError
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.policies.planning import Goal, MpcConfig, PlanStep, searching_config
from gwm_sim.policies.planning.optimizers import sized
from gwm_sim.policies.planning.plan_step import GRIPPER_RATE
from gwm_sim.policies.serving import requests
from gwm_sim.policies.serving.answers import Answer, finite, told
from gwm_sim.policies.serving.engine import Engine
from gwm_sim.policies.serving.errors import refused
from gwm_sim.policies.serving.sessions import Session
from gwm_sim.policies.serving.worlds import Row, Shown, Worlds

Place = Sequence[float | None]
Tell = Callable[[Answer], Awaitable[None]]

CLOSE: Final = 0.006  # [m] from where the hand is wanted
EXACT: Final = 0.5  # of what is near enough for a thing, where a goal says so
FINE: Final = 0.5  # spread of the first candidates for a hand, in halves of the range
EXECUTED: Final = 2  # plan steps of a way for things that are kept, which halves the time that one takes


def can_plan(config: WorldModelConfig) -> bool:
    """Whether a world knows of anything that could be wanted elsewhere."""
    return bool(config.dynamics.objects or config.dynamics.effector)


class Planner:
    """Plans for one session."""

    def __init__(self, worlds: Worlds, row: Row, objects: Mapping[str, Place], effector: Place | None) -> None:
        """Begin in the present of a row.

        Args:
            worlds: Those of the row.
            row: Whose present it is; it stays as it is.
            objects: Where things should be, by name, null for what does not matter.
            effector: Where the hand should be.

        Raises:
            ServingError: The model knows of no such things, or nothing is asked for.
        """
        if not objects and effector is None:
            raise refused("say where something should be: objects by name, or effector")
        places = {name: np.array(place, np.float32) for name, place in objects.items()}
        hand = None if effector is None else np.array(effector, np.float32)
        try:
            self._goal = Goal.positions(worlds.model, hand, places)
        except GwmError as error:
            raise refused(str(error)) from error
        self._worlds, self._row = worlds, worlds.fork(row)
        self._step = PlanStep(worlds.model, None, planning_config(worlds, bool(objects)), None)
        self._start, self._generator = self._step.hold(), torch.Generator().manual_seed(self._step.config.seed)
        now = row.moments.now
        before = worlds.model.config.schema.hold(now.telemetry) if now.action is None else now.action
        self._before = torch.from_numpy(before[None]).to(worlds.model.device)

    def more(self, most: int) -> list[Shown]:
        """The next piece, at most so many steps, as it is imagined; it ends where the goal is reached."""
        state = self._row.moments.now.state
        assert state is not None
        with torch.inference_mode():
            cost = self._step.cost(state, self._goal, self._before)
            _, actions, self._start = self._step.plan(
                state, self._goal, self._before, self._start, [self._generator], cost, monotonic()
            )
        shown: list[Shown] = []
        for action in actions[0, :most]:
            shown += self._worlds.advance([self._row], self._admitted(action), [True])
            if self.reached:
                break
        last = shown[-1].moment.action
        self._before = torch.from_numpy(last).to(self._before)[None]
        return shown

    @property
    def distance(self) -> float:
        """How far what was asked for is from where it should be, at most: [m] or in the image frame."""
        state = self._row.moments.now.state
        assert state is not None
        apart = [0.0]
        if self._goal.objects is not None:
            apart.append(away(self._worlds.model, state.objects, self._goal.objects).max().item())
        if self._goal.telemetry is not None:
            offset = (state.telemetry - self._goal.telemetry)[self._goal.telemetry.isfinite()]
            apart.append(offset.norm().nan_to_num(math.inf).item())  # of a world that lost its way
        return max(apart)

    @property
    def reached(self) -> bool:
        """Whether it is where it should be."""
        things = self._goal.objects is not None
        return self.distance < (EXACT * near(self._worlds.model) if things else CLOSE)

    def _admitted(self, action: NDArray[np.float32]) -> NDArray[np.float64]:
        space = self._worlds.action_space
        return action.astype(np.float64).clip(space.low, space.high)[None]


def planning_config(worlds: Worlds, things: bool) -> MpcConfig:
    """How to plan for things, or for the hand alone, whose gripper then stays as it is."""
    usual = searching_config(worlds.model)
    if things:
        return replace(usual, execute=min(EXECUTED, usual.horizon))
    names = worlds.model.config.schema.action_names
    search = replace(
        sized("icem", population=64, iterations=3), std=tuple(0.0 if name == GRIPPER_RATE else FINE for name in names)
    )
    return replace(usual, planner=search, horizon=8, block=1, execute=4, proposals=0)


async def plan(engine: Engine, session: Session, asked: requests.Plan, tell: Tell, stop: asyncio.Event) -> Answer:
    """All pieces, each told as it is imagined, until the goal is reached, the plan is long enough or it is stopped."""
    planner = await engine.call(Planner, session.worlds, session.row, asked.objects, asked.effector)
    shown: list[Shown] = []
    while len(shown) < asked.steps and not stop.is_set():
        piece = await engine.call(planner.more, asked.steps - len(shown))
        shown += piece
        said = Answer({"event": "planned", "session": session.id, "request": asked.request})
        said.header["moments"] = [[told(each, asked.pictures, said) for each in piece]]
        await tell(said)
        if planner.reached:
            break
    answer = Answer({"distance": finite(planner.distance), "reached": planner.reached})
    answer.header["actions"] = [each.moment.action.tolist() for each in shown if each.moment.action is not None]
    answer.header["moments"] = [[told(each, asked.pictures, answer) for each in shown]]
    return answer
