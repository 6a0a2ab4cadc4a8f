"""What `gwm eval` measures, on drawn episodes and with predictors whose faults are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import CAMERA, CM_PER_PIXEL, CUBE, GAIN, PAINT, Array, draw, draw_scene, table, write_file
from recordings import write_file as write_other

from gwm_sim.commands.eval import SHUFFLE_STEPS, EvalConfig, evaluate, film, main, measure
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.blocks.detector import detect
from gwm_sim.envs.blocks.metrics import (
    MISSING_CM,
    Scene,
    Scores,
    balanced_accuracy,
    confusion,
    kappa,
    outcomes,
    score,
    silhouette_area,
    summarize,
)
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Predictor, Slot, Window, plan
from gwm_sim.training.build import build
from gwm_sim.training.dataset import load_training_data
from gwm_sim.training.phases.phase import PRESETS
from gwm_sim.training.train import TrainConfig

HORIZONS = (1, 10, 20)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes of 30 steps: 36 windows reach horizon 1, 24 horizon 10, and 12 horizon 20."""
    return write_file(tmp_path_factory.mktemp("drawn") / "test.hdf5")


@pytest.fixture(scope="module")
def copied(path: Path) -> dict[str, Any]:
    """Report on a predictor that copies the last frame."""
    return report_of(copy, path)


def make_test(file: EpisodeFile) -> OpenLoopTest:
    return OpenLoopTest(file, [*HORIZONS, SHUFFLE_STEPS], properties=("friction",))


def report_of(predict: Predictor, path: Path) -> dict[str, Any]:
    with EpisodeFile(path) as file:
        return measure(predict, make_test(file), HORIZONS, batch=8)


