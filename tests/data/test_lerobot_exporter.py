"""What is exported for LeRobot has its files, metadata and statistics."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from exporting import LENGTHS, SIZE, export, psnr, smooth_episode, smooth_schema, write_smooth
from recordings import make_camera, write_file

from gwm_sim.commands.import_ import ImportConfig, import_episodes
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.exporters import videos
from gwm_sim.data.schema import Command
from gwm_sim.errors import ConfigError


def read_parquet(path: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows: list[dict[str, Any]] = parquet.read_table(path, partitioning=None).to_pylist()
    return rows


def test_lerobot_metadata_describe_the_files(tmp_path: Path) -> None:
    own = EpisodeFile(write_smooth(tmp_path / "own.hdf5"))
    out = export("lerobot", own.path, tmp_path / "out", codec="h264", task="Stack the cubes.")
    info = json.loads((out / "meta/info.json").read_text())
    frames = sum(LENGTHS) + len(LENGTHS)
    assert (info["codebase_version"], info["fps"], info["splits"]) == ("v3.0", 10, {"train": "0:3"})
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, frames, 1)
    assert info["gwm_sim"] == own.schema.to_json() and "imagined" not in info
    rows = read_parquet(out / "data/chunk-000/file-000.parquet")
    tables = {key: feature for key, feature in info["features"].items() if feature["dtype"] != "video"}
    assert rows[0].keys() == tables.keys()
    for key, feature in tables.items():
        assert np.shape(rows[0][key]) == (() if feature["shape"] == [1] else tuple(feature["shape"]))
    assert [row["index"] for row in rows] == list(range(frames))
    assert [row["frame_index"] for row in rows if row["episode_index"] == 1] == list(range(10))
    assert [row["index"] for row in rows if row["next.done"]] == [6, 16, 24]
    episodes = read_parquet(out / "meta/episodes/chunk-000/file-000.parquet")
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in episodes] == [(0, 7), (7, 17), (17, 25)]
    key = "observation.images.wrist"
    assert [e[f"videos/{key}/to_timestamp"] for e in episodes] == [0.7, 1.7, 2.5]
    assert [e["tasks"] for e in episodes] == [["Stack the cubes."]] * 3
    pandas = pytest.importorskip("pandas")
    tasks = pandas.read_parquet(out / "meta/tasks.parquet")
    assert tasks.index.name == "task" and tasks.loc["Stack the cubes.", "task_index"] == 0


def test_episodes_keep_their_instructions(tmp_path: Path) -> None:
    words = ("Fold the towel.", None, "Schiebe die Tasse zu Zoé.", "Fold the towel.")
    writer = EpisodeWriter(tmp_path / "own.hdf5", smooth_schema())
    for k, instruction in enumerate(words):
        writer.write(k, dataclasses.replace(smooth_episode(k, 6), instruction=instruction))
    writer.merge()
    out = export("lerobot", writer.path, tmp_path / "out", codec="h264")
    told = [word or writer.schema.task for word in words]
    assert [e["tasks"] for e in read_parquet(out / "meta/episodes/chunk-000/file-000.parquet")] == [[w] for w in told]
    rows = read_parquet(out / "data/chunk-000/file-000.parquet")
    assert [row["task_index"] for row in rows if row["frame_index"] == 0] == [0, 1, 2, 0]
    back = tmp_path / "back.hdf5"
    import_episodes(ImportConfig("lerobot", out, back))
    assert [episode.instruction for episode in EpisodeFile(back)] == told
    named = export("lerobot", writer.path, tmp_path / "named", codec="h264", task="Tidy up.")
    assert {e["tasks"][0] for e in read_parquet(named / "meta/episodes/chunk-000/file-000.parquet")} == {"Tidy up."}


def test_lerobot_statistics_are_those_of_numpy(tmp_path: Path) -> None:
    own = EpisodeFile(write_smooth(tmp_path / "own.hdf5"))
    out = export("lerobot", own.path, tmp_path / "out", codec="h264")
    stats = json.loads((out / "meta/stats.json").read_text())
    telemetry = np.concatenate([episode.telemetry for episode in own]).astype(float)
    state = stats["observation.state"]
    for name, values in (
        ("min", telemetry.min(0)), ("max", telemetry.max(0)), ("mean", telemetry.mean(0)), ("std", telemetry.std(0)),
        ("q01", np.quantile(telemetry, 0.01, axis=0)), ("q99", np.quantile(telemetry, 0.99, axis=0)),
    ):  # fmt: skip
        np.testing.assert_allclose(state[name], values)
    assert state["count"] == [len(telemetry)]
    pixels = np.concatenate([episode.frames["front"] for episode in own]).reshape(-1, 3) / 255
    front = stats["observation.images.front"]
    for name, values in (
        ("min", pixels.min(0)), ("max", pixels.max(0)), ("mean", pixels.mean(0)), ("std", pixels.std(0)),
        ("q50", np.quantile(pixels, 0.5, axis=0, method="inverted_cdf")),
    ):  # fmt: skip
        np.testing.assert_allclose(front[name], values.reshape(3, 1, 1), atol=1e-9)
    episode = read_parquet(out / "meta/episodes/chunk-000/file-000.parquet")[1]
    np.testing.assert_allclose(episode["stats/action/max"], np.max([*own[1].actions, own[1].actions[-1]], axis=0))
    assert np.shape(episode["stats/observation.images.front/mean"]) == (3, 1, 1)


def test_lerobot_begins_new_files_when_they_are_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lerobot = pytest.importorskip("gwm_sim.data.exporters.lerobot")
    monkeypatch.setattr(lerobot, "_DATA_MEGABYTES", 0)
    monkeypatch.setattr(lerobot, "_VIDEO_MEGABYTES", 0)
    monkeypatch.setattr(lerobot, "_CHUNK_FILES", 2)
    own = write_smooth(tmp_path / "own.hdf5")
    out = export("lerobot", own, tmp_path / "out", codec="h264")
    names = sorted(str(path.relative_to(out / "data")) for path in (out / "data").rglob("*.parquet"))
    assert names == [f"chunk-00{chunk}/file-00{file}.parquet" for chunk, file in ((0, 0), (0, 1), (1, 0))]
    assert len(list((out / "videos").rglob("*.mp4"))) == 6
    import_episodes(ImportConfig("lerobot", out, tmp_path / "back.hdf5", size=SIZE))
    with EpisodeFile(own) as ours, EpisodeFile(tmp_path / "back.hdf5") as theirs:
        assert psnr(theirs[2].frames["wrist"], ours[2].frames["wrist"]) > 30


def test_lerobot_row_of_the_last_frame_asks_for_nothing_new(tmp_path: Path) -> None:
    command = Command(telemetry=0, action=0, scale=0.03, measured=0)
    commanded = write_smooth(tmp_path / "commanded.hdf5", (6,), smooth_schema(commands=(command,)))
    absolute = (dataclasses.replace(command, absolute=True),)
    told = write_smooth(tmp_path / "told.hdf5", (6,), smooth_schema(commands=absolute))
    rated = write_smooth(tmp_path / "rated.hdf5", (6,), smooth_schema(settings={"action_kinds": ["target", "rate"]}))
    last = EpisodeFile(commanded)[0].actions[-1]
    for file, expected in ((commanded, [0, last[1]]), (told, last.tolist()), (rated, [last[0], 0])):
        out = export("lerobot", file, tmp_path / file.stem, codec="h264")
        assert read_parquet(out / "data/chunk-000/file-000.parquet")[-1]["action"] == pytest.approx(expected)


def test_lerobot_refuses_pictures_that_its_codec_cannot_hold(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    small = write_file(tmp_path / "small.hdf5", (0,))
    with pytest.raises(ConfigError, match=r"'front' has pictures of 16x16, but av1 needs 64 .* --codec h264"):
        export("lerobot", small, tmp_path / "out")
    with pytest.raises(ConfigError, match="pictures of 9x9, but videos need even sizes"):
        videos.check_codec("h264", {"front": make_camera(9)})


def test_lerobot_camera_cannot_lead_out_of_the_dataset(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    own = write_smooth(tmp_path / "own.hdf5", (6,))
    with h5py.File(own, "r+") as file:
        data = file["data"]
        schema = json.loads(data.attrs["gwm_schema"])
        schema["cameras"]["a/../../b"] = schema["cameras"].pop("wrist")
        data.attrs["gwm_schema"] = json.dumps(schema)
        data["demo_0"].move("frames/wrist", "frames/a/../../b")
    with pytest.raises(ConfigError, match=r"camera 'a/\.\./\.\./b' cannot name a folder"):
        export("lerobot", own, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["own.hdf5"]
