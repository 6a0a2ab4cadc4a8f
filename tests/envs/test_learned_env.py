"""Learned worlds as environments: spec, seeds, state, autoreset. One tiny model serves all tests."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from learned_worlds import HOLD, Observation, draw_actions, same
from stable_baselines3.common import env_checker as sb3_checker
from world_conformance import WorldConformance

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.learned.vector import LearnedEnv, LearnedVectorEnv
from gwm_sim.errors import CheckpointError
from gwm_sim.model.checkpoint import BANK_FILE

ROOT = Path(__file__).parents[2]
IDS = [*(spec.env_id("learned", task) for task in spec.TASKS), "GWM-World-v0"]


@pytest.fixture
def env(tiny_checkpoint: Path) -> Iterator[LearnedEnv]:
    env = LearnedEnv(task="stack", model=tiny_checkpoint)
    yield env
    env.close()


def vector(checkpoint: Path, num_envs: int = 3, **options: Any) -> LearnedVectorEnv:
    return LearnedVectorEnv(num_envs, task="stack", model=checkpoint, **options)


def row(observation: Observation, i: int) -> Observation:
    return {key: value[i] for key, value in observation.items()}


# --- what Gymnasium and SB3 ask for -----------------------------------------------------------------------------------


class TestLearnedEnv(WorldConformance):
    world = "learned"

    @pytest.fixture
    def options(self, tiny_checkpoint: Path) -> dict[str, Any]:
        return {"model": tiny_checkpoint}


def test_checkers_accept_a_world_without_a_task(tiny_checkpoint: Path) -> None:
    env = gym.make("GWM-World-v0", model=tiny_checkpoint)
    check_env(env.unwrapped)
    sb3_checker.check_env(env)


@pytest.mark.parametrize("env_id", IDS)
def test_make_vec_makes_the_native_form(env_id: str, tiny_checkpoint: Path) -> None:
    envs = gym.make_vec(env_id, num_envs=4, model=tiny_checkpoint)
    assert isinstance(envs.unwrapped, LearnedVectorEnv)
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observation, info = envs.reset(seed=0)
    assert envs.observation_space.contains(observation)
    for _ in range(3):
        observation, rewards, terminated, truncated, info = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(observation)
        assert rewards.shape == terminated.shape == truncated.shape == (4,)
        assert {"is_success", "success", "gwm/uncertainty", "_success"} <= set(info)
    envs.close()


def test_needs_only_gymnasium_imported(tiny_checkpoint: Path) -> None:
    program = f"""
import sys
import gymnasium as gym
env = gym.make("gwm_sim:GWM-World-v0", model={str(tiny_checkpoint)!r})
env.reset(seed=0)
for _ in range(3):
    env.step(env.action_space.sample())
assert "mujoco" not in sys.modules and "stable_baselines3" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_shares_the_spaces_of_the_twin(env: LearnedEnv) -> None:
    assert env.observation_space == spec.observation_space(64)
    assert env.action_space == spec.action_space()


def test_info_says_success_and_uncertainty(env: LearnedEnv) -> None:
    begun = env.reset(seed=0)[1]["gwm/uncertainty"]
    assert begun > 0  # a start is located, not known
    _, reward, _, _, info = env.step(HOLD)
    assert 0 <= reward <= 1 and info["gwm/uncertainty"] >= begun
    assert type(info["success"]) is bool and info["is_success"] is info["success"]


@pytest.mark.parametrize(
    "keywords",
    [
        {"task": "juggle"},
        {"size": 128},
        {"cameras": ("wrist",)},
        {"depth": True},
        {"rendering": "rich"},
        {"reward": "big"},
        {"render_mode": "ansi"},
    ],
)
def test_what_the_model_cannot_do_is_refused(keywords: dict[str, Any], tiny_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match=str(next(iter(keywords.values()))) + "|depth|wrist"):
        LearnedEnv(model=tiny_checkpoint, **keywords)


