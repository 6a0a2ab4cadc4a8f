"""What is attached to a file comes back as it was, survives a killed writer, and is refused when it is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from recordings import make_episode, make_schema, write_file
from tracked import ARRAYS

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.errors import ConfigError, DataError


def attached(path: Path) -> dict[str, Array] | None:
    with EpisodeFile(path) as file:
        return file.attached("tracker")


def assert_whole(arrays: dict[str, Array] | None) -> None:
    assert arrays is not None and arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape


def begun(path: Path) -> EpisodeWriter:
    """A writer that is killed after its attachment and an episode."""
    writer = EpisodeWriter(path, make_schema())
    writer.attach("tracker", ARRAYS)
    writer.write(0, make_episode(0))
    return writer


def test_arrays_come_back_before_and_after_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    writer = begun(path)
    assert_whole(attached(path))
    before = EpisodeFile(path).digest()
    writer.merge()
    assert_whole(attached(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.hdf5"]
    with EpisodeFile(path) as file:
        assert file.attachments == ["tracker"] and file.attached("other") is None
        assert file.digest() == before
        file.check()
    with h5py.File(path) as file:
        assert file.keys() == {"data", "tracker"}


def test_a_writer_that_goes_on_finds_what_was_attached(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    begun(path)
    resumed = EpisodeWriter(path, make_schema())
    assert_whole(resumed.attached("tracker"))
    resumed.attach("tracker", ARRAYS)
    with pytest.raises(ConfigError, match=r"a\.hdf5 was begun with another tracker"):
        resumed.attach("tracker", {"background": ARRAYS["background"]})
    resumed.merge()
    assert_whole(attached(path))


def test_a_half_written_attachment_is_none(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.hdf5", make_schema())
    (parts_folder(writer.path) / "tracker.attached.tmp").write_bytes(b"half")
    assert writer.attached("tracker") is None
    writer.attach("tracker", ARRAYS)
    assert_whole(writer.attached("tracker"))


def test_finished_files_are_extended_by_either(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5", range(3))
    writer = EpisodeWriter(path, make_schema())
    writer.attach("tracker", ARRAYS)
    writer.merge()
    assert_whole(attached(path))
    write_file(path, range(3, 5))
    assert_whole(attached(path))
    assert len(EpisodeFile(path)) == 5


def test_what_cannot_be_attached_is_named(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.hdf5", make_schema())
    for name in ("data", "mask", "a/b", ""):
        with pytest.raises(ConfigError, match="an attachment needs a name"):
            writer.attach(name, ARRAYS)
    for array in (np.array(["red"]), np.array([None])):
        with pytest.raises(DataError, match="tracker/names is .*numbers and bytes alone"):
            writer.attach("tracker", {"names": array})
    assert writer.attached("tracker") is None


def change_a_number(file: h5py.File) -> None:
    file["tracker/things/size"][1] = 3


def lose_an_array(file: h5py.File) -> None:
    del file["tracker/background"]


def forget_the_digest(file: h5py.File) -> None:
    del file["tracker"].attrs["digest"]


def replace_the_group(file: h5py.File) -> None:
    del file["tracker"]
    file["tracker"] = np.zeros(3)


@pytest.mark.parametrize("damage", [change_a_number, lose_an_array, forget_the_digest, replace_the_group])
@pytest.mark.parametrize("finished", [True, False])
def test_damage_is_refused_with_its_place(tmp_path: Path, damage: Callable[[h5py.File], None], finished: bool) -> None:
    path = tmp_path / "a.hdf5"
    writer = begun(path)
    place = parts_folder(path) / "tracker.attached"
    if finished:
        writer.merge()
        place = path
    with h5py.File(place, "r+") as file:
        damage(file)
    with EpisodeFile(path) as episodes, pytest.raises(DataError, match=rf"{place.name}: /tracker is damaged"):
        episodes.attached("tracker")


def test_a_truncated_attachment_is_refused(tmp_path: Path) -> None:
    begun(tmp_path / "a.hdf5")
    place = parts_folder(tmp_path / "a.hdf5") / "tracker.attached"
    place.write_bytes(place.read_bytes()[:100])
    with pytest.raises(DataError, match=r"tracker\.attached is truncated or no HDF5 file"):
        attached(tmp_path / "a.hdf5")
