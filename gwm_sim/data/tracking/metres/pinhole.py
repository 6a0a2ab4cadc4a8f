"""A pinhole camera from pairs of points and pixels: where it stands, how it is turned and how far it sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.cameras import Camera

_PERSPECTIVES = (0.05, 0.3, 1.0, 3.0)
"""Inverse distances of the camera [1/m] that the search starts from."""

_NEAREST, _FARTHEST = 0.02, 100.0
"""Least distance of the camera from the nearest point, and most from the middle [m]."""

_DOUBTFUL = 0.5
"""Residual [px] from which a pair loses its say."""


@dataclass(frozen=True)
class Fit:
    """A camera, and how well it explains what it was fitted to."""

    camera: Camera
    offset: Array
    """Pixels (column, row) by which the offset pairs were seen beside their points, (2,); zero where not fitted."""
    residuals: Array
    """Distance of every pixel from the projection of its point [px], (M,)."""


def affine_map(points: Array, pixels: Array) -> Array:
    """Return the matrix (4, 2) that takes points (M, 3), each followed by a 1, to pixels (M, 2) by least squares."""
    solution: Array = np.linalg.lstsq(np.c_[points, np.ones(len(points))], pixels, rcond=None)[0]
    return solution


def fit_pinhole(points: Array, pixels: Array, size: tuple[int, int], weights: Array, offset: Array) -> Fit:
    """Fit a camera with square pixels whose axis meets the middle of the picture.

    The search goes over the turn, where the middle of the points is seen, the scale there and the inverse distance: a
    camera far away, whose focal length and distance hardly matter one by one, is then as easy as a near one.

    Args:
        points: Points of the world [m], (M, 3), M at least 6, not in a plane.
        pixels: Where they are seen as (column, row), (M, 2).
        size: Width and height of the picture [px].
        weights: How much each pair counts, (M,).
        offset: Whether a pair was seen beside its point by an offset that they share, (M,); if all or none were, no
            offset can be told and none is fitted.
    """
    from scipy.optimize import least_squares

    middle = points.mean(axis=0)
    model = _Model(points - middle, np.asarray(size), offset if 0 < offset.sum() < len(offset) else 0 * offset)
    root = np.sqrt(weights / weights.mean())[:, None]

    def residuals(parameters: Array) -> Array:
        return np.ravel(root * (model.project(parameters) - pixels))

    nearest = np.linalg.norm(model.points, axis=1).max() + _NEAREST
    low, high = np.full(9, -np.inf), np.full(9, np.inf)
    low[6], high[6] = 1 / _FARTHEST, 1 / nearest
    tries = [
        least_squares(residuals, start, bounds=(low, high), loss="soft_l1", f_scale=_DOUBTFUL, x_scale="jac")
        for start in model.starts(pixels, high[6])
    ]
    best: Array = min(tries, key=lambda found: found.cost).x
    apart = np.linalg.norm(model.project(best) - pixels, axis=1)
    return Fit(model.camera(best, middle), best[7:9] if model.offset.any() else np.zeros(2), apart)


@dataclass(frozen=True)
class _Model:
    """The projection as a function of its nine parameters: turn (3), middle (2), logarithm of scale, inverse distance,
    offset (2)."""

    points: Array
    size: Array
    offset: Array

    def project(self, parameters: Array) -> Array:
        """Project the points, (M, 2)."""
        right, down, forward = (self.points @ _turn(parameters[:3]).T).T
        seen = np.exp(parameters[5]) * np.stack([right, down], axis=1) + parameters[3:5]
        seen = seen / (1 + parameters[6] * forward)[:, None] + 0.5 * (self.size - 1)
        return seen + self.offset[:, None] * parameters[7:9]

    def starts(self, pixels: Array, most: float) -> list[Array]:
        """Return where to start: what a camera infinitely far away would be, seen from several distances."""
        from scipy.spatial.transform import Rotation

        found = affine_map(self.points, pixels)
        left, scales, axes = np.linalg.svd(found[:3].T, full_matrices=False)
        right, down = left @ axes
        turn = Rotation.from_matrix([right, down, np.cross(right, down)]).as_rotvec()
        middle = found[3] - 0.5 * (self.size - 1)
        begin = np.array([*turn, *middle, np.log(max(scales.mean(), 1e-6)), 0.0, 0.0, 0.0])
        return [np.r_[begin[:6], min(inverse, 0.9 * most), begin[7:]] for inverse in _PERSPECTIVES]

    def camera(self, parameters: Array, middle: Array) -> Camera:
        """Return the camera."""
        turn, scale, inverse = _turn(parameters[:3]), np.exp(parameters[5]), parameters[6]
        place = np.array([*(parameters[3:5] / scale), 1 / inverse])
        right, down, forward = turn
        fovy = 2 * np.rad2deg(np.arctan(0.5 * self.size[1] * inverse / scale))
        return Camera(
            position=middle - turn.T @ place,
            rotation=np.stack([right, -down, -forward], axis=1),
            fovy=float(fovy),
            height=int(self.size[1]),
            width=int(self.size[0]),
        )


def _turn(vector: Array) -> Array:
    """Return the matrix (3, 3) of a rotation vector (3,) [rad]."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-9:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
