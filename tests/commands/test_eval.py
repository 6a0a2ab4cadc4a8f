"""`gwm eval` writes numbers and pictures, says what it could not measure, and refuses what it cannot test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from color_trackers import drawn_poses, make_tracker
from drawings import table, write_file
from recordings import write_file as write_other

from gwm_sim.commands.eval import EvalConfig, evaluate, film, main
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.poses import PoseLibrary
from gwm_sim.data.tracking.tracker import Tracker
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.open_loop import OpenLoopTest
from gwm_sim.testing.metric import what_happened
from gwm_sim.training.build import build
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes of 30 steps."""
    return write_file(tmp_path_factory.mktemp("drawn") / "test.hdf5")


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
    assert "not measured: impossible steps (the data do not say where the gripper is" in printed.replace("\n", "")


def test_things_and_the_empty_scene_are_measured_where_they_are_found(
    model: Path, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """By a tracker that knows the colours, and a library that shows the bare table."""
    monkeypatch.setattr(Tracker, "fit", lambda *_, **__: make_tracker(red=(203, 10, 10), blue=(10, 26, 217)))
    monkeypatch.setattr(PoseLibrary, "of", lambda *_: drawn_poses(table()))
    config = EvalConfig(
        str(model), path, training_data=path, horizons=(1, 10), device="cpu", json=tmp_path / "report.json"
    )
    assert main(config) == 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    column, alone = report["horizons"]["10"], report["reconstruction"]
    assert 0 <= alone["kept"] <= 1 and alone["things"] > 0 and alone["psnr"] > 0
    assert column["moved_things"] > 0 and column["moved_error_cm_floor"] > 1
    assert column["kept_scene_floor"] == 0 and column["moved_error_widths_scene_floor"] == 10
    printed = capsys.readouterr().out
    for said in (
        "moved-object error",
        "empty scene, robot looked up",
        "robot overlap",
        "SSIM",
        "episodes by foreground",
        f"reconstructions: {100 * alone['kept']:.1f} % of {alone['things']} things kept",
    ):
        assert said in printed
    assert "empty scene (" not in printed


def test_training_data_of_another_robot_is_refused(model: Path, path: Path, tmp_path: Path) -> None:
    other = write_other(tmp_path / "other.hdf5")
    with pytest.raises(ConfigError, match="other.hdf5"):
        evaluate(EvalConfig(str(model), path, training_data=other, device="cpu"))


def test_batches_do_not_change_the_numbers(model: Path, path: Path) -> None:
    few, many = (
        evaluate(EvalConfig(str(model), path, horizons=(1, 10), limit=4, batch=batch, device="cpu"))
        for batch in (5, 64)
    )
    for key in ("n", "telemetry_error_mm", "psnr", "psnr_floor"):
        assert few["horizons"]["1"][key] == pytest.approx(many["horizons"]["1"][key], rel=1e-3)


def test_a_film_is_written(path: Path, tmp_path: Path) -> None:
    with EpisodeFile(path) as file:
        test = OpenLoopTest(file, [1])
        rollouts = {"best": [{"episode": 2, "fg_psnr": 30.0}], "worst": [{"episode": 5, "fg_psnr": 20.0}]}
        film(tmp_path / "film.mp4", lambda windows, *_: what_happened(test, windows), test, steps=3, rollouts=rollouts)
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
