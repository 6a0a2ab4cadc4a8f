"""Learned worlds as environments: many in one forward pass, or one of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from gwm_sim.envs.learned.domain import find_domain
from gwm_sim.envs.learned.imagination import Imagination
from gwm_sim.envs.learned.observations import LATENTS, read_state, state_space
from gwm_sim.envs.single_env import SingleEnv, first
from gwm_sim.envs.spaces import UNCERTAINTY, Observation, check_words, large, observed
from gwm_sim.envs.vector_world import REWARDS, Frame, Options, Rows, VectorWorld
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel


class LearnedVectorEnv(VectorWorld):
    """`LearnedEnv` in vector form: the same spaces, options and info, num_envs rows in one forward pass."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        task: str | None = None,
        model: str | Path = "gwm-mini",
        size: int | None = None,
        cameras: Sequence[str] | None = None,
        depth: bool = False,
        rendering: str | None = None,
        reward: str = "dense",
        render_mode: str | None = None,
        device: str | None = None,
        time_limit: int | Literal["checkpoint"] | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        goal: NDArray[np.uint8] | None = None,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: Number of rows.
            task: Task that reward and success are read for, or a function of one's own, FILE.py:NAME (`tasks.py`);
                None takes the one of the model's data.
            model: Name of a shipped model, or a checkpoint folder.
            size: Size of the frames [px]; only the model's own.
            cameras: Those of the model, or None for them.
            depth: Observe depth too, `depth_<camera>` of the main one, (H, W, 1) [m]; gwm-preview imagines it.
            rendering: That of the model's data ("fast" or "rich" where they are the twin's), or None for it.
            reward: "dense" or "sparse".
            render_mode: None or "rgb_array".
            device: Such as "cpu" or "cuda"; None takes a GPU if there is one.
            time_limit: Steps after which the environment itself truncates, "checkpoint" for the length of the model's
                training episodes; None leaves that to `max_episode_steps`.
            max_episode_steps: Time limit of an episode, before `time_limit`; `gymnasium.make_vec` fills it in.
            autoreset_mode: What happens to a finished row.
            goal: Goal image (H, W, 3) uint8 of every episode whose reset options give no other one.
        """
        check_words(reward=(reward, REWARDS))
        self._imagination = Imagination(model, task, reward, device, goal)
        self.task = self._imagination.task
        if max_episode_steps is None:
            max_episode_steps = self.world_model.config.time_limit if time_limit == "checkpoint" else time_limit
        super().__init__(
            num_envs,
            self._imagination.observation_space(size, cameras, depth, rendering),
            self._imagination.action_space(),
            max_episode_steps,
            autoreset_mode,
            render_mode,
        )
        self.metadata = {**self.metadata, **self._imagination.metadata()}
        self._pixels: Frame | None = None  # (n, H, V*W, 3), decoded when somebody looks
        self._state_keys: tuple[str, ...] | None = None
        self._steps = np.zeros(num_envs, int)

    @property
    def world_model(self) -> WorldModel:
        """The model behind these worlds."""
        return self._imagination.model

    @property
    def goal(self) -> NDArray[np.uint8] | None:
        """Goal image of every episode that was given no other one, None for none."""
        return self._imagination.goal

    def observe_state(self, keys: Sequence[str]) -> None:
        """From now on observe the state instead of frames, which are then decoded for `render` only."""
        self._state_keys = tuple(keys)
        self._imagination.watched = LATENTS in keys
        self.single_observation_space = state_space(self.world_model, self.single_observation_space, keys)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def judge_also(self, tasks: Sequence[str]) -> None:
        """From now on infos say beside `success` whether other labelled tasks are fulfilled, as `success/<task>`."""
        self._imagination.judge_also(tasks)

    def task_state(self) -> Any:
        """What the model believes of all rows, as the tasks of its domain look at it: scripted policies act on it."""
        return find_domain(self.world_model.config.schema.env_id).task_state(self.world_model, self._imagination.state)

    def frames(self) -> Frame:
        """Pictures (num_envs, H, V*W, 3) of the present, also where the state is observed."""
        if self._pixels is None:
            self._pixels = self._imagination.frames()
        return self._pixels

    def get_state(self) -> tuple[WorldState, Frame, NDArray[np.int_]]:
        """Complete state of all rows but for goals; `set_state` continues from it."""
        return self._imagination.state.clone(), self.frames().copy(), self._steps.copy()

    def set_state(self, state: tuple[WorldState, Frame, NDArray[np.int_]]) -> Observation:
        """Go back to `state`, time limit included, and return its observation."""
        world, pixels, steps = state
        self._imagination.state, self._pixels, self._steps = world.clone(), pixels.copy(), steps.copy()
        return self._resume()

    @torch.inference_mode()  # what lives here is never differentiated, and copies that leave are as any tensor
    def _reset_rows(self, rows: Rows, options: Options) -> None:
        rest, goal = self._imagination.split(options)
        contexts, fresh = self._imagination.start(rest, goal, [self._rngs[row] for row in rows])
        self._imagination.goals.set(rows.tolist(), goal)
        frames = np.stack([context.frames[-1] for context in contexts])
        if len(rows) == self.num_envs:
            self._imagination.state, self._pixels = fresh, frames
        else:
            self._imagination.state.assign(torch.from_numpy(rows), fresh)
            if self._pixels is not None or self._state_keys is None:  # where somebody looks at the other rows
                self.frames()[rows] = frames
        self._steps[rows] = 0

    @torch.inference_mode()
    def _advance(self, actions: NDArray[Any], rows: Rows) -> None:
        self._imagination.step(actions)
        self._pixels = None
        self._steps[rows] += 1

    @torch.inference_mode()
    def _observe(self, rows: Rows) -> Observation:
        if self._state_keys is not None:
            read = read_state(self.world_model, self._imagination.state, self._state_keys)
            return {key: value[rows] for key, value in read.items()}
        pictures = observed(self.frames()[rows], self.world_model.config.cameras)
        depths = {key: depth[rows] for key, depth in self._imagination.depths().items()}
        return {**pictures, **depths, "agent_pos": self._imagination.state.telemetry.cpu().numpy()[rows]}

    @torch.inference_mode()
    def _judge(self) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
        rewards, success = self._imagination.judge()
        uncertainty = self._imagination.state.uncertainty.double().cpu().numpy()
        also = self._imagination.also()
        return rewards, {"is_success": success, "success": success.copy(), UNCERTAINTY: uncertainty} | also

    def _elapsed(self) -> NDArray[np.int_]:
        return self._steps

    def _draw(self) -> tuple[Frame, ...]:
        return tuple(map(large, self.frames()))


class LearnedEnv(SingleEnv):
    """A world that was learned from video: `step` shows the frame the camera would have shown.

    Observation: Dict of the frames of each camera, uint8 (H, W, 3), `pixels` of one named "front" and
    `pixels_<camera>` of any other, and `agent_pos` float32 (P,), with the names, units and bounds of the data.
    Action: as in the data, for the shipped models Box(-1, 1, (4,)): change of the commanded end-effector position, 0.03
    m per unit, and gripper rate. Numbers outside are clipped; NaN and wrong shapes raise ValueError.
    Reward: of the reward head, dense in [0, 1], or with `reward="sparse"` the success as a number. With a `goal`, an
    image (H, W, 3), the negative distance to it, 0 at the goal, and success where it is reached (see `goals.py`); with
    a function as `task`, what that says (see `tasks.py`).
    Termination: never; the time limit of the registered ids truncates, in `GWM-World-v0` that of the checkpoint.
    Info: `is_success` and `success`, bool, of this instant; `gwm/uncertainty`, the expected error of what is shown
    ([cm] or [px] of object positions, see `WorldModel.uncertainty`); at every step and reset.
    Reset options: a start: `bank` (index of an initial state), or `episode` ("FILE:K") with `step`, or `frames`
    (C, H, W, 3) of the main camera or of all side by side, with `telemetry` (C, P) and perhaps `actions` (C-1, A); by
    default an initial state is drawn. `properties` sets physics that the model is conditioned on, by name, or "random"
    draws it; `goal` is the goal image of this episode.
    Metadata: names and units of telemetry and actions, rate, camera, tasks; `lacks`, what the data did not tell the
    model, such as a reward, and what helps. Without a task or goal `is_success` is always False.
    The frame returned by `reset` is the real one that the world begins with. Where the future is open and the model
    knows several, such as gwm-preview, the seed of `reset` says which one comes.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}
    vector = LearnedVectorEnv
    rows: LearnedVectorEnv

    @property
    def world_model(self) -> WorldModel:
        """The model behind this world."""
        return self.rows.world_model

    def observe_state(self, keys: Sequence[str]) -> None:
        """From now on observe the state instead of frames, which are then decoded for `render` only."""
        self.rows.observe_state(keys)

    @property
    def goal(self) -> NDArray[np.uint8] | None:
        """Goal image of every episode that was given no other one, None for none."""
        return self.rows.goal

    def task_state(self) -> Any:
        """What the model believes, without a batch axis: scripted policies act on it."""
        return self.rows.task_state()[0]

    def get_state(self) -> tuple[WorldState, Frame, int]:
        """Complete state but for the goal; `set_state` continues from it. A TimeLimit wrapper keeps its own count."""
        world, pixels, steps = self.rows.get_state()
        return world, pixels[0], int(steps[0])

    def set_state(self, state: tuple[WorldState, Frame, int]) -> Observation:
        """Go back to `state` and return its observation."""
        world, pixels, steps = state
        observation: Observation = first(self.rows.set_state((world, pixels[None], np.array([steps]))))
        return observation
