"""Every layout comes in with its values, times and frames, to the last action; what cannot be trusted is refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from layouts import LAYOUTS, Truth
from numpy.typing import NDArray

from gwm_sim import cli
from gwm_sim.commands.import_ import ImportConfig, import_episodes
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.data.formats import detect, open_source
from gwm_sim.data.images import shrink
from gwm_sim.data.importers.conversion import Conversion
from gwm_sim.data.importers.resampling import aggregate, cuts, nearest, rows_at
from gwm_sim.data.importers.rotations import changes, continuous
from gwm_sim.data.importers.source import Action
from gwm_sim.errors import ConfigError, DataError, MissingDependency

Array = NDArray[Any]

SIZE = 32


def config(format: str, source: Path, out: Path, **changes: Any) -> ImportConfig:
    plain = ImportConfig(format=format, source=source, out=out, size=SIZE)
    return dataclasses.replace(plain, **changes)


def imported(format: str, source: Path, **changes: Any) -> tuple[EpisodeFile, list[Episode]]:
    """Import a recording beside itself and read the result."""
    out = source.parent / "out" / "imported.hdf5"
    import_episodes(config(format, source, out, **changes))
    with EpisodeFile(out) as file:
        file.check()
        return file, list(file)


def assert_same_frames(frames: Array, truth: Array) -> None:
    """Compare frames with the truth, through whatever codec; a neighbour's frame is far outside of the tolerance."""
    expected = np.stack([shrink(picture, SIZE) for picture in truth]).astype(int)
    assert frames.shape == expected.shape
    assert np.abs(frames - expected).mean(axis=(1, 2, 3)).max() < 5
    assert np.abs(frames[:-1] - expected[1:]).mean(axis=(1, 2, 3)).min() > 6


def assert_is(episode: Episode, truth: Truth) -> None:
    np.testing.assert_allclose(episode.telemetry, truth.telemetry, atol=2e-6)
    np.testing.assert_allclose(episode.actions, truth.actions, atol=2e-6)
    assert episode.frames.keys() == truth.frames.keys()
    for camera, frames in episode.frames.items():
        assert_same_frames(frames, truth.frames[camera])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_times_and_frames_survive_to_the_last_action(layout: str, tmp_path: Path) -> None:
    case = LAYOUTS[layout]
    source = tmp_path / case.name
    truths = case.write(source)
    assert detect(source) == case.format
    file, episodes = imported(case.format, source, fps=case.rate)
    assert file.lengths == [len(truth.actions) for truth in truths]
    rates = {"robomimic": 20, "libero": 20, "roboturk": 10, "droid": 15, "lerobot": 30, "minari": 10, "folder": 20}
    assert file.schema.rate == pytest.approx(rates[case.format])
    for episode, truth in zip(episodes, truths, strict=True):
        assert_is(episode, truth)


def test_robosuite_actions_are_named_bounded_and_labelled(tmp_path: Path) -> None:
    layouts.write_robomimic(tmp_path / "demo.hdf5")
    file, episodes = imported("robomimic", tmp_path / "demo.hdf5", limit=2)
    assert file.schema.action_names == ("dx", "dy", "dz", "dax", "day", "daz", "gripper")
    assert set(file.schema.action_low) == {-1.0} and set(file.schema.action_high) == {1.0}
    assert [file.schema.telemetry_names[i] for i in file.schema.effector] == [f"robot0_eef_pos_{x}" for x in "xyz"]
    assert [file.schema.telemetry_names[i] for i in file.schema.gripper] == [f"robot0_gripper_qpos_{i}" for i in (0, 1)]
    assert file.schema.telemetry_units[:3] == ("m", "m", "m")
    assert file.schema.tasks == ("lift",)
    assert episodes[0].labels["lift"].success.tolist() == [False] * 7 + [True]


def test_controllers_of_robosuite_1_5_are_found_and_absolute_ones_are_targets(tmp_path: Path) -> None:
    path = tmp_path / "demo.hdf5"
    layouts.write_robomimic(path, (6,))
    arm = {"type": "OSC_POSE", "input_type": "absolute"}
    with h5py.File(path, "r+") as file:
        kwargs = {"control_freq": 20, "controller_configs": {"type": "BASIC", "body_parts": {"right": arm}}}
        file["data"].attrs["env_args"] = json.dumps(layouts.ROBOSUITE | {"env_kwargs": kwargs})
    with open_source("robomimic", path) as source:
        assert [action.name for action in source.layout.actions][:3] == ["x", "y", "z"]
        assert {action.kind for action in source.layout.actions} == {"target"}


