"""What is said of things and robot, on drawn discs and bars whose places are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from color_trackers import drawn_poses, make_tracker
from drawings import make_episode, make_schema, write_file

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.tracking.tracker import Tracker
from gwm_sim.evaluation.matching import alike
from gwm_sim.evaluation.metrics import Metric
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction
from gwm_sim.evaluation.scene import Scene
from gwm_sim.evaluation.tracked import Robot, Things
from gwm_sim.testing.metric import MetricConformance

GROUND, RED, BLUE, ROBOT = (150, 150, 150), (200, 20, 20), (20, 40, 210), (90, 90, 90)
SIDE = 64
WIDTH = 8.0  # of every thing, as the tracker knows it [px]
ONE = {"red": RED}


def ground() -> Array:
    return np.full((SIDE, SIDE, 3), GROUND, np.uint8)


def box(picture: Array, column: float, row: float, color: tuple[int, int, int] = RED, size: float = WIDTH) -> Array:
    """The picture with a square thing drawn over it, of the pixels whose centres it covers."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = (np.abs(rows - row) < size / 2) & (np.abs(columns - column) < size / 2)
    return np.where(inside[..., None], np.array(color, np.uint8), picture)


def red(*columns: float, size: float = WIDTH) -> Array:
    """A picture of red things in a row."""
    picture = ground()
    for column in columns:
        picture = box(picture, column, 31.5, size=size)
    return picture


def bar(column: int, picture: Array | None = None) -> Array:
    """A picture of a robot: a bar of 6 pixels across that comes from above."""
    picture = ground() if picture is None else picture.copy()
    picture[:40, column : column + 6] = ROBOT
    return picture


def measure(
    kind: type[Metric],
    last: Array,
    true: Array,
    predicted: Array,
    tracker: Tracker | None,
    scene: Array | None = None,
    median: Array | None = None,
) -> dict[str, Any]:
    """Numbers of one window at one horizon."""
    schema: Any = make_schema()
    test: Any = type("Test", (), {})()
    test.file = type("File", (), {"schema": schema})
    test.cameras, test.shared, test.scene = ("front",), {}, Scene(tracker)
    windows: Any = type("Windows", (), {})()
    windows.frames, windows.true_frames = last[None, None], true[None, None]
    windows.true_objects = np.zeros((1, 1, 2, 7))
    windows.median_picture = (ground() if median is None else median)[None]
    prediction = Prediction(predicted[None, None], np.zeros((1, 1, 0)), None)
    if scene is not None:
        prediction = prediction._replace(empty_scene=scene[None, None])
    metric = kind(test)
    metric.update(windows, prediction, [1])
    numbers: dict[str, Any] = metric.compute([1])["horizons"]["1"]
    return numbers


def things(last: Array, true: Array, predicted: Array, scene: Array | None = None, **colors: Any) -> dict[str, Any]:
    return measure(Things, last, true, predicted, make_tracker(WIDTH, WIDTH, **(colors or ONE)), scene)


# --- moved-object error -----------------------------------------------------------------------------------------------


def test_the_error_is_the_distance_of_the_centres_beside_that_of_the_last_frame() -> None:
    numbers = things(last=red(10.5), true=red(30.5), predicted=red(33.5))
    assert numbers["moved_error_px"] == 3 and numbers["moved_error_px_floor"] == 20
    assert numbers["moved_error_widths"] == 3 / WIDTH and numbers["moved_error_widths_floor"] == 20 / WIDTH
    assert numbers["moved_error_px_scene_floor"] is None  # nobody gave poses
    assert numbers["moved_things"] == 1


def test_the_median_is_over_the_things_that_moved() -> None:
    last, true, predicted = (box(red(a), b, 10.5, BLUE) for a, b in ((10.5, 10.5), (30.5, 30.5), (32.5, 38.5)))
    assert things(last, true, predicted, red=RED, blue=BLUE)["moved_error_px"] == (2 + 8) / 2


