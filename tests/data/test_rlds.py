"""RLDS data sets come in without TensorFlow: values, pictures, words, splits; and damage is named by its record."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rlds_layout
from importing import config, imported
from numpy.typing import NDArray
from rlds_layout import image, tensor, write_rlds
from shared_data import shared

from gwm_sim.commands.import_ import import_episodes
from gwm_sim.data.formats import detect, open_source
from gwm_sim.data.importers.source import Source, SourceOptions
from gwm_sim.data.reading import tfrecord
from gwm_sim.errors import ConfigError, DataError

Array = NDArray[Any]


def opened(path: Path, **options: Any) -> Source:
    return open_source("rlds", path, SourceOptions(**options))


def file_of(folder: Path, split: str = "train") -> Path:
    return next((folder / "1.0.0").glob(f"*-{split}.tfrecord-00000-*"))


# Records


def test_checksums_are_those_of_castagnoli() -> None:
    known = {b"": 0, b"123456789": 0xE3069283, bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43}
    assert {data: tfrecord.crc32c(data) for data in known} == known
    data = np.random.default_rng(0).bytes(3000)
    table, _ = tfrecord._tables()
    for size in (255, 256, 257, 511, 512, 3000):  # lanes, and what is left of them
        plain = 0xFFFFFFFF
        for byte in data[:size]:
            plain = int(table[(plain ^ byte) & 0xFF]) ^ plain >> 8
        assert tfrecord.crc32c(data[:size]) == plain ^ 0xFFFFFFFF


def test_messages_give_back_what_was_written() -> None:
    numbers = np.array([0, 1, -1, 127, 128, -(2**63), 2**63 - 1])
    fractions = np.random.default_rng(0).normal(size=9).astype(np.float32)
    found = tfrecord.example(rlds_layout.example({"a": numbers, "b/c": fractions, "d": [b"", b"text"]}))
    assert found.keys() == {"a", "b/c", "d"}
    np.testing.assert_array_equal(found["a"].floats(), numbers)
    np.testing.assert_array_equal(found["b/c"].floats(), fractions)
    assert [bytes(text) for text in found["d"].texts()] == [b"", b"text"]


def test_numbers_may_be_stored_one_by_one() -> None:
    floats = b"".join(b"\x0d" + struct.pack("<f", value) for value in (1.5, -2.0))
    integers = b"\x08\x03\x08\xac\x02"
    assert tfrecord.Values("floats", memoryview(floats)).floats().tolist() == [1.5, -2.0]
    assert tfrecord.Values("integers", memoryview(integers)).floats().tolist() == [3, 300]


@pytest.mark.parametrize(
    "message",
    [b"\x0a\xff\xff\xff\xff\x7f", b"\x0a\xff", b"\xff" * 12, b"\x0b\x0b", b"\x0d\x00", b"\x0a\x05\x0a\xff\xff\xff\x0f"],
)
def test_messages_are_believed_no_length(message: bytes) -> None:
    with pytest.raises(ValueError, match="longer than its message|without an end|wire type"):
        tfrecord.example(message)


# Data sets


def test_one_episode_is_read_without_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rlds(tmp_path / "arm", {"train": [[6] * 12]})
    source, read = opened(tmp_path / "arm"), []
    message = tfrecord.message

    def counted(place: tfrecord.Place) -> bytes:
        read.append(place.number)
        return message(place)

    monkeypatch.setattr(tfrecord, "message", counted)
    source.recording(7)
    assert len(list(source.frames(7, "image_0", range(6)))) == 6
    assert read == [7]


def test_splits_are_masks_and_one_can_be_taken(tmp_path: Path) -> None:
    truths = write_rlds(tmp_path / "arm")
    file, episodes = imported("rlds", tmp_path / "arm", source_fps=5.0)
    assert [episode.masks for episode in episodes] == [("train",)] * 3 + [("val",)]
    assert [episode.instruction for episode in episodes] == [f"stack number {k}, grün" for k in range(4)]
    assert file.schema.rate == 5
    with opened(tmp_path / "arm") as source:
        assert any("val for validation alone" in remark for remark in source.remarks)
    with opened(tmp_path / "arm", mask="val") as source:
        assert len(source) == 1
        np.testing.assert_array_equal(source.recording(0).telemetry, truths[3].telemetry)
    with pytest.raises(ConfigError, match=r"--mask test: no episode has this mask; there are train, val\."):
        opened(tmp_path / "arm", mask="test")


def test_blank_cameras_are_left_out_whatever_the_flags_say(tmp_path: Path) -> None:
    write_rlds(tmp_path / "arm")
    source = opened(tmp_path / "arm")
    assert source.layout.cameras == ("image_0", "wrist")
    assert any("blank in every episode" in remark and "image_2" in remark for remark in source.remarks)


def test_a_reward_stands_at_the_row_after_its_action(tmp_path: Path) -> None:
    write_rlds(tmp_path / "a", {"train": [[4]]}, changes={"steps/reward": np.array([0.1, 0.2, 0.3, 1], np.float32)})
    recording = opened(tmp_path / "a").recording(0)
    assert recording.reward is not None
    np.testing.assert_allclose(recording.reward, [0, 0.1, 0.2, 1])
    assert recording.succeeded is True
    write_rlds(tmp_path / "b", {"train": [[4]]}, changes={"steps/reward": np.array([0, 0, 0, 0], np.float32)})
    recording = opened(tmp_path / "b").recording(0)
    assert recording.succeeded is None and recording.reward is not None
    feature = {"episode_metadata/success": tensor(dtype="bool")}
    write_rlds(tmp_path / "c", {"train": [[4]]}, feature, {"episode_metadata/success": np.array([0])})
    assert opened(tmp_path / "c").recording(0).succeeded is False


def test_how_a_cut_episode_ended_is_unknown(tmp_path: Path) -> None:
    write_rlds(tmp_path / "arm", {"train": [[4]]}, changes={"steps/is_last": np.zeros(4, int)})
    source = opened(tmp_path / "arm")
    recording = source.recording(0)
    assert (recording.reward, recording.succeeded) == (None, None)
    assert any("were cut" in remark for remark in source.remarks)


def test_observations_in_parts_are_joined_and_one_can_be_chosen(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts: dict[str, Array] = {
        "steps/observation/arm/joints": rng.normal(size=(6, 4)).astype(np.float32),
        "steps/observation/gripper_width": rng.normal(size=(6, 1)).astype(np.float32),
        "steps/action_dict/world_vector": rng.normal(size=(6, 3)).astype(np.float32),
    }
    features = {path: tensor(values.shape[1]) for path, values in parts.items()}
    features["steps/observation/gripper_width"] = tensor()
    write_rlds(tmp_path / "arm", {"train": [[6]]}, features, parts)
    source = opened(tmp_path / "arm")
    assert [column.name for column in source.layout.telemetry] == [f"state_{i}" for i in range(5)]
    assert any("arm/joints, gripper_width: --state-key takes those" in remark for remark in source.remarks)
    source = opened(tmp_path / "arm", state_key="joints", action_key="action_dict/world_vector")
    assert [column.name for column in source.layout.telemetry] == [f"arm_joints_{i}" for i in range(4)]
    np.testing.assert_array_equal(source.recording(0).telemetry, parts["steps/observation/arm/joints"])
    np.testing.assert_array_equal(source.recording(0).actions, parts["steps/action_dict/world_vector"][:-1])
    both = opened(tmp_path / "arm", state_key="gripper_width, arm/joints", action_key="world_vector")
    assert [column.name for column in both.layout.telemetry] == [
        "gripper_width",
        *(f"arm_joints_{i}" for i in range(4)),
    ]
    np.testing.assert_array_equal(both.recording(0).telemetry[:, 1:], parts["steps/observation/arm/joints"])
    with pytest.raises(ConfigError, match=r"--state-key velocity names no vector of a step; known are arm/joints"):
        opened(tmp_path / "arm", state_key="velocity")

    others = {path: feature for path, feature in rlds_layout.USUAL.items() if path != "steps/observation/state"}
    (tmp_path / "arm/1.0.0/features.json").write_text(json.dumps(rlds_layout.nested(others | features)))
    names = [column.name for column in opened(tmp_path / "arm").layout.telemetry]
    assert names == [*(f"arm_joints_{i}" for i in range(4)), "gripper_width"]


@pytest.mark.parametrize("encoding", ["bytes", "zlib"])
def test_tensors_may_be_packed(encoding: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(6, 5)).astype("<f8")
    texts = [row.tobytes() if encoding == "bytes" else zlib.compress(row.tobytes()) for row in values]
    feature = {"steps/observation/state": tensor(5, dtype="float64", encoding=encoding)}
    write_rlds(tmp_path / "arm", {"train": [[6]]}, feature, {"steps/observation/state": texts})
    np.testing.assert_allclose(opened(tmp_path / "arm").recording(0).telemetry, values, rtol=1e-6)
    bomb = [zlib.compress(bytes(10_000_000))] * 6
    write_rlds(tmp_path / "bomb", {"train": [[6]]}, feature, {"steps/observation/state": bomb})
    with pytest.raises(DataError, match=r"record 0: steps/observation/state cannot be read: a step has other than 40"):
        opened(tmp_path / "bomb").recording(0)


def test_depth_and_integers_are_left_out_by_name(tmp_path: Path) -> None:
    features = {"steps/observation/depth": image(1, "uint16", "png"), "steps/observation/button": tensor(dtype="int32")}
    values: dict[str, rlds_layout.Content] = {
        "steps/observation/depth": [b"no picture"] * 6,
        "steps/observation/button": np.arange(6),
    }
    write_rlds(tmp_path / "arm", {"train": [[6]]}, features, values)
    source = opened(tmp_path / "arm")
    assert source.layout.cameras == ("image_0", "wrist")
    assert any("no colour pictures of a step" in remark and "depth" in remark for remark in source.remarks)


def in_parts(folder: Path, **parts: tuple[str, Array]) -> Path:
    """A data set of one episode of 6 rows whose action is a dict; each part with its dtype."""
    rlds = {f"steps/action/{name}": values for name, (_, values) in parts.items()}
    features = {
        f"steps/action/{name}": tensor(*values.shape[1:], dtype=dtype) for name, (dtype, values) in parts.items()
    }
    write_rlds(folder, {"train": [[6]]}, features, rlds)
    others = {path: feature for path, feature in rlds_layout.USUAL.items() if path != "steps/action"}
    (folder / "1.0.0/features.json").write_text(json.dumps(rlds_layout.nested(others | features)))
    return folder


WORLD = np.arange(18, dtype=np.float32).reshape(6, 3)


def test_a_gripper_that_is_opened_or_not_is_an_action(tmp_path: Path) -> None:
    opens = np.array([0, 1, 1, 0, 0, 1])
    folder = in_parts(tmp_path / "arm", world_vector=("float32", WORLD), open_gripper=("bool", opens))
    source = opened(folder)
    names = [action.name for action in source.layout.actions]
    assert names == ["open_gripper", *(f"world_vector_{i}" for i in range(3))]
    np.testing.assert_array_equal(source.recording(0).actions[:, 0], opens[:-1])
    np.testing.assert_array_equal(source.recording(0).actions[:, 1:], WORLD[:-1])


def test_integers_are_taken_when_they_are_asked_for(tmp_path: Path) -> None:
    mode = np.array([2, 0, 1, 2, 0, 1])
    folder = in_parts(tmp_path / "arm", world_vector=("float32", WORLD), mode=("int32", mode))
    source = opened(folder)
    assert [action.name for action in source.layout.actions] == [f"world_vector_{i}" for i in range(3)]
    assert any("were left out, mode: --action-key takes" in remark for remark in source.remarks)
    source = opened(folder, action_key="mode, world_vector", state_key="state,steps/reward")
    assert [action.name for action in source.layout.actions][0] == "mode"
    np.testing.assert_array_equal(source.recording(0).actions[:, 0], mode[:-1])
    assert [column.name for column in source.layout.telemetry][-1] == "reward"
    assert any("mode holds integers, which are taken for amounts" in remark for remark in source.remarks)
    with pytest.raises(DataError, match="has no action: .* mode holds integers, which may be choices"):
        opened(in_parts(tmp_path / "game", mode=("int64", mode)))
    with pytest.raises(ConfigError, match="--action-key speed names no vector"):
        opened(folder, action_key="world_vector,speed")


def test_seven_numbers_of_bridge_data_have_names(tmp_path: Path) -> None:
    features = {"steps/observation/state": tensor(7), "steps/action": tensor(7)}
    roll = np.linspace(3.0, 3.3, 6)
    values = np.zeros((6, 7), np.float32)
    values[:, 3] = (roll + np.pi) % (2 * np.pi) - np.pi
    write_rlds(tmp_path / "bridge_orig", {"train": [[6]]}, features, dict.fromkeys(features, values))
    file, (episode,) = imported("rlds", tmp_path / "bridge_orig", fps=5.0)
    assert file.schema.telemetry_names == ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    assert file.schema.action_names[3:] == ("droll", "dpitch", "dyaw", "gripper")
    assert file.schema.effector == (0, 1, 2)
    np.testing.assert_allclose(episode.telemetry[:, 3], roll, atol=1e-5)


def test_the_newest_version_is_taken_and_two_data_sets_are_not_mixed(tmp_path: Path) -> None:
    write_rlds(tmp_path / "all" / "arm", {"train": [[6]]})
    shutil.copytree(tmp_path / "all/arm/1.0.0", tmp_path / "all/arm/0.10.0")
    shutil.copytree(tmp_path / "all/arm/1.0.0", tmp_path / "all/arm/0.9.0")
    source = opened(tmp_path / "all" / "arm")
    assert "1.0.0/arm-train" in source.recording(0).where
    assert "version 1.0.0 was taken, not 0.10.0, 0.9.0: give the folder of another." in source.remarks
    assert "0.9.0/arm-train" in opened(tmp_path / "all/arm/0.9.0").recording(0).where
    assert detect(tmp_path / "all") == detect(tmp_path / "all/arm/0.9.0") == "rlds"
    write_rlds(tmp_path / "all" / "other", {"train": [[6]]})
    with pytest.raises(DataError, match="holds several data sets"):
        opened(tmp_path / "all")


# Damage


def test_a_truncated_file_names_the_record(tmp_path: Path) -> None:
    write_rlds(tmp_path / "arm", {"train": [[6, 6, 6]]})
    path = file_of(tmp_path / "arm")
    data = path.read_bytes()
    for lost in (1, 5, 100):
        path.write_bytes(data[:-lost])
        with pytest.raises(DataError, match=r"record 2 is cut off at byte [\d,]+: the file is truncated"):
            opened(tmp_path / "arm")
    end = tfrecord.places(file_of_bytes(tmp_path / "whole", data))[1]
    path.write_bytes(data[: end.start + end.length + 4])
    with pytest.raises(DataError, match=r"has 2 records, dataset_info\.json says '3'"):
        opened(tmp_path / "arm")


def file_of_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    write_rlds(tmp_path / "arm", {"train": [[6, 6, 6]]})
    path = file_of(tmp_path / "arm")
    data = bytearray(path.read_bytes())
    data[tfrecord.places(path)[1].start + 500] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"record 1 is damaged: its checksum is another one"):
        opened(tmp_path / "arm").recording(1)


def test_a_damaged_record_does_not_cost_the_data_set(tmp_path: Path) -> None:
    write_rlds(tmp_path / "arm", {"train": [[6, 6, 1, 6]]})
    path = file_of(tmp_path / "arm")
    data = bytearray(path.read_bytes())
    data[tfrecord.places(path)[1].start + 500] ^= 1
    path.write_bytes(data)
    result = import_episodes(config("rlds", tmp_path / "arm", tmp_path / "a.hdf5", source_fps=5.0))
    assert result.imported == 2
    lost = [note for note in result.notes if "was left out" in note]
    assert "episode 1" in lost[0] and "checksum" in lost[0]
    assert "episode 2" in lost[1] and "1 usable rows" in lost[1]


def test_lengths_are_not_believed(tmp_path: Path) -> None:
    write_rlds(tmp_path / "arm", {"train": [[6]]})
    path = file_of(tmp_path / "arm")
    length = struct.pack("<Q", 1 << 60)
    path.write_bytes(length + struct.pack("<I", tfrecord.masked(tfrecord.crc32c(length))) + bytes(100))
    with pytest.raises(DataError, match="record 0 is cut off"):
        opened(tmp_path / "arm")
    path.write_bytes(gzip.compress(b"something of some length"))
    with pytest.raises(DataError, match=r"record 0 begins with no length: .* decompress it"):
        opened(tmp_path / "arm")


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    short = {"steps/action": np.zeros((5, 3), np.float32)}
    write_rlds(tmp_path / "a", {"train": [[6]]}, changes=short)
    with pytest.raises(DataError, match="record 0 has 6 rows of telemetry and 5 of actions"):
        opened(tmp_path / "a").recording(0)
    ragged = {"steps/observation/state": np.zeros(31, np.float32)}
    write_rlds(tmp_path / "b", {"train": [[6]]}, changes=ragged)
    with pytest.raises(DataError, match="has 31 numbers, which are no rows of 5"):
        opened(tmp_path / "b").recording(0)
    pictures = {"steps/observation/image_0": [b"\xff\xd8 no picture"] * 6}
    write_rlds(tmp_path / "c", {"train": [[6]]}, changes=pictures)
    with pytest.raises(DataError, match=r"image_0, row 0"):
        list(opened(tmp_path / "c").frames(0, "image_0", [0]))


def test_missing_files_are_told(tmp_path: Path) -> None:
    write_rlds(tmp_path / "arm")
    file_of(tmp_path / "arm").unlink()
    file_of(tmp_path / "arm", "val").unlink()
    source = opened(tmp_path / "arm")
    assert len(source) == 1
    assert "1 of the 2 files of split train are here." in source.remarks
    assert any("splits whose files are not here: val" in remark for remark in source.remarks)


# Recordings of others


def test_bridge_data_come_in_with_their_words_and_names(tmp_path: Path) -> None:
    path = shared("data/real/widowx-bridge-octo-tfrecord")
    assert detect(path) == "rlds"
    with opened(path, source_fps=5.0) as source:
        assert len(source) == 25
        assert source.layout.cameras == ("image_0", "image_1", "image_2")
        assert [column.name for column in source.layout.telemetry][3:] == ["roll", "pitch", "yaw", "gripper"]
        recordings = [source.recording(k) for k in range(25)]
        assert {recording.telemetry.shape for recording in recordings} == {(10, 7)}
        assert recordings[3].instruction == "turn lever vertical to front"
        moved = np.stack([np.diff(recording.telemetry[:, :6], axis=0) for recording in recordings])
        told = np.stack([recording.actions[:, :6] for recording in recordings])
        early, late = np.abs(told[:, 1:] - moved[:, :-1]).mean(), np.abs(told[:, :-1] - moved[:, 1:]).mean()
        assert np.abs(told - moved).mean() < 0.85 * min(early, late)
        shapes = {picture.shape for picture in source.frames(24, "image_0", range(10))}
        assert shapes == {(64, 64, 3)}
