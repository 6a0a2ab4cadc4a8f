"""`gwm inspect` on foreign recordings: what is in them, and a warning for each thing that would harm a world model."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from layouts import LAYOUTS
from numpy.typing import NDArray

from gwm_sim.commands.import_ import ImportConfig, import_episodes
from gwm_sim.commands.inspect import InspectConfig, main
from gwm_sim.data.formats import IMPORT_FORMATS, detect
from gwm_sim.data.inspection import Tally
from gwm_sim.data.recording import SourceOptions
from gwm_sim.data.survey import Survey, survey
from gwm_sim.errors import ConfigError, DataError

Array = NDArray[Any]


def write_bench(folder: Path, episodes: list[tuple[Array, Array, Array]]) -> Survey:
    """Write (telemetry (R, 2), actions (R, 2), pictures) per episode as a folder of videos and tables; survey it."""
    for k, (telemetry, actions, pictures) in enumerate(episodes):
        layouts.write_mp4(folder / f"take_{k}" / "front.mp4", pictures, 10)
        rows = np.concatenate([telemetry, actions], axis=1)
        lines = ["state.x [m],state.y [m],delta.dx,delta.dy", *(",".join(map(str, row)) for row in rows)]
        (folder / f"take_{k}" / "log.csv").write_text("\n".join(lines))
    return survey("folder", folder)


def bench(seed: int, rows: int = 40) -> tuple[Array, Array, Array]:
    """An episode of a robot that moves all the time, before a camera that stands still."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (rows, 2))
    telemetry = np.cumsum(actions, axis=0) / 10
    pictures = np.repeat(background()[None], rows, axis=0)
    for row in range(rows):
        x, y = (10 + 20 * (row % 7) / 7, 10 + 25 * (row % 5) / 5)
        pictures[row, int(y) : int(y) + 10, int(x) : int(x) + 10] = 250 - 5 * (row % 49)
    return telemetry, actions, pictures


def background() -> Array:
    blocks = np.random.default_rng(0).integers(40, 200, (16, 16, 3), np.uint8)
    return blocks.repeat(4, axis=0).repeat(4, axis=1)


def has(result: Survey, *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in result.warnings)


def test_sound_recording_warns_of_demonstrations_only(tmp_path: Path) -> None:
    result = write_bench(tmp_path, [bench(0), bench(1)])
    assert len(result.warnings) == 1 and has(result, "demonstrations only"), result.warnings
    assert (result.episodes, result.rows, result.shortest, result.rate) == (2, 80, 40, 10)
    assert result.actions["dx"].high == pytest.approx(max(bench(0)[1][:-1, 0].max(), bench(1)[1][:-1, 0].max()))
    assert result.telemetry["x"].unit == "m" and result.cameras == {"front": (64, 64)}
    assert result.kinds == {"dx": "delta", "dy": "delta"}


def test_constant_and_saturated_actions(tmp_path: Path) -> None:
    telemetry, actions, pictures = bench(0)
    actions[:, 0] = 0.3
    actions[:, 1] = np.where(np.arange(40) % 5, np.sign(actions[:, 1]), actions[:, 1])
    result = write_bench(tmp_path, [(telemetry, actions, pictures)])
    assert has(result, "action dx never changes")
    assert has(result, "action dy is at its limit in")


def test_robot_that_hardly_moves(tmp_path: Path) -> None:
    telemetry, actions, pictures = bench(0)
    telemetry[:30] = telemetry[0]
    result = write_bench(tmp_path, [(telemetry, actions, pictures)])
    assert has(result, "does not move in", "too little")
    assert result.still > 0.7


def test_frozen_stream(tmp_path: Path) -> None:
    telemetry, actions, pictures = bench(0)
    pictures[10:20] = pictures[10]
    result = write_bench(tmp_path, [bench(1), (telemetry, actions, pictures)])
    assert has(result, "camera front", "same picture", "episode 1")


def test_camera_that_is_slower_than_the_log_is_told_from_a_frozen_one(tmp_path: Path) -> None:
    """At 6 of 10 pictures a second; then with a stretch that is frozen beside it."""
    telemetry, actions, pictures = bench(0, 60)
    slow = pictures[(np.floor(np.arange(60) * 0.6) / 0.6).astype(int)]
    result = write_bench(tmp_path / "slow", [bench(1), (telemetry, actions, slow)])
    assert has(result, "camera front is slower than the log", "episode 1", "of 10 in a second", "--fps 5")
    assert not has(result, "frozen")
    slow[30:45] = slow[30]
    result = write_bench(tmp_path / "both", [bench(1), (telemetry, actions, slow)])
    assert has(result, "slower than the log") and has(result, "frozen")


