"""Where things and robot are in the pictures, as a tracker sees it in imagined and in true frames alike.

The tracker looks at each picture by itself and at both sides with the same eyes, so that what it gets wrong in both
cancels. True positions and telemetry are not consulted, except for the centimetres that a pixel spans. Each number of a
prediction stands beside the same of its `floors`. Frozen: a change is a new benchmark.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gwm_sim.data.tracking.sightings import Sightings
from gwm_sim.evaluation.floors import by_end, shown
from gwm_sim.evaluation.matching import alike, match
from gwm_sim.evaluation.metrics import Metric, Row
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window
from gwm_sim.evaluation.pictures import off, rows_with_floors
from gwm_sim.evaluation.statistics import Array, mean, median

if TYPE_CHECKING:  # a tracker needs an extra
    from gwm_sim.data.tracking.tracker import Thing

MOVED_WIDTHS = 0.5  # a thing moved if it is more than this from where it was in the last context frame [widths]
MISSING_WIDTHS = 10.0  # error of a thing that is not found in a predicted picture [widths]
KEPT_WIDTHS = 0.75  # a thing is kept if it is at most this from where it truly is [widths]
AREA_RATIO = 2.0  # and if its area is between the true one divided and multiplied by this
MARGIN = 1  # pixels around a thing that are not counted as robot [px]


class Looks(NamedTuple):
    """What the tracker sees of a batch at one horizon: K things in B pictures each."""

    true: Sightings
    last: Sightings
    candidates: dict[str, Sightings]  # prediction and floors, by the end of their keys


class Compared(NamedTuple):
    """The M things that moved, of all windows at one horizon."""

    which: Array  # (M,) numbers of the things
    where: Array  # (M,) numbers of their windows
    error_px: dict[str, Array]  # of prediction and floors, by the end of their keys, (M,) [px]
    kept: dict[str, Array]  # (M,) bool


def look(test: OpenLoopTest, windows: Window, prediction: Prediction) -> list[Looks]:
    """See with the tracker of a test at every horizon; what was seen last is kept for the next metric that asks."""
    tracker = test.scene.tracker
    assert tracker is not None, "metrics that need a tracker are missing without one"
    asked, seen = test.shared.get("looks", (None, []))
    if asked is prediction:
        return list(seen)
    true, last, candidates = shown(test, windows, prediction)
    before = tracker.look(last)
    looks = []
    for i in range(true.shape[1]):
        others = {end: tracker.look(pictures[:, i]) for end, pictures in candidates.items() if end != "_floor"}
        looks.append(Looks(tracker.look(true[:, i]), before, others | {"_floor": before}))
    test.shared["looks"] = prediction, looks
    return looks


def compare(looks: Looks, widths: Array, groups: Sequence[Sequence[int]]) -> Compared:
    """Compare what is seen at one horizon.

    Args:
        looks: What is seen.
        widths: Usual width of each thing [px], (K,), see `widths_of`.
        groups: Numbers of things that look alike, see `alike`.
    """
    true = looks.true
    travelled, known = _distance(true, looks.last, match(true, looks.last, groups))
    where, which = np.nonzero(known & (travelled > MOVED_WIDTHS * widths))
    error, kept = {}, {}
    for end, seen in looks.candidates.items():
        away, whole = keep(true, seen, widths, groups)
        error[end], kept[end] = away[where, which], whole[where, which]
    return Compared(which, where, error, kept)


def keep(true: Sightings, seen: Sightings, widths: Array, groups: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Distance of each thing from where it truly is [px], `MISSING_WIDTHS` where it is missing, and whether it is kept:
    near its place and of like area, (T, K) both."""
    partners = match(true, seen, groups)
    away, found = _distance(true, seen, partners)
    area = np.take_along_axis(seen.area, partners.clip(0), axis=1)
    alike_in_size = (area * AREA_RATIO >= true.area) & (area <= true.area * AREA_RATIO)
    kept: Array = found & alike_in_size & (away <= KEPT_WIDTHS * widths)
    return np.where(found, away, MISSING_WIDTHS * widths), kept


def _distance(true: Sightings, other: Sightings, partners: Array) -> tuple[Array, Array]:
    """Distance of each thing to its partner in other pictures [px], and whether it has one, (T, K) both."""
    centre = np.take_along_axis(other.centre, partners.clip(0)[..., None], axis=1)
    return np.linalg.norm(true.centre - centre, axis=-1), partners >= 0


def widths_of(things: Sequence[Thing]) -> Array:
    """Width of each thing, (K,) [px]: the geometric mean of its usual apparent width and height."""
    return np.sqrt(np.array([thing.width * thing.height for thing in things], float))


