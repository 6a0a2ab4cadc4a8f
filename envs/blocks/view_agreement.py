"""Do the views of several cameras agree? A cube that one shows in the hand must be there in the others too.

Frames in which a cube is truly held are looked at, in the prediction and, as the ceiling, in the true frames. A view
shows the cube in the hand if the centroid of its blob is near the place where the camera sees the end-effector. Knows
numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.envs.blocks.detector import colour_of, detect

Array = NDArray[Any]

HELD = 0.02
"""Greatest distance of the centre of a held cube from the end-effector [m]."""

IN_HAND = 0.02
"""Greatest distance of a blob's centroid from where the end-effector is seen, at its depth [m]."""


class ViewAgreement:
    """Asks all cameras whether they see a held cube in the hand."""

    def __init__(self, cameras: Mapping[str, Camera], object_names: Sequence[str], effector: Array) -> None:
        """Take the cameras by name, of those on the arm as they are where the end-effector is at `effector` (3,)."""
        colours = {name: colour_of(name) for name in object_names}
        self.objects = [k for k, name in enumerate(object_names) if colours[name]]
        self.colours = [colour for colour in colours.values() if colour]
        self.cameras = {
            name: replace(camera, position=camera.position - effector) if camera.moving else camera
            for name, camera in cameras.items()
        }

    def votes(self, views: Mapping[str, Array], effector: Array, objects: Array, true_effector: Array) -> Array:
        """Whether each view shows in the hand the cube that is truly held, for the F frames that have one, (F, V).

        Args:
            views: Frames (B, H, W, 3) uint8 of each camera, true or predicted.
            effector: End-effector in them [m], (B, 3).
            objects: True object positions [m], (B, K, 3).
            true_effector: The true end-effector [m], (B, 3).
        """
        distance = np.linalg.norm(objects[:, self.objects] - true_effector[:, None], axis=-1)  # (B, L)
        rows, cubes = np.nonzero(distance < HELD)
        votes = [self.in_hand(view, camera, effector)[rows, cubes] for camera, view in views.items()]
        return np.stack(votes, axis=-1)

    def in_hand(self, frames: Array, camera: str, effector: Array) -> Array:
        """Whether each cube is seen in the hand, (B, L)."""
        eye = self.cameras[camera]
        hand = np.zeros_like(effector, dtype=np.float64) if eye.moving else effector.astype(np.float64)
        away = np.linalg.norm(detect(frames, self.colours).centroid - eye.project(hand)[:, None], axis=-1)
        near: Array = away * eye.metres_per_pixel(hand)[:, None] < IN_HAND
        return near


def summarize(votes: Array) -> dict[str, float | int | None]:
    """Numbers of votes (F, V).

    Returns:
        agree: Share of the frames of which all views say the same.
        in_hand: Share of which all views show the cube in the hand; a model that loses cubes everywhere has only the
            former.
        n: Frames.
    """
    agree, in_hand = (votes == votes[:, :1]).all(axis=1), votes.all(axis=1)
    known = len(votes) > 0
    return {
        "agree": float(agree.mean()) if known else None,
        "in_hand": float(in_hand.mean()) if known else None,
        "n": len(votes),
    }


__all__ = ["HELD", "IN_HAND", "ViewAgreement", "summarize"]
