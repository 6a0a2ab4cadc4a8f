"""Floor and ceiling of every fidelity table: nothing moves, and physics that starts two millimetres beside.

No learned world can be expected to foresee what physics itself does not repeat from a start that looks the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from gwm_sim.data.episode_file import Episode
from gwm_sim.envs.blocks.initial_state import InitialState, draw_initial_state
from gwm_sim.envs.blocks.mujoco.scene import make_model
from gwm_sim.envs.blocks.mujoco.simulation import Simulation, Snapshot
from gwm_sim.envs.blocks.spec import PROPERTY_DEFAULTS, task_of
from gwm_sim.envs.blocks.tasks import TASK, label
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window

Array = NDArray[Any]

SHIFT = 0.002  # [m]
TOLERANCE = 0.001  # by how much a replay may miss the recording [m]


def copy_last_frame(windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
    """The floor: all stays as it was in the last context frame."""
    frames, telemetry = (value[:, -1:].repeat(len(horizons), axis=1) for value in (windows.frames, windows.telemetry))
    return Prediction(frames, telemetry, success=None)


class ShiftedTwin:
    """The ceiling: the twin, restarted from the true state with the cubes shifted horizontally.

    The true states are found by replaying the recorded actions from the seed of each episode, which recordings repeat
    to the bit on the machine that made them; one that is not repeated is refused.
    """

    def __init__(self, test: OpenLoopTest, shift: float = SHIFT) -> None:
        """Prepare to answer the windows of a test.

        Args:
            test: Windows of episodes that were recorded in the twin.
            shift: Distance by which every cube is moved, each in a direction of its own [m].
        """
        schema = test.file.schema
        task = task_of(schema.env_id)
        if task is None:
            raise ConfigError(f"{test.file.path} was recorded in {schema.env_id}, which is not the physics twin")
        camera, rendering = schema.cameras[test.cameras[0]], schema.env_kwargs["rendering"]
        self._test, self._task, self._shift = test, task, shift
        self._model = make_model(rendering)
        self._data = mujoco.MjData(self._model)
        self._renderer = FrameRenderer(self._model, camera.height, test.cameras[:1], rendering=rendering)
        self._places = [self._model.joint(name).qposadr[0] for name in schema.object_names]
        self._replay = Simulation(self._model, num_rows=1)
        self._rows: Simulation | None = None  # made when the size of a batch is known
        self._starts: dict[int, Snapshot] = {}  # by the window's position in the plan

    def __call__(self, windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
        """Predict a batch of windows."""
        count, steps = actions.shape[:2]
        if self._rows is None or len(self._rows.elapsed) < count:
            self._rows = Simulation(self._model, count)
        simulation, rows = self._rows, np.arange(count)
        for row, number in enumerate(windows.number.tolist()):
            simulation.restore(row, self._start(number))
        frames: dict[int, Array] = {}
        telemetry, objects = [], []
        for step in range(1, steps + 1):
            simulation.step(rows, actions[:, step - 1].astype(np.float64))
            telemetry.append(simulation.telemetry()[:count])
            objects.append(simulation.objects()[:count, :, :3])
            if step in horizons:
                drawn = [self._renderer.frame(simulation.qpos(row), self._test.cameras[0]) for row in range(count)]
                frames[step] = np.stack(drawn)
        labels = {task: success[:count] for task, (_, success) in label(simulation.task_state()).items()}
        course = np.stack(telemetry, axis=1)
        return Prediction(
            frames=np.stack([frames[step] for step in horizons], axis=1),
            telemetry=course[:, np.array(horizons) - 1],
            success=labels,
            course_telemetry=course,
            course_objects=np.stack(objects, axis=1),
        )

    def close(self) -> None:
        """Free the graphics context."""
        self._renderer.close()

    def _start(self, number: int) -> Snapshot:
        """The shifted state at the last context frame of a window."""
        if number not in self._starts:
            self._replay_episode(self._test.slots[number].episode)
        direction = np.random.default_rng(number).uniform(0, 2 * np.pi, len(self._places))
        return self._moved(self._starts[number], self._shift * np.stack([np.cos(direction), np.sin(direction)], axis=1))

    def _replay_episode(self, k: int) -> None:
        """Find the true states at the last context frames of all windows of an episode."""
        episode = self._test.file.read(k, cameras=())
        wanted = {
            slot.start + self._test.context - 1: number
            for number, slot in enumerate(self._test.slots)
            if slot.episode == k
        }
        row = np.array([0])
        self._replay.reset(row, [self._recorded_start(episode)], [{**PROPERTY_DEFAULTS, **episode.properties}])
        for step in range(max(wanted) + 1):
            if step:
                self._replay.step(row, episode.actions[step - 1 : step].astype(np.float64))
            if step in wanted:
                self._check(episode, k, step)
                self._starts[wanted[step]] = self._replay.snapshot(0)

    def _recorded_start(self, episode: Episode) -> InitialState:
        if episode.seed is None:
            raise DataError(f"{self._test.file.path}: an episode without a seed cannot be replayed")
        generator, _ = seeding.np_random(episode.seed)
        return draw_initial_state(TASK[self._task], generator)

    def _check(self, episode: Episode, k: int, step: int) -> None:
        assert episode.objects is not None
        missed = np.abs(self._replay.objects()[0, :, :3] - episode.objects[step, :, :3]).max()
        if missed > TOLERANCE:
            raise DataError(
                f"{self._test.file.path}: the replay of episode {k} misses the recording by {1000 * missed:.1f} mm at "
                f"step {step}; was it recorded by another version of the twin?"
            )

    def _moved(self, snapshot: Snapshot, offsets: Array) -> Snapshot:
        """The same state with the cubes moved by horizontal offsets (K, 2) [m]."""
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        mujoco.mj_setState(self._model, self._data, snapshot.physics, kind)
        for place, offset in zip(self._places, offsets, strict=True):
            self._data.qpos[place : place + 2] += offset
        physics = np.empty_like(snapshot.physics)
        mujoco.mj_getState(self._model, self._data, physics, kind)
        return replace(snapshot, physics=physics)
