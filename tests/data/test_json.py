"""JSON beside films: what fields mean is known by name or told by the numbers, and what was taken for what is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import json_layouts
import numpy as np
import pytest
from importing import assert_is, assert_same_frames, imported
from shared_data import shared
from truths import make_pictures, write_mp4

from gwm_sim.data.formats import detect, open_source
from gwm_sim.data.importers.source import Action, Source, SourceOptions
from gwm_sim.errors import ConfigError, DataError


def change(path: Path, **members: Any) -> None:
    """Replace what an annotation says; None removes it."""
    told = json.loads(path.read_text()) | members
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))


def opened(folder: Path, **options: Any) -> Source:
    return open_source("json", folder, SourceOptions(**options))


def said(source: Source) -> str:
    for k in range(len(source)):
        source.recording(k)
    return "\n".join(source.remarks)


def test_splits_are_masks_and_one_can_be_taken(tmp_path: Path) -> None:
    truths = json_layouts.write_dense(tmp_path / "a")
    _, episodes = imported("json", tmp_path / "a")
    assert [episode.masks for episode in episodes] == [("train",), ("val",), ("val",)]
    assert [episode.instruction for episode in episodes] == ["task 0", "task 1", "task 2"]
    assert [episode.succeeded for episode in episodes] == [False, True, False]
    remark = (
        "there are masks, train (1 episode), val (2 episodes), and all 3 episodes are taken: --mask takes those of one"
    )
    assert f"{remark}. gwm train takes those of val for validation alone." in said(opened(tmp_path / "a"))
    shutil.rmtree(tmp_path / "out")
    _, (first, second) = imported("json", tmp_path / "a", mask="val")
    assert_is(first, truths[1])
    assert_is(second, truths[2])
    with pytest.raises(ConfigError, match=r"--mask test: no episode has this mask; there are train \(1 episode\), val"):
        opened(tmp_path / "a", mask="test")


def test_dense_rows_are_thinned_and_other_commands_are_named(tmp_path: Path) -> None:
    truths = json_layouts.write_dense(tmp_path / "a")
    source = opened(tmp_path / "a")
    assert source.layout.effector == (0, 1, 2)
    assert {action.kind for action in source.layout.actions} == {"target"}
    assert "3 rows for a frame: row 3k is taken to be that of frame k" in said(source)
    assert "action.joint_position command the same in other terms: --action-key takes those" in said(source)
    chosen = opened(tmp_path / "a", action_key="action.gripper_position, action.joint_position")
    assert [action.name for action in chosen.layout.actions] == ["gripper", *(f"joint_{i}" for i in range(7))]
    np.testing.assert_allclose(chosen.recording(0).actions[:, 0], truths[0].actions[:, 6], atol=1e-6)
    with pytest.raises(ConfigError, match=r"--action-key speed: every episode has .*action\.cartesian_position"):
        opened(tmp_path / "a", action_key="speed")


@pytest.mark.parametrize(
    ("kind", "names"), [("gripper", "dx"), ("world", "dx"), ("target", "x"), ("noise", "action_0")]
)
def test_the_states_tell_what_actions_mean(kind: str, names: str, tmp_path: Path) -> None:
    json_layouts.write_changes(tmp_path / "a", (9,))
    path = tmp_path / "a/annotation/0.json"
    told = json.loads(path.read_text())
    states, actions = np.array(told["state"]), np.array(told["action"])
    if kind == "world":
        actions[:, :3] = np.diff(states[:, :3], axis=0)
    elif kind == "target":
        actions = states[1:]
    elif kind == "noise":
        actions += 0.1
    change(path, action=actions.tolist())
    source = opened(tmp_path / "a")
    assert source.layout.actions[0].name == names
    assert source.layout.actions[0].kind == {"dx": "delta", "x": "target", "action_0": None}[names]
    assert ("in the frame of the gripper" in said(source)) == (kind == "gripper")


def test_seven_joints_are_no_pose(tmp_path: Path) -> None:
    json_layouts.write_changes(tmp_path / "a", (9,))
    change(tmp_path / "a/annotation/0.json", state=np.linspace(-2, 2, 63).reshape(9, 7).tolist())
    source = opened(tmp_path / "a")
    assert [column.name for column in source.layout.telemetry][:2] == ["state_0", "state_1"]
    assert source.layout.effector == ()


def test_coming_states_are_the_commands_where_none_are_recorded(tmp_path: Path) -> None:
    json_layouts.write_states(tmp_path / "a")
    source = opened(tmp_path / "a")
    assert [action.name for action in source.layout.actions] == ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    assert len(source.layout.telemetry) == 14  # the gripper once
    assert "no actions are recorded: the coming states" in said(source)


def test_rows_and_frames_that_differ_are_refused_or_trimmed(tmp_path: Path) -> None:
    truths = json_layouts.write_states(tmp_path / "a", (8, 6))
    path = tmp_path / "a/annotation/val/0001.json"
    told = json.loads(path.read_text())
    change(path, states=told["states"][:5], joints=told["joints"][:5])
    with pytest.raises(DataError, match=r"0001\.json has 5 rows, but 6 frames of 0, 1: .* Give --trim"):
        imported("json", tmp_path / "a")
    assert "0001.json: 5 rows, 6 frames of 0, 1" in said(opened(tmp_path / "a", trim=True))
    _, episodes = imported("json", tmp_path / "a", trim=True)
    assert_is(episodes[1], truths[1].rows(0, 5))
    change(path, joints=told["joints"])
    with pytest.raises(DataError, match=r"for different numbers of frames: states for 5, joints for 6"):
        imported("json", tmp_path / "a", trim=True)


def test_rate_is_that_of_the_films_unless_the_user_knows_better(tmp_path: Path) -> None:
    json_layouts.write_states(tmp_path / "a")
    assert opened(tmp_path / "a").layout.rate == 5
    assert "state no rate, and the films' 5 Hz was taken: --source-fps" in said(opened(tmp_path / "a"))
    source = opened(tmp_path / "a", source_fps=15.0)
    assert source.layout.rate == 15 and source.recording(0).times is None
    assert "state no rate" not in said(source)
    for path in (tmp_path / "a/annotation").rglob("*.json"):
        change(path, fps=10)
    stated = opened(tmp_path / "a")
    assert stated.layout.rate == 10
    times = stated.recording(0).times
    assert times is not None
    np.testing.assert_allclose(times, np.arange(8) / 10)


def test_a_film_with_the_name_of_its_episode_is_the_only_camera(tmp_path: Path) -> None:
    pictures = make_pictures(3, 7)
    write_mp4(tmp_path / "a/videos/test/clip.mp4", pictures, 4)
    (tmp_path / "a/annotation/test").mkdir(parents=True)
    steps = np.random.default_rng(0).uniform(-0.1, 0.1, (6, 2))
    told = {"actions": steps.tolist(), "video_path": "videos/test/clip.mp4"}
    (tmp_path / "a/annotation/test/clip.json").write_text(json.dumps(told))
    assert detect(tmp_path / "a") == "json"
    file, (episode,) = imported("json", tmp_path / "a")
    assert file.schema.action_names == ("dx", "dy") and file.schema.telemetry_names == ()
    assert "taken for changes dx and dy" in said(opened(tmp_path / "a"))
    np.testing.assert_allclose(episode.actions, steps, atol=1e-6)
    assert_same_frames(episode.frames["video"], pictures)
    told["actions"] = (10 * steps).tolist()  # steering and throttle, perhaps
    (tmp_path / "a/annotation/test/clip.json").write_text(json.dumps(told))
    assert opened(tmp_path / "a").layout.actions == (Action("action_0"), Action("action_1"))


def test_a_camera_may_have_the_number_of_its_episode(tmp_path: Path) -> None:
    json_layouts.write_states(tmp_path / "a", (6,))
    shutil.move(tmp_path / "a/annotation/val/0000.json", tmp_path / "a/annotation/val/1.json")
    shutil.move(tmp_path / "a/videos/val/0000", tmp_path / "a/videos/val/1")
    assert opened(tmp_path / "a").layout.cameras == ("0", "1")


@pytest.mark.parametrize("reference", ["../secret.mp4", "/etc/passwd", "videos/../../secret.mp4"])
def test_no_film_outside_of_the_source_is_read(reference: str, tmp_path: Path) -> None:
    json_layouts.write_dense(tmp_path / "a")
    shutil.copy(tmp_path / "a/videos/train/0/0.mp4", tmp_path / "secret.mp4")
    change(tmp_path / "a/annotation/train/0.json", videos=[{"video_path": reference}])
    with pytest.raises(DataError, match="only paths inside"):
        opened(tmp_path / "a")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"success": "perhaps"}, "success is 'perhaps', expected true or false"),
        ({"texts": [3]}, "texts holds 3, expected a text"),
        ({"videos": [{"video_path": 3}]}, "expected the path of a film"),
        ({"states": [[1.0, 2.0], [3.0]]}, r"0001\.json: states has 7 numbers a row, 2 in the first"),
        ({"joints": [[float("nan")] * 8] * 8}, r"0000\.json: joints holds nan at row 0, column 0"),
        ({"fps": -1}, "fps is -1, expected a rate in Hz"),
    ],
)
def test_what_an_annotation_says_wrongly_is_named(members: dict[str, Any], message: str, tmp_path: Path) -> None:
    json_layouts.write_states(tmp_path / "a")
    change(tmp_path / "a/annotation/val/0000.json", **members)
    with pytest.raises(DataError, match=message):
        said(opened(tmp_path / "a"))


def test_a_field_that_some_episodes_lack_is_left_out_and_named(tmp_path: Path) -> None:
    json_layouts.write_states(tmp_path / "a")
    change(tmp_path / "a/annotation/val/0001.json", joints=None)
    source = opened(tmp_path / "a")
    assert len(source.layout.telemetry) == 7
    assert "joints is not in every episode, and was left out (val/0001)" in said(source)


@pytest.mark.parametrize("row", [None, [1.0, 2.0]], ids=["missing", "short"])
def test_a_row_that_is_no_row_is_named(row: Any, tmp_path: Path) -> None:
    json_layouts.write_states(tmp_path / "a")
    path = tmp_path / "a/annotation/val/0001.json"
    states = json.loads(path.read_text())["states"]
    change(path, states=[*states[:3], row, *states[4:]])
    with pytest.raises(DataError, match=r"0001\.json: states: its rows differ in length, or some are missing"):
        said(opened(tmp_path / "a"))


def test_a_split_that_is_a_link_is_refused(tmp_path: Path) -> None:
    json_layouts.write_states(tmp_path / "a")
    json_layouts.write_states(tmp_path / "b")
    (tmp_path / "a/annotation/train").symlink_to(tmp_path / "b/annotation/val")
    with pytest.raises(DataError, match="train is a symbolic link, which is not followed"):
        opened(tmp_path / "a")


def test_fields_that_nobody_takes_are_named(tmp_path: Path) -> None:
    json_layouts.write_states(tmp_path / "a", (8, 8))
    for k in range(2):
        change(tmp_path / f"a/annotation/val/{k:04d}.json", force=[0.0] * 8, success=[0] * 7 + [1])
    assert "force was not read: --state-key" in said(opened(tmp_path / "a")).replace("success, force", "force")
    source = opened(tmp_path / "a", state_key="states,force")
    assert [column.name for column in source.layout.telemetry][-1] == "force"
    assert "success was not read" in said(source)


def test_films_of_two_rates_are_refused_with_a_remedy(tmp_path: Path) -> None:
    (truth, _) = json_layouts.write_states(tmp_path / "a", (8, 6))
    write_mp4(tmp_path / "a/videos/val/0000/1.mp4", np.repeat(truth.frames["1"], 2, axis=0), 10)
    with pytest.raises(
        DataError,
        match="8 rows, but 8 frames of 0, 16 frames of 1.* write as many rows as frames.* move .*0000.json away",
    ):
        said(opened(tmp_path / "a"))


# Recordings of real robots


def test_bench_of_a_franka(tmp_path: Path) -> None:
    folder = shared("data/real/franka-droid-new-setup")
    with pytest.raises(DataError, match=r"0003\.json has 205 rows, but 206 frames of 0, 1, 2"):
        said(opened(folder))
    source = opened(folder, trim=True, source_fps=5.0)
    assert [len(source.recording(k)) for k in range(len(source))] == [88, 205, 146, 41, 85, 47, 85, 57, 174]
    assert "0003.json: 205 rows, 206 frames" in said(source) and "0006.json: 41 rows, 42 frames" in said(source)
    assert source.recording(8).instruction == "stack blue block on red block"
    assert opened(folder).layout.rate == 4


def test_franka_in_eleven_labs(tmp_path: Path) -> None:
    folder = shared("data/real/franka-droid-subset")
    source = opened(folder)
    assert sum(len(source.recording(k)) for k in range(11)) == 854 and source.layout.rate == 5
    assert [source.recording(k).masks[0] for k in range(11)] == ["train"] * 7 + ["val"] * 4
    assert sum(bool(source.recording(k).succeeded) for k in range(11)) == 4
    told = json.loads((folder / "annotation/val/899.json").read_text())
    recording = opened(folder, mask="val").recording(1)
    np.testing.assert_allclose(recording.telemetry[:, :6], np.array(told["states"])[:, :6], atol=1e-6)
    targets = np.array(told["action.cartesian_position"])[2:-1:3]
    np.testing.assert_allclose(recording.actions[:, :6], targets, atol=1e-6)


def test_kitchens_of_a_widowx_and_the_table_of_an_xarm(tmp_path: Path) -> None:
    source = opened(shared("data/real/widowx-bridge-cosmos"), source_fps=5.0)
    assert [len(source.recording(k)) for k in range(6)] == [28, 32, 34, 49, 26, 38]
    assert [action.kind for action in source.layout.actions] == ["delta"] * 6 + ["target"]
    assert "in the frame of the gripper" in said(source)
    table = opened(shared("data/real/language-table-irasim"))
    assert table.layout.cameras == ("video",) and len(table.recording(0)) == 18
    assert len(list(table.frames(0, "video", range(18)))) == 18
