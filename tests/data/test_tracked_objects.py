"""What was tracked is stored as that, with how surely, and is never called measured, wherever it goes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from exporting import export
from recordings import make_episode, make_schema, write_file
from tracked import ARRAYS, DIGEST, tracked_episode, tracked_schema, write_tracked

from gwm_sim import cli
from gwm_sim.commands.inspect import InspectConfig, main
from gwm_sim.commands.label import LabelConfig, label_episodes
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.inspection import Sighted, summarize
from gwm_sim.data.schema import Schema
from gwm_sim.errors import DataError


def test_sightings_come_back_with_their_episode(tmp_path: Path) -> None:
    path = write_tracked(tmp_path / "a.hdf5", range(3), tracked=("front", "wrist"))
    with EpisodeFile(path) as file:
        assert file.schema.provenance == "tracked"
        for seed, episode in enumerate(file):
            for camera in ("front", "wrist"):
                np.testing.assert_array_equal(episode.sightings[camera], tracked_episode(seed).sightings["front"])
        part = file.read(2, 1, 4, cameras=())
        np.testing.assert_array_equal(part.sightings["wrist"], file[2].sightings["wrist"][1:4])


def test_measured_files_keep_their_schema(tmp_path: Path) -> None:
    told = make_schema().to_json()
    assert not told.keys() & {"tracked", "object_frame"}
    schema = Schema.from_json(json.loads(json.dumps(told)))
    assert (schema.provenance, schema.object_frame, schema.tracked) == ("measured", "metres", ())
    with EpisodeFile(write_file(tmp_path / "a.hdf5", range(1))) as file:
        assert file[0].sightings == {} and file[0].objects_confidence is None and file.attachments == []


def test_a_schema_says_what_was_tracked_where() -> None:
    schema = tracked_schema(object_frame="image", tracked=("front", "wrist"))
    assert not Schema.from_json(json.loads(json.dumps(schema.to_json()))).differences(schema)
    assert dataclasses.replace(tracked_schema(tracked=()), settings={"imagined": {}}).provenance == "imagined"
    plain = schema.without_objects()
    assert (plain.object_names, plain.tracked, plain.object_frame, plain.object_size) == ((), (), "metres", 0)
    assert "tracker" not in plain.settings
    for wrong in ({"object_frame": "inches"}, {"object_names": ()}):
        with pytest.raises(ValueError, match="object_frame must be|there are no objects"):
            tracked_schema(**wrong)


def test_a_schema_that_contradicts_itself_is_a_damaged_one(tmp_path: Path) -> None:
    path = write_tracked(tmp_path / "a.hdf5", range(1))
    with h5py.File(path, "r+") as file:
        value = json.loads(file["data"].attrs["gwm_schema"]) | {"object_names": []}
        file["data"].attrs["gwm_schema"] = json.dumps(value)
    with pytest.raises(DataError, match=r"a\.hdf5: /data has a damaged gwm_schema.*there are no objects"):
        EpisodeFile(path)


def test_the_digest_knows_sightings_and_attachments(tmp_path: Path) -> None:
    digests = set()
    for name, change in (("as it was", {}), ("again", {}), ("bare", {"attach": False})):
        with EpisodeFile(write_tracked(tmp_path / f"{name}.hdf5", range(2), **change)) as file:
            digests.add(file.digest())
    assert len(digests) == 2
    with h5py.File(tmp_path / "again.hdf5", "r+") as file:
        file["data/demo_1/sightings/front"][0, 0, 5] = 0.25
    with EpisodeFile(tmp_path / "again.hdf5") as changed:
        assert changed.digest() not in digests


def test_what_does_not_fit_is_not_written(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.hdf5", tracked_schema())
    with pytest.raises(DataError, match="but the schema has .*sightings/front"):
        writer.write(0, make_episode(0))
    episode = tracked_episode(0)
    episode.sightings["front"][2, 1, 5] = 1.5
    with pytest.raises(DataError, match=r"demo_0/sightings/front: confidence must be in \[0, 1\], got 1\.5"):
        writer.write(0, episode)
    unsure = dataclasses.replace(tracked_episode(0), objects_confidence=np.full((6, 2), -0.5, np.float32))
    with pytest.raises(DataError, match=r"demo_0/objects_confidence: confidence must be in \[0, 1\], got -0\.5"):
        writer.write(0, unsure)
    assert not writer.has(0)


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, r"holds nan at row 1 column \(0, 4\)"), (-1, r"visible must be in \[0, 1\]")]
)
def test_damaged_sightings_are_refused(tmp_path: Path, value: float, message: str) -> None:
    path = write_tracked(tmp_path / "a.hdf5", range(2))
    with h5py.File(path, "r+") as file:
        file["data/demo_1/sightings/front"][1, 0, 4] = value
    with EpisodeFile(path) as episodes, pytest.raises(DataError, match=rf"a\.hdf5.*demo_1/sightings/front.*{message}"):
        episodes.check()


def test_inspect_says_how_well_objects_are_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tracked(tmp_path / "a.hdf5", (0, 4), object_frame="image")  # both of five steps
    with EpisodeFile(path) as file:
        objects = summarize(file).objects
    assert objects is not None
    assert str(objects) == f"red, blue: tracked in the pictures of front (tracker {DIGEST[:16]}), in image coordinates"
    red, blue = (objects.sightings["front"][name] for name in ("red", "blue"))
    assert dataclasses.astuple(red) == pytest.approx((5 / 6, 0.8 * 5 / 6, 1 / 6))
    assert blue == Sighted(in_sight=0, confidence=0, unknown=1)
    assert dataclasses.astuple(objects.placed["red"]) == pytest.approx((0.4 * 5 / 6, 1 / 6))
    assert main(InspectConfig(path, json=tmp_path / "a.json")) == 0
    printed = capsys.readouterr().out
    assert "83.3%" in printed and "0.67" in printed and "100.0%" in printed
    assert json.loads((tmp_path / "a.json").read_text())["objects"]["provenance"] == "tracked"


def test_inspect_says_measured_and_none(tmp_path: Path) -> None:
    with EpisodeFile(write_file(tmp_path / "a.hdf5", range(1))) as file:
        assert str(summarize(file).objects) == "red, blue: measured, in metres"
    writer = EpisodeWriter(tmp_path / "b.hdf5", make_schema().without_objects())
    writer.write(0, dataclasses.replace(make_episode(0), objects=None))
    writer.merge()
    with EpisodeFile(tmp_path / "b.hdf5") as file:
        assert summarize(file).objects is None


def test_labels_by_hand_keep_what_was_tracked(tmp_path: Path) -> None:
    path = write_tracked(tmp_path / "a.hdf5", range(3))
    label_episodes(LabelConfig(path, tmp_path / "b.hdf5", success=("1",), task="pour"))
    with EpisodeFile(path) as old, EpisodeFile(tmp_path / "b.hdf5") as new:
        assert new.schema.tracked == ("front",) and new.schema.settings["tracker"] == DIGEST
        np.testing.assert_array_equal(new[2].sightings["front"], old[2].sightings["front"])
        np.testing.assert_array_equal(new[2].objects_confidence, old[2].objects_confidence)
        assert (new.attached("tracker") or {}).keys() == ARRAYS.keys()


def robomimic(out: Path) -> tuple[dict[str, Any], Any]:
    with h5py.File(out) as file:
        return json.loads(file["data"].attrs["tracked_objects"]), _seen(file["data/demo_1"])


def minari(out: Path) -> tuple[dict[str, Any], Any]:
    metadata = json.loads((out / "data/metadata.json").read_text())
    assert "tracked in the pictures of front, not measured" in metadata["description"]
    with h5py.File(out / "data/main_data.hdf5") as file:
        return metadata["tracked_objects"], _seen(file["episode_1/infos"])


def _seen(group: h5py.Group) -> Any:
    """Sightings of an exported episode, whose confidence of objects was looked at."""
    np.testing.assert_array_equal(group["objects_confidence"][()], tracked_episode(1).objects_confidence)
    return group["sightings/front"][()]


@pytest.mark.parametrize("read", [robomimic, minari])
def test_exports_say_that_objects_were_tracked(
    read: Callable[[Path], tuple[dict[str, Any], Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_tracked(tmp_path / "a.hdf5", range(2))
    said, seen = read(export(read.__name__, path, tmp_path / "out-v0"))
    assert said == {"measured": False, "cameras": ["front"], "frame": "metres", "tracker": DIGEST}
    np.testing.assert_array_equal(seen, tracked_episode(1).sightings["front"])


@pytest.mark.parametrize(("frame", "first"), [("metres", "red_x"), ("image", "red_column")])
def test_lerobot_names_the_columns_of_what_was_tracked(frame: str, first: str, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = write_tracked(tmp_path / "a.hdf5", range(2), object_frame=frame)
    out = export("lerobot", path, tmp_path / "out", codec="h264")
    info = json.loads((out / "meta/info.json").read_text())
    assert info["tracked_objects"]["frame"] == frame and info["tracked_objects"]["measured"] is False
    assert info["features"]["objects"]["names"][0] == first
    assert info["features"]["sightings.front"]["names"][-1] == "blue_confidence"
    assert info["features"]["objects_confidence"]["names"] == ["red_confidence", "blue_confidence"]
    table = parquet.read_table(out / "data/chunk-000/file-000.parquet")
    surely = np.stack(table["objects_confidence"].to_numpy()[:6])
    np.testing.assert_array_equal(surely, tracked_episode(0).objects_confidence)
    seen = np.stack(table["sightings.front"].to_numpy()[:6]).reshape(6, 2, 6)
    np.testing.assert_array_equal(seen, tracked_episode(0).sightings["front"])


def test_the_export_says_what_was_tracked_and_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_tracked(tmp_path / "a.hdf5", range(2))
    assert cli.main(["export", "robomimic", str(path), str(tmp_path / "out.hdf5")]) == 0
    printed = capsys.readouterr().out
    assert "left out: the tracker, for which the format has no common place" in printed
    assert "tracked, not measured; the metadata say so" in printed
