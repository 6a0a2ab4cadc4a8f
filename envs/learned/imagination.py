"""One learned environment, and the rows of imagination that it shares with the vector form."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.tasks import TaskState
from gwm_sim.envs.learned.goals import Goal, Goals, read_goal
from gwm_sim.envs.learned.observations import LATENTS, believed_state, read_state, readings_space
from gwm_sim.envs.learned.starts import Starts
from gwm_sim.envs.vector_world import Observation
from gwm_sim.media.video import enlarge
from gwm_sim.model.dynamics import Segment
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel, find_checkpoint

TimeLimit = int | Literal["checkpoint"] | None

RENDER_SIZE = 512  # least size of the frames of render() [px]
SUCCESS_PROBABILITY = 0.5  # above which the success head counts as a yes


class Imagination:
    """A model and n imagined worlds in it: one forward pass advances all rows."""

    def __init__(
        self,
        model: str | Path,
        task: str | None,
        reward: str,
        device: str | None,
        goal: NDArray[np.uint8] | None,
    ) -> None:
        """Load the model and open its start states."""
        if reward not in ("dense", "sparse"):
            raise ValueError(f'reward must be "dense" or "sparse", got {reward!r}')
        folder = find_checkpoint(model)
        self.model = WorldModel.load(folder, device)
        config = self.model.config
        self.task = task if task is not None else config.schema.task
        if task is not None and task not in self.model.tasks:
            raise ValueError(
                f"{config.name} knows no task {task!r}; "
                f"it was trained with {', '.join(self.model.tasks) or 'no labels'}"
            )
        self.starts = Starts(self.model, folder, self.task)
        self.state: WorldState
        self._sparse = reward == "sparse"
        self._column = self.model.tasks.index(self.task) if self.task in self.model.tasks else None
        self._default_goal = self._read_goal(goal)
        self._goals = Goals()
        self.depth_observed = False
        self.watched = True
        """Whether somebody looks at every step; without, pictures are drawn when asked for."""
        if self._column is None and goal is None:
            warnings.warn(f"{config.name} lacks {self.lacks()['reward']}", stacklevel=3)

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
        if self._column is None:
            lacking["reward"] = (
                "labels, so the reward is 0 and success is never true: give a goal image as the keyword argument or "
                "reset option `goal`, or mark success in the data by `gwm label` and train again"
            )
        if not self.model.config.dynamics.objects:
            lacking["objects"] = "object poses: the uncertainty is in grey levels of the picture, not in cm"
        if not len(self.starts):
            lacking["starts"] = "start states: every reset needs `episode` or `frames`"
        return lacking

    def set_goal(self, rows: Sequence[int], goal: Goal | None) -> None:
        """Give some rows a goal, or take it away."""
        self._goals.set(rows, goal)

    def split(self, options: Mapping[str, Any] | None) -> tuple[dict[str, Any], Goal | None]:
        """Reset options that say where to begin, and the goal: that of the options, else the default."""
        start = dict(options or {})
        return start, self._read_goal(start.pop("goal")) if "goal" in start else self._default_goal

    def _read_goal(self, image: NDArray[np.uint8] | None) -> Goal | None:
        if image is None:
            return None
        if self._sparse:
            raise ValueError('a goal image gives a dense reward; leave out reward="sparse"')
        return read_goal(self.model, image)

    def observation_space(self, size: int | None, cameras: Sequence[str] | None, depth: bool) -> gym.spaces.Dict:
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
        self.depth_observed = depth
        low = np.array(config.schema.telemetry_low, np.float32)
        high = np.array(config.schema.telemetry_high, np.float32)
        view = gym.spaces.Box(0, 255, (height, width, 3), np.uint8)
        entries: dict[str, gym.Space[Any]] = {spec.image_key(camera): view for camera in config.cameras}
        if depth:
            near_and_far = (0.0, spec.MAX_DEPTH)
            entries[spec.depth_key(config.camera)] = gym.spaces.Box(*near_and_far, (height, width, 1), np.float32)
        entries["agent_pos"] = gym.spaces.Box(low, high, dtype=np.float32)
        return gym.spaces.Dict(entries)

    def action_space(self) -> gym.spaces.Box:
        schema = self.model.config.schema
        return gym.spaces.Box(
            np.array(schema.action_low, np.float32), np.array(schema.action_high, np.float32), dtype=np.float32
        )

    def time_limit(self, limit: TimeLimit) -> int | None:
        """Time limit [steps] that `limit` means."""
        return self.model.config.time_limit if limit == "checkpoint" else limit

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
        draw = self.watched or len(self._goals) > 0
        self.state = self.model.step_(self.state, torch.from_numpy(actions).float(), draw=draw)

    def frames(self) -> NDArray[np.uint8]:
        """Pictures of all rows, the views side by side, (n, H, V*W, 3), fresh memory."""
        return self.model.decode(self.state).cpu().numpy()

    def depths(self) -> Observation:
        """Depth images of all rows by key, (n, H, W, 1) [m]; none where nobody asked for them."""
        if not self.depth_observed:
            return {}
        return {
            spec.depth_key(self.model.config.camera): self.model.depth(self.state)
            .clamp_max(spec.MAX_DEPTH)
            .cpu()
            .numpy()
        }

    def telemetry(self) -> NDArray[np.float32]:
        """Telemetry of all rows, (n, P), fresh memory."""
        return self.state.telemetry.cpu().numpy().copy()

    def judge(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Reward and success of all rows, each (n,); without labels for the task and goal image these are zeros."""
        if self._column is None:
            reward, success = np.zeros(len(self.state)), np.zeros(len(self.state), bool)
        else:
            reward, probability = (x[:, self._column].double().cpu().numpy() for x in self.model.judge(self.state))
            success = probability > SUCCESS_PROBABILITY
        return self._goals.reward(self.state.codes, success.astype(np.float64) if self._sparse else reward), success

    def readings(self, keys: Sequence[str]) -> Observation:
        """What the model knows of all rows without a picture, each (n, ...), fresh memory; see `readings.py`."""
        return read_state(self.model, self.state, keys)

    def task_state(self) -> TaskState:
        """What the model believes of all rows, as the tasks look at it."""
        return believed_state(self.model, self.state)

    def uncertainty(self) -> NDArray[np.float64]:
        """Uncertainty of all rows, (n,)."""
        return self.state.uncertainty.double().cpu().numpy()


