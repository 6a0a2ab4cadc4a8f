"""Films keep their own time: every row shows the nearest frame of its own episode, in whatever file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from films import film_of, number_of, numbered, write_film, write_lerobot
from importing import config, imported
from shared_data import shared

from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.formats import open_source
from gwm_sim.data.pictures import videos
from gwm_sim.data.pictures.videos import frame_times, frames, numbers_at
from gwm_sim.errors import DataError

RATES = [(10, 30), (10, 25), (15, 29.97), (10, 10), (30, 12)]


def pictures(count: int, first: int = 0) -> list[np.ndarray]:
    return [numbered(first + i) for i in range(count)]


def shown(folder: Path) -> list[list[int]]:
    """The numbers of the frames at every row of every episode."""
    with open_source("lerobot", folder) as source:
        return [
            [number_of(picture) for picture in source.frames(k, "front", range(len(source.recording(k))))]
            for k in range(len(source))
        ]


def nearest_in(times: np.ndarray, moments: np.ndarray, start: float, stop: float) -> list[int]:
    """The nearest frame of a span by trying all of them, the earlier of two that are equally near."""
    own = [i for i, time in enumerate(times) if start - 1e-3 <= time < stop - 1e-3]
    return [min(own, key=lambda i: (round(abs(times[i] - moment), 5), i)) for moment in moments]


@pytest.mark.parametrize(("table", "film"), RATES)
@pytest.mark.parametrize("told", [True, False], ids=["spans", "starts"])
def test_rows_show_the_nearest_frame_of_their_own_episode(
    table: float, film: float, told: bool, tmp_path: Path
) -> None:
    lengths = (11, 8, 13)
    edges = np.concatenate([[0], np.cumsum(lengths)]) / table
    times = np.arange(int(np.ceil(edges[-1] * film))) / film
    starts, stops = edges[:-1].tolist(), edges[1:].tolist()
    write_lerobot(tmp_path / "set", table, lengths, starts=starts, stops=stops if told else None)
    write_film(film_of(tmp_path / "set"), pictures(len(times)), times)
    for k, numbers in enumerate(shown(tmp_path / "set")):
        moments = starts[k] + np.arange(lengths[k]) / table
        assert numbers == nearest_in(times, moments, starts[k], stops[k])


def test_the_film_of_the_case_shows_every_third_frame() -> None:
    folder = shared("cases/film-faster-than-table/v30")
    with open_source("lerobot", folder) as source:
        for k, count in enumerate((12, 10, 14)):
            strips = [picture[:20, :, 0] > 160 for picture in source.frames(k, "front", range(count))]
            widths = [round(float(strip.mean()) * 128 / 3) for strip in strips]
            assert widths == [1 + 3 * row for row in range(count)]  # the frame's number in its episode, and one


@pytest.mark.parametrize("off", [-0.004, 0.004], ids=["early", "late"])
def test_spans_may_be_rounded(off: float, tmp_path: Path) -> None:
    edges = np.array([0, 0.8, 1.6])
    write_lerobot(tmp_path / "set", 10, (8, 8), starts=[0.0, 0.8 + off], stops=[0.8 + off, 1.6])
    write_film(film_of(tmp_path / "set"), pictures(48), np.arange(48) / 30)
    assert shown(tmp_path / "set") == [[3 * i for i in range(8)], [24 + 3 * i for i in range(8)]]
    assert edges[1] == 24 / 30


def test_a_stop_keeps_frames_of_a_removed_episode_out(tmp_path: Path) -> None:
    """The last row is nearer to a frame behind the stop than to any of its own."""
    write_lerobot(tmp_path / "set", 10, (4,), starts=[0.0], stops=[0.3])
    times = [0, 0.1, 0.2, 0.26, 0.31, 0.41]
    write_film(film_of(tmp_path / "set"), pictures(6), times)
    assert shown(tmp_path / "set") == [[0, 1, 2, 3]]


@pytest.mark.parametrize("variant", ["bframes", "offset", "no-edit-list", "long-gop"])
def test_every_frame_is_found_however_the_film_is_coded(variant: str, tmp_path: Path) -> None:
    options = {"bf": "3", "b-pyramid": "normal"} if variant in ("bframes", "no-edit-list") else {}
    options |= {"g": "250"} if variant == "long-gop" else {"g": "12"}
    late = 1.4 if variant == "offset" else 0.0
    write_lerobot(tmp_path / "set", 10, (10, 10), starts=[0.0, 1.0], stops=[1.0, 2.0])
    path = film_of(tmp_path / "set")
    container = {"use_editlist": "0"} if variant == "no-edit-list" else {}
    write_film(path, pictures(60), late + np.arange(60) / 30, options=options, container=container)
    assert shown(tmp_path / "set") == [[3 * i for i in range(10)], [30 + 3 * i for i in range(10)]]


def test_spans_in_the_clock_of_a_film_that_begins_late_are_kept(tmp_path: Path) -> None:
    write_lerobot(tmp_path / "set", 10, (10, 10), starts=[1.4, 2.4], stops=[2.4, 3.4])
    write_film(film_of(tmp_path / "set"), pictures(60), 1.4 + np.arange(60) / 30)
    assert shown(tmp_path / "set") == [[3 * i for i in range(10)], [30 + 3 * i for i in range(10)]]


def test_frames_of_a_variable_rate_are_paired_by_their_times(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.07, 80))
    times -= times[0]
    write_film(tmp_path / "front.mp4", pictures(80), times)
    moments = np.arange(int(times[-1] * 10)) / 10
    numbers = numbers_at(tmp_path / "front.mp4", moments)
    assert numbers.tolist() == nearest_in(np.asarray(frame_times(tmp_path / "front.mp4")), moments, 0, np.inf)


def test_as_many_frames_as_rows_at_another_rate_are_a_wrong_clock(tmp_path: Path) -> None:
    """By time, the film of 4 Hz would end long after the rows of 5 Hz, and each row would show an earlier moment."""
    write_lerobot(tmp_path / "set", 5, (40,), starts=[0.0])
    write_film(film_of(tmp_path / "set"), pictures(40), np.arange(40) / 4)
    assert shown(tmp_path / "set") == [list(range(40))]
    result = import_episodes(config("lerobot", tmp_path / "set", tmp_path / "a.hdf5"))
    assert any("has 4 frames a second, the table 5 rows" in note for note in result.notes)


def test_other_rates_are_said_and_equal_ones_not(tmp_path: Path) -> None:
    for rate in (10, 30):
        folder = write_lerobot(tmp_path / f"{rate}", 10, (9,))
        write_film(film_of(folder), pictures(9 * rate // 10), np.arange(9 * rate // 10) / rate)
        result = import_episodes(config("lerobot", folder, tmp_path / f"{rate}.hdf5"))
        assert any("nearest in time" in note for note in result.notes) == (rate == 30)


def test_an_episode_after_the_end_of_its_film_is_left_out(tmp_path: Path) -> None:
    write_lerobot(tmp_path / "set", 10, (9, 9))
    write_film(film_of(tmp_path / "set"), pictures(45), np.arange(45) / 30)  # of 54
    result = import_episodes(config("lerobot", tmp_path / "set", tmp_path / "a.hdf5"))
    assert result.imported == 1
    (note,) = [note for note in result.notes if "left out" in note]
    assert "episode 1 was left out" in note and "which ends at 1." in note


def test_frames_that_are_not_there_are_refused(tmp_path: Path) -> None:
    write_film(tmp_path / "front.mp4", pictures(45), np.arange(45) / 30)
    with pytest.raises(DataError, match=r"has no frame at 1\.\d+ s"):
        numbers_at(tmp_path / "front.mp4", np.arange(18) / 10)


def test_a_hole_in_a_film_is_refused(tmp_path: Path) -> None:
    write_lerobot(tmp_path / "set", 10, (20,))
    times = np.delete(np.arange(60) / 30, np.arange(20, 31))
    write_film(film_of(tmp_path / "set"), pictures(len(times)), times)
    with pytest.raises(DataError, match=r"has no frame at 0\.7\d* s"):
        imported("lerobot", tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.avi", "libx264"), ("a.avi", "mpeg4")]
)
def test_frames_are_found_by_number_in_every_container(name: str, codec: str, tmp_path: Path) -> None:
    path = write_film(tmp_path / name, pictures(40), np.arange(40) / 10, codec, options={"bf": "2", "g": "6"})
    assert frame_times(path) == pytest.approx(np.arange(40) / 10, abs=2e-3)
    wanted = [0, 7, 7, 8, 23, 39]
    assert [number_of(picture) for picture in frames(path, np.array(wanted))] == wanted
    assert [number_of(picture) for picture in frames(path, np.array([38, 39]))] == [38, 39]


def test_a_seek_that_lands_late_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_film(tmp_path / "a.mp4", pictures(40), np.arange(40) / 10, options={"g": "5", "bf": "0"})
    held = videos.film(path)
    assert held.stamps is not None and len(held.keys) > 4
    decoded = videos._decoded

    def seek_late(path: Path, film: videos.Film, first: int) -> object:
        # The index says that decoding may begin at a frame that is later than the one which is wanted.
        wrong = film._replace(keys=np.array([first])) if len(film.keys) else film
        return decoded(path, wrong, first)

    monkeypatch.setattr(videos, "_decoded", seek_late)
    assert [number_of(picture) for picture in frames(path, np.array([13, 14]))] == [13, 14]


def test_frames_before_the_start_of_an_edit_list_are_not_counted(tmp_path: Path) -> None:
    """A trimmed film still holds what was cut off at its beginning, from the last key frame on."""
    path = write_film(tmp_path / "a.mp4", pictures(30), np.arange(30) / 10, options={"bf": "0", "g": "30"})
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 4
    scale = int.from_bytes(data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20])
    data[place + 12 : place + 16] = (scale // 2).to_bytes(4)  # the film begins at its sixth frame
    path.write_bytes(data)
    count = len(frame_times(path))
    assert count == 25
    assert [number_of(picture) for picture in frames(path, np.arange(count))] == list(range(5, 30))


def test_frames_that_are_far_apart_are_read_without_all_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_film(tmp_path / "a.mp4", pictures(400), np.arange(400) / 20, options={"g": "20"})
    decoded, numbers = videos._decoded, list[int]()

    def counting(path: Path, film: videos.Film, first: int) -> Iterator[tuple[int, object]]:
        for number, frame in decoded(path, film, first):
            numbers.append(number)
            yield number, frame

    monkeypatch.setattr(videos, "_decoded", counting)
    wanted = [0, 1, 45, 150, 150, 151, 399]
    assert [number_of(picture) for picture in frames(path, np.array(wanted))] == wanted
    assert len(numbers) < 120


def test_a_film_of_one_episode_with_a_wrong_clock_shows_frame_i_at_row_i(tmp_path: Path) -> None:
    """Whether it is too fast or too slow; but one that was truncated has no frame for every row."""
    for rate in (60, 15):
        folder = write_lerobot(tmp_path / str(rate), 30, [20])
        write_film(film_of(folder), pictures(20), np.arange(20) / rate)
        assert shown(folder) == [list(range(20))]
    folder = write_lerobot(tmp_path / "short", 30, [20])
    write_film(film_of(folder), pictures(19), np.arange(19) / 60)
    with open_source("lerobot", folder) as source, pytest.raises(DataError, match="which ends at 0.30 s: truncated"):
        source.recording(0)


@pytest.mark.parametrize("rate", [60, 45, 15])
@pytest.mark.parametrize("told", [True, False])
def test_episodes_of_a_film_with_a_wrong_clock_begin_where_it_says(rate: float, told: bool, tmp_path: Path) -> None:
    """LeRobot joins films by their own clocks."""
    begins = [0.0, 20 / rate, 32 / rate]
    folder = write_lerobot(
        tmp_path / "set", 30, [20, 12, 16], starts=begins, stops=[*begins[1:], 48 / rate] if told else None
    )
    write_film(film_of(folder), pictures(48), np.arange(48) / rate)
    assert shown(folder) == [list(range(20)), list(range(20, 32)), list(range(32, 48))]
