"""Small real recordings in every layout that `gwm import` reads, and what they must become.

The robot is made up, the files are not: each writer makes what the project of that format writes, traps included, and
returns the truth as a list of episodes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from json_layouts import write_changes, write_dense, write_states
from rlds_layout import write_rlds
from truths import HEIGHT, WIDTH, Truth, down_turned, jpeg, make_truth, write_mp4

from gwm_sim.media.video import write_png

ROBOSUITE = {
    "env_name": "Lift",
    "type": 1,
    "env_kwargs": {"control_freq": 20, "controller_configs": {"type": "OSC_POSE", "control_delta": True}},
}


def write_robomimic(path: Path, lengths: Sequence[int] = (7, 9, 6, *[5] * 8), next_obs: bool = True) -> list[Truth]:
    """Eleven demos, so that demo_10 must not come before demo_2."""
    truths = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = sum(lengths)
        data.attrs["env_args"] = json.dumps(ROBOSUITE)
        file.create_dataset("mask/train", data=np.array([b"demo_0", b"demo_10"]))
        for k, length in enumerate(lengths):
            # Alphabetic order of the keys: eef_pos, eef_quat, gripper_qpos, joint_pos.
            drawn = make_truth(k, length + 1, 16, 7, ("agentview", "robot0_eye_in_hand"))
            quaternions = down_turned(length + 1)
            telemetry = drawn.telemetry.copy()
            telemetry[:, 3:7] = quaternions
            demo = data.create_group(f"demo_{k}")
            demo.attrs["num_samples"] = length
            demo.attrs["model_file"] = "<mujoco/>"
            demo["actions"] = drawn.actions.astype(np.float64)
            demo["states"] = np.zeros((length, 5))
            demo["rewards"] = np.eye(1, length, length - 1)[0]
            demo["dones"] = np.eye(1, length, length - 1, dtype=np.int64)[0]
            signs = np.where(np.arange(length + 1) % 3, 1, -1)[:, None]  # q and -q are the same rotation
            rows = {
                "robot0_eef_pos": telemetry[:, :3],
                "robot0_eef_quat": np.roll(quaternions, -1, axis=1) * signs,
                "robot0_gripper_qpos": telemetry[:, 7:9],
                "robot0_joint_pos": telemetry[:, 9:],
                "robot0_joint_pos_cos": np.cos(telemetry[:, 9:]),
                "object": np.ones((length + 1, 10)),
            }
            for key, values in rows.items():
                demo[f"obs/{key}"] = values[:-1].astype(np.float64)
                if next_obs:
                    demo[f"next_obs/{key}"] = values[1:].astype(np.float64)
            for camera, pictures in drawn.frames.items():
                demo[f"obs/{camera}_image"] = pictures[:-1]
                if next_obs:
                    demo[f"next_obs/{camera}_image"] = pictures[1:]
            truth = replace(drawn, telemetry=telemetry)
            truths.append(truth if next_obs else truth.rows(0, length))
    return truths


def write_libero(path: Path, lengths: Sequence[int] = (7, 9, 6)) -> list[Truth]:
    """Pictures upside-down, observations after their action, an axis-angle that jumps at pi."""
    truths = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Libero_Kitchen", "env_kwargs": {"control_freq": 20}})
        data.attrs["macros_image_convention"] = "opengl"
        data.attrs["num_demos"] = len(lengths)
        for k, length in enumerate(lengths):
            drawn = make_truth(k, length, 16, 7, ("agentview", "eye_in_hand"))
            telemetry = drawn.telemetry.copy()
            telemetry[:, :4] = down_turned(length)  # alphabetic: ee_ori, ee_pos, gripper_states, joint_states
            angle = np.linspace(2.9, 3.4, length)
            angle = np.where(angle > np.pi, angle - 2 * np.pi, angle)
            demo = data.create_group(f"demo_{k}")
            demo.attrs["num_samples"] = str(length)
            first = np.full((1, 7), 0.5, np.float32)  # its picture was never stored
            demo["actions"] = np.concatenate([first, drawn.actions]).astype(np.float64)
            demo["rewards"] = np.eye(1, length, length - 1, dtype=np.uint8)[0]
            demo["obs/ee_ori"] = np.stack([angle, 0 * angle, 0 * angle], axis=1)
            demo["obs/ee_pos"] = telemetry[:, 4:7].astype(np.float64)
            demo["obs/ee_states"] = np.zeros((length, 6))
            demo["obs/gripper_states"] = telemetry[:, 7:9].astype(np.float64)
            demo["obs/joint_states"] = telemetry[:, 9:].astype(np.float64)
            for camera, pictures in drawn.frames.items():
                demo[f"obs/{camera}_rgb"] = pictures[:, ::-1]
            truths.append(replace(drawn, telemetry=telemetry))
    return truths


def write_roboturk(folder: Path, lengths: Sequence[int] = (12, 9)) -> list[Truth]:
    """Two users; the paths of the videos begin with a folder that the mini set lacks; one video is a frame short."""
    truths = []
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "SawyerTowerCreation_aligned_dataset.hdf5", "w") as file:
        for k, length in enumerate(lengths):
            drawn = make_truth(k, length, 8, 7, ("front", "top"))
            quaternions = down_turned(length)
            telemetry = np.concatenate([drawn.telemetry[:, :3], quaternions, drawn.telemetry[:, 7:]], axis=1)
            demo = file.create_group(f"data/user_{k}/demo_1")
            file.create_group(f"data/user_{k}/demo_empty")
            observation = demo.create_group("robot_observation")
            observation["eef_poses"] = np.concatenate([telemetry[:, :3], np.roll(quaternions, -1, axis=1)], axis=1)
            observation["eef_times"] = 1.5e9 + np.arange(length) / 10
            observation["joint_states_gripper"] = np.stack([telemetry[:, 7], *np.zeros((2, length))], axis=1)
            observation["joint_states_arm"] = np.zeros((length, 27))
            demo["user_control/user_control"] = np.zeros((0, 22))
            for camera, pictures in drawn.frames.items():
                name = f"day/user_{k}_{camera}.mp4"
                demo.attrs[f"{camera}_rgb_video_file"] = f"SawyerTowerCreation/{name}"
                short = pictures[:-1] if (k, camera) == (0, "top") else pictures
                write_mp4(folder / "dataset_videos" / "SawyerTowerCreation_mini" / name, short, 10)
            turn = np.array([[0.5 / (length - 1), 0, 0]] * (length - 1))
            actions = np.concatenate([np.diff(telemetry[:, :3], axis=0), turn, telemetry[1:, 7:]], axis=1)
            truth = replace(drawn, telemetry=telemetry, actions=actions.astype(np.float32))
            truths.append(truth.rows(0, length - 1) if k == 0 else truth)
    return truths


def write_pilot(folder: Path) -> None:
    """RoboTurk's simulation pilot: states, no images."""
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "demo.hdf5", "w") as file:
        file.create_group("data").attrs["env"] = "SawyerLift"
        demo = file.create_group("data/demo_1")
        demo.attrs["model_file"] = "model_1.xml"
        demo["states"], demo["joint_velocities"] = np.zeros((20, 40)), np.zeros((20, 7))
        demo["gripper_actuations"] = np.zeros((20, 1))


