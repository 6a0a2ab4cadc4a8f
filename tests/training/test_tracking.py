"""Training on recordings that say nothing of objects finds them first, once, and says what came of it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import CAMERA
from trackers import EPISODES, ColorTracker, by_color, write_raw

from gwm_sim import cli
from gwm_sim.commands.eval import EvalConfig, look_around
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.schema import TRACKER
from gwm_sim.data.tracking import job, placement, readiness, tracked_file
from gwm_sim.data.tracking.job import Job, track
from gwm_sim.data.tracking.metres.calibration import Calibration, Take, View
from gwm_sim.data.tracking.metres.positions import Places
from gwm_sim.errors import ConfigError, MissingDependency
from gwm_sim.evaluation import scene
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training import pipeline, tracking
from gwm_sim.training.config import TrainConfig
from gwm_sim.training.pipeline import train
from gwm_sim.training.tracking import Recordings

assert by_color  # a fixture

pytestmark = pytest.mark.usefixtures("by_color", "in_metres", "untrained")


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learn nothing and measure nothing, which take the most of the time."""
    for name in ("run_phases", "calibrate"):
        monkeypatch.setattr(pipeline, name, lambda *_, **__: None)
    monkeypatch.setattr(pipeline, "closing_report", lambda *_: {"words": [], "files": []})


