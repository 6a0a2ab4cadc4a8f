"""Policies in worlds of one's own: trained, scored and compared where a label, a function or a picture says success."""

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from gwm_sim.cli import main
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.learned.imagination import Imagination
from gwm_sim.envs.learned.tasks import world_options
from gwm_sim.media.video import write_png
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.own_world import read_wanted, rewards_of
from gwm_sim.policies.planning import MpcPolicy, searching_config
from gwm_sim.policies.planning.optimizers import CemSettings
from gwm_sim.policies.registry import make_policy
from gwm_sim.policies.rl.agents import AgentPolicy

RECIPE = """
GWM-World-v0:
  env_wrapper:
    - gwm_sim.envs.wrappers.LatentObservation
  n_envs: 4
  n_timesteps: 80
  policy: MultiInputPolicy
  policy_kwargs: {net_arch: [16]}
  learning_starts: 40
  batch_size: 16
"""
OWN = ["--env", "GWM-World-v0"]


@pytest.fixture
def unsolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts are taken for unsolved: in so small a world all may be near the goal."""
    monkeypatch.setattr(Imagination, "_solved", lambda self, state, goal: np.zeros(len(state), bool))


@pytest.fixture
def goal(tiny_checkpoint: Path, tmp_path: Path, unsolved: None) -> Path:
    """A picture that the model knows."""
    model = WorldModel.load(tiny_checkpoint, "cpu")
    assert model.renderer is not None
    path = tmp_path / "goal.png"
    write_png(path, model.renderer.exemplar_frames[2].numpy())
    return path


@pytest.fixture
def function(tmp_path: Path, unsolved: None) -> str:
    """What is fulfilled in every state."""
    path = tmp_path / "task.py"
    path.write_text("def up(telemetry, objects):\n    return telemetry['ee_z'], telemetry['ee_z'] > 0.0\n")
    return f"{path}:up"


def train(checkpoint: Path, folder: Path, *words: str) -> None:
    (folder / "sac.yml").write_text(RECIPE)
    sizes = ["--hyperparams", str(folder / "sac.yml"), "--eval-minutes", "0", "--eval-episodes", "2"]
    own = [*OWN, "--model", str(checkpoint), "--out", str(folder / "agent"), "--no-tensorboard"]
    assert main(["rl", "train", *own, *sizes, *words]) == 0


def test_an_agent_learns_for_a_picture_from_all_recordings(
    tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path, goal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_checkpoint, tmp_path, "--goal", str(goal), "--warm-start", str(tiny_data))
    assert "in the learned world" in capsys.readouterr().out
    assert AgentPolicy(tmp_path / "agent").config.readings == ("objects", "turns")
    words = ["--policy", str(tmp_path / "agent"), *OWN, "--model", str(tiny_checkpoint), "--episodes", "2"]
    assert main(["rl", "eval", *words, "--goal", str(goal), "--json", str(tmp_path / "a.json")]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["n"] == 2


def test_an_agent_learns_for_a_function(tiny_checkpoint: Path, tmp_path: Path, function: str) -> None:
    train(tiny_checkpoint, tmp_path, "--task", function)
    curve = json.loads((tmp_path / "agent" / "curve.json").read_text())
    assert curve[-1]["learned"] == 2 and curve[-1]["twin"] is None


def test_policies_are_ranked_in_a_world_without_a_twin(
    tiny_checkpoint: Path, tmp_path: Path, function: str, goal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", *OWN, "--policies", "hold", "uniform", "--episodes", "2", "--model", str(tiny_checkpoint)]
    report, page = tmp_path / "numbers.json", tmp_path / "page.html"
    assert main([*words, "--task", function, "--json", str(report), "--report", str(page)]) == 0
    numbers = json.loads(report.read_text())
    assert numbers["worlds"] == ["learned"] and numbers["policies"][0]["learned"]["success_rate"] == 1.0
    assert "twin" not in numbers["policies"][0] and "agreement" not in capsys.readouterr().out
    assert page.read_text().count("<video") == 2
    planner = "icem:population=4:iterations=1:horizon=1"
    assert main([*words[:2], OWN[1], "--policies", planner, *words[5:], "--goal", str(goal)]) == 0


def test_planners_search_for_a_goal_picture_as_a_plan_does(tiny_checkpoint: Path, goal: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    env = gym.make("GWM-World-v0", **world_options(model, str(tiny_checkpoint), None, goal))
    policy, usual = make_policy("icem:population=4", env, 3, model).policy, searching_config(model)
    assert isinstance(policy, MpcPolicy) and isinstance(policy.config.planner, CemSettings)
    assert policy.config.planner.population == 4 and policy.config.seed == 3
    assert (policy.config.horizon, policy.config.proposals) == (usual.horizon, usual.proposals)


def test_recordings_are_rewarded_as_their_world_would_have(
    tiny_checkpoint: Path, tiny_data: Path, function: str, goal: Path
) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    assert model.renderer is not None
    with EpisodeFile(tiny_data) as file:
        episode = file[0]
    steps = len(episode.actions)
    picture = model.renderer.exemplar_frames[2].numpy()
    asked = ((function, None), (None, picture), ("stack", None))
    of_function, of_goal, of_label = (rewards_of(model, episode, read_wanted(model, *what)) for what in asked)
    assert of_function is not None and of_goal is not None and of_label is not None
    np.testing.assert_allclose(of_function, episode.telemetry[1:, 9], rtol=1e-6)
    assert of_goal.shape == of_label.shape == (steps,) and (of_goal <= 0).all() and (of_label >= 0).all()
    assert rewards_of(model, episode, "pour") is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*OWN], "does not say what is to be done"),
        ([*OWN, "--task", "stack", "--goal", "GOAL"], "give either --task"),
        ([*OWN, "--task", "pour"], "knows no --task pour; the labels of its data are reach, grasp, stack"),
        ([*OWN, "--goal", "missing.png"], "missing.png cannot be read"),
        ([*OWN, "--goal", "WIDE"], "is 64 x 32 px, tiny sees 64 x 64"),
        (["--env", "GWM-BlockReach-v0", "--goal", "GOAL"], "has the task reach: --task and --goal are for"),
        (["--env", "CartPole-v1", "--task", "stack"], "names none of the tasks"),
    ],
)
def test_what_says_nothing_of_success_is_refused_before_anything_runs(
    words: list[str],
    message: str,
    tiny_checkpoint: Path,
    tmp_path: Path,
    goal: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(0)
    write_png(tmp_path / "wide.png", rng.integers(0, 256, (32, 64, 3), np.uint8))
    names = {"GOAL": goal, "WIDE": tmp_path / "wide.png"}
    words = [str(names.get(word, word)) for word in words]
    model = ["--model", str(tiny_checkpoint)]
    for command in (
        ["rl", "train", "--out", str(tmp_path / "agent"), "--steps", "10"],
        ["rl", "eval", "--policy", "hold", "--episodes", "1"],
        ["compare", "--policies", "hold", "--episodes", "1"],
    ):
        assert main([*command, *model, *words]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "agent").exists()