def test_a_missing_thing_counts_ten_widths() -> None:
    numbers = things(last=red(10.5), true=red(30.5), predicted=ground())
    assert numbers["moved_error_px"] == 10 * WIDTH and numbers["moved_error_widths"] == 10
    assert numbers["kept"] == 0


@pytest.mark.parametrize(("way", "moved"), [(0, 0), (3, 0), (4, 0), (5, 1)])
def test_a_thing_moved_if_it_went_more_than_half_its_width(way: int, moved: int) -> None:
    numbers = things(last=red(20.5), true=red(20.5 + way), predicted=red(20.5 + way))
    assert numbers["moved_things"] == moved
    assert numbers["moved_error_px"] == (0 if moved else None)
    assert numbers["kept"] == (1 if moved else None)


@pytest.mark.parametrize(("last", "true"), [(ground(), red(30.5)), (red(30.5), ground())])
def test_where_the_true_frames_do_not_show_a_thing_twice_nobody_knows_whether_it_moved(
    last: Array, true: Array
) -> None:
    assert things(last, true, red(30.5))["moved_things"] == 0


def test_the_width_is_the_geometric_mean_of_the_sides() -> None:
    tracker = make_tracker(16.0, 4.0, red=RED)
    for way, moved in ((4, 0), (5, 1)):
        assert measure(Things, red(20.5), red(20.5 + way), red(20.5), tracker)["moved_things"] == moved


def test_centimetres_are_those_of_the_true_depth_and_only_where_metres_are_known() -> None:
    shift = things(last=red(10.5), true=red(30.5), predicted=red(33.5))
    camera = make_schema().cameras["front"]
    assert shift["moved_error_cm"] == pytest.approx(300 * float(camera.metres_per_pixel([0.0, 0.0, 0.0])))
    unknown = things(red(10.5), red(30.5), red(33.5), mug=RED)
    assert unknown["moved_error_px"] == 3 and unknown["moved_error_cm"] is None


def test_the_empty_scene_is_a_floor_beside() -> None:
    numbers = things(red(10.5), red(30.5), red(30.5), scene=red(34.5))
    assert numbers["moved_error_px_scene_floor"] == 4 and numbers["kept_scene_floor"] == 1


# --- things that look alike -------------------------------------------------------------------------------------------


def test_things_of_one_look_are_alike() -> None:
    assert alike(make_tracker(red_1=RED, blue=BLUE, red_2=RED).things) == [[0, 2], [1]]


def test_of_two_alike_the_nearest_is_the_one_however_they_are_numbered() -> None:
    """A third red spot to the left would shift the tracker's numbers; a thing that passes the other swaps them."""
    last, true = red(20.5, 40.5), red(20.5, 50.5)
    assert things(last, true, red(20.5, 52.5), red_1=RED, red_2=RED)["moved_error_px"] == 2
    swapped = box(box(ground(), 44.5, 10.5), 20.5, 50.5)  # upper right and lower left: numbered the other way around
    before = box(box(ground(), 16.5, 10.5), 20.5, 50.5)
    numbers = things(before, swapped, swapped, red_1=RED, red_2=RED)
    assert numbers["moved_things"] == 1 and numbers["moved_error_px"] == 0 and numbers["moved_error_px_floor"] == 28


def test_of_two_alike_one_may_be_missing() -> None:
    numbers = things(red(10.5, 40.5), red(20.5, 50.5), red(50.5), red_1=RED, red_2=RED)
    assert numbers["moved_things"] == 2 and numbers["kept"] == 0.5
    assert numbers["moved_error_px"] == (0 + 10 * WIDTH) / 2


# --- kept -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "size", "kept"),
    [(0, 8, 1), (6, 8, 1), (7, 8, 0), (0, 10, 1), (0, 12, 0), (0, 6, 1), (0, 4, 0)],
)
def test_kept_asks_for_the_place_and_for_half_to_double_the_area(shift: int, size: int, kept: int) -> None:
    assert things(red(10.5), red(30.5), red(30.5 + shift, size=size))["kept"] == kept


