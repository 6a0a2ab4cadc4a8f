"""What objects are like is stored beside where they are, and absent ones are told from damaged numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from exporting import export
from recordings import make_schema, write_file
from slots import ATTRIBUTES, slots_episode, slots_schema, write_slots

from gwm_sim.arrays import Array
from gwm_sim.commands.inspect import InspectConfig, main
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter
from gwm_sim.data.inspection import summarize
from gwm_sim.data.schema import Schema
from gwm_sim.errors import DataError


def test_attributes_come_back_with_their_episode(tmp_path: Path) -> None:
    with EpisodeFile(write_slots(tmp_path / "a.hdf5")) as file:
        assert not file.schema.differences(slots_schema())
        for seed, episode in enumerate(file):
            np.testing.assert_array_equal(episode.attributes, slots_episode(seed).attributes)
            np.testing.assert_array_equal(episode.objects, slots_episode(seed).objects)
        part, whole = file.read(1, 1, 4, cameras=()).attributes, file[1].attributes
        assert part is not None and whole is not None
        np.testing.assert_array_equal(part, whole[1:4])
        file.check()


def test_files_without_attributes_keep_their_schema(tmp_path: Path) -> None:
    told = make_schema().to_json()
    assert not told.keys() & {"object_attributes", "object_looks", "object_symmetry"}
    assert not Schema.from_json(json.loads(json.dumps(told))).differences(make_schema())
    with EpisodeFile(write_file(tmp_path / "a.hdf5", range(1))) as file:
        assert file[0].attributes is None


def test_a_schema_says_what_its_attributes_are() -> None:
    schema = slots_schema()
    assert not Schema.from_json(json.loads(json.dumps(schema.to_json()))).differences(schema)
    plain = schema.without_objects()
    assert (plain.object_attributes, plain.object_looks, plain.object_symmetry) == ((), (), {})
    assert any(line.startswith("attributes") for line in schema.other_things(make_schema()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"object_names": ()}, "for measured objects in metres"),
        ({"object_frame": "image"}, "for measured objects in metres"),
        ({"object_attributes": ("size", "size", "red")}, "must differ, got size, size, red"),
        ({"object_looks": ("green",)}, "object_looks names green, which is no attribute"),
        ({"object_symmetry": {"prism": "cubic"}}, "object_symmetry names prism, which is no attribute"),
        ({"object_symmetry": {"die": "round"}}, "must be cubic or cylindrical or spherical, got 'round'"),
    ],
)
def test_a_schema_that_contradicts_itself_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        slots_schema(**wrong)


def test_the_digest_knows_attributes(tmp_path: Path) -> None:
    with EpisodeFile(write_slots(tmp_path / "a.hdf5", range(2))) as file:
        before = file.digest()
    with h5py.File(tmp_path / "a.hdf5", "r+") as stored:
        stored["data/demo_1/attributes"][0, 1, -1] = 0.3
    with EpisodeFile(tmp_path / "a.hdf5") as file:
        assert file.digest() != before


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("attributes", (1, 1, 2), np.nan),  # part of an object that is there
        ("attributes", (1, 1, 2), np.inf),
        ("objects", (1, 1, 2), np.nan),
        ("objects", (3, 0, 2), 0.5),  # of one that is not
    ],
)
def test_absence_is_no_damage_and_damage_no_absence(
    tmp_path: Path, name: str, place: tuple[int, ...], value: float
) -> None:
    episode = slots_episode(0)
    array = np.array(getattr(episode, name))
    array[place] = value
    writer = EpisodeWriter(tmp_path / "a.hdf5", slots_schema())
    with pytest.raises(DataError, match=f"{name} holds {value} at row {place[0]}.* of an object whose attributes are"):
        writer.write(0, changed(episode, name, array))
    with h5py.File(write_slots(tmp_path / "b.hdf5"), "r+") as stored:
        stored[f"data/demo_0/{name}"][place] = value
    with EpisodeFile(tmp_path / "b.hdf5") as file, pytest.raises(DataError, match=f"{name} holds {value} at row"):
        file.read(0)


def changed(episode: Episode, name: str, array: Array) -> Episode:
    change: dict[str, Any] = {name: array}
    return dataclasses.replace(episode, **change)


def test_attributes_and_schema_go_together(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.hdf5", slots_schema())
    episode = slots_episode(0)
    assert episode.attributes is not None
    with pytest.raises(DataError, match="but the schema has"):
        writer.write(0, dataclasses.replace(episode, attributes=None))
    with pytest.raises(DataError, match="attributes is float32"):
        writer.write(0, dataclasses.replace(episode, attributes=episode.attributes[..., :3]))


def test_summary_says_what_objects_are_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_slots(tmp_path / "a.hdf5")
    with EpisodeFile(path) as file:
        objects = summarize(file).objects
    assert objects is not None
    assert objects.present == (1, 2)
    assert list(objects.attributes) == list(ATTRIBUTES)
    assert objects.attributes["bounciness"] == pytest.approx((0.1, 0.8))
    assert main(InspectConfig(path)) == 0
    told = capsys.readouterr().out
    assert "bounciness of objects" in told and "1 to 2" in told and "die cubic" in told


def test_other_formats_keep_attributes(tmp_path: Path) -> None:
    path = write_slots(tmp_path / "a.hdf5")
    expected = slots_episode(1).attributes
    with h5py.File(export("robomimic", path, tmp_path / "b.hdf5")) as file:
        np.testing.assert_array_equal(file["data/demo_1/attributes"][()], expected)
    with h5py.File(export("minari", path, tmp_path / "c") / "data/main_data.hdf5") as file:
        np.testing.assert_array_equal(file["episode_1/infos/attributes"][()], expected)
    folder = export("lerobot", path, tmp_path / "d", codec="h264")
    features = json.loads((folder / "meta/info.json").read_text())["features"]
    assert features["objects_attributes"]["names"][:2] == ["red_die", "red_marble"]
    stats = json.loads((folder / "meta/stats.json").read_text())["objects_attributes"]
    assert stats["max"][-1] == pytest.approx(0.8) and stats["max"][0] == 1.0  # what is absent does not count
    with EpisodeFile(export("raw", path, tmp_path / "e.hdf5")) as file:
        assert file[0].attributes is None and file.schema.object_attributes == ()