@pytest.fixture
def in_metres(by_color: type[ColorTracker], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let places be known in metres: of the camera straight above, on the table."""

    def located(take: Take, *_: Any) -> Places:
        (seen,) = take.sightings.values()
        xyz = np.zeros((*seen.centre.shape[:2], 3))
        xyz[..., :2] = (seen.centre - CAMERA.width / 2) / 160 * (1, -1)
        return Places(xyz, seen.confidence, seen.confidence)

    calibration = Calibration("heights", {"front": View(CAMERA, fitted=True)}, None)
    monkeypatch.setattr(placement, "calibrate", lambda takes, schema: calibration)
    monkeypatch.setattr(placement, "locate", located)


def config_for(*data: Path, out: Path, **options: Any) -> TrainConfig:
    usual: dict[str, Any] = {"preset": "tiny", "steps": 8, "device": "cpu", "name": "own"}
    return TrainConfig(data=data, out=out, **(usual | options))


def run(config: TrainConfig) -> tuple[dict[str, Any], list[str]]:
    told: list[str] = []
    return train(config, told.append), told


def test_things_are_found_before_anything_is_learned(tmp_path: Path, by_color: type[ColorTracker]) -> None:
    raw, out = write_raw(tmp_path / "bench.hdf5"), tmp_path / "world"
    before = raw.read_bytes()
    report, told = run(config_for(raw, out=out))
    model = WorldModel.load(out, "cpu")
    assert raw.read_bytes() == before and len(by_color.fits) == 1
    assert model.config.dynamics.objects == 2 and model.config.schema.object_names == ("red", "blue")
    assert (out / "tracked/bench.png").is_file()
    with EpisodeFile(out / "tracked/bench.hdf5") as copy, EpisodeFile(raw) as given:
        assert copy.schema.object_names == ("red", "blue") and len(copy) == EPISODES
        tracker, digest = copy.schema.settings[TRACKER], given.digest()[:16]
    (line,) = (line for line in told if line.startswith("learning"))
    assert "where red, blue are, in metres: found by tracking, which took" in line and "bench.png shows them" in line
    run_file = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert run_file["data"] == digest and run_file["things"]["tracked"] == ["bench.hdf5"]
    assert (report["objects"]["tracker"], report["objects"]["learned"]) == (tracker, True)
    assert report["objects"]["found_in_training"]["tracked"] == ["bench.hdf5"]
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"never measured, when it was trained (tracker `{tracker}`)" in card and digest in card
    with EpisodeFile(out / "bank.hdf5") as bank:
        assert not bank.schema.object_names


def test_the_same_things_are_followed_in_all_files(tmp_path: Path, by_color: type[ColorTracker]) -> None:
    first, second = (write_raw(tmp_path / f"{day}/bench.hdf5", count) for day, count in (("a", 9), ("b", 2)))
    tracked = tmp_path / "tracked.hdf5"
    track(Job(file=first, out=tracked))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracking, "check_claim", stop)
        with pytest.raises(Stop):
            run(config_for(first, second, out=tmp_path / "no"))
    assert not (tmp_path / "no").exists()
    prepared = tracking.prepare(config_for(first, second, out=tmp_path / "both"), None, print)
    assert [path.name for path in prepared.copies] == ["bench.hdf5", "bench-2.hdf5"]
    assert prepared.config.data == prepared.copies and len(by_color.fits) == 2
    prepared = tracking.prepare(config_for(tracked, second, out=tmp_path / "one"), None, print)
    assert prepared.config.data == (tracked, tmp_path / "one/tracked/bench.hdf5") and len(by_color.fits) == 2
    with EpisodeFile(tracked) as one, EpisodeFile(prepared.config.data[1]) as other:
        assert one.schema.other_things(other.schema) == []


class Stop(Exception):
    """Ends a run where a test has seen enough."""


def stop(*_: Any) -> Any:
    raise Stop


def kill(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_model_that_is_gone_on_from_has_its_things_followed(tmp_path: Path, by_color: type[ColorTracker]) -> None:
    first, second = (write_raw(tmp_path / f"{name}.hdf5", 9) for name in ("first", "second"))
    run(config_for(first, out=tmp_path / "world"))
    report, _ = run(config_for(second, out=tmp_path / "more", init=str(tmp_path / "world")))
    assert len(by_color.fits) == 1 and "objects" in report["init"]["kept"]


def test_what_was_killed_while_tracking_goes_on(tmp_path: Path, by_color: type[ColorTracker]) -> None:
    config = config_for(write_raw(tmp_path / "raw.hdf5"), out=tmp_path / "world", resume=True)
    with pytest.MonkeyPatch.context() as patch:
        write = tracked_file.write_tracked

        def write_or_die(*words: Any) -> Any:
            for k in write(*words):
                yield k
                if k == 3:
                    raise KeyboardInterrupt

        patch.setattr(job, "write_tracked", write_or_die)
        with pytest.raises(KeyboardInterrupt, match="Finished episodes are kept"):
            run(config)
    seconds = json.loads((config.out / "tracked/seconds.json").read_text(encoding="utf-8"))["seconds"]
    assert seconds > 0 and not (config.out / "run.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "run_phases", kill)
        with pytest.raises(KeyboardInterrupt, match="the same command with --resume goes on"):
            run(config)
    assert len(by_color.fits) == 1
    things = json.loads((config.out / "run.json").read_text(encoding="utf-8"))["things"]
    assert things["seconds"] >= round(seconds, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readiness, "require", stop)  # all is tracked: the extra is not needed any more
        report, _ = run(config)
    assert report["objects"]["found_in_training"] | {"places": ""} == things | {"places": ""}
    other = write_raw(tmp_path / "other.hdf5", EPISODES + 1)
    with pytest.raises(ConfigError, match=r"other settings \(data\)"):
        run(dataclasses.replace(config, data=(other,)))
    with pytest.raises(ConfigError, match=r"other settings \(track, data\)"):
        run(dataclasses.replace(config, data=(other,), track=False))


def test_tracking_can_be_left_out(tmp_path: Path, by_color: type[ColorTracker]) -> None:
    raw, out = write_raw(tmp_path / "raw.hdf5"), tmp_path / "world"
    report, told = run(config_for(raw, out=out, track=False))
    assert by_color.fits == [] and not (out / "tracked").exists()
    assert any("say nothing of objects, and --no-track leaves it at that" in line for line in told)
    assert report["objects"] == {
        "names": [], "learned": False, "why": "these data say nothing of objects, and --no-track leaves it at that",
    }  # fmt: skip
    with EpisodeFile(raw) as file:
        assert json.loads((out / "run.json").read_text(encoding="utf-8"))["data"] == file.digest()[:16]


@pytest.mark.parametrize("lack", ["episodes", "extra"])
def test_where_nothing_can_be_tracked_training_goes_on_without_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lack: str
) -> None:
    raw, out = write_raw(tmp_path / "raw.hdf5", 5 if lack == "episodes" else EPISODES), tmp_path / "world"
    if lack == "extra":

        def require() -> None:
            raise MissingDependency('tracking needs cv2. Run: pip install "gwm-sim[track]"')

        monkeypatch.setattr(readiness, "require", require)
    why = {"episodes": "there are 5 episodes, and finding things takes 8", "extra": 'pip install "gwm-sim[track]"'}[
        lack
    ]
    config = config_for(raw, out=out)
    report, told = run(config)
    (line,) = (line for line in told if line.startswith("learning"))
    assert why in line and ("gwm track has these options" in line) == (lack == "episodes")
    assert not report["objects"]["names"] and why in report["objects"]["why"]
    assert why in (out / "README.md").read_text(encoding="utf-8")
    monkeypatch.setattr(readiness, "require", lambda: None)  # what was begun without things goes on without
    monkeypatch.setattr(tracking, "follow_all", stop)
    again, _ = run(dataclasses.replace(config, resume=True))
    assert again["model_hash"] == report["model_hash"]
    monkeypatch.undo()
    with (
        pytest.raises(ConfigError, match="--path objects needs to know where things are")
        if lack == "episodes"
        else (pytest.raises(Stop))
    ):
        if lack == "extra":
            monkeypatch.setattr(tracking, "follow_all", stop)
        tracking.prepare(config_for(raw, out=tmp_path / "asked", path="objects"), None, print)


def test_a_world_without_things_stays_one(tmp_path: Path, by_color: type[ColorTracker]) -> None:
    raw = write_raw(tmp_path / "raw.hdf5")
    _, told = run(config_for(raw, out=tmp_path / "video", path="video"))
    assert "--path video: learning from pictures alone" in told
    run(config_for(raw, out=tmp_path / "alone", track=False))
    _, told = run(config_for(raw, out=tmp_path / "more", init=str(tmp_path / "alone")))
    assert by_color.fits == [] and any("knows of none either; --path objects looks for some" in line for line in told)


def test_tracking_is_part_of_the_minutes_and_no_steps(tmp_path: Path) -> None:
    config = config_for(tmp_path / "raw.hdf5", out=tmp_path, steps=None, minutes=10.0)
    assert Recordings(config, seconds=120.0).learning.minutes == pytest.approx(8.0)
    assert Recordings(config, seconds=3600.0).learning.minutes == pytest.approx(5.0)
    steps = config_for(tmp_path / "raw.hdf5", out=tmp_path)
    assert Recordings(steps, seconds=120.0).learning == steps


def test_an_evaluation_uses_the_tracker_that_training_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_color: type[ColorTracker]
) -> None:
    raw, test, out = write_raw(tmp_path / "raw.hdf5"), write_raw(tmp_path / "test.hdf5", 2), tmp_path / "world"
    run(config_for(raw, out=out))
    monkeypatch.setattr("gwm_sim.data.tracking.tracker.Tracker", ColorTracker)
    looked_up: list[Path] = []
    monkeypatch.setattr(scene, "find_poses", lambda training, camera, episodes: looked_up.append(training.path))
    model = WorldModel.load(out, "cpu")
    with EpisodeFile(out / "tracked/raw.hdf5") as copy, EpisodeFile(test) as file:
        for training, poses in ((None, copy.path), (raw, raw)):
            found = look_around(EvalConfig(str(out), test, training), file, model, lambda share, text: None)
            assert found.tracker is not None and found.tracker.digest() == copy.schema.settings[TRACKER]
            assert looked_up.pop() == poses
    assert len(by_color.fits) == 1


def test_the_command_takes_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write_raw(tmp_path / "raw.hdf5")
    words = ["train", "--data", raw, "--out", tmp_path / "world", "--preset", "tiny", "--steps", "4", "--device", "cpu"]
    assert cli.main([*map(str, words), "--no-track"]) == 0
    assert "--no-track leaves it at that" in capsys.readouterr().out