def test_libero_right_side_up_is_not_turned(tmp_path: Path) -> None:
    path = tmp_path / "task.hdf5"
    truths = layouts.write_libero(path)
    with h5py.File(path, "r+") as file:
        file["data"].attrs["macros_image_convention"] = "opencv"
    _, episodes = imported("libero", path)
    assert_same_frames(episodes[0].frames["agentview"], truths[0].frames["agentview"][:, ::-1])


def test_folder_of_task_files_is_one_source(tmp_path: Path) -> None:
    truths = [layouts.write_libero(tmp_path / "suite" / f"{name}.hdf5") for name in "ab"]
    _, episodes = imported("libero", tmp_path / "suite")
    assert len(episodes) == 6
    assert_is(episodes[4], truths[1][1])


def test_raw_and_pilot_recordings_say_how_to_get_images(tmp_path: Path) -> None:
    layouts.write_pilot(tmp_path / "pilot")
    assert detect(tmp_path / "pilot") == "roboturk"
    with pytest.raises(DataError, match=r"simulation pilot: it holds simulator states and no images"):
        open_source("roboturk", tmp_path / "pilot")
    layouts.write_robomimic(tmp_path / "raw.hdf5", (6,))
    with h5py.File(tmp_path / "raw.hdf5", "r+") as file:
        del file["data/demo_0/obs"], file["data/demo_0/next_obs"]
    with pytest.raises(DataError, match=r"dataset_states_to_obs\.py with --camera_names first"):
        open_source("robomimic", tmp_path / "raw.hdf5")


def test_quaternions_of_other_simulators_keep_their_order(tmp_path: Path) -> None:
    truths = layouts.write_robomimic(tmp_path / "demo.hdf5", (6,))
    with h5py.File(tmp_path / "demo.hdf5", "r+") as file:
        for group in ("obs", "next_obs"):
            file[f"data/demo_0/{group}"].move("robot0_eef_quat", "eef_quat")
    own, (episode,) = imported("robomimic", tmp_path / "demo.hdf5")
    columns = [own.schema.telemetry_names.index(f"eef_quat_{i}") for i in range(4)]
    np.testing.assert_allclose(
        np.roll(episode.telemetry[:, columns], 1, axis=1), truths[0].telemetry[:, 3:7], atol=1e-6
    )


def test_depth_video_is_no_camera(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "a", "v2.1", "libx264")
    info = json.loads((tmp_path / "a/meta/info.json").read_text())
    info["features"]["observation.images.wrist"]["info"] = {"video.is_depth_map": True}
    (tmp_path / "a/meta/info.json").write_text(json.dumps(info))
    assert open_source("lerobot", tmp_path / "a").layout.cameras == ("front",)


def test_own_episode_file_is_not_foreign(tmp_path: Path) -> None:
    layouts.write_robomimic(tmp_path / "demo.hdf5", (6,))
    imported("robomimic", tmp_path / "demo.hdf5")
    own = tmp_path / "out" / "imported.hdf5"
    assert detect(own) is None
    with pytest.raises(ConfigError, match="is an episode file already"):
        open_source("robomimic", own)


def test_droid_says_which_episodes_failed(tmp_path: Path) -> None:
    layouts.write_droid(tmp_path / "droid")
    _, episodes = imported("droid", tmp_path / "droid", camera=("wrist",))
    assert [episode.policy for episode in episodes] == ["failed demonstration"] * 2 + ["demonstration"] * 2
    assert episodes[0].frames.keys() == {"wrist"}