@pytest.mark.parametrize(("rows", "kept"), [(16, 1), (17, 0), (4, 1), (3, 0)])
def test_half_and_double_the_area_are_kept(rows: int, kept: int) -> None:
    predicted = ground()
    predicted[32 - rows // 2 : 32 - rows // 2 + rows, 27:35] = RED
    true = ground()
    true[28:36, 27:35] = RED
    assert things(red(10.5), true, predicted)["kept"] == kept


def test_copying_keeps_what_hardly_moved() -> None:
    numbers = things(last=red(20.5), true=red(25.5), predicted=ground())
    assert numbers["kept"] == 0 and numbers["kept_floor"] == 1


# --- robot overlap ----------------------------------------------------------------------------------------------------


def test_overlap_is_intersection_over_union() -> None:
    numbers = measure(Robot, last=bar(10), true=bar(20), predicted=bar(22), tracker=None, scene=bar(20))
    assert numbers == {"robot_overlap": 4 / 8, "robot_overlap_floor": 0, "robot_overlap_scene_floor": 1}


def test_sixteen_levels_are_still_ground() -> None:
    for level, overlap in ((16, None), (17, 1)):
        faint = ground()
        faint[:10, :10, 1] -= np.uint8(level)
        assert measure(Robot, ground(), faint, faint, tracker=None)["robot_overlap"] == overlap


def test_what_the_episode_usually_shows_is_no_robot() -> None:
    assert measure(Robot, bar(20), bar(20), bar(20), tracker=None, median=bar(20))["robot_overlap"] is None


def test_things_are_no_robot_wherever_either_frame_shows_them() -> None:
    true, predicted = box(bar(20), 50.5, 50.5), box(bar(20), 40.5, 50.5)
    assert measure(Robot, true, true, predicted, make_tracker(red=RED))["robot_overlap"] == 1
    assert measure(Robot, true, true, predicted, tracker=None)["robot_overlap"] == 240 / (240 + 128)


def test_a_pixel_beside_a_thing_is_left_out_with_it() -> None:
    shaded = box(box(bar(20), 50.5, 50.5, (100, 100, 100), size=10), 50.5, 50.5)
    assert measure(Robot, ground(), bar(20), shaded, make_tracker(red=RED))["robot_overlap"] == 1


# --- the contract -----------------------------------------------------------------------------------------------------


class TestContract(MetricConformance):
    """Both keep the contract of metrics."""

    @pytest.fixture(autouse=True, params=[Things, Robot], ids=["things", "robot"])
    def of(self, request: pytest.FixtureRequest) -> None:
        self.kind = request.param

    def make_metric(self, tmp_path: Path) -> Metric:
        path = tmp_path / "drawn.hdf5"
        file = EpisodeFile(path if path.exists() else write_file(path))
        scene = Scene(make_tracker(red=(203, 10, 10), blue=(10, 26, 217)), poses=drawn_poses(ground()))
        metric: Metric = self.kind(OpenLoopTest(file, [1, 10], scene=scene))
        return metric

    def test_what_happened_is_kept_and_overlaps(self, tmp_path: Path) -> None:
        numbers = self.report(self.make_metric(tmp_path), batch=8)["horizons"]["10"]
        if self.kind is Things:
            assert numbers["moved_things"] > 10 and numbers["moved_error_px"] == 0 and numbers["kept"] == 1
            assert numbers["moved_error_cm_floor"] == pytest.approx(numbers["moved_error_px_floor"] * 100 * 0.05 / 8)


def test_the_median_picture_is_that_of_the_whole_episode(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "drawn.hdf5", make_schema())
    writer.write(0, make_episode(0))
    writer.write(1, make_episode(1))
    writer.merge()
    with EpisodeFile(tmp_path / "drawn.hdf5") as file:
        for windows in OpenLoopTest(file, [1, 10]).batches(3):
            for b, number in enumerate(windows.number.tolist()):
                frames = file[number // (len(OpenLoopTest(file, [1, 10]).slots) // 2)].frames["front"]
                np.testing.assert_array_equal(windows.median_picture[b], np.median(frames, axis=0).astype(np.uint8))
