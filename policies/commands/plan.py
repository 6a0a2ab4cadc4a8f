"""`gwm plan`: reach goal images by planning in a learned world, acting in the physics twin or in a learned one.

With `--goal-episode FILE` run i begins where demonstration i began and its goal is the last frame at which that one had
fulfilled the task: the picture alone, unless `--goal-telemetry` gives what the robot reported with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

import gwm_sim.envs  # noqa: F401  # registers the ids
from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.views import main_view
from gwm_sim.envs.blocks.spec import TASKS, is_twin, task_of
from gwm_sim.envs.spaces import image_key
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.errors import ConfigError
from gwm_sim.media.video import contact_sheet, write_video
from gwm_sim.model.world_model import WorldModel, WorldModelConfig, check_fit
from gwm_sim.policies.evaluation import EpisodeResult, evaluate, wilson_interval
from gwm_sim.policies.live.pictures import check_pictures, fit_goals, read_picture
from gwm_sim.policies.planning import (
    GUIDE_FILE,
    PLANNERS,
    CemSettings,
    Goal,
    Guide,
    MpcConfig,
    MpcPolicy,
    guided_config,
    learn_guide,
)
from gwm_sim.policies.policy import Observation, State
from gwm_sim.progress import progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class PlanConfig:
    """Reach goal images by planning in a learned world."""

    env: str = "MuJoCo-BlockStack-v0"
    """Where to act."""
    goal: tuple[Path, ...] = ()
    """Pictures of what the camera should see, one after the other."""
    goal_episode: str | None = None
    """FILE[:K]: start and goal of demonstration K, or of all, one after the other."""
    goal_telemetry: bool = False
    """Also use what the robot reported at the goal; by default it is read from the picture."""
    planner: Literal["icem", "cem", "mppi", "prior"] = "icem"
    """How to search; prior follows the cloned policy without a search."""
    model: str = "gwm-mini"
    """Name or folder of the world model to plan in."""
    guide: Path | None = None
    """Demonstrations and what was learned from them; by default guide.safetensors beside the model."""
    demos: tuple[Path, ...] = ()
    """Learn the guide from these episode files first, and write it to --guide; without a goal that is all."""
    population: int = 8
    """Candidates of a search."""
    iterations: int = 1
    """Rounds of a search."""
    horizon: int = 8
    """Length of a plan [steps]."""
    execute: int = 5
    """Steps that are executed before the next plan; prior looks again after every second one."""
    plan_seconds: float | None = None
    """Time for a plan: the best that was found by then is taken; by default the search goes to its end."""
    episodes: int | None = None
    """Number of runs; by default one, or all demonstrations."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of the first start where goals are pictures, and of the search."""
    json: Path | None = None
    """Write the printed numbers here."""
    video: Path | None = None
    """Write a film of the first runs: now, imagined and goal."""

    def __post_init__(self) -> None:
        given = bool(self.goal) + (self.goal_episode is not None)
        if given == 2 or (given == 0 and not self.demos):
            raise ConfigError("give either --goal PICTURE... or --goal-episode FILE[:K]")
        if self.demos and self.guide is None:
            raise ConfigError(f"--demos learns a guide: say where to write it, such as --guide {GUIDE_FILE}")
        if self.episodes is not None and self.episodes < 1:
            raise ConfigError(f"--episodes must be at least 1, got {self.episodes}")


@dataclass(frozen=True)
class Problem:
    """One run: where it starts and what it should reach."""

    seed: int
    options: dict[str, Any]
    goals: tuple[Goal, ...]
    picture: Frame  # of the last goal


def main(config: PlanConfig) -> int:
    """Run `gwm plan`."""
    model = WorldModel.load(config.model)
    guide = find_guide(config, model)
    if not config.goal and config.goal_episode is None:
        return 0
    env = make_env(config.env, model.config, config.model)
    if config.goal_episode is not None:
        problems, skipped = episode_problems(config, model, guide)
    else:
        problems, skipped = picture_problems(config, model, guide, env), 0
    report, film = solve(config, model, guide, env, problems)
    env.close()
    report["skipped_demos"] = skipped
    low, high = report["wilson"]
    Console().print(
        f"{config.env}: held success {report['success_rate']:.1%} ({low:.1%} to {high:.1%}), {report['episodes']} "
        f"runs; a plan takes {report['plan_ms_p50']:.0f} ms, 95th percentile {report['plan_ms_p95']:.0f} ms",
        highlight=False,
    )
    if skipped:
        print(f"skipped {skipped} demonstrations that never fulfilled the task")
    if config.video is not None:
        write_video(config.video, film, model.config.schema.rate)
        print(f"film: {config.video}")
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    return 0


