"""What a model learns from: objects that were measured or tracked, or pictures alone; and it says which."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exporting import export
from recordings import make_episode, make_schema, write_file
from tracked import DIGEST, tracked_schema, write_tracked

from gwm_sim import cli
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import PRESETS, Route
from gwm_sim.training.dataset import load_training_data


def write_plain(path: Path, schema: Schema | None = None, indices: Iterable[int] = range(12)) -> Path:
    """Episodes that say nothing of objects, or have measured ones of a schema."""
    schema = schema or make_schema().without_objects()
    writer = EpisodeWriter(path, schema)
    for k in indices:
        episode = make_episode(k)
        writer.write(k, episode if schema.object_names else dataclasses.replace(episode, objects=None))
    writer.merge()
    return path


def train(out: Path, *options: str | Path) -> WorldModel:
    words = ["train", "--out", out, "--preset", "tiny", "--steps", "8", "--device", "cpu", "--name", "own", *options]
    assert cli.main([str(word) for word in words]) == 0
    return WorldModel.load(out, "cpu")


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recordings here have few frames each."""
    monkeypatch.setitem(PRESETS, "tiny", dataclasses.replace(PRESETS["tiny"], frames_per_window=4))


def test_tracked_metres_are_learned_as_measured_ones_are(tmp_path: Path) -> None:
    measured = load_training_data([write_file(tmp_path / "a.hdf5")])
    tracked = load_training_data([write_tracked(tmp_path / "b.hdf5")])
    inside = measured.objects.clamp(tracked.objects_low, tracked.objects_high)  # the scene is that of what was seen
    np.testing.assert_array_equal(tracked.objects[:, 0], inside[:, 0])
    assert tracked.objects[:, 1].isnan().all(), "the blue thing is never seen"
    assert tracked.confidence[:, 0].unique().tolist() == pytest.approx([0.0, 0.4])
    assert tracked.schema.object_names == ("red", "blue") and tracked.schema.provenance == "tracked"


@pytest.mark.parametrize(("frame", "path"), [("image", "video"), ("metres", "video")])
def test_pictures_alone_are_learned_where_objects_are_left_out(tmp_path: Path, frame: str, path: Route) -> None:
    data = load_training_data([write_tracked(tmp_path / "a.hdf5", object_frame=frame)], path=path)
    assert data.objects.shape[1] == 0 and not data.schema.object_names and not data.schema.tracked
    assert data.stored.object_names == ("red", "blue")


def test_objects_that_are_asked_for_must_be_there(tmp_path: Path) -> None:
    plain = write_plain(tmp_path / "plain.hdf5")
    with pytest.raises(ConfigError, match=r"plain\.hdf5 does not say: find them by gwm track"):
        load_training_data([plain], path="objects")
    with pytest.raises(ConfigError, match="--motion needs objects"):
        load_training_data([plain], motion=[plain])


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (make_schema(), r"provenance measured, there tracked; tracker None, there 0123"),
        (make_schema().without_objects(), r"objects \(\), there \('red', 'blue'\)"),
        (dataclasses.replace(make_schema(), object_names=("cup", "blue")), r"objects \('cup', 'blue'\), there"),
    ],
)
def test_things_that_differ_are_not_mixed(schema: Schema, message: str, tmp_path: Path) -> None:
    first, other = write_tracked(tmp_path / "a.hdf5"), write_plain(tmp_path / "b.hdf5", schema)
    with pytest.raises(ConfigError, match=rf"b\.hdf5 and .*a\.hdf5 do not show the same things: .*{message}") as raised:
        load_training_data([first, other])
    assert f"gwm track {other} --out FILE --like {first}" in str(raised.value)
    assert load_training_data([first, other], path="video").episodes == 24


@pytest.mark.parametrize("change", [{"object_frame": "image"}, {"settings": {"tracker": "other"}}])
def test_other_trackers_and_frames_are_not_mixed(change: dict[str, Any], tmp_path: Path) -> None:
    files = [write_tracked(tmp_path / "a.hdf5"), write_tracked(tmp_path / "b.hdf5", **change)]
    with pytest.raises(ConfigError, match="do not show the same things: (frame image|tracker other), there"):
        load_training_data(files)


def test_what_was_imagined_goes_with_what_was_learned() -> None:
    imagined = dataclasses.replace(tracked_schema(tracked=()), settings={"imagined": {}, "tracker": DIGEST})
    assert imagined.other_things(tracked_schema()) == []
    assert dataclasses.replace(make_schema(), settings={"imagined": {}}).other_things(make_schema()) == []


