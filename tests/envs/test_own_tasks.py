"""What reward and success mean in worlds of one's own: goal images and functions."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from gwm_sim.envs.learned.goals import NEAR, PictureGoal, near, read_goal, things_there, turns_of
from gwm_sim.envs.learned.vector import LearnedEnv, LearnedVectorEnv
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal

Write = Callable[[str], str]


@pytest.fixture
def model(tiny_checkpoint: Path) -> WorldModel:
    return WorldModel.load(tiny_checkpoint, "cpu")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file with a function `done` and says how the task is called."""

    def write(body: str) -> str:
        file = tmp_path / "task.py"
        file.write_text(f"import numpy as np\n\ndef done(telemetry, objects):\n    {body}\n", encoding="utf-8")
        return f"{file}:done"

    return write


# --- functions --------------------------------------------------------------------------------------------------------


def test_a_function_says_what_success_is(tiny_checkpoint: Path, write: Write) -> None:
    task = write("return telemetry['ee_z'] > np.median(telemetry['ee_z'])")
    envs = LearnedVectorEnv(5, task=task, model=tiny_checkpoint)
    envs.reset(seed=0)
    observation, reward, _, _, infos = envs.step(np.zeros((5, 4), np.float32))
    height = observation["agent_pos"][:, 9]
    assert (infos["success"] == (height > np.median(height))).all()
    assert (reward == infos["success"]).all()


def test_a_function_may_say_a_reward_beside_it_and_see_where_things_are(tiny_checkpoint: Path, write: Write) -> None:
    task = write("return -np.linalg.norm(objects['red'] - objects['blue'], axis=-1), objects['red'][:, 2] > 9")
    env = gym.make("GWM-World-v0", model=tiny_checkpoint, task=task)
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.zeros(4, np.float32))
    assert float(reward) < 0 and info["success"] is False


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return telemetry['elbow'] > 0", "'elbow', which tiny does not know: it has the telemetry joint"),
        ("return objects['green'][:, 0] > 0", "the objects red, blue"),
        ("return 1.0", r"success as bool \(1,\), or reward \(1,\) and success; got float64 \(\)"),
        ("return telemetry['ee_z']", r"got float32 \(1,\)"),
        ("return (telemetry['ee_z'] > 0,)", r"got bool \(1,\)"),
        ("return np.nan * telemetry['ee_z'], telemetry['ee_z'] > 0", "returned the reward nan: an object that is not"),
        ("return telemetry['ee_z'] + undefined", "failed: NameError"),
    ],
)
def test_a_function_that_says_something_else_is_refused(
    tiny_checkpoint: Path, write: Write, body: str, message: str
) -> None:
    env = gym.make("GWM-World-v0", model=tiny_checkpoint, task=write(body))
    with pytest.raises(ConfigError, match=message):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("task", "message"), [("missing.py:done", "no file missing.py"), ("task.py:other", "has no function other")]
)
def test_a_function_that_is_not_there_is_refused(
    tiny_checkpoint: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, message: str
) -> None:
    write("return True")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        gym.make("GWM-World-v0", model=tiny_checkpoint, task=task)


def test_a_function_may_do_with_its_numbers_as_it_likes(tiny_checkpoint: Path, write: Write) -> None:
    task = write("telemetry['ee_z'] += 5; objects['red'] -= 1; return telemetry['ee_z'] > 9")
    env, other = (gym.make("GWM-World-v0", model=tiny_checkpoint, task=name) for name in (task, "stack"))
    seen, theirs = (world.reset(seed=0)[0]["agent_pos"] for world in (env, other))
    np.testing.assert_array_equal(seen, theirs)
    np.testing.assert_array_equal(*(world.step(np.zeros(4, np.float32))[0]["agent_pos"] for world in (env, other)))


# --- goals ------------------------------------------------------------------------------------------------------------


def of_things(model: WorldModel, objects: torch.Tensor) -> PictureGoal:
    return PictureGoal(torch.zeros(0), torch.ones(()), objects, torch.zeros(len(objects), 2))


def test_a_goal_is_reached_where_its_things_are_near(model: WorldModel) -> None:
    middle = (model.statistics.objects_low + model.statistics.objects_high) / 2
    goal = of_things(model, middle.expand(2, 3).clone())
    worlds = middle.expand(3, 2, 3).clone()
    worlds[1, 0, 0] += 0.9 * near(model)
    worlds[2, 1, 1] += 1.1 * near(model)
    reward, there = things_there(model, worlds, torch.zeros(3, model.config.dynamics.residual), goal)
    assert there.tolist() == [True, True, False]
    torch.testing.assert_close(reward, torch.tensor([0, -0.45, -0.55]) * NEAR)


def test_what_a_goal_does_not_show_may_be_anywhere_and_what_is_lost_is_not_there(model: WorldModel) -> None:
    middle = (model.statistics.objects_low + model.statistics.objects_high) / 2
    goal = of_things(model, torch.stack((middle, torch.full((3,), torch.nan))))
    worlds = torch.stack((middle, middle + 0.1)).expand(2, 2, 3).clone()
    worlds[1, 0] = torch.nan
    _, there = things_there(model, worlds, torch.zeros(2, model.config.dynamics.residual), goal)
    assert there.tolist() == [True, False]


def test_a_thing_has_to_lie_as_the_goal_shows_it(model: WorldModel) -> None:
    c = model.config.dynamics
    assert c.turns
    middle = (model.statistics.objects_low + model.statistics.objects_high) / 2
    angles = torch.deg2rad(torch.tensor([0.0, 15, 25, 180]))
    residual = torch.zeros(4, c.residual)
    residual[:, c.of_scene] = angles.cos()
    residual[:, c.of_scene + 1] = angles.sin()
    goal = of_things(model, middle.expand(2, 3).clone())._replace(turns=turns_of(model, residual[0]))
    reward, there = things_there(model, middle.expand(4, 2, 3), residual, goal)
    assert there.tolist() == [True, True, False, False]
    assert reward[3] == pytest.approx(-0.5)  # of two things one lies the other way


