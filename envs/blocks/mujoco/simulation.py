"""The twin's dynamics at the control rate, for n rows at once: actions in; telemetry, object poses and task state out.

The single environment is one row of this, the vector environment many: nothing of the physics is written twice. No
images here, and no Gymnasium.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import mujoco
import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks.initial_state import InitialState
from gwm_sim.envs.blocks.mujoco.scene import TIMESTEP
from gwm_sim.envs.blocks.spec import OBJECT_NAMES, PROPERTY_DEFAULTS
from gwm_sim.envs.blocks.tasks import TaskState
from gwm_sim.envs.tabletop.mujoco.arm import FINGERS, Arms, end_effector, find_grasps, opening
from gwm_sim.envs.tabletop.mujoco.physics import Array, Rows, StateOffsets, make_physics

SETTLE_SUBSTEPS: Final = 100

_COUNT: Final = len(OBJECT_NAMES)


@dataclass(frozen=True)
class Snapshot:
    """One row's complete state; restored, it continues bit for bit.

    Attributes:
        physics: MuJoCo's integration state, warm start included (S,).
        targets: Actuator targets: joints [rad] and commanded gripper opening [m] (8,).
        command: Commanded end-effector position (3,) [m].
        grasped: Whether each cube is grasped (K,).
        properties: Physics properties by name.
        elapsed: Steps since the reset.
    """

    physics: Array
    targets: Array
    command: Array
    grasped: NDArray[np.bool_]
    properties: dict[str, float]
    elapsed: int


class Simulation:
    """n rows of the scene under position commands."""

    def __init__(self, model: mujoco.MjModel, num_rows: int) -> None:
        self._physics = make_physics(model, num_rows, OBJECT_NAMES)
        self._at_rest = self._physics.get_state(np.array([0]))
        self._offsets = StateOffsets.of(model)
        self._arms = Arms(num_rows)
        self._grasped = np.zeros((num_rows, _COUNT), bool)
        self._properties = [dict(PROPERTY_DEFAULTS) for _ in range(num_rows)]
        self.elapsed = np.zeros(num_rows, int)

    def reset(self, rows: Rows, starts: Sequence[InitialState], properties: Sequence[Mapping[str, float]]) -> None:
        """Put `rows` at `starts` under `properties`, everything at rest."""
        self._arms.start(rows, np.stack([start.end_effector for start in starts]))
        self._set_properties(rows, properties)
        self.elapsed[rows] = 0

        state = np.repeat(self._at_rest, len(rows), axis=0)
        qpos = state[:, self._offsets.qpos]
        self._arms.place(rows, qpos)
        cubes = qpos[:, FINGERS.stop :].reshape(len(rows), _COUNT, 7)
        cubes[..., :3] = [start.positions() for start in starts]
        cubes[..., 3:] = [start.quaternions() for start in starts]
        self._physics.set_state(rows, state)
        self._physics.step(rows, self._arms.targets[rows], SETTLE_SUBSTEPS)

        state = self._physics.get_state(rows)
        state[:, self._offsets.time] = 0.0
        state[:, self._offsets.qvel] = 0.0
        self._physics.set_state(rows, state)
        self._grasped[rows] = False

    def step(self, rows: Rows, actions: Array) -> None:
        """Advance `rows` by one control step of `actions` (len(rows), A), already checked."""
        self._arms.step(self._physics, rows, actions, TIMESTEP)
        touches = self._physics.sensordata.reshape(-1, _COUNT, 2) > 0
        self._grasped[rows] = find_grasps(touches, self._poses()[..., :3], self._physics.qpos)[rows]
        self.elapsed[rows] += 1

    def telemetry(self) -> NDArray[np.float32]:
        """Telemetry of all rows (n, P), inside its bounds."""
        return self._arms.telemetry(self._physics.qpos)

    def task_state(self) -> TaskState:
        """What the tasks look at, for all rows."""
        qpos, poses = self._physics.qpos, self._poses()
        velocities = self._physics.qvel[:, FINGERS.stop :].reshape(-1, _COUNT, 6)
        return TaskState(
            end_effector=end_effector(qpos),
            gripper_opening=opening(qpos),
            position=poses[..., :3].copy(),
            quaternion=poses[..., 3:].copy(),
            linear_velocity=velocities[..., :3].copy(),
            angular_velocity=velocities[..., 3:].copy(),
            grasped=self._grasped.copy(),
        )

    def objects(self) -> NDArray[np.float32]:
        """Poses of the cubes in all rows (n, K, 7): position [m] and quaternion, w first."""
        return np.asarray(self._poses(), np.float32)

    def qpos(self, row: int) -> Array:
        """Generalised positions of one row, which is all that an image depends on."""
        return np.array(self._physics.qpos[row])

    def properties(self, row: int) -> dict[str, float]:
        """Physics properties of one row's episode."""
        return dict(self._properties[row])

    def snapshot(self, row: int) -> Snapshot:
        """Complete state of one row."""
        return Snapshot(
            physics=self._physics.get_state(np.array([row]))[0],
            targets=self._arms.targets[row].copy(),
            command=self._arms.command[row].copy(),
            grasped=self._grasped[row].copy(),
            properties=self.properties(row),
            elapsed=int(self.elapsed[row]),
        )

    def restore(self, row: int, snapshot: Snapshot) -> None:
        """Put one row back into `snapshot`, which may come from any row of any simulation of this scene."""
        rows = np.array([row])
        self._set_properties(rows, [snapshot.properties])
        self._physics.set_state(rows, snapshot.physics[None])
        self._arms.targets[row] = snapshot.targets
        self._arms.command[row] = snapshot.command
        self._grasped[row] = snapshot.grasped
        self.elapsed[row] = snapshot.elapsed

    def _set_properties(self, rows: Rows, properties: Sequence[Mapping[str, float]]) -> None:
        for row, values in zip(rows, properties, strict=True):
            self._properties[row] = dict(values)
        friction = np.array([values["friction"] for values in properties])
        gravity = np.array([values["gravity"] for values in properties])
        self._physics.set_properties(rows, friction, gravity)

    def _poses(self) -> Array:
        return self._physics.qpos[:, FINGERS.stop :].reshape(-1, _COUNT, 7)
