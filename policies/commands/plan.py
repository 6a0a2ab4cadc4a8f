"""`gwm plan`: reach goal images by planning in a learned world, acting in the physics twin or in a learned one.

With `--goal-episode FILE` run i begins where episode i began and its goal is the last frame at which that one had
fulfilled the task, or its last frame of all where no task is named: the picture alone, unless `--goal-telemetry` gives
what the robot reported with it. `--task` alone plans for a label or a function, without any picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import gymnasium as gym
import numpy as np
import torch
from rich.console import Console

import gwm_sim.envs  # noqa: F401  # registers the ids
from gwm_sim.envs.blocks.spec import task_of
from gwm_sim.envs.learned.tasks import is_function
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.media.video import write_video
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.engines.options import OptionalWorkers
from gwm_sim.policies.evaluation import Evaluation
from gwm_sim.policies.planning import (
    GUIDE_FILE,
    Examples,
    Guide,
    MpcConfig,
    guided_config,
    learn_guide,
    searching_config,
)
from gwm_sim.policies.planning.optimizers import sized
from gwm_sim.policies.planning.problems import (
    Problem,
    Recordings,
    Run,
    episode_problems,
    make_env,
    picture_problems,
    solve,
    task_problems,
)
from gwm_sim.policies.worker_pool import Job
from gwm_sim.progress import progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED


@dataclass(frozen=True)
class PlanConfig(OptionalWorkers):
    """Reach goal images by planning in a learned world."""

    env: str = "MuJoCo-BlockStack-v0"
    """Where to act: the twin of the block world, or a learned world, such as GWM-World-v0 for that of --model."""
    task: str | None = None
    """In GWM-World-v0, what is to be done: a label of the model's data, or a function FILE.py:NAME. By default that the
    goal is reached."""
    goal: tuple[Path, ...] = ()
    """Pictures of what the camera should see, one after the other."""
    goal_episode: str | None = None
    """FILE[:K]: start and goal of episode K, or of all, one after the other."""
    ahead: int | None = None
    """The goal is so many steps after the start of the episode, and not its end."""
    goal_telemetry: bool = False
    """Also use what the robot reported at the goal; by default it is read from the picture."""
    planner: Literal["icem", "cem", "mppi", "prior"] = "icem"
    """How to search; prior follows the cloned policy of a guide without a search. A robot with a gripper follows what
    recordings show in a world of one's own, and nothing is searched, unless with --prior none."""
    model: str = "gwm-mini"
    """Name or folder of the world model to plan in."""
    guide: Path | None = None
    """Demonstrations and what was learned from them; by default guide.safetensors beside the model."""
    prior: Literal["guide", "none"] = "guide"
    """What a search begins with: the guide, where there is one, else examples from the recordings that the model was
    learned from, or none."""
    demos: tuple[Path, ...] = ()
    """Learn the guide from these episode files first, and write it to --guide; without a goal that is all."""
    population: int | None = None
    """Candidates of a search; by default 8 around what a guide proposes, and 128 without one."""
    iterations: int | None = None
    """Rounds of a search; by default 1 with a guide and 3 without."""
    horizon: int | None = None
    """Length of a plan [steps]; by default 8 with a guide and 24 without, where 3 steps each have the same action: it
    is rounded up to a multiple of these."""
    execute: int | None = None
    """Steps that are executed before the next plan; by default 5 with a guide and 3 without, rounded up as the
    horizon is. prior looks again after every second one."""
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
        super().__post_init__()
        given = bool(self.goal) + (self.goal_episode is not None)
        if given == 2 or (given == 0 and not self.demos and self.task is None):
            raise ConfigError("give either --goal PICTURE... or --goal-episode FILE[:K], or a --task")
        if self.ahead is not None and (self.goal_episode is None or self.ahead < 1):
            raise ConfigError(f"--ahead is a number of steps into a --goal-episode, got {self.ahead}")
        if self.demos and self.guide is None:
            raise ConfigError(f"--demos learns a guide: say where to write it, such as --guide {GUIDE_FILE}")
        if self.episodes is not None and self.episodes < 1:
            raise ConfigError(f"--episodes must be at least 1, got {self.episodes}")

    @property
    def pictured(self) -> bool:
        """Whether goals are pictures."""
        return bool(self.goal) or self.goal_episode is not None


FILMED: Final = 5  # runs in a film


def main(config: PlanConfig) -> int:
    """Run `gwm plan`."""
    if config.demos:
        learn_demos(config)
    if not config.pictured and config.task is None:
        return 0
    solver = Solver(config)
    problems, skipped = find_problems(config, solver.model, solver.guide, solver.env)
    runs = solve_all(config, problems, solver)
    solver.env.close()
    seconds = [second for run in runs for second in run.plan_seconds]
    evaluation = Evaluation(tuple(run.result for run in runs))
    numbers = report(config, solver.model, evaluation, seconds) | {"skipped_demos": skipped}
    low, high = numbers["wilson"]
    Console().print(
        f"{config.env}: sustained success {numbers['success_rate']:.1%} ({low:.1%} to {high:.1%}), "
        f"{numbers['episodes']} runs; a plan takes {numbers['plan_ms_p50']:.0f} ms, 95th percentile "
        f"{numbers['plan_ms_p95']:.0f} ms",
        highlight=False,
    )
    if skipped:
        print(f"skipped {skipped} episodes that show no goal, or one that is reached where they begin")
    if config.video is not None:
        write_video(config.video, [picture for run in runs for picture in run.film], solver.model.config.schema.rate)
        print(f"film: {config.video}")
    if config.json is not None:
        write_json(config.json, numbers)
    return 0