def shown_rows(path: Path, shown: Array) -> Survey:
    """Survey a recording of 20 Hz without any loss, in which each row shows the picture of one of them."""
    layouts.write_robomimic(path, (len(shown),), next_obs=False)
    with h5py.File(path, "r+") as file:
        for dataset in file["data/demo_0/obs"].values():
            if dataset.ndim == 4:
                dataset[:] = dataset[:][shown]
    return survey("robomimic", path)


@pytest.mark.parametrize(("every", "fps"), [(2, "10"), (3, "6.667"), (4, "5")])
def test_slow_camera_is_read_well_at_the_rate_that_is_told(every: int, fps: str, tmp_path: Path) -> None:
    result = shown_rows(tmp_path / "a.hdf5", np.arange(72) // every * every)
    assert has(result, "agentview is slower than the log", f"--fps {fps}.")
    assert not has(result, "frozen")


def test_a_few_frozen_stretches_are_no_slow_camera(tmp_path: Path) -> None:
    shown = np.arange(100)
    for start in range(4, 95, 18):
        shown[start : start + 4] = start
    result = shown_rows(tmp_path / "a.hdf5", shown)
    assert has(result, "frozen") and not has(result, "slower")


@pytest.mark.parametrize("values", [(-1.0, 1.0), (0.0, 1.0), (-1.0, 0.0, 1.0)])
def test_a_switch_is_not_saturated(values: tuple[float, ...], tmp_path: Path) -> None:
    telemetry, actions, pictures = bench(0)
    actions[:, 1] = np.resize(np.repeat(values, 7), 40)
    result = write_bench(tmp_path, [(telemetry, actions, pictures)])
    assert result.actions["dy"].at_limit > 0.5
    assert not has(result, "saturated"), result.warnings


def test_moved_camera(tmp_path: Path) -> None:
    telemetry, actions, pictures = bench(1)
    result = write_bench(tmp_path, [bench(0), (telemetry, actions, np.roll(pictures, 6, axis=2)), bench(2)])
    assert has(result, "camera front was moved", "by episode 1")


def test_a_large_arm_that_stands_elsewhere_is_no_moved_camera(tmp_path: Path) -> None:
    arm = np.random.default_rng(1).integers(40, 200, (12, 9, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    episodes = [bench(seed) for seed in range(2)]
    for column, (_, _, pictures) in zip((0, 24), episodes, strict=True):
        pictures[:, 8:56, column : column + 36] = arm
    assert not has(write_bench(tmp_path, episodes), "was moved")


def test_a_cube_elsewhere_on_a_plain_table_is_no_moved_camera(tmp_path: Path) -> None:
    episodes = [bench(seed) for seed in range(3)]
    for k, (_, _, pictures) in enumerate(episodes):
        pictures[:] = 140
        pictures[:, 30:40, 10 + 14 * k : 20 + 14 * k] = (200, 40, 40)
    assert not has(write_bench(tmp_path, episodes), "was moved")


def rebuilt(seed: int) -> tuple[Array, Array, Array]:
    """The bench with things put elsewhere on it."""
    telemetry, actions, pictures = bench(seed)
    rng = np.random.default_rng(seed)
    for size in (14, 10, 8, 8):
        y, x = rng.integers(0, 64 - size, 2)
        thing = rng.integers(30, 220, (size // 2, size // 2, 3)).repeat(2, 0).repeat(2, 1)
        pictures[:, y : y + size, x : x + size] = thing
    return telemetry, actions, pictures


def test_things_elsewhere_are_no_moved_camera(tmp_path: Path) -> None:
    assert not has(write_bench(tmp_path, [rebuilt(seed) for seed in range(6)]), "was moved")


def test_light_that_changes_is_no_moved_camera(tmp_path: Path) -> None:
    telemetry, actions, pictures = bench(1)
    dark = (pictures * 0.7 + 10).astype(np.uint8)
    assert not has(write_bench(tmp_path, [bench(0), (telemetry, actions, dark)]), "was moved")


def test_another_scene_is_found(tmp_path: Path) -> None:
    telemetry, actions, pictures = bench(1)
    elsewhere = np.random.default_rng(5).integers(40, 200, (16, 16, 3), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    pictures = np.where((pictures == background()).all(axis=-1, keepdims=True), elsewhere, pictures)
    result = write_bench(tmp_path, [bench(0), (telemetry, actions, pictures)])
    assert has(result, "front was moved, or the scene rebuilt, by episode 1")


def test_gaps_and_rates_that_differ(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (20, 20))
    table = tmp_path / "takes/take_01/robot.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:9] + lines[12:]))
    assert has(survey("folder", tmp_path / "takes"), "1 gaps in time")
    slow = [lines[0], *(",".join([str(0.07 * k), *line.split(",")[1:]]) for k, line in enumerate(lines[1:]))]
    table.write_text("\n".join(slow))
    assert has(survey("folder", tmp_path / "takes"), "ran at 14.3 to 20 Hz, not at 20 Hz")


def test_outcomes_and_coverage_are_counted(tmp_path: Path) -> None:
    layouts.write_droid(tmp_path / "droid")
    result = survey("droid", tmp_path / "droid")
    assert result.outcomes == {"failure": 1, "success": 1}
    assert not has(result, "demonstrations")
    assert result.gaps == 2  # the rows without movement, in the middle of each
    assert result.coverage is not None and 0 < result.coverage < 1


def test_how_actions_add_up_is_asked_for(tmp_path: Path) -> None:
    """Also where the table is faster than its videos, which an import cannot read without it."""
    layouts.write_folder(tmp_path / "takes", (20,))
    table = tmp_path / "takes/take_00/robot.csv"
    header, *lines = table.read_text().splitlines()
    fast = [",".join([str(100 + 0.02 * k), *line.split(",")[1:]]) for k, line in enumerate(lines)]
    table.write_text("\n".join([header.replace("delta.dx", "action.dx"), *fast]))
    result = survey("folder", tmp_path / "takes")
    assert has(result, "does not say how dx add up: give it to gwm import with --actions")
    assert result.kinds["dx"] == "unknown"


def test_unknown_rate_is_asked_for(tmp_path: Path) -> None:
    layouts.write_minari(tmp_path / "pick-v0")
    assert has(survey("minari", tmp_path / "pick-v0"), "--fps")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inspect_finds_the_format_and_draws_a_sheet(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = LAYOUTS[layout]
    truths = case.write(tmp_path / case.name)
    video, report = tmp_path / "out" / "sheet.png", tmp_path / "out" / "a.json"
    assert main(InspectConfig(tmp_path / case.name, video=video, json=report)) == 0
    numbers = json.loads(report.read_text())
    assert numbers["format"] == case.format
    assert set(numbers["cameras"]) == set(truths[0].frames)
    assert video.stat().st_size > 1000
    assert f"({case.format})" in capsys.readouterr().out


def test_inspect_makes_a_film_of_a_foreign_recording(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes")
    assert main(InspectConfig(tmp_path / "takes", video=tmp_path / "film.mp4")) == 0
    assert (tmp_path / "film.mp4").stat().st_size > 1000


def test_format_can_be_told(tmp_path: Path) -> None:
    layouts.write_libero(tmp_path / "task.hdf5")
    with h5py.File(tmp_path / "task.hdf5", "r+") as file:
        for demo in file["data"].values():
            demo["obs"].move("agentview_rgb", "table_rgb")
    assert detect(tmp_path / "task.hdf5") == "robomimic"
    told = survey("libero", tmp_path / "task.hdf5")
    assert set(told.cameras) == {"table", "eye_in_hand"}


def test_unknown_files_are_no_recording(tmp_path: Path) -> None:
    (tmp_path / "notes.hdf5").write_text("nothing")
    assert detect(tmp_path) is None
    with pytest.raises(DataError, match="truncated or no HDF5 file"):
        main(InspectConfig(tmp_path / "notes.hdf5"))
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match="holds no finished episode") as told:
        main(InspectConfig(tmp_path / "pictures"))
    for format in IMPORT_FORMATS.values():
        assert format.looks_for and f"\n  {format.name}: {format.looks_for}" in str(told.value)
    with pytest.raises(DataError, match="no such file"):
        main(InspectConfig(tmp_path / "absent.hdf5"))


def test_recordings_beside_what_was_given_are_named(tmp_path: Path) -> None:
    """One level too high, one too low, and a file of it."""
    takes = tmp_path / "bench" / "takes"
    layouts.write_folder(takes, (8,))
    (takes / "take_00" / "notes").mkdir()
    (tmp_path / "bench" / "more").mkdir()
    with pytest.raises(DataError, match=f"{takes} looks like folder: give that"):
        main(InspectConfig(tmp_path / "bench"))
    with pytest.raises(DataError, match=f"{takes / 'take_00'} looks like folder: give that"):
        main(InspectConfig(takes / "take_00" / "notes"))
    with pytest.raises(DataError, match="looks like folder: give that"):
        main(InspectConfig(takes / "take_00" / "robot.csv"))


def test_wrong_format_names_the_right_one(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8,))
    with pytest.raises(DataError, match=r"no .*main_data\.hdf5.*\n.*takes looks like folder\."):
        survey("minari", tmp_path / "takes")


def test_damaged_episode_file_is_not_taken_for_something_else(tmp_path: Path) -> None:
    layouts.write_robomimic(tmp_path / "demo.hdf5", (6,))
    import_episodes(ImportConfig("robomimic", tmp_path / "demo.hdf5", tmp_path / "a.hdf5", size=16))
    with h5py.File(tmp_path / "a.hdf5", "r+") as file:
        del file["data/demo_0/telemetry"]
    with pytest.raises(DataError) as told:
        main(InspectConfig(tmp_path / "a.hdf5"))
    assert "looked for" not in str(told.value)


def test_tally_equals_the_whole() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-3, 4, (1000, 3)).astype(float)
    tally = Tally(3)
    for block in np.array_split(values, 7):
        tally.add(block)
    ends = ((values == values.min(axis=0)) | (values == values.max(axis=0))).mean(axis=0)
    np.testing.assert_allclose(tally.at_ends, ends)
    assert dataclasses.astuple(tally.ranges("abc", "  m")["c"])[1:3] == (-3.0, 3.0)


def test_other_episodes_are_looked_at_where_the_pictures_of_some_are_damaged(tmp_path: Path) -> None:
    """As many as are looked at, and more, have films that cannot be decoded."""
    pytest.importorskip("pyarrow")
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264", lengths=[7] * 30)
    for k in set(range(30)) - {1}:
        path = tmp_path / f"set/videos/chunk-000/observation.images.front/episode_{k:06d}.mp4"
        data = bytearray(path.read_bytes())
        start = data.index(b"mdat") + 4
        data[start : start + 1500] = bytes(1500)
        path.write_bytes(data)
    result = survey("lerobot", tmp_path / "set")
    assert result.cameras == {"front": (64, 80), "wrist": (64, 80)}
    assert has(result, "episode 0 was left out") and not has(result, "episode 1 was left out")


def test_what_the_user_says_of_actions_is_heeded(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path, (8, 8))
    for table in tmp_path.glob("*/*.csv"):
        table.write_text(table.read_text().replace("delta.dx", "action.dx"))
    assert has(survey("folder", tmp_path), "does not say how dx add up")
    told = survey("folder", tmp_path, options=SourceOptions(actions="delta"))
    assert told.kinds["dx"] == "delta" and not has(told, "add up")


def test_options_for_recordings_are_refused_for_episode_files(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8, 8))
    import_episodes(ImportConfig(format="folder", source=tmp_path / "takes", out=tmp_path / "a.hdf5", size=16))
    with pytest.raises(ConfigError, match=r"--source-fps is for recordings of others; .* is an episode file"):
        main(InspectConfig(tmp_path / "a.hdf5", source_fps=10))
    with pytest.raises(ConfigError, match="has no camera 'top'; it has front, side"):
        main(InspectConfig(tmp_path / "a.hdf5", camera=("top",)))
    assert main(InspectConfig(tmp_path / "a.hdf5", camera=("side",), video=tmp_path / "a.png")) == 0
    assert (tmp_path / "a.png").is_file()


def test_help_names_the_formats_that_heed_an_option() -> None:
    source = inspect.getsource(SourceOptions)
    for option in dataclasses.fields(SourceOptions):
        described = re.search(rf'{option.name}: [^\n]*\n    """(.*?)"""', source, re.DOTALL)
        assert described is not None
        named = re.match(r"([a-z]+(?:, [a-z]+)*): ", described[1])
        heeding = {format.name for format in IMPORT_FORMATS.values() if option.name in format.options}
        assert set(named[1].split(", ") if named else ()) == heeding, option.name
