"""What is known of a scene is found once, and what is not says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from color_trackers import drawn_poses, make_tracker
from drawings import Array, make_episode, make_schema, table, write_file

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.tracking import readiness
from gwm_sim.data.tracking.poses import PoseLibrary
from gwm_sim.data.tracking.tracker import NothingToTrack, Tracker
from gwm_sim.errors import MissingDependency
from gwm_sim.evaluation import scene
from gwm_sim.evaluation.scene import Scene, find_scene

RED = (203, 10, 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_file(tmp_path / "drawn.hdf5", episodes=2)


def fail(error: Exception) -> Any:
    def fit(*_: object, **__: object) -> Tracker:
        raise error

    return fit


def test_the_tracker_is_fitted_to_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = make_tracker(red=RED)
    monkeypatch.setattr(Tracker, "fit", lambda *_, **__: tracker)
    with EpisodeFile(path) as file:
        assert find_scene(file, "front").tracker is tracker
        assert find_scene(file, "front", track=False) == Scene()


@pytest.mark.parametrize(("camera", "brought"), [("front", True), ("wrist", False)])
def test_a_tracker_that_the_file_brings_along_is_the_one_if_it_is_of_the_camera(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, camera: str, brought: bool
) -> None:
    ours, fitted = make_tracker(red=RED), make_tracker(blue=RED)
    writer = EpisodeWriter(tmp_path / "tracked.hdf5", make_schema())
    writer.attach("tracker", {"anything": np.zeros(3)})
    writer.write(0, make_episode(0))
    writer.merge()
    monkeypatch.setattr(Tracker, "from_arrays", lambda arrays: ours if "anything" in arrays else None)
    monkeypatch.setattr(Tracker, "fit", lambda *_, **__: fitted)
    with EpisodeFile(tmp_path / "tracked.hdf5") as file:
        assert find_scene(file, camera).tracker is (ours if brought else fitted)


def test_the_tracker_of_the_training_data_comes_before_one_that_is_fitted(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = make_tracker(red=RED)
    writer = EpisodeWriter(tmp_path / "tracked.hdf5", make_schema())
    writer.attach("tracker", {"anything": np.zeros(3)})
    writer.write(0, make_episode(0))
    writer.merge()
    monkeypatch.setattr(Tracker, "from_arrays", lambda arrays: ours)
    monkeypatch.setattr(Tracker, "fit", fail(NothingToTrack("nobody should look")))
    monkeypatch.setattr(scene, "find_poses", lambda *_: None)
    with EpisodeFile(path) as file, EpisodeFile(tmp_path / "tracked.hdf5") as training:
        assert find_scene(file, "front", training).tracker is ours
        assert find_scene(file, "front", file, tracked=[training]).tracker is ours
        assert find_scene(file, "front", file).tracker is None


@pytest.mark.parametrize("error", [NothingToTrack("the camera moves."), MissingDependency("the camera moves.")])
def test_where_nothing_can_be_tracked_the_reason_is_kept(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(Tracker, "fit", fail(error))
    with EpisodeFile(path) as file:
        found = find_scene(file, "front")
    assert found.tracker is None and found.untracked == "the camera moves"


def test_things_need_an_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "find_spec", lambda name: None if name == "cv2" else True)
    with EpisodeFile(path) as file:
        assert 'pip install "gwm-sim[track]"' in find_scene(file, "front").untracked


def test_poses_come_from_the_training_data_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def poses(file: EpisodeFile, camera: str, episodes: list[int] | None = None) -> PoseLibrary:
        asked.append((file, camera, episodes))
        return drawn_poses(table())

    monkeypatch.setattr(PoseLibrary, "of", poses)
    with EpisodeFile(path) as file, EpisodeFile(path) as training:
        assert find_scene(file, "front", track=False).unposed == "no training data to look the robot up in"
        scene = find_scene(file, "front", training, [1], track=False)
    assert asked == [(training, "front", [1])] and scene.unposed == ""
    pictures = scene.empty(np.zeros((3, 2, 4), np.float32))
    assert pictures is not None and pictures.shape == (3, 2, *table().shape)
    assert Scene().empty(np.zeros((3, 2, 4))) is None


def test_a_robot_that_reports_nothing_has_no_poses(tmp_path: Path) -> None:
    mute = replace(
        make_schema(),
        telemetry_names=(),
        telemetry_units=(),
        telemetry_low=(),
        telemetry_high=(),
        commands=(),
        effector=(),
    )
    writer = EpisodeWriter(tmp_path / "mute.hdf5", mute)
    episode = make_episode(0)
    none: Array = np.zeros((len(episode) + 1, 0), np.float32)
    writer.write(0, replace(episode, telemetry=none))
    writer.merge()
    with EpisodeFile(tmp_path / "mute.hdf5") as file:
        assert "reports nothing" in find_scene(file, "front", file, track=False).unposed
