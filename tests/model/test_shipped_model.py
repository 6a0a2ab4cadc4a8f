"""What the package ships works as it is: weights, start states, card, and numbers that belong to these weights."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.blocks.spec import env_id, world_ids
from gwm_sim.envs.tabletop.paired import PairedWorlds
from gwm_sim.model.checkpoint import BANK_FILE, find_checkpoint, shipped_models
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.evaluation import evaluate
from gwm_sim.policies.registry import SHIPPED, make_policy

ROOT = Path(__file__).parents[2]
LIMIT = 32_000_000  # of all shipped models together [bytes]


def test_eighty_steps_of_the_stacking_world() -> None:
    env = gym.make("gwm_sim:GWM-BlockStack-v0", device="cpu")
    observation, _ = env.reset(seed=0)
    first = observation["pixels"].astype(int)
    for step in range(80):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert 0 <= float(reward) <= 1 and not terminated and truncated == (step == 79)
        assert info["gwm/uncertainty"] > 0
    assert np.abs(observation["pixels"] - first).mean() > 1  # something moved


def test_sixteen_worlds_at_once() -> None:
    envs = gym.make_vec("gwm_sim:GWM-BlockStack-v0", num_envs=16, device="cpu")
    envs.reset(seed=0)
    for _ in range(3):
        observations, *_ = envs.step(envs.action_space.sample())
    assert envs.observation_space.contains(observations)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_agents_do_their_task_in_the_learned_world(name: str) -> None:
    arena = PairedWorlds(world_ids(name.removeprefix("sac-")), rows=10)
    policy, env = make_policy(name, arena.make("learned", sees=False))
    assert evaluate(policy, env, episodes=10, seed=200_000).successes >= 7


def test_unfamiliar_colours_raise_the_uncertainty() -> None:
    env = gym.make(env_id("learned", "stack"), device="cpu")
    observation, familiar = env.reset(options={"bank": 0})
    green = observation["pixels"][..., [2, 0, 1]]  # what was red
    _, strange = env.reset(options={"frames": green, "telemetry": observation["agent_pos"]})
    assert strange["gwm/uncertainty"] > 2 * familiar["gwm/uncertainty"]


def test_there_are_two_hundred_different_starts() -> None:
    with EpisodeFile(find_checkpoint("gwm-mini") / BANK_FILE) as bank:
        assert len({bank.read(k).frames["front"][-1].tobytes() for k in range(len(bank))}) >= 200
    env = gym.make(env_id("learned", "reach"), device="cpu").unwrapped
    env.reset(options={"bank": 199})


@pytest.mark.parametrize("model", shipped_models())
def test_numbers_and_card_belong_to_the_weights(model: str) -> None:
    folder = find_checkpoint(model)
    digest = WorldModel.load(folder, "cpu").digest()
    evaluations = list(folder.glob("evaluation*.json"))
    assert evaluations
    for path in evaluations:
        assert json.loads(path.read_text())["model_hash"] == digest
    assert f"| model hash | `{digest}` |" in (folder / "README.md").read_text()


def test_the_fine_world_shows_two_views_depth_and_several_futures() -> None:
    env = gym.make("gwm_sim:GWM-BlockGrasp-v0", model="gwm-preview", depth=True, device="cpu")
    observation, _ = env.reset(seed=0, options={"bank": 0})
    shapes = {key: value.shape for key, value in observation.items()}
    views = dict.fromkeys(("pixels", "pixels_wrist"), (128, 128, 3))
    assert shapes == {**views, "depth_front": (128, 128, 1), "agent_pos": (14,)}
    for _ in range(3):
        observation, *_ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
    assert 1.5 < observation["depth_front"].min() < observation["depth_front"].max() < 4.0  # [m]
    futures = set()
    for seed in range(4):
        env.reset(seed=seed, options={"bank": 0})
        for _ in range(3):
            observation, *_ = env.step(np.array([0.3, 0.0, -0.5, 1.0], np.float32))
        futures.add(observation["agent_pos"].tobytes())
    assert len(futures) == 4


def test_tables_say_what_the_results_say() -> None:
    subprocess.run([sys.executable, ROOT / "benchmarks/tables.py", "--check"], check=True, cwd=ROOT)


def test_the_models_are_small() -> None:
    files = [path for path in (ROOT / "gwm_sim/pretrained").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LIMIT
