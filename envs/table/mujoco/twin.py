"""The physics twin as environments: many in one process, stepped together on all cores, or one of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from gwm_sim.envs.spaces import Observation, check_words
from gwm_sim.envs.table import spec
from gwm_sim.envs.table.edits import Slots, edit_object, edit_properties
from gwm_sim.envs.table.mujoco.simulation import Simulation, Snapshot
from gwm_sim.envs.table.options import StartOptions, told
from gwm_sim.envs.table.scene import TASKS, Assignment
from gwm_sim.envs.table.tasks import Array, Mask, TableState, judge
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer, Rendering
from gwm_sim.envs.tabletop.mujoco.twin import TwinEnv, TwinVectorEnv
from gwm_sim.envs.tabletop.robot import ACTION_NAMES, CONTROL_RATE, action_space
from gwm_sim.envs.vector_world import REWARDS, Frame, Options, Rows

RENDER_HEIGHT: Final = 480  # of what render() draws [px]
FILM: Final = ("film",)  # and who sees it


class TableVectorEnv(TwinVectorEnv[TableState, Snapshot]):
    """`TableEnv` in vector form: the same spaces, options and info, with a leading num_envs axis."""

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": CONTROL_RATE,
        "action_names": ACTION_NAMES,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    task: str
    _simulation: Simulation

    def __init__(
        self,
        num_envs: int = 1,
        task: str = "stack",
        size: int | None = None,
        cameras: Sequence[str] = ("front",),
        depth: bool = False,
        rendering: Rendering = "rich",
        reward: str = "dense",
        render_mode: str | None = None,
        device: str | None = None,
        time_limit: int | Literal["task"] | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: Number of rows.
            task: "grasp", "stack", "push", "tower" or "drop", where a reset does not say.
            size: Height of the frames [px]; those of `film` are 16:9, the others square. None for 64 x 64, and for 144
                x 256 of `film`.
            cameras: Any of "front", "film" and "wrist"; none where nobody looks, which is ten times as fast.
            depth: Whether each camera also gives depth.
            rendering: "rich" has shadows and multisampling; "fast" has neither and, where no GPU draws, takes a
                quarter of the time.
            reward: "dense" or "sparse".
            render_mode: None or "rgb_array".
            device: None or "cpu", because the learned environment has a choice; MuJoCo runs on the CPU.
            time_limit: Steps after which the environment itself truncates, "task" for what the task of a row needs;
                None leaves that to `max_episode_steps`.
            max_episode_steps: Time limit of an episode, before `time_limit`; `gymnasium.make_vec` fills it in.
            autoreset_mode: What happens to a finished row.
        """
        check_words(task=(task, TASKS), reward=(reward, REWARDS), device=(device, (None, "cpu")))
        if max_episode_steps is None and time_limit != "task":
            max_episode_steps = time_limit
        super().__init__(
            num_envs,
            spec.observation_space(size, cameras, depth),
            action_space(),
            max_episode_steps,
            autoreset_mode,
            render_mode,
        )
        self._limited_by_task = max_episode_steps is None and time_limit == "task"
        self._simulation = Simulation(rendering, num_envs)
        model = self._simulation.model
        self._renderer = FrameRenderer(model, spec.frame_sizes(size, cameras), cameras, depth, rendering)
        self._display = FrameRenderer(model, spec.frame_sizes(RENDER_HEIGHT, FILM), FILM, rendering=rendering)
        self.task = task
        self._cameras = tuple(cameras)
        self._sparse = reward == "sparse"

    def frames(self) -> Frame:
        """Pictures (num_envs, H, W, 3) of the first camera at this instant."""
        return np.stack([self._picture(self._renderer, row, self._cameras[0]) for row in range(self.num_envs)])

    def labels(self) -> dict[str, tuple[Array, Mask]]:
        """Reward and success (num_envs,) of every task that some row has; NaN and False of rows with another."""
        state = self.task_state()
        rewards, success = judge(state)
        own = {task: state.task == number for number, task in enumerate(TASKS)}
        return {task: (np.where(has, rewards, np.nan), has & success) for task, has in own.items() if has.any()}

    def attributes(self) -> NDArray[np.float32]:
        """What the objects are like (num_envs, K, F), columns as in `scene.ATTRIBUTES`; NaN where there is none."""
        return self._simulation.attributes()

    @property
    def properties(self) -> tuple[dict[str, float], ...]:
        """Physics properties of each row's scene."""
        return tuple(dict(scene.properties) for scene in self._simulation.scenes)

    @property
    def slots(self) -> tuple[Slots, ...]:
        """The objects of each row as they were told, None where there is none."""
        return tuple(scene.slots for scene in self._simulation.scenes)

    @property
    def assignment(self) -> tuple[Assignment, ...]:
        """What is to be done in each row, and with which objects."""
        return tuple(scene.assignment for scene in self._simulation.scenes)

    def edit(self, object: int | str | None = None, rows: int | Sequence[int] | None = None, **change: Any) -> None:
        """Change the scene of some rows while it runs.

        Args:
            object: Number of the object to change, or its name, such as "red cube"; None for the scene.
            rows: The rows, None for all.
            change: Of an object any of `position` (x, y) or (x, y, z) [m], `colour`, `size` [m], `mass` [kg],
                `friction`, `bounciness`, or `remove=True`; of the scene `gravity` [m/s^2], and the `friction` and
                `bounciness` of objects that have none of their own. What is moved lies still and upright.

        Raises:
            ValueError: No such object, or a change that is impossible; no row has changed then.
        """
        if not self._begun:
            raise ResetNeeded("Cannot edit rows that were never reset: call reset() first")
        chosen = range(self.num_envs) if rows is None else [int(row) for row in np.atleast_1d(rows)]
        if beyond := [row for row in chosen if not 0 <= row < self.num_envs]:
            raise ValueError(f"there is no row {beyond[0]}: rows are 0 to {self.num_envs - 1}")
        before = {row: self._simulation.snapshot(row) for row in chosen}
        try:
            for row in chosen:
                self._edit_row(row, object, change)
        except ValueError:
            for row, state in before.items():
                self._simulation.restore(row, state)
            raise

    def _edit_row(self, row: int, which: int | str | None, change: Mapping[str, Any]) -> None:
        scene = self._simulation.scenes[row]
        if which is None:
            self._simulation.change(row, scene.slots, edit_properties(scene.properties, change))
            return
        slots, number = edit_object(scene.slots, which, change)
        if change.get("remove") and number in scene.assignment.objects:
            raise ValueError(f"the task {scene.assignment.task} is about object {number}: remove another one")
        self._simulation.change(row, slots, scene.properties)

    def _picture(self, renderer: FrameRenderer, row: int, camera: str) -> Frame:
        return renderer.frame(self._simulation.qpos(row), camera, self._simulation.model_of(row))

    def _reset_rows(self, rows: Rows, options: Options) -> None:
        asked = StartOptions.of(options)
        self._simulation.reset(rows, [asked.draw(self.task, self._rngs[row]) for row in rows])

    def _told(self) -> dict[str, NDArray[Any]]:
        entries = [told(scene.slots, scene.properties, scene.assignment) for scene in self._simulation.scenes]
        columns = {key: np.empty(self.num_envs, dtype=np.object_) for key in entries[0]}
        for key, column in columns.items():
            column[:] = [entry[key] for entry in entries]
        return columns

    def _observe(self, rows: Rows) -> Observation:
        if not self._cameras:
            return {"agent_pos": self._simulation.telemetry()[rows]}
        drawn = [self._renderer.observe(self._simulation.qpos(row), self._simulation.model_of(row)) for row in rows]
        frames = {key: np.stack([entry[key] for entry in drawn]) for key in drawn[0]}
        return {**frames, "agent_pos": self._simulation.telemetry()[rows]}

    def _judge(self) -> tuple[Array, dict[str, NDArray[Any]]]:
        rewards, success = judge(self.task_state())
        return success.astype(float) if self._sparse else rewards, {"is_success": success, "success": success.copy()}

    def _out_of_time(self) -> Mask:
        if not self._limited_by_task:
            return super()._out_of_time()
        limits = [spec.TIME_LIMIT[scene.assignment.task] for scene in self._simulation.scenes]
        return np.asarray(self._elapsed() >= limits)

    def _draw(self) -> tuple[Frame, ...]:
        return tuple(self._picture(self._display, row, FILM[0]) for row in range(self.num_envs))


