"""LeRobot datasets as they are: metadata that name wrong files, one bad episode, and names in any shape."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
from importing import assert_is
from layouts import Truth
from shared_data import shared

from gwm_sim.data.formats import open_source
from gwm_sim.data.reading.spans import Span, settle
from gwm_sim.data.survey import survey
from gwm_sim.errors import ConfigError, DataError

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq
from lerobot_sets import DATA, EPISODES, FRONT, brought_in, film_of, keep_rows, notes_of, rewrite

# Metadata that name wrong files


def test_the_given_dataset_with_an_old_file_number() -> None:
    """Episode 2 lies in the second file, its metadata say the first."""
    path = shared("cases/lerobot-stale-file-index/stale")
    rows = pq.read_table(path / DATA[1], partitioning=None).to_pydict()
    with open_source("lerobot", path) as source:
        assert [len(source.recording(k)) for k in range(3)] == [12, 10, 14]
        np.testing.assert_array_equal(source.recording(2).telemetry, np.float32(rows["observation.state"]))
        assert sum(1 for _ in source.frames(2, "front", range(14))) == 14
        assert [remark for remark in source.remarks if "file-001" in remark and "(episode 2)" in remark]


def test_rows_are_read_where_they_are(tmp_path: Path) -> None:
    truths = layouts.write_lerobot(tmp_path / "set", codec="libx264")
    rewrite(tmp_path / "set" / EPISODES, lambda columns: columns.update({"data/file_index": [0, 0, 0]}))
    result, episodes = brought_in(tmp_path / "set")
    for episode, truth in zip(episodes, truths, strict=True):
        assert_is(episode, truth)
    assert "rows were read from data/chunk-000/file-001.parquet" in notes_of(result)
    assert "(episode 2)" in notes_of(result)


def test_rows_are_found_when_the_named_file_does_not_exist(tmp_path: Path) -> None:
    truths = layouts.write_lerobot(tmp_path / "set", codec="libx264")
    rewrite(tmp_path / "set" / EPISODES, lambda columns: columns.update({"data/file_index": [7, 7, 1]}))
    result, episodes = brought_in(tmp_path / "set")
    for episode, truth in zip(episodes, truths, strict=True):
        assert_is(episode, truth)
    assert "(episode 0, episode 1)" in notes_of(result)


def test_rows_that_are_nowhere_are_said_to_disagree(tmp_path: Path) -> None:
    truths = layouts.write_lerobot(tmp_path / "set", codec="libx264")
    keep_rows(tmp_path / "set" / DATA[0], lambda episode: episode != 0)
    result, episodes = brought_in(tmp_path / "set")
    assert "episode 0 was left out" in notes_of(result) and "none in any file" in notes_of(result)
    for episode, truth in zip(episodes, truths[1:], strict=True):
        assert_is(episode, truth)


def test_films_are_found_when_there_is_no_choice(tmp_path: Path) -> None:
    truths = layouts.write_lerobot(tmp_path / "set", codec="libx264")
    key = f"{FRONT}/file_index"
    rewrite(tmp_path / "set" / EPISODES, lambda columns: columns.update({key: [0, 0, 0]}))
    result, episodes = brought_in(tmp_path / "set")
    for episode, truth in zip(episodes, truths, strict=True):
        assert_is(episode, truth)
    assert "pictures were read from videos/observation.images.front/chunk-000/file-001.mp4" in notes_of(result)


def test_films_that_could_be_either_are_not_guessed(tmp_path: Path) -> None:
    """Two episodes claim the same stretch, and no other film has one to give."""
    truths = layouts.write_lerobot(tmp_path / "set", codec="libx264")
    key = f"{FRONT}/from_timestamp"
    rewrite(tmp_path / "set" / EPISODES, lambda columns: columns.update({key: [0.0, 0.0, 0.0]}))
    result, (episode,) = brought_in(tmp_path / "set")
    assert_is(episode, truths[2])
    assert notes_of(result).count("to two episodes") == 2


ENDS = {"a": 1.0, "b": 2.0, "c": 1.0}


@pytest.mark.parametrize(
    ("spans", "files"),
    [
        ([("a", 0, 1), ("b", 0, 1), ("b", 1.1, 2), ("c", 0, 1)], ["a", "b", "b", "c"]),
        ([("a", 0, 1), ("a", 0, 1), ("b", 1.1, 2), ("c", 0, 1)], ["a", "b", "b", "c"]),  # claims what another has
        ([("a", 0, 1), ("a", 1.1, 2), ("c", 0, 1)], ["a", "b", "c"]),  # beyond the end of its film
        ([("a", 0, 1), ("x", 0, 2), ("c", 0, 1)], ["a", "b", "c"]),  # in a film that does not exist
        ([("a", 0, 1), ("a", 0, 0.5), ("c", 0.6, 1)], ["", "", "c"]),  # b or c: neither, nor who has a
        ([("x", 0, 1), ("a", 0, 1)], ["", "a"]),  # after a would be out of order
        ([("a", 0, 1), ("b", 0, 2.4), ("c", 0, 1)], ["a", "", "c"]),  # no film is long enough
    ],
)
def test_stretches_are_settled(spans: list[tuple[str, float, float]], files: list[str]) -> None:
    found = settle([Span(*span) for span in spans], ENDS, slack=0.05)
    assert [item.file if isinstance(item, Span) else "" for item in found] == files


# One bad episode


def nan(folder: Path) -> None:
    def change(columns: dict[str, list[Any]]) -> None:
        columns["observation.state"][9] = [float("nan")] * 3  # row 1 of episode 1

    rewrite(folder / DATA[0], change)


def lost_row(folder: Path) -> None:
    def change(columns: dict[str, list[Any]]) -> None:
        for values in columns.values():
            del values[12]

    rewrite(folder / DATA[0], change)


def longer(folder: Path) -> None:
    rewrite(folder / EPISODES, lambda columns: columns.update(length=[8, 13, 9]))


def shuffled(folder: Path) -> None:
    def change(columns: dict[str, list[Any]]) -> None:
        columns["frame_index"][10] += 40

    rewrite(folder / DATA[0], change)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (nan, "observation.state holds nan at row 1"),
        (lost_row, "11 rows are expected in data/chunk-000/file-000.parquet, and there are 10"),
        (longer, "13 rows are expected in data/chunk-000/file-000.parquet, and there are 11"),
        (shuffled, "lacks rows: frame_index is not 0, 1, 2"),
    ],
)
def test_one_bad_episode_does_not_cost_the_dataset(damage: Callable[[Path], None], reason: str, tmp_path: Path) -> None:
    truths = layouts.write_lerobot(tmp_path / "set", codec="libx264")
    damage(tmp_path / "set")
    result, episodes = brought_in(tmp_path / "set")
    for episode, truth in zip(episodes, truths[::2], strict=True):
        assert_is(episode, truth)
    (note,) = [note for note in result.notes if "episode 1 was left out" in note]
    assert reason in note.replace("; there", ", and there")
    told = survey("lerobot", tmp_path / "set")
    assert told.episodes == 2 and note in told.warnings


def short_film(folder: Path, truths: list[Truth]) -> str:
    layouts.write_mp4(film_of(folder, 1), truths[1].frames["front"][:-1], 30)
    return "shows 10 of 11 rows. Give --trim to drop the others."


def truncated_film(folder: Path, truths: list[Truth]) -> str:
    path = film_of(folder, 1)
    path.write_bytes(path.read_bytes()[:-300])
    return "cannot be read"


def missing_film(folder: Path, truths: list[Truth]) -> str:
    film_of(folder, 1).unlink()
    return "which is not in"


def hollow_film(folder: Path, truths: list[Truth]) -> str:
    """Its head claims all frames; what it points to is gone, as after a download that broke off."""
    path = film_of(folder, 1)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + 1500] = bytes(1500)
    path.write_bytes(bytes(data))
    return "episode_000001.mp4"


@pytest.mark.parametrize("damage", [short_film, truncated_film, missing_film, hollow_film])
def test_one_bad_film_does_not_cost_the_dataset(damage: Callable[[Path, list[Truth]], str], tmp_path: Path) -> None:
    truths = layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    reason = damage(tmp_path / "set", truths)
    result, episodes = brought_in(tmp_path / "set")
    for episode, truth in zip(episodes, truths[::2], strict=True):
        assert_is(episode, truth)
    (note,) = [note for note in result.notes if "episode 1 was left out" in note]
    assert reason in note
    assert any("episode 1 was left out" in warning for warning in survey("lerobot", tmp_path / "set").warnings)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_rows_after_the_end_of_a_film_are_dropped_on_request(version: str, tmp_path: Path) -> None:
    """By what the user says, and not beyond: in v3.0 the film is that of the last episode alone."""
    truths = layouts.write_lerobot(tmp_path / "set", version, "libx264")
    last = "videos/observation.images.front/chunk-000/file-001.mp4"
    film = tmp_path / "set" / last if version == "v3.0" else film_of(tmp_path / "set", 2)
    layouts.write_mp4(film, truths[2].frames["front"][:-2], 30)
    _, episodes = brought_in(tmp_path / "set")
    assert len(episodes) == 2
    (tmp_path / "out/a.hdf5").unlink()
    result, episodes = brought_in(tmp_path / "set", trim=True)
    for episode, truth in zip(episodes, [*truths[:2], truths[2].rows(0, 7)], strict=True):
        assert_is(episode, truth)
    assert "rows after the end of observation.images.front were dropped (episode 2)" in notes_of(result)


def test_mended_episode_comes_in_by_the_same_command(tmp_path: Path) -> None:
    truths = layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    film = film_of(tmp_path / "set", 1)
    data = film.read_bytes()
    film.unlink()
    assert brought_in(tmp_path / "set")[0].imported == 2
    film.write_bytes(data)
    try:
        result, episodes = brought_in(tmp_path / "set")
    except ConfigError:  # it widened the bounds: the file is refused, never mixed up
        return
    assert result.imported == 1
    for episode, truth in zip(episodes, truths, strict=True):
        assert_is(episode, truth)


def test_dataset_without_any_sound_episode_says_why(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    shutil.rmtree(tmp_path / "set/videos")
    with pytest.raises(DataError, match=r"no episode could be read\. .*episode_000000\.mp4"):
        brought_in(tmp_path / "set")
    with pytest.raises(DataError, match="no episode could be read"):
        survey("lerobot", tmp_path / "set")


def test_many_bad_episodes_are_summed_up(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264", lengths=[7] * 9)
    for episode in range(1, 9):
        film_of(tmp_path / "set", episode).unlink()
    result, episodes = brought_in(tmp_path / "set")
    assert len(episodes) == 1 and notes_of(result).count(" was left out") == 5
    assert "3 more were left out for reasons of that kind: episode 6, episode 7, episode 8." in notes_of(result)