class Things(Metric):
    """Whether the things that moved are where they should be.

    A thing moved if it was seen in the true frame and in the last context frame, and is more than half its width from
    where it was then. Its width is the geometric mean of its usual apparent width and height. Of several things that
    look alike, the assignment of least total distance says which is which, from the last context frame to the true
    frame and from there to the imagined one.

    moved_error_px: Median distance of imagined and true centre of the things that moved [px]; a thing that is missing
        in the imagined frame counts 10 of its widths.
    moved_error_widths, moved_error_cm: The same in widths of the thing, and in cm at its true depth; None where metres
        are not known.
    kept: Share of (window, thing that moved) with an area within half to double the true one, and the centre within
        0.75 widths of the true one.
    moved_things: Number of (window, thing that moved) behind these numbers.
    ..._floor, ..._scene_floor: The same for the last context frame, and for the empty scene with the robot looked up
        by telemetry.
    """

    name = "things"
    rows = (
        *rows_with_floors("moved-object error, median, tracked", "px", "moved_error_px", 1),
        *rows_with_floors("  in object widths", "", "moved_error_widths", 2),
        *rows_with_floors("  in cm", "cm", "moved_error_cm", 2),
        Row("things that moved", "", "moved_things", 0),
        *rows_with_floors("moved things kept", "%", "kept", 1),
    )

    def __init__(self, test: OpenLoopTest) -> None:
        super().__init__(test)
        self.things = test.scene.tracker.things if test.scene.tracker else ()

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        return None if test.scene.tracker else test.scene.untracked

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        widths, groups = widths_of(self.things), alike(self.things)
        for i, (horizon, looks) in enumerate(zip(horizons, look(self.test, windows, prediction), strict=True)):
            compared = compare(looks, widths, groups)
            cm = self._cm_per_pixel(windows.true_objects[:, i])[compared.where, compared.which]
            self.cases[horizon].append((widths[compared.which], cm, compared.error_px, compared.kept))

    def _cm_per_pixel(self, objects: Array) -> Array:
        """What a pixel spans at each thing's true depth [cm], (B, K', 7) -> (B, K); NaN where metres are not known."""
        schema = self.test.file.schema
        names = [thing.name for thing in self.things]
        if not set(names) <= set(schema.object_names) or schema.object_frame != "metres":
            return np.full((len(objects), len(names)), np.nan)
        places = objects[:, [schema.object_names.index(name) for name in names], :3]
        return 100 * schema.cameras[self.test.cameras[0]].metres_per_pixel(places)

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        return {"horizons": {str(horizon): self._column(horizon) for horizon in horizons}}

    def _column(self, horizon: int) -> dict[str, float | int | None]:
        cases = self.cases[horizon]
        ends = tuple(cases[0][2]) if cases else ()
        widths, cm = (np.concatenate([np.zeros(0), *(case[i] for case in cases)]) for i in range(2))
        error, kept = ({end: np.concatenate([case[i][end] for case in cases]) for end in ends} for i in (2, 3))
        metric = ~np.isnan(cm)
        return {
            **by_end("moved_error_px", {end: median(error[end]) for end in ends}),
            **by_end("moved_error_widths", {end: median(error[end] / widths) for end in ends}),
            **by_end("moved_error_cm", {end: median((error[end] * cm)[metric]) for end in ends}),
            **by_end("kept", {end: mean(kept[end]) for end in ends}),
            "moved_things": len(widths),
        }


class Robot(Metric):
    """Whether the robot covers the pixels that it should.

    A pixel is the robot's if a channel of it is more than 16 levels off the median picture of the true episode (of at
    most 100 frames spread evenly over it), and if it is not in the box of a tracked thing, one pixel wider on every
    side, in the true frame or the imagined one. Telemetry is not consulted. Where nothing is tracked, no pixels are
    left out for things.

    robot_overlap: Number of pixels that are the robot's in both the imagined and the true frame, over the number of
        those that are in either, over all pictures; in [0, 1], None where there are none.
    robot_overlap_floor, robot_overlap_scene_floor: The same for the last context frame, and for the empty scene with
        the robot looked up by telemetry.
    """

    name = "robot"
    rows = rows_with_floors("robot overlap", "%", "robot_overlap", 1)

    @staticmethod
    def missing(test: OpenLoopTest) -> str | None:
        return None

    def update(self, windows: Window, prediction: Prediction, horizons: Sequence[int]) -> None:
        true, _, candidates = shown(self.test, windows, prediction)
        looks = look(self.test, windows, prediction) if self.test.scene.tracker else None
        for i, horizon in enumerate(horizons):
            robot = off(true[:, i], windows.median_picture)
            counts = {}
            for end, pictures in candidates.items():
                imagined = off(pictures[:, i], windows.median_picture)
                seen = (looks[i].true, looks[i].candidates[end]) if looks else ()
                free = ~np.any([np.zeros_like(robot), *(covered(things, robot.shape[1:]) for things in seen)], axis=0)
                counts[end] = (robot & imagined & free).sum(), ((robot | imagined) & free).sum()
            self.cases[horizon].append(counts)

    def compute(self, horizons: Sequence[int]) -> dict[str, Any]:
        return {"horizons": {str(horizon): self._column(horizon) for horizon in horizons}}

    def _column(self, horizon: int) -> dict[str, float | None]:
        cases = self.cases[horizon]
        overlap = {}
        for end in cases[0] if cases else ():
            both, either = np.sum([case[end] for case in cases], axis=0).tolist()
            overlap[end] = both / either if either else None
        return by_end("robot_overlap", overlap)


def covered(sightings: Sightings, sides: tuple[int, int]) -> Array:
    """Which pixels of T pictures lie in the box of a thing that was found, or `MARGIN` beside it, (T, H, W) bool."""
    inside = []
    for axis, side in ((1, sides[0]), (0, sides[1])):
        reach = sightings.size[..., axis, None] / 2 + MARGIN
        inside.append(np.abs(np.arange(side) - sightings.centre[..., axis, None]) <= reach)  # (T, K, side)
    boxes = inside[0][..., :, None] & inside[1][..., None, :] & sightings.found[..., None, None]
    return np.asarray(boxes.any(axis=1))
