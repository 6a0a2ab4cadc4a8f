"""Wrappers give the same numbers in single and vector form, in both worlds, and cost a learned world no picture."""

import pickle
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from gwm_sim.envs import wrappers
from gwm_sim.envs.learned.domain import Domain
from gwm_sim.envs.learned.imagination import Imagination
from gwm_sim.envs.learned.observations import LATENTS, OBJECTS, TURNS
from gwm_sim.envs.wrappers import LatentObservation, VectorLatentObservation, latent_observation
from gwm_sim.envs.wrappers.uncertainty_penalty import last_uncertainty
from gwm_sim.model.world_model import WorldModel

ACTION = np.array([0.4, -0.3, -0.5, 0.0], np.float32)


def make_vector(world: str, model: Path, num_envs: int = 3, limit: int = 50) -> Any:
    options: dict[str, Any] = {"rendering": "fast"} if world == "MuJoCo" else {"model": model}
    env = gym.make_vec(f"{world}-BlockGrasp-v0", num_envs=num_envs, **options)
    env.unwrapped.set_attr("_max_episode_steps", limit)  # type: ignore[attr-defined]
    return env


def make_single(world: str, model: Path) -> Any:
    options: dict[str, Any] = {"rendering": "fast"} if world == "MuJoCo" else {"model": model}
    return gym.make(f"{world}-BlockGrasp-v0", **options)


@pytest.mark.parametrize("world", ["MuJoCo", "GWM"])
def test_rows_read_what_single_environments_read(world: str, tiny_checkpoint: Path) -> None:
    vector = VectorLatentObservation(make_vector(world, tiny_checkpoint), model=tiny_checkpoint)
    rows, _ = vector.reset(seed=5)
    assert vector.observation_space.contains(rows)
    after = vector.step(np.stack([ACTION] * 3))[0]
    for i in range(3):
        single = LatentObservation(make_single(world, tiny_checkpoint), model=tiny_checkpoint)
        observation, _ = single.reset(seed=5 + i)
        assert single.observation_space.contains(observation)
        for key, value in observation.items():
            np.testing.assert_allclose(rows[key][i], value, atol=1e-4)
        np.testing.assert_allclose(after["agent_pos"][i], single.step(ACTION)[0]["agent_pos"], atol=1e-3)


def test_a_start_reads_the_same_in_both_worlds(tiny_checkpoint: Path) -> None:
    twin = make_single("MuJoCo", tiny_checkpoint)
    observation, _ = twin.reset(seed=3)
    read, _ = LatentObservation(twin, model=tiny_checkpoint).reset(seed=3)
    learned = LatentObservation(make_single("GWM", tiny_checkpoint))
    start = {"frames": observation["pixels"], "telemetry": observation["agent_pos"]}
    imagined, _ = learned.reset(options=start)
    assert set(read) == {"agent_pos", OBJECTS, LATENTS}
    for key, value in read.items():
        np.testing.assert_allclose(imagined[key], value, atol=1e-5)


@pytest.mark.parametrize("shipped", [False, True])
@pytest.mark.parametrize(("keys", "drawn"), [((OBJECTS,), False), ((OBJECTS, LATENTS), True)])
def test_learned_worlds_draw_only_what_is_read_and_go_the_same_way(
    keys: tuple[str, ...], drawn: bool, shipped: bool, tiny_checkpoint: Path
) -> None:
    """The shipped model draws latents, which are part of its state; what is drawn from a reference never is."""
    model = Path("gwm-mini") if shipped else tiny_checkpoint
    watched, read = make_vector("GWM", model), make_vector("GWM", model)
    latent = VectorLatentObservation(read, keys)
    watched.reset(seed=5)
    latent.reset(seed=5)
    for _ in range(5):
        seen = watched.step(np.stack([ACTION] * 3))
        unseen = latent.step(np.stack([ACTION] * 3))
        np.testing.assert_array_equal(seen[0]["agent_pos"], unseen[0]["agent_pos"])
        np.testing.assert_array_equal(seen[1], unseen[1])
    state = read.unwrapped.get_state()[0]
    assert bool(state.drawn.all()) == bool(state.drawn.any()) == (drawn and shipped)
    assert read.unwrapped.frames().shape == (3, 64, 64, 3)


