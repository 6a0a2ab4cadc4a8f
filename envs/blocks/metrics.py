"""Scores of predicted pictures and telemetry: what the numbers of `gwm eval` mean. Frozen: a change is a new benchmark.

A case is one open-loop window at one step: what the model predicted and what really happened, compared by `score`; the
cases of one horizon are put together by `summarize`. Cubes are read from the pictures alone, by the same detector in
both; the recorded poses say only which cubes really moved, how much of a cube could be seen and how many cm a pixel
spans. Knows numpy only; nothing of models and files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.envs.blocks.detector import colour_of, detect

Array = NDArray[Any]

MOVED_CM = 1.0
"""A cube moved if its position is more than this from where it was in the last context frame [cm]."""

STAYED_CM = 0.2
"""A cube stayed if its position is less than this from where it was in the last context frame [cm]."""

MISSING_CM = 10.0
"""Error of a cube that is not found in a predicted picture [cm]."""

VISIBLE_SHARE = 0.5
"""A cube counts for permanence if the true picture shows at least this share of its silhouette."""

AREA_RATIO = 2.0
"""A cube persists if its predicted area is between the true one divided and multiplied by this."""

FOREGROUND_LEVELS = 16
"""A pixel is foreground if a channel of the true frame differs from the background by more than this [grey levels]."""

MAX_PSNR = 100.0
"""PSNR of pictures without any difference [dB]."""

OUTCOMES = ("neither", "held", "stacked")
"""How an episode can end."""


@dataclass(frozen=True)
class Scene:
    """What is needed to read the pictures of one file."""

    camera: Camera
    colours: tuple[str, ...]
    """Colours of the objects that can be told by their colour, L of the K objects."""
    coloured: tuple[int, ...]
    """Which of the K objects these are, (L,)."""
    object_size: float
    """Edge length of the objects [m]."""
    background: Array
    """Median picture, (H, W, 3) uint8."""

    @classmethod
    def of(cls, camera: Camera, object_names: Sequence[str], object_size: float, background: Array) -> Scene:
        """Describe a scene; an object whose name says no colour, or that of an earlier one, is left out."""
        found: dict[str, int] = {}
        for k, name in enumerate(object_names):
            colour = colour_of(name)
            if colour is not None:
                found.setdefault(colour, k)
        return cls(camera, tuple(found), tuple(found.values()), object_size, background)


@dataclass(frozen=True)
class Scores:
    """Scores of B cases and their L coloured objects."""

    error_cm: Array
    """Distance of an object's centroids in predicted and true frame, (B, L).

    `MISSING_CM` if the predicted frame shows none, NaN if the true frame shows none.
    """
    floor_cm: Array
    """The same for the last context frame as prediction, (B, L)."""
    moved: Array
    """Objects that really moved by more than `MOVED_CM`, (B, L) bool."""
    stayed: Array
    """Objects that really moved by less than `STAYED_CM`, (B, L) bool."""
    visible: Array
    """Objects of which the true frame shows at least `VISIBLE_SHARE`, (B, L) bool."""
    permanent: Array
    """Objects whose predicted area is within a factor of `AREA_RATIO` of the true one, (B, L) bool."""
    telemetry_mm: Array
    """Distance of predicted and true measured end-effector, NaN if the data does not say where it is, (B,)."""
    squared: Array
    """Mean squared difference of prediction and of last context frame to the true frame [grey levels^2], (B, 2)."""
    foreground: Array
    """Number of foreground pixels, (B,)."""
    foreground_squared: Array
    """As `squared`, but the sum over the foreground pixels of the mean over their channels, (B, 2)."""

    @classmethod
    def concatenate(cls, parts: Sequence[Scores]) -> Scores:
        """Put cases together; at least one part."""
        return cls(**{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)})


def score(
    scene: Scene,
    frames: Array,
    predicted: Array,
    last_frames: Array,
    objects: Array,
    last_objects: Array,
    effector: Array,
    predicted_effector: Array,
) -> Scores:
    """Score B cases.

    Args:
        scene: Where and what was filmed.
        frames: True frames, (B, H, W, 3) uint8.
        predicted: Predicted frames of the same instants, (B, H, W, 3) uint8.
        last_frames: Last context frames, (B, H, W, 3) uint8.
        objects: True object poses at those instants, xyz [m] and quaternion wxyz, (B, K, 7).
        last_objects: True object poses at the last context frames, (B, K, 7).
        effector: True measured end-effector [m], (B, 3), or (B, 0) if unknown.
        predicted_effector: Predicted measured end-effector [m], shaped as the true one.
    """
    objects, last_objects = objects[:, list(scene.coloured)], last_objects[:, list(scene.coloured)]
    true, guess, last = (detect(pictures, scene.colours) for pictures in (frames, predicted, last_frames))
    travelled_cm = 100 * np.linalg.norm(objects[..., :3] - last_objects[..., :3], axis=-1)
    cm_per_pixel = 100 * scene.camera.metres_per_pixel(objects[..., :3])

    def error_cm(centroid: Array) -> Array:
        distance = np.linalg.norm(centroid - true.centroid, axis=-1) * cm_per_pixel
        return np.where(true.found, np.where(np.isnan(centroid[..., 0]), MISSING_CM, distance), np.nan)

    squared = np.stack(
        [_squared_difference(pictures, frames) for pictures in (predicted, last_frames)], axis=1
    )  # (B, 2, H, W)
    foreground = np.abs(frames.astype(np.int16) - scene.background).max(axis=-1) > FOREGROUND_LEVELS  # (B, H, W)
    return Scores(
        error_cm=error_cm(guess.centroid),
        floor_cm=error_cm(last.centroid),
        moved=travelled_cm > MOVED_CM,
        stayed=travelled_cm < STAYED_CM,
        visible=true.found & (true.area >= VISIBLE_SHARE * silhouette_area(objects, scene.object_size, scene.camera)),
        permanent=(guess.area * AREA_RATIO >= true.area) & (guess.area <= true.area * AREA_RATIO),
        telemetry_mm=_distance_mm(effector, predicted_effector),
        squared=squared.mean(axis=(2, 3)),
        foreground=foreground.sum(axis=(1, 2)),
        foreground_squared=(squared * foreground[:, None]).sum(axis=(2, 3)),
    )


def _distance_mm(effector: Array, predicted: Array) -> Array:
    """Distances of positions (B, 3) in [m], (B,); NaN for positions without coordinates, (B, 0)."""
    if effector.shape[-1] == 0:
        return np.full(len(effector), np.nan)
    distance: Array = 1000 * np.linalg.norm(predicted - effector, axis=-1)
    return distance


def _squared_difference(pictures: Array, frames: Array) -> Array:
    """Squared difference of pictures (B, H, W, 3), mean over the channels, (B, H, W)."""
    difference: Array = np.square(pictures.astype(np.float32) - frames).mean(axis=-1)
    return difference


def summarize(scores: Scores) -> dict[str, float | int | None]:
    """Numbers of one horizon; None where there is no case to take a number from.

    Returns:
        n: Cases, which is windows.
        object_error_cm, object_error_cm_mean, object_error_cm_p90: Median, mean and 90th percentile of the error of
            objects that moved.
        object_error_cm_floor: Median error of the last context frame for the same objects.
        static_drift_cm, static_drift_cm_mean: Median and mean of the error of objects that stayed.
        object_permanence: Share of the visible objects that persist.
        telemetry_error_mm: Mean distance of predicted and true measured end-effector.
        psnr, fg_psnr: Of the mean squared error over all pictures, and over all foreground pixels of all pictures [dB].
        psnr_floor, fg_psnr_floor: The same for the last context frame.
        moved_objects, static_objects, visible_objects: Number of (window, object) pairs behind the numbers above.
    """
    known = ~np.isnan(scores.error_cm)
    moved, stayed = (scores.error_cm[known & which] for which in (scores.moved, scores.stayed))
    foreground = max(1, scores.foreground.sum())
    psnr, psnr_floor = (_psnr(value) for value in scores.squared.mean(axis=0))
    fg_psnr, fg_psnr_floor = (_psnr(value / foreground) for value in scores.foreground_squared.sum(axis=0))
    has_foreground = scores.foreground.any()
    return {
        "n": len(scores.squared),
        "object_error_cm": _median(moved),
        "object_error_cm_mean": _mean(moved),
        "object_error_cm_p90": float(np.percentile(moved, 90)) if moved.size else None,
        "object_error_cm_floor": _median(scores.floor_cm[known & scores.moved]),
        "static_drift_cm": _median(stayed),
        "static_drift_cm_mean": _mean(stayed),
        "object_permanence": _mean(scores.permanent[scores.visible]),
        "telemetry_error_mm": _mean(scores.telemetry_mm[~np.isnan(scores.telemetry_mm)]),
        "psnr": psnr,
        "psnr_floor": psnr_floor,
        "fg_psnr": fg_psnr if has_foreground else None,
        "fg_psnr_floor": fg_psnr_floor if has_foreground else None,
        "moved_objects": moved.size,
        "static_objects": stayed.size,
        "visible_objects": int(scores.visible.sum()),
    }


def effect_cm(scores: Scores) -> float | None:
    """Mean end-effector error plus mean error of the objects that moved [cm]; a part that is unknown counts nothing."""
    moved = scores.error_cm[scores.moved & ~np.isnan(scores.error_cm)]
    effector = scores.telemetry_mm[~np.isnan(scores.telemetry_mm)] / 10
    parts = [part.mean() for part in (effector, moved) if part.size]
    return float(sum(parts)) if parts else None


def silhouette_area(objects: Array, size: float, camera: Camera) -> Array:
    """Area that unoccluded cubes have in the picture [px], (..., K, 7) poses -> (..., K), also beyond the border.

    The outline of a convex body is covered twice by its projected faces, so its area, that of the convex hull of the
    eight projected corners, is half the sum of theirs.
    """
    columns = _rotation(objects[..., 3:])  # its columns are the cube's axes
    area = np.zeros(objects.shape[:-1])
    for axis in range(3):
        normal, first, second = (0.5 * size * columns[..., (axis + k) % 3] for k in range(3))
        for centre in (objects[..., :3] + normal, objects[..., :3] - normal):
            a, b, c, d = (
                camera.project(centre + u * first + v * second) for u, v in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            )
            area += 0.5 * np.abs(_cross(c - a, d - b))
    return area / 2


def _cross(a: Array, b: Array) -> Array:
    product: Array = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return product


def _rotation(quaternion: Array) -> Array:
    """Rotation matrices (..., 3, 3) of quaternions wxyz (..., 4)."""
    w, x, y, z = np.moveaxis(quaternion.astype(np.float64) / np.linalg.norm(quaternion, axis=-1, keepdims=True), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def outcomes(grasp: Array, stack: Array) -> Array:
    """Outcome of episodes whose end fulfils grasp or stack, index into `OUTCOMES`; a stack counts before a grasp."""
    return np.where(stack, 2, np.where(grasp, 1, 0))


def confusion(truth: Array, guess: Array, classes: int = len(OUTCOMES)) -> Array:
    """Count pairs: rows are true classes, columns predicted ones, (classes, classes) int64."""
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def balanced_accuracy(matrix: Array) -> float | None:
    """Mean share of right predictions over the true classes that occur; None without a case."""
    cases = matrix.sum(axis=1)
    present = cases > 0
    return _mean(np.diag(matrix)[present] / cases[present])


def kappa(matrix: Array) -> float | None:
    """Cohen's kappa, agreement beyond that of chance; None without a case or if all cases are of one class in both."""
    total = matrix.sum()
    if total == 0:
        return None
    by_chance = (matrix.sum(axis=0) * matrix.sum(axis=1)).sum() / total**2
    return float((np.trace(matrix) / total - by_chance) / (1 - by_chance)) if by_chance < 1 else None


def _psnr(squared: float) -> float:
    return float(min(MAX_PSNR, 10 * np.log10(255**2 / squared))) if squared > 0 else MAX_PSNR


def _mean(values: Array) -> float | None:
    return float(values.mean()) if values.size else None


def _median(values: Array) -> float | None:
    return float(np.median(values)) if values.size else None