def find_guide(config: PlanConfig, model: WorldModel) -> Guide | None:
    """The guide that is asked for, learned first if it has to be; the one beside the model by default."""
    if config.demos:
        assert config.guide is not None
        if config.guide.exists():
            raise ConfigError(
                f"--guide {config.guide} exists already: leave --demos out to use it, or name another file"
            )
        learn_guide(model, config.demos).save(config.guide)
        print(f"learned a guide: {config.guide}")
    if config.guide is not None:
        return Guide.load(model, config.guide)
    guide = Guide.beside(model, config.model)
    if guide is None and config.planner == "prior":
        raise ConfigError(f"{config.model} has no {GUIDE_FILE}, which --planner prior follows: learn one with --demos")
    return guide


def make_env(env_id: str, world: WorldModelConfig, model: str) -> gym.Env[Any, Any]:
    """The environment to act in: the twin as the model's camera would see it, or the world of `model` itself.

    Raises:
        ConfigError: There is no such block environment.
    """
    if task_of(env_id) is None:
        raise ConfigError(
            f"--env {env_id} is no block environment; tasks are {', '.join(TASKS)}, try MuJoCo-BlockStack-v0"
        )
    try:
        return gym.make(env_id, **(twin_options(world) if is_twin(env_id) else {"model": model}))
    except gym.error.Error as error:
        raise ConfigError(f"--env {env_id} cannot be made: {error}") from error


def episode_problems(config: PlanConfig, model: WorldModel, guide: Guide | None) -> tuple[list[Problem], int]:
    """Runs that begin where demonstrations began, and how many demonstrations never fulfilled the task of `--env`."""
    assert config.goal_episode is not None
    place, _, number = config.goal_episode.rpartition(":")
    path, only = (place, int(number)) if place and number.isdigit() else (config.goal_episode, None)
    task, camera = task_of(config.env), model.config.camera
    problems: list[Problem] = []
    skipped = 0
    with EpisodeFile(path) as file:
        check_fit(model, file.schema, path)
        if task not in file.schema.tasks:
            raise ConfigError(f"{path} has no labels for {task}; it has {', '.join(file.schema.tasks) or 'none'}")
        if only is not None and only >= len(file):
            raise ConfigError(f"{path} has {len(file)} episodes, number {only} is not among them")
        wanted = config.episodes or len(file)
        for k in range(len(file)) if only is None else [only]:
            if len(problems) == wanted:
                break
            episode = file.read(k, cameras=(camera,))
            solved = np.flatnonzero(episode.labels[task].success)
            if not len(solved):
                skipped += 1
                continue
            if episode.seed is None and is_twin(config.env):
                raise ConfigError(f"{path} does not say from which seed episode {k} began, so no twin can begin there")
            picture = episode.frames[camera][solved[-1]]
            reported = episode.telemetry[solved[-1]] if config.goal_telemetry else None
            goal = read_goal(model, guide, picture, reported)
            problems.append(
                Problem(episode.seed or 0, start(config.env, model, f"{path}:{k}", episode), (goal,), picture)
            )
    if not problems:
        raise ConfigError(f"no demonstration in {path} fulfils {task}: there is no goal to reach")
    return problems, skipped


def start(env_id: str, model: WorldModel, place: str, episode: Episode) -> dict[str, Any]:
    """Reset options to begin where an episode began: in the twin by its seed, in a learned world by its frames."""
    if is_twin(env_id):
        return {"properties": episode.properties}
    known = {name: value for name, value in episode.properties.items() if name in model.config.properties}
    return {"episode": place, "step": 0, "properties": known}