class TableEnv(TwinEnv[TableState, Snapshot]):
    """A 7-DoF arm and one to six objects on a table, cubes, balls and cylinders, in MuJoCo.

    Tasks: grasp and lift an object, stack one on another, push one to a place, build a tower of three, or watch
    objects drop and bounce beside the parked arm, which then takes no notice of actions.
    Observation: Dict of `pixels` uint8 (H, W, 3) from the front camera, `pixels_<camera>` from others (`film` is 16:9),
    `depth_<camera>` float32 (H, W, 1) [m] where asked for, and `agent_pos` float32 (14,): seven joint angles [rad],
    measured end-effector [m], gripper opening [m], commanded end-effector [m].
    Action: Box(-1, 1, (4,)): change of the commanded end-effector position, 0.03 m per unit, kept in the workspace;
    gripper rate, 0.02 m per unit, -1 opens, +1 closes. Zeros hold. Numbers outside are clipped; NaN and wrong shapes
    raise ValueError.
    Reward: dense staged in [0, 1], or with `reward="sparse"` the success as a number; of a drop there is neither.
    Termination: never; the time limit of the task truncates where the environment is made by its id.
    Info: `is_success` and `success`, bool, of this instant, at every step and reset. At a reset also `scene`, a list of
    objects (`kind`, `colour`, `size`, `position`, `yaw`, `mass`), `task` with `task_objects`, the numbers of those it
    is about, and `task_place`, where one is pushed to, and `properties`.
    Reset options: `scene`, a list of objects as mappings, of which everything may be left out; `assignment`, a mapping
    of any of `task`, `objects` (by number or name such as "red cube": what is lifted; what is stacked and on what; what
    is pushed; a tower from below) and `place` (x, y) [m]; `properties`, `friction`, `gravity` and `bounciness` by name,
    or "random". All else is drawn from the seed. They hold for this episode only. `edit` changes a scene that runs.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array"],
        "render_fps": CONTROL_RATE,
        "action_names": ACTION_NAMES,
    }
    vector = TableVectorEnv
    rows: TableVectorEnv

    def labels(self) -> dict[str, tuple[Array, Mask]]:
        """Reward and success of the task in the present state."""
        return {task: (reward[0], success[0]) for task, (reward, success) in self.rows.labels().items()}

    def attributes(self) -> NDArray[np.float32]:
        """What the objects are like (K, F), columns as in `scene.ATTRIBUTES`; NaN where there is none."""
        return self.rows.attributes()[0]

    @property
    def slots(self) -> Slots:
        """The objects as they were told, None where there is none."""
        return self.rows.slots[0]

    @property
    def assignment(self) -> Assignment:
        """What is to be done, and with which objects."""
        return self.rows.assignment[0]

    def edit(self, object: int | str | None = None, **change: Any) -> None:
        """Change the scene while it runs; see `TableVectorEnv.edit`."""
        self.rows.edit(object, **change)
