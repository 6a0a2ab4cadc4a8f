"""The physics twin as environments: many in one process, stepped together on all cores, or one of them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.initial_state import draw_initial_state
from gwm_sim.envs.blocks.mujoco.scene import make_model
from gwm_sim.envs.blocks.mujoco.simulation import Simulation, Snapshot
from gwm_sim.envs.blocks.tasks import TASK, Array, Mask, TaskState, label
from gwm_sim.envs.spaces import Observation, check_words, resolve_properties
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer, Rendering
from gwm_sim.envs.tabletop.mujoco.twin import TwinEnv, TwinVectorEnv
from gwm_sim.envs.vector_world import REWARDS, Frame, Options, Rows

RENDER_SIZE: Final = 480  # frames of render() [px]


class MuJoCoVectorEnv(TwinVectorEnv[TaskState, Snapshot]):
    """`MuJoCoEnv` in vector form: the same spaces, options and info, with a leading num_envs axis."""

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": spec.CONTROL_RATE,
        "action_names": spec.ACTION_NAMES,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    task: str
    _simulation: Simulation

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
            task: "reach", "grasp" or "stack".
            size: Height and width of the frames [px].
            cameras: Any of "front" and "wrist".
            depth: Whether each camera also gives depth.
            rendering: "rich" has MuJoCo's default shadows and multisampling, as the shipped models saw them; "fast" has
            neither and, where no GPU draws, takes a thirtieth of the time.
            reward: "dense" or "sparse".
            render_mode: None or "rgb_array".
            device: None or "cpu", because the learned environment has a choice; MuJoCo runs on the CPU.
            max_episode_steps: Time limit of an episode; None for no limit. `gymnasium.make_vec` fills it in.
            autoreset_mode: What happens to a finished row.
        """
        check_words(task=(task, spec.TASKS), reward=(reward, REWARDS), device=(device, (None, "cpu")))
        model = make_model(rendering)
        self._renderer = FrameRenderer(model, size, cameras, depth, rendering)
        self._display = FrameRenderer(model, RENDER_SIZE, rendering=rendering)
        super().__init__(
            num_envs,
            spec.observation_space(size, cameras, depth),
            spec.action_space(),
            max_episode_steps,
            autoreset_mode,
            render_mode,
        )
        self._simulation = Simulation(model, num_envs)
        self.task = task
        self._cameras = tuple(cameras)
        self._sparse = reward == "sparse"

    def frames(self) -> Frame:
        """Pictures (num_envs, H, W, 3) of the first camera at this instant."""
        positions = (self._simulation.qpos(row) for row in range(self.num_envs))
        return np.stack([self._renderer.frame(qpos, self._cameras[0]) for qpos in positions])

    def labels(self) -> dict[str, tuple[Array, Mask]]:
        """Reward and success (num_envs,) of every task in the present states."""
        return label(self.task_state())

    @property
    def properties(self) -> tuple[dict[str, float], ...]:
        """Physics properties of each row's episode."""
        return tuple(self._simulation.properties(row) for row in range(self.num_envs))

    def _reset_rows(self, rows: Rows, options: Options) -> None:
        if unknown := set(options) - {"properties"}:
            raise ValueError(f'Unknown reset options {sorted(unknown)}; the twin takes "properties"')
        known = options.get("properties"), spec.PROPERTY_DEFAULTS, spec.PROPERTY_RANGES
        # Properties are drawn after the start, so that a seed names the same one with and without random properties.
        starts = [draw_initial_state(TASK[self.task], self._rngs[row]) for row in rows]
        self._simulation.reset(rows, starts, [resolve_properties(*known, self._rngs[row]) for row in rows])

    def _observe(self, rows: Rows) -> Observation:
        drawn = [self._renderer.observe(self._simulation.qpos(row)) for row in rows]
        frames = {key: np.stack([entry[key] for entry in drawn]) for key in drawn[0]}
        return {**frames, "agent_pos": self._simulation.telemetry()[rows]}

    def _judge(self) -> tuple[Array, dict[str, NDArray[Any]]]:
        state = self.task_state()
        success = TASK[self.task].success(state)
        rewards = success.astype(np.float64) if self._sparse else TASK[self.task].reward(state)
        return rewards, {"is_success": success, "success": success.copy()}

    def _draw(self) -> tuple[Frame, ...]:
        return tuple(self._display.frame(self._simulation.qpos(row)) for row in range(self.num_envs))


class MuJoCoEnv(TwinEnv[TaskState, Snapshot]):
    """A 7-DoF arm, two cubes on a table, cameras: reach, grasp or stack in MuJoCo.

    Observation: Dict of `pixels` uint8 (H, W, 3) from the front camera, `pixels_<camera>` from others, `depth_<camera>`
    float32 (H, W, 1) [m] where asked for, and `agent_pos` float32 (14,): seven joint angles [rad], measured end-
    effector [m], gripper opening [m], commanded end-effector [m].
    Action: Box(-1, 1, (4,)): change of the commanded end-effector position, 0.03 m per unit, kept in the workspace;
    gripper rate, 0.02 m per unit, -1 opens, +1 closes. Zeros hold. Numbers outside are clipped; NaN and wrong shapes
    raise ValueError.
    Reward: dense staged in [0, 1], or with `reward="sparse"` the success as a number.
    Termination: never; the time limit of the registered ids truncates.
    Info: `is_success` and `success`, bool, of this instant, at every step and reset.
    Reset options: `properties`, either values by name (`friction`, `gravity`) or "random" to draw them from the seed;
    they hold for this episode only.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": spec.CONTROL_RATE,
        "action_names": spec.ACTION_NAMES,
    }
    vector = MuJoCoVectorEnv
    rows: MuJoCoVectorEnv

    def labels(self) -> dict[str, tuple[Array, Mask]]:
        """Reward and success of every task in the present state."""
        return label(self.task_state())