def picture_problems(
    config: PlanConfig, model: WorldModel, guide: Guide | None, env: gym.Env[Any, Any]
) -> list[Problem]:
    """Runs from the seeds `--seed` on toward pictures, which are held against what the camera sees first."""
    pictures = [read_picture(path) for path in config.goal]
    seen = env.reset(seed=config.seed)[0][image_key(model.config.camera)]
    fitted = fit_goals(config.goal, pictures, seen, model.config.tokenizer.height)
    check_pictures(model, config.goal, fitted, seen)
    goals = tuple(read_goal(model, guide, picture, None) for picture in fitted)
    return [Problem(config.seed + i, {}, goals, fitted[-1]) for i in range(config.episodes or 1)]


def read_goal(model: WorldModel, guide: Guide | None, picture: Frame, telemetry: NDArray[np.float32] | None) -> Goal:
    """What a goal picture asks for: positions where there is a guide that reads them, else the picture as a whole."""
    return Goal.image(model, picture, telemetry) if guide is None else guide.goal(picture, telemetry)


def mpc_config(config: PlanConfig, model: WorldModel) -> MpcConfig:
    """How to plan, by the options of the command."""
    if config.planner == "prior":
        return replace(guided_config(model), planner=None, horizon=2, execute=2, seed=config.seed)
    size: dict[str, Any] = {"population": config.population, "iterations": config.iterations}
    if isinstance(PLANNERS[config.planner], CemSettings):
        size["elites"] = max(2, config.population // 4)
    search = replace(PLANNERS[config.planner], **size)
    changes = {"horizon": config.horizon, "execute": config.execute, "time_budget": config.plan_seconds}
    return guided_config(model, search, seed=config.seed, **changes)


def solve(
    config: PlanConfig, model: WorldModel, guide: Guide | None, env: gym.Env[Any, Any], problems: list[Problem]
) -> tuple[dict[str, Any], list[Frame]]:
    """Run all problems; returns the report, and the frames of the film where one is wanted."""
    results: list[EpisodeResult] = []
    seconds: list[float] = []
    film: list[Frame] = []
    with progress("plan") as show:
        for number, problem in enumerate(problems, start=1):
            policy = MpcPolicy(model, problem.goals, config=mpc_config(config, model), guide=guide)
            watched = Filmed(policy, problem.picture, film) if config.video is not None and number <= FILMED else policy
            run = evaluate(watched, env, 1, problem.seed, problem.options, until_held=True)
            results += run.episodes
            seconds += policy.plan_seconds
            solved = sum(result.success for result in results)
            show(number / len(problems), f"{solved} of {number} solved")
    successes, n = sum(result.success for result in results), len(results)
    p50, p95 = np.percentile(1000 * np.array(seconds), (50, 95))
    steps = [result.steps_to_success for result in results if result.steps_to_success is not None]
    return {
        "env": config.env,
        "planner": config.planner,
        "model": model.config.name,
        "model_hash": model.digest(),
        "success_rate": successes / n,
        "wilson": list(wilson_interval(successes, n)),
        "episodes": n,
        "steps_p50": float(np.median(steps)) if steps else None,
        "plan_ms_p50": float(p50),
        "plan_ms_p95": float(p95),
        "runs": [{"seed": result.seed, "success": result.success} for result in results],
    }, film


FILMED: Final = 5  # runs in a film


class Filmed:
    """A planning policy that is filmed: now, imagined and goal, side by side."""

    def __init__(self, policy: MpcPolicy, goal: Frame, film: list[Frame]) -> None:
        """Film a policy that acts in a single environment, toward a goal picture, at the end of a film."""
        self._policy, self._goal, self._film = policy, goal, film
        self._imagined: list[Frame] = []

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """As the policy does."""
        plans = len(self._policy.plan_seconds)
        action, memory = self._policy.predict(observation, state, episode_start, deterministic)
        seen = observation[image_key(self._policy.model.config.camera)]
        if len(self._policy.plan_seconds) > plans:
            imagined = self._policy.explain(memory).frames[0].cpu().numpy()
            self._imagined = [seen, *main_view(imagined, self._policy.model.config.cameras)]
        expected = self._imagined.pop(0) if self._imagined else seen
        self._film.append(contact_sheet({"": [seen, expected, self._goal]}, ["now", "imagined", "goal"], scale=4))
        return action, memory
