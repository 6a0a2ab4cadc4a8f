"""Whole imports of recordings whose angles jump, made-up ones and those of real arms."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py
import layouts
import numpy as np
import pytest
from importing import imported
from motions import PI, Array, assert_same, wander, wrap
from shared_data import shared

from gwm_sim.commands.import_ import ImportConfig, import_episodes
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.survey import survey

# Whole imports


def write_takes(folder: Path, rolls: Sequence[Array], rate: float = 20) -> Path:
    """Takes of the folder layout whose telemetry is a roll, told as a target."""
    layouts.write_folder(folder, [len(roll) for roll in rolls], rate)
    for path, roll in zip(sorted(folder.iterdir()), rolls, strict=True):
        lines = [f"{value:.6f},{value:.6f}" for value in wrap(roll)]
        (path / "robot.csv").write_text("\n".join(["state.roll [rad],target.roll [rad]", *lines]) + "\n")
    return folder


def test_rows_are_left_out_after_the_angles_are_continuous(tmp_path: Path) -> None:
    """At a quarter of the rate roll turns by more than half a turn per step."""
    rolls = [np.arange(60) * 1.0, 1.0 + np.arange(60) * 1.0]
    file, episodes = imported("folder", write_takes(tmp_path / "takes", rolls), fps=5.0)
    for episode in episodes:
        assert_same(np.diff(episode.telemetry[:, 0]), np.full(14, 4.0))
        assert_same(episode.actions[:, 0] - episode.telemetry[:-1, 0], np.full(14, 3.0))
    assert file.schema.telemetry_high[0] >= max(episode.telemetry.max() for episode in episodes)
    assert file.schema.action_high[0] >= max(episode.actions.max() for episode in episodes)
    digest = file.digest()
    (tmp_path / "out" / "imported.hdf5").unlink()
    again, _ = imported("folder", tmp_path / "takes", fps=5.0)
    assert again.digest() == digest


def test_only_imports_that_were_changed_say_so(tmp_path: Path) -> None:
    file, _ = imported("folder", write_takes(tmp_path / "a" / "takes", [wander(0, 20, start=1.0)]))
    assert "angles" not in file.schema.settings
    file, _ = imported("folder", write_takes(tmp_path / "b" / "takes", [wander(0, 20, start=PI)]))
    assert file.schema.settings["angles"] == {"state.roll": "continuous", "action.roll": "continuous"}


def test_lerobot_and_minari_come_in_without_jumps(tmp_path: Path) -> None:
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    source = tmp_path / "lerobot" / "arm"
    layouts.write_lerobot(source, "v2.1", "libx264", lengths=(8,))
    text = (source / "meta/info.json").read_text()
    for old, new in zip(layouts.LEROBOT_STATE, ("roll", "pitch", "yaw"), strict=True):
        text = text.replace(old, new)
    (source / "meta/info.json").write_text(text)
    true = np.stack([np.linspace(3, 3.4, 8), np.full(8, 0.1), np.linspace(-3, -3.4, 8)], axis=1)
    path = next(source.glob("data/**/*.parquet"))
    table = pq.read_table(path)
    for name in ("observation.state", "action"):
        values = pa.array(wrap(true).tolist(), pa.list_(pa.float32(), 3))
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table, path)
    _, (episode,) = imported("lerobot", source)
    assert np.abs(np.diff(episode.telemetry, axis=0)).max() < 0.1
    assert_same(episode.actions, episode.telemetry[:-1])

    source = tmp_path / "minari" / "arm-v0"
    layouts.write_minari(source, lengths=(40,))
    half, signs = np.linspace(1, 2.5, 41)[:, None], np.repeat([[1], [-1]], [20, 21], axis=0)
    quaternions = signs * np.concatenate([np.cos(half), np.sin(half), 0 * half, 0 * half], axis=1)
    with h5py.File(source / "data/main_data.hdf5", "r+") as file:
        file["episode_0/observations/arm/quat"] = quaternions
    imports, (episode,) = imported("minari", source, fps=10.0)
    columns = [i for i, name in enumerate(imports.schema.telemetry_names) if "quat" in name]
    assert len(columns) == 4
    assert np.abs(np.diff(episode.telemetry[:, columns], axis=0)).max() < 0.1


# Recordings of others


def test_the_yaw_of_a_turning_base_goes_on(tmp_path: Path) -> None:
    source = shared("cases/wrapping-angle/wrap")
    warnings = survey("folder", source).warnings
    assert any("state.yaw jumps by a whole turn 3 times in 1 recordings: gwm import makes it" in w for w in warnings)
    import_episodes(ImportConfig("folder", source, tmp_path / "a.hdf5", size=16))
    with EpisodeFile(tmp_path / "a.hdf5") as file:
        (episode,) = file
        np.testing.assert_allclose(np.diff(episode.telemetry[:, 0]), 0.3, atol=1e-3)
        assert np.ptp(episode.telemetry) == pytest.approx(59 * 0.3, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "videos", "jumps"),
    [
        ("franka-droid-new-setup", "videos/val/{}/0.mp4", (12, 12)),
        ("franka-droid-subset", "videos/{}/0.mp4", (26, 31)),
        ("widowx-bridge-cosmos", "videos/test/{}/rgb.mp4", (14,)),
    ],
)
def test_rolls_of_real_arms_do_not_jump(name: str, videos: str, jumps: tuple[int, ...], tmp_path: Path) -> None:
    source = shared(f"data/real/{name}")
    one_frame_more = {"0003", "0006"}  # in their films than in their tables
    for folder in (source / "folder-layout").iterdir():
        if folder.name in one_frame_more:
            continue
        place = tmp_path / name / folder.name
        place.mkdir(parents=True)
        shutil.copy(folder / "robot.csv", place)
        shutil.copy(source / videos.format(folder.name.replace("_", "/")), place / "front.mp4")
    result = import_episodes(ImportConfig("folder", tmp_path / name, tmp_path / "a.hdf5", size=16, json=None))
    for side, count in zip(("state", "action"), jumps, strict=False):
        assert any(f"{side}.roll jumps by a whole turn {count} times" in note for note in result.notes), result.notes
    with EpisodeFile(tmp_path / "a.hdf5") as file:
        roll = file.schema.telemetry_names.index("roll")
        told = file.schema.action_names.index("roll") if "roll" in file.schema.action_names else None
        assert 0 < file.schema.telemetry_high[roll] - file.schema.telemetry_low[roll] < 2
        for episode in file:
            assert np.abs(np.diff(episode.telemetry[:, roll])).max() < 0.2
            assert abs(episode.telemetry[:, roll].mean() - PI) < 0.5
            if told is not None:
                assert np.abs(episode.actions[:, told] - episode.telemetry[:-1, roll]).max() < 0.3
