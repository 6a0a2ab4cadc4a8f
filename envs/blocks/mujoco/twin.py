"""One physics twin environment."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.initial_state import draw_start
from gwm_sim.envs.blocks.mujoco.scene import Rendering, make_model
from gwm_sim.envs.blocks.mujoco.simulation import Simulation, Snapshot
from gwm_sim.envs.blocks.tasks import TASK, Array, Mask, TaskState, label
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer
from gwm_sim.envs.vector_world import Observation

RENDER_SIZE: Final = 480  # frames of render() [px]
REWARDS: Final = ("dense", "sparse")
_ROW: Final = np.array([0])


class MuJoCoEnv(gym.Env[Any, Any]):
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

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": spec.CONTROL_RATE}

    def __init__(
        self,
        task: str = "stack",
        size: int = 64,
        cameras: Sequence[str] = ("front",),
        depth: bool = False,
        rendering: Rendering = "rich",
        reward: str = "dense",
        render_mode: str | None = None,
        device: str | None = None,
    ) -> None:
        """Make the environment.

        Args:
            task: "reach", "grasp" or "stack".
            size: Height and width of the frames [px].
            cameras: Any of "front" and "wrist".
            depth: Whether each camera also gives depth.
            rendering: "rich" has MuJoCo's default shadows and multisampling, as the shipped models saw them; "fast" has
            neither and, where no GPU draws, takes a thirtieth of the time.
            reward: "dense" or "sparse".
            render_mode: None or "rgb_array".
            device: Accepted because the learned environment takes it; MuJoCo runs on the CPU.
        """
        check_arguments(task, reward, render_mode)
        model = make_model(rendering)
        self._simulation = Simulation(model, num_rows=1)
        self._renderer = FrameRenderer(model, size, cameras, depth, rendering)
        self._display = FrameRenderer(model, RENDER_SIZE, rendering=rendering)
        self.task = task
        self.render_mode = render_mode
        self.observation_space = spec.observation_space(size, cameras, depth)
        self.action_space = spec.action_space()
        self._sparse = reward == "sparse"

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Draw a start state, and physics properties if `options["properties"]` says so."""
        super().reset(seed=seed)
        start = draw_start(TASK[self.task], self.np_random)
        # Drawn after the start, so that a seed names the same start with and without random properties.
        properties = spec.resolve_properties(requested_properties(options), self.np_random)
        self._simulation.reset(_ROW, [start], [properties])
        return self._observe(), self._info(self.task_state())

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Advance by one control step of 0.1 s."""
        self._simulation.step(_ROW, spec.check_action(action, self.action_space)[None])
        state = self.task_state()
        info = self._info(state)
        reward = float(info["success"]) if self._sparse else float(TASK[self.task].reward(state))
        return self._observe(), reward, False, False, info

    def render(self) -> NDArray[np.uint8] | None:
        """Frame (480, 480, 3) of the front camera."""
        if self.render_mode is None:
            raise ValueError('Nothing to render: make the environment with render_mode="rgb_array" or "human"')
        return self._display.frame(self._simulation.qpos(0))

    def close(self) -> None:
        """Free the graphics contexts."""
        self._renderer.close()
        self._display.close()

    def task_state(self) -> TaskState:
        """What the tasks look at, without a batch axis."""
        return self._simulation.task_state()[0]

    def labels(self) -> dict[str, tuple[Array, Mask]]:
        """Reward and success of every task in the present state."""
        return label(self.task_state())

    def objects(self) -> NDArray[np.float32]:
        """Poses (K, 7) of the cubes: position [m] and quaternion, w first."""
        return np.array(self._simulation.objects()[0])

    def camera_info(self) -> dict[str, Camera]:
        """Calibration of the cameras at this instant."""
        return self._renderer.camera_info(self._simulation.qpos(0))

    @property
    def properties(self) -> dict[str, float]:
        """Physics properties of this episode."""
        return self._simulation.properties(0)

    def get_state(self) -> Snapshot:
        """Complete state: `set_state` continues from it bit for bit. A TimeLimit wrapper keeps its own count."""
        return self._simulation.snapshot(0)

    def set_state(self, state: Snapshot) -> Observation:
        """Go back to `state` and return its observation."""
        self._simulation.restore(0, state)
        return self._observe()

    def _observe(self) -> Observation:
        return {
            **self._renderer.observe(self._simulation.qpos(0)),
            "agent_pos": self._simulation.telemetry()[0].copy(),
        }

    def _info(self, state: TaskState) -> dict[str, Any]:
        success = bool(TASK[self.task].success(state))
        return {"is_success": success, "success": success}


def check_arguments(task: str, reward: str, render_mode: str | None) -> None:
    """Refuse words that the twin does not know."""
    for name, given, known in (
        ("task", task, spec.TASKS),
        ("reward", reward, REWARDS),
        ("render_mode", render_mode, (None, "rgb_array")),
    ):
        if given not in known:
            raise ValueError(f"{name} must be one of {known}, got {given!r}")


def requested_properties(options: Mapping[str, Any] | None) -> Mapping[str, float] | str | None:
    """The `properties` of the reset options, the only option that the twin has."""
    options = options or {}
    if unknown := set(options) - {"properties"}:
        raise ValueError(f'Unknown reset options {sorted(unknown)}; the twin takes "properties"')
    properties: Mapping[str, float] | str | None = options.get("properties")
    return properties
