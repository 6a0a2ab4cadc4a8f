"""Do the views of several cameras agree? A cube that one shows in the hand must be there in the others too.

Frames in which a cube is truly grasped are looked at, in the prediction and, as the ceiling, in the true frames. A view
shows the cube in the hand if the centroid of its blob is near the place where the camera sees the end-effector. Knows
nothing of models and files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from gwm_sim.data.cameras import Camera
from gwm_sim.data.views import apart
from gwm_sim.envs.blocks.detector import colour_of, detect
from gwm_sim.evaluation.metrics import Metric, number
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window
from gwm_sim.evaluation.statistics import Array

GRASPED = 0.02  # greatest distance of the centre of a grasped cube from the end-effector [m]
IN_HAND = 0.02  # greatest distance of a blob's centroid from where the end-effector is seen, at its depth [m]


class ViewAgreement:
    """Asks all cameras whether they see a grasped cube in the hand."""

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
        """Whether each view shows in the hand the cube that is truly grasped, for the F frames that have one, (F, V).

        Args:
            views: Frames (B, H, W, 3) uint8 of each camera, true or predicted.
            effector: End-effector in them [m], (B, 3).
            objects: True object positions [m], (B, K, 3).
            true_effector: The true end-effector [m], (B, 3).
        """
        distance = np.linalg.norm(objects[:, self.objects] - true_effector[:, None], axis=-1)  # (B, L)
        rows, cubes = np.nonzero(distance < GRASPED)
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


class Views(Metric):
    """Whether the views of several cameras agree on the cube that is truly grasped, at all horizons.

    views: Of `model` and `twin` what `summarize` says; the key is missing where this does not apply.
    """

    name = "views"

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        if len(test.cameras) < 2:
            return "the model has one camera"
        schema = test.file.schema
        if len(schema.effector) != 3 or not schema.object_names or schema.tracked:
            return "the data do not say where end-effector and objects truly are"
        return None

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        self.cases["model"].append(self._vote(windows, prediction.frames, prediction.telemetry))
        self.cases["twin"].append(self._vote(windows, windows.true_frames, windows.true_telemetry))

    @cached_property
    def _agreement(self) -> ViewAgreement:
        schema = self.test.file.schema
        # Where the schema saw the cameras.
        first = self.test.file.read(0, 0, 1, cameras=()).telemetry[0, list(schema.effector)]
        cameras = {name: schema.cameras[name] for name in self.test.cameras}
        return ViewAgreement(cameras, schema.object_names, first)

    def _vote(self, windows: Window, frames: Array, telemetry: Array) -> Array:
        """What the views of all horizons say of the cube that is truly grasped, in frames that have one, (F, V)."""
        effector = list(self.test.file.schema.effector)
        flat = frames.reshape(-1, *frames.shape[2:])
        objects = windows.true_objects[..., :3].reshape(len(flat), -1, 3)
        places, true = (x[..., effector].reshape(-1, 3) for x in (telemetry, windows.true_telemetry))
        return self._agreement.votes(apart(flat, self.test.cameras), places, objects, true)

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        if self.missing(self.test) is not None:
            return {}
        none = np.zeros((0, len(self.test.cameras)), bool)
        worlds = ("model", "twin")
        return {"views": {world: summarize(np.concatenate([none, *self.cases[world]])) for world in worlds}}

    @staticmethod
    def lines(report: Mapping[str, Any]) -> Iterable[str]:
        if "views" in report:
            views = report["views"]
            agree, in_hand = (number(views["model"][key], 1, 100) for key in ("agree", "in_hand"))
            ceiling, count = number(views["twin"]["agree"], 1, 100), views["model"]["n"]
            yield f"views agree on a held cube in {agree} % of {count} frames (true ones: {ceiling} %)"
            yield f"  and show it in the hand in {in_hand} %"
