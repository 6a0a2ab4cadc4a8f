"""A raw recording holds what cameras and robot report, and nothing else at all."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from exporting import export
from recordings import make_episode, make_schema, write_file
from tracked import write_tracked

from gwm_sim import cli
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.schema import Command, Schema

SETTINGS = {
    "policy": "mixed", "seed": 0, "steps": 5, "source": "stack of two", "by_hand": {"pour": ["1"]},
    "action_kinds": ["delta", "rate"], "turns": {"state.x": 6.28}, "imagined": {"model": "test", "hash": "0"},
}  # fmt: skip


def told_of_everything(path: Path) -> Path:
    """A file with all that an episode file may say."""
    schema = dataclasses.replace(
        make_schema(SETTINGS),
        commands=(Command(telemetry=1, action=0, scale=0.1, measured=0),),
        effector=(0,),
        gripper=(2,),
        depth=("front",),
        env_kwargs={"size": 16, "objects": 2},
    )
    writer = EpisodeWriter(path, schema)
    writer.attach("notes", {"numbers": np.arange(3)})
    for k in range(2):
        episode = make_episode(k)
        depth = np.full((len(episode) + 1, 16, 16, 1), 100 * k, np.uint16)
        told = dataclasses.replace(episode, succeeded=True, instruction="Stack.", masks=("train",))
        writer.write(k, dataclasses.replace(told, depth={"front": depth}))
    writer.merge()
    return path


def contents(path: Path) -> tuple[set[str], dict[str, Any]]:
    """Every dataset, and every attribute by the name of its owner."""
    datasets: set[str] = set()
    attributes: dict[str, Any] = {}

    def see(name: str, item: h5py.Group | h5py.Dataset) -> None:
        attributes.update({f"{name}@{key}": value for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            datasets.add(name)

    with h5py.File(path) as file:
        see("", file)
        file.visititems(see)
    return datasets, attributes


@pytest.mark.parametrize("calibration", [False, True])
def test_nothing_else_is_in_the_file(calibration: bool, tmp_path: Path) -> None:
    path = told_of_everything(tmp_path / "a.hdf5")
    datasets, attributes = contents(export("raw", path, tmp_path / "raw.hdf5", calibration=calibration))
    seen = {"frames/front", "frames/wrist", "depth/front"}
    views = {
        f"{view}/{key}"
        for view in ("obs", "next_obs")
        for key in ("front_image", "wrist_image", "front_depth", "agent_pos")
    }
    each = seen | views | {"telemetry", "actions", "rewards", "dones"}
    assert datasets == {f"data/demo_{k}/{name}" for k in range(2) for name in each} | {"mask/train"}
    schema = json.loads(attributes.pop("data@gwm_schema"))
    args = json.loads(attributes.pop("data@env_args"))
    assert args == {"env_name": "Bench-v0", "env_version": "0.1.0", "type": 2, "env_kwargs": {}}
    own: dict[str, list[Any]] = {"num_samples": [5, 6], "seed": [0, 1], "policy": ["unknown"] * 2, "properties": ["{}"] * 2}
    own |= {"masks": ['["train"]'] * 2}
    assert attributes == {"data@total": 11} | {f"data/demo_{k}@{key}": own[key][k] for k in range(2) for key in own}
    assert_says_only_the_robot(schema, make_schema(), calibration)
    with h5py.File(tmp_path / "raw.hdf5") as file:
        assert not any(file[f"data/demo_{k}/rewards"][()].any() for k in range(2))


def assert_says_only_the_robot(schema: dict[str, Any], stored: Schema, calibration: bool) -> None:
    same = {"format", "env_id", "rate", "versions", "cameras", "action_names", "action_low", "action_high"}
    same |= {"telemetry_names", "telemetry_units", "telemetry_low", "telemetry_high"}
    expected = {key: value for key, value in stored.to_json().items() if key in same}
    expected |= {"commands": [{"telemetry": 1, "action": 0, "scale": 0.1, "measured": 0}]}
    expected |= {"effector": [0], "gripper": [2], "depth": ["front"]}
    expected |= {"object_names": [], "object_size": 0.0, "tasks": [], "task": None, "env_kwargs": {}}
    expected["settings"] = {"raw": True} | {key: SETTINGS[key] for key in ("action_kinds", "turns", "imagined")}
    if not calibration:
        expected["settings"]["calibrated"] = False
        for camera in expected["cameras"].values():
            camera |= {"position": [0, 0, 0], "rotation": np.eye(3).tolist(), "fovy": 45.0}
    assert schema == expected


def test_pictures_and_numbers_of_the_robot_are_those_of_the_file(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5", range(3))
    with EpisodeFile(path) as old, EpisodeFile(export("raw", path, tmp_path / "raw.hdf5")) as new:
        new.check()
        assert new.schema.settings["raw"] is True and new.seeds == old.seeds and new.lengths == old.lengths
        for ours, theirs in zip(new, old, strict=True):
            np.testing.assert_array_equal(ours.frames["wrist"], theirs.frames["wrist"])
            np.testing.assert_array_equal(ours.telemetry, theirs.telemetry)
            np.testing.assert_array_equal(ours.actions, theirs.actions)
            assert ours.objects is None and not ours.labels and not ours.properties
            assert (ours.policy, ours.succeeded, ours.instruction) == ("unknown", None, None)


def test_the_command_says_what_is_gone_and_what_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tracked(tmp_path / "a.hdf5", range(2))
    assert cli.main(["export", "raw", str(path), str(tmp_path / "raw.hdf5")]) == 0
    printed = capsys.readouterr().out
    gone = "left out: where objects are (red, blue), labels of reach, stack, the tracker, places and views of cameras"
    assert gone in printed and "Seeds stay" in printed and "tracked, not measured" not in printed
    with EpisodeFile(tmp_path / "raw.hdf5") as file:
        assert file.attachments == [] and not file.schema.tracked and "tracker" not in file.schema.settings


def test_raw_files_may_be_stripped_again(tmp_path: Path) -> None:
    once = export("raw", write_file(tmp_path / "a.hdf5", range(2)), tmp_path / "b.hdf5")
    with EpisodeFile(once) as file, EpisodeFile(export("raw", once, tmp_path / "c.hdf5")) as again:
        assert again.digest() == file.digest()
