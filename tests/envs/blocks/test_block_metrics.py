"""What the block world's metrics say of single drawn cases; all of them keep the contract, as those of any world do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from color_trackers import make_tracker
from drawings import CAMERA, CM_PER_PIXEL, CUBE, PAINT, Array, draw, table
from tracked import write_tracked

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.blocks.detector import detect
from gwm_sim.envs.blocks.metrics import Objects, Scene, Scores, outcomes, score, silhouette_area, summarize
from gwm_sim.envs.blocks.violations import Violations
from gwm_sim.evaluation.metrics import Metric
from gwm_sim.evaluation.open_loop import OpenLoopTest
from gwm_sim.evaluation.registry import find_metrics
from gwm_sim.evaluation.scene import Scene as KnownScene
from gwm_sim.policies.collection import collect
from gwm_sim.policies.commands.collect import CollectConfig
from gwm_sim.testing.metric import MetricConformance

CAMERAS = ("front", "wrist")


def pose(x: float, y: float, z: float = 0.0) -> list[float]:
    return [x, y, z, 1, 0, 0, 0]


def score_pictures(
    true: Array, predicted: Array, objects: list[list[float]], last: Array | None = None, last_objects: Any = None
) -> Scores:
    """Score one case of the drawn world; the last context frame defaults to the true one."""
    poses = np.array(objects, float).reshape(1, len(objects), 7)
    return score(
        Scene.of(CAMERA, ("red", "blue")[: len(objects)], CUBE),
        frames=true[None],
        predicted=predicted[None],
        last_frames=(true if last is None else last)[None],
        objects=poses,
        last_objects=poses if last_objects is None else np.array(last_objects, float)[None],
    )


def test_pixels_become_centimetres_at_the_true_depth() -> None:
    for height, scale in ((0.0, 1.0), (0.5, 0.5)):
        here = pose(0, 0, height)
        true = draw(table(), CAMERA.project(here[:3]), PAINT["red"])
        predicted = draw(table(), CAMERA.project(here[:3]) + (3, 4), PAINT["red"])
        scores = score_pictures(true, predicted, [here], last_objects=[pose(0.02, 0, height)])
        assert scores.moved.all() and not scores.stayed.any()
        assert scores.error_cm[0, 0] == pytest.approx(5 * scale * CM_PER_PIXEL, rel=0.02)


def test_travel_decides_what_moved_and_what_stayed() -> None:
    for travel, moved, stayed in ((0.011, True, False), (0.005, False, False), (0.0019, False, True)):
        scores = score_pictures(table(), table(), [pose(0, 0)], last_objects=[pose(0, travel)])
        assert bool(scores.moved.all()) is moved
        assert bool(scores.stayed.all()) is stayed


def test_a_cube_that_the_true_frame_hides_is_left_out() -> None:
    predicted = draw(table(), (30, 30), PAINT["red"])
    scores = score_pictures(table(), predicted, [pose(0, 0)], last_objects=[pose(0.1, 0)])
    assert np.isnan(scores.error_cm).all()
    assert summarize(scores)["object_error_cm"] is None
    assert summarize(scores)["moved_objects"] == 0


@pytest.mark.parametrize(("width", "permanent"), [(8, True), (6, True), (4, False), (10, True), (12, False)])
def test_permanence_asks_for_half_to_double_the_area(width: float, permanent: bool) -> None:
    true, predicted = (draw(table(), (31.5, 31.5), PAINT["red"], size) for size in (8, width))
    assert score_pictures(true, predicted, [pose(0, 0)]).permanent.all() == permanent


@pytest.mark.parametrize(
    ("shift", "width", "kept"),
    [(0, 8, True), (4, 8, True), (5, 8, False), (0, 4, False), (4, 10, True), (0, 12, False), (0, 0, False)],
)
def test_what_moved_is_kept_within_three_centimetres_at_half_to_double_the_area(
    shift: int, width: int, kept: bool
) -> None:
    true = draw(table(), (31.5, 31.5), PAINT["red"])
    predicted = draw(table(), (31.5 + shift, 31.5), PAINT["red"], width) if width else table()
    for guess, last in ((predicted, true), (true, predicted)):
        numbers = summarize(score_pictures(true, guess, [pose(0, 0)], last, last_objects=[pose(0.05, 0)]))
        shares = numbers["object_kept"], numbers["object_kept_floor"]
        assert shares == ((kept, True) if last is true else (True, kept))
    assert summarize(score_pictures(true, true, [pose(0, 0)]))["object_kept"] is None  # nothing moved


@pytest.mark.parametrize(("covered", "visible"), [(0, True), (3, True), (5, False)])
def test_permanence_counts_cubes_of_which_half_is_visible(covered: int, visible: bool) -> None:
    true = draw(table(), (31.5, 31.5), PAINT["red"])
    true[28 : 28 + covered] = 20
    assert score_pictures(true, true, [pose(0, 0)]).visible.all() == visible


def test_silhouette_is_that_of_the_projected_cube() -> None:
    upright = np.array(pose(0, 0))
    top = 1.0 - CUBE / 2  # [m] from the camera: straight above, only the upper face shows
    assert silhouette_area(upright, CUBE, CAMERA) == pytest.approx((8 / top) ** 2)
    on_its_edge = np.array([0, 0, 0, np.cos(np.pi / 8), np.sin(np.pi / 8), 0, 0])
    assert silhouette_area(on_its_edge, CUBE, CAMERA) == pytest.approx(8 * 8 * np.sqrt(2), rel=0.05)


def test_the_detector_agrees_with_the_silhouette() -> None:
    cube = np.array(pose(0, 0))
    area = detect(draw(table(), (31.5, 31.5), PAINT["red"]), ["red"]).area[0]
    assert area / silhouette_area(cube, CUBE, CAMERA) == pytest.approx(1, abs=0.1)


def test_data_without_poses_gives_no_number() -> None:
    numbers = summarize(score_pictures(table(), table(), []))
    for key in ("object_error_cm", "object_error_cm_p90", "static_drift_cm", "object_permanence"):
        assert numbers[key] is None


def test_a_stack_counts_before_a_grasp() -> None:
    grasp, stack = np.array([False, True, False, True]), np.array([False, False, True, True])
    assert outcomes(grasp, stack).tolist() == [0, 1, 2, 2]


# --- the contract -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes of the twin, seen by two cameras and with depth."""
    path = tmp_path_factory.mktemp("twin") / "views.hdf5"
    collect(CollectConfig(4, path, steps=12, cameras=CAMERAS, depth=True, size=32, rendering="fast", workers=1))
    return path


