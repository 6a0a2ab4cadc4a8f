"""Any policy in any environment, with numbers and a film."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from gwm_sim.envs.blocks.spec import is_twin, task_of
from gwm_sim.envs.learned.tasks import world_options
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.media.sheets import write_film
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.engines.options import OptionalWorkers
from gwm_sim.policies.evaluation import EpisodeResult, Evaluation, evaluate
from gwm_sim.policies.own_world import check_task, check_tasks
from gwm_sim.policies.registry import find_agent, make_policy, needs_pixels
from gwm_sim.policies.rollout import rollout
from gwm_sim.policies.worker_pool import Job
from gwm_sim.progress import progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED

FILMED = 8  # episodes in a film


@dataclass(frozen=True)
class RlEvalConfig(OptionalWorkers):
    """Score a policy in an environment."""

    policy: str
    """scripted, scripted:lapse=0.2, uniform, hold, icem, cem, mppi, sac-grasp, or a folder of `gwm rl train`."""
    env: str
    """Environment id, of either world, or GWM-World-v0 for the world of --model."""
    task: str | None = None
    """In GWM-World-v0, what is to be done: a label of the model's data, or a function FILE.py:NAME."""
    goal: Path | None = None
    """In GWM-World-v0, a picture of what is to be reached, instead of a task."""
    episodes: int = 200
    """Number of episodes."""
    model: str = "gwm-mini"
    """World model of a learned environment, and what planners see the twin through: a shipped one, or a folder."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of the first start; episode i starts from seed + i."""
    rows: int = 20
    """Episodes that run at a time."""
    stochastic: bool = False
    """Draw actions instead of taking the most likely ones."""
    json: Path | None = None
    """Write the numbers here."""
    video: Path | None = None
    """Write a film of the first episodes here."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(episodes=self.episodes, rows=self.rows)


def evaluate_policy(config: RlEvalConfig) -> Evaluation:
    """Run the episodes, `config.rows` at a time, whoever does it."""
    seeds = range(config.seed, config.seed + config.episodes, config.rows)
    jobs = [Job(f"the episodes from seed {seed}", partial(Scorer.score, seed=seed)) for seed in seeds]
    episodes: list[EpisodeResult] = []
    with progress(f"{config.policy} in {config.env}") as show:
        show(0.0, "")
        for found in config.run(jobs, partial(Scorer, config)):
            episodes += found
            show(len(episodes) / config.episodes, f"{sum(run.success for run in episodes)} of {len(episodes)} solved")
    return Evaluation(tuple(sorted(episodes, key=lambda run: run.seed)))


class Scorer:
    """Runs a policy in an environment, perhaps in a worker process."""

    def __init__(self, config: RlEvalConfig) -> None:
        """Make the environment."""
        if not config.alone:
            torch.set_num_threads(1)  # there is one of these on every core
        self._config = config
        self._worlds = make_world(config, gym.make_vec, num_envs=min(config.rows, config.episodes))
        if not needs_pixels(config.policy) and hasattr(self._worlds.unwrapped, "observe_state"):
            self._worlds.unwrapped.observe_state(())

    def score(self, seed: int) -> tuple[EpisodeResult, ...]:
        """Run the episodes from a seed on, one in every row, with a policy that draws from that seed."""
        config = self._config
        if config.stochastic:
            torch.manual_seed(seed)  # an agent draws from torch's own numbers
        policy, env = make_policy(config.policy, self._worlds, seed, config.model)
        left = config.seed + config.episodes - seed
        return evaluate(policy, env, min(config.rows, left), seed, deterministic=not config.stochastic).episodes


def film(config: RlEvalConfig, path: Path) -> None:
    """Show the first episodes side by side, each from its own start."""
    env = make_world(config, gym.make, render_mode="rgb_array")
    shown = []
    for seed in range(config.seed, config.seed + min(FILMED, config.episodes)):
        policy, seen = make_policy(config.policy, env, seed, config.model)
        observation, _ = seen.reset(seed=seed)
        frames = [env.render()]
        frames += [env.render() for _ in rollout(policy, seen, observation, not config.stochastic)]
        shown.append(np.stack(frames)[:, ::2, ::2])
    write_film(shown, path, env.metadata["render_fps"])
    env.close()


def read_by(config: RlEvalConfig) -> WorldModel | None:
    """The world model that a run depends on: the learned world, or what reads the twin's pictures; None for neither."""
    name: str | Path = config.model
    if is_twin(config.env):
        if not needs_pixels(config.policy):
            return None
        if (folder := find_agent(config.policy)) is not None:
            from gwm_sim.policies.rl.agents import load_config  # late: other policies need no stable-baselines3

            name = load_config(folder).model
    return WorldModel.load(name)


def make_world(config: RlEvalConfig, make: Callable[..., Any], **options: Any) -> Any:
    """The environment of the options, which must name a task."""
    check_task(config.env, config.task, config.goal)
    if task_of(config.env) is None:
        options |= world_options(WorldModel.load(config.model), config.model, config.task, config.goal)
    elif not is_twin(config.env):
        check_tasks(WorldModel.load(config.model), str(task_of(config.env)))
        options["model"] = config.model
    else:  # as what reads its pictures learned to see, or as cheaply as can be where nobody looks
        world = read_by(config)
        options |= {"rendering": "fast"} if world is None else twin_options(world.config)
    try:
        return make(config.env, **options)
    except gym.error.Error as error:
        raise ConfigError(f"--env {config.env} cannot be made: {error}") from error
