"""Rotations in the one form that has no jumps: quaternions (w, x, y, z) whose sign follows the previous row.

A gripper that points down is turned by about pi. Euler angles and axis-angles jump there between +pi and -pi, and the
quaternions q and -q mean the same: a model that learns changes from row to row would see the arm spin.
"""

from functools import cached_property

import numpy as np

from gwm_sim.data.reading.checks import Array
from gwm_sim.errors import DataError


def from_xyzw(quaternions: Array, where: str) -> Array:
    """Reorder quaternions (R, 4) from (x, y, z, w), as robosuite and ROS store them, and make them continuous."""
    return continuous(np.roll(quaternions, 1, axis=1), where)


def from_axis_angle(vectors: Array, where: str) -> Array:
    """Return quaternions (R, 4) of rotation vectors (R, 3) [rad]."""
    return continuous(_unsigned(vectors.astype(np.float64)), where)


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


class Quaternions:
    """Quaternions in any order of their parts, with one sign: first all stretches are looked at, then each gets it."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self._moment, self._sum = np.zeros((4, 4)), np.zeros(4)
        self._unit = True

    def look(self, quaternions: Array) -> None:
        """Take a stretch of neighbouring rows into account, (R, 4) float64."""
        self._unit &= bool((np.abs(np.linalg.norm(quaternions, axis=1) - 1) <= 0.05).all())
        self._moment += quaternions.T @ quaternions
        self._sum += quaternions.sum(axis=0)

    @property
    def possible(self) -> bool:
        """Whether all of them are of unit length: other numbers are no rotations, whatever they are called."""
        return self._unit

    @cached_property
    def _mean(self) -> Array:
        """The mean rotation (4,), with the sign that nearly all rows have, else one that depends on no episode."""
        values, vectors = np.linalg.eigh(self._moment)
        mean = vectors[:, -1]
        along = float(self._sum @ mean)
        sign = along if abs(along) >= 0.9 * values[-1] else mean[np.abs(mean).argmax()]
        return np.asarray(mean * np.sign(sign))

    def signs(self, quaternions: Array, beside: Array | None = None) -> Array:
        """Return +1 or -1 for each row (R,): as the row before, and all as most; or as rows of another source."""
        if beside is not None:
            return np.where(np.sum(quaternions * beside, axis=1) < 0, -1.0, 1.0)
        same = np.sum(quaternions[1:] * quaternions[:-1], axis=1) >= 0
        signs = np.cumprod(np.concatenate([[1.0], np.where(same, 1.0, -1.0)]))
        return np.asarray(signs * (-1.0 if (signs @ quaternions) @ self._mean < 0 else 1.0))

    def continuous(self, quaternions: Array, beside: Array | None = None) -> Array:
        """Return a stretch without changes of sign, (R, 4), or with the signs of another one."""
        return quaternions * self.signs(quaternions, beside)[:, None] if self._unit else quaternions


class RotationVectors:
    """Rotation vectors [rad] that may go on beyond pi, where those of one turn jump to the opposite side."""

    def __init__(self) -> None:
        """Begin with no rows."""
        self._quaternions = Quaternions()
        self.longest = 0.0
        """Largest angle of rotation [rad]."""

    def look(self, vectors: Array) -> None:
        """Take a stretch of neighbouring rows into account, (R, 3) float64."""
        self.longest = max(self.longest, float(np.linalg.norm(vectors, axis=1).max()))
        self._quaternions.look(_unsigned(vectors))

    @property
    def possible(self) -> bool:
        """Whether none turns by more than half a turn: others are no rotation vectors, or already continuous."""
        return self.longest <= np.pi + 1e-3

    def continuous(self, vectors: Array, beside: Array | None = None) -> Array:
        """Return a stretch without jumps, (R, 3), or each row in the form nearest to that of other vectors."""
        if not self.possible:
            return vectors
        angle = np.linalg.norm(vectors, axis=1, keepdims=True)
        other = vectors * (1 - 2 * np.pi / np.maximum(angle, 1e-9))
        if beside is not None:
            nearer = np.linalg.norm(other - beside, axis=1) < np.linalg.norm(vectors - beside, axis=1)
            return np.where(nearer[:, None], other, vectors)
        flipped = (self._quaternions.signs(_unsigned(vectors)) < 0)[:, None]
        if np.where(flipped, 2 * np.pi - angle, angle).mean() > 1.5 * np.pi:  # the long way round
            flipped = ~flipped
        return np.where(flipped & (angle > 1e-3), other, vectors)


def _unsigned(vectors: Array) -> Array:
    """Return quaternions (R, 4) of rotation vectors (R, 3) [rad], in float64 and with the sign of each by itself."""
    angle = np.linalg.norm(vectors, axis=1, keepdims=True)
    scale = 0.5 * np.sinc(angle / (2 * np.pi))  # sin(a/2)/a, which tends to 1/2
    return np.concatenate([np.cos(angle / 2), scale * vectors], axis=1)
