"""The closing report says in words what its numbers mean, and says so when it cannot know."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from color_trackers import drawn_poses, make_tracker
from drawings import make_episode, make_schema, table

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.tracking.poses import PoseLibrary
from gwm_sim.data.tracking.tracker import NothingToTrack, Tracker
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training import summary
from gwm_sim.training.build import build
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data
from gwm_sim.training.dataset.checks import episode_files
from gwm_sim.training.summary import (
    FILES,
    HORIZONS,
    WINDOWS,
    choose,
    closing_report,
    copying,
    keeping,
    listening,
    looked_at,
    looking_up,
    moving,
    reconstructing,
    standing,
)


def test_it_measures_the_validation_episodes_alone(tiny_data: Path, tiny_checkpoint: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    with EpisodeFile(tiny_data) as file:
        validation = [k % 10 == 9 for k in range(len(file))]
    report = closing_report(model, episode_files([tiny_data]), validation)
    (numbers,) = report["files"]
    assert numbers["file"] == "tiny.hdf5"
    assert numbers["episodes"] == 5
    assert numbers["windows"] == 5 * (12 - CONTEXT + 1)
    assert set(numbers["horizons"]) == {"1", "5"}  # fewer than 20 windows reach 10 steps
    assert len(report["words"]) >= 3
    assert "listens to the actions is not known" in report["words"][0]


def test_of_many_files_some_are_looked_at(
    tiny_data: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[EpisodeFile, list[int], int]] = []

    def measured(model: WorldModel, file: EpisodeFile, episodes: list[int], most: int) -> dict[str, Any]:
        asked.append((file, episodes, most))
        return {"episodes": len(episodes), "windows": 0, "horizons": {}}

    monkeypatch.setattr(summary, "measure_file", measured)
    monkeypatch.setattr(summary, "FILES", 3)
    model, files = WorldModel.load(tiny_checkpoint, "cpu"), [EpisodeFile(tiny_data) for _ in range(7)]
    report = closing_report(model, files, [k % 50 == number for number in range(7) for k in range(50)])
    assert asked == [(files[number], [number], WINDOWS // 3) for number in (0, 3, 6)]
    assert len(report["files"]) == 3
    assert report["words"][0] == "3 of 7 files were looked at, spread over them."
    asked.clear()
    report = closing_report(model, files[:3], [True] * 150)
    assert asked == [(file, list(range(50)), WINDOWS // 3) for file in files[:3]]
    assert len(report["words"]) == 3


def test_files_of_which_nothing_was_left_for_validation_give_way_to_others(tiny_data: Path) -> None:
    files, none = [EpisodeFile(tiny_data)] * 40, [False] * 50
    few = [*none[1:], True]
    assert looked_at(files[:FILES], none * FILES) == list(range(FILES))
    assert looked_at(files, (none + few) * 20 + few) == sorted({round(x) * 2 + 1 for x in np.linspace(0, 19, FILES)})
    assert looked_at(files, none * 39 + few) == [39]


def test_too_few_episodes_are_named(tiny_data: Path, tiny_checkpoint: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    report = closing_report(model, episode_files([tiny_data, tiny_data]), [k == 3 for k in range(100)])
    assert all("too little was left for validation" in sentence for sentence in report["words"])
    assert report["words"][0].startswith("tiny.hdf5: ")


def test_windows_stay_in_their_episodes_and_are_not_too_many() -> None:
    lengths = [400, 12, 3]
    slots = choose(lengths, [0, 1, 2], 100)
    assert len(slots) == 100
    assert {slot.episode for slot in slots} == {0, 1}
    assert slots == sorted(slots)
    for slot in slots:
        assert slot.steps in HORIZONS
        assert slot.start + CONTEXT - 1 + slot.steps <= lengths[slot.episode]


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(2.3, "it listens"), (1.2, "it hardly listens"), (1.0, "it is deaf"), (None, "is not known")],
)
def test_the_shuffle_ratio_is_judged(ratio: float | None, verdict: str) -> None:
    assert verdict in listening(ratio)


def column(fg_psnr: float | None, permanence: float | None = None) -> dict[str, float | int | None]:
    floor = None if fg_psnr is None else 20.0
    return {
        "fg_psnr": fg_psnr,
        "fg_psnr_floor": floor,
        "psnr": 30.0,
        "psnr_floor": 31.0,
        "psnr_scene_floor": None,
        "object_permanence": permanence,
        "visible_objects": 0 if permanence is None else 9,
    }


def test_copying_ends_at_the_first_horizon_that_is_no_better() -> None:
    assert "up to 5 steps (0.5 s)." in copying({1: column(25), 5: column(21), 10: column(19), 25: column(22)}, 10)
    assert "up to 5 steps (0.2 s), the farthest" in copying({1: column(25), 5: column(21)}, 25)
    later = {1: column(19), 5: column(21), 10: column(22)}
    assert "from 5 to 10 steps (1.0 s), the farthest that was tried, and worse before" in copying(later, 10)
    assert "at 10 steps (1.0 s)" in copying({5: column(19), 10: column(21)}, 10)
    assert "no better than copying" in copying({1: column(None)}, 10)  # no foreground: the whole picture counts


def test_objects_are_kept_lost_or_unknown() -> None:
    assert "keeps objects: after 10 steps, 95%" in keeping({1: column(25, 1.0), 10: column(25, 0.95)}, ("red",))
    assert "loses objects: after 10 steps, 40%" in keeping({1: column(25, 1.0), 10: column(25, 0.4)}, ("red",))
    assert "no colour in their names (mug)" in keeping({1: column(25)}, ("mug",))
    assert "is not known: hardly any that was found moved" in keeping({1: column(25)}, ())
    assert "is not known: the camera moves" in keeping({1: column(25)}, (), "the camera moves")


def seen(**numbers: float | int | None) -> dict[str, float | int | None]:
    """A column of what a tracker tells."""
    usual = {"moved_things": 9, "moved_error_px": 4.2, "moved_error_widths": 0.5, "moved_error_widths_floor": 2.0}
    overlap = {"robot_overlap": 0.8, "robot_overlap_floor": 0.3, "robot_overlap_scene_floor": None}
    return {**column(25), **usual, "kept": 0.75, "kept_floor": 0.1, **overlap, **numbers}


def test_things_that_moved_are_followed_or_not_beside_copying() -> None:
    told = moving({1: seen(moved_error_widths=0.1), 10: seen()})
    assert told.startswith(
        "it follows things that move: after 10 steps they are 0.5 of their widths off (4.2 px), 2.0 "
    )
    assert told.endswith("75% are kept, 10% by copying.")
    assert "does not follow" in moving({10: seen(moved_error_widths=2.0)})


def test_the_overlap_of_the_robot_stands_beside_the_floors_that_are_known() -> None:
    (told,) = standing({1: seen(), 10: seen(robot_overlap=None)})
    assert told == "imagined and true robot overlap by 80% after 1 steps (30% where the last frame is copied)."
    (both,) = standing({10: seen(robot_overlap_scene_floor=0.7)})
    assert both.endswith("(30% where the last frame is copied, 70% looked up by telemetry).")
    assert standing({1: seen(robot_overlap=None)}) == []


def test_what_reconstructions_keep_is_said_where_things_are_known() -> None:
    (kept,) = reconstructing({"kept": 0.99, "fg_psnr": 27.31})
    assert kept == "reconstructions keep 99% of the things (foreground 27.3 dB)."
    (lost,) = reconstructing({"kept": 0.18, "fg_psnr": 15.0})
    assert lost.startswith("reconstructions keep 18% of the things: the others are lost before")
    assert reconstructing({"kept": None, "fg_psnr": 15.0}) == []


def test_pictures_tell_of_other_actions_beside() -> None:
    told = listening(2.3, pictures={"shuffled": 1.5, "zero": 1.25, "repeated": None})
    assert told.endswith(" In the pictures: 1.50 with those of other windows, 1.25 with zeros.")


def test_the_empty_scene_is_a_floor_where_it_is_known() -> None:
    unknown = {1: column(25), 5: column(25)}
    assert looking_up(unknown, 10) == []
    known = {
        steps: {**column(25), "psnr_scene_floor": 26.0, "fg_psnr_scene_floor": floor}
        for steps, floor in ((1, 24), (5, 26))
    }
    (told,) = looking_up(known, 10)
    assert told == ("it is better than the empty scene with the robot looked up by telemetry up to 1 steps (0.1 s).")
    assert "may do as much" in copying({1: column(19), 5: column(21)}, 10)
    assert "may do as much" not in copying(
        {steps: {**known[1], "fg_psnr": value} for steps, value in ((1, 19), (5, 21))}, 10
    )


def test_it_looks_for_things_where_nobody_measured_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings without objects: a fresh model, the true colours of the things, and the empty scene as poses."""
    path = tmp_path / "bare.hdf5"
    writer = EpisodeWriter(path, replace(make_schema(), object_names=(), tasks=()))
    for index in range(12):
        writer.write(index, replace(make_episode(index), objects=None, labels={}))
    writer.merge()
    config = TrainConfig(data=(path,), out=tmp_path / "fresh", preset="tiny", steps=1)
    model = build(config, PRESETS["tiny"], load_training_data([path]))
    asked = []

    def poses(file: EpisodeFile, camera: str, episodes: list[int] | None = None) -> PoseLibrary:
        asked.append(episodes)
        return drawn_poses(table())

    monkeypatch.setattr(Tracker, "fit", lambda *_, **__: make_tracker(red=(203, 10, 10), blue=(10, 26, 217)))
    monkeypatch.setattr(PoseLibrary, "of", poses)
    report = closing_report(model, episode_files([path]), [k % 2 == 1 for k in range(12)])
    assert asked == [[0, 2, 4, 6, 8, 10]]  # episodes that were trained on alone
    words = " ".join(report["words"])
    for said in ("things that move: after 10 steps", "robot overlap by", "copying the last frame", "empty scene with"):
        assert said in words
    monkeypatch.setattr(Tracker, "fit", nothing)
    assert "whether it keeps things is not known: all is still" in " ".join(
        closing_report(model, episode_files([path]), [True] * 12)["words"]
    )


def nothing(*_: object, **__: object) -> Tracker:
    raise NothingToTrack("all is still.")
