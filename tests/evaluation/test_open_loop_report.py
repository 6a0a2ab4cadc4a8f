"""What an open-loop report says of predictors whose faults are known, on drawn episodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from color_trackers import drawn_poses
from drawings import GAIN, Array, draw_scene, table, write_file

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.poses import PoseLibrary
from gwm_sim.envs.blocks.metrics import MISSING_CM
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Predictor, Window
from gwm_sim.evaluation.report import SHUFFLE_STEPS, open_loop_report
from gwm_sim.evaluation.scene import Scene

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
        return open_loop_report(predict, make_test(file), HORIZONS, batch=8)


def oracle(windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
    """Knows what happened and does not care what is done."""
    shown = [horizon for horizon in (1, 10, 20) if horizon <= windows.actions.shape[1]]
    rows = [shown.index(step) for step in horizons]
    success = dict(zip(("grasp", "stack"), windows.true_success.T, strict=True))
    return Prediction(windows.true_frames[:, rows], windows.true_telemetry[:, rows], success)


def copy(windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
    """Repeats the last context frame."""
    frames, telemetry = (value[:, -1:].repeat(len(horizons), axis=1) for value in (windows.frames, windows.telemetry))
    return Prediction(frames, telemetry, dict.fromkeys(("grasp", "stack"), np.zeros(len(frames), bool)))


def amnesia(windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
    """Loses both cubes."""
    empty = np.broadcast_to(table(), (len(actions), len(horizons), *table().shape))
    return copy(windows, actions, horizons)._replace(frames=empty, success=None)


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


def test_other_actions_change_the_pictures_of_whoever_follows_them(path: Path, copied: dict[str, Any]) -> None:
    ratios = report_of(follower, path)["controllability"]["pictures"]
    assert ratios.keys() == {"shuffled", "zero", "repeated"}
    assert all(ratio > 1.5 for ratio in ratios.values())
    assert ratios["repeated"] < ratios["shuffled"]  # the course bends little in ten steps
    assert copied["controllability"]["pictures"] == dict.fromkeys(ratios, 1.0)


def test_without_an_error_or_an_action_before_there_is_no_ratio(path: Path) -> None:
    assert set(report_of(oracle, path)["controllability"]["pictures"].values()) == {None}
    with EpisodeFile(path) as file:
        test = OpenLoopTest(file, [*HORIZONS, SHUFFLE_STEPS], context=1)
        ratios = open_loop_report(copy, test, HORIZONS)["controllability"]["pictures"]
    assert ratios == {"shuffled": 1, "zero": 1, "repeated": None}


def test_the_empty_scene_is_looked_up_by_the_telemetry_that_was_predicted(path: Path) -> None:
    asked = []

    class Poses(PoseLibrary):
        def picture(self, telemetry: Array, without: int | None = None) -> Array:
            asked.append(telemetry)
            return super().picture(telemetry, without)

    with EpisodeFile(path) as file:
        test = OpenLoopTest(file, [*HORIZONS, SHUFFLE_STEPS], scene=Scene(poses=drawn_poses(table(), Poses)))
        column = open_loop_report(copy, test, HORIZONS)["horizons"]["10"]
        starts = np.concatenate([windows.telemetry[:, -1] for windows in test.batches(64)])
    assert {tuple(row) for row in np.concatenate(asked).tolist()} == {tuple(row) for row in starts.tolist()}
    assert column["fg_psnr_scene_floor"] < column["fg_psnr_floor"] == column["fg_psnr"]


def test_a_lost_cube_counts_ten_centimetres(path: Path) -> None:
    report = report_of(amnesia, path)
    column = report["horizons"]["10"]
    assert column["object_error_cm"] == column["object_error_cm_mean"] == column["static_drift_cm"] == MISSING_CM
    assert column["object_permanence"] == 0
    assert report["outcome"] | {"n": 0, "balanced_accuracy": None, "kappa": None} == report["outcome"]


def test_horizons_that_few_windows_reach_are_left_out(copied: dict[str, Any]) -> None:
    assert {horizon: column["n"] for horizon, column in copied["horizons"].items()} == {"1": 36, "10": 24}