def test_a_goal_image_is_read_without_telemetry(model: WorldModel, tiny_checkpoint: Path) -> None:
    """What the robot reports is read from the picture."""
    assert model.renderer is not None
    exemplar = model.renderer.exemplar_frames[3]
    guessed = model.guess_telemetry(exemplar[None])
    assert guessed is not None and guessed.shape == (1, model.config.dynamics.telemetry) and guessed.isfinite().all()
    assert read_goal(model, exemplar.numpy()).objects.shape == (2, 3)
    asked = Goal.image(model, exemplar.numpy())
    assert asked.telemetry is not None and torch.equal(asked.telemetry, guessed)


def test_a_model_that_did_not_learn_to_read_goal_images_compares_them(model: WorldModel) -> None:
    unread = copy.deepcopy(model)
    unread.picture_reader = None
    assert unread.renderer is not None
    picture = unread.renderer.exemplar_frames[3].numpy()
    assert unread.guess_telemetry(torch.from_numpy(picture)[None]) is None
    goal = Goal.image(unread, picture)
    assert goal.telemetry is None and goal.objects is None and goal.codes is not None


def test_a_world_is_where_its_own_picture_shows_it(
    tiny_checkpoint: Path, model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.renderer is not None
    exemplar, telemetry = model.renderer.exemplar_frames[3].numpy(), model.renderer.exemplar_telemetry[3].numpy()
    monkeypatch.setattr(WorldModel, "guess_telemetry", lambda model, frames: torch.from_numpy(telemetry)[None])
    envs = LearnedVectorEnv(2, model=tiny_checkpoint)
    low, high = (
        np.array(side, np.float32) for side in (model.config.schema.telemetry_low, model.config.schema.telemetry_high)
    )
    start = {"frames": exemplar, "telemetry": telemetry.clip(low, high)}
    _, infos = envs.reset(seed=0, options={**start, "goal": exemplar})
    assert infos["success"].all()
    reward, _ = envs._imagination.judge()
    np.testing.assert_allclose(reward, 0, atol=1e-3)


def test_starts_that_are_solved_already_are_drawn_anew(
    tiny_checkpoint: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As labels leave them out; a start that is asked for stays."""
    plain = LearnedVectorEnv(1, task="stack", model=tiny_checkpoint)
    heights = [plain.reset(options={"bank": k})[0]["agent_pos"][0, 9] for k in range(len(plain._imagination.starts))]
    solved = int(np.argmax(heights))
    task = write(f"return telemetry['ee_z'] > {np.median(heights)}")
    envs, single = LearnedVectorEnv(8, task=task, model=tiny_checkpoint), LearnedEnv(task=task, model=tiny_checkpoint)
    observation, infos = envs.reset(seed=5)
    assert not infos["success"].any()
    np.testing.assert_array_equal(observation["agent_pos"][3], single.reset(seed=8)[0]["agent_pos"])
    assert single.reset(options={"bank": solved})[1]["success"]
    never = LearnedVectorEnv(2, task=write("return telemetry['ee_z'] > -9"), model=tiny_checkpoint)
    with pytest.raises(ConfigError, match="fulfilled in each of 100 start states of tiny"):
        never.reset(seed=0)


def test_starts_that_show_the_goal_already_are_drawn_anew(
    tiny_checkpoint: Path, model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.renderer is not None
    envs = LearnedVectorEnv(4, model=tiny_checkpoint, goal=model.renderer.exemplar_frames[3].numpy())
    judged = iter(([True, False, True, False], [False] * 4))
    monkeypatch.setattr(envs._imagination, "_solved", lambda *_: np.array(next(judged)))
    other = LearnedVectorEnv(4, task="stack", model=tiny_checkpoint)
    drawn, before = (world.reset(seed=0)[0]["agent_pos"] for world in (envs, other))
    assert (drawn == before).all(axis=1).tolist() == [False, True, False, True]


def test_rows_have_goals_of_their_own(tiny_checkpoint: Path, model: WorldModel) -> None:
    assert model.renderer is not None
    envs = LearnedVectorEnv(3, task="stack", model=tiny_checkpoint)
    envs.reset(seed=0)
    without = envs._imagination.judge()[0]
    for row, number in ((0, 3), (2, 5)):
        mask = np.arange(3) == row
        goal = model.renderer.exemplar_frames[number].numpy()
        envs.reset(options={"reset_mask": mask, "goal": goal, "bank": row})
    reward, _ = envs._imagination.judge()
    assert reward[1] == without[1] and reward[0] < 0 and reward[2] < 0 and reward[0] != reward[2]


def test_alike_things_may_be_exchanged_also_where_some_are_absent(model: WorldModel) -> None:
    model.config = replace(model.config, dynamics=replace(model.config.dynamics, kinds=(0, 0)))
    middle = (model.statistics.objects_low + model.statistics.objects_high) / 2
    absent = torch.full((3,), torch.nan)
    goal = of_things(model, torch.stack((middle, absent)))
    close = middle + 0.3 * near(model) / 3**0.5
    worlds = torch.stack([torch.stack(pair) for pair in ((close, absent), (absent, close), (absent, absent))])
    _, there = things_there(model, worlds, torch.zeros(3, model.config.dynamics.residual), goal)
    assert there.tolist() == [True, True, False]
