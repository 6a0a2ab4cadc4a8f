"""`gwm demo` drives both worlds from the same starts with the same actions, and leaves film, picture and numbers."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from gwm_sim.cli import main as gwm
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.blocks.side_by_side import DemoConfig, drive, record
from gwm_sim.protocol import CONTEXT

OPTIONS: dict[str, Any] = {"episodes": 1, "steps": 40}


@pytest.mark.slow
def test_demo_leaves_film_picture_and_report(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ["demo", "--model", str(tiny_checkpoint), "--out", str(tmp_path)]
    words += [word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))]
    assert gwm(words) == 0
    assert gwm(words) == 0  # again, over its own files
    assert {path.name for path in tmp_path.iterdir()} == {
        "demo.hdf5",
        "demo.json",
        "rollout.mp4",
        "rollout.png",
    }
    report = json.loads((tmp_path / "demo.json").read_text())
    assert report["env_steps_per_second"]["learned"] > 0 and report["env_steps_per_second"]["twin"] > 0
    assert {"model", "model_hash", "episodes", "horizons", "outcome", "controllability"} <= set(report)
    with EpisodeFile(tmp_path / "demo.hdf5") as file:
        assert file.policies == ["scripted-stack", "scripted-grasp"] and file.seeds == [300_000, 300_001]
        assert all(episode.labels["grasp"].success.any() for episode in file)
        assert not any(episode.actions[: CONTEXT - 1].any() for episode in file)


def test_twin_repeats_the_recording_and_the_learned_world_sets_out_from_it(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    world = WorldModel.load(tiny_checkpoint).config
    path = record(DemoConfig(out=tmp_path, **OPTIONS), world)
    learned = gym.make("GWM-BlockStack-v0", model=tiny_checkpoint)
    twin = gym.make("MuJoCo-BlockStack-v0", **twin_options(world))
    with EpisodeFile(path) as file:
        episode = file[0]
    pair = drive(episode, twin, learned, ("front",))
    np.testing.assert_array_equal(pair.real, episode.frames["front"][CONTEXT:])
    assert pair.predicted.shape == pair.real.shape
    state = learned.unwrapped.get_state()[0]  # type: ignore[attr-defined]
    commands = state.telemetry[0, 11:14].numpy()
    np.testing.assert_allclose(commands, episode.telemetry[-1, 11:14], atol=1e-5)  # it followed the same actions
    twin.close()


def test_a_world_of_ones_own_is_shown_beside_its_recordings(
    tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", "--model", str(tiny_checkpoint), "--data", str(tiny_data), "--out", str(tmp_path)]
    assert gwm([*words, "--episodes", "2"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"demo.json", "rollout.mp4", "rollout.png"}
    report = json.loads((tmp_path / "demo.json").read_text())
    assert set(report["env_steps_per_second"]) == {"learned"} and "1" in report["horizons"]
    assert gwm(["demo", "--model", str(tiny_checkpoint), "--data", str(tmp_path / "none.hdf5")]) == 2
    assert "none.hdf5" in capsys.readouterr().err
