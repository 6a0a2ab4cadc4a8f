"""Many learned environments in one forward pass."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.tasks import TaskState
from gwm_sim.envs.learned.observations import LATENTS, readings_space
from gwm_sim.envs.learned.imagination import Imagination, LearnedEnv, TimeLimit, check_words, displayed
from gwm_sim.envs.vector_world import Observation, Options, Rows, RowsEnv
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel


class LearnedVectorEnv(RowsEnv):
    """`LearnedEnv` in vector form: the same spaces, options and info, num_envs rows in one forward pass."""

    metadata: dict[str, Any] = {**LearnedEnv.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}

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
        time_limit: TimeLimit = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        goal: NDArray[np.uint8] | None = None,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: Number of rows.
            task: As for the single environment, like every argument up to `device`.
            model: Name of a shipped model, or a checkpoint folder.
            size: Size of the frames [px]; only the model's own.
            cameras: Those of the model, or None for them.
            depth: Observe depth too, see `LearnedEnv`.
            rendering: Accepted because the twin takes it.
            reward: "dense" or "sparse".
            render_mode: None or "rgb_array".
            device: Such as "cpu" or "cuda"; None takes a GPU if there is one.
            time_limit: Time limit of an episode where `max_episode_steps` sets none.
            max_episode_steps: Time limit of an episode; `gymnasium.make_vec` fills it in.
            autoreset_mode: What happens to a finished row.
            goal: Goal image (H, W, 3) uint8 of every episode whose reset options give no other one.
        """
        check_words(rendering, render_mode)
        self.render_mode = render_mode
        self._imagination = Imagination(model, task, reward, device, goal)
        self.task = self._imagination.task
        super().__init__(
            num_envs,
            self._imagination.observation_space(size, cameras, depth),
            self._imagination.action_space(),
            self._imagination.time_limit(time_limit) if max_episode_steps is None else max_episode_steps,
            autoreset_mode,
        )
        self.metadata = {**self.metadata, **self._imagination.metadata()}
        self._pixels: NDArray[np.uint8] | None = None  # decoded when somebody looks
        self._readings: tuple[str, ...] | None = None
        self._steps = np.zeros(num_envs, int)

    @property
    def world_model(self) -> WorldModel:
        """The model behind these worlds."""
        return self._imagination.model

    def observe_readings(self, keys: Sequence[str]) -> None:
        """From now on observe readings of the state instead of frames, which are then decoded for `render` only."""
        self._readings = tuple(keys)
        self._imagination.watched = LATENTS in keys
        self.single_observation_space = readings_space(self.world_model, self.single_observation_space, keys)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def task_state(self) -> TaskState:
        """What the model believes of all rows: scripted policies act on it."""
        return self._imagination.task_state()

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """The present frame of each row, enlarged."""
        if self.render_mode is None:
            raise ValueError('Nothing to render: make the environment with render_mode="rgb_array"')
        return tuple(displayed(frame) for frame in self.frames())

    def get_state(self) -> tuple[WorldState, NDArray[np.uint8], NDArray[np.int_]]:
        """Complete state of all rows; `set_state` continues from it."""
        return self._imagination.state.clone(), self.frames().copy(), self._steps.copy()

    def set_state(self, state: tuple[WorldState, NDArray[np.uint8], NDArray[np.int_]]) -> Observation:
        """Go back to `state`, time limit included, and return its observation."""
        world, pixels, steps = state
        self._seed_missing()
        self._imagination.state, self._pixels, self._steps = world.clone(), pixels.copy(), steps.copy()
        self._begun = True
        self._finished = self._out_of_time()
        return self._observe(self._everyone)

    def _reset_rows(self, rows: Rows, options: Options) -> None:
        rest, goal = self._imagination.split(options)
        resolved = [self._imagination.starts.resolve(rest, self._rngs[row]) for row in rows]
        self._imagination.set_goal(rows.tolist(), goal)
        fresh = self._imagination.begin([read for _, read in resolved], [self._rngs[row] for row in rows])
        if self._begun:
            self._imagination.state.assign(torch.from_numpy(rows), fresh)
        else:
            self._imagination.state = fresh
        if len(rows) == self.num_envs:
            self._pixels = np.stack([start.frames[-1] for start, _ in resolved])
        elif self._pixels is not None or self._readings is None:  # where somebody looks at the other rows
            self.frames()[rows] = [start.frames[-1] for start, _ in resolved]
        self._steps[rows] = 0

    def _advance(self, actions: NDArray[Any], rows: Rows) -> None:
        self._imagination.step(actions)
        self._pixels = None
        self._steps[rows] += 1

    def frames(self) -> NDArray[np.uint8]:
        """Pictures (num_envs, H, W, 3) of the present, also where readings are observed."""
        if self._pixels is None:
            self._pixels = self._imagination.frames()
        return self._pixels

    def _observe(self, rows: Rows) -> Observation:
        if self._readings is not None:
            return {key: value[rows] for key, value in self._imagination.readings(self._readings).items()}
        pictures = spec.observed(self.frames()[rows], self.world_model.config.cameras)
        depths = {key: depth[rows] for key, depth in self._imagination.depths().items()}
        return {**pictures, **depths, "agent_pos": self._imagination.telemetry()[rows]}

    def _judge(self) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
        rewards, success = self._imagination.judge()
        uncertainty = self._imagination.uncertainty()
        return rewards, {"is_success": success, "success": success.copy(), "gwm/uncertainty": uncertainty}

    def _elapsed(self) -> NDArray[np.int_]:
        return self._steps
