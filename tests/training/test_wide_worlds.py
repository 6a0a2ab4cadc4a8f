"""Worlds of wide pictures and of two cameras: they train, are measured, imagined, filmed and stepped as square ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from gwm_sim import cli
from gwm_sim.data.cameras import Camera
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter
from gwm_sim.data.schema import TRACKER, ObjectFrame, Schema
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import PRESETS

Array = NDArray[Any]

pytestmark = pytest.mark.filterwarnings("ignore:wide lacks labels")

EPISODES, LENGTH = 8, 20


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], frames_per_window=4))


def above(height: int, width: int) -> Camera:
    """A camera 1 m straight above a table."""
    return Camera(np.array([0.0, 0.0, 1.0]), np.eye(3), 45.0, height=height, width=width)


def schema_of(size: tuple[int, int], things: ObjectFrame | None, cameras: tuple[str, ...]) -> Schema:
    known: dict[str, Any] = {}
    if things:
        known = {"object_names": ("ball",), "object_frame": things, "tracked": cameras[:1]}
        known["settings"] = {TRACKER: "0" * 64}
    views = {name: replace(above(*size), moving=name == "wrist") for name in cameras}
    return Schema(
        env_id="pusher",
        rate=10.0,
        telemetry_names=("x", "y", "z"),
        telemetry_units=("m", "m", "m"),
        telemetry_low=(-1.0,) * 3,
        telemetry_high=(1.0,) * 3,
        action_names=("dx", "dy"),
        action_low=(-1.0, -1.0),
        action_high=(1.0, 1.0),
        cameras=views,
        effector=(0, 1, 2),
        **known,
    )


def write(path: Path, schema: Schema) -> Path:
    """Episodes in which a robot, a dark square, is driven about and a ball, a bright one, lies somewhere."""
    writer = EpisodeWriter(path, schema)
    rng = np.random.default_rng(0)
    for k in range(EPISODES):
        actions = rng.uniform(-1, 1, (LENGTH, 2)).astype(np.float32)
        robot = np.zeros((LENGTH + 1, 3), np.float32)
        robot[1:, :2] = 0.03 * actions.cumsum(axis=0)
        ball = np.broadcast_to(np.array([rng.uniform(-0.4, 0.4), rng.uniform(-0.2, 0.2), 0]), robot.shape)
        frames = {name: drawn(camera, robot, ball) for name, camera in schema.cameras.items()}
        objects = np.zeros((LENGTH + 1, 1, 7), np.float32)
        objects[..., 3] = 1
        seen = np.ones((LENGTH + 1, 1, 6), np.float32)
        first = next(iter(schema.cameras.values()))
        seen[:, 0, :2], seen[:, 0, 2:4] = first.project(ball), 8
        objects[:, 0, :3] = ball
        if schema.object_frame == "image":
            objects[:, 0, :3] = seen[:, 0, :3]
        writer.write(
            k,
            Episode(
                frames=frames,
                telemetry=robot,
                actions=actions,
                labels={},
                objects=objects if schema.object_names else None,
                properties={},
                seed=None,
                policy="demonstration",
                sightings=dict.fromkeys(schema.tracked, seen),
                objects_confidence=np.ones((LENGTH + 1, 1), np.float32) if schema.tracked else None,
            ),
        )
    writer.merge()
    return path


def drawn(camera: Camera, robot: Array, ball: Array) -> Array:
    frames = np.full((len(robot), camera.height, camera.width, 3), 120, np.uint8)
    for places, colour in ((ball, (220, 60, 40)), (robot, (20, 20, 30))):
        for frame, (column, row) in zip(frames, camera.project(places).round().astype(int), strict=True):
            frame[max(0, row - 4) : max(0, row + 4), max(0, column - 4) : max(0, column + 4)] = colour
    return frames


def gwm(*words: object) -> None:
    assert cli.main([str(word) for word in words]) == 0


def world(data: Path, out: Path, cameras: tuple[str, ...], *options: str) -> Path:
    words = ["--preset", "tiny", "--steps", "8", "--device", "cpu", "--name", "wide", *options]
    gwm("train", "--data", data, "--out", out, "--camera", *cameras, *words)
    return out


def check(data: Path, model: Path, size: tuple[int, int], cameras: tuple[str, ...], folder: Path) -> None:
    """Do with a world all that its owner may."""
    shape = (*size, 3)
    numbers = folder / "eval.json"
    words = ("--horizons", 1, 5, "--device", "cpu", "--training-data", data, "--json", numbers)
    gwm("eval", "--model", model, "--data", data, *words, "--video", folder / "strip.png")
    assert json.loads(numbers.read_text())["horizons"]["5"]["psnr"] > 5
    gwm("imagine", "--data", data, "--model", model, "--out", folder / "dream.hdf5", "--limit", 1, "--device", "cpu")
    with EpisodeFile(folder / "dream.hdf5") as file:
        assert {name: frames.shape[1:] for name, frames in file[0].frames.items()} == dict.fromkeys(cameras, shape)
    gwm("inspect", folder / "dream.hdf5", "--video", folder / "dream.png")
    gwm("generate", "--model", model, "--bank", 0, "--seconds", 1, "--out", folder / "film.mp4")
    env = gym.make("GWM-World-v0", model=model)
    envs = gym.make_vec("GWM-World-v0", num_envs=3, model=model)
    keys = [f"pixels_{name}" if name != "front" else "pixels" for name in cameras]
    env.reset(seed=0, options={"episode": f"{data}:1", "step": 5})
    envs.reset(seed=0)
    for _ in range(3):
        observation = env.step(env.action_space.sample())[0]
        assert env.observation_space.contains(observation)
        batch = envs.step(envs.action_space.sample())[0]
        assert [observation[key].shape for key in keys] == [shape] * len(keys)
        assert [batch[key].shape for key in keys] == [(3, *shape)] * len(keys)
    env.reset(seed=0, options={"bank": 0, "goal": observation["pixels"]})
    assert float(env.step(np.zeros(2, np.float32))[1]) <= 0


@pytest.mark.parametrize(
    ("things", "size"),
    [
        (None, (72, 100)),
        ("metres", (64, 96)),
        pytest.param("image", (96, 64), marks=pytest.mark.slow),
        pytest.param("metres", (128, 160), marks=pytest.mark.slow),
    ],
)
def test_a_wide_world_does_all_that_a_square_one_does(
    things: ObjectFrame | None, size: tuple[int, int], tmp_path: Path
) -> None:
    """Where 72x100 are no multiples of 16, tokens reach beyond the picture."""
    data = write(tmp_path / "data.hdf5", schema_of(size, things, ("front",)))
    check(data, world(data, tmp_path / "world", ("front",)), size, ("front",), tmp_path)


@pytest.mark.parametrize("things", [pytest.param(None, marks=pytest.mark.slow), "metres"])
def test_two_cameras_make_a_world(things: ObjectFrame | None, tmp_path: Path) -> None:
    size, cameras = (48, 72), ("front", "wrist")
    data = write(tmp_path / "data.hdf5", schema_of(size, things, cameras))
    check(data, world(data, tmp_path / "world", cameras), size, cameras, tmp_path)


@pytest.mark.slow
def test_a_fine_world_of_wide_pictures_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tokens are 32 px."""
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], pack=4, noise=8))
    data = write(tmp_path / "data.hdf5", schema_of((128, 176), "metres", ("front",)))
    model = WorldModel.load(world(data, tmp_path / "world", ("front",)), "cpu")
    assert model.config.tokenizer.grid == (4, 6) and model.config.tokenizer.frame == (128, 176, 3)


@pytest.mark.slow
def test_a_shipped_tokenizer_is_taken_to_wide_pictures(tmp_path: Path) -> None:
    data = write(tmp_path / "data.hdf5", schema_of((64, 80), None, ("front",)))
    model = WorldModel.load(world(data, tmp_path / "world", ("front",), "--init", "gwm-mini"), "cpu")
    assert model.config.tokenizer.channels == 32