def test_lerobot_knows_positions_by_name_and_asks_for_the_rest(tmp_path: Path) -> None:
    lengths = (16, 22, 18)
    truths = layouts.write_lerobot(tmp_path / "a" / "set", lengths=lengths)
    _, episodes = imported("lerobot", tmp_path / "a" / "set", fps=10)
    np.testing.assert_allclose(episodes[1].actions, truths[1].actions[2::3], atol=1e-6)
    truths = layouts.write_lerobot(tmp_path / "b" / "set", lengths=lengths, action_names=("a", "b", "c"))
    with pytest.raises(ConfigError, match=r"does not say how a, b, c add up .* give --actions"):
        imported("lerobot", tmp_path / "b" / "set", fps=10)
    _, episodes = imported("lerobot", tmp_path / "b" / "set", fps=10, actions="delta")
    sums = truths[1].actions.reshape(7, 3, 3).sum(axis=1)
    np.testing.assert_allclose(episodes[1].actions, sums, atol=1e-5)
    assert_same_frames(episodes[1].frames["front"], truths[1].frames["front"][::3])


def test_lerobot_labels_speak_of_the_next_frame(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "a", "v2.1", "libx264")
    _, episodes = imported("lerobot", tmp_path / "a")
    np.testing.assert_allclose(episodes[0].labels["task"].reward, [0, *np.linspace(0, 1, 8)[:-1]], atol=1e-6)


def test_other_versions_of_lerobot_are_named(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "a", "v2.1", "libx264")
    info = json.loads((tmp_path / "a/meta/info.json").read_text())
    (tmp_path / "a/meta/info.json").write_text(json.dumps(info | {"codebase_version": "v1.6"}))
    with pytest.raises(DataError, match=r"says codebase_version 'v1\.6'; v2\.0, v2\.1 and v3\.0 are read"):
        open_source("lerobot", tmp_path / "a")


def test_lerobot_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.write_lerobot(tmp_path / "a")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependency, match=r'pip install "gwm-sim\[data\]"'):
        open_source("lerobot", tmp_path / "a")


def test_minari_takes_the_limits_of_the_space_and_leaves_other_rewards_out(tmp_path: Path) -> None:
    layouts.write_minari(tmp_path / "a")
    with pytest.raises(ConfigError, match="does not say its rate: give it with --fps"):
        imported("minari", tmp_path / "a")
    result = import_episodes(config("minari", tmp_path / "a", tmp_path / "b.hdf5", fps=12.0))
    assert any("rewards from -1 to 0" in note for note in result.notes)
    with EpisodeFile(tmp_path / "b.hdf5") as file:
        assert (file.schema.rate, file.schema.action_low, file.schema.tasks) == (12, (-2, -1), ())


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
    expected = np.stack([shrink(picture, SIZE) for picture in truth.frames["front"][shown]]).astype(int)
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
    with pytest.raises(DataError, match=r"its table has 8 rows, its videos have .*16.* Add a column time"):
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


def test_rotation_changes_turn_one_quaternion_into_the_next() -> None:
    rng = np.random.default_rng(0)
    quaternions = rng.normal(size=(20, 4))
    quaternions = continuous(quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True), "test")
    assert (np.sum(quaternions[1:] * quaternions[:-1], axis=1) >= 0).all()
    for before, after, turn in zip(quaternions[:-1], quaternions[1:], changes(quaternions), strict=True):
        angle = np.linalg.norm(turn)
        w, v = np.cos(angle / 2), np.sin(angle / 2) * turn / angle
        product = np.array(
            [w * before[0] - v @ before[1:], *(w * before[1:] + before[0] * v + np.cross(v, before[1:]))]
        )
        assert abs(product @ after) == pytest.approx(1, abs=1e-5)


def test_shrinking_averages_areas() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    expected = picture.reshape(16, 4, 16, 6, 3).mean(axis=(1, 3))
    assert np.abs(shrink(picture, 16) - expected).max() <= 0.5 + 1e-3
    assert shrink(picture, 50).mean() == pytest.approx(picture.mean(), abs=0.5)


def test_one_camera_of_its_own_size_keeps_every_pixel(tmp_path: Path) -> None:
    path = tmp_path / "demo.hdf5"
    layouts.write_robomimic(path, (6,))
    with h5py.File(path, "r+") as file:
        square = np.random.default_rng(0).integers(0, 256, (7, SIZE, SIZE, 3), np.uint8)
        for group, rows in (("obs", square[:-1]), ("next_obs", square[1:])):
            del file[f"data/demo_0/{group}/agentview_image"]
            file[f"data/demo_0/{group}/agentview_image"] = rows
    _, (episode,) = imported("robomimic", path, camera=("agentview",))
    np.testing.assert_array_equal(episode.frames["agentview"], square)