def test_a_model_of_tracked_objects_says_who_found_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = train(tmp_path / "world", "--data", write_tracked(tmp_path / "a.hdf5"), "--path", "objects")
    assert model.config.dynamics.objects == 2 and model.config.schema.provenance == "tracked"
    card = (tmp_path / "world/README.md").read_text(encoding="utf-8")
    assert f"red, blue: tracked in the pictures of front, never measured (tracker `{DIGEST}`) |" in card
    assert "| raw recordings | no |" in card
    report = json.loads((tmp_path / "world/report.json").read_text(encoding="utf-8"))
    assert report["objects"] == {
        "names": ["red", "blue"], "provenance": "tracked", "cameras": ["front"], "frame": "metres",
        "tracker": DIGEST, "learned": True, "found_in_training": None,
    }  # fmt: skip
    assert "pictures alone" not in capsys.readouterr().out
    with EpisodeFile(tmp_path / "world" / BANK_FILE) as bank:
        assert not bank.schema.object_names and bank[0].objects is None


def test_a_model_of_raw_recordings_says_so_and_what_would_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = export("raw", write_file(tmp_path / "a.hdf5"), tmp_path / "raw.hdf5")
    model = train(tmp_path / "world", "--data", raw)
    assert model.config.dynamics.state and model.config.schema.settings["raw"] is True
    printed = capsys.readouterr().out
    assert "learning the robot alone: no things can be tracked in these data: " in printed
    card = (tmp_path / "world/README.md").read_text(encoding="utf-8")
    assert "| objects | none in the data: robot and residual are learned; no things can be tracked in these" in card
    assert "| raw recordings | yes: made by `gwm export raw` |" in card
    assert json.loads((tmp_path / "world/report.json").read_text(encoding="utf-8"))["raw"] is True


def test_raw_recordings_beside_others_are_not_called_raw(tmp_path: Path) -> None:
    raw = export("raw", write_file(tmp_path / "a.hdf5"), tmp_path / "raw.hdf5")
    with EpisodeFile(raw) as file:
        writer = EpisodeWriter(tmp_path / "own.hdf5", dataclasses.replace(file.schema, settings={}))
        for k, episode in enumerate(file):
            writer.write(k, episode)
        writer.merge()
    assert load_training_data([raw, raw]).schema.settings["raw"] is True
    assert "raw" not in load_training_data([raw, writer.path]).schema.settings


def test_pictures_alone_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_file(tmp_path / "a.hdf5")
    options = ("--data", data, "--path", "video")
    model = train(tmp_path / "world", *options)
    assert model.config.dynamics.from_pixels and not model.config.schema.object_names
    assert "--path video: where red, blue are is left out" in capsys.readouterr().out
    card = (tmp_path / "world/README.md").read_text(encoding="utf-8")
    assert "red, blue: measured; left out: learned from pictures alone" in card
    assert train(tmp_path / "world", *options, "--resume").digest() == model.digest()
    with EpisodeFile(tmp_path / "world" / BANK_FILE) as bank:
        assert not bank.schema.object_names
    words = ["train", "--data", str(data), "--out", str(tmp_path / "world"), "--preset", "tiny", "--steps", "8"]
    assert cli.main([*words, "--device", "cpu", "--name", "own", "--resume"]) == cli.USAGE_ERROR
    assert "other settings (path)" in capsys.readouterr().err


def test_runs_from_before_there_was_a_choice_are_resumed(tmp_path: Path) -> None:
    options = ("--data", write_file(tmp_path / "a.hdf5"))
    model = train(tmp_path / "world", *options)
    run = tmp_path / "world/run.json"
    before = json.loads(run.read_text(encoding="utf-8"))
    assert before["options"].pop("path") == "auto" and before["options"].pop("track") is True
    assert before.pop("things") == {"tracked": [], "why": "", "seconds": 0.0}
    run.write_text(json.dumps(before), encoding="utf-8")
    assert train(tmp_path / "world", *options, "--resume").digest() == model.digest()


def test_things_in_the_picture_are_learned(tmp_path: Path) -> None:
    model = train(tmp_path / "world", "--data", write_tracked(tmp_path / "a.hdf5", object_frame="image"))
    c = model.config.dynamics
    assert c.object_frame == "image" and c.objects == 2 and c.points and not c.effector and c.residual
    card = (tmp_path / "world/README.md").read_text(encoding="utf-8")
    assert "never measured" in card and "left out" not in card
