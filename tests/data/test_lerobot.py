"""LeRobot datasets as they are: metadata that name wrong files, one bad episode, and names in any shape."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import films
import layouts
import numpy as np
import pytest
from importing import assert_is, config
from layouts import Truth
from shared_data import shared

from gwm_sim.commands.import_ import Import, import_episodes
from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.formats import open_source
from gwm_sim.data.importers.source import SourceOptions
from gwm_sim.data.reading import parquet
from gwm_sim.data.reading.names import flat_names
from gwm_sim.data.reading.spans import Span, settle
from gwm_sim.data.survey import survey
from gwm_sim.errors import ConfigError, DataError

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

DATA = ("data/chunk-000/file-000.parquet", "data/chunk-000/file-001.parquet")
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
FRONT = "videos/observation.images.front"


def brought_in(source: Path, **changes: Any) -> tuple[Import, list[Episode]]:
    out = source.parent / "out" / "a.hdf5"
    result = import_episodes(config("lerobot", source, out, **changes))
    with EpisodeFile(out) as file:
        file.check()
        return result, list(file)


def rewrite(path: Path, change: Callable[[dict[str, list[Any]]], None]) -> None:
    """Change the columns of a parquet file, or its rows, in place; types stay."""
    table = pq.read_table(path, partitioning=None)
    columns = table.to_pydict()
    change(columns)
    pq.write_table(pa.table(columns, schema=table.schema), path)


def keep_rows(path: Path, wanted: Callable[[int], bool]) -> None:
    table = pq.read_table(path, partitioning=None)
    rows = [row for row, episode in enumerate(table["episode_index"].to_pylist()) if wanted(episode)]
    pq.write_table(table.take(rows), path)


def notes_of(result: Import) -> str:
    return "\n".join(result.notes)


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


def film_of(folder: Path, episode: int) -> Path:
    return folder / f"videos/chunk-000/observation.images.front/episode_{episode:06d}.mp4"


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


# Names


@pytest.mark.parametrize(
    ("names", "flat"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        ([["a", "b", "c"]], ["a", "b", "c"]),
        ([["a"], ["b", "c"]], ["a", "b", "c"]),
        ({"motors": ["a", "b", "c"]}, ["a", "b", "c"]),
        ({"x": 0, "y": 1, "z": 2}, ["x", "y", "z"]),
        ({"y": 1, "z": 2, "x": 0}, ["x", "y", "z"]),
        ({"axes": {"z": 2, "x": 0, "y": 1}}, ["x", "y", "z"]),
        ({"left": ["x", "y"], "right": ["x"]}, ["left_x", "left_y", "right_x"]),
        ({"arm": {"left": ["x"], "right": ["x"]}, "hand": ["grip"]}, ["arm_left_x", "arm_right_x", "hand_grip"]),
        ({"right": {"c": 2}, "left": {"b": 1, "a": 0}}, ["a", "b", "c"]),
        ({"a": [1, "sts"], "b": [2, "sts"], "c": [3, "sts"]}, ["a", "b", "c"]),
        ([0, 1, 2], ["0", "1", "2"]),
        (["a", "b"], None),
        (["a", "a", "b"], None),
        ([["x", "y"], ["x"]], None),
        ({"arm": 2, "hand": 1}, None),
        (None, None),
        ({}, None),
    ],
)
def test_names_of_any_shape_are_flattened_in_order(names: Any, flat: list[str] | None) -> None:
    assert flat_names(names, 3) == flat


def change_info(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    info = json.loads((folder / "meta/info.json").read_text())
    change(info)
    (folder / "meta/info.json").write_text(json.dumps(info))


def test_names_that_do_not_fit_are_numbers_with_a_remark(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    change_info(tmp_path / "set", lambda info: info["features"]["action"].update(names=["a", "b"]))
    with open_source("lerobot", tmp_path / "set") as source:
        assert [action.name for action in source.layout.actions] == ["action_0", "action_1", "action_2"]
        assert any("names of action are not 3 different ones" in remark for remark in source.remarks)


def test_humanoid_with_names_in_a_list_within_a_list() -> None:
    path = shared("data/real/unitree-g1-bottle-original")
    with open_source("lerobot", path) as source:
        names = [column.name for column in source.layout.telemetry]
        assert len(names) == 26 and names[:2] == ["kLeftShoulderPitch", "kLeftShoulderRoll"]
        assert names == [action.name for action in source.layout.actions]
        assert [source.title(k) for k in range(3)] == ["episode 29", "episode 30", "episode 59"]
        assert source.remarks == []


def test_humanoid_is_told_that_its_camera_is_slower_than_its_log() -> None:
    warnings = survey("lerobot", shared("data/real/unitree-g1-bottle-original")).warnings
    assert any("slower than the log" in warning and "--fps 15" in warning for warning in warnings)
    assert not any("frozen" in warning for warning in warnings)
    assert any("kRightShoulderPitch and 18 more add up" in warning for warning in warnings)


# Keys


def rename(folder: Path, keys: dict[str, str]) -> None:
    for path in folder.glob("data/**/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.rename_columns([keys.get(name, name) for name in table.column_names]), path)

    def change(info: dict[str, Any]) -> None:
        info["features"] = {keys.get(key, key): feature for key, feature in info["features"].items()}

    change_info(folder, change)


def test_other_keys_are_asked_for_and_taken(tmp_path: Path) -> None:
    (truth, *_) = layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    rename(tmp_path / "set", {"observation.state": "observation.joints", "action": "action.joints"})
    with pytest.raises(
        DataError, match=r"no vector 'observation\.state'; it lists observation\.joints\. .*--state-key"
    ):
        open_source("lerobot", tmp_path / "set")
    keys = SourceOptions(state_key="observation.joints", action_key="action.joints")
    with open_source("lerobot", tmp_path / "set", keys) as source:
        np.testing.assert_array_equal(source.recording(0).telemetry, truth.telemetry)
        np.testing.assert_array_equal(source.recording(0).actions, truth.actions)
    with pytest.raises(ConfigError, match=r"no vector 'qpos'; it lists observation\.joints, action\.joints"):
        open_source("lerobot", tmp_path / "set", SourceOptions(state_key="qpos"))


def test_several_keys_are_joined(tmp_path: Path) -> None:
    (truth, *_) = layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    keys = SourceOptions(state_key="observation.state, next.reward")
    with pytest.raises(DataError, match=r"next\.reward is float32 \[1\], which is no vector"):
        open_source("lerobot", tmp_path / "set", keys)
    rename(tmp_path / "set", {"next.reward": "observation.gripper"})
    keys = SourceOptions(state_key="observation.state,observation.gripper")
    with open_source("lerobot", tmp_path / "set", keys) as source:
        assert [column.name for column in source.layout.telemetry] == [*layouts.LEROBOT_STATE, "gripper"]
        np.testing.assert_array_equal(source.recording(0).telemetry[:, :3], truth.telemetry)
        np.testing.assert_allclose(source.recording(0).telemetry[:, 3], np.linspace(0, 1, 8), atol=1e-6)


def test_same_names_in_two_keys_are_told_apart(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    keys = SourceOptions(state_key="observation.state,action")
    with open_source("lerobot", tmp_path / "set", keys) as source:
        names = [column.name for column in source.layout.telemetry]
    assert names[0] == "state_shoulder.pos" and names[3] == "action_shoulder.pos"


def test_robot_without_state_is_read_and_told_what_is_lost(tmp_path: Path) -> None:
    (truth, *_) = layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    change_info(tmp_path / "set", lambda info: info["features"].pop("observation.state"))
    with open_source("lerobot", tmp_path / "set") as source:
        assert source.layout.telemetry == () and source.recording(0).telemetry.shape == (8, 0)
        np.testing.assert_array_equal(source.recording(0).actions, truth.actions)
        assert any("there is no telemetry" in remark for remark in source.remarks)


# What a dataset need not have


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_films_of_cameras_that_are_not_wanted_may_be_missing(version: str, tmp_path: Path) -> None:
    """Who downloads the films of one camera can import and inspect it."""
    truths = layouts.write_lerobot(tmp_path / "set", version, "libx264")
    for folder in (tmp_path / "set/videos").rglob("observation.images.wrist"):
        shutil.rmtree(folder)
    result, episodes = brought_in(tmp_path / "set", camera=("front",))
    for episode, truth in zip(episodes, truths, strict=True):
        assert_is(episode, replace(truth, frames={"front": truth.frames["front"]}))
    assert "wrist" not in notes_of(result)
    told = survey("lerobot", tmp_path / "set", options=SourceOptions(camera=("front",)))
    assert told.cameras == {"front": (64, 80)}
    with pytest.raises(DataError, match="no episode could be read"):
        survey("lerobot", tmp_path / "set")
    with pytest.raises(ConfigError, match="has no camera 'top'; it has front, wrist"):
        brought_in(tmp_path / "set", camera=("top",))


def test_a_reward_after_the_last_row_is_a_success_without_flags(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    change_info(tmp_path / "set", lambda info: info["features"].pop("next.success"))
    _, episodes = brought_in(tmp_path / "set")
    for episode in episodes:
        assert episode.labels["task"].success.tolist() == [False] * len(episode) + [True]
        assert episode.labels["task"].reward[-1] == 1


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