def test_the_rendering_of_the_data_may_be_named(tiny_checkpoint: Path) -> None:
    assert LearnedEnv(model=tiny_checkpoint, rendering="fast").observation_space == spec.observation_space(64)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match="no-such-model"):
        LearnedEnv(model="no-such-model")


# --- actions ----------------------------------------------------------------------------------------------------------


def test_bad_actions_of_a_batch_are_refused(tiny_checkpoint: Path) -> None:
    envs = vector(tiny_checkpoint)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="shape"):
        envs.step(HOLD)
    with pytest.raises(ValueError, match="finite"):
        envs.step(np.full((3, 4), np.inf, np.float32))


def test_the_command_is_integrated_exactly(env: LearnedEnv) -> None:
    command = env.reset(seed=0)[0]["agent_pos"][spec.COMMAND].astype(np.float64)
    for action in draw_actions(20):
        command = spec.integrate_command(command, action.astype(np.float64))
        observation = env.step(action)[0]
        np.testing.assert_allclose(observation["agent_pos"][spec.COMMAND], command, atol=1e-6)


# --- seeds and states -------------------------------------------------------------------------------------------------


def test_rows_are_the_single_environments_of_their_seeds(tiny_checkpoint: Path, env: LearnedEnv) -> None:
    envs = vector(tiny_checkpoint)
    actions = draw_actions(10, 3)
    first, _ = envs.reset(seed=40)
    frames = [envs.step(action)[0] for action in actions]
    for i in range(3):
        assert same(env.reset(seed=40 + i)[0], row(first, i))
        for action, batched in zip(actions[:, i], frames, strict=True):
            single, one = env.step(action)[0], row(batched, i)
            assert np.abs(single["pixels"].astype(int) - one["pixels"]).max() <= 3
            np.testing.assert_allclose(single["agent_pos"], one["agent_pos"], atol=1e-3)


def test_equal_batches_with_equal_seeds_are_equal_bit_by_bit(tiny_checkpoint: Path) -> None:
    left, right = vector(tiny_checkpoint), vector(tiny_checkpoint)
    assert same(left.reset(seed=3)[0], right.reset(seed=3)[0])
    for action in draw_actions(5, 3):
        assert same(left.step(action)[0], right.step(action)[0])


def test_state_continues_where_it_was_taken(env: LearnedEnv) -> None:
    env.reset(seed=0)
    actions = draw_actions(12)
    for action in actions[:4]:
        env.step(action)
    state = env.get_state()
    first = [env.step(action) for action in actions[4:]]
    env.set_state(state)
    for action, expected in zip(actions[4:], first, strict=True):
        again = env.step(action)
        assert same(again[0], expected[0]) and again[1:] == expected[1:]


def test_a_state_that_was_taken_is_as_any_other(env: LearnedEnv) -> None:
    env.reset(seed=0)
    env.step(HOLD)
    state = env.get_state()[0]
    state.telemetry += 0.1  # changed in place
    state.memory[:, 0] = 0.0
    weight = torch.ones(state.telemetry.shape[1], requires_grad=True)
    (state.telemetry * weight).sum().backward()
    torch.testing.assert_close(weight.grad, state.telemetry[0])
    env.world_model.step_(state, torch.from_numpy(HOLD)[None])


def test_state_of_a_batch_continues_where_it_was_taken(tiny_checkpoint: Path) -> None:
    envs = vector(tiny_checkpoint, max_episode_steps=6)
    envs.reset(seed=0)
    actions = draw_actions(6, 3)
    envs.step(actions[0])
    state = envs.get_state()
    first = [envs.step(action) for action in actions[1:5]]
    seen = envs.set_state(state)
    assert seen.keys() == first[0][0].keys()
    for action, expected in zip(actions[1:5], first, strict=True):
        again = envs.step(action)
        assert same(again[0], expected[0])
        np.testing.assert_equal(again[1:], expected[1:])
    assert envs.step(actions[5])[3].all()  # the time limit went back too