def oracle(windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
    """Knows what happened and does not care what is done."""
    shown = [horizon for horizon in (1, 10, 20) if horizon <= windows.actions.shape[1]]
    rows = [shown.index(step) for step in horizons]
    return Prediction(windows.true_frames[:, rows], windows.true_telemetry[:, rows], windows.true_outcome.clip(0))


def copy(windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
    """Repeats the last context frame."""
    frames, telemetry = (value[:, -1:].repeat(len(horizons), axis=1) for value in (windows.frames, windows.telemetry))
    return Prediction(frames, telemetry, np.zeros(len(frames), int))


def amnesia(windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
    """Loses both cubes."""
    empty = np.broadcast_to(table(), (len(actions), len(horizons), *table().shape))
    return copy(windows, actions, horizons)._replace(frames=empty, outcome=None)


def follower(windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
    """Moves effector and red cube as commanded, but only 0.9 times as far."""
    way = 0.9 * GAIN * np.cumsum(actions, axis=1)[:, np.array(horizons) - 1]  # (B, S, 2)
    telemetry = windows.telemetry[:, -1:].repeat(len(horizons), axis=1)
    telemetry[..., :2] += way
    objects = windows.last_objects[:, None].repeat(len(horizons), axis=1)
    objects[..., 0, :2] += way
    frames = np.stack([[draw_scene(poses) for poses in row] for row in objects])
    return Prediction(frames, telemetry, None)


def test_a_perfect_predictor_has_no_error(path: Path) -> None:
    report = report_of(oracle, path)
    for horizon in ("1", "10"):
        column = report["horizons"][horizon]
        assert column["static_drift_cm"] == column["telemetry_error_mm"] == 0
        assert column["object_permanence"] == 1
        assert column["psnr"] == column["fg_psnr"] == 100
    assert report["horizons"]["10"]["object_error_cm"] == report["horizons"]["10"]["object_error_cm_p90"] == 0
    assert report["horizons"]["10"]["object_error_cm_floor"] > 1
    assert report["outcome"]["balanced_accuracy"] == report["outcome"]["kappa"] == 1
    assert np.diag(report["outcome"]["confusion"]).tolist() == [2, 2, 2]
    assert report["controllability"]["action_shuffle_ratio"] is None  # nothing to divide by


def test_copying_the_last_frame_is_the_floor(copied: dict[str, Any]) -> None:
    for column in copied["horizons"].values():
        assert column["object_error_cm"] == column["object_error_cm_floor"]
        assert column["psnr"] == column["psnr_floor"]
        assert column["fg_psnr"] == column["fg_psnr_floor"]
    assert copied["horizons"]["10"]["static_drift_cm"] == 0
    assert copied["outcome"]["balanced_accuracy"] == pytest.approx(1 / 3)
    assert copied["outcome"]["kappa"] == 0


def test_ignoring_the_actions_gives_a_shuffle_ratio_of_one(copied: dict[str, Any]) -> None:
    assert copied["controllability"]["action_shuffle_ratio"] == 1


def test_following_the_actions_gives_a_high_shuffle_ratio(path: Path) -> None:
    report = report_of(follower, path)
    assert report["controllability"]["action_shuffle_ratio"] > 3
    assert report["horizons"]["10"]["telemetry_error_mm"] < 10
    assert report["horizons"]["10"]["object_error_cm"] < report["horizons"]["10"]["object_error_cm_floor"] / 3


def test_a_lost_cube_counts_ten_centimetres(path: Path) -> None:
    report = report_of(amnesia, path)
    column = report["horizons"]["10"]
    assert column["object_error_cm"] == column["object_error_cm_mean"] == column["static_drift_cm"] == MISSING_CM
    assert column["object_permanence"] == 0
    assert report["outcome"] | {"n": 0, "balanced_accuracy": None, "kappa": None} == report["outcome"]


def test_horizons_that_few_windows_reach_are_left_out(copied: dict[str, Any]) -> None:
    assert {horizon: column["n"] for horizon, column in copied["horizons"].items()} == {"1": 36, "10": 24}


def test_data_without_poses_gives_no_number() -> None:
    scores = score_pictures(table(), table(), [])
    numbers = summarize(scores)
    for key in ("object_error_cm", "object_error_cm_p90", "static_drift_cm", "object_permanence", "fg_psnr"):
        assert numbers[key] is None
    assert numbers["psnr"] == 100


def test_plan_begins_every_five_steps_and_rolls_first_windows_to_the_end() -> None:
    assert plan([16, 3], horizons=(1, 10)) == [Slot(0, 0, 13), Slot(0, 5, 1), Slot(0, 10, 1)]


def test_windows_hold_the_recording(path: Path) -> None:
    with EpisodeFile(path) as file:
        test = make_test(file)
        numbers = []
        for windows in test.batches(size=7):
            for row, number in enumerate(windows.number.tolist()):
                numbers.append(number)
                slot = test.slots[number]
                episode, last = file[slot.episode], slot.start + 3
                np.testing.assert_array_equal(windows.frames[row], episode.frames["front"][slot.start : last + 1])
                np.testing.assert_array_equal(windows.past_actions[row], episode.actions[slot.start : last])
                np.testing.assert_array_equal(windows.actions[row], episode.actions[last : last + slot.steps])
                asked = [last + horizon for horizon in test.reached(slot.steps)]
                np.testing.assert_array_equal(windows.true_telemetry[row], episode.telemetry[asked])
                assert windows.true_outcome[row] == (-1 if slot.start else slot.episode % 3)
        assert sorted(numbers) == list(range(len(test.slots)))


def test_foreign_actions_are_a_permutation_without_fixed_points(path: Path) -> None:
    with EpisodeFile(path) as file:
        test = make_test(file)
        foreign = test.foreign_actions(SHUFFLE_STEPS)
        own = {
            number: file[slot.episode].actions[slot.start + 3 : slot.start + 3 + SHUFFLE_STEPS]
            for number, slot in enumerate(test.slots)
            if slot.steps >= SHUFFLE_STEPS
        }
    assert foreign.keys() == own.keys()
    assert all((foreign[number] != own[number]).any() for number in own)
    assert sorted(actions.tolist() for actions in foreign.values()) == sorted(a.tolist() for a in own.values())


# --- single cases -----------------------------------------------------------------------------------------------------


def pose(x: float, y: float, z: float = 0.0) -> list[float]:
    return [x, y, z, 1, 0, 0, 0]


def score_pictures(
    true: Array, predicted: Array, objects: list[list[float]], last: Array | None = None, last_objects: Any = None
) -> Scores:
    """Score one case of the drawn world without telemetry; the last context frame defaults to the true one."""
    poses = np.array(objects, float).reshape(1, len(objects), 7)
    return score(
        Scene.of(CAMERA, ("red", "blue")[: len(objects)], CUBE, table()),
        frames=true[None],
        predicted=predicted[None],
        last_frames=(true if last is None else last)[None],
        objects=poses,
        last_objects=poses if last_objects is None else np.array(last_objects, float)[None],
        effector=np.zeros((1, 0)),
        predicted_effector=np.zeros((1, 0)),
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


@pytest.mark.parametrize(("covered", "visible"), [(0, True), (3, True), (5, False)])
def test_permanence_counts_cubes_of_which_half_is_visible(covered: int, visible: bool) -> None:
    true = draw(table(), (31.5, 31.5), PAINT["red"])
    true[28 : 28 + covered] = 20
    assert score_pictures(true, true, [pose(0, 0)]).visible.all() == visible


def test_psnr_of_whole_pictures_and_of_the_foreground() -> None:
    true = table()
    true[:32] = 0
    predicted = true.copy()
    predicted[:32] = 10
    numbers = summarize(score_pictures(true, predicted, []))
    assert numbers["psnr"] == pytest.approx(10 * np.log10(255**2 / 50))
    assert numbers["fg_psnr"] == pytest.approx(10 * np.log10(255**2 / 100))


def test_the_mean_error_comes_before_the_decibels() -> None:
    pairs = [score_pictures(table(), table() + np.uint8(level), []) for level in (0, 10)]
    assert summarize(Scores.concatenate(pairs))["psnr"] == pytest.approx(10 * np.log10(255**2 / 50))


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


# --- outcomes ---------------------------------------------------------------------------------------------------------


def test_a_stack_counts_before_a_grasp() -> None:
    grasp, stack = np.array([False, True, False, True]), np.array([False, False, True, True])
    assert outcomes(grasp, stack).tolist() == [0, 1, 2, 2]


def test_agreement_of_a_known_table() -> None:
    matrix = np.array([[20, 5, 0], [10, 15, 0], [0, 0, 0]])  # the textbook's 2 by 2 table; one class does not occur
    assert balanced_accuracy(matrix) == pytest.approx((0.8 + 0.6) / 2)
    assert kappa(matrix) == pytest.approx(0.4)


def test_agreement_is_undefined_without_cases_or_classes() -> None:
    assert balanced_accuracy(np.zeros((3, 3), int)) is None
    assert kappa(np.zeros((3, 3), int)) is None
    assert kappa(np.diag([5, 0, 0])) is None


def test_confusion_has_truth_in_rows() -> None:
    matrix = confusion(np.array([0, 0, 2]), np.array([1, 1, 2]))
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a tiny model with fresh weights."""
    folder = tmp_path_factory.mktemp("model")
    config = TrainConfig(data=(path,), out=folder, preset="tiny", steps=1, name="fresh")
    build(config, PRESETS["tiny"], load_training_data([path])).save(folder)
    return folder


def test_the_command_writes_numbers_and_pictures(
    model: Path, path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, strip = tmp_path / "numbers" / "report.json", tmp_path / "strip.png"
    config = EvalConfig(str(model), path, horizons=(1, 10, 600), batch=16, device="cpu", json=numbers, video=strip)
    assert main(config) == 0
    report = json.loads(numbers.read_text())
    assert report["model"] == "fresh"
    assert report["episodes"] == 6
    assert report["horizons"].keys() == {"1", "10"}
    expected = "n object_error_cm object_error_cm_mean object_error_cm_p90 object_error_cm_floor static_drift_cm "
    expected += "object_permanence telemetry_error_mm psnr fg_psnr"
    assert set(expected.split()) <= report["horizons"]["10"].keys()
    assert report["outcome"]["n"] == 6
    assert report["controllability"]["action_shuffle_ratio"] > 0
    assert strip.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "left out: 600 steps" in printed
    assert "seeds below 300000" in printed


def test_batches_do_not_change_the_numbers(model: Path, path: Path) -> None:
    few, many = (
        evaluate(EvalConfig(str(model), path, horizons=(1, 10), limit=4, batch=batch, device="cpu"))
        for batch in (5, 64)
    )
    for key in ("n", "telemetry_error_mm", "psnr", "psnr_floor"):
        assert few["horizons"]["1"][key] == pytest.approx(many["horizons"]["1"][key], rel=1e-3)


def test_a_film_is_written(path: Path, tmp_path: Path) -> None:
    with EpisodeFile(path) as file:
        film(tmp_path / "film.mp4", follower, make_test(file), steps=3)
    assert (tmp_path / "film.mp4").stat().st_size > 1000


def test_data_of_another_robot_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not fit fresh: its picture size is"):
        evaluate(EvalConfig(str(model), write_other(tmp_path / "other.hdf5"), device="cpu"))


def test_episodes_shorter_than_the_context_are_refused(model: Path, tmp_path: Path) -> None:
    short = write_file(tmp_path / "short.hdf5", episodes=1, length=3)
    with pytest.raises(ConfigError, match="longest episode has 3 steps, too few for 4 frames of context"):
        evaluate(EvalConfig(str(model), short, device="cpu"))


@pytest.mark.parametrize("options", [{"batch": 0}, {"context": 0}, {"limit": 0}, {"horizons": ()}, {"horizons": (0,)}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        EvalConfig("gwm-mini", Path("test.hdf5"), **options)
