"""A robot that reports nothing has a world all the same: imported, learned, stepped, measured and exported."""

import json
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import layouts
import numpy as np
import pytest
import torch

from gwm_sim import cli
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.formats import open_source
from gwm_sim.data.survey import survey
from gwm_sim.model.layers import begin_as_copy, linear, perceptron
from gwm_sim.training.summary import listening


@pytest.fixture(scope="module")
def car(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings with steering and throttle, and nothing else; in the second half of each nobody drives."""
    folder = tmp_path_factory.mktemp("car")
    layouts.write_pictures(folder / "takes", (44, 40, 42))
    for table in (folder / "takes").rglob("robot.csv"):
        rows = len(table.read_text().splitlines()) - 1
        lines = [f"{np.sin(r)},{0.5 + r / 100}" if r < rows // 2 else "0,0" for r in range(rows)]
        table.write_text("\n".join(["rate.steering,rate.throttle", *lines]))
    source = ["folder", str(folder / "takes"), "--source-fps", "20", "--camera", "front", "--size", "32"]
    assert cli.main(["import", *source, "--out", str(folder / "car.hdf5")]) == 0
    return folder


@pytest.fixture(scope="module")
def world(car: Path) -> Path:
    options = ["--preset", "tiny", "--steps", "8", "--device", "cpu", "--name", "car"]
    assert cli.main(["train", "--data", str(car / "car.hdf5"), "--out", str(car / "world"), *options]) == 0
    return car / "world"


def test_layers_of_nothing_are_silent_and_answer() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer, out = perceptron(0, 4), begin_as_copy(linear(4, 0))
    x = layer(torch.zeros(3, 0))
    assert x.shape == (3, 4) and out(x).shape == (3, 0)
    (x.sum() + out(x).sum()).backward()


def test_what_is_lost_is_said_and_motion_is_that_of_the_actions(car: Path) -> None:
    found = survey("folder", car / "takes")
    assert found.telemetry == {} and found.coverage is None
    assert found.still == pytest.approx(0.5, abs=0.1)
    assert any("there is no telemetry" in warning for warning in found.warnings)
    assert not any("does not move" in warning for warning in found.warnings)
    with open_source("folder", car / "takes") as source:
        assert source.recording(0).telemetry.shape == (44, 0)
    assert cli.main(["inspect", str(car / "takes")]) == cli.main(["inspect", str(car / "car.hdf5")]) == 0


def test_the_file_holds_frames_and_actions(car: Path) -> None:
    with EpisodeFile(car / "car.hdf5") as file:
        file.check()
        assert file.schema.telemetry_names == () and file.schema.effector == ()
        assert file[0].telemetry.shape == (44, 0) and file[0].actions.shape == (43, 2)


@pytest.mark.parametrize("number", [None, 3])
def test_its_world_can_be_stepped(number: int | None, world: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "car lacks labels")
        options: dict[str, Any] = {"model": world, "render_mode": "rgb_array"}
        env: Any = (
            gym.make("gwm_sim:GWM-World-v0", **options)
            if number is None
            else gym.make_vec("gwm_sim:GWM-World-v0", num_envs=number, **options)
        )
    observation, _ = env.reset(seed=0)
    assert observation["agent_pos"].shape[-1] == 0
    first = observation["pixels"]
    for _ in range(3):
        observation, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
    assert not np.array_equal(observation["pixels"], first)
    assert env.render() is not None
    env.close()


def test_it_is_measured_and_says_what_cannot_be_known(
    world: Path, car: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads((world / "report.json").read_text())
    assert np.isfinite([part for part in _numbers(report)]).all()
    options = ["--data", str(car / "car.hdf5"), "--device", "cpu", "--json", str(car / "evaluation.json")]
    assert cli.main(["eval", "--model", str(world), *options]) == 0
    assert "PSNR" in capsys.readouterr().out
    assert "the robot reports nothing to tell it by" in listening(None, reported=False)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict | list):
        return [number for item in (value.values() if isinstance(value, dict) else value) for number in _numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.parametrize("format", ["robomimic", "minari", "lerobot"])
def test_it_can_be_exported(format: str, car: Path) -> None:
    if format == "lerobot":
        pytest.importorskip("pyarrow")
    out = car / (f"{format}.hdf5" if format == "robomimic" else format)
    codec = ["--codec", "h264"] if format == "lerobot" else []
    assert cli.main(["export", format, str(car / "car.hdf5"), str(out), *codec]) == 0
    if format == "lerobot":
        features = json.loads((out / "meta/info.json").read_text())["features"]
        assert "observation.state" not in features and features["action"]["shape"] == [2]
