"""`benchmarks/own_worlds.py`: splits, what counts as found, and the table."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError, CompletedProcess
from typing import Any

import numpy as np
import own_worlds
import pytest
from recordings import make_episode, make_schema
from tracked import tracked_episode, tracked_schema, write_tracked
from worlds.rows import WORLDS, Place, World, named
from worlds.splits import cut, every, split, tail, these
from worlds.table import own_worlds_text
from worlds.truth import Places, of_blocks, recall

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.errors import ConfigError


def write(path: Path, count: int) -> Path:
    writer = EpisodeWriter(path, make_schema())
    for k in range(count):
        writer.write(k, make_episode(k))
    writer.merge()
    return path


def test_no_frame_is_in_both_parts_and_none_is_lost(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.hdf5", 8)
    for rule, learned in ((every(4), [0, 1, 2, 4, 5, 6]), (these({0, 7}), [1, 2, 3, 4, 5, 6])):
        folder = tmp_path / str(learned[0])
        folder.mkdir()
        split(whole, folder / "train.hdf5", folder / "test.hdf5", rule)
        with EpisodeFile(folder / "train.hdf5") as train, EpisodeFile(folder / "test.hdf5") as test:
            assert train.seeds == learned
            assert set(train.seeds) | set(test.seeds) == set(range(8))


def test_the_end_of_an_episode_is_for_tests() -> None:
    episode = make_episode(0)
    frames = len(episode) + 1
    begin, end = (cut(episode, rows) for rows in tail(0.4)(0, frames))
    assert len(begin) + 1 + len(end) + 1 == frames
    np.testing.assert_array_equal(np.concatenate([begin.telemetry, end.telemetry]), episode.telemetry)
    np.testing.assert_array_equal(end.actions, episode.actions[len(begin) + 1 :])
    np.testing.assert_array_equal(end.frames["front"], episode.frames["front"][len(begin) + 1 :])


def test_parts_too_short_to_predict_are_left_out(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.hdf5", 2)
    split(
        whole, tmp_path / "train.hdf5", tmp_path / "test.hdf5", lambda number, frames: (slice(None), slice(4 + number))
    )
    with EpisodeFile(tmp_path / "test.hdf5") as test:
        assert test.lengths == [4]


def test_episodes_are_found_by_name(tmp_path: Path) -> None:
    for name in ("0012", "0001", "0007"):
        (tmp_path / "annotation/val").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"annotation/val/{name}.json").write_text("{}", encoding="utf-8")
    rule = named("0007", "0012")(tmp_path)
    assert [rule(k, 10)[1] == slice(None) for k in range(3)] == [False, True, True]


@pytest.fixture
def sighted(tmp_path: Path) -> tuple[Path, Any]:
    """A tracked file, and the truth that its first thing is where the tracker says, where it was seen."""
    path, episode = tmp_path / "tracked.hdf5", tracked_episode(0)
    writer = EpisodeWriter(path, tracked_schema())
    writer.write(0, replace(episode, sightings={"front": episode.sightings["front"]}))
    writer.merge()
    return path, episode.sightings["front"]


def test_a_thing_is_found_where_a_sighting_is_near(sighted: tuple[Path, Any]) -> None:
    path, seen = sighted
    frames = len(seen)
    told = recall(path, "front", iter([Places(seen[:, :1, :2] + (0, 1), np.ones((frames, 1)))]))
    assert told["found_things"] == told["true_things"] == 1
    assert told["recall"] == pytest.approx((frames - 1) / frames)  # it was not seen in the first frame
    assert told["error_px_median"] == pytest.approx(1, abs=1e-5)


def test_a_thing_that_is_hidden_does_not_count(sighted: tuple[Path, Any]) -> None:
    path, seen = sighted
    visible = np.ones((len(seen), 1))
    visible[0] = 0.49
    assert recall(path, "front", iter([Places(seen[:, :1, :2], visible)]))["recall"] == 1


def test_one_sighting_is_not_two_things(sighted: tuple[Path, Any]) -> None:
    path, seen = sighted
    twice = np.repeat(seen[:, :1, :2], 2, axis=1)
    told = recall(path, "front", iter([Places(twice, np.ones(twice.shape[:2]))]))
    assert (told["true_things"], told["found_things"]) == (2, 1)


def test_cubes_are_projected_and_seen(tiny_data: Path) -> None:
    with EpisodeFile(tiny_data) as file:
        count, frames = len(file), file.lengths[0] + 1
    places = list(of_blocks(tiny_data))
    assert len(places) == count
    assert places[0].centres.shape == (frames, 2, 2)
    assert 0.5 < np.median(places[0].visible) < 1.5


def result(title: str, **more: Any) -> dict[str, Any]:
    tracking = {"found": 2, "true_things": 1, "found_things": 1, "recall": 0.991, "seconds_per_1000_frames": 1.25}
    return {"title": title, "data": {"train": {"frames": 24300}}, "tracking": tracking} | more


def test_the_table_shows_what_is_known_and_leaves_the_rest_empty() -> None:
    numbers = {"psnr": 20.0, "kept": 0.5, "kept_floor": 0.25, "kept_scene_floor": None, "moved_error_px": 1.25}
    evaluation = {"horizons": {"10": numbers}, "controllability": {"pictures": {"shuffled": 3.04}}}
    refused = {"title": "B", "data": {"train": {"frames": 9}}, "tracking": {"refused": "nothing moves"}}
    nothing: dict[str, Any] = {"horizons": {}, "controllability": {}}
    results = {
        "a": result("A", video={"minutes": 5.0, "evaluation": evaluation, "words": []}),
        "b": refused,
        "c": result("C", video={"minutes": 5.0, "evaluation": nothing, "words": ["too little was left."]}),
    }
    text = own_worlds_text(results)
    assert "| A | 24,300 | 1 of 1, 1 more | 99.1 |  | 1.2 |" in text
    assert "| B | 9 | none |  |  |  |" in text
    assert "| A | 10 | video dynamics | 1.2 |  |  | 50.0 |  |  |  | 3.0 times |" in text
    assert "| A | 10 | last frame copied |  |  |  | 25.0 |  |  |  |  |" in text
    assert "- B: nothing moves" in text
    assert "| C | 10 |" not in text and "- C: trained, and too little was left." in text
    assert "Trained for 5 minutes of one core each." in text


def test_tracking_alone_needs_no_second_table() -> None:
    assert "drawn by" not in own_worlds_text({"a": result("A")})


def test_a_world_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"--rows knows {', '.join(WORLDS)}, got mars"):
        own_worlds.OwnWorldsConfig(rows=("mars",))


def place_in(folder: Path) -> Place:
    return Place(folder, folder / "venvs", folder / "real")


def commands(monkeypatch: pytest.MonkeyPatch, track: Callable[[list[str]], CompletedProcess[str]]) -> list[list[str]]:
    """Stand in for the commands of gwm_sim; returns the words of those that were run."""
    run: list[list[str]] = []

    def subprocess_run(words: list[str], **options: Any) -> CompletedProcess[str]:
        run.append(words[3:])
        return track(words[3:])

    def gwm(*words: object) -> None:
        run.append([*map(str, words)])
        out = words[[*words].index("--json" if words[0] == "eval" else "--out") + 1]
        assert isinstance(out, Path)
        if words[0] == "track":
            write_tracked(out, range(1))
        elif words[0] == "train":
            out.mkdir()
            (out / "report.json").write_text('{"words": ["good"]}', encoding="utf-8")
            (out / "run.json").write_text('{"options": {"minutes": 7}}', encoding="utf-8")
        else:
            out.write_text('{"horizons": {}}', encoding="utf-8")

    monkeypatch.setattr("own_worlds.subprocess.run", subprocess_run)
    monkeypatch.setattr(own_worlds, "gwm", gwm)
    return run


def finds_two(words: list[str]) -> CompletedProcess[str]:
    options = dict(zip(words[2::2], words[3::2], strict=True))
    write_tracked(Path(options["--out"]), range(2))
    Path(options["--json"]).write_text('{"things": [{}, {}], "seconds_per_1000_frames": 1.5}', encoding="utf-8")
    return CompletedProcess(words, 0, stderr="")


def test_what_was_made_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(place: Place) -> None:
        for part in ("train", "test"):
            if not (place.folder / f"{part}.hdf5").exists():
                write(place.folder / f"{part}.hdf5", 2)

    monkeypatch.setitem(WORLDS, "mars", World("Mars", "front", prepare))
    run = commands(monkeypatch, finds_two)
    config = own_worlds.OwnWorldsConfig(rows=("mars",), folder=tmp_path / "runs", results=tmp_path / "results")
    assert own_worlds.main(config) == 0
    assert [words[0] for words in run] == ["track", "track", "train", "eval"]
    assert "tracked-test.hdf5" in " ".join(run[3]) and "tracked.hdf5" in " ".join(run[2])
    read_for_learning = run[0][1], run[2][run[2].index("--data") + 1]
    assert not any("test" in Path(path).name for path in read_for_learning)
    assert own_worlds.main(config) == 0 and len(run) == 4
    result = json.loads((tmp_path / "results/mars.json").read_text(encoding="utf-8"))
    assert result["tracking"]["found"] == 2
    assert result["auto"]["words"] == ["good"] and result["auto"]["minutes"] == 7
    video = replace(config, paths=("video",))
    assert own_worlds.main(video) == 0 and len(run) == 6
    result = json.loads((tmp_path / "results/mars.json").read_text(encoding="utf-8"))
    assert result["auto"]["minutes"] == 7 and result["video"]["words"] == ["good"], "both are kept"


def test_a_refusal_is_a_result_and_a_fault_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("Mars", "front", lambda place: None)
    words = "note: dark\ngwm: nothing moves but the robot.\n"
    commands(monkeypatch, lambda given: CompletedProcess(given, 2, stderr=words))
    assert own_worlds.track(world, place_in(tmp_path)) == {"refused": "nothing moves but the robot."}
    commands(monkeypatch, lambda given: CompletedProcess(given, 1, stderr="Traceback: a fault"))
    with pytest.raises(CalledProcessError):
        own_worlds.track(world, place_in(tmp_path))
