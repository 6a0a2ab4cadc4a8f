"""The worlds of one model, as rows that step together and otherwise know nothing of each other.

Everything here computes, and runs in the one thread of the engine. Sessions differ in what is to be done; their states
advance in one forward pass all the same, and only the judging is grouped.
"""

import math
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from gwm_sim.envs.learned.goals import Goals, PictureGoal, read_goal
from gwm_sim.envs.learned.imagination import Imagination
from gwm_sim.envs.spaces import MAX_DEPTH, Observation, depth_key, observed
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving.moments import Frame, Moment, Moments
from gwm_sim.policies.serving.twin import Twin

DECODED: Final = 64  # pictures at a time where many are made of what is remembered

Key = TypeVar("Key", bound=Hashable)


class Kind(NamedTuple):
    """What is to be done in a world, and how it is rewarded."""

    task: str | None
    reward: str


@dataclass
class Row:
    """One world: what is to be done in it, what it remembers, and how it goes on."""

    kind: Kind
    limit: int | None  # steps after which an episode is truncated
    moments: Moments
    rng: np.random.Generator
    usual_goal: PictureGoal | None = None  # of every episode that begins without another one
    goal: PictureGoal | None = None
    depth: bool = False  # whether pictures come with depth
    twin: Twin | None = None


class Shown(NamedTuple):
    """A moment as it came, and its pictures where somebody looks."""

    moment: Moment
    pictures: Observation  # by key of an observation; of depth float32 (H, W, 1) [m]


