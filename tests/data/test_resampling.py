"""Rows meet frames by time, actions add up by their kind, and gaps in time cut the episode."""

from __future__ import annotations

import json
from pathlib import Path

import layouts
import numpy as np
import pytest
from importing import SHAPE, assert_is, assert_same_frames, config, imported

from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.conversion.resampling import aggregate, cuts, nearest, rows_at
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.images import fit
from gwm_sim.data.importers.source import Action
from gwm_sim.errors import ConfigError, DataError


def test_table_faster_than_its_videos_is_thinned_to_their_rate(tmp_path: Path) -> None:
    truth = layouts.make_truth(0, 41, 2, 2, ("front",))
    layouts.write_mp4(tmp_path / "a/take/front.mp4", truth.frames["front"][:10], 10)
    rows = np.column_stack([np.arange(40) / 40, truth.telemetry[:40], truth.actions])
    lines = ["time,state.x,state.y,delta.dx,rate.vy", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "a/take/robot.csv").write_text("\n".join(lines))
    file, (episode,) = imported("folder", tmp_path / "a")
    assert file.schema.rate == pytest.approx(10)
    np.testing.assert_allclose(episode.telemetry, truth.telemetry[:40:4], atol=1e-6)
    blocks = truth.actions[:36].reshape(9, 4, 2)
    np.testing.assert_allclose(episode.actions, np.stack([blocks[..., 0].sum(1), blocks[..., 1].mean(1)], 1), atol=1e-5)
    assert_same_frames(episode.frames["front"], truth.frames["front"][:10])


def test_times_count_from_the_first_frame_of_the_videos(tmp_path: Path) -> None:
    truth = layouts.make_truth(0, 17, 2, 1, ("front",))
    layouts.write_mp4(tmp_path / "a/take/front.mp4", truth.frames["front"][:16], 20)
    rows = np.column_stack([np.arange(6, 16) / 20, truth.telemetry[6:16], truth.actions[6:16]])
    lines = ["time,state.x,state.y,delta.dx", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "a/take/robot.csv").write_text("\n".join(lines))
    _, (episode,) = imported("folder", tmp_path / "a")
    assert_is(episode, truth.rows(6, 16))


def test_actions_of_a_fast_table_add_up_as_the_user_says(tmp_path: Path) -> None:
    truth = layouts.make_truth(0, 41, 1, 1, ("front",))
    layouts.write_mp4(tmp_path / "a/take/front.mp4", truth.frames["front"][:10], 10)
    rows = np.column_stack([np.arange(40) / 40, truth.telemetry[:40], truth.actions])
    lines = ["time,state.x,action.dx", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "a/take/robot.csv").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="how dx add up when frames are left out: give --actions"):
        imported("folder", tmp_path / "a")
    import_episodes(config("folder", tmp_path / "a", tmp_path / "b.hdf5", actions="delta"))
    with EpisodeFile(tmp_path / "b.hdf5") as file:
        summed = truth.actions[:36].reshape(9, 4).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(file[0].actions, summed, atol=1e-5)


def test_a_frame_may_be_the_nearest_of_two_rows(tmp_path: Path) -> None:
    truth = layouts.make_truth(0, 21, 2, 1, ("front",))
    layouts.write_mp4(tmp_path / "a/take/front.mp4", truth.frames["front"][:20], 10)
    times = np.arange(20) / 10
    times[5::2] += 0.052  # nearer to the next frame, which the next row has too
    rows = np.column_stack([times, truth.telemetry[:20], truth.actions])
    lines = ["time,state.x,state.y,delta.dx", *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "a/take/robot.csv").write_text("\n".join(lines))
    _, (episode,) = imported("folder", tmp_path / "a")
    shown = np.minimum(np.arange(20) + (np.arange(20) % 2) * (np.arange(20) >= 5), 19)
    expected = np.stack([fit(picture, SHAPE) for picture in truth.frames["front"][shown]]).astype(int)
    assert np.abs(episode.frames["front"] - expected).mean(axis=(1, 2, 3)).max() < 5


@pytest.mark.parametrize("rows", [16, 17])
def test_a_success_on_a_row_that_is_left_out_is_kept(rows: int, tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "a", lengths=(rows, rows + 2, rows + 1))
    info = json.loads((tmp_path / "a/meta/info.json").read_text())
    del info["features"]["next.reward"]
    (tmp_path / "a/meta/info.json").write_text(json.dumps(info))
    import_episodes(config("lerobot", tmp_path / "a", tmp_path / "b.hdf5", fps=10))
    with EpisodeFile(tmp_path / "b.hdf5") as file:
        for episode in file:
            labels = episode.labels["task"]
            assert labels.success.tolist() == [False] * (len(labels.success) - 1) + [True]
            np.testing.assert_array_equal(labels.reward, labels.success)


