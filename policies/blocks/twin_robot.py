"""The physics twin as a robot with a camera, for rehearsals: the loop cannot tell it from hardware."""

from threading import Lock
from time import monotonic, sleep
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.initial_state import draw_initial_state
from gwm_sim.envs.blocks.mujoco.scene import make_model
from gwm_sim.envs.blocks.mujoco.simulation import Simulation
from gwm_sim.envs.blocks.tasks import TASK
from gwm_sim.envs.spaces import check_action
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.policies.live.camera import Picture
from gwm_sim.policies.live.env_robot import noisy
from gwm_sim.policies.live.robots import SimulatedRobot
from gwm_sim.policies.live.timing import Schedule
from gwm_sim.protocol import FIRST_EVALUATION_SEED, SustainedSuccess

FRAME_RATE: Final = 15.0  # of its camera [Hz]

Positions = NDArray[np.float64]

_ROW: Final = np.array([0])


class TwinRobot(SimulatedRobot):
    """The simulated arm. Time passes with every action by one control period; the camera looks whenever it likes."""

    def __init__(self, world: WorldModelConfig, seed: str = str(FIRST_EVALUATION_SEED), task: str = "grasp") -> None:
        """Draw a start.

        Args:
            world: The model that will drive it; the twin is rendered like its data.
            seed: Of the start.
            task: "reach", "grasp" or "stack": what the start must leave unsolved, and what `succeeded` is about.

        Raises:
            ValueError: There is no such task, or the seed is no number.
        """
        if task not in spec.TASKS:
            raise ValueError(f"task must be one of {', '.join(spec.TASKS)}, got {task!r}")
        super().__init__(spec.TELEMETRY_NAMES, spec.ACTION_NAMES)
        options, self._task = twin_options(world), TASK[task]
        model = make_model(options["rendering"])
        self._simulation = Simulation(model, num_rows=1)
        start = draw_initial_state(self._task, np.random.default_rng(int(seed)))
        self._simulation.reset(_ROW, [start], [spec.PROPERTY_DEFAULTS])
        self._lock = Lock()  # the camera looks from its own thread
        self._success = SustainedSuccess()
        renderer = FrameRenderer(model, options["size"], options["cameras"], rendering=options["rendering"])
        self.camera = TwinCamera(self, renderer, world.camera, int(seed))

    def get_observation(self) -> dict[str, float]:
        return dict(zip(spec.TELEMETRY_NAMES, self._simulation.telemetry()[0].tolist(), strict=True))

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        values = check_action([action[name] for name in spec.ACTION_NAMES], spec.action_space())
        with self._lock:
            self._simulation.step(_ROW, values[None])
        self._success.add(bool(self._task.success(self._simulation.task_state()[0])))
        return dict(zip(spec.ACTION_NAMES, values.tolist(), strict=True))

    @property
    def succeeded(self) -> bool:
        """Whether the task's success was sustained."""
        return bool(self._success)

    def positions(self) -> Positions:
        """Generalised positions, which are all that a picture depends on; may be called from any thread."""
        with self._lock:
            return self._simulation.qpos(0)


class TwinCamera:
    """A camera that looks at the twin at its own rate, with a little noise; a `FrameSource`."""

    def __init__(self, robot: TwinRobot, renderer: FrameRenderer, name: str, seed: int) -> None:
        self._robot = robot
        self._renderer = renderer
        self._name = name
        self._rng = np.random.default_rng(seed)
        self._schedule = Schedule(FRAME_RATE, monotonic())
        self._drawn: tuple[Positions, Picture] | None = None

    def read(self) -> Picture:
        """Wait for the next picture."""
        sleep(max(0.0, self._schedule.next - monotonic()))
        self._schedule.advance(monotonic())
        positions = self._robot.positions()
        if self._drawn is None or not np.array_equal(positions, self._drawn[0]):  # drawing takes most of the time
            self._drawn = positions, self._renderer.frame(positions, self._name)
        frame = self._drawn[1]
        return noisy(frame, self._rng)

    def close(self) -> None:
        """Free the graphics context, which belongs to the thread that reads."""
        self._renderer.close()
