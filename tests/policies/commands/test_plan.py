"""`gwm plan`: goal images are reached with the shipped model; what cannot be a goal is refused beforehand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import make_model

from gwm_sim.cli import main
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.media.video import write_png
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.collection import collect
from gwm_sim.policies.commands.collect import CollectConfig
from gwm_sim.policies.planning import Goal, default_objective
from gwm_sim.policies.planning.problems import Recordings, episode_problems, make_env


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two demonstrations of reaching."""
    path = tmp_path_factory.mktemp("plan") / "reach.hdf5"
    collect(CollectConfig(2, path, env="MuJoCo-BlockReach-v0", policy="scripted", steps=12, seed=200_000, workers=1))
    return path


def test_a_goal_picture_is_reached_and_filmed(demonstrations: Path, tmp_path: Path) -> None:
    report, film = tmp_path / "report.json", tmp_path / "film.mp4"
    words = ["plan", "--env", "MuJoCo-BlockReach-v0", "--goal-episode", f"{demonstrations}:0", "--planner", "prior"]
    assert main([*words, "--json", str(report), "--video", str(film)]) == 0
    numbers = json.loads(report.read_text())
    assert numbers["success_rate"] == 1.0 and numbers["episodes"] == 1 and numbers["skipped_demos"] == 0
    assert numbers["wilson"][0] < 1.0 and numbers["plan_ms_p50"] <= numbers["plan_ms_p95"]
    assert film.stat().st_size > 1000


def test_demonstrations_that_failed_are_skipped(demonstrations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--env", "MuJoCo-BlockStack-v0", "--goal-episode", str(demonstrations)]) == 2
    assert "no demonstration" in capsys.readouterr().err


def test_a_learned_world_begins_where_the_demonstration_did(demonstrations: Path) -> None:
    model = WorldModel.load("gwm-mini", "cpu")
    recordings = Recordings(f"{demonstrations}:1", "GWM-BlockReach-v0", "reach")
    (problem,), _ = episode_problems(recordings, model, None)
    env = make_env("GWM-BlockReach-v0", model, "gwm-mini")
    observation, _ = env.reset(seed=problem.seed, options=problem.options)
    with EpisodeFile(demonstrations) as file:
        np.testing.assert_allclose(observation["agent_pos"], file[1].telemetry[0], atol=1e-5)


def test_a_twin_is_drawn_by_default_where_data_do_not_say_how() -> None:
    model = WorldModel.load("gwm-mini", "cpu")
    model.config = replace(model.config, schema=replace(model.config.schema, env_kwargs={}))
    env = make_env("MuJoCo-BlockReach-v0", model, "own")
    assert env.reset(seed=0)[0]["pixels"].shape == (64, 64, 3)
    with pytest.raises(ConfigError, match="BlockReach-v0 has another robot than test, which was learned from"):
        make_env("MuJoCo-BlockReach-v0", make_model(), "own")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either --goal"),
        (["--goal", "missing.png"], "cannot be read"),
        (["--goal", "small.png"], "is 32 x 32 px"),
        (["--goal", "noise.png"], "of another camera or scene"),
        (["--goal-episode", "missing.hdf5"], "missing.hdf5"),
        (["--goal-episode", "DEMOS:7"], "number 7 is not among them"),
        (["--goal", "noise.png", "--env", "CartPole-v1"], "neither a learned world nor a twin"),
        (["--goal", "noise.png", "--demos", "DEMOS"], "say where to write it"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    words: list[str],
    message: str,
    demonstrations: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    write_png(tmp_path / "small.png", rng.integers(0, 256, (32, 32, 3), np.uint8))
    write_png(tmp_path / "noise.png", rng.integers(0, 256, (64, 64, 3), np.uint8))
    assert main(["plan", *(word.replace("DEMOS", str(demonstrations)) for word in words)]) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"small.png", "noise.png"}


# --- worlds of one's own ----------------------------------------------------------------------------------------------

QUICKLY = ["--env", "GWM-World-v0", "--population", "4", "--iterations", "1", "--horizon", "6", "--episodes", "2"]


def plan_in(checkpoint: Path, report: Path, *words: str) -> dict[str, Any]:
    assert main(["plan", *QUICKLY, "--model", str(checkpoint), *words, "--json", str(report)]) == 0
    numbers: dict[str, Any] = json.loads(report.read_text())
    return numbers


def test_goals_of_recordings_are_planned_for_in_their_own_world(
    tiny_checkpoint: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gwm_sim.envs.learned.goals.NEAR", 1e-4)  # in so short episodes hardly anything is moved
    film = tmp_path / "film.mp4"
    whole = plan_in(tiny_checkpoint, tmp_path / "a.json", "--goal-episode", str(tiny_data), "--video", str(film))
    assert whole["env"] == "GWM-World-v0" and whole["episodes"] + whole["skipped_demos"] >= 2
    assert film.stat().st_size > 1000
    near = plan_in(tiny_checkpoint, tmp_path / "b.json", "--goal-episode", str(tiny_data), "--ahead", "5")
    assert near["episodes"] <= 2


def test_a_world_of_ones_own_is_planned_in_for_a_label_or_a_function(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan_in(tiny_checkpoint, tmp_path / "a.json", "--task", "stack")["episodes"] == 2
    rules = tmp_path / "task.py"
    rules.write_text(
        "def under_the_bench(telemetry, objects):\n    return telemetry['ee_z'] < -9\n"
        "def in_the_room(telemetry, objects):\n    return telemetry['ee_z'] < 9\n"
    )
    film = tmp_path / "film.mp4"
    numbers = plan_in(tiny_checkpoint, tmp_path / "b.json", "--task", f"{rules}:under_the_bench", "--video", str(film))
    assert numbers["success_rate"] == 0.0 and film.exists()
    words = ["plan", *QUICKLY, "--model", str(tiny_checkpoint), "--task", f"{rules}:in_the_room"]
    assert main(words) == 2
    assert "is fulfilled in each of 100 start states" in capsys.readouterr().err


def test_a_plan_for_a_picture_goes_to_what_is_to_be_moved(tiny_checkpoint: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    assert model.renderer is not None
    goal = Goal.image(model, model.renderer.exemplar_frames[0].numpy())
    assert goal.objects is not None and goal.telemetry is not None  # as read from the picture
    terms = [term.name for term in default_objective(model, goal).terms]
    assert terms == ["effector", "opening", "objects", "turns", "uncertainty", "roughness"]
    goal = replace(goal, telemetry=None)
    terms = [term.name for term in default_objective(model, goal).terms]
    assert terms == ["objects", "turns", "approach", "uncertainty", "roughness"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "pour"], "knows no task 'pour'"),
        (["--task", "missing.py:done"], "no file missing.py"),
        (["--goal-episode", "DATA:0", "--ahead", "1"], "to another end"),
        (["--goal-episode", "DATA", "--ahead", "50"], "is 50 steps longer than its start"),
        (["--goal-episode", "DATA", "--ahead", "0"], "--ahead is a number of steps"),
        (["--task", "stack", "--env", "GWM-BlockReach-v0"], "the task of --env GWM-BlockReach-v0 is reach"),
    ],
)
def test_what_cannot_be_planned_in_ones_own_world_is_refused(
    words: list[str], message: str, tiny_checkpoint: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("DATA", str(tiny_data)) for word in words]
    assert main(["plan", *QUICKLY, "--model", str(tiny_checkpoint), *words]) == 2
    assert message in capsys.readouterr().err