def test_success_without_reward_becomes_a_label(tmp_path: Path) -> None:
    truths = layouts.write_lerobot(tmp_path / "a")
    info = json.loads((tmp_path / "a/meta/info.json").read_text())
    del info["features"]["next.reward"]
    (tmp_path / "a/meta/info.json").write_text(json.dumps(info))
    file, episodes = imported("lerobot", tmp_path / "a")
    assert file.schema.tasks == ("task",)
    for episode, truth in zip(episodes, truths, strict=True):
        last = np.arange(len(truth.telemetry)) == len(truth.telemetry) - 1
        np.testing.assert_array_equal(episode.labels["task"].success, last)
        np.testing.assert_array_equal(episode.labels["task"].reward, last)


def test_gaps_in_time_cut_the_episode(tmp_path: Path) -> None:
    truths = layouts.write_folder(tmp_path / "takes", (14,))
    table = tmp_path / "takes/take_00/robot.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:7] + lines[9:]))  # rows 6 and 7 are missing
    result = import_episodes(config("folder", tmp_path / "takes", tmp_path / "a.hdf5"))
    assert any("1 gaps in time" in note for note in result.notes)
    with EpisodeFile(tmp_path / "a.hdf5") as file:
        assert file.lengths == [5, 5]
        assert_is(file[1], truths[0].rows(8, 14))


def test_frames_that_a_video_lost_cut_the_episode(tmp_path: Path) -> None:
    (truth,) = layouts.write_folder(tmp_path / "takes", (16,))
    stamps = np.delete(np.arange(16), 8)
    layouts.write_mp4(tmp_path / "takes/take_00/front.mp4", truth.frames["front"][stamps], 20, stamps=stamps)
    _, episodes = imported("folder", tmp_path / "takes")
    assert_is(episodes[0], truth.rows(0, 8))
    assert_is(episodes[1], truth.rows(9, 16))


def test_table_without_times_must_be_as_long_as_its_videos(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (16,), timed=False)
    table = tmp_path / "takes/take_00/robot.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:9]))
    with pytest.raises(DataError, match=r"take_00 has 8 rows, but 16 frames of front, side: .* add a column time"):
        imported("folder", tmp_path / "takes")


def test_dropped_frames_sum_deltas_take_targets_and_average_rates(tmp_path: Path) -> None:
    truths = layouts.write_folder(tmp_path / "takes", (17,))
    file, (episode,) = imported("folder", tmp_path / "takes", fps=5)
    assert file.schema.rate == 5
    np.testing.assert_allclose(episode.telemetry, truths[0].telemetry[::4], atol=1e-6)
    blocks = truths[0].actions.reshape(4, 4, 3)
    expected = np.stack([blocks[..., 0].sum(axis=1), blocks[:, -1, 1], blocks[..., 2].mean(axis=1)], axis=1)
    np.testing.assert_allclose(episode.actions, expected, atol=1e-5)
    assert_same_frames(episode.frames["side"], truths[0].frames["side"][::4])


def test_summed_deltas_widen_the_limits(tmp_path: Path) -> None:
    layouts.write_robomimic(tmp_path / "demo.hdf5", (20, 21))
    file, _ = imported("robomimic", tmp_path / "demo.hdf5", fps=5)
    assert file.schema.action_high == (4, 4, 4, 4, 4, 4, 1)


def test_more_frames_than_there_are_is_refused(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8,))
    with pytest.raises(ConfigError, match=r"--fps 50 is more than the 20 Hz of the source"):
        imported("folder", tmp_path / "takes", fps=50.0)


def test_uneven_ratio_keeps_the_nearest_rows_and_every_change() -> None:
    times = np.arange(31) / 30
    rows = rows_at(times, 12.0)
    assert np.abs(times[rows] - np.arange(len(rows)) / 12).max() <= 1 / 60 + 1e-9
    actions = np.random.default_rng(0).normal(size=(30, 1))
    joined = aggregate(actions, [Action("dx", kind="delta")], rows)
    np.testing.assert_allclose(joined.sum(), actions[: rows[-1]].sum(), atol=1e-5)


def test_jitter_is_no_gap_and_a_lost_row_is_one() -> None:
    rng = np.random.default_rng(0)
    times = np.arange(50) / 20 + rng.uniform(-0.01, 0.01, 50)
    assert cuts(times) == [(0, 50)]
    assert cuts(np.delete(times, 20)) == [(0, 20), (20, 49)]
    assert nearest(np.array([0.0, 1.0, 2.0]), np.array([-1.0, 0.4, 0.6, 9.0])).tolist() == [0, 0, 1, 2]