# Safety


def test_videos_outside_of_the_source_are_refused(tmp_path: Path) -> None:
    layouts.write_roboturk(tmp_path / "turk")
    secret = tmp_path / "secret.mp4"
    shutil.copy(next(tmp_path.glob("turk/**/*.mp4")), secret)
    path = tmp_path / "turk" / "SawyerTowerCreation_aligned_dataset.hdf5"
    for reference in ("../secret.mp4", str(secret), "dataset_videos/../../secret.mp4"):
        with h5py.File(path, "r+") as file:
            file["data/user_0/demo_1"].attrs["front_rgb_video_file"] = reference
        with pytest.raises(DataError, match="only paths inside"):
            imported("roboturk", tmp_path / "turk")


@pytest.mark.parametrize("layout", ["droid", "lerobot-v3", "folder", "roboturk"])
def test_linked_videos_are_refused(layout: str, tmp_path: Path) -> None:
    case = LAYOUTS[layout]
    case.write(tmp_path / case.name)
    video = sorted(item for item in (tmp_path / case.name).rglob("*.mp4") if "stereo" not in item.name)[0]
    shutil.move(video, tmp_path / "elsewhere.mp4")
    video.symlink_to(tmp_path / "elsewhere.mp4")
    with pytest.raises(DataError, match="symbolic link, which is not followed"):
        imported(case.format, tmp_path / case.name)


def test_links_and_foreign_storage_in_hdf5_are_refused(tmp_path: Path) -> None:
    layouts.write_robomimic(tmp_path / "demo.hdf5", (6,))
    layouts.write_robomimic(tmp_path / "other.hdf5", (6,))
    (tmp_path / "raw.bin").write_bytes(bytes(6 * 7 * 8))

    def external(file: Any) -> None:
        file["data/demo_0/actions"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "/data/demo_0/actions")

    def soft(file: Any) -> None:
        file["data/demo_0/actions"] = h5py.SoftLink("/data/demo_0/states")

    def elsewhere(file: Any) -> None:
        storage = [(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("data/demo_0/actions", (6, 7), np.float64, external=storage)

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout((6, 7), np.float64)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "/data/demo_0/actions", (6, 7))
        file.create_virtual_dataset("data/demo_0/actions", layout)

    for i, replace in enumerate((external, soft, elsewhere, virtual)):
        path = Path(shutil.copy(tmp_path / "demo.hdf5", tmp_path / f"{i}.hdf5"))
        with h5py.File(path, "r+") as file:
            del file["data/demo_0/actions"]
            replace(file)
        with pytest.raises(DataError, match="is a link, which could lead anywhere|in another file"):
            imported("robomimic", path)


def test_playlists_are_no_videos(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8,))
    secret = Path(shutil.move(tmp_path / "takes/take_00/front.mp4", tmp_path / "secret.mp4"))
    (tmp_path / "takes/take_00/front.mp4").write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    with pytest.raises(DataError, match=r"front\.mp4 cannot be read"):
        imported("folder", tmp_path / "takes")


def test_source_is_never_written_to(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8,))
    with pytest.raises(ConfigError, match="lies in the source, which is never changed"):
        import_episodes(config("folder", tmp_path / "takes", tmp_path / "takes" / "a.hdf5"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "--size must be at least 1, got 0"),
        ({"limit": 0}, "--limit must be at least 1, got 0"),
        ({"fps": 0.0}, "--fps must be above 0"),
        ({"camera": ("top",)}, r"has no camera 'top'; it has front, side"),
        ({"camera": ("side", "side")}, "names 'side' twice"),
    ],
)
def test_impossible_options_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8,))
    with pytest.raises(ConfigError, match=message):
        imported("folder", tmp_path / "takes", **changes)


def test_truncated_video_names_the_file(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8,))
    video = tmp_path / "takes/take_00/side.mp4"
    video.write_bytes(video.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"side\.mp4 cannot be read"):
        imported("folder", tmp_path / "takes")


def test_nan_names_row_and_column(tmp_path: Path) -> None:
    layouts.write_robomimic(tmp_path / "demo.hdf5", (6, 6))
    with h5py.File(tmp_path / "demo.hdf5", "r+") as file:
        file["data/demo_1/actions"][3, 2] = np.nan
    with pytest.raises(DataError, match=r"/data/demo_1/actions holds nan at row 3, column 2"):
        imported("robomimic", tmp_path / "demo.hdf5")


