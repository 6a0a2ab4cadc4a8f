"""Every example runs from beginning to end, here on a small budget."""

import json
import runpy
from pathlib import Path
from typing import Any

import av
import gymnasium as gym
import pytest

from gwm_sim.model.world_model import WorldModel

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, **options: Any) -> None:
    runpy.run_path(str(EXAMPLES / name))["main"](**options)


def test_quickstart_draws_what_the_world_shows(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("quickstart.py", model=str(tiny_checkpoint), out=tmp_path / "quickstart.png")
    assert "lift: end-effector at (" in capsys.readouterr().out
    assert (tmp_path / "quickstart.png").read_bytes().startswith(b"\x89PNG")
    with av.open(str(tmp_path / "quickstart.mp4")) as film:
        assert len(list(film.decode(video=0))) == 16


@pytest.mark.slow
def test_train_world_model_goes_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("train_world_model.py", out=tmp_path, episodes=20, length=20, minutes=0.05)
    assert WorldModel.load(tmp_path / "model").tasks == ("reach", "grasp", "stack")
    printed = capsys.readouterr().out
    assert "after 10 steps: end-effector" in printed and "10 steps in the new world" in printed


def test_plan_to_goal_image_reaches_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("plan_to_goal_image.py", task="reach", out=tmp_path / "plan.png")
    assert "reach: reached after" in capsys.readouterr().out
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_own_robot_becomes_a_world_that_says_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gymnasium_robotics")
    run("own_robot.py", out=str(tmp_path), episodes=8, tests=3)
    assert "after 56 steps the learned gripper is" in capsys.readouterr().out
    assert json.loads((tmp_path / "evaluation.json").read_text())["horizons"].keys() == {"1", "10", "25"}
    world = gym.make("GWM-World-v0", model=tmp_path / "model")
    metadata = world.unwrapped.metadata
    grip = [f"robot0_eef_pos_{axis}" for axis in "xyz"]
    assert metadata["telemetry_names"] == (*grip, "robot0_gripper_qpos_0", "robot0_gripper_qpos_1")
    assert metadata["telemetry_units"] == ("m",) * 5
    assert metadata["action_names"] == ("dx", "dy", "dz", "gripper")
    assert metadata["rate"] == 25 and metadata["tasks"] == ("fetchpickandplace-v4",)
    assert set(metadata["lacks"]) == {"objects"}
    low, high = world.action_space.low, world.action_space.high  # type: ignore[attr-defined]
    assert low.tolist() == [-1] * 4 and high.tolist() == [1] * 4


@pytest.mark.slow
def test_rl_in_imagination_is_scored_in_both_worlds(tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("rl_in_imagination.py", model=tiny_checkpoint, steps=200, rows=4, episodes=2)
    printed = capsys.readouterr().out
    assert "twin: held success" in printed and "learned: held success" in printed


def test_cleanrl_ppo_runs_on_the_plain_vector_environment(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("cleanrl_ppo.py", model=str(tiny_checkpoint), rows=4, iterations=2)
    assert "iteration 2: mean reward" in capsys.readouterr().out


def test_examples_are_short() -> None:
    assert all(len(path.read_text().splitlines()) < 100 for path in EXAMPLES.glob("*.py"))