class Solver:
    """Acts and plans as the options say: one in this process, others in those of workers."""

    def __init__(self, config: PlanConfig, threads: int | None = None) -> None:
        """Load everything; compute with so many `threads`, or as many as are usual."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.model = WorldModel.load(config.model)
        guide = find_guide(config, self.model)
        self.guide = guide if config.pictured else None  # it knows ways to pictures, not to tasks, and so do examples
        self.env = make_env(config.env, self.model, config.model, config.task)
        by_example = config.pictured and self.guide is None and config.prior != "none"
        self._examples = Examples.beside(self.model, config.model) if by_example else None
        self._how = mpc_config(config, self.model, self.guide, self._examples)

    def solve(self, number: int, problem: Problem, filmed: bool) -> tuple[int, Run]:
        """Run a problem; returns its number with what came of it."""
        return number, solve(problem, self.model, self._how, self.guide, self.env, self._examples, filmed)


def solve_all(config: PlanConfig, problems: Sequence[Problem], solver: Solver) -> list[Run]:
    """Run all problems, in this process by its `solver` unless workers are asked for."""
    film = 0 if config.video is None else FILMED
    jobs = [
        Job(f"run {i} from seed {problem.seed}", partial(Solver.solve, number=i, problem=problem, filmed=i < film))
        for i, problem in enumerate(problems)
    ]
    make_solver: Callable[[], Solver] = (lambda: solver) if config.alone else partial(Solver, config, threads=1)
    runs: dict[int, Run] = {}
    with progress("plan") as show:
        for number, run in config.run(jobs, make_solver):
            runs[number] = run
            solved = sum(run.result.success for run in runs.values())
            show(len(runs) / len(problems), f"{solved} of {len(runs)} solved")
    return [runs[number] for number in sorted(runs)]


def find_problems(
    config: PlanConfig, model: WorldModel, guide: Guide | None, env: gym.Env[Any, Any]
) -> tuple[list[Problem], int]:
    """What is asked for, and how many recorded episodes are left out."""
    task = config.task or (task_of(config.env) if config.ahead is None else None)
    if config.goal_episode is not None:
        asked = Recordings(
            place=config.goal_episode,
            env_id=config.env,
            task=None if is_function(task) else task,
            ahead=config.ahead,
            most=config.episodes,
            told=config.goal_telemetry,
            reached=task is None,
        )
        return episode_problems(asked, model, guide, env if asked.reached else None)
    runs = config.episodes or 1
    if config.goal:
        return picture_problems(config.goal, model, guide, env, config.seed, runs, judged=task is not None), 0
    return task_problems(model, str(task), config.seed, runs), 0


def learn_demos(config: PlanConfig) -> None:
    """Learn the guide that is asked for."""
    assert config.guide is not None
    if config.guide.exists():
        raise ConfigError(f"--guide {config.guide} exists already: leave --demos out to use it, or name another file")
    learn_guide(WorldModel.load(config.model), config.demos).save(config.guide)
    print(f"learned a guide: {config.guide}")


def find_guide(config: PlanConfig, model: WorldModel) -> Guide | None:
    """The guide that is asked for; the one beside the model by default."""
    if config.prior == "none":
        return None
    if config.guide is not None:
        return Guide.load(model, config.guide)
    guide = Guide.beside(model, config.model)
    if guide is None and config.planner == "prior":
        raise ConfigError(f"{config.model} has no {GUIDE_FILE}, which --planner prior follows: learn one with --demos")
    return guide


def mpc_config(
    config: PlanConfig, model: WorldModel, guide: Guide | None, examples: Examples | None = None
) -> MpcConfig:
    """How to plan, by the options of the command."""
    usual = searching_config(model, examples=examples) if guide is None else guided_config(model)
    if config.planner == "prior":
        return replace(usual, planner=None, horizon=2, execute=2, seed=config.seed)
    search, block = usual.planner, usual.block
    assert search is not None
    size = (
        search.population if config.population is None else config.population,
        search.iterations if config.iterations is None else config.iterations,
    )
    changes: dict[str, Any] = {"time_budget": config.plan_seconds, "seed": config.seed}
    for name in ("horizon", "execute"):
        if (steps := getattr(config, name)) is not None:
            changes[name] = -(-steps // block)
    changes.setdefault("execute", min(usual.execute, changes.get("horizon", usual.horizon)))
    settings = sized(config.planner, *size)
    if guide is None:
        return searching_config(model, settings, examples, **changes)
    return guided_config(model, settings, **changes)


def report(config: PlanConfig, model: WorldModel, runs: Evaluation, seconds: list[float]) -> dict[str, Any]:
    """The numbers of all runs."""
    p50, p95 = np.percentile(1000 * np.array(seconds), (50, 95))
    return {
        "env": config.env,
        "planner": config.planner,
        "model": model.config.name,
        "model_hash": model.digest(),
        "success_rate": runs.success_rate,
        "wilson": list(runs.interval),
        "episodes": len(runs.episodes),
        "steps_p50": runs.median_steps,
        "plan_ms_p50": float(p50),
        "plan_ms_p95": float(p95),
        "runs": [{"seed": run.seed, "success": run.success} for run in runs.episodes],
    }
