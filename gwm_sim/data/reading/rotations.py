"""Rotations in the one form that has no jumps: quaternions (w, x, y, z) whose sign follows the previous row.

A gripper that points down is turned by about pi. Euler angles and axis-angles jump there between +pi and -pi, and the
quaternions q and -q mean the same: a model that learns changes from row to row would see the arm spin.
"""

import numpy as np

from gwm_sim.data.reading.checks import Array
from gwm_sim.errors import DataError


def from_xyzw(quaternions: Array, where: str) -> Array:
    """Reorder quaternions (R, 4) from (x, y, z, w), as robosuite and ROS store them, and make them continuous."""
    return continuous(np.roll(quaternions, 1, axis=1), where)


def from_axis_angle(vectors: Array, where: str) -> Array:
    """Return quaternions (R, 4) of rotation vectors (R, 3) [rad]."""
    angle = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    # sin(a/2)/a, which tends to 1/2
    scale = 0.5 * np.sinc(angle / (2 * np.pi))
    return continuous(np.concatenate([np.cos(angle / 2), scale * vectors], axis=1), where)


def continuous(quaternions: Array, where: str) -> Array:
    """Normalise quaternions (R, 4) and choose their signs: the first by its largest part, each other by the one before.

    Raises:
        DataError: One is far from unit length, so it is no rotation.
    """
    length = np.linalg.norm(quaternions.astype(np.float64), axis=1)
    wrong = np.flatnonzero(np.abs(length - 1) > 0.05)
    if len(wrong):
        raise DataError(f"{where} holds a quaternion of length {length[wrong[0]]:.3f} at row {wrong[0]}, expected 1.")
    unit = quaternions / length[:, None]
    same = np.sum(unit[1:] * unit[:-1], axis=1) >= 0
    signs = np.cumprod(np.concatenate([[np.sign(unit[0, np.abs(unit[0]).argmax()])], np.where(same, 1.0, -1.0)]))
    return np.asarray(unit * signs[:, None], dtype=np.float32)


def changes(quaternions: Array) -> Array:
    """Return what turns each quaternion (R, 4) into the next, as rotation vectors in the world (R-1, 3) [rad]."""
    before, after = quaternions[:-1].astype(np.float64), quaternions[1:].astype(np.float64)
    w0, v0, w1, v1 = before[:, :1], before[:, 1:], after[:, :1], after[:, 1:]
    w = w1 * w0 + np.sum(v1 * v0, axis=1, keepdims=True)
    v = w0 * v1 - w1 * v0 - np.cross(v1, v0)
    sine = np.linalg.norm(v, axis=1, keepdims=True)
    angle = 2 * np.arctan2(sine, w)
    angle = np.where(angle > np.pi, angle - 2 * np.pi, angle)
    return np.asarray(v / np.maximum(sine, 1e-12) * angle, dtype=np.float32)
