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
from gwm_sim.envs.blocks.spec import (
    CONTROL_RATE,
    GRIPPER,
    GRIPPER_MAX,
    GRIPPER_SCALE,
    OBJECT_NAMES,
    PROPERTY_DEFAULTS,
    TELEMETRY_HIGH,
    TELEMETRY_LOW,
    integrate_command,
)
from gwm_sim.envs.blocks.tasks import TaskState
from gwm_sim.envs.tabletop.mujoco import kinematics
from gwm_sim.envs.tabletop.mujoco.physics import Array, Rows, make_physics

SUBSTEPS: Final = round(1.0 / (CONTROL_RATE * TIMESTEP))
# Joint targets move in blocks and arrive before the step ends, which leaves the arm a moment to settle.
BLOCKS: Final = 5
ARRIVAL_BLOCK: Final = 4
SETTLE_SUBSTEPS: Final = 100
TRACKING_ITERATIONS: Final = 3  # of inverse kinematics per control step
START_ITERATIONS: Final = 60  # from the home posture, until the elbow is at rest too

_COUNT: Final = len(OBJECT_NAMES)
_ARM: Final = slice(0, 7)
_FINGERS: Final = slice(7, 9)
_GRIPPER: Final = 7  # actuator


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
        self._offsets = _state_offsets(model)
        self._targets = np.zeros((num_rows, model.nu))
        self._command = np.zeros((num_rows, 3))
        self._grasped = np.zeros((num_rows, _COUNT), bool)
        self._properties = [dict(PROPERTY_DEFAULTS) for _ in range(num_rows)]
        self.elapsed = np.zeros(num_rows, int)

    def reset(self, rows: Rows, starts: Sequence[InitialState], properties: Sequence[Mapping[str, float]]) -> None:
        """Put `rows` at `starts` under `properties`, everything at rest."""
        self._command[rows] = [start.end_effector for start in starts]
        self._targets[rows, _ARM] = kinematics.solve(self._command[rows], kinematics.HOME, START_ITERATIONS)
        self._targets[rows, _GRIPPER] = GRIPPER_MAX
        self._set_properties(rows, properties)
        self.elapsed[rows] = 0

        state = np.repeat(self._at_rest, len(rows), axis=0)
        qpos = state[:, self._offsets.qpos]
        qpos[:, _ARM] = self._targets[rows, _ARM]
        qpos[:, _FINGERS] = GRIPPER_MAX / 2
        cubes = qpos[:, _FINGERS.stop :].reshape(len(rows), _COUNT, 7)
        cubes[..., :3] = [start.positions() for start in starts]
        cubes[..., 3:] = [start.quaternions() for start in starts]
        self._physics.set_state(rows, state)
        self._physics.step(rows, self._targets[rows], SETTLE_SUBSTEPS)

        state = self._physics.get_state(rows)
        state[:, self._offsets.time] = 0.0
        state[:, self._offsets.qvel] = 0.0
        self._physics.set_state(rows, state)
        self._grasped[rows] = False

    def step(self, rows: Rows, actions: Array) -> None:
        """Advance `rows` by one control step of `actions` (len(rows), A), already checked."""
        self._command[rows] = integrate_command(self._command[rows], actions)
        before = self._targets[rows]
        before[:, _GRIPPER] = self._gripper_base(rows, actions[:, GRIPPER])
        after = np.empty_like(before)
        after[:, _ARM] = kinematics.solve(self._command[rows], before[:, _ARM], TRACKING_ITERATIONS)
        after[:, _GRIPPER] = (before[:, _GRIPPER] - GRIPPER_SCALE * actions[:, GRIPPER]).clip(0.0, GRIPPER_MAX)
        for block in range(1, BLOCKS + 1):
            share = min(block / ARRIVAL_BLOCK, 1.0)
            self._physics.step(rows, before + share * (after - before), SUBSTEPS // BLOCKS)
        self._targets[rows] = after
        self._grasped[rows] = self._find_grasps()[rows]
        self.elapsed[rows] += 1

    def telemetry(self) -> NDArray[np.float32]:
        """Telemetry of all rows (n, P), inside its bounds."""
        joints = self._physics.qpos[:, _ARM]
        values = np.concatenate(
            [joints, kinematics.end_effector(joints), self._opening()[:, None], self._command], axis=1
        )
        return values.astype(np.float32).clip(TELEMETRY_LOW, TELEMETRY_HIGH)

    def task_state(self) -> TaskState:
        """What the tasks look at, for all rows."""
        qpos, qvel = self._physics.qpos, self._physics.qvel
        poses = qpos[:, _FINGERS.stop :].reshape(-1, _COUNT, 7)
        velocities = qvel[:, _FINGERS.stop :].reshape(-1, _COUNT, 6)
        return TaskState(
            end_effector=kinematics.end_effector(qpos[:, _ARM]),
            gripper_opening=self._opening(),
            position=poses[..., :3].copy(),
            quaternion=poses[..., 3:].copy(),
            linear_velocity=velocities[..., :3].copy(),
            angular_velocity=velocities[..., 3:].copy(),
            grasped=self._grasped.copy(),
        )

    def objects(self) -> NDArray[np.float32]:
        """Poses of the cubes in all rows (n, K, 7): position [m] and quaternion, w first."""
        poses = self._physics.qpos[:, _FINGERS.stop :].reshape(-1, _COUNT, 7)
        return np.asarray(poses, np.float32)

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
            targets=self._targets[row].copy(),
            command=self._command[row].copy(),
            grasped=self._grasped[row].copy(),
            properties=self.properties(row),
            elapsed=int(self.elapsed[row]),
        )

    def restore(self, row: int, snapshot: Snapshot) -> None:
        """Put one row back into `snapshot`, which may come from any row of any simulation of this scene."""
        rows = np.array([row])
        self._set_properties(rows, [snapshot.properties])
        self._physics.set_state(rows, snapshot.physics[None])
        self._targets[row] = snapshot.targets
        self._command[row] = snapshot.command
        self._grasped[row] = snapshot.grasped
        self.elapsed[row] = snapshot.elapsed

    def _set_properties(self, rows: Rows, properties: Sequence[Mapping[str, float]]) -> None:
        for row, values in zip(rows, properties, strict=True):
            self._properties[row] = dict(values)
        friction = np.array([values["friction"] for values in properties])
        gravity = np.array([values["gravity"] for values in properties])
        self._physics.set_properties(rows, friction, gravity)

    def _opening(self) -> Array:
        return np.asarray(self._physics.qpos[:, _FINGERS].sum(axis=1))

    def _gripper_base(self, rows: Rows, rate: Array) -> Array:
        """Opening (len(rows),) from which the commanded opening moves.

        Closing on a cube leaves the command inside it, which is what presses. Opening starts from the measured
        opening, so that the cube is released at once, whatever the command had run up to; closing likewise.
        """
        target, measured = self._targets[rows, _GRIPPER], self._opening()[rows]
        opening, closing = np.maximum(target, measured), np.minimum(target, measured)
        return np.asarray(np.where(rate < 0, opening, np.where(rate > 0, closing, target)))

    def _find_grasps(self) -> NDArray[np.bool_]:
        """Whether each cube (n, K) touches both pads and lies between them, not under them."""
        touches = self._physics.sensordata.reshape(-1, _COUNT, 2) > 0
        qpos = self._physics.qpos
        poses = qpos[:, _FINGERS.stop :].reshape(-1, _COUNT, 7)
        offset = poses[..., :3] - kinematics.end_effector(qpos[:, _ARM])[:, None]
        between = np.abs(offset[..., 1]) < self._opening()[:, None] / 2
        return np.asarray(touches.all(axis=-1) & between)


@dataclass(frozen=True)
class _Offsets:
    """Where the parts of an integration state lie."""

    time: int
    qpos: slice
    qvel: slice


def _state_offsets(model: mujoco.MjModel) -> _Offsets:
    # The parts are stored in the order of their bits, time first.
    positions = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_TIME)
    velocities = positions + model.nq
    return _Offsets(time=0, qpos=slice(positions, velocities), qvel=slice(velocities, velocities + model.nv))
