"""What a LeRobot dataset names: columns in any shape, keys of its own, and what it need not have."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
from importing import assert_is
from shared_data import shared

from gwm_sim.data.formats import open_source
from gwm_sim.data.importers.source import SourceOptions
from gwm_sim.data.reading.names import flat_names
from gwm_sim.data.survey import survey
from gwm_sim.errors import ConfigError, DataError

pytest.importorskip("pyarrow")
import pyarrow.parquet as pq
from lerobot_sets import brought_in, change_info, notes_of

# Names


@pytest.mark.parametrize(
    ("names", "flat"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        ([["a", "b", "c"]], ["a", "b", "c"]),
        ([["a"], ["b", "c"]], ["a", "b", "c"]),
        ({"motors": ["a", "b", "c"]}, ["a", "b", "c"]),
        ({"x": 0, "y": 1, "z": 2}, ["x", "y", "z"]),
        ({"y": 1, "z": 2, "x": 0}, ["x", "y", "z"]),
        ({"axes": {"z": 2, "x": 0, "y": 1}}, ["x", "y", "z"]),
        ({"left": ["x", "y"], "right": ["x"]}, ["left_x", "left_y", "right_x"]),
        ({"arm": {"left": ["x"], "right": ["x"]}, "hand": ["grip"]}, ["arm_left_x", "arm_right_x", "hand_grip"]),
        ({"right": {"c": 2}, "left": {"b": 1, "a": 0}}, ["a", "b", "c"]),
        ({"a": [1, "sts"], "b": [2, "sts"], "c": [3, "sts"]}, ["a", "b", "c"]),
        ([0, 1, 2], ["0", "1", "2"]),
        (["a", "b"], None),
        (["a", "a", "b"], None),
        ([["x", "y"], ["x"]], None),
        ({"arm": 2, "hand": 1}, None),
        (None, None),
        ({}, None),
    ],
)
def test_names_of_any_shape_are_flattened_in_order(names: Any, flat: list[str] | None) -> None:
    assert flat_names(names, 3) == flat


def test_names_that_do_not_fit_are_numbers_with_a_remark(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    change_info(tmp_path / "set", lambda info: info["features"]["action"].update(names=["a", "b"]))
    with open_source("lerobot", tmp_path / "set") as source:
        assert [action.name for action in source.layout.actions] == ["action_0", "action_1", "action_2"]
        assert any("names of action are not 3 different ones" in remark for remark in source.remarks)


def test_humanoid_with_names_in_a_list_within_a_list() -> None:
    path = shared("data/real/unitree-g1-bottle-original")
    with open_source("lerobot", path) as source:
        names = [column.name for column in source.layout.telemetry]
        assert len(names) == 26 and names[:2] == ["kLeftShoulderPitch", "kLeftShoulderRoll"]
        assert names == [action.name for action in source.layout.actions]
        assert [source.title(k) for k in range(3)] == ["episode 29", "episode 30", "episode 59"]
        assert source.remarks == []


def test_humanoid_is_told_that_its_camera_is_slower_than_its_log() -> None:
    warnings = survey("lerobot", shared("data/real/unitree-g1-bottle-original")).warnings
    assert any("slower than the log" in warning and "--fps 15" in warning for warning in warnings)
    assert not any("frozen" in warning for warning in warnings)
    assert any("kRightShoulderPitch and 18 more add up" in warning for warning in warnings)


# Keys


def rename(folder: Path, keys: dict[str, str]) -> None:
    for path in folder.glob("data/**/*.parquet"):
        table = pq.read_table(path, partitioning=None)
        pq.write_table(table.rename_columns([keys.get(name, name) for name in table.column_names]), path)

    def change(info: dict[str, Any]) -> None:
        info["features"] = {keys.get(key, key): feature for key, feature in info["features"].items()}

    change_info(folder, change)


def test_other_keys_are_asked_for_and_taken(tmp_path: Path) -> None:
    (truth, *_) = layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    rename(tmp_path / "set", {"observation.state": "observation.joints", "action": "action.joints"})
    with pytest.raises(
        DataError, match=r"no vector 'observation\.state'; it lists observation\.joints\. .*--state-key"
    ):
        open_source("lerobot", tmp_path / "set")
    keys = SourceOptions(state_key="observation.joints", action_key="action.joints")
    with open_source("lerobot", tmp_path / "set", keys) as source:
        np.testing.assert_array_equal(source.recording(0).telemetry, truth.telemetry)
        np.testing.assert_array_equal(source.recording(0).actions, truth.actions)
    with pytest.raises(ConfigError, match=r"no vector 'qpos'; it lists observation\.joints, action\.joints"):
        open_source("lerobot", tmp_path / "set", SourceOptions(state_key="qpos"))


def test_several_keys_are_joined(tmp_path: Path) -> None:
    (truth, *_) = layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    keys = SourceOptions(state_key="observation.state, next.reward")
    with pytest.raises(DataError, match=r"next\.reward is float32 \[1\], which is no vector"):
        open_source("lerobot", tmp_path / "set", keys)
    rename(tmp_path / "set", {"next.reward": "observation.gripper"})
    keys = SourceOptions(state_key="observation.state,observation.gripper")
    with open_source("lerobot", tmp_path / "set", keys) as source:
        assert [column.name for column in source.layout.telemetry] == [*layouts.LEROBOT_STATE, "gripper"]
        np.testing.assert_array_equal(source.recording(0).telemetry[:, :3], truth.telemetry)
        np.testing.assert_allclose(source.recording(0).telemetry[:, 3], np.linspace(0, 1, 8), atol=1e-6)


def test_same_names_in_two_keys_are_told_apart(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    keys = SourceOptions(state_key="observation.state,action")
    with open_source("lerobot", tmp_path / "set", keys) as source:
        names = [column.name for column in source.layout.telemetry]
    assert names[0] == "state_shoulder.pos" and names[3] == "action_shoulder.pos"


def test_robot_without_state_is_read_and_told_what_is_lost(tmp_path: Path) -> None:
    (truth, *_) = layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    change_info(tmp_path / "set", lambda info: info["features"].pop("observation.state"))
    with open_source("lerobot", tmp_path / "set") as source:
        assert source.layout.telemetry == () and source.recording(0).telemetry.shape == (8, 0)
        np.testing.assert_array_equal(source.recording(0).actions, truth.actions)
        assert any("there is no telemetry" in remark for remark in source.remarks)


# What a dataset need not have


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_films_of_cameras_that_are_not_wanted_may_be_missing(version: str, tmp_path: Path) -> None:
    """Who downloads the films of one camera can import and inspect it."""
    truths = layouts.write_lerobot(tmp_path / "set", version, "libx264")
    for folder in (tmp_path / "set/videos").rglob("observation.images.wrist"):
        shutil.rmtree(folder)
    result, episodes = brought_in(tmp_path / "set", camera=("front",))
    for episode, truth in zip(episodes, truths, strict=True):
        assert_is(episode, replace(truth, frames={"front": truth.frames["front"]}))
    assert "wrist" not in notes_of(result)
    told = survey("lerobot", tmp_path / "set", options=SourceOptions(camera=("front",)))
    assert told.cameras == {"front": (64, 80)}
    with pytest.raises(DataError, match="no episode could be read"):
        survey("lerobot", tmp_path / "set")
    with pytest.raises(ConfigError, match="has no camera 'top'; it has front, wrist"):
        brought_in(tmp_path / "set", camera=("top",))


def test_a_reward_after_the_last_row_is_a_success_without_flags(tmp_path: Path) -> None:
    layouts.write_lerobot(tmp_path / "set", "v2.1", "libx264")
    change_info(tmp_path / "set", lambda info: info["features"].pop("next.success"))
    _, episodes = brought_in(tmp_path / "set")
    for episode in episodes:
        assert episode.labels["task"].success.tolist() == [False] * len(episode) + [True]
        assert episode.labels["task"].reward[-1] == 1
