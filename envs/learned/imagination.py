"""Rows of imagined worlds in one model: how they begin, advance and are judged. Knows no time limits, no autoreset."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray

from gwm_sim.envs.learned.goals import Goals, PictureGoal, Verdict, judge_goal, read_goal
from gwm_sim.envs.learned.starts import SOURCES, Context, Starts
from gwm_sim.envs.learned.tasks import FunctionTask, NoTask, Task, find_task
from gwm_sim.envs.spaces import MAX_DEPTH, SUCCESS_OF, Observation, depth_key, robot_space
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import find_checkpoint
from gwm_sim.model.state import Segment, WorldState
from gwm_sim.model.world_model import WorldModel

REDRAWS: Final = 100  # of a start that is solved already


class Imagination:
    """A model and n imagined worlds in it: one forward pass advances all rows."""

    def __init__(
        self,
        model: str | Path | WorldModel,
        task: str | None,
        reward: str,
        device: str | None,
        goal: NDArray[np.uint8] | None,
    ) -> None:
        """Load the model, unless it is loaded already, and open its start states."""
        self.model = model if isinstance(model, WorldModel) else WorldModel.load(find_checkpoint(model), device)
        config = self.model.config
        self.task = task if task is not None else config.schema.task
        self._judge = find_task(self.model, task)
        self._also: dict[str, Task] = {}
        assert self.model.folder is not None
        self.starts = Starts(self.model, self.model.folder, self.task)
        self._state: WorldState | None = None
        self._sparse = reward == "sparse"
        self.goal = goal
        """Picture of what to reach in every episode that says nothing else, (H, W, 3), None for none."""
        self._default_goal = None if goal is None else read_goal(self.model, goal)
        self.goals = Goals(self.model)
        self.depth_observed = False
        self.watched = True
        """Whether somebody looks at every step; without, pictures are drawn when asked for."""
        if isinstance(self._judge, NoTask) and goal is None:
            names = [str(entry.frame.f_globals.get("__name__")) for entry in inspect.stack(0)]
            outside = next((i for i, name in enumerate(names) if not name.startswith("gwm_sim.envs.")), 1)
            warnings.warn(f"{config.name} lacks {self.lacks()['reward']}", stacklevel=outside + 1)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Worlds that go on by themselves in the same model, which nothing here changes."""
        twin = copy(self)
        memo |= {id(self): twin, id(self.model): self.model}
        vars(twin).update({name: deepcopy(value, memo) for name, value in vars(self).items()})
        return twin

    @property
    def state(self) -> WorldState:
        """The present of all rows.

        Raises:
            ResetNeeded: There is none yet.
        """
        if self._state is None:
            raise ResetNeeded("This world has no present yet: call reset() first")
        return self._state

    @state.setter
    def state(self, state: WorldState) -> None:
        self._state = state

    def metadata(self) -> dict[str, Any]:
        """What the numbers of this world mean, and what it lacks."""
        config = self.model.config
        schema = config.schema
        return {
            "render_fps": schema.rate,
            "rate": schema.rate,
            "model": config.name,
            "camera": config.camera,
            "cameras": config.cameras,
            "telemetry_names": schema.telemetry_names,
            "telemetry_units": schema.telemetry_units,
            "action_names": schema.action_names,
            "action_units": tuple(schema.settings.get("action_units", ("",) * len(schema.action_names))),
            "object_names": schema.object_names,
            "tasks": self.model.tasks,
            "lacks": self.lacks(),
        }

    def lacks(self) -> dict[str, str]:
        """What this world cannot tell, and what helps."""
        lacking = {}
        if isinstance(self._judge, NoTask):
            lacking["reward"] = (
                "labels, so the reward is 0 and success is never true: give a goal image as the keyword argument or "
                "reset option `goal`, or a function as `task`, or mark success in the data by `gwm label` and train "
                "again"
            )
        if not self.model.config.dynamics.objects:
            lacking["objects"] = "object poses: the uncertainty is in grey levels of the picture, not in cm"
        if not len(self.starts):
            lacking["starts"] = "start states: every reset needs `episode` or `frames`"
        return lacking

    def split(self, options: Mapping[str, Any] | None) -> tuple[dict[str, Any], PictureGoal | None]:
        """Reset options that say where to begin, and the goal: that of the options, else the default."""
        start = dict(options or {})
        if "goal" not in start:
            return start, self._default_goal
        goal = start.pop("goal")
        return start, None if goal is None else read_goal(self.model, goal)

    def observation_space(
        self, size: int | None, cameras: Sequence[str] | None, depth: bool, rendering: str | None
    ) -> Dict:
        """Space of one observation, as the data of the model defines it.

        Raises:
            ValueError: Frames are asked for that the model does not imagine.
        """
        config = self.model.config
        height, width = config.tokenizer.height, config.tokenizer.width
        if size is not None and (size, size) != (height, width):
            raise ValueError(
                f"{config.name} imagines frames of {height}x{width} pixels, not {size}x{size}; leave out size"
            )
        if cameras is not None and sorted(cameras) != sorted(config.cameras):
            own = " and ".join(map(repr, config.cameras))
            raise ValueError(f"{config.name} sees through the camera {own}, not {tuple(cameras)}")
        if depth and not config.depth:
            raise ValueError(f"{config.name} does not imagine depth")
        drawn = config.schema.env_kwargs.get("rendering")
        if rendering not in (None, drawn):
            raise ValueError(
                f"{config.name} imagines the rendering of its data, {drawn!r}, not {rendering!r}; leave out rendering"
            )
        self.depth_observed = depth
        bounds = config.schema.telemetry_low, config.schema.telemetry_high
        return robot_space((height, width), config.cameras, (config.camera,) if depth else (), *bounds)

    def action_space(self) -> Box:
        """Space of one action, as the data of the model defines it."""
        low, high = (
            np.array(b, np.float32) for b in (self.model.config.schema.action_low, self.model.config.schema.action_high)
        )
        return Box(low, high, dtype=np.float32)

    def start(
        self, options: Mapping[str, Any], goal: PictureGoal | None, rngs: Sequence[np.random.Generator]
    ) -> tuple[list[Context], WorldState]:
        """Where rows begin by the reset options, each with its own generator, and their states. Initial states in which
        the goal or function is fulfilled already are drawn anew, as labels leave them out; starts that are given stay.

        Raises:
            ConfigError: It is fulfilled in all that were drawn.
        """
        found = [self.starts.resolve(options, rng) for rng in rngs]
        state = self.begin([read for _, read in found], rngs)
        if SOURCES & options.keys() or (goal is None and not isinstance(self._judge, FunctionTask)):
            return [context for context, _ in found], state
        for _ in range(REDRAWS):
            solved = np.flatnonzero(self._solved(state, goal)).tolist()
            if not solved:
                return [context for context, _ in found], state
            again = [self.starts.resolve(options, rngs[row]) for row in solved]
            for row, start in zip(solved, again, strict=True):
                found[row] = start
            fresh = self.begin([read for _, read in again], [rngs[row] for row in solved])
            state.assign(torch.tensor(solved), fresh)
        raise ConfigError(
            f"what is to be done is fulfilled in each of {REDRAWS} start states of {self.model.config.name}: ask for "
            "something else, or give a start by the reset options"
        )

    def _solved(self, state: WorldState, goal: PictureGoal | None) -> NDArray[np.bool_]:
        """Whether worlds are where they should be, (n,)."""
        if goal is None:
            return self._judge.judge(self.model, state)[1]
        return judge_goal(self.model, state.codes, state.objects, state.residual, goal)[1].cpu().numpy()

    def begin(self, read: Sequence[Segment], rngs: Sequence[np.random.Generator]) -> WorldState:
        """States of rows that begin from latents read before, grouped by length of context; each row's own generator
        says which future it goes into, if its model knows several."""
        states: dict[int, WorldState] = {}
        lengths = np.array([r.telemetry.shape[1] for r in read])
        for length in sorted(set(lengths.tolist())):
            rows = np.flatnonzero(lengths == length).tolist()
            context = Segment(*(torch.cat(parts) for parts in zip(*(read[i] for i in rows), strict=True)))
            begun = self.model.begin(context)
            states |= {row: begun.select([i]) for i, row in enumerate(rows)}
        state = WorldState.join([states[i] for i in range(len(read))])
        if self.model.config.dynamics.noise:
            state.future = torch.tensor([int(rng.integers(2**31)) for rng in rngs], device=state.future.device)
        return state

    def step(self, actions: NDArray[np.float64]) -> None:
        """Advance all rows by one step of checked actions (n, A)."""
        draw = self.watched or self.goals.pictured
        self.state = self.model.step_(self.state, torch.from_numpy(actions).float(), draw=draw)

    def frames(self) -> NDArray[np.uint8]:
        """Pictures of all rows, the views side by side, (n, H, V*W, 3), fresh memory."""
        return self.model.decode(self.state).cpu().numpy()

    def depths(self) -> Observation:
        """Depth images of all rows by key, (n, H, W, 1) [m]; none where nobody asked for them."""
        if not self.depth_observed:
            return {}
        depth = self.model.depth(self.state).clamp_max(MAX_DEPTH)
        return {depth_key(self.model.config.camera): depth.cpu().numpy()}

    def judge_also(self, tasks: Sequence[str]) -> None:
        """Have further tasks judged; a ValueError where the model has not learned one."""
        self._also = {task: find_task(self.model, task) for task in tasks}

    def also(self) -> dict[str, NDArray[np.bool_]]:
        """Success (n,) of those further tasks, by the key of an info."""
        return {f"{SUCCESS_OF}{name}": task.judge(self.model, self.state)[1] for name, task in self._also.items()}

    def judge(self) -> Verdict:
        """Reward and success of all rows, each (n,); without a task these are zeros."""
        reward, success = self.goals.judge(self.state, *self._judge.judge(self.model, self.state))
        return success.astype(np.float64) if self._sparse else reward, success
