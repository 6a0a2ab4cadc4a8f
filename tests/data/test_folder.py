"""The folder layout: clocks in any unit, cells that are wrong, films that differ in length, pictures, outcomes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import layouts
import numpy as np
import pytest
from importing import assert_is, imported
from shared_data import shared
from takes import RATE, ROWS, opened, said, shown, take
from truths import jpeg, make_pictures, write_mp4

from gwm_sim.data.formats import detect, open_source
from gwm_sim.data.importers.source import SourceOptions
from gwm_sim.data.reading.folders import jump
from gwm_sim.errors import ConfigError, DataError


def test_a_clock_that_leaves_the_films_says_how_many_rows_and_frames_are_lost(tmp_path: Path) -> None:
    source = opened(take(tmp_path, [0.25 + r / RATE for r in range(ROWS)]))
    assert shown(source) == list(range(5, ROWS))
    assert "a: 5 of 12 rows, 4 of 12 frames" in said(source)
    assert "--source-fps" not in said(source)


def test_a_wrong_rate_of_a_film_is_suspected_and_can_be_corrected(tmp_path: Path) -> None:
    folder = take(tmp_path, [r / 25 for r in range(ROWS)])
    assert "--source-fps 25 would fit" in said(opened(folder))
    source = opened(folder, source_fps=25.0)
    assert source.layout.rate == 25 and shown(source) == list(range(ROWS))
    assert said(source) == ""


def test_films_at_another_rate_than_the_table_are_named(tmp_path: Path) -> None:
    faster = opened(take(tmp_path / "faster", [r / 5 for r in range(3)], rows=3))  # the film has 20 frames a second
    assert shown(faster) == [0, 4, 8]
    assert "a: 5 rows a second, frames of front 20" in said(faster)
    slower = opened(take(tmp_path / "slower", [r / 80 for r in range(45)], rows=45))
    assert shown(slower) == list(range(ROWS)) and slower.layout.rate == 20
    assert "a: 80 rows a second, frames of front 20" in said(slower)
    assert "rate" not in said(opened(take(tmp_path / "same", [r / RATE for r in range(ROWS)])))


def test_a_clock_of_frame_numbers_is_explained_where_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 of 12 rows have a frame at their time: it goes from 0 to 11 s, the films"):
        opened(take(tmp_path / "a", list(range(ROWS))))
    folder = take(tmp_path / "in", [0.45 + r / RATE for r in range(ROWS)])
    with pytest.raises(DataError, match=r"no recording has 5 rows at 20 Hz .* Note: .*\(a: \d+ of 12 rows"):
        imported("folder", folder)


def test_episodes_that_are_all_links_are_told(tmp_path: Path) -> None:
    folder = take(tmp_path / "real", None)
    (tmp_path / "links").mkdir()
    (tmp_path / "links/a").symlink_to(folder / "a")
    with pytest.raises(DataError, match="holds no episode: .* symbolic links are not followed"):
        opened(tmp_path / "links")


def test_a_camera_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    folder = take(tmp_path, None)
    shutil.copy(folder / "a/front.mp4", folder / "a/front.mov")
    with pytest.raises(DataError, match="shows 'front' twice"):
        opened(folder)


# Rows and frames


@pytest.mark.parametrize("rows", [ROWS - 1, ROWS + 2])
def test_rows_and_frames_that_differ_are_refused_or_trimmed(rows: int, tmp_path: Path) -> None:
    folder = take(tmp_path, None, rows=rows)
    write_mp4(folder / "a/side.mp4", make_pictures(1, ROWS - 1), RATE)
    counts = f"{rows} rows, (but )?12 frames of front, 11 frames of side"
    with pytest.raises(DataError, match=f"a has {counts}: .* Give --trim .* Or add a column time"):
        opened(folder)
    source = opened(folder, trim=True)
    assert shown(source) == list(range(ROWS - 1))
    assert len(source.recording(0).actions) == ROWS - 2
    assert f"a: {rows} rows, 12 frames of front, 11 frames of side" in said(source)


def test_another_rate_is_no_end_to_trim(tmp_path: Path) -> None:
    folder = take(tmp_path, None, rows=ROWS // 2)
    with pytest.raises(DataError, match=r"6 rows, but 12 frames of front: row i belongs to frame i\. Or add a column"):
        opened(folder, trim=True)


def test_droid_and_roboturk_say_what_they_drop_and_refuse_more(tmp_path: Path) -> None:
    for name, write in (("droid", layouts.write_droid), ("roboturk", layouts.write_roboturk)):
        write(tmp_path / name)
        source = open_source(name, tmp_path / name)
        source.recording(0)
        assert any("what is too much at the end was dropped" in remark for remark in source.remarks)
    video = next((tmp_path / "droid").rglob("111.mp4"))
    write_mp4(video, make_pictures(0, 17), 15)
    with pytest.raises(DataError, match=r"20 rows, but 17 frames of wrist, 19 frames of ext1, ext2: .* Give --trim"):
        open_source("droid", tmp_path / "droid").recording(0)
    assert len(open_source("droid", tmp_path / "droid", SourceOptions(trim=True)).recording(0)) == 14


# True rates


@pytest.mark.parametrize(
    "layout", ["folder-untimed", "folder-pictures", "droid", "lerobot-v3", "minari", "robomimic", "libero"]
)
def test_the_user_knows_the_true_rate(layout: str, tmp_path: Path) -> None:
    case = layouts.LAYOUTS[layout]
    truths = case.write(tmp_path / "in" / (case.name or "set"))
    file, episodes = imported(case.format, tmp_path / "in" / (case.name or "set"), source_fps=7.5)
    assert file.schema.rate == 7.5
    assert_is(episodes[0], truths[0])


def test_roboturk_has_measured_its_times(tmp_path: Path) -> None:
    layouts.write_roboturk(tmp_path / "turk")
    with pytest.raises(ConfigError, match="--source-fps means nothing for roboturk"):
        open_source("roboturk", tmp_path / "turk", SourceOptions(source_fps=5.0))


# Pictures, outcomes, and what is left out


def test_pictures_without_a_rate_ask_for_one_and_with_times_have_it(tmp_path: Path) -> None:
    truths = layouts.write_pictures(tmp_path / "takes")
    assert detect(tmp_path / "takes") == "folder"
    with pytest.raises(ConfigError, match="does not say its rate"):
        imported("folder", tmp_path / "takes")
    for table in (tmp_path / "takes").rglob("robot.csv"):
        lines = table.read_text().splitlines()
        table.write_text("\n".join([f"time,{lines[0]}", *(f"{r / 8},{line}" for r, line in enumerate(lines[1:]))]))
    file, episodes = imported("folder", tmp_path / "takes")
    assert file.schema.rate == 8
    assert_is(episodes[0], truths[0])
    (tmp_path / "takes/take_00/front/12.png").unlink()
    with pytest.raises(DataError, match="12 rows, but 11 frames of front, 12 frames of side"):
        opened(tmp_path / "takes")


def test_a_picture_that_is_missing_in_the_middle_is_no_end_to_trim(tmp_path: Path) -> None:
    layouts.write_pictures(tmp_path / "takes")
    for camera in ("front", "side"):
        (tmp_path / f"takes/take_00/{camera}/10.png").unlink()
    with pytest.raises(DataError, match=r"12 rows, but 11 pictures of front, and none .* after 9\.png"):
        opened(tmp_path / "takes", trim=True)
    table = tmp_path / "takes/take_00/robot.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:10] + lines[11:]))
    assert "as if some were deleted: only a column time can say where (take_00/front: after 9.png" in said(
        opened(tmp_path / "takes")
    )


def test_a_picture_that_is_missing_at_the_start_is_no_end_to_trim(tmp_path: Path) -> None:
    layouts.write_pictures(tmp_path / "takes")
    (tmp_path / "takes/take_00/side/1.png").unlink()
    with pytest.raises(DataError, match=r"12 rows, but 11 pictures of side, and none of the number before 2\.png"):
        opened(tmp_path / "takes", trim=True)


@pytest.mark.parametrize(
    ("numbers", "after"),
    [
        ((0, 1, 2, 4, 5), "2"),
        ((7, 10, 13, 19, 22), "13"),
        ((0, 3, 6, 9), None),
        ((1602421393803, 1602421393808, 1602421393811, 1602421393814), None),
        ((3,), None),
    ],
)
def test_missing_numbers_are_found(numbers: Sequence[int], after: str | None) -> None:
    found = jump([Path(f"take2/frame_{number:05d}.png") for number in numbers])
    assert found == (None if after is None else Path(f"take2/frame_{int(after):05d}.png"))


def test_outcome_and_instruction_are_kept(tmp_path: Path) -> None:
    layouts.write_pictures(tmp_path / "takes")
    _, episodes = imported("folder", tmp_path / "takes", fps=20.0)
    assert [(e.succeeded, e.instruction) for e in episodes] == [(True, "task 0"), (False, "task 1")]
    assert episodes[1].policy == "failed demonstration"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"success": "yes"}, "success is 'yes', expected true or false"),
        ({"success": 1}, "success is 1, expected true or false"),
        ({"instruction": "go\0"}, "zero character in"),
        ({"instruction": ["go"]}, "instruction is .*, expected a text"),
        ([], "expected a JSON object"),
    ],
)
def test_an_outcome_of_another_type_is_refused(told: object, message: str, tmp_path: Path) -> None:
    folder = take(tmp_path, None)
    (folder / "a/episode.json").write_text(json.dumps(told))
    with pytest.raises(DataError, match=message):
        opened(folder).recording(0)


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    folder = take(tmp_path, None)
    (folder / "a/episode.json").write_text(json.dumps({"succes": True, "operator": "me"}))
    (folder / "b").mkdir()
    shutil.copy(folder / "a/front.mp4", folder / "b/front.mp4")
    (folder / "c").mkdir()
    shutil.copy(folder / "a/robot.csv", folder / "c/robot.csv")
    (folder / "d").symlink_to(folder / "a")
    (folder / "a/._robot.csv").write_bytes(b"of a Macintosh")
    source = opened(folder)
    assert len(source) == 1
    for remark in (
        "operator, succes was not read (a)",
        "hold films, but no table, and were left out (b)",
        "hold a table, but no films, and were left out (c)",
        "symbolic links are not followed, and were left out (d)",
    ):
        assert remark in said(source)


# Recordings of others


def test_rows_of_a_franka_that_lack_a_frame(tmp_path: Path) -> None:
    source = shared("data/real/franka-droid-new-setup")
    for table in sorted((source / "folder-layout").glob("*/robot.csv")):
        name = table.parent.name
        (tmp_path / "in" / name).mkdir(parents=True)
        shutil.copy(table, tmp_path / "in" / name)
        for number, camera in enumerate(("ext1", "ext2", "wrist")):
            shutil.copy(source / f"videos/val/{name}/{number}.mp4", tmp_path / "in" / name / f"{camera}.mp4")
    with pytest.raises(DataError, match="0003 has 205 rows, but 206 frames of ext1, ext2, wrist"):
        said(opened(tmp_path / "in"))
    trimmed = opened(tmp_path / "in", trim=True, source_fps=5.0)
    assert [len(trimmed.recording(k)) for k in (1, 3)] == [205, 41] and trimmed.layout.rate == 5
    assert "0006: 41 rows, 42 frames of ext1, ext2, wrist" in said(trimmed)


@pytest.mark.parametrize("case", ["ms", "blank"])
def test_clocks_that_went_wrong(case: str) -> None:
    source = opened(shared(f"cases/csv-clock/{case}"))
    recording = source.recording(0)
    assert source.layout.rate == 10 and len(recording) == 20
    np.testing.assert_allclose(recording.telemetry[:, 0], np.arange(20) / 100, atol=1e-6)
    assert ("time is in ms" in said(source)) == (case == "ms")


def test_a_car_that_reports_nothing(tmp_path: Path) -> None:
    tub = shared("data/real/donkeycar-tub") / "tub"
    drive = tmp_path / "tub/drive"
    (drive / "front").mkdir(parents=True)
    lines = ["rate.steering,rate.throttle"]
    for line in (tub / "catalog_0.catalog").read_text().splitlines():
        moment = json.loads(line)
        shutil.copy(tub / "images" / moment["cam/image_array"], drive / "front" / f"{moment['_index']}.jpg")
        lines.append(f"{moment['user/angle']},{moment['user/throttle']}")
    (drive / "robot.csv").write_text("\n".join(lines))
    file, (episode,) = imported("folder", tmp_path / "tub", source_fps=20.0)
    assert episode.frames["front"].shape[0] == 1000 and episode.actions.shape == (999, 2)
    assert episode.telemetry.shape == (1000, 0) and file.schema.rate == 20
    assert episode.actions[0].tolist() == pytest.approx([0.2986039775, 0.5391259039])
    assert "there is no telemetry" in said(opened(tmp_path / "tub"))


def test_jpegs_are_pictures_too(tmp_path: Path) -> None:
    folder = take(tmp_path, None)
    (folder / "a/front.mp4").unlink()
    (folder / "a/front").mkdir()
    for row, picture in enumerate(make_pictures(0, ROWS)):
        (folder / f"a/front/frame{row}.JPG").write_bytes(jpeg(picture).tobytes())
    assert shown(opened(folder)) == list(range(ROWS))