def test_learned_worlds_decode_no_picture(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_frames(_: Imagination) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Imagination, "frames", no_frames)
    env = VectorLatentObservation(make_vector("GWM", tiny_checkpoint, limit=2), keys=(OBJECTS,))
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.stack([ACTION] * 3))


@pytest.mark.parametrize("world", ["MuJoCo", "GWM"])
def test_final_observations_are_read_too(world: str, tiny_checkpoint: Path) -> None:
    env = VectorLatentObservation(make_vector(world, tiny_checkpoint, limit=2), model=tiny_checkpoint)
    env.reset(seed=0)
    before = env.step(np.stack([ACTION] * 3))[0]
    observation, _, _, truncated, infos = env.step(np.stack([ACTION] * 3))
    assert truncated.all()
    for row in range(3):
        final = infos["final_obs"][row]
        assert env.single_observation_space.contains(final)
        moved, jumped = (
            np.abs(x - before["agent_pos"][row]).max() for x in (final["agent_pos"], observation["agent_pos"][row])
        )
        assert moved < jumped


def test_single_environments_keep_the_contract(tiny_checkpoint: Path) -> None:
    env = gym.make("GWM-BlockReach-v0", model=tiny_checkpoint, disable_env_checker=True)
    check_env(LatentObservation(env, keys=(OBJECTS,)).unwrapped, skip_render_check=True)


def observed(env: gym.Env[Any, Any]) -> set[str]:
    """Keys of its observation space."""
    space = env.observation_space
    assert isinstance(space, gym.spaces.Dict)
    return set(space)


def test_what_is_observed_where_nobody_says_is_what_the_model_knows(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a recipe without keys asks for it, also by rl_zoo3: of one's own world neither all nor what it lacks."""
    known = observed(LatentObservation(make_single("GWM", tiny_checkpoint)))
    assert known == {"agent_pos", OBJECTS, LATENTS}
    monkeypatch.setattr(latent_observation, "find_domain", lambda env_id: Domain())
    own = LatentObservation(make_single("GWM", tiny_checkpoint))
    assert observed(own) == {"agent_pos", OBJECTS, TURNS}
    assert own.reset(seed=0)[0].keys() == observed(own)


def test_unknown_and_missing_readings_are_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="colours"):
        LatentObservation(make_single("GWM", tiny_checkpoint), keys=("colours",))
    with pytest.raises(ValueError, match="agent_pos"):
        LatentObservation(gym.make("MuJoCo-BlockReach-v0", size=32, rendering="fast"), model=tiny_checkpoint)


