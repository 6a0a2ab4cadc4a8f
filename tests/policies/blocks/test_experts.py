"""Experts solve their tasks, behaviours are seeded and busy, and the evaluation loop counts sustained success."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.seeding import np_random

pytest.importorskip("mujoco")

import gwm_sim  # noqa: E402, F401
from gwm_sim.envs.blocks import spec  # noqa: E402
from gwm_sim.envs.blocks.mujoco.twin import MuJoCoEnv  # noqa: E402
from gwm_sim.errors import ConfigError  # noqa: E402
from gwm_sim.policies.blocks.behaviours import WEIGHTS, behave, mixed  # noqa: E402
from gwm_sim.policies.blocks.experts import ScriptedPolicy, expert  # noqa: E402
from gwm_sim.policies.blocks.motions import Bench, Script, hold  # noqa: E402
from gwm_sim.policies.blocks.recording import BEHAVIOURS  # noqa: E402
from gwm_sim.policies.evaluation import Evaluation, evaluate  # noqa: E402
from gwm_sim.policies.tabletop.recording import find_behaviour  # noqa: E402
from gwm_sim.policies.uniform import HoldPolicy, UniformPolicy  # noqa: E402
from gwm_sim.protocol import FIRST_EVALUATION_SEED  # noqa: E402

SEED = FIRST_EVALUATION_SEED
TINY = 4  # frames nobody looks at [px]


def evaluate_expert(task: str, episodes: int) -> Evaluation:
    rows = gym.make_vec(spec.env_id("twin", task), num_envs=min(episodes, 20), size=TINY, rendering="fast")
    try:
        return evaluate(expert(rows), rows, episodes, SEED)
    finally:
        rows.close()


@pytest.mark.parametrize("task", spec.TASKS)
def test_experts_solve_their_task(task: str) -> None:
    assert evaluate_expert(task, 5).success_rate == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("task", "share"), [("reach", 1.0), ("grasp", 0.98), ("stack", 0.95)])
def test_experts_hold_success_over_200_seeds(task: str, share: float) -> None:
    assert evaluate_expert(task, 200).success_rate >= share


@pytest.mark.parametrize("policy", [HoldPolicy(spec.action_space()), UniformPolicy(spec.action_space())])
def test_floors_do_not_solve_stacking(policy: Any) -> None:
    env = gym.make(spec.env_id("twin", "stack"), size=TINY, rendering="fast")
    evaluation = evaluate(policy, env, 2, SEED)
    assert evaluation.successes == 0
    assert [episode.length for episode in evaluation.episodes] == [spec.TIME_LIMIT["stack"]] * 2
    env.close()


def test_single_and_vector_environments_give_the_same_evaluation() -> None:
    single = gym.make(spec.env_id("twin", "grasp"), size=TINY, rendering="fast")
    rows = gym.make_vec(spec.env_id("twin", "grasp"), num_envs=2, size=TINY, rendering="fast")
    assert evaluate(expert(single), single, 3, SEED) == evaluate(expert(rows), rows, 3, SEED)
    single.close()
    rows.close()


class Blinking(gym.Env[Any, Any]):
    """Success at the given steps only."""

    observation_space = gym.spaces.Dict({"agent_pos": gym.spaces.Box(-1, 1, (14,), np.float32)})
    action_space = spec.action_space()

    def __init__(self, steps: set[int], length: int = 12) -> None:
        self._steps, self._length, self._step = steps, length, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._step = 0
        return {"agent_pos": np.zeros(14, np.float32)}, {"success": False}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        observation = {"agent_pos": np.zeros(14, np.float32)}
        return observation, 0.5, False, self._step == self._length, {"success": self._step in self._steps}


def test_success_counts_when_sustained_for_five_steps() -> None:
    four = evaluate(HoldPolicy(spec.action_space()), Blinking({1, 2, 3, 4, 6, 7, 8, 9}), 1, 0)
    assert not four.episodes[0].success
    five = evaluate(HoldPolicy(spec.action_space()), Blinking({3, 4, 5, 6, 7}), 1, 0)
    assert five.episodes[0].success
    assert five.episodes[0].steps_to_success == 7
    assert five.episodes[0].total_reward == 6.0


def run(policy: Any, seed: int, steps: int) -> tuple[Any, Any]:
    env = MuJoCoEnv(size=TINY, rendering="fast")
    observation, _ = env.reset(seed=seed)
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
    actions, objects = run(lambda env: ScriptedPolicy(env, behave(name), name, seed=1), seed=1, steps=120)
    assert actions.dtype == np.float32
    assert np.abs(actions).max() <= 1.0
    assert np.isfinite(objects).all()


def test_mixed_episodes_are_reproducible_and_varied() -> None:
    first, again = (run(lambda env: mixed(env, 7), seed=7, steps=60)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    env = MuJoCoEnv(size=TINY, rendering="fast")
    assert len({mixed(env, seed).name for seed in range(100)}) >= 10
    env.close()


def test_hands_press_on_and_close_by_half() -> None:
    pressing = halfway = steps = 0
    env: Any = gym.make("MuJoCo-BlockStack-v0", rendering="fast", size=8, max_episode_steps=-1)
    for seed in range(6):
        observation, _ = env.reset(seed=seed)
        policy, memory = find_behaviour("handling", BEHAVIOURS)(env, seed), None
        for _ in range(80):
            action, memory = policy.predict(observation, memory)
            state = env.unwrapped.task_state()
            pressing += bool(state.grasped.any() and action[3] > 0.5)
            halfway += bool(0.055 < state.gripper_opening < 0.075)
            observation, *_ = env.step(action.clip(-1.0, 1.0))
            steps += 1
    assert pressing > 0.02 * steps and halfway > 0.08 * steps


def test_towers_of_unsteady_hands_stand_or_fall() -> None:
    stood = fell = 0
    env: Any = gym.make("MuJoCo-BlockStack-v0", rendering="fast", size=TINY, max_episode_steps=-1)
    for seed in range(8):
        observation, _ = env.reset(seed=seed)
        policy, memory = find_behaviour("towers", BEHAVIOURS)(env, seed), None
        stacked = []
        for _ in range(80):
            action, memory = policy.predict(observation, memory)
            observation, *_ = env.step(action.clip(-1.0, 1.0))
            stacked.append(env.unwrapped.labels()["stack"][1])
        stood += any(stacked)
        fell += not stacked[-1]
    assert stood >= 2 and fell >= 2
    env.close()


def test_cubes_that_are_let_loose_move() -> None:
    moved = []
    for seed in range(6):
        _, objects = run(lambda env, seed=seed: find_behaviour("loose", BEHAVIOURS)(env, seed), seed=seed, steps=60)
        moved.append(np.linalg.norm(objects[..., :3] - objects[0, :, :3], axis=-1).max())
    assert np.median(moved) > 0.03


def test_a_fresh_start_begins_a_fresh_script() -> None:
    env = MuJoCoEnv(task="grasp", size=TINY, rendering="fast")
    policy, plain = expert(env), []
    observation, _ = env.reset(seed=0)
    state = None
    for _ in range(10):
        action, state = policy.predict(observation, state)
        plain.append(action)
        observation, *_ = env.step(action)
    observation, _ = env.reset(seed=0)
    action, state = policy.predict(observation, state, episode_start=np.array([True]))
    np.testing.assert_array_equal(action, plain[0])
    env.close()


def test_scripts_need_a_world_that_tells_where_cubes_are() -> None:
    with pytest.raises(ValueError, match="tells where its cubes are"):
        expert(Blinking(set()), "stack")


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ConfigError, match="one of mixed, handling, towers"):
        find_behaviour("clever", BEHAVIOURS)


def test_behaviour_does_not_follow_from_the_start() -> None:
    """Start and behaviour of an episode share a seed, not a stream of random numbers."""
    seed = 7
    seen: list[np.random.Generator] = []

    def script(bench: Bench, rng: np.random.Generator) -> Script:
        seen.append(rng)
        yield from hold(1)

    env = gym.make("MuJoCo-BlockStack-v0")
    observation, _ = env.reset(seed=seed)
    ScriptedPolicy(env, script, "probe", seed).predict(observation)
    assert seen[0].random() != np_random(seed)[0].random()
    env.close()