class Worlds:
    """Rows of one model."""

    def __init__(self, name: str, model: WorldModel) -> None:
        """Serve a model by a name."""
        self.name, self.model = name, model
        self._kinds: dict[Kind, Imagination] = {}

    def imagination(self, kind: Kind) -> Imagination:
        """Who begins and judges worlds of a kind.

        Raises:
            ValueError: The model does not know the task.
        """
        if kind not in self._kinds:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".* lacks labels", UserWarning)  # which clients are told in `lacks`
                self._kinds[kind] = Imagination(self.model, kind.task, kind.reward, None, None)
        return self._kinds[kind]

    # --- rows that come -----------------------------------------------------------------------------------------------

    def rows(self, count: int, kind: Kind, limit: int | None, goal: Frame | None, depth: bool, twin: bool) -> list[Row]:
        """Worlds without a present, which share what is to be done.

        Raises:
            ValueError: The task is unknown, the goal no picture of the model's cameras, or there is no depth.
        """
        if depth and not self.model.config.depth:
            raise ValueError(f"{self.name} does not imagine depth")
        self.imagination(kind)
        read = self.read_goal(goal)
        rows = [Row(kind, limit, Moments(self._draw), np.random.default_rng(), read, depth=depth) for _ in range(count)]
        for row in rows if twin else ():
            row.twin = Twin(self.model.config, kind.task)
        return rows

    def branch(self, row: Row, step: int) -> Row:
        """A world that goes on from a moment of another one, and remembers what was before.

        Raises:
            KeyError: There is no such moment to go on from.
        """
        moments = row.moments
        if not moments.whole <= step <= moments.now.step:
            raise KeyError(step)
        rng = np.random.default_rng()
        rng.bit_generator.state = row.rng.bit_generator.state
        earlier = (moment for moment in moments if moment.step <= step)
        new = Row(row.kind, row.limit, Moments(self._draw, earlier), rng, row.usual_goal, row.goal, row.depth)
        if (beside := new.moments.now.twin) is not None:
            new.twin = Twin(self.model.config, row.kind.task)
            new.twin.resume(beside)
        return new

    def fork(self, row: Row) -> Row:
        """A world that goes on from the present of another one, without a past and without a twin."""
        now = replace(row.moments.now, twin=None)
        rng = np.random.default_rng()
        rng.bit_generator.state = row.rng.bit_generator.state
        return replace(row, moments=Moments(self._draw, [now]), rng=rng, twin=None)

    def begin(self, rows: Sequence[Row], start: Mapping[str, Any], see: bool, seed: int | None) -> list[Shown]:
        """Begin an episode in rows of one kind and goal, each by its own generator. One with a twin begins alone, at
        the start that the twin has for a seed.

        Raises:
            ValueError: There is no such start.
            GwmError: None can be found.
        """
        with torch.inference_mode():
            beside = None
            if (twin := rows[0].twin) is not None:
                start, beside = twin.begin(seed, start.get("properties"))
            contexts, state = self.imagination(rows[0].kind).start(start, rows[0].goal, [row.rng for row in rows])
            frames = [context.frames[-1] for context in contexts]
            for row in rows:
                row.moments.clear()
            shown = self._shown(rows, state, np.stack(frames) if see else None, None)
            for (moment, _), frame in zip(shown, frames, strict=True):
                moment.frame, moment.twin = frame, beside  # a real one
            self._remember(rows, shown)
        return shown

    # --- rows that go on ----------------------------------------------------------------------------------------------

    def advance(self, rows: Sequence[Row], actions: NDArray[np.float64], see: Sequence[bool]) -> list[Shown]:
        """Advance rows by one step of checked actions (n, A); where somebody looks, pictures are drawn."""
        shown: dict[int, Shown] = {}
        with torch.inference_mode():
            for looks, chosen in grouped(see).items():
                some = [rows[i] for i in chosen]
                shown |= zip(chosen, self._advance(some, actions[chosen], looks), strict=True)
        return [shown[i] for i in range(len(rows))]

    def _advance(self, rows: Sequence[Row], actions: NDArray[np.float64], see: bool) -> list[Shown]:
        told = [row.moments.now.state for row in rows]
        state = WorldState.join([state for state in told if state is not None])  # copies: the past stays as it was
        draw = see or any(row.goal is not None and not len(row.goal.objects) for row in rows)
        state = self.model.step_(state, torch.from_numpy(actions).float(), draw=draw)
        frames = self.model.decode(state).cpu().numpy() if see else None
        shown = self._shown(rows, state, frames, actions)
        for row, action, (moment, _) in zip(rows, actions, shown, strict=True):
            if row.twin is not None:
                moment.twin = row.twin.step(action.astype(np.float32))
        self._remember(rows, shown)
        return shown

    def edit(self, row: Row, properties: Mapping[str, float]) -> Shown:
        """Change physics properties from now on.

        Raises:
            ValueError: There is no such property, or it has no such value.
        """
        now = row.moments.now
        told = self.imagination(row.kind).starts.changed(now.properties, properties)
        assert now.state is not None
        changed = now.state.clone()
        changed.properties[0] = torch.tensor([told.get(name, np.nan) for name in self.model.config.properties])
        now.state, now.properties = changed, told
        if row.twin is not None and now.twin is not None:
            now.twin = row.twin.edit(now.twin, properties)
        return Shown(now, {})

    def read_goal(self, goal: Frame | None) -> PictureGoal | None:
        """What a goal picture asks for.

        Raises:
            ValueError: It is no picture of the model's cameras.
        """
        with torch.inference_mode():
            return None if goal is None else read_goal(self.model, goal)

    # --- what is seen -------------------------------------------------------------------------------------------------

    @cached_property
    def action_space(self) -> Box:
        """Space of one action."""
        return self.imagination(Kind(None, "dense")).action_space()

    def look(self, row: Row, step: int) -> Shown:
        """A moment that is remembered, with pictures.

        Raises:
            KeyError: It was forgotten, or has not come.
        """
        moment = row.moments.at(step)
        pictures = observed(row.moments.frame(moment), self.model.config.cameras)
        if row.depth and moment.state is not None:
            with torch.inference_mode():
                depth = self.model.depth(moment.state).clamp_max(MAX_DEPTH).cpu().numpy()
            pictures |= {depth_key(self.model.config.camera): depth[0]}
        return Shown(moment, pictures)

    def frames(self, row: Row, moments: Sequence[Moment]) -> Frame:
        """Pictures (T, H, V*W, 3) of moments that are remembered."""
        frames = [moment.frame for moment in moments]
        missing = [place for place, frame in enumerate(frames) if frame is None]
        with torch.inference_mode():
            for begun in range(0, len(missing), DECODED):
                places = missing[begun : begun + DECODED]
                states = WorldState.join([state for p in places if (state := moments[p].state) is not None])
                for place, frame in zip(places, self.model.decode(states).cpu().numpy(), strict=True):
                    frames[place] = frame
        return np.stack([frame for frame in frames if frame is not None])

    def _draw(self, state: WorldState) -> Frame:
        with torch.inference_mode():
            return self.model.decode(state).cpu().numpy()[0]

    def _shown(
        self, rows: Sequence[Row], state: WorldState, frames: Frame | None, actions: NDArray[np.float64] | None
    ) -> list[Shown]:
        """Moments of a state, with pictures where there are frames (n, H, V*W, 3)."""
        reward, success = self._judge(rows, state)
        telemetry, objects, uncertainty, properties = (
            x.cpu().numpy() for x in (state.telemetry, state.objects, state.uncertainty.double(), state.properties)
        )
        views = {} if frames is None else observed(frames, self.model.config.cameras)
        if frames is not None and any(row.depth for row in rows):
            depth = self.model.depth(state).clamp_max(MAX_DEPTH).cpu().numpy()
            views |= {depth_key(self.model.config.camera): depth}
        shown = []
        for i, row in enumerate(rows):
            step = 0 if actions is None else row.moments.now.step + 1
            named = zip(self.model.config.properties, properties[i].tolist(), strict=True)
            moment = Moment(
                step=step,
                action=None if actions is None else actions[i].astype(np.float32),
                telemetry=telemetry[i].copy(),
                objects=objects[i].copy(),
                reward=float(reward[i]),
                success=bool(success[i]),
                truncated=row.limit is not None and step >= row.limit,
                uncertainty=float(uncertainty[i]),
                properties={name: float(f"{value:.6g}") for name, value in named if not math.isnan(value)},
                state=state.select([i]),
            )
            pictures = {key: view[i] for key, view in views.items() if row.depth or not key.startswith("depth_")}
            shown.append(Shown(moment, pictures))
        return shown

    def _judge(self, rows: Sequence[Row], state: WorldState) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        reward, success = np.zeros(len(rows)), np.zeros(len(rows), bool)
        kinds = grouped([row.kind for row in rows])
        for kind, chosen in kinds.items():
            judge = self.imagination(kind)
            judge.state = state if len(kinds) == 1 else state.select(chosen)
            judge.goals = Goals(self.model)
            for place, i in enumerate(chosen):
                judge.goals.set([place], rows[i].goal)
            reward[chosen], success[chosen] = judge.judge()
        return reward, success

    def _remember(self, rows: Sequence[Row], shown: Sequence[Shown]) -> None:
        for row, (moment, _) in zip(rows, shown, strict=True):
            row.moments.add(moment)


def grouped(keys: Sequence[Key]) -> dict[Key, list[int]]:
    """Places of equal keys, in order."""
    places: dict[Key, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return places
