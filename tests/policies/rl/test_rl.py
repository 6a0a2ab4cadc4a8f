"""`gwm rl`: what is trained is kept whole, acts alike after loading, and is never written over by mistake."""

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from gwm_sim import cli
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.blocks.spec import TASKS, env_id
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.envs.wrappers import TernaryAction, VectorTernaryAction
from gwm_sim.errors import CheckpointError, ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.collection import CollectConfig, collect
from gwm_sim.policies.commands.rl import main
from gwm_sim.policies.registry import make_policy, needs_pixels
from gwm_sim.policies.rl.agents import ALGORITHMS, AgentConfig, AgentPolicy, load_config, restore, save_agent
from gwm_sim.policies.rl.cloning import Demonstration, act, clone, read_demonstrations, remember
from gwm_sim.policies.rl.evaluation import RlEvalConfig, make_world
from gwm_sim.policies.rl.recipes import Recipe, find_recipe
from gwm_sim.policies.rl.training import Keeper, RlTrainConfig, build_agent, make_env, train

RECIPE = """
GWM-BlockReach-v0:
  env_wrapper:
    - gwm_sim.envs.wrappers.LatentObservation:
        keys: [objects]
    - gwm_sim.envs.wrappers.TernaryAction
  n_envs: 4
  n_timesteps: 120
  policy: MultiInputPolicy
  policy_kwargs: {net_arch: [16]}
"""
EXTRA = {"ppo": "  n_steps: 10\n  batch_size: 20\n", "sac": "  learning_starts: 40\n  batch_size: 16\n"}


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demonstrations") / "reach.hdf5"
    collect(CollectConfig(episodes=6, steps=12, out=path, env="MuJoCo-BlockReach-v0", policy="scripted", workers=1))
    return path


def about(config: RlTrainConfig, recipe: Recipe) -> AgentConfig:
    model = WorldModel.load(config.model)
    effector = model.config.dynamics.effector
    return AgentConfig(config.algo, config.env, recipe.readings, config.model, model.digest(), (16,), effector)


def configure(folder: Path, model: Path, algo: str = "ppo", **options: Any) -> RlTrainConfig:
    recipe = folder / f"{algo}.yml"
    recipe.write_text(RECIPE + EXTRA[algo])
    defaults: dict[str, Any] = {"eval_minutes": -1.0, "eval_episodes": 2, "tensorboard": False}
    return RlTrainConfig(
        env="GWM-BlockReach-v0",
        out=folder / algo,
        algo=algo,
        model=str(model),
        hyperparams=recipe,
        **{**defaults, **options},
    )


@pytest.fixture(scope="module")
def trained(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RlTrainConfig]:
    """A short run of each kind of algorithm."""
    folder = tmp_path_factory.mktemp("runs")
    configs = {algo: configure(folder, tiny_checkpoint, algo) for algo in EXTRA}
    for config in configs.values():
        train(config)
    return configs


@pytest.mark.parametrize("algo", EXTRA)
def test_a_loaded_policy_acts_as_the_agent_did(algo: str, trained: dict[str, RlTrainConfig]) -> None:
    config = trained[algo]
    recipe = find_recipe(algo, config.env, config.hyperparams)
    env = make_env(config, recipe)
    policy = AgentPolicy(config.out)
    agent = build_agent(config, recipe, env, policy.config)
    restore(agent, config.out)
    assert agent.num_timesteps == policy.config.steps == 120
    observation = env.reset()
    expected, _ = agent.predict(observation, deterministic=True)  # type: ignore[arg-type]
    actions, memory = policy.predict(observation, deterministic=True)
    np.testing.assert_array_equal(actions, expected)
    assert memory is None and actions.shape == (4, 4)


@pytest.mark.parametrize("algo", EXTRA)
def test_a_resumed_run_goes_on_with_its_optimisers(
    algo: str, trained: dict[str, RlTrainConfig], tmp_path: Path
) -> None:
    config = replace(trained[algo], out=tmp_path / "copy")
    shutil.copytree(trained[algo].out, config.out)
    train(replace(config, resume=True, steps=200))
    assert AgentPolicy(config.out).config.steps == 200
    assert len(list(config.out.glob("*.safetensors"))) == 2  # those of the older checkpoint are gone