def test_penalty_charges_the_growth_of_uncertainty(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gwm_sim.model.world_model.risk", lambda made, objects, _: torch.ones(len(objects)))
    vector = wrappers.VectorUncertaintyPenalty(make_vector("GWM", tiny_checkpoint, limit=2), weight=0.5)
    plain = make_vector("GWM", tiny_checkpoint, limit=2)
    single = wrappers.UncertaintyPenalty(make_single("GWM", tiny_checkpoint), weight=0.5)
    single.reset(seed=0)
    vector.reset(seed=0)
    before = plain.reset(seed=0)[1]["gwm/uncertainty"]
    for _ in range(2):
        charged, (_, paid, _, _, infos) = vector.step(np.stack([ACTION] * 3))[1], plain.step(np.stack([ACTION] * 3))
        after = last_uncertainty(infos)
        assert (after > before).all()
        np.testing.assert_allclose(charged, paid - 0.5 * (after - before))
        assert single.step(ACTION)[1] == pytest.approx(charged[0], abs=1e-3)
        before = after


def test_nothing_is_charged_in_the_twin() -> None:
    plain, wrapped = (gym.make("MuJoCo-BlockReach-v0", rendering="fast") for _ in range(2))
    wrapped = wrappers.UncertaintyPenalty(wrapped, weight=9.0)
    plain.reset(seed=0)
    wrapped.reset(seed=0)
    assert wrapped.step(ACTION)[1] == plain.step(ACTION)[1]


def test_uncertain_rows_end_and_begin_anew(tiny_checkpoint: Path) -> None:
    plain = make_vector("GWM", tiny_checkpoint)
    plain.reset(seed=0)
    _, _, _, _, infos = plain.step(np.stack([ACTION] * 3))
    limit = float(np.sort(infos["gwm/uncertainty"])[1:].mean())  # between the second and the third
    env = wrappers.VectorTruncateOnUncertainty(make_vector("GWM", tiny_checkpoint), limit=limit)
    env.reset(seed=0)
    observation, _, _, truncated, cut = env.step(np.stack([ACTION] * 3))
    np.testing.assert_array_equal(truncated, infos["gwm/uncertainty"] > limit)
    assert truncated.sum() == 1
    row = int(np.flatnonzero(truncated)[0])
    assert cut["final_info"]["gwm/uncertainty"][row] == pytest.approx(infos["gwm/uncertainty"][row])
    assert cut["gwm/uncertainty"][row] < limit
    assert np.abs(cut["final_obs"][row]["agent_pos"] - observation["agent_pos"][row]).max() > 1e-3
    disabled: Any = gym.make_vec("GWM-BlockGrasp-v0", 3, model=tiny_checkpoint, autoreset_mode=AutoresetMode.DISABLED)
    disabled = wrappers.VectorTruncateOnUncertainty(disabled, limit=limit)
    disabled.reset(seed=0)
    np.testing.assert_array_equal(disabled.step(np.stack([ACTION] * 3))[0]["agent_pos"], observation["agent_pos"])
    single = wrappers.TruncateOnUncertainty(make_single("GWM", tiny_checkpoint), limit=1e-6)
    single.reset(seed=0)
    assert single.step(ACTION)[3]


@pytest.mark.parametrize("world", ["MuJoCo", "GWM"])
def test_goals_are_reached_where_the_picture_was_taken(world: str, tiny_checkpoint: Path) -> None:
    plain = make_single(world, tiny_checkpoint)
    pictures = np.stack([plain.reset(seed=seed)[0]["pixels"] for seed in (3, 9)])
    for sparse in (True, False):
        env = wrappers.GoalImage(make_single(world, tiny_checkpoint), pictures, model=tiny_checkpoint, sparse=sparse)
        observation, _ = env.reset(seed=3, options={"goal": 0})
        assert env.observation_space.contains(observation) and set(observation) >= {"achieved_goal", "objects"}
        here = env.compute_reward(observation["achieved_goal"], observation["desired_goal"], {})
        assert here > env.compute_reward(
            observation["achieved_goal"], env.reset(options={"goal": 1})[0]["desired_goal"], {}
        )
        assert here == pytest.approx(0.0, abs=1e-6)
        assert env.get_wrapper_attr("reader").config.name


def test_rows_keep_their_goal_until_they_end(tiny_checkpoint: Path) -> None:
    pictures = np.stack([make_single("GWM", tiny_checkpoint).reset(seed=seed)[0]["pixels"] for seed in range(8)])
    env = wrappers.VectorGoalImage(make_vector("GWM", tiny_checkpoint, limit=2), pictures, sparse=False)
    first, _ = env.reset(seed=0)
    second = env.step(np.stack([ACTION] * 3))[0]
    np.testing.assert_array_equal(second["desired_goal"], first["desired_goal"])
    third, rewards, _, truncated, infos = env.step(np.stack([ACTION] * 3))
    assert truncated.all() and env.observation_space.contains(third)
    assert np.abs(third["desired_goal"] - first["desired_goal"]).sum() > 0
    for row in range(3):
        final = infos["final_obs"][row]
        np.testing.assert_array_equal(final["desired_goal"], first["desired_goal"][row])
        assert rewards[row] == env.compute_reward(final["achieved_goal"], final["desired_goal"], {})


def test_any_single_environment_can_be_wrapped() -> None:
    """What the wrapper does not look at passes as it is: other spaces, rewards and infos."""
    plain = gym.make("CartPole-v1")
    env = wrappers.TruncateOnUncertainty(wrappers.UncertaintyPenalty(gym.make("CartPole-v1"), weight=1.0), limit=1.0)
    assert env.observation_space == plain.observation_space and env.action_space == plain.action_space
    assert env.unwrapped is not plain.unwrapped and type(env.unwrapped) is type(plain.unwrapped)
    np.testing.assert_array_equal(env.reset(seed=3)[0], plain.reset(seed=3)[0])
    ends = False
    while not ends:
        expected, given = plain.step(1), env.step(1)
        np.testing.assert_array_equal(given[0], expected[0])
        assert given[1:] == expected[1:]
        ends = bool(given[2])


class Peculiar(gym.Env[Any, Any]):
    """Says what no array can hold."""

    observation_space = gym.spaces.Text(9)
    action_space = gym.spaces.Box(-1, 1, (2,))
    last: Any = None

    def reset(self, **_: Any) -> Any:
        self.last = "begun", {1: "one", "big": 2**70, "exact": np.float32(0.1), "x": 1, "_x": 2, "_final_obs": True}
        return self.last

    def step(self, action: Any) -> Any:
        self.last = "went on", np.float32(0.1), False, False, {"zero": np.zeros(()), "gwm/uncertainty": 0.5}
        return self.last


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: wrappers.TernaryAction(env),
        lambda env: wrappers.TruncateOnUncertainty(env, limit=1.0),
        lambda env: wrappers.UncertaintyPenalty(env, weight=2.0),
    ],
)
def test_what_a_single_environment_says_passes_as_it_is(wrap: Any) -> None:
    plain = Peculiar()
    env = wrap(plain)
    observation, info = env.reset()
    assert observation is plain.last[0] and info is plain.last[1]
    observation, reward, _, truncated, info = env.step(np.zeros(2, np.float32))
    assert observation is plain.last[0] and info is plain.last[4] and not truncated
    if isinstance(env, wrappers.UncertaintyPenalty):
        assert type(reward) is float and reward == pytest.approx(0.1 - 2.0 * 0.5)
    else:
        assert reward is plain.last[1]
    env.observation_space = gym.spaces.Text(5)
    assert env.observation_space == gym.spaces.Text(5)


