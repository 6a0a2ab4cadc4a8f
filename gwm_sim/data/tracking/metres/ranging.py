"""Places of things that several cameras see, or whose depth one measures."""

from __future__ import annotations

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.cameras import Camera
from gwm_sim.data.tracking.sightings import Sightings


def triangulate(cameras: list[Camera], pixels: list[Array], weights: Array) -> tuple[Array, Array]:
    """Return the points nearest to the rays of C cameras, and how far from them each camera sees its pixel.

    Args:
        cameras: C of them.
        pixels: (column, row) in each, (..., 2).
        weights: How much each counts, (C, ...); 0 where it sees nothing.

    Returns:
        Points [m], (..., 3), and distances [px], (C, ...).
    """
    total, sums = np.zeros((*weights.shape[1:], 3, 3)), np.zeros((*weights.shape[1:], 3))
    for camera, seen, weight in zip(cameras, pixels, weights, strict=True):
        rays = camera.rays(seen)
        rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
        across = np.eye(3) - rays[..., :, None] * rays[..., None, :]
        across = weight[..., None, None] * across * camera.focal_length**2
        total += across
        sums += across @ camera.position
    points = np.linalg.solve(total + 1e-9 * np.eye(3), sums[..., None])[..., 0]
    apart = [
        np.linalg.norm(camera.project(points) - seen, axis=-1) for camera, seen in zip(cameras, pixels, strict=True)
    ]
    return points, np.nan_to_num(np.stack(apart), nan=np.inf)


def depth_at(depth: Array, told: Sightings) -> Array:
    """Return the median depth [m] of the inner half of each thing, (T, K); 0 where none was measured."""
    count, things = told.found.shape
    height, width = depth.shape[1:]
    steps = np.linspace(-0.25, 0.25, 5)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    at = np.rint(told.centre[:, :, None] + grid * told.size[:, :, None]).astype(int)
    column, row = at[..., 0].clip(0, width - 1), at[..., 1].clip(0, height - 1)
    values = depth[np.arange(count)[:, None, None], row, column].astype(np.float64)
    values = np.sort(np.where(values > 0, values, np.inf), axis=-1)
    middle = ((values < np.inf).sum(axis=-1) // 2)[..., None]
    found = np.take_along_axis(values, middle, axis=-1)[..., 0]
    return np.where(np.isfinite(found), found, 0.0)