def test_nothing_is_written_over(trained: dict[str, RlTrainConfig], tmp_path: Path) -> None:
    config = trained["ppo"]
    before = {path: path.read_bytes() for path in config.out.iterdir()}
    with pytest.raises(ConfigError, match="not empty"):
        train(config)
    with pytest.raises(ConfigError, match="--algo ppo, not sac"):
        train(replace(trained["sac"], out=config.out, resume=True))
    assert before == {path: path.read_bytes() for path in config.out.iterdir()}
    with pytest.raises(CheckpointError, match="gwm rl train"):
        train(replace(config, out=tmp_path / "missing", resume=True))
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("damage", ["truncated", "removed", "no config", "half a config", "zip"])
def test_incomplete_agents_are_refused(damage: str, trained: dict[str, RlTrainConfig], tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    shutil.copytree(trained["ppo"].out, folder)
    weights = next(folder.glob("policy-*.safetensors"))
    match damage:
        case "truncated":
            weights.write_bytes(weights.read_bytes()[:-10])
        case "removed":
            weights.unlink()
        case "no config":
            (folder / "config.json").unlink()
        case "half a config":
            (folder / "config.json").write_text((folder / "config.json").read_text()[:100])
        case "zip":
            folder = tmp_path / "agent.zip"
            folder.write_bytes(b"PK")
    with pytest.raises(CheckpointError):
        AgentPolicy(folder)


def test_a_kill_at_any_moment_leaves_a_whole_agent(
    trained: dict[str, RlTrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def replace_until(moment: int, before: bool) -> Callable[[Any, Any], None]:
        left = iter(range(moment))

        def replace_file(source: Any, target: Any) -> None:
            last = next(left, None) is None
            if last and before:
                raise Killed
            Path(source).rename(target)
            if last:
                raise Killed

        return replace_file

    config = trained["ppo"]
    recipe = find_recipe("ppo", config.env, config.hyperparams)
    agent = build_agent(config, recipe, make_env(config, recipe), load_config(config.out))
    # Weights to act, to train on, the configuration, and none; each before and after it takes its place.
    for moment, before in product(range(4), (True, False)):
        folder = tmp_path / f"{moment}-{before}"
        shutil.copytree(config.out, folder)
        with monkeypatch.context() as patch:
            patch.setattr("gwm_sim.files.os.replace", replace_until(moment, before))
            with contextlib.suppress(Killed):
                save_agent(agent, replace(load_config(folder), steps=500), folder)
        assert AgentPolicy(folder).config.steps == (500 if moment == 3 or (moment == 2 and not before) else 120)
        restore(agent, folder)


def test_a_killed_run_can_be_resumed_from_its_first_moment(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(tmp_path, tiny_checkpoint)

    def die(_: Keeper) -> bool:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "_on_step", die)
        with pytest.raises(RuntimeError, match="killed"):
            train(config)
    train(replace(config, resume=True))
    assert load_config(config.out).steps == 120


def test_latents_of_another_model_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = configure(tmp_path, tiny_checkpoint, steps=40)
    recipe = (tmp_path / "ppo.yml").read_text().replace("[objects]", "[latents]")
    (tmp_path / "ppo.yml").write_text(recipe)
    train(config)
    env = gym.make_vec("GWM-BlockReach-v0", num_envs=2, model=tiny_checkpoint)
    assert make_policy(str(config.out), env).env is not env
    path = config.out / "config.json"
    path.write_text(path.read_text().replace(load_config(config.out).model_hash, "0123456789abcdef"))
    with pytest.raises(ConfigError, match="mean something else"):
        make_policy(str(config.out), gym.make_vec("GWM-BlockReach-v0", num_envs=2, model=tiny_checkpoint))


def test_evaluation_seeds_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="evaluation only"):
        configure(tmp_path, tiny_checkpoint, seed=300_000)
    path = tmp_path / "evaluation.hdf5"
    collect(CollectConfig(episodes=1, steps=4, out=path, seed=300_000, workers=1, rendering="fast"))
    with pytest.raises(ConfigError, match="evaluation episodes"):
        read_demonstrations(path, WorldModel.load(tiny_checkpoint), ("objects",), "reach")


@pytest.mark.parametrize("algo", EXTRA)
def test_cloning_fits_the_demonstrated_actions(
    algo: str, tiny_checkpoint: Path, demonstrations: Path, tmp_path: Path
) -> None:
    config = configure(tmp_path, tiny_checkpoint, algo, steps=0, warm_start=demonstrations)
    recipe = find_recipe(algo, config.env, config.hyperparams)
    env = make_env(config, recipe)
    train(config)
    policy = AgentPolicy(config.out)
    assert policy.config.steps == 0
    shown = read_demonstrations(demonstrations, WorldModel.load(tiny_checkpoint), recipe.readings, "reach")
    observations = {key: torch.from_numpy(value[:-1]) for key, value in shown[0].observations.items()}
    actions = torch.from_numpy(shown[0].actions)
    agent = build_agent(config, recipe, env, policy.config)
    with torch.no_grad():
        before = (act(agent, observations) - actions).square().mean()
        restore(agent, config.out)
        after = (act(agent, observations) - actions).square().mean()
    assert after < 0.5 * before


def test_returns_go_on_for_ever() -> None:
    demonstration = Demonstration({}, np.zeros((3, 4), np.float32), np.array([0.0, 1.0, 1.0], np.float32))
    np.testing.assert_allclose(demonstration.returns(0.5), [1.0, 2.0, 2.0])


def test_demonstrations_are_half_of_every_batch(tiny_checkpoint: Path, demonstrations: Path, tmp_path: Path) -> None:
    config = configure(tmp_path, tiny_checkpoint, "sac", warm_start=demonstrations)
    recipe = find_recipe("sac", config.env, config.hyperparams)
    shown = read_demonstrations(demonstrations, WorldModel.load(tiny_checkpoint), recipe.readings, "reach")
    agent: Any = build_agent(config, recipe, make_env(config, recipe), about(config, recipe))
    remember(agent, shown)
    agent.learning_starts = 40
    agent.learn(40)
    batch = agent.replay_buffer.sample(16)
    demonstrated = {row.tobytes() for d in shown for row in d.observations["agent_pos"]}
    known = [row.tobytes() in demonstrated for row in batch.observations["agent_pos"].numpy()]
    assert known == [False] * 8 + [True] * 8
    assert not batch.dones[8:].any() and (batch.rewards[8:] > 0).all()


def test_a_gripper_opens_closes_or_holds(trained: dict[str, RlTrainConfig]) -> None:
    env = TernaryAction(gym.make("MuJoCo-BlockReach-v0", rendering="fast", size=8))
    given = np.array([[0.2, -0.4, 1.0, value] for value in (-1.0, -0.4, -0.3, 0.3, 0.4, 1.0)], np.float32)
    taken = np.stack([env.action(action) for action in given])
    np.testing.assert_array_equal(taken[:, :3], given[:, :3])
    np.testing.assert_array_equal(taken[:, 3], [-1.0, -1.0, 0.0, 0.0, 1.0, 1.0])
    envs = VectorTernaryAction(gym.make_vec("MuJoCo-BlockReach-v0", num_envs=6, rendering="fast", size=8))
    np.testing.assert_array_equal(envs.actions(given), taken)
    for world in (gym.make, lambda name, **kw: gym.make_vec(name, num_envs=2, **kw)):
        seen = make_policy(str(trained["sac"].out), world("MuJoCo-BlockReach-v0"), model=trained["sac"].model).env
        assert isinstance(seen, TernaryAction | VectorTernaryAction)


def test_both_worlds_are_scored_and_the_gap_is_drawn(tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = configure(tmp_path, tiny_checkpoint, eval_minutes=0.0, keep=True, json=tmp_path / "report.json")
    assert main(config) == 0
    assert AgentPolicy(config.out / "checkpoints" / "00000120").config.steps == 120
    curve = json.loads((config.out / "curve.json").read_text())
    assert [score["episodes"] for score in curve] == [2] and (config.out / "gap.png").is_file()
    assert json.loads((tmp_path / "report.json").read_text())["scores"] == curve[-1]


@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("world", ["learned", "twin"])
def test_every_environment_has_hyper_parameters(algo: str, world: str) -> None:
    for task in TASKS:
        recipe = find_recipe(algo, env_id(world, task))
        assert recipe.readings == ("objects",) and recipe.num_envs > 1 and recipe.timesteps > 0


def test_unknown_names_are_refused(tiny_checkpoint: Path, trained: dict[str, RlTrainConfig], tmp_path: Path) -> None:
    config = configure(tmp_path, tiny_checkpoint)
    with pytest.raises(ConfigError, match="GWM-BlockGrasp-v0"):
        train(replace(config, env="CartPole-v1"))
    with pytest.raises(ConfigError, match="ppo, sac, tqc"):
        train(replace(config, algo="dqn"))
    env = gym.make_vec("MuJoCo-BlockReach-v0", num_envs=2, rendering="fast", size=32)
    for spec, message in {
        "nobody": "scripted, uniform, hold",
        "uniform:noise=1": "unknown options",
        "scripted:noise=loud": "name=number",
        str(trained["ppo"].out): "cannot see",
    }.items():
        with pytest.raises(ConfigError, match=message):
            make_policy(spec, env)
    assert cli.main(["rl", "eval", "--policy", "nobody", "--env", "MuJoCo-BlockReach-v0", "--episodes", "1"]) == 2
    assert not needs_pixels("scripted:noise=1") and needs_pixels(str(trained["ppo"].out))


def test_planners_compete_by_name(tiny_checkpoint: Path) -> None:
    env = gym.make("GWM-BlockReach-v0", model=tiny_checkpoint)
    policy, seen = make_policy("icem:population=4:iterations=1:horizon=2", env, 0, tiny_checkpoint)
    observation, _ = seen.reset(seed=0)
    action, memory = policy.predict(observation, episode_start=np.ones(1, bool))
    assert seen.action_space.contains(action) and memory is not None
    assert needs_pixels("icem:population=4") and needs_pixels("mppi")
    with pytest.raises(ConfigError, match="unknown options"):
        make_policy("cem:noise=1", env, 0, tiny_checkpoint)


def test_eval_writes_numbers_and_a_film(trained: dict[str, RlTrainConfig], tmp_path: Path) -> None:
    config = trained["sac"]
    words = ["--policy", str(config.out), "--env", config.env, "--model", config.model, "--episodes", "2"]
    report, film = tmp_path / "report.json", tmp_path / "film.mp4"
    assert cli.main(["rl", "eval", *words, "--json", str(report), "--video", str(film)]) == 0
    assert json.loads(report.read_text())["n"] == 2 and film.stat().st_size > 0


def test_the_twin_is_seen_as_the_model_of_an_agent_learned_to_see(
    tiny_checkpoint: Path, trained: dict[str, RlTrainConfig]
) -> None:
    own = twin_options(WorldModel.load(tiny_checkpoint).config)

    def options(config: RlEvalConfig) -> dict[str, Any]:
        made: dict[str, Any] = make_world(config, lambda env, **options: options)
        return made

    for policy in (str(trained["ppo"].out), "icem"):
        model = "gwm-mini" if policy != "icem" else str(tiny_checkpoint)  # an agent knows its own
        config = RlEvalConfig(policy=policy, env="MuJoCo-BlockReach-v0", model=model)
        assert options(config) == own
    assert options(replace(config, policy="uniform")) == {"rendering": "fast"}  # nobody looks
    env = make_env(replace(trained["ppo"], env="MuJoCo-BlockReach-v0"), find_recipe("ppo", "MuJoCo-BlockReach-v0"))
    assert env.num_envs > 0
    env.close()


@pytest.mark.slow
def test_a_trained_agent_records_data(trained: dict[str, RlTrainConfig], tmp_path: Path) -> None:
    out = tmp_path / "own.hdf5"
    agent = str(trained["sac"].out)
    config = CollectConfig(episodes=2, steps=5, out=out, policy=agent, workers=1, rendering="fast")
    collect(config)
    with EpisodeFile(out) as file:
        episode = file.read(1)
    again = replace(config, out=tmp_path / "again.hdf5")
    assert collect(again).summary.digest == collect(config).summary.digest  # whatever was drawn before
    assert episode.policy == "sac" and len(episode.actions) == 5
    assert set(np.unique(episode.actions[:, 3])) <= {-1.0, 0.0, 1.0}
    with pytest.raises(ConfigError, match="folder of `gwm rl train`"):
        collect(CollectConfig(episodes=1, out=tmp_path / "no.hdf5", policy="nobody", workers=1))


@pytest.mark.parametrize("algo", EXTRA)
def test_cloning_answers_in_the_bounds_of_the_actions(algo: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Actors of SAC act in [-1, 1], whatever the actions are."""
    config = configure(tmp_path, tiny_checkpoint, algo)
    recipe = find_recipe(algo, config.env, config.hyperparams)
    env = make_env(config, recipe)
    env.action_space = gym.spaces.Box(np.array([-4, 0, 10, -1], np.float32), np.array([4, 8, 30, 1], np.float32))
    agent = build_agent(config, recipe, env, about(config, recipe))
    wanted = np.array([2, 2, 25, -0.5], np.float32)
    observation = env.reset()
    assert isinstance(observation, dict)
    seen = {key: np.repeat(value[:1], 33, axis=0) for key, value in observation.items()}
    clone(agent, [Demonstration(seen, np.tile(wanted, (32, 1)), np.zeros(32, np.float32))], 0)
    answered, _ = agent.predict({key: value[:1] for key, value in seen.items()}, deterministic=True)
    np.testing.assert_allclose(answered[0], wanted, atol=0.3)