def test_a_state_may_come_before_any_reset(tiny_checkpoint: Path) -> None:
    first, second = (vector(tiny_checkpoint, max_episode_steps=2) for _ in range(2))
    first.reset(seed=0)
    second.set_state(first.get_state())
    for action in draw_actions(3, 3):
        truncated = second.step(action)[3]
    assert not truncated.any()  # of the second episode, which was begun without a seed


def test_observations_do_not_share_memory(tiny_checkpoint: Path) -> None:
    envs = vector(tiny_checkpoint)
    before, _ = envs.reset(seed=0)
    kept = {key: value.copy() for key, value in before.items()}
    envs.step(draw_actions(1, 3)[0])
    assert same(before, kept)


# --- time limit and autoreset -----------------------------------------------------------------------------------------


def test_a_world_without_a_task_takes_the_limit_of_its_data(tiny_checkpoint: Path) -> None:
    env = gym.make("GWM-World-v0", model=tiny_checkpoint)
    envs = gym.make_vec("GWM-World-v0", num_envs=2, model=tiny_checkpoint)
    env.reset(seed=0)
    envs.reset(seed=0)
    for step in range(12):
        assert env.step(HOLD)[3] == envs.step(np.stack([HOLD, HOLD]))[3].all() == (step == 11)


def test_the_limit_of_the_data_holds_with_a_task_and_can_be_lifted(tiny_checkpoint: Path) -> None:
    env = gym.make("GWM-World-v0", model=tiny_checkpoint, task="reach")
    env.reset(seed=0)
    assert [env.step(HOLD)[3] for _ in range(12)] == [False] * 11 + [True]
    endless = gym.make("GWM-World-v0", model=tiny_checkpoint, time_limit=None)
    endless.reset(seed=0)
    assert not any(endless.step(HOLD)[3] for _ in range(20))


def test_a_seed_names_the_same_start_with_and_without_random_properties(env: LearnedEnv) -> None:
    plain, _ = env.reset(seed=5)
    random, _ = env.reset(seed=5, options={"properties": "random"})
    assert same(plain, random)


def test_rows_must_be_reset_before_they_step(tiny_checkpoint: Path) -> None:
    envs = vector(tiny_checkpoint)
    with pytest.raises(gym.error.ResetNeeded, match="call reset"):
        envs.step(draw_actions(1, 3)[0])
    with pytest.raises(ValueError, match="first reset must be of all rows"):
        envs.reset(options={"reset_mask": np.array([True, False, False])})


def test_same_step_gives_the_next_start_and_keeps_the_last_frame(tiny_checkpoint: Path, env: LearnedEnv) -> None:
    envs = vector(tiny_checkpoint, max_episode_steps=3)
    envs.reset(seed=9)
    actions = draw_actions(3, 3)
    for action in actions[:2]:
        info = envs.step(action)[4]
        assert "final_obs" not in info
    observation, rewards, terminated, truncated, info = envs.step(actions[2])
    assert truncated.all() and not terminated.any() and info["_final_obs"].all()
    for i in range(3):
        env.reset(seed=9 + i)
        for action in actions[:, i]:
            last, reward, *_, final = env.step(action)
        assert rewards[i] == pytest.approx(reward, abs=1e-3)
        assert info["final_info"]["gwm/uncertainty"][i] == pytest.approx(final["gwm/uncertainty"], rel=1e-3)
        assert np.abs(info["final_obs"][i]["pixels"].astype(int) - last["pixels"]).max() <= 3
        again, begun = env.reset()
        assert same(again, row(observation, i))  # the same generator goes on
        assert info["gwm/uncertainty"][i] == pytest.approx(begun["gwm/uncertainty"], rel=1e-3)  # of the new episode


