"""Kinematics of the arm, batched in numpy: forward kinematics, Jacobian, damped least squares.

The chain is the Franka Emika Panda's, from its published modified Denavit-Hartenberg parameters (Craig's convention)
and joint limits. Every function takes any leading batch shape, so one environment and a thousand use the same code.
The end-effector is the point between the finger pads; the gripper always points down with its fingers opening along
the world's y axis.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# One row per joint: a [m], d [m], alpha [rad].
DENAVIT_HARTENBERG: Final = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -np.pi / 2),
    (0.0, 0.316, np.pi / 2),
    (0.0825, 0.0, np.pi / 2),
    (-0.0825, 0.384, -np.pi / 2),
    (0.0, 0.0, np.pi / 2),
    (0.088, 0.0, np.pi / 2),
)
FLANGE: Final = 0.107  # joint 7 to the hand's mounting plate, along its axis [m]
FINGER_REACH: Final = 0.1034  # mounting plate to the middle of the finger pads [m]
HAND_YAW: Final = -np.pi / 4  # rotation of the hand on the flange [rad]

JOINT_LOW: Final[Array] = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])  # [rad]
JOINT_HIGH: Final[Array] = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])  # [rad]

# Gripper down over the middle of the workspace, elbow in the arm's vertical plane.
HOME: Final[Array] = np.array([0.0, 0.0, 0.0, -2.4, 0.0, 2.4, np.pi / 4])  # [rad]
GRIPPER_DOWN: Final[Array] = np.diag([1.0, -1.0, -1.0])

_DAMPING: Final = 1e-3  # of the least squares, in [m] and [rad]
_MAX_JOINT_CHANGE: Final = 0.2  # per iteration [rad]
_NULL_SPACE_GAIN: Final = 0.2  # share of the way to HOME per iteration


def _link(a: float, d: float, alpha: float) -> Array:
    """Constant part of a modified Denavit-Hartenberg transform: what comes before the joint's rotation."""
    cos, sin = np.cos(alpha), np.sin(alpha)
    return np.array([[1, 0, 0, a], [0, cos, -sin, -sin * d], [0, sin, cos, cos * d], [0, 0, 0, 1]])


_LINKS: Final = tuple(_link(*row) for row in DENAVIT_HARTENBERG)
_cos, _sin = np.cos(HAND_YAW), np.sin(HAND_YAW)
_TOOL: Final[Array] = np.array(
    [[_cos, -_sin, 0, 0], [_sin, _cos, 0, 0], [0, 0, 1, FLANGE + FINGER_REACH], [0, 0, 0, 1]]
)


def joint_frames(joints: Array) -> tuple[Array, Array]:
    """Poses of the seven joint frames and of the end-effector.

    Args:
        joints: Joint angles (..., 7) [rad].

    Returns:
        Joint frames (..., 7, 4, 4) and the end-effector's frame (..., 4, 4), in the robot's base.
    """
    turns = np.zeros((*joints.shape, 4, 4))
    turns[..., 0, 0] = turns[..., 1, 1] = np.cos(joints)
    turns[..., 1, 0] = np.sin(joints)
    turns[..., 0, 1] = -turns[..., 1, 0]
    turns[..., 2, 2] = turns[..., 3, 3] = 1.0
    frames = np.empty_like(turns)
    frame = np.eye(4)
    for i, link in enumerate(_LINKS):
        frame = frame @ link @ turns[..., i, :, :]
        frames[..., i, :, :] = frame
    return frames, frame @ _TOOL


def end_effector(joints: Array) -> Array:
    """Position (..., 3) [m] of the end-effector for joint angles (..., 7) [rad]."""
    return joint_frames(joints)[1][..., :3, 3]


def _jacobian(frames: Array, tool: Array) -> Array:
    """Geometric Jacobian (..., 6, 7): end-effector velocity, linear then angular, per joint velocity."""
    axes = frames[..., :3, 2]
    lever = tool[..., None, :3, 3] - frames[..., :3, 3]
    return np.concatenate([np.cross(axes, lever), axes], axis=-1).swapaxes(-1, -2)


def solve(target: Array, start: Array, iterations: int) -> Array:
    """Joint angles that put the end-effector at `target`, gripper down, by damped least squares.

    The arm's one spare degree of freedom is drawn toward HOME, so that the elbow does not wander.

    Args:
        target: End-effector position (..., 3) [m].
        start: Joint angles to start from (..., 7) [rad]; nearer starts need fewer iterations.
        iterations: Number of Gauss-Newton steps. Four follow the command of one control step to well under 1 mm.

    Returns:
        Joint angles (..., 7) [rad] within the limits.
    """
    joints = np.broadcast_to(start, (*target.shape[:-1], 7)).copy()
    damping = _DAMPING**2 * np.eye(6)
    for _ in range(iterations):
        frames, tool = joint_frames(joints)
        turn = GRIPPER_DOWN @ tool[..., :3, :3].swapaxes(-1, -2)
        # Axis times sine of the rotation that is left; the angles stay small.
        rotation_error = 0.5 * np.stack(
            [
                turn[..., 2, 1] - turn[..., 1, 2],
                turn[..., 0, 2] - turn[..., 2, 0],
                turn[..., 1, 0] - turn[..., 0, 1],
            ],
            axis=-1,
        )
        error = np.concatenate([target - tool[..., :3, 3], rotation_error], axis=-1)
        j = _jacobian(frames, tool)
        j_t = j.swapaxes(-1, -2)
        pull = _NULL_SPACE_GAIN * (HOME - joints)
        # J# (error - J pull) + pull moves along the task and lets `pull` act only in its null space.
        residual = error - (j @ pull[..., None])[..., 0]
        change = pull + (j_t @ np.linalg.solve(j @ j_t + damping, residual[..., None]))[..., 0]
        joints += change.clip(-_MAX_JOINT_CHANGE, _MAX_JOINT_CHANGE)
        joints = joints.clip(JOINT_LOW, JOINT_HIGH)
    return joints
