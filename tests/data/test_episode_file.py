"""The store gives back what was put in, tells equal content from other content, and refuses what is broken."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from recordings import TASKS, make_episode, make_schema, write_file

from gwm_sim.data.cameras import Camera
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter, parts_folder
from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError, DataError

SOURCES = {"front_image": "frames/front", "wrist_image": "frames/wrist", "agent_pos": "telemetry"}


def digest(path: Path) -> str:
    with EpisodeFile(path) as file:
        return file.digest()


def assert_equal(ours: Episode, theirs: Episode) -> None:
    assert (ours.seed, ours.policy, ours.properties) == (theirs.seed, theirs.policy, theirs.properties)
    assert ours.frames.keys() == theirs.frames.keys()
    for camera in ours.frames:
        np.testing.assert_array_equal(ours.frames[camera], theirs.frames[camera])
    for task in TASKS:
        np.testing.assert_array_equal(ours.labels[task].reward, theirs.labels[task].reward)
        np.testing.assert_array_equal(ours.labels[task].success, theirs.labels[task].success)
    for name in ("telemetry", "actions", "objects"):
        ours_array, theirs_array = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_array_equal(ours_array, theirs_array)
        assert ours_array.dtype == theirs_array.dtype


def test_file_gives_back_what_was_written(tmp_path: Path) -> None:
    with EpisodeFile(write_file(tmp_path / "a.hdf5")) as file:
        assert len(file) == 12
        assert file.seeds == list(range(12))
        assert file.lengths == [len(make_episode(seed)) for seed in range(12)]
        assert not file.schema.differences(make_schema())
        for seed, episode in enumerate(file):
            assert_equal(episode, make_episode(seed))


def test_partial_read_is_a_slice_of_the_whole(tmp_path: Path) -> None:
    with EpisodeFile(write_file(tmp_path / "a.hdf5", range(2))) as file:
        whole, part = file[1], file.read(1, 2, 5, cameras=("front",))
    assert part.frames.keys() == {"front"}
    np.testing.assert_array_equal(part.frames["front"], whole.frames["front"][2:5])
    np.testing.assert_array_equal(part.telemetry, whole.telemetry[2:5])
    np.testing.assert_array_equal(part.actions, whole.actions[2:4])
    np.testing.assert_array_equal(part.labels["stack"].success, whole.labels["stack"].success[2:5])


def test_merged_file_reads_the_way_robomimic_reads_it(tmp_path: Path) -> None:
    with h5py.File(write_file(tmp_path / "a.hdf5"), "r") as file:
        demos = sorted(file["data"].keys(), key=lambda name: int(name[5:]))
        assert demos == [f"demo_{index}" for index in range(12)]
        assert json.loads(file["data"].attrs["env_args"])["env_name"] == "Bench-v0"
        assert file["data"].attrs["total"] == sum(file["data"][demo].attrs["num_samples"] for demo in demos)
        for demo in demos:
            group = file["data"][demo]
            length = group.attrs["num_samples"]
            assert group["actions"].shape == (length, 2)
            np.testing.assert_array_equal(group["rewards"], group["labels/stack/reward"][1:])
            assert group["dones"][()].tolist() == [0] * (length - 1) + [1]
            assert group["obs"].keys() == group["next_obs"].keys() == SOURCES.keys()
            for key, source in SOURCES.items():
                assert group["obs"][key].is_virtual
                np.testing.assert_array_equal(group["obs"][key], group[source][:-1])
                np.testing.assert_array_equal(group["next_obs"][key], group[source][1:])


def test_digest_knows_content_only(tmp_path: Path) -> None:
    reference = digest(write_file(tmp_path / "a.hdf5"))
    assert digest(write_file(tmp_path / "b.hdf5", reversed(range(12)))) == reference

    recompressed = tmp_path / "c.hdf5"
    with h5py.File(tmp_path / "a.hdf5", "r") as source, h5py.File(recompressed, "w") as target:
        source.copy("data", target)
        for demo in target["data"].values():
            frames = demo["frames/front"][()]
            del demo["frames/front"]
            demo.create_dataset("frames/front", data=frames)
    assert digest(recompressed) == reference


@pytest.mark.parametrize("change", ["frame", "action", "label", "seed"])
def test_digest_sees_every_change(tmp_path: Path, change: str) -> None:
    path = write_file(tmp_path / "a.hdf5", range(3))
    before = digest(path)
    with h5py.File(path, "r+") as file:
        demo = file["data/demo_2"]
        if change == "frame":
            demo["frames/wrist"][-1, 0, 0, 0] ^= 1
        elif change == "action":
            demo["actions"][0, 0] *= 0.5
        elif change == "label":
            demo["labels/reach/success"][0] ^= True
        else:
            demo.attrs["seed"] = 99
    assert digest(path) != before


def test_parts_of_a_killed_run_are_readable_and_resumable(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    killed = EpisodeWriter(path, make_schema())
    for index in (0, 3, 10):
        killed.write(index, make_episode(index))
    (parts_folder(path) / "000004.123.tmp").write_bytes(b"half an episode")

    with EpisodeFile(path) as file:
        assert file.unfinished
        assert file.seeds == [0, 3, 10]
        assert_equal(file[2], make_episode(10))

    resumed = EpisodeWriter(path, make_schema())
    assert [index for index in range(12) if resumed.has(index)] == [0, 3, 10]
    for index in set(range(12)) - {0, 3, 10}:
        resumed.write(index, make_episode(index))
    resumed.merge()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.hdf5"]
    assert digest(path) == digest(write_file(tmp_path / "uninterrupted.hdf5"))


def test_finished_file_can_be_extended(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5", range(5))
    write_file(path, range(5, 12))
    assert digest(path) == digest(write_file(tmp_path / "b.hdf5"))


@pytest.mark.parametrize("finished", [True, False])
def test_other_settings_are_refused_by_name(tmp_path: Path, finished: bool) -> None:
    path = tmp_path / "a.hdf5"
    writer = EpisodeWriter(path, make_schema())
    writer.write(0, make_episode(0))
    if finished:
        writer.merge()
    with pytest.raises(ConfigError, match=r"settings\.seed: 0, here 7"):
        EpisodeWriter(path, make_schema(settings={"policy": "mixed", "seed": 7}))
    assert len(EpisodeFile(path)) == 1


def test_writer_refuses_nan(tmp_path: Path) -> None:
    episode = make_episode(0)
    episode.telemetry[3, 1] = np.nan
    writer = EpisodeWriter(tmp_path / "a.hdf5", make_schema())
    with pytest.raises(DataError, match=r"demo_0/telemetry holds nan at row 3 column 1"):
        writer.write(0, episode)
    assert not writer.has(0)


def damage_telemetry(file: h5py.File) -> None:
    file["data/demo_2/telemetry"][4, 0] = np.inf


def damage_label(file: h5py.File) -> None:
    file["data/demo_1/labels/reach/reward"][2] = np.nan


def drop_actions(file: h5py.File) -> None:
    del file["data/demo_1/actions"]


def shorten_frames(file: h5py.File) -> None:
    frames = file["data/demo_0/frames/front"][:-1]
    del file["data/demo_0/frames/front"]
    file["data/demo_0/frames/front"] = frames


def float_frames(file: h5py.File) -> None:
    frames = file["data/demo_0/frames/front"][()].astype(np.float32)
    del file["data/demo_0/frames/front"]
    file["data/demo_0/frames/front"] = frames


def forget_schema(file: h5py.File) -> None:
    del file["data"].attrs["gwm_schema"]


def damage_schema(file: h5py.File) -> None:
    file["data"].attrs["gwm_schema"] = '{"format": 1}'


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_telemetry, r"data/demo_2/telemetry holds inf at row 4 column 0"),
        (damage_label, r"data/demo_1/labels/reach/reward holds nan at row 2"),
        (drop_actions, r"data/demo_1/actions is missing"),
        (shorten_frames, r"data/demo_0/frames/front is uint8 \(5, 16, 16, 3\), expected uint8 \(6, 16, 16, 3\)"),
        (float_frames, r"data/demo_0/frames/front is float32 .*expected uint8"),
        (forget_schema, r"no gwm_schema.*reads only its own"),
        (damage_schema, r"damaged gwm_schema"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, damage: Callable[[h5py.File], None], message: str) -> None:
    path = write_file(tmp_path / "a.hdf5", range(3))
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(DataError, match=rf"a\.hdf5.*{message}"), EpisodeFile(path) as episodes:
        episodes.check()


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5", range(3))
    content = path.read_bytes()
    for size in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match=r"a\.hdf5 is truncated or no HDF5 file"):
            EpisodeFile(path)


def test_corrupt_frames_are_refused(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5", range(1))
    with h5py.File(path, "r") as file:
        chunk = file["data/demo_0/frames/front"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + 64] = bytes(64)
    path.write_bytes(content)
    with EpisodeFile(path) as file, pytest.raises(DataError, match=r"data/demo_0/frames/front is damaged"):
        file.digest()


def test_foreign_and_missing_files_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a recording")
    with pytest.raises(DataError, match=r"notes\.txt is truncated or no HDF5 file"):
        EpisodeFile(text)
    foreign = tmp_path / "foreign.hdf5"
    with h5py.File(foreign, "w") as file:
        file["weights"] = np.zeros(3)
    with pytest.raises(DataError, match=r"foreign\.hdf5 is not a gwm_sim or robomimic file: it has no /data group"):
        EpisodeFile(foreign)
    with pytest.raises(DataError, match=r"absent\.hdf5: no such file"):
        EpisodeFile(tmp_path / "absent.hdf5")


def test_camera_projects_the_way_a_pinhole_does() -> None:
    camera = Camera(position=np.array([1.0, 2.0, 3.0]), rotation=np.eye(3), fovy=90.0, height=101, width=201)
    ahead = camera.position + [0.0, 0.0, -2.0]
    np.testing.assert_allclose(camera.project(ahead), [100.0, 50.0])
    np.testing.assert_allclose(camera.depth(ahead), 2.0)
    span = camera.metres_per_pixel(ahead)
    np.testing.assert_allclose(camera.project(ahead + [3 * span, 0.0, 0.0]), [103.0, 50.0])
    np.testing.assert_allclose(camera.project(ahead + [0.0, 3 * span, 0.0]), [100.0, 47.0])
    assert np.isnan(camera.project(camera.position + [0.0, 0.0, 1.0])).all()
    points = np.random.default_rng(0).normal(size=(4, 5, 3))
    assert camera.project(points).shape == (4, 5, 2)
    restored = Camera.from_json(json.loads(json.dumps(camera.to_json())))
    np.testing.assert_array_equal(restored.project(points), camera.project(points))


def test_old_files_find_their_gripper_by_name_and_keep_their_digest() -> None:
    names = ("x", "gripper_opening", "y")
    old = dataclasses.replace(make_schema(), telemetry_names=names).to_json()
    assert "gripper" not in old
    read = Schema.from_json(json.loads(json.dumps(old)))
    assert read.gripper == (1,)
    assert read.to_json() == old
    assert Schema.from_json(make_schema().to_json()).gripper == ()


def test_a_gripper_of_another_name_is_written_down() -> None:
    schema = dataclasses.replace(make_schema(), gripper=(2,))
    assert schema.to_json()["gripper"] == [2]
    assert Schema.from_json(schema.to_json()).gripper == (2,)


def test_a_file_begun_before_grippers_were_named_goes_on() -> None:
    older = make_schema()
    newer = dataclasses.replace(older, gripper=(0,))
    assert older.differences(newer) == newer.differences(older) == []
    assert newer.differences(dataclasses.replace(older, gripper=(1,))) == ["gripper: [0], here [1]"]