class TestContract(MetricConformance):
    """Every metric of the block world, and every one of any world."""

    @pytest.fixture(autouse=True, params=find_metrics("MuJoCo-BlockStack-v0"), ids=lambda kind: str(kind.__name__))
    def of(self, request: pytest.FixtureRequest, recording: Path) -> None:
        self.kind, self.path = request.param, recording

    def make_metric(self, tmp_path: Path) -> Metric:
        scene = KnownScene(make_tracker(red=(200, 30, 30), blue=(30, 50, 200)))
        test = OpenLoopTest(EpisodeFile(self.path), [1, 5], cameras=CAMERAS, depth=True, scene=scene)
        metric: Metric = self.kind(test)
        return metric


def test_tracked_positions_are_never_taken_for_the_truth(tmp_path: Path) -> None:
    for tracked, reasons in (("front",), ("nobody measured", "truly are")), ((), (None, None)):
        path = write_tracked(
            tmp_path / f"{len(tracked)}.hdf5",
            range(2),
            tracked=tracked,
            effector=(0, 1, 2),
            gripper=(2,),
            object_size=0.05,
        )
        with EpisodeFile(path) as file:
            test = OpenLoopTest(file, [1])
            for metric, reason in zip((Objects, Violations), reasons, strict=True):
                missing = metric.missing(test)
                assert missing is None if reason is None else reason in (missing or "")


def test_what_is_impossible_is_not_said_of_objects_of_unknown_size(tmp_path: Path) -> None:
    path = write_tracked(tmp_path / "a.hdf5", range(2), tracked=(), effector=(0, 1, 2), gripper=(2,), object_size=0.0)
    with EpisodeFile(path) as file:
        assert "one size" in (Violations.missing(OpenLoopTest(file, [1])) or "")
