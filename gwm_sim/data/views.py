"""Several cameras as one picture: their views stand side by side, the main one first.

So tokenizer, renderer and planner see all of them at once, whoever makes the pictures: (..., H, V*W, 3) for V cameras
of one size. Knows numpy only.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from gwm_sim.arrays import Array


def side_by_side(views: Mapping[str, Array], cameras: Sequence[str]) -> Array:
    """Join the views of some cameras, each (..., H, W, 3), to pictures (..., H, V*W, 3).

    The view of a single camera is returned as it is.
    """
    if len(cameras) == 1:
        return views[cameras[0]]
    return np.concatenate([views[camera] for camera in cameras], axis=-2)


def apart(pictures: Array, cameras: Sequence[str]) -> dict[str, Array]:
    """Take pictures (..., H, V*W, 3) apart, into the view of each camera, (..., H, W, 3)."""
    if len(cameras) == 1:
        return {cameras[0]: pictures}
    views = np.split(pictures, len(cameras), axis=-2)
    return {camera: np.ascontiguousarray(view) for camera, view in zip(cameras, views, strict=True)}


def main_view(pictures: Array, cameras: Sequence[str]) -> Array:
    """The main camera's part of pictures (..., H, V*W, 3), which may share their memory, (..., H, W, 3)."""
    return pictures[..., : pictures.shape[-2] // len(cameras), :]