class LearnedEnv(gym.Env[Any, Any]):
    """A world that was learned from video: `step` shows the frame the camera would have shown.

    Observation: Dict of `pixels` uint8 (H, W, 3), for further cameras `pixels_<camera>`, and `agent_pos` float32 (P,),
    with the twin's names, units and bounds.
    Action: as in the twin, for the shipped models Box(-1, 1, (4,)): change of the commanded end-effector position, 0.03
    m per unit, and gripper rate. Numbers outside are clipped; NaN and wrong shapes raise ValueError.
    Reward: of the reward head, dense in [0, 1], or with `reward="sparse"` the success as a number. With a `goal`, an
    image (H, W, 3), the negative distance of the latents to it, 0 at the goal (see `goals.py`).
    Termination: never; the time limit of the registered ids truncates, in `GWM-World-v0` that of the checkpoint.
    Info: `is_success` and `success`, bool, of this instant; `gwm/uncertainty`, the expected error of what is shown
    ([cm] of object positions, see `WorldModel.uncertainty`); at every step and reset.
    Reset options: a start: `bank` (index), or `episode` ("FILE:K") with `step`, or `frames` (C, H, W, 3)
    of the main camera or of all side by side, with `telemetry` (C, P) and perhaps `actions` (C-1, A); by default one
    that is drawn from the bank. `properties` sets physics by name, `goal` the goal image of this episode.
    Metadata: names and units of telemetry and actions, rate, camera, tasks; `lacks`, what the data did not tell the
    model, such as a reward, and what helps. Without labels `is_success` is always False.
    The frame returned by `reset` is the real one that the world begins with. Where the future is open and the model
    knows several, such as gwm-preview, the seed of `reset` says which one comes.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": spec.CONTROL_RATE}

    def __init__(
        self,
        task: str | None = None,
        model: str | Path = "gwm-mini",
        size: int | None = None,
        cameras: Sequence[str] | None = None,
        depth: bool = False,
        rendering: str | None = None,
        reward: str = "dense",
        render_mode: str | None = None,
        device: str | None = None,
        time_limit: TimeLimit = None,
        goal: NDArray[np.uint8] | None = None,
    ) -> None:
        """Make the environment.

        Args:
            task: Task that reward and success are read for; None takes the one of the model's data.
            model: Name of a shipped model, or a checkpoint folder.
            size: Size of the frames [px]; only the model's own.
            cameras: Those of the model, or None for them.
            depth: Observe depth too, `depth_<camera>` of the main one, (H, W, 1) [m]; gwm-preview imagines it.
            rendering: Accepted because the twin takes it; a model shows what it was trained on.
            reward: "dense" or "sparse".
            render_mode: None or "rgb_array".
            device: Such as "cpu" or "cuda"; None takes a GPU if there is one.
            time_limit: Steps after which the environment itself truncates, "checkpoint" for the length of the model's
                training episodes; None leaves that to Gymnasium's `max_episode_steps`.
            goal: Goal image (H, W, 3) uint8 of every episode whose reset options give no other one.
        """
        check_words(rendering, render_mode)
        self.render_mode = render_mode
        self._rows = Imagination(model, task, reward, device, goal)
        self.metadata = {**type(self).metadata, **self._rows.metadata()}
        self.task = self._rows.task
        self.observation_space = self._rows.observation_space(size, cameras, depth)
        self.action_space = self._rows.action_space()
        self._limit = self._rows.time_limit(time_limit)
        self._elapsed = 0
        self._pixels: NDArray[np.uint8] | None = None  # decoded when somebody looks
        self._readings: tuple[str, ...] | None = None

    @property
    def world_model(self) -> WorldModel:
        """The model behind this world."""
        return self._rows.model

    def observe_readings(self, keys: Sequence[str]) -> None:
        """From now on observe readings of the state instead of frames, which are then decoded for `render` only."""
        self._readings = tuple(keys)
        self._rows.watched = LATENTS in keys
        self.observation_space = readings_space(self.world_model, self.observation_space, keys)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin from a start state; see the class for the options."""
        super().reset(seed=seed)
        options, goal = self._rows.split(options)
        start, read = self._rows.starts.resolve(options, self.np_random)
        self._rows.set_goal([0], goal)
        self._rows.state = self._rows.begin([read], [self.np_random])
        self._elapsed = 0
        self._pixels = start.frames[-1]
        _, success = self._rows.judge()
        return self._observation(), self._info(success)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Imagine one control step."""
        self._rows.step(spec.check_action(action, self.action_space)[None])
        self._elapsed += 1
        self._pixels = None
        reward, success = self._rows.judge()
        truncated = self._limit is not None and self._elapsed >= self._limit
        return self._observation(), float(reward[0]), False, truncated, self._info(success)

    def task_state(self) -> TaskState:
        """What the model believes, without a batch axis: scripted policies act on it."""
        return self._rows.task_state()[0]

    def render(self) -> NDArray[np.uint8] | None:
        """The present frame, enlarged."""
        if self.render_mode is None:
            raise ValueError('Nothing to render: make the environment with render_mode="rgb_array" or "human"')
        return displayed(self._frame())

    def get_state(self) -> tuple[WorldState, NDArray[np.uint8], int]:
        """Complete state but for the goal; `set_state` continues from it. A TimeLimit wrapper keeps its own count."""
        return self._rows.state.clone(), self._frame().copy(), self._elapsed

    def set_state(self, state: tuple[WorldState, NDArray[np.uint8], int]) -> Observation:
        """Go back to `state` and return its observation."""
        world, self._pixels, self._elapsed = state
        self._rows.state = world.clone()
        return self._observation()

    def _frame(self) -> NDArray[np.uint8]:
        if self._pixels is None:
            self._pixels = self._rows.frames()[0]
        return self._pixels

    def _observation(self) -> Observation:
        if self._readings is not None:
            return {key: value[0] for key, value in self._rows.readings(self._readings).items()}
        pictures = spec.observed(self._frame().copy(), self._rows.model.config.cameras)
        depths = {key: depth[0] for key, depth in self._rows.depths().items()}
        return {**pictures, **depths, "agent_pos": self._rows.telemetry()[0]}

    def _info(self, success: NDArray[np.bool_]) -> dict[str, Any]:
        value = bool(success[0])
        return {"is_success": value, "success": value, "gwm/uncertainty": float(self._rows.uncertainty()[0])}


def check_words(rendering: str | None, render_mode: str | None) -> None:
    """Refuse words that learned worlds do not know ("human" is a wrapper of Gymnasium around "rgb_array")."""
    for name, given, known in (
        ("rendering", rendering, (None, "fast", "rich")),
        ("render_mode", render_mode, (None, "rgb_array")),
    ):
        if given not in known:
            raise ValueError(f"{name} must be one of {known}, got {given!r}")


def displayed(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame (H, W, 3) with every pixel repeated until it is large enough to look at."""
    return enlarge(frame, -(-RENDER_SIZE // frame.shape[0]))
