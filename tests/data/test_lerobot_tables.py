"""Rows of LeRobot datasets: decoded once for a file, and read anew where they were mended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import films
import layouts
import numpy as np
import pytest
from importing import assert_is

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.formats import open_source
from gwm_sim.data.reading import parquet
from gwm_sim.errors import ConfigError

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq
from lerobot_sets import DATA, brought_in, notes_of, rewrite

# Tables


def test_rows_of_a_file_are_decoded_once_for_all_its_episodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are one group, as converters write them."""
    lengths = [7, 9, 8, 6] * 5
    folder = films.write_lerobot(tmp_path / "set", 10, lengths)
    total = sum(lengths)
    films.write_film(films.film_of(folder), [films.numbered(i) for i in range(total)], np.arange(total) / 10)
    read, calls = parquet.read_table, list[Path]()

    def counting(path: Path, *rest: Any) -> Any:
        calls.append(path)
        return read(path, *rest)

    monkeypatch.setattr(parquet, "read_table", counting)
    _, episodes = brought_in(folder)
    assert [len(episode) + 1 for episode in episodes] == lengths
    for episode, first in zip(episodes, np.cumsum([0, *lengths]), strict=False):
        np.testing.assert_allclose(episode.telemetry[:, 0], 0.01 * np.arange(len(episode) + 1), rtol=1e-5)
        assert [films.number_of(frame) for frame in episode.frames["front"]] == list(
            range(first, first + len(episode) + 1)
        )
    assert len(calls) < len(lengths)


def test_rows_that_were_written_anew_are_read_anew(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", codec="libx264")
    with open_source("lerobot", tmp_path / "set") as source:
        before = source.recording(0).telemetry

    def change(columns: dict[str, list[Any]]) -> None:
        columns["observation.state"] = [[x + 1 for x in row] for row in columns["observation.state"]]

    rewrite(tmp_path / "set" / DATA[0], change)
    with open_source("lerobot", tmp_path / "set") as source:
        np.testing.assert_allclose(source.recording(0).telemetry, before + 1, rtol=1e-5)


def test_damage_in_the_rows_of_one_episode_does_not_cost_those_beside_it(tmp_path: Path) -> None:
    truths = layouts.write_lerobot(tmp_path / "set", codec="libx264")
    path = tmp_path / "set" / DATA[0]
    place = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = place.dictionary_page_offset or place.data_page_offset
    data[start : start + 20] = bytes(20)
    path.write_bytes(data)
    result, episodes = brought_in(tmp_path / "set")
    for episode, truth in zip(episodes, truths[::2], strict=True):
        assert_is(episode, truth)
    assert "episode 1 was left out" in notes_of(result)


# Going on after the source was changed


def rest_of(folder: Path, episode: int, rows: int) -> None:
    """Keep the first rows of an episode."""

    def change(columns: dict[str, list[Any]]) -> None:
        for values in columns.values():
            del values[rows:]

    rewrite(folder / f"data/chunk-000/episode_{episode:06d}.parquet", change)
    path = folder / "meta/episodes.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[episode]["length"] = rows
    path.write_text("\n".join(map(json.dumps, lines)))


def pause(folder: Path, episode: int, row: int) -> None:
    """Let a second pass before a row, at which an import cuts the episode in two."""

    def change(columns: dict[str, list[Any]]) -> None:
        columns["timestamp"] = [t + (i >= row) for i, t in enumerate(columns["timestamp"])]

    rewrite(folder / f"data/chunk-000/episode_{episode:06d}.parquet", change)


def shorten(folder: Path) -> None:
    rest_of(folder, 1, 3)


def interrupt(folder: Path) -> None:
    pause(folder, 1, 6)


@pytest.mark.parametrize("mend", [shorten, interrupt])
@pytest.mark.parametrize("lengths", [(8, 12, 9), (8, 12, 9, 7), (8, 12)])
def test_an_episode_that_is_mended_otherwise_never_renumbers_the_rest(
    mend: Callable[[Path], None], lengths: tuple[int, ...], tmp_path: Path
) -> None:
    """It was left out as damaged, and is too short now, or two episodes: those after it would get other numbers."""
    folder = tmp_path / "set"
    layouts.write_lerobot(folder, "v2.1", stored="image", lengths=lengths)
    path = folder / "data/chunk-000/episode_000001.parquet"
    data = path.read_bytes()
    rewrite(path, nan_in_row_3)
    first, before = brought_in(folder)
    path.write_bytes(data)
    mend(folder)
    try:
        again, episodes = brought_in(folder)
    except ConfigError as error:  # it would be mixed up, or widened the bounds
        assert "is not what the source holds there now" in str(error) or "made with other settings" in str(error)
        with EpisodeFile(tmp_path / "out/a.hdf5") as file:
            assert file.digest() == first.summary.digest
        return
    assert len({episode.telemetry.tobytes() for episode in episodes}) == len(episodes)
    assert len(episodes) == len(before) + again.imported


def nan_in_row_3(columns: dict[str, list[Any]]) -> None:
    columns["observation.state"][3] = [float("nan")] * 3


def test_the_same_numbers_may_be_asked_for_again(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    first, episodes = brought_in(tmp_path / "set")
    again, _ = brought_in(tmp_path / "set")
    assert (first.imported, again.imported) == (3, 0)
    assert again.summary.digest == first.summary.digest
