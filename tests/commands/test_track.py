"""`gwm track` finds things once, follows them episode by episode, and says what it did; a killed run goes on."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import CAMERA, make_episode, write_file
from layouts import write_robomimic
from trackers import EPISODES, LENGTH, ColorTracker, by_color, write_raw

from gwm_sim import cli
from gwm_sim.commands.track import TrackConfig
from gwm_sim.data.episode_file import EpisodeFile, parts_folder
from gwm_sim.data.schema import Schema
from gwm_sim.data.tracking import job, placement, readiness, tracked_file
from gwm_sim.data.tracking.job import track_episodes
from gwm_sim.data.tracking.metres.calibration import Calibration, Take, View
from gwm_sim.data.tracking.metres.positions import Places
from gwm_sim.data.tracking.tracker import NothingToTrack
from gwm_sim.errors import ConfigError, DataError, MissingDependency

assert by_color  # a fixture

pytestmark = pytest.mark.usefixtures("by_color")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "raw.hdf5")


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "raw.hdf5")


def die_after(monkeypatch: pytest.MonkeyPatch, episodes: int) -> None:
    """Interrupt the run when that many episodes are written."""
    write = tracked_file.write_tracked

    def write_or_die(*words: Any) -> Any:
        for done, k in enumerate(write(*words), 1):
            yield k
            if done == episodes:
                raise KeyboardInterrupt

    monkeypatch.setattr(job, "write_tracked", write_or_die)


def test_things_are_written_with_their_places_and_marked_as_tracked(raw: Path, tmp_path: Path) -> None:
    before, out = raw.read_bytes(), tmp_path / "tracked.hdf5"
    result = track_episodes(TrackConfig(raw, out))
    assert raw.read_bytes() == before
    assert [(thing.number, thing.name, thing.episodes) for thing in result.things] == [(0, "red", 9), (1, "blue", 9)]
    assert (result.episodes, result.tracked, result.frames) == (EPISODES, EPISODES, EPISODES * (LENGTH + 1))
    with EpisodeFile(out) as file, EpisodeFile(raw) as source:
        file.check()
        assert file.schema.object_names == ("red", "blue")
        assert (file.schema.provenance, file.schema.tracked, file.schema.object_frame) == (
            "tracked",
            ("front",),
            "image",
        )
        assert file.schema.settings["tracker"] == result.tracker
        assert file.schema.without_objects().differences(source.schema) == []
        for k, (episode, untracked) in enumerate(zip(file, source, strict=True)):
            truth = make_episode(k, LENGTH).objects
            assert truth is not None and episode.objects is not None
            seen = episode.sightings["front"]
            np.testing.assert_allclose(seen[:, 0, :2], CAMERA.project(truth[:, 0, :3]), atol=0.6)
            np.testing.assert_array_equal(episode.objects[..., :2], seen[..., :2])
            np.testing.assert_array_equal(episode.objects[..., 3:], np.broadcast_to([1, 0, 0, 0], (LENGTH + 1, 2, 4)))
            np.testing.assert_array_equal(episode.frames["front"], untracked.frames["front"])
            np.testing.assert_array_equal(episode.telemetry, untracked.telemetry)
            assert episode.labels.keys() == untracked.labels.keys()


def test_places_are_in_metres_where_these_can_be_had(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = dataclasses.replace(CAMERA, position=CAMERA.position + 0.1)
    calibration = Calibration("heights", {"front": View(fitted, fitted=True)}, None)
    episodes = []

    def located(take: Take, schema: Schema, given: Calibration) -> Places:
        assert given.to_json() == calibration.to_json() and schema.cameras["front"].position[2] == 1.0
        episodes.append(take)
        return Places(*(np.full((LENGTH + 1, 2, *rest), 0.5) for rest in ((3,), (), ())))

    monkeypatch.setattr(placement, "calibrate", lambda takes, schema: calibration)
    monkeypatch.setattr(placement, "locate", located)
    config = TrackConfig(raw, tmp_path / "tracked.hdf5")
    with pytest.MonkeyPatch.context() as patch:
        die_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            track_episodes(config)
    result = track_episodes(config)
    assert (result.object_frame, result.places, len(episodes)) == ("metres", str(calibration), EPISODES)
    with EpisodeFile(config.out) as file:
        assert file.schema.object_frame == "metres"
        np.testing.assert_array_equal(file.schema.cameras["front"].position, fitted.position)
        np.testing.assert_array_equal(file[3].objects, np.broadcast_to([0.5] * 3 + [1, 0, 0, 0], (LENGTH + 1, 2, 7)))
        np.testing.assert_array_equal(file[3].telemetry, make_episode(3, LENGTH).telemetry)


def test_a_killed_run_goes_on_with_the_things_that_it_had_found(
    raw: Path, tmp_path: Path, by_color: type[ColorTracker]
) -> None:
    config = TrackConfig(raw, tmp_path / "tracked.hdf5")
    with pytest.MonkeyPatch.context() as patch:
        die_after(patch, 4)
        with pytest.raises(KeyboardInterrupt, match="Finished episodes are kept"):
            track_episodes(config)
    assert not config.out.exists() and len(list(parts_folder(config.out).glob("*.hdf5"))) == 4
    with pytest.raises(ConfigError, match=r"made with other options: --objects not given, here 1"):
        track_episodes(TrackConfig(raw, config.out, objects=1))
    result = track_episodes(config)
    assert result.tracked == EPISODES - 4 and result.seconds_per_1000_frames is None
    assert len(by_color.fits) == 1
    whole = track_episodes(TrackConfig(raw, tmp_path / "whole.hdf5"))
    assert whole.digest == result.digest
    assert whole.seconds_per_1000_frames is not None
    assert track_episodes(config).tracked == 0
    assert left_behind(tmp_path) == ["tracked.hdf5", "whole.hdf5"]


def test_a_run_does_not_go_on_with_another_file(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "tracked.hdf5"
    die_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        track_episodes(TrackConfig(raw, out))

    def shifted(episode: Any) -> Any:
        episode.telemetry[:] += 0.01
        return episode

    other = write_raw(tmp_path / "other.hdf5", change=shifted)
    with pytest.raises(ConfigError, match="not the one that .*other.hdf5 holds"):
        track_episodes(TrackConfig(other, out))


def test_a_file_that_gwm_track_did_not_write_is_left_alone(raw: Path, tmp_path: Path) -> None:
    out = write_raw(tmp_path / "out.hdf5", 2)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="gwm track did not write it"):
        track_episodes(TrackConfig(raw, out))
    assert out.read_bytes() == before


def test_nothing_to_track_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def plain(episode: Any) -> Any:
        frames = episode.frames["front"]
        frames[(np.ptp(frames, axis=-1) > 30)] = frames[0, 0, 0]
        frames[:, :4, :4] = np.linspace(0, 255, len(frames))[:, None, None, None]  # the robot
        return episode

    raw, out = write_raw(tmp_path / "raw.hdf5", change=plain), tmp_path / "tracked.hdf5"
    assert cli.main(["track", str(raw), "--out", str(out)]) == cli.USAGE_ERROR
    assert "nothing before camera front moves but the robot" in capsys.readouterr().err
    assert left_behind(tmp_path) == []
    with pytest.raises(NothingToTrack, match="sheet.png shows what camera front sees, with rulers"):
        track_episodes(TrackConfig(raw, out, sheet=tmp_path / "sheet.png"))
    assert left_behind(tmp_path) == ["sheet.png"]


def test_three_episodes_are_too_few_unless_things_are_shown(tmp_path: Path) -> None:
    raw, out, clicks = write_raw(tmp_path / "raw.hdf5", 3), tmp_path / "tracked.hdf5", tmp_path / "clicks.csv"
    with pytest.raises(NothingToTrack, match="there are 3 episodes, and finding things takes 8"):
        track_episodes(TrackConfig(raw, out))
    assert left_behind(tmp_path) == []
    column, row = CAMERA.project(np.zeros(3))
    clicks.write_text(f"episode,frame,column,row,name\n1,0,{column},{row},mug\n", encoding="utf-8")
    result = track_episodes(TrackConfig(raw, out, click=clicks))
    assert [thing.name for thing in result.things] == ["red"]
    with pytest.raises(ConfigError, match=r"other options: --click \[\{"):
        track_episodes(TrackConfig(raw, out))


def test_dropped_things_are_left_out_and_the_others_keep_their_number(raw: Path, tmp_path: Path) -> None:
    result = track_episodes(TrackConfig(raw, tmp_path / "tracked.hdf5", drop=(0,), sheet=tmp_path / "sheet.png"))
    assert [(thing.number, thing.name) for thing in result.things] == [(1, "blue")]


def test_fewer_things_than_asked_for_are_a_caution(raw: Path, tmp_path: Path) -> None:
    result = track_episodes(TrackConfig(raw, tmp_path / "two.hdf5", objects=2, drop=(0,)))
    assert len(result.things) == 1 and result.cautions == []
    result = track_episodes(TrackConfig(raw, tmp_path / "five.hdf5", objects=5))
    assert result.cautions == ["--objects 5: 2 were found."]


def test_things_of_another_file_stay_the_same(raw: Path, tmp_path: Path, by_color: type[ColorTracker]) -> None:
    first, second = tmp_path / "first.hdf5", tmp_path / "second.hdf5"
    track_episodes(TrackConfig(raw, first, objects=1))
    result = track_episodes(TrackConfig(write_raw(tmp_path / "few.hdf5", 2), second, like=first))
    assert len(by_color.fits) == 1 and [thing.name for thing in result.things] == ["red"]
    assert result.cautions == []
    with EpisodeFile(first) as one, EpisodeFile(second) as other:
        assert one.schema.differences(other.schema) == []
    with pytest.raises(ConfigError, match="no file that gwm track wrote"):
        track_episodes(TrackConfig(raw, tmp_path / "third.hdf5", like=raw))


def test_things_of_another_file_are_followed_before_their_own_camera(raw: Path, tmp_path: Path) -> None:
    both, first, second = tmp_path / "both.hdf5", tmp_path / "first.hdf5", tmp_path / "second.hdf5"
    write_raw(both, 12, cameras=("side", "front"))
    track_episodes(TrackConfig(raw, first))
    assert track_episodes(TrackConfig(both, second, like=first)).camera == "front"
    with pytest.raises(ConfigError, match="things of .*first.hdf5 were found before camera front, not side"):
        track_episodes(TrackConfig(both, tmp_path / "third.hdf5", like=first, camera="side"))


def test_things_of_another_file_need_its_camera_and_its_pictures(raw: Path, tmp_path: Path) -> None:
    first, third = tmp_path / "first.hdf5", tmp_path / "third.hdf5"
    track_episodes(TrackConfig(raw, first))
    other = write_raw(tmp_path / "other.hdf5", 2, cameras=("side",))
    with pytest.raises(ConfigError, match="no camera 'front'; it has side"):
        track_episodes(TrackConfig(other, third, like=first))
    small = write_raw(tmp_path / "small.hdf5", 2, every=2)
    with pytest.raises(ConfigError, match="of 32 x 32 px, the things of .* were found in ones of 64 x 64"):
        track_episodes(TrackConfig(small, third, like=first))


def test_a_camera_that_was_moved_since_is_a_caution(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tmp_path / "first.hdf5"
    track_episodes(TrackConfig(raw, first))
    monkeypatch.setattr(readiness, "moved_since", lambda scene, background: f"camera {scene.camera} was moved")
    result = track_episodes(TrackConfig(raw, tmp_path / "second.hdf5", like=first))
    assert result.cautions == [
        f"camera front was moved since {first}: places will be off by that, and things may be lost."
    ]


def test_objects_are_replaced_only_on_request(raw: Path, tmp_path: Path) -> None:
    tracked, again = tmp_path / "tracked.hdf5", tmp_path / "again.hdf5"
    track_episodes(TrackConfig(raw, tracked))
    with pytest.raises(ConfigError, match=r"has tracked objects already \(red, blue\)\. --again"):
        track_episodes(TrackConfig(tracked, again))
    assert [thing.name for thing in track_episodes(TrackConfig(tracked, again, again=True, objects=1)).things] == [
        "red"
    ]
    with EpisodeFile(again) as file:
        assert file.schema.object_names == ("red",)


def test_measured_objects_are_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has measured objects already"):
        track_episodes(TrackConfig(write_file(tmp_path / "raw.hdf5", 1), tmp_path / "out.hdf5"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objects": 0}, "--objects must be at least 1"),
        ({"objects": 2, "click": Path("a.csv")}, "--objects and --click each say"),
        ({"drop": (1,), "like": Path("a.hdf5")}, "--drop and --like each say"),
        ({"drop": (-1,)}, "from 0; got -1"),
        ({"out": Path("raw.hdf5")}, "never changed"),
        ({"sheet": Path("a.jpg")}, "ends in .png"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrackConfig(**{"file": Path("raw.hdf5"), "out": Path("out.hdf5"), **options})


def test_bad_input_says_what_to_do(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no camera 'side'; it has front"):
        track_episodes(TrackConfig(raw, tmp_path / "out.hdf5", camera="side"))
    with pytest.raises(DataError, match="no such file"):
        track_episodes(TrackConfig(tmp_path / "absent.hdf5", tmp_path / "out.hdf5"))


def test_recordings_of_other_formats_are_sent_to_the_import(tmp_path: Path) -> None:
    write_robomimic(tmp_path / "demo.hdf5", lengths=(6, 6))
    with pytest.raises(DataError, match="gwm import robomimic .* --track imports and tracks"):
        track_episodes(TrackConfig(tmp_path / "demo.hdf5", tmp_path / "out.hdf5"))


def test_without_the_extra_the_message_installs_it(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(readiness, "find_spec", lambda package: None if package == "cv2" else object())
    with pytest.raises(MissingDependency, match=r'needs cv2, .* pip install "gwm-sim\[track\]"'):
        track_episodes(TrackConfig(raw, tmp_path / "out.hdf5"))


def test_the_command_says_what_it_found(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers, out = tmp_path / "n.json", tmp_path / "tracked.hdf5"
    assert cli.main(["track", str(raw), "--out", str(out), "--json", str(numbers), "--drop", "1"]) == 0
    printed, told = capsys.readouterr().out, json.loads(numbers.read_text(encoding="utf-8"))
    assert "0 red  8 x 8 px, in 9 of 9 episodes and 100.0% of the frames, confidence 0.97" in printed
    assert "left out: something grey: it never moves" in printed
    assert "in image coordinates" in printed and "nothing tells metres" in printed
    assert f"digest {told['digest']}" in printed and "--click FILE" in printed
    assert told["things"][0]["seen"] == 1.0 and math.isfinite(told["seconds_per_1000_frames"])


def test_an_import_can_be_tracked_in_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], by_color: type[ColorTracker]
) -> None:
    write_robomimic(tmp_path / "demo.hdf5")
    out, numbers = tmp_path / "out" / "data.hdf5", tmp_path / "n.json"
    words = ["import", "robomimic", str(tmp_path / "demo.hdf5"), "--out", str(out), "--track", "--json", str(numbers)]
    with pytest.MonkeyPatch.context() as patch:
        die_after(patch, 4)
        assert cli.main(words) == cli.INTERRUPTED
    assert "Finished episodes are kept" in capsys.readouterr().err
    with EpisodeFile(out) as file:
        assert file.schema.object_names == () and len(file) == 11
    assert cli.main(words) == 0
    printed, told = capsys.readouterr().out, json.loads(numbers.read_text(encoding="utf-8"))
    assert "nothing new to import" in printed and "tracked 7 episodes" in printed and len(by_color.fits) == 1
    assert left_behind(out.parent) == ["data.hdf5"]
    with EpisodeFile(out) as file:
        assert file.schema.provenance == "tracked" and file.digest() == told["digest"]
    assert cli.main(words) == 0
    assert "nothing new to import" in capsys.readouterr().out and len(by_color.fits) == 1
    assert cli.main([*words, "--size", "32"]) == cli.USAGE_ERROR
    assert "height: 64, here 32" in capsys.readouterr().err


def test_an_import_stands_where_nothing_can_be_tracked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_robomimic(tmp_path / "demo.hdf5", lengths=(6, 6, 6))
    out = tmp_path / "out" / "data.hdf5"
    words = ["import", "robomimic", str(tmp_path / "demo.hdf5"), "--out", str(out)]
    assert cli.main([*words, "--track"]) == cli.USAGE_ERROR
    told = capsys.readouterr()
    assert "imported 3 episodes" in told.out
    assert "nothing was tracked, the import stands:" in told.err and "there are 3 episodes" in told.err
    assert left_behind(out.parent) == ["data.hdf5"]
    assert cli.main(words) == 0