def write_droid(folder: Path, rows: int = 20) -> list[Truth]:
    """A success with metadata and plural names, a failure without; rows 0, 1 and 9 must not count, nor the last."""
    truths = []
    for k, outcome in enumerate(("failure", "success")):
        episode = folder / "LAB" / outcome / "2023-07-07" / f"Fri_Jul__7_09:42:2{k}_2023"
        episode.mkdir(parents=True)
        drawn = make_truth(k, rows + 1, 11, 7, ("ext1", "ext2", "wrist"))
        telemetry = drawn.telemetry[:rows]
        serials = {"wrist": "111", "ext1": "222", "ext2": "333"}
        with h5py.File(episode / "trajectory.h5", "w") as file:
            file.attrs["success"] = outcome == "success"
            state = file.create_group("observation/robot_state")
            state["joint_positions" if k else "joint_position"] = telemetry[:, :7].astype(np.float64)
            state["cartesian_position"] = np.pad(telemetry[:, 7:10], ((0, 0), (0, 3)))
            state["gripper_position"] = telemetry[:, 10]
            file["action/cartesian_velocity"] = drawn.actions[:rows, :6]
            file["action/gripper_position"] = drawn.actions[:rows, 6]
            enabled = ~np.isin(np.arange(rows), (0, 9))
            file["observation/controller_info/movement_enabled"] = enabled
            file["observation/timestamp/skip_action"] = np.arange(rows) == 1
            for camera, serial in serials.items():
                file[f"observation/camera_type/{serial}"] = np.full(rows, int(camera != "wrist"))
        if outcome == "success":
            metadata = {f"{camera}_cam_serial": serial for camera, serial in serials.items()}
            (episode / "metadata_abc.json").write_text(json.dumps({"uuid": "abc", **metadata}))
        for camera, serial in serials.items():
            write_mp4(episode / f"recordings/MP4/{serial}.mp4", drawn.frames[camera][: rows - 1], 15)
            (episode / f"recordings/MP4/{serial}-stereo.mp4").write_bytes(b"not read")
        whole = Truth(telemetry, drawn.actions[: rows - 1], drawn.frames)
        truths += [whole.rows(2, 9), whole.rows(10, rows - 1)]
    return truths