def test_next_step_ignores_the_action_of_a_finished_row(tiny_checkpoint: Path) -> None:
    envs = vector(tiny_checkpoint, max_episode_steps=2, autoreset_mode=AutoresetMode.NEXT_STEP)
    envs.reset(seed=0)
    actions = draw_actions(4, 3)
    envs.step(actions[0])
    *_, truncated, info = envs.step(actions[1])
    assert truncated.all() and "final_obs" not in info
    _, rewards, _, truncated, info = envs.step(actions[2])
    assert not truncated.any() and not rewards.any()
    assert not envs.step(actions[3])[3].any()


def test_a_row_that_begins_while_others_go_on_shows_a_real_frame(tiny_checkpoint: Path) -> None:
    envs = vector(tiny_checkpoint, max_episode_steps=2, autoreset_mode=AutoresetMode.NEXT_STEP)
    envs.reset(seed=0)
    actions = draw_actions(5, 3)
    envs.step(actions[0])
    envs.reset(options={"reset_mask": np.array([False, True, False])})  # from now on out of step
    envs.step(actions[1])
    begun = envs.step(actions[2])[0]["pixels"]
    with EpisodeFile(tiny_checkpoint / BANK_FILE) as bank:
        real = np.stack([bank.read(k).frames["front"][-1] for k in range(len(bank))])
    assert [bool((real == frame).all(axis=(1, 2, 3)).any()) for frame in begun] == [True, False, True]


def test_disabled_resets_only_the_rows_of_the_mask(tiny_checkpoint: Path) -> None:
    envs = vector(tiny_checkpoint, max_episode_steps=4, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    actions = draw_actions(4, 3)
    envs.step(actions[0])
    before = envs.step(actions[1])[0]
    after, info = envs.reset(seed=50, options={"reset_mask": np.array([False, True, False]), "bank": 2})
    assert same(row(after, 0), row(before, 0)) and same(row(after, 2), row(before, 2))
    assert not same(row(after, 1), row(before, 1))
    assert info["_success"].tolist() == [False, True, False]
    envs.step(actions[2])
    assert envs.step(actions[3])[3].tolist() == [True, False, True]
    with pytest.raises(gym.error.ResetNeeded, match=r"Rows \[0, 2\]"):
        envs.step(actions[3])


def test_a_reset_row_leaves_the_others_as_they_were(tiny_checkpoint: Path) -> None:
    left, right = (vector(tiny_checkpoint, autoreset_mode=AutoresetMode.DISABLED) for _ in range(2))
    for envs in (left, right):
        envs.reset(seed=0)
        envs.step(draw_actions(1, 3)[0])
    left.reset(options={"reset_mask": np.array([True, False, False])})
    for action in draw_actions(4, 3):
        ours, theirs = left.step(action)[0], right.step(action)[0]
        assert same(row(ours, 1), row(theirs, 1)) and same(row(ours, 2), row(theirs, 2))


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_renders_the_present_frame_enlarged(tiny_checkpoint: Path) -> None:
    env = LearnedEnv(task="stack", model=tiny_checkpoint, render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    frame = env.render()
    assert frame is not None and frame.shape == (512, 512, 3)
    np.testing.assert_array_equal(frame[::8, ::8], observation["pixels"])
    envs = vector(tiny_checkpoint, render_mode="rgb_array")
    observation, _ = envs.reset(seed=0)
    frames = envs.render()
    assert frames is not None and len(frames) == 3
    np.testing.assert_array_equal(frames[1][::8, ::8], observation["pixels"][1])


def test_human_rendering_opens_a_window(tiny_checkpoint: Path) -> None:
    with pytest.warns(UserWarning, match="HumanRendering wrapper is being applied"):
        env = gym.make("GWM-BlockStack-v0", model=tiny_checkpoint, render_mode="human")
    env.reset(seed=0)
    assert env.step(HOLD) is not None and env.render() is None
    assert pygame.display.get_surface().get_size() == (512, 512)
    env.close()