def test_models_may_be_given_loaded(tiny_checkpoint: Path) -> None:
    model = WorldModel.load(tiny_checkpoint)
    env = LatentObservation(make_single("MuJoCo", tiny_checkpoint), keys=(LATENTS,), model=model)
    assert set(env.reset(seed=0)[0]) == {"agent_pos", LATENTS}


@pytest.mark.parametrize("world", ["MuJoCo", "GWM"])
@pytest.mark.parametrize("duplicate", [deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_wrapped_worlds_can_be_copied(world: str, duplicate: Callable[[Any], Any], tiny_checkpoint: Path) -> None:
    priced = wrappers.UncertaintyPenalty(make_single(world, tiny_checkpoint), weight=0.1)
    single: Any = wrappers.TernaryAction(LatentObservation(priced, model=tiny_checkpoint))
    vector: Any = wrappers.VectorTruncateOnUncertainty(make_vector(world, tiny_checkpoint), limit=9.0)
    for env, action in ((single, ACTION), (vector, np.stack([ACTION] * 3))):
        env.reset(seed=5)
        twin = duplicate(env)
        (seen, reward, *_), (other, same, *_) = env.step(action), twin.step(action)
        assert np.array_equal(reward, same) and seen.keys() == other.keys()
        assert all(np.array_equal(seen[key], other[key]) for key in seen)
    if world == "GWM" and duplicate is deepcopy:
        assert twin.unwrapped.world_model is env.unwrapped.world_model
