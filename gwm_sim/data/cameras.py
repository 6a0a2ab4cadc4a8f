"""Pinhole cameras: where a point of the world is in a picture, and how many metres a pixel spans there.

MuJoCo's convention: the camera looks along its own -z axis, x points right and y up. Pixel coordinates are (column,
row) with integers at pixel centres, so the centroid of a mask and a projected point compare directly. Knows numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

NOMINAL_FOVY = 45.0
"""Vertical field of view of a camera of which nobody said it [deg]."""

TURNED = 0.05
"""How much the axes of a camera that moves without turning may differ, by the robot's inaccuracy."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A calibrated camera at one instant."""

    position: FloatArray
    """Optical centre in the world [m], (3,)."""
    rotation: FloatArray
    """Camera-to-world rotation, (3, 3): its columns are the camera's right, up and backward axes."""
    fovy: float
    """Vertical field of view [deg]."""
    height: int
    """Picture height [px]."""
    width: int
    """Picture width [px]."""
    moving: bool = False
    """Whether it rides on the robot, so that position and rotation are those of one instant."""

    @classmethod
    def uncalibrated(cls, height: int, width: int) -> Camera:
        """A camera of which only the size of its pictures [px] is known: where it stands, and its view, say nothing."""
        return cls(np.zeros(3), np.eye(3), NOMINAL_FOVY, height=height, width=width)

    @property
    def focal_length(self) -> float:
        """Focal length in [px], the same in both directions."""
        return float(0.5 * self.height / np.tan(0.5 * np.deg2rad(self.fovy)))

    def project(self, points: ArrayLike) -> FloatArray:
        """Project world points into the picture.

        Args:
            points: World points [m], (..., 3).

        Returns:
            Pixels as (column, row), (..., 2); not limited to the picture, NaN for points behind the camera.
        """
        right, up, backward = np.moveaxis(self._to_camera(points), -1, 0)
        depth = np.where(backward < 0, -backward, np.nan)
        column = 0.5 * (self.width - 1) + self.focal_length * right / depth
        row = 0.5 * (self.height - 1) - self.focal_length * up / depth
        return np.stack([column, row], axis=-1)

    def matrix(self, cell: int) -> FloatArray:
        """Return the matrix (3, 4) that takes a point (x, y, z, 1) to (column, row, 1) times its depth [m]; columns and
        rows are those of cells of `cell` by `cell` pixels, with integers at their centres."""
        right, up, backward = self.rotation.T
        centre = [(0.5 * (side - 1) - 0.5 * (cell - 1)) / cell for side in (self.width, self.height)]
        scale = self.focal_length / cell
        rows = np.stack([scale * right - centre[0] * backward, -scale * up - centre[1] * backward, -backward])
        return np.concatenate([rows, -rows @ self.position[:, None]], axis=1)

    def depth(self, points: ArrayLike) -> FloatArray:
        """Return the distance of points along the view [m], (..., 3) -> (...); negative behind the camera."""
        depth: FloatArray = -self._to_camera(points)[..., 2]
        return depth

    def metres_per_pixel(self, points: ArrayLike) -> FloatArray:
        """Return what a pixel spans at the depth of the points [m/px], (..., 3) -> (...)."""
        return self.depth(points) / self.focal_length

    def _to_camera(self, points: ArrayLike) -> FloatArray:
        offsets: FloatArray = np.asarray(points, dtype=np.float64) - self.position
        return offsets @ self.rotation

    def looks_as(self, other: Camera) -> bool:
        """Whether another camera sees the same from the same place; of one that moves, turned the same way."""
        ours, theirs = self.to_json(), other.to_json()
        if not (self.moving and other.moving):
            return ours == theirs
        optics = ("fovy", "height", "width")
        alike = all(ours[key] == theirs[key] for key in optics)
        return alike and np.allclose(self.rotation, other.rotation, atol=TURNED)

    def to_json(self) -> dict[str, Any]:
        """Return the camera as a JSON object; `from_json` gives back the same numbers exactly."""
        return {
            "position": np.asarray(self.position, dtype=np.float64).tolist(),
            "rotation": np.asarray(self.rotation, dtype=np.float64).tolist(),
            "fovy": float(self.fovy),
            "height": int(self.height),
            "width": int(self.width),
        } | ({"moving": True} if self.moving else {})

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Camera:
        """Make a camera from what `to_json` returned."""
        return cls(
            position=np.asarray(value["position"], dtype=np.float64),
            rotation=np.asarray(value["rotation"], dtype=np.float64),
            fovy=float(value["fovy"]),
            height=int(value["height"]),
            width=int(value["width"]),
            moving=bool(value.get("moving", False)),
        )