LEROBOT_STATE = ("shoulder.pos", "elbow.pos", "gripper.pos")


def write_lerobot(
    folder: Path,
    version: str = "v3.0",
    codec: str = "libsvtav1",
    stored: str = "video",
    lengths: Sequence[int] = (8, 11, 9),
    action_names: Sequence[str] = LEROBOT_STATE,
) -> list[Truth]:
    """Two cameras at 30 Hz; in v3.0 the first two episodes share their files."""
    pa = pytest.importorskip("pyarrow")
    rate, cameras = 30, ("front", "wrist")
    drawn = [make_truth(k, length + 1, 3, 3, cameras) for k, length in enumerate(lengths)]
    keys = {camera: f"observation.images.{camera}" for camera in cameras}
    v3 = version == "v3.0"
    features: dict[str, Any] = {
        "observation.state": {"dtype": "float32", "shape": [3], "names": list(LEROBOT_STATE)},
        "action": {"dtype": "float32", "shape": [3], "names": {"motors": list(action_names)}},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.success": {"dtype": "bool", "shape": [1], "names": None},
    }
    for key in keys.values():
        features[key] = {"dtype": stored, "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channels"]}
    v3_paths = ("data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
                "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4")  # fmt: skip
    v2_paths = ("data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
                "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4")  # fmt: skip
    data_path, video_path = v3_paths if v3 else v2_paths
    info = {"codebase_version": version, "robot_type": "so100", "fps": rate, "features": features,
            "chunks_size": 1000, "data_path": data_path, "video_path": video_path}  # fmt: skip
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info))

    tables = [
        _lerobot_table(k, truth, length, keys, stored, folder)
        for k, (truth, length) in enumerate(zip(drawn, lengths, strict=True))
    ]
    files = [[0, 1], [2]] if v3 else [[k] for k in range(len(lengths))]
    records = []
    for number, episodes in enumerate(files):
        fields = {"chunk_index": 0, "file_index": number, "episode_chunk": 0, "episode_index": number}
        _write_parquet(folder / data_path.format(**fields), [tables[k] for k in episodes])
        for camera, key in keys.items():
            if stored == "video":
                joined = np.concatenate([drawn[k].frames[camera][: lengths[k]] for k in episodes])
                write_mp4(folder / video_path.format(**fields, video_key=key), joined, rate, codec)
        start = 0
        for k in episodes:
            record: dict[str, Any] = {"episode_index": k, "length": lengths[k], "data/chunk_index": 0,
                                      "data/file_index": number}  # fmt: skip
            for key in keys.values():
                record |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": number,
                           f"videos/{key}/from_timestamp": start / rate}  # fmt: skip
            records.append(record)
            start += lengths[k]
    if v3:
        _write_parquet(folder / "meta/episodes/chunk-000/file-000.parquet", [pa.Table.from_pylist(records)])
    else:
        lines = [json.dumps({"episode_index": r["episode_index"], "length": r["length"]}) for r in records]
        (folder / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    return [truth.rows(0, length) for truth, length in zip(drawn, lengths, strict=True)]


def _lerobot_table(k: int, truth: Truth, length: int, keys: dict[str, str], stored: str, folder: Path) -> Any:
    import pyarrow as pa

    vectors = pa.list_(pa.float32(), 3)
    columns: dict[str, Any] = {
        "observation.state": pa.array(truth.telemetry[:length].tolist(), vectors),
        "action": pa.array(truth.actions.tolist(), vectors),
        "timestamp": pa.array((np.arange(length) / 30).astype(np.float32)),
        "frame_index": pa.array(np.arange(length)),
        "episode_index": pa.array(np.full(length, k)),
        "next.reward": pa.array(np.linspace(0, 1, length).astype(np.float32)),
        "next.success": pa.array(np.arange(length) == length - 1),
    }
    for camera, key in keys.items() if stored == "image" else ():
        structs = []
        for picture in truth.frames[camera][:length]:
            write_png(folder / "scratch.png", picture)
            structs.append({"bytes": (folder / "scratch.png").read_bytes(), "path": None})
            (folder / "scratch.png").unlink()
        columns[key] = pa.array(structs, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    return pa.table(columns)


def _write_parquet(path: Path, tables: Sequence[Any]) -> None:
    """One row group per episode, as LeRobot writes them."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)


def write_minari(folder: Path, jpegs: bool = False, lengths: Sequence[int] = (6, 8, *[5] * 9)) -> list[Truth]:
    """Eleven episodes of a Dict space with a nested space, goals, and pictures as arrays or JPEG files."""
    truths = []
    (folder / "data").mkdir(parents=True)
    action_space = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-2.0, -1.0], "high": [2.0, 1.0]}
    metadata = {"data_format": "hdf5", "dataset_id": "bench/pick-v0", "action_space": json.dumps(action_space),
                "jpeg_encoding": jpegs, "total_episodes": len(lengths)}  # fmt: skip
    (folder / "data/metadata.json").write_text(json.dumps(metadata))
    with h5py.File(folder / "data/main_data.hdf5", "w") as file:
        for k, length in enumerate(lengths):
            truth = make_truth(k, length + 1, 5, 2, ("pixels",))
            episode = file.create_group(f"episode_{k}")
            episode.attrs.update({"id": k, "seed": 7, "total_steps": length})
            episode["actions"] = truth.actions
            episode["rewards"] = np.linspace(-1, 0, length)
            episode["terminations"] = episode["truncations"] = np.zeros(length, bool)
            episode["observations/arm/joints"] = truth.telemetry[:, :4].astype(np.float64)
            episode["observations/gripper"] = truth.telemetry[:, 4]
            episode["observations/desired_goal"] = np.ones((length + 1, 3))
            episode["infos/success"] = np.arange(length + 1) == length
            if jpegs:
                kind = h5py.vlen_dtype(np.uint8)
                stored = episode.create_dataset("observations/pixels", (length + 1,), dtype=kind)
                for row, picture in enumerate(truth.frames["pixels"]):
                    stored[row] = jpeg(picture)
            else:
                episode["observations/pixels"] = truth.frames["pixels"]
            truths.append(truth)
    return truths


def write_folder(
    folder: Path, lengths: Sequence[int] = (10, 8, 7), rate: float = 20, timed: bool = True
) -> list[Truth]:
    """One folder per episode with two videos and a table."""
    truths = []
    for k, length in enumerate(lengths):
        drawn = make_truth(k, length + 1, 3, 3, ("front", "side"))
        episode = folder / f"take_{k:02d}"
        for camera, pictures in drawn.frames.items():
            write_mp4(episode / f"{camera}.mp4", pictures[:length], rate)
        names = ["state.x [m]", "state.y [m]", "state.grip", "delta.dx [m]", "target.grip", "rate.vy [m/s]"]
        lines = [[*state, *action] for state, action in zip(drawn.telemetry, drawn.actions, strict=False)]
        if timed:
            names = ["time", *names]
            lines = [[100.0 + row / rate, *line] for row, line in enumerate(lines)]
        text = "\n".join(",".join(str(value) for value in line) for line in [names, *lines])
        (episode / "robot.csv").write_text(text + "\n")
        truths.append(drawn.rows(0, length))
    return truths


def write_pictures(folder: Path, lengths: Sequence[int] = (12, 8)) -> list[Truth]:
    """Pictures instead of films, numbered as people count, and what is known of the episode."""
    truths = write_folder(folder, lengths, timed=False)
    for k, truth in enumerate(truths):
        episode = folder / f"take_{k:02d}"
        for camera, pictures in truth.frames.items():
            (episode / f"{camera}.mp4").unlink()
            (episode / camera).mkdir()
            for row, picture in enumerate(pictures):
                write_png(episode / camera / f"{row + 1}.png", picture)
        (episode / "episode.json").write_text(json.dumps({"success": k == 0, "instruction": f"task {k}"}))
    return truths


@dataclass(frozen=True)
class LayoutCase:
    """A layout: who reads it, where it is written, and how."""

    format: str
    write: Callable[[Path], list[Truth]]
    name: str = ""
    """File below the test's folder; the folder itself when empty."""
    rate: float | None = None
    """What the user must say [Hz]."""


LAYOUTS = {
    "robomimic": LayoutCase("robomimic", write_robomimic, "demo.hdf5"),
    "robomimic-compact": LayoutCase("robomimic", lambda p: write_robomimic(p, (7, 9), next_obs=False), "demo.hdf5"),
    "libero": LayoutCase("libero", write_libero, "task.hdf5"),
    "roboturk": LayoutCase("roboturk", write_roboturk, "turk"),
    "droid": LayoutCase("droid", write_droid, "droid"),
    "lerobot-v3": LayoutCase("lerobot", write_lerobot, "so100"),
    "lerobot-v3-images": LayoutCase("lerobot", lambda p: write_lerobot(p, stored="image"), "so100"),
    "lerobot-v2.1": LayoutCase("lerobot", lambda p: write_lerobot(p, "v2.1", "libx264"), "so100"),
    "minari": LayoutCase("minari", write_minari, "pick-v0", rate=10),
    "minari-jpeg": LayoutCase("minari", lambda p: write_minari(p, jpegs=True, lengths=(6, 8)), "pick-v0", rate=10),
    "folder": LayoutCase("folder", write_folder, "takes"),
    "rlds": LayoutCase("rlds", write_rlds, "arm", rate=5),
    "folder-untimed": LayoutCase("folder", lambda p: write_folder(p, timed=False), "takes"),
    "folder-pictures": LayoutCase("folder", write_pictures, "takes", rate=20),
    "json-dense": LayoutCase("json", write_dense, "droid"),
    "json-changes": LayoutCase("json", write_changes, "bridge"),
    "json-states": LayoutCase("json", write_states, "bench"),
}

__all__ = [
    "LAYOUTS",
    "LEROBOT_STATE",
    "ROBOSUITE",
    "LayoutCase",
    "Truth",
    "make_truth",
    "write_droid",
    "write_changes",
    "write_dense",
    "write_folder",
    "write_lerobot",
    "write_libero",
    "write_minari",
    "write_mp4",
    "write_pictures",
    "write_pilot",
    "write_rlds",
    "write_robomimic",
    "write_roboturk",
    "write_states",
]
