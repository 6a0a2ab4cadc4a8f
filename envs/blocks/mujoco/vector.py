"""Many physics twin environments in one process, stepped together on all cores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.initial_state import draw_start
from gwm_sim.envs.blocks.mujoco.scene import Rendering, make_model
from gwm_sim.envs.blocks.mujoco.simulation import Simulation, Snapshot
from gwm_sim.envs.blocks.mujoco.twin import RENDER_SIZE, MuJoCoEnv, check_arguments, requested_properties
from gwm_sim.envs.blocks.tasks import TASK, Array, Mask, TaskState, label
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer
from gwm_sim.envs.vector_world import Observation, Options, Rows, RowsEnv


class MuJoCoVectorEnv(RowsEnv):
    """`MuJoCoEnv` in vector form: the same spaces, options and info, with a leading num_envs axis.

    Row i of a batch seeded s is the single environment seeded s + i. All three autoreset modes are there; in
    SAME_STEP, the default, a finished row's last observation is in `info["final_obs"]` and its last info in
    `info["final_info"]`.
    """

    metadata: dict[str, Any] = {**MuJoCoEnv.metadata, "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        task: str = "stack",
        size: int = 64,
        cameras: Sequence[str] = ("front",),
        depth: bool = False,
        rendering: Rendering = "rich",
        reward: str = "dense",
        render_mode: str | None = None,
        device: str | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: Number of rows.
            task: As for the single environment, like every argument up to `device`.
            size: Height and width of the frames [px].
            cameras: Any of "front" and "wrist".
            depth: Whether each camera also gives depth.
            rendering: "fast" or "rich".
            reward: "dense" or "sparse".
            render_mode: None or "rgb_array".
            device: Accepted because the learned environment takes it; MuJoCo runs on the CPU.
            max_episode_steps: Time limit of an episode; None for no limit. `gymnasium.make_vec` fills it in.
            autoreset_mode: What happens to a finished row.
        """
        check_arguments(task, reward, render_mode)
        super().__init__(
            num_envs,
            spec.observation_space(size, cameras, depth),
            spec.action_space(),
            max_episode_steps,
            autoreset_mode,
        )
        self.task = task
        self._cameras = tuple(cameras)
        self.render_mode = render_mode
        self._sparse = reward == "sparse"
        model = make_model(rendering)
        self._simulation = Simulation(model, num_envs)
        self._renderer = FrameRenderer(model, size, cameras, depth, rendering)
        self._display = FrameRenderer(model, RENDER_SIZE, rendering=rendering)

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """One frame (480, 480, 3) of the front camera per row."""
        if self.render_mode is None:
            raise ValueError('Nothing to render: make the environment with render_mode="rgb_array"')
        return tuple(self._display.frame(self._simulation.qpos(row)) for row in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Free the graphics contexts."""
        self._renderer.close()
        self._display.close()

    def frames(self) -> NDArray[np.uint8]:
        """Pictures (num_envs, H, W, 3) of the first camera at this instant."""
        key = spec.image_key(self._cameras[0])
        return np.stack([self._renderer.observe(self._simulation.qpos(row))[key] for row in range(self.num_envs)])

    def task_state(self) -> TaskState:
        """What the tasks look at, for all rows."""
        return self._simulation.task_state()

    def labels(self) -> dict[str, tuple[Array, Mask]]:
        """Reward and success (num_envs,) of every task in the present states."""
        return label(self.task_state())

    def objects(self) -> NDArray[np.float32]:
        """Poses (num_envs, K, 7) of the cubes: position [m] and quaternion, w first."""
        return self._simulation.objects()

    def camera_info(self) -> tuple[dict[str, Camera], ...]:
        """Calibration of each row's cameras at this instant."""
        return tuple(self._renderer.camera_info(self._simulation.qpos(row)) for row in range(self.num_envs))

    @property
    def properties(self) -> tuple[dict[str, float], ...]:
        """Physics properties of each row's episode."""
        return tuple(self._simulation.properties(row) for row in range(self.num_envs))

    def get_state(self) -> tuple[Snapshot, ...]:
        """Complete state of each row."""
        return tuple(self._simulation.snapshot(row) for row in range(self.num_envs))

    def set_state(self, states: Sequence[Snapshot]) -> Observation:
        """Put every row back into its state, time limit included, and return the observation."""
        for row, state in zip(range(self.num_envs), states, strict=True):
            self._simulation.restore(row, state)
        self._finished = self._out_of_time()
        return self._observe(self._everyone)

    def _reset_rows(self, rows: Rows, options: Options) -> None:
        # In each row first the start, then the properties: the order of the single environment.
        properties = requested_properties(options)
        starts = [draw_start(TASK[self.task], self._rngs[row]) for row in rows]
        drawn = [spec.resolve_properties(properties, self._rngs[row]) for row in rows]
        self._simulation.reset(rows, starts, drawn)

    def _advance(self, actions: NDArray[Any], rows: Rows) -> None:
        self._simulation.step(rows, actions[rows])

    def _observe(self, rows: Rows) -> Observation:
        drawn = [self._renderer.observe(self._simulation.qpos(row)) for row in rows]
        frames = {key: np.stack([entry[key] for entry in drawn]) for key in drawn[0]}
        return {**frames, "agent_pos": self._simulation.telemetry()[rows]}

    def _judge(self) -> tuple[Array, dict[str, NDArray[Any]]]:
        state = self.task_state()
        success = TASK[self.task].success(state)
        rewards = success.astype(np.float64) if self._sparse else TASK[self.task].reward(state)
        return rewards, {"is_success": success, "success": success.copy()}

    def _elapsed(self) -> NDArray[np.int_]:
        return self._simulation.elapsed
