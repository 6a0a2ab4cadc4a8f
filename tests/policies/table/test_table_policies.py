"""Experts solve the table's tasks with all kinds and sizes, behaviours are seeded and busy, recordings are complete."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("mujoco")

import gwm_sim  # noqa: E402, F401
from gwm_sim.data.episode_file import EpisodeFile  # noqa: E402
from gwm_sim.envs.table.mujoco.twin import TableEnv  # noqa: E402
from gwm_sim.envs.table.scene import ATTRIBUTES, COLOURS, KINDS, MAX_OBJECTS, SIZE_RANGE  # noqa: E402
from gwm_sim.envs.table.spec import TWIN_ID  # noqa: E402
from gwm_sim.errors import ConfigError  # noqa: E402
from gwm_sim.policies.collection import CollectConfig, collect, recorder_of  # noqa: E402
from gwm_sim.policies.evaluation import Evaluation, evaluate  # noqa: E402
from gwm_sim.policies.table.behaviours import WEIGHTS, behave, mixed  # noqa: E402
from gwm_sim.policies.table.experts import ScriptedPolicy, expert  # noqa: E402
from gwm_sim.policies.table.recording import TableRecorder  # noqa: E402
from gwm_sim.policies.uniform import HoldPolicy, UniformPolicy  # noqa: E402

SEED = 200_000
SOLVABLE = ("grasp", "stack", "push", "tower")


def evaluate_expert(task: str, episodes: int, options: dict[str, Any] | None = None) -> Evaluation:
    rows: Any = gym.make_vec(TWIN_ID, num_envs=min(episodes, 50), task=task, cameras=(), rendering="fast")
    try:
        return evaluate(expert(rows), rows, episodes, SEED, options, until_sustained=True)
    finally:
        rows.close()


@pytest.mark.parametrize("task", SOLVABLE)
def test_experts_solve_their_task(task: str) -> None:
    assert evaluate_expert(task, 6).success_rate == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("task", SOLVABLE)
def test_experts_hold_success_over_200_seeds(task: str) -> None:
    assert evaluate_expert(task, 200).success_rate >= 0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZE_RANGE)
def test_things_of_every_kind_and_size_are_held_while_the_hand_moves(kind: str, size: float) -> None:
    scene = [{"kind": kind, "size": size, "position": (0.5, 0.0)}]
    env = TableEnv(task="grasp", cameras=(), rendering="fast")
    observation, _ = env.reset(seed=0, options={"scene": scene})
    policy, memory = expert(env), None
    for _ in range(25):
        action, memory = policy.predict(observation, memory)
        observation, *_ = env.step(action)
    state = env.task_state()
    grip = state.position[0] - state.end_effector
    for action in np.random.default_rng(0).uniform(-1, 1, (20, 4)).astype(np.float32):
        action[3] = 0.0
        env.step(action)
    state = env.task_state()
    assert state.grasped[0]
    assert np.linalg.norm(state.position[0] - state.end_effector - grip) < 0.01
    env.close()


def test_a_heavy_thing_slips_out_of_slippery_fingers() -> None:
    scene = [{"kind": "cube", "size": 0.05, "position": (0.5, 0.0), "mass": 0.5, "friction": 0.1}]
    assert evaluate_expert("grasp", 1, {"scene": scene}).successes == 0


def test_the_expert_does_what_each_row_asks_for() -> None:
    rows: Any = gym.make_vec(TWIN_ID, num_envs=2, task="grasp", cameras=(), rendering="fast")
    observation, _ = rows.reset(seed=SEED)
    masks = np.array([True, False]), np.array([False, True])
    for mask, task in zip(masks, ("stack", "drop"), strict=True):
        observation, _ = rows.reset(options={"reset_mask": mask, "assignment": {"task": task}})
    policy, memory = expert(rows), None
    for _ in range(35):
        action, memory = policy.predict(observation, memory)
        assert not action[1].any()
        observation, _, _, _, info = rows.step(action)
    assert info["success"].tolist() == [True, False]
    rows.close()


@pytest.mark.parametrize("task", SOLVABLE)
def test_floors_do_not_solve_the_tasks(task: str) -> None:
    env: Any = gym.make(TWIN_ID, task=task, cameras=(), rendering="fast")
    for policy in (HoldPolicy(env.action_space), UniformPolicy(env.action_space)):
        assert evaluate(policy, env, 1, SEED).successes == 0
    env.close()


def run(policy: Any, seed: int, steps: int) -> tuple[Any, Any]:
    env = TableEnv(task="grasp", cameras=(), rendering="fast")
    observation, _ = env.reset(seed=seed, options={"properties": "random"})
    state, actions, objects = None, [], []
    policy = policy(env)
    for _ in range(steps):
        action, state = policy.predict(observation, state)
        observation, *_ = env.step(action)
        actions.append(action)
        objects.append(env.objects())
    env.close()
    return np.stack(actions), np.stack(objects)


@pytest.mark.parametrize("name", WEIGHTS)
def test_behaviours_act_within_bounds_for_ever(name: str) -> None:
    actions, objects = run(lambda env: ScriptedPolicy(env, behave(name), name, seed=1), seed=1, steps=100)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    there = np.isfinite(objects[0, :, 0])
    assert np.isfinite(objects[:, there]).all() and np.isnan(objects[:, ~there]).all()


def test_mixed_episodes_are_reproducible_and_busy() -> None:
    first, again = (run(lambda env: mixed(env, 7), seed=7, steps=60) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    moved = []
    for seed in range(6):
        _, objects = run(lambda env, seed=seed: mixed(env, seed), seed=seed, steps=80)
        moved.append(np.nanmax(np.linalg.norm(objects[..., :3] - objects[0, :, :3], axis=-1)))
    assert np.median(moved) > 0.1
    env = TableEnv(cameras=(), rendering="fast")
    assert len({mixed(env, seed).name for seed in range(100)}) >= 10
    env.close()


# --- recording --------------------------------------------------------------------------------------------------------


def config(out: Path, **changes: Any) -> CollectConfig:
    small = {"episodes": 2, "steps": 20, "workers": 1, "rendering": "fast", "properties": "random"}
    return CollectConfig(out=out, env=TWIN_ID, **{**small, **changes})


def test_recordings_hold_poses_attributes_labels_and_the_task_in_words(tmp_path: Path) -> None:
    collect(config(tmp_path / "a.hdf5", task="stack", cameras=("front", "film")))
    with EpisodeFile(tmp_path / "a.hdf5") as file:
        assert file.schema.object_attributes == ATTRIBUTES and file.schema.object_looks == tuple(COLOURS)
        assert file.schema.object_symmetry["cube"] == "cubic"
        assert file.schema.env_kwargs["task"] == "stack"
        episodes = [file[k] for k in range(len(file))]
    for episode in episodes:
        assert episode.frames["front"].shape == (21, 64, 64, 3)
        assert episode.frames["film"].shape == (21, 144, 256, 3)
        assert episode.objects is not None and episode.objects.shape == (21, MAX_OBJECTS, 7)
        assert episode.attributes is not None and episode.attributes.shape == (21, MAX_OBJECTS, len(ATTRIBUTES))
        np.testing.assert_array_equal(np.isnan(episode.objects[..., 0]), np.isnan(episode.attributes[..., 0]))
        assert episode.labels.keys() == {"stack"}
        assert episode.instruction is not None and episode.instruction.startswith("stack the ")
        assert episode.properties.keys() == {"friction", "gravity", "bounciness"}


def test_motion_without_pictures_is_the_same_motion(tmp_path: Path) -> None:
    recorded = []
    for changes in ({}, {"pictures": False}):
        recorder = TableRecorder(config(tmp_path / "a.hdf5", task="drop", policy="hold", steps=10, **changes))
        recorded.append((recorder.schema(), recorder.record(1)))
        recorder.close()
    (with_cameras, seen), (without, unseen) = recorded
    assert with_cameras.cameras.keys() == {"front"} == seen.frames.keys()
    assert not without.cameras and not unseen.frames
    np.testing.assert_array_equal(seen.objects, unseen.objects)
    np.testing.assert_array_equal(seen.attributes, unseen.attributes)
    np.testing.assert_array_equal(seen.telemetry, unseen.telemetry)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "reach"}, "--task must be one of grasp, stack, push, tower, drop, got 'reach'"),
        ({"policy": "towers"}, "--policy is one of mixed, scripted, uniform, hold"),
        ({"cameras": ("side",)}, "cannot be made: cameras must be among"),
        ({"env": "MuJoCo-BlockStack-v0", "task": "stack"}, "--task is for MuJoCo-Table-v0"),
        ({"env": "MuJoCo-BlockStack-v0", "pictures": False}, "recorded with pictures"),
        ({"env": "CartPole-v1"}, "is no block environment and no table"),
    ],
)
def test_impossible_options_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    asked = CollectConfig(**{**vars(config(tmp_path / "a.hdf5")), **changes})
    with pytest.raises(ConfigError, match=message):
        recorder_of(asked.env)(asked)
