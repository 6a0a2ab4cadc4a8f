"""The arms of n rows under position commands: what their controllers integrate, and the joint targets that follow.

Every scene of `scene.py` has the arm's joints first, then the fingers; what comes after them is the world's.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.tabletop.mujoco import kinematics
from gwm_sim.envs.tabletop.mujoco.physics import Array, Physics, Rows
from gwm_sim.envs.tabletop.robot import (
    CONTROL_RATE,
    GRIPPER,
    GRIPPER_MAX,
    GRIPPER_SCALE,
    TELEMETRY_HIGH,
    TELEMETRY_LOW,
    integrate_command,
)

# Joint targets move in blocks and arrive before the step ends, which leaves the arm a moment to settle.
BLOCKS: Final = 5
ARRIVAL_BLOCK: Final = 4
TRACKING_ITERATIONS: Final = 3  # of inverse kinematics per control step
START_ITERATIONS: Final = 60  # from the home posture, until the elbow is at rest too

JOINTS: Final = slice(0, 7)
FINGERS: Final = slice(7, 9)
_GRIPPER: Final = 7  # actuator


class Arms:
    """Commands and actuator targets of n arms.

    Attributes:
        command: Commanded end-effector positions (n, 3) [m].
        targets: Actuator targets: joints [rad] and commanded gripper opening [m] (n, 8).
    """

    def __init__(self, num_rows: int) -> None:
        self.command = np.zeros((num_rows, 3))
        self.targets = np.zeros((num_rows, _GRIPPER + 1))

    def start(self, rows: Rows, end_effectors: Array) -> None:
        """Command `rows` to end-effector positions (len(rows), 3) [m], grippers open."""
        self.command[rows] = end_effectors
        self.targets[rows, JOINTS] = kinematics.solve(self.command[rows], kinematics.HOME, START_ITERATIONS)
        self.targets[rows, _GRIPPER] = GRIPPER_MAX

    def place(self, rows: Rows, qpos: Array) -> None:
        """Write where the targets are into generalised positions (len(rows), nq)."""
        qpos[:, JOINTS] = self.targets[rows, JOINTS]
        qpos[:, FINGERS] = GRIPPER_MAX / 2

    def step(self, physics: Physics, rows: Rows, actions: Array, timestep: float) -> None:
        """Advance `rows` of physics with steps of `timestep` [s] by one control step of `actions` (len(rows), A)."""
        self.command[rows] = integrate_command(self.command[rows], actions)
        before = self.targets[rows]
        before[:, _GRIPPER] = self._gripper_base(rows, actions[:, GRIPPER], opening(physics.qpos)[rows])
        after = np.empty_like(before)
        after[:, JOINTS] = kinematics.solve(self.command[rows], before[:, JOINTS], TRACKING_ITERATIONS)
        after[:, _GRIPPER] = (before[:, _GRIPPER] - GRIPPER_SCALE * actions[:, GRIPPER]).clip(0.0, GRIPPER_MAX)
        substeps = round(1.0 / (CONTROL_RATE * timestep * BLOCKS))
        for block in range(1, BLOCKS + 1):
            share = min(block / ARRIVAL_BLOCK, 1.0)
            physics.step(rows, before + share * (after - before), substeps)
        self.targets[rows] = after

    def telemetry(self, qpos: Array) -> NDArray[np.float32]:
        """Telemetry (n, P) at generalised positions (n, nq), inside its bounds."""
        joints = qpos[:, JOINTS]
        values = np.concatenate([joints, kinematics.end_effector(joints), opening(qpos)[:, None], self.command], axis=1)
        return values.astype(np.float32).clip(TELEMETRY_LOW, TELEMETRY_HIGH)

    def _gripper_base(self, rows: Rows, rate: Array, measured: Array) -> Array:
        """Opening (len(rows),) from which the commanded opening moves.

        Closing on an object leaves the command inside it, which is what presses. Opening starts from the measured
        opening, so that the object is released at once, whatever the command had run up to; closing likewise.
        """
        target = self.targets[rows, _GRIPPER]
        opening, closing = np.maximum(target, measured), np.minimum(target, measured)
        return np.asarray(np.where(rate < 0, opening, np.where(rate > 0, closing, target)))


def opening(qpos: Array) -> Array:
    """Openings (n,) [m] of grippers at generalised positions (n, nq)."""
    return np.asarray(qpos[:, FINGERS].sum(axis=1))


def end_effector(qpos: Array) -> Array:
    """Positions (n, 3) [m] of end-effectors at generalised positions (n, nq)."""
    return kinematics.end_effector(qpos[:, JOINTS])


def find_grasps(touches: NDArray[np.bool_], position: Array, qpos: Array) -> NDArray[np.bool_]:
    """Whether objects (n, K) touch both pads and lie between them, not under them.

    Args:
        touches: Whether each touches the left and the right pad, (n, K, 2).
        position: Their centres (n, K, 3) [m].
        qpos: Generalised positions (n, nq).
    """
    offset = position - end_effector(qpos)[:, None]
    between = np.abs(offset[..., 1]) < opening(qpos)[:, None] / 2
    return np.asarray(touches.all(axis=-1) & between)