# Going on after an interruption


def digest(path: Path) -> str:
    with EpisodeFile(path) as file:
        return file.digest()


def command(source: Path, out: Path) -> list[str]:
    words = ["import", "folder", str(source), "--out", str(out), "--size", str(SIZE)]
    return [sys.executable, "-m", "gwm_sim", *words]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline, "nothing was imported in two minutes"
        time.sleep(0.005)


def kill(source: Path, out: Path, parts: int) -> int:
    """Kill an import when it has finished some episodes; return how many survived."""
    with subprocess.Popen(command(source, out)) as process:
        wait_for(lambda: len(list(parts_folder(out).glob("*.hdf5"))) >= parts, process)
        process.send_signal(signal.SIGKILL)
    if not out.exists():
        with EpisodeFile(out) as file:
            file.check()
            return len(file)
    return len(EpisodeFile(out))


def test_killed_import_goes_on_where_it_stopped(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", [60] * 20)
    import_episodes(config("folder", tmp_path / "takes", tmp_path / "whole.hdf5"))
    out = tmp_path / "killed.hdf5"
    survived = kill(tmp_path / "takes", out, 2)
    assert survived >= 2
    result = import_episodes(config("folder", tmp_path / "takes", out))
    assert result.imported == 20 - survived
    assert digest(out) == digest(tmp_path / "whole.hdf5")
    assert not parts_folder(out).exists()
    assert import_episodes(config("folder", tmp_path / "takes", out)).imported == 0


@pytest.mark.parametrize("moment", [(Conversion, "__init__"), (EpisodeWriter, "merge")])
def test_interrupt_at_any_moment_says_how_to_go_on(
    moment: tuple[type, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    layouts.write_folder(tmp_path / "takes", [6])
    monkeypatch.setattr(*moment, interrupt)
    with pytest.raises(KeyboardInterrupt, match=r"a\.hdf5\.parts: the same command goes on"):
        import_episodes(config("folder", tmp_path / "takes", tmp_path / "a.hdf5"))


@pytest.mark.slow
def test_twenty_kills_lose_no_finished_episode(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", [60] * 20)
    whole, rng = tmp_path / "whole.hdf5", np.random.default_rng(0)
    began = time.monotonic()
    subprocess.run(command(tmp_path / "takes", whole), check=True)
    seconds = time.monotonic() - began
    for attempt in range(20):
        out = tmp_path / f"{attempt}.hdf5"
        with subprocess.Popen(command(tmp_path / "takes", out)) as process:
            time.sleep(rng.uniform(0.1, 1) * seconds)
            finished = {path.name for path in parts_folder(out).glob("*.hdf5")}
            process.send_signal(signal.SIGKILL)
        complete, kept = out.exists(), {path.name for path in parts_folder(out).glob("*.hdf5")}
        assert complete or finished <= kept
        result = import_episodes(config("folder", tmp_path / "takes", out))
        assert result.imported == (0 if complete else 20 - len(kept))
        assert digest(out) == digest(whole)


def test_other_settings_do_not_mix(tmp_path: Path) -> None:
    layouts.write_folder(tmp_path / "takes", (8, 8))
    imported("folder", tmp_path / "takes")
    with pytest.raises(ConfigError, match=r"was made with other settings: cameras\.front\.height: 32, here 16"):
        imported("folder", tmp_path / "takes", size=16)


def test_command_line_imports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layouts.write_folder(tmp_path / "takes", (8, 8))
    out, report = tmp_path / "a.hdf5", tmp_path / "a.json"
    words = ["import", "folder", str(tmp_path / "takes"), "--out", str(out), "--camera", "side", "--json", str(report)]
    assert cli.main(words) == 0
    assert "imported 2 episodes" in capsys.readouterr().out
    assert json.loads(report.read_text())["cameras"] == {"side": [64, 64]}
    assert cli.main(["import", "lerobot", str(tmp_path / "takes"), "--out", str(tmp_path / "b.hdf5")]) == 2
    assert "Give the folder of a LeRobot dataset" in capsys.readouterr().err
