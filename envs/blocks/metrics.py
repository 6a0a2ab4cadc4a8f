"""The block world's metrics: objects, outcomes, impossible steps and views. Frozen: a change is a new benchmark.

A case is one open-loop window at one step: what the model predicted and what really happened, compared by `score`; the
cases of one horizon are put together by `summarize`. Cubes are read from the pictures alone, by the same detector in
both; the recorded poses say only which cubes really moved, how much of a cube could be seen and how many cm a pixel
spans. Knows nothing of models and files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from gwm_sim.data.cameras import Camera
from gwm_sim.data.views import main_view
from gwm_sim.envs.blocks.detector import colour_of, detect
from gwm_sim.envs.blocks.sight import FRAMES, cubes_among, success_at_the_end
from gwm_sim.envs.blocks.view_agreement import Views
from gwm_sim.envs.blocks.violations import Violations
from gwm_sim.evaluation.metrics import DistanceMetric, Metric, Row, number
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window
from gwm_sim.evaluation.statistics import Array, balanced_accuracy, confusion, kappa, mean, median

MOVED_CM = 1.0  # a cube moved if its position is more than this from where it was in the last context frame [cm]
STAYED_CM = 0.2  # a cube stayed if its position is less than this from where it was in the last context frame [cm]
MISSING_CM = 10.0  # error of a cube that is not found in a predicted picture [cm]
VISIBLE_SHARE = 0.5  # a cube counts for permanence if the true picture shows at least this share of its silhouette
AREA_RATIO = 2.0  # a cube persists if its predicted area is between the true one divided and multiplied by this
KEPT_CM = 3.0  # a cube that moved is kept if it persists and its error is at most this [cm]
OUTCOMES = ("neither", "held", "stacked")  # how an episode can end
OUTCOME_TASKS = ("grasp", "stack")  # tasks whose success says how an episode ended


@dataclass(frozen=True)
class Scene:
    """What is needed to read the pictures of one file."""

    camera: Camera
    colours: tuple[str, ...]  # colours of the objects that can be told by their colour, L of the K objects
    coloured: tuple[int, ...]  # which of the K objects these are, (L,)
    object_size: float  # edge length of the objects [m]

    @classmethod
    def of(cls, camera: Camera, object_names: Sequence[str], object_size: float) -> Scene:
        """Describe a scene; an object whose name says no colour, or that of an earlier one, is left out."""
        found: dict[str, int] = {}
        for k, name in enumerate(object_names):
            colour = colour_of(name)
            if colour is not None:
                found.setdefault(colour, k)
        return cls(camera, tuple(found), tuple(found.values()), object_size)


@dataclass(frozen=True)
class Scores:
    """Scores of B cases and their L coloured objects."""

    error_cm: Array
    """Distance of an object's centroids in predicted and true frame, (B, L); `MISSING_CM` if the predicted frame shows
    none, NaN if the true frame shows none."""
    floor_cm: Array  # the same for the last context frame as prediction, (B, L)
    moved: Array  # objects that really moved by more than `MOVED_CM`, (B, L) bool
    stayed: Array  # objects that really moved by less than `STAYED_CM`, (B, L) bool
    visible: Array  # objects of which the true frame shows at least `VISIBLE_SHARE`, (B, L) bool
    permanent: Array  # objects whose predicted area is within a factor of `AREA_RATIO` of the true one, (B, L) bool
    permanent_floor: Array  # the same for the last context frame as prediction, (B, L) bool

    @classmethod
    def concatenate(cls, parts: Sequence[Scores]) -> Scores:
        """Put cases together; at least one part."""
        return cls(**{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(cls)})


def score(
    scene: Scene, frames: Array, predicted: Array, last_frames: Array, objects: Array, last_objects: Array
) -> Scores:
    """Score B cases.

    Args:
        scene: Where and what was filmed.
        frames: True frames, (B, H, W, 3) uint8.
        predicted: Predicted frames of the same instants, (B, H, W, 3) uint8.
        last_frames: Last context frames, (B, H, W, 3) uint8.
        objects: True object poses at those instants, xyz [m] and quaternion wxyz, (B, K, 7).
        last_objects: True object poses at the last context frames, (B, K, 7).
    """
    objects, last_objects = objects[:, list(scene.coloured)], last_objects[:, list(scene.coloured)]
    true, guess, last = (detect(pictures, scene.colours) for pictures in (frames, predicted, last_frames))
    travelled_cm = 100 * np.linalg.norm(objects[..., :3] - last_objects[..., :3], axis=-1)
    cm_per_pixel = 100 * scene.camera.metres_per_pixel(objects[..., :3])

    def error_cm(centroid: Array) -> Array:
        distance = np.linalg.norm(centroid - true.centroid, axis=-1) * cm_per_pixel
        return np.where(true.found, np.where(np.isnan(centroid[..., 0]), MISSING_CM, distance), np.nan)

    def permanent(area: Array) -> Array:
        return (area * AREA_RATIO >= true.area) & (area <= true.area * AREA_RATIO)

    return Scores(
        error_cm=error_cm(guess.centroid),
        floor_cm=error_cm(last.centroid),
        moved=travelled_cm > MOVED_CM,
        stayed=travelled_cm < STAYED_CM,
        visible=true.found & (true.area >= VISIBLE_SHARE * silhouette_area(objects, scene.object_size, scene.camera)),
        permanent=permanent(guess.area),
        permanent_floor=permanent(last.area),
    )


def summarize(scores: Scores) -> dict[str, float | int | None]:
    """Numbers of one horizon; None where there is no case to take a number from.

    Returns:
        object_error_cm, object_error_cm_mean, object_error_cm_p90: Median, mean and 90th percentile of the error of
            objects that moved.
        object_error_cm_floor: Median error of the last context frame for the same objects.
        static_drift_cm, static_drift_cm_mean: Median and mean of the error of objects that stayed.
        object_permanence: Share of the visible objects that persist.
        object_kept: Share of the objects that moved of which the predicted area is within half to double the true one
            and the error at most 3 cm.
        object_kept_floor: The same for the last context frame.
        moved_objects, static_objects, visible_objects: Number of (window, object) pairs behind the numbers above.
    """
    known = ~np.isnan(scores.error_cm)
    moved, stayed = (scores.error_cm[known & which] for which in (scores.moved, scores.stayed))
    return {
        "object_error_cm": median(moved),
        "object_error_cm_mean": mean(moved),
        "object_error_cm_p90": float(np.percentile(moved, 90)) if moved.size else None,
        "object_error_cm_floor": median(scores.floor_cm[known & scores.moved]),
        "static_drift_cm": median(stayed),
        "static_drift_cm_mean": mean(stayed),
        "object_permanence": mean(scores.permanent[scores.visible]),
        "object_kept": mean((scores.permanent & (scores.error_cm <= KEPT_CM))[known & scores.moved]),
        "object_kept_floor": mean((scores.permanent_floor & (scores.floor_cm <= KEPT_CM))[known & scores.moved]),
        "moved_objects": moved.size,
        "static_objects": stayed.size,
        "visible_objects": int(scores.visible.sum()),
    }


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


class Objects(DistanceMetric):
    """Where objects that are told by their colour are seen, and whether they are seen at all: `summarize`."""

    name = "objects"
    rows = (
        Row("object error, median", "cm", "object_error_cm", 2),
        Row("  mean", "cm", "object_error_cm_mean", 2),
        Row("  90th percentile", "cm", "object_error_cm_p90", 2),
        Row("  last frame copied, median", "cm", "object_error_cm_floor", 2),
        Row("drift of still objects, median", "cm", "static_drift_cm", 2),
        Row("object permanence", "%", "object_permanence", 1),
        Row("moved objects kept", "%", "object_kept", 1),
        Row("  last frame copied", "%", "object_kept_floor", 1),
    )

    def __init__(self, test: OpenLoopTest) -> None:
        super().__init__(test)
        schema = test.file.schema
        self.scene = Scene.of(schema.cameras[test.cameras[0]], schema.object_names, schema.object_size)

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        if test.file.schema.tracked:
            return "objects were tracked, and nobody measured where they are"
        return None if any(map(colour_of, test.file.schema.object_names)) else "no object's name says its colour"

    def score(self, windows: Window, index: int, predicted: Array) -> Scores:
        """Score pictures (B, H, V*W, 3) that are predicted for one of the horizons."""
        frames, predicted, last_frames = (
            main_view(x, self.test.cameras) for x in (windows.true_frames[:, index], predicted, windows.frames[:, -1])
        )
        return score(self.scene, frames, predicted, last_frames, windows.true_objects[:, index], windows.last_objects)

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        for i, horizon in enumerate(horizons):
            self.cases[horizon].append(self.score(windows, i, prediction.frames[:, i]))

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        return {"horizons": {str(horizon): summarize(self._together(horizon)) for horizon in horizons}}

    def error_cm(self, horizon: int) -> float | None:
        scores = self._together(horizon)
        return mean(scores.error_cm[scores.moved & ~np.isnan(scores.error_cm)])

    def _together(self, horizon: int) -> Scores:
        none = np.zeros((0, 0), bool)
        return Scores.concatenate(self.cases[horizon] or [Scores(*[none] * len(fields(Scores)))])


class Outcome(Metric):
    """How episodes end, by the success of `OUTCOME_TASKS`; where a predictor has no opinion, by where it says that the
    cubes are, see `sight`.

    outcome: Balanced accuracy, kappa, number of episodes n, and how often which of the classes is taken for which.
    """

    name = "outcome"

    def __init__(self, test: OpenLoopTest) -> None:
        super().__init__(test)
        self._matrix = np.zeros((len(OUTCOMES), len(OUTCOMES)), np.int64)

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        unlabelled = [task for task in OUTCOME_TASKS if task not in test.file.schema.tasks]
        return f"no labels of {' and '.join(unlabelled)}" if unlabelled else None

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        if (success := self._foreseen(windows, prediction)) is None:
            return
        true = dict(zip(self.test.file.schema.tasks, windows.true_success.T, strict=True))
        truth, guess = (outcomes(*(x[task] for task in OUTCOME_TASKS)) for x in (true, success))
        tasks = [self.test.file.schema.tasks.index(task) for task in OUTCOME_TASKS]
        known = windows.to_end & windows.judged[:, tasks].all(axis=1)
        self._matrix += confusion(truth[known], guess[known], len(OUTCOMES))

    def _foreseen(self, windows: Window, prediction: Prediction) -> Mapping[str, Array] | None:
        """Success of the tasks after all actions, (B,) each; None where the prediction does not tell."""
        if prediction.success is not None and set(OUTCOME_TASKS) <= prediction.success.keys():
            return prediction.success
        places, telemetry = prediction.course_objects, prediction.course_telemetry
        cubes = cubes_among(prediction.schema or self.test.file.schema)
        if cubes is None or places is None or telemetry is None or places.shape[1] < FRAMES:
            return None
        return success_at_the_end(places[:, :, cubes], telemetry)

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        outcome = {
            "balanced_accuracy": balanced_accuracy(self._matrix),
            "kappa": kappa(self._matrix),
            "n": int(self._matrix.sum()),
            "classes": list(OUTCOMES),
            "confusion": self._matrix.tolist(),
        }
        return {"outcome": outcome}

    @staticmethod
    def lines(report: Mapping[str, Any]) -> Iterable[str]:
        outcome = report["outcome"]
        if outcome["n"]:
            accuracy, agreement = number(outcome["balanced_accuracy"], 1, 100), number(outcome["kappa"], 2)
            episodes = f"{'/'.join(OUTCOMES)} at the end of {outcome['n']} episodes"
            yield f"{episodes}: balanced accuracy {accuracy} %, kappa {agreement}"


METRICS: tuple[type[Metric], ...] = (Objects, Outcome, Violations, Views)
"""What `gwm eval` measures in this world beside what it measures in any."""
