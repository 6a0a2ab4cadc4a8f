"""Every layout comes in with its values, times and frames, to the last action; what cannot be trusted is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import h5py
import layouts
import numpy as np
import pytest
from importing import SIZE, assert_is, assert_same_frames, config, imported
from layouts import LAYOUTS

from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.conversion.rotations import changes, continuous
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.formats import detect, open_source
from gwm_sim.data.images import shrink
from gwm_sim.errors import ConfigError, DataError, MissingDependency


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_times_and_frames_survive_to_the_last_action(layout: str, tmp_path: Path) -> None:
    case = LAYOUTS[layout]
    source = tmp_path / case.name
    truths = case.write(source)
    assert detect(source) == case.format
    file, episodes = imported(case.format, source, fps=case.rate)
    assert file.lengths == [len(truth.actions) for truth in truths]
    rates = {
        "robomimic": 20,
        "libero": 20,
        "roboturk": 10,
        "droid": 15,
        "lerobot": 30,
        "minari": 10,
        "folder": 20,
        "json": 5,
        "rlds": 5,
    }
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
    labels = episodes[0].labels["task"]
    # The success of the frame after the last one, which was not stored, counts for the last one.
    np.testing.assert_allclose(labels.reward, [0, *np.linspace(0, 1, 8)[:-2], 1], atol=1e-6)
    assert labels.success.tolist() == [False] * 7 + [True]


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


@pytest.mark.parametrize(
    ("layout", "damaged", "advice"),
    [
        ("robomimic", "data/demo_2/actions", r"delete /data/demo_2 in a copy of demo\.hdf5"),
        ("libero", "data/demo_2/actions", r"delete /data/demo_2 in a copy of task\.hdf5"),
        ("roboturk", "data/user_1/demo_1/robot_observation/eef_poses", r"delete /data/user_1/demo_1 in a copy of"),
        ("minari", "episode_2/actions", r"delete /episode_2 in a copy of main_data\.hdf5"),
        ("droid", "action/cartesian_velocity", r"To leave the episode out, move .* away"),
        ("folder", "", r"To leave the episode out, move .*take_01 away"),
    ],
)
def test_damaged_episode_says_how_it_is_left_out(layout: str, damaged: str, advice: str, tmp_path: Path) -> None:
    case = LAYOUTS[layout]
    source = tmp_path / case.name
    case.write(source)
    if layout == "folder":
        table = source / "take_01/robot.csv"
        table.write_text("\n".join([*table.read_text().splitlines()[:-1], "1,2,3"]))
    else:
        files = [source] if source.is_file() else sorted([*source.rglob("*.hdf5"), *source.rglob("*.h5")])
        with h5py.File(files[-1], "r+") as file:
            values = file[damaged][:]
            values.flat[3] = np.nan
            del file[damaged]
            file[damaged] = values
    with pytest.raises(DataError, match=advice):
        imported(case.format, source, fps=case.rate)
