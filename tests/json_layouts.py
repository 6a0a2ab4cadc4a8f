"""Annotations in JSON beside films, in the three ways in which the projects that have them write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from truths import Array, Truth, make_truth, write_mp4

STRIDE = 3


def write_dense(folder: Path, lengths: Sequence[int] = (8, 10, 7)) -> list[Truth]:
    """Rows at 15 Hz beside films of 5 Hz, as Ctrl-World keeps DROID; splits, and 10 comes after 9."""
    truths = []
    for k, (length, name) in enumerate(zip(lengths, ("train/0", "val/9", "val/10"), strict=True)):
        drawn = make_truth(k, length, 14, 7, ("0", "1"))
        drawn.telemetry[:, 13] = np.linspace(0, 1, length)  # the gripper
        rows = STRIDE * length - k % STRIDE  # the last frame may have but one row of its own
        telemetry, actions = _dense(drawn.telemetry, rows), np.random.default_rng(k).uniform(-1, 1, (rows, 7))
        split, episode = name.split("/")
        _write(
            folder / "annotation" / f"{name}.json",
            texts=["", f"task {k}"],
            success=k % 2,
            video_length=length,
            videos=[{"video_path": f"videos/{name}/{camera}.mp4"} for camera in drawn.frames],
            states=telemetry[::STRIDE, [*range(6), 13]],
            **{
                "observation.state.cartesian_position": telemetry[:, :6],
                "observation.state.joint_position": telemetry[:, 6:13],
                "observation.state.gripper_position": telemetry[:, 13],
                "action.cartesian_position": actions[:, :6],
                "action.joint_position": np.zeros((rows, 7)),
                "action.gripper_position": actions[:, 6],
            },
        )
        for camera, pictures in drawn.frames.items():
            write_mp4(folder / "videos" / split / episode / f"{camera}.mp4", pictures, 5)
        last = actions[STRIDE - 1 : STRIDE * (length - 1) : STRIDE].astype(np.float32)
        truths.append(replace(drawn, actions=last))
    return truths


def write_changes(folder: Path, lengths: Sequence[int] = (9, 7)) -> list[Truth]:
    """States, and one action fewer: the change as seen from the gripper, as Cosmos keeps Bridge; no splits."""
    truths = []
    for k, length in enumerate(lengths):
        drawn = make_truth(k, length, 8, 7, ("rgb",))
        telemetry, actions = drawn.telemetry.copy(), drawn.actions.copy()
        telemetry[:, 6] = np.arange(length) % 2
        for row in range(length - 1):
            turn = rotation(telemetry[row, 3:6])
            actions[row, :3] = turn.T @ (telemetry[row + 1, :3] - telemetry[row, :3])
        _write(
            folder / "annotation" / f"{k}.json",
            task="robot_trajectory_prediction",
            texts=[f"task {k}"],
            state=telemetry[:, :7],
            action=actions,
            continuous_gripper_state=telemetry[:, 7],
        )
        write_mp4(folder / "videos" / str(k) / "rgb.mp4", drawn.frames["rgb"], 5)
        truths.append(replace(drawn, telemetry=telemetry, actions=actions))
    return truths


def write_states(folder: Path, lengths: Sequence[int] = (8, 6)) -> list[Truth]:
    """No actions at all; states and joints, which both hold the gripper, as Ctrl-World keeps a bench of its own."""
    truths = []
    for k, length in enumerate(lengths):
        drawn = make_truth(k, length, 14, 7, ("0", "1"))
        telemetry = drawn.telemetry.copy()
        telemetry[:, 6] = np.linspace(0, 1, length)  # the gripper; then seven joints
        _write(
            folder / "annotation" / "val" / f"{k:04d}.json",
            texts=[f"task {k}"],
            success=1,
            states=telemetry[:, :7],
            joints=telemetry[:, [*range(7, 14), 6]],
        )
        for camera, pictures in drawn.frames.items():
            write_mp4(folder / "videos" / "val" / f"{k:04d}" / f"{camera}.mp4", pictures, 5)
        truths.append(replace(drawn, telemetry=telemetry, actions=telemetry[1:, :7]))
    return truths


def rotation(euler: Array) -> Array:
    """The rotation (3, 3) by roll, pitch and yaw [rad], one after the other about the axes of the world."""
    turns = []
    for axis, angle in enumerate(euler.astype(float)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i], turn[i, j] = np.sin(angle), -np.sin(angle)
        turns.append(turn)
    roll, pitch, yaw = turns
    product: Array = yaw @ pitch @ roll
    return product


def _dense(values: Array, rows: int) -> Array:
    """Rows of which every third is one of `values`."""
    dense = np.repeat(values, STRIDE, axis=0)[:rows].astype(np.float64)
    dense += 0.01 * (np.arange(rows) % STRIDE)[:, None]
    return dense


def _write(path: Path, **members: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in members.items()}
    path.write_text(json.dumps(plain))
