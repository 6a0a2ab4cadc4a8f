"""`gwm plan`: reach goal images by planning in a learned world, acting in the physics twin or in a learned one.

With `--goal-episode FILE` run i begins where demonstration i began and its goal is the last frame at which that one had
fulfilled the task: the picture alone, unless `--goal-telemetry` gives what the robot reported with it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console

import gwm_sim.envs  # noqa: F401  # registers the ids
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.media.video import write_video
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.evaluation import Evaluation
from gwm_sim.policies.planning import GUIDE_FILE, Guide, MpcConfig, guided_config, learn_guide
from gwm_sim.policies.planning.goal_pictures import Picture
from gwm_sim.policies.planning.optimizers import sized
from gwm_sim.policies.planning.problems import episode_problems, make_env, picture_problems, solve
from gwm_sim.protocol import FIRST_EVALUATION_SEED


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


def main(config: PlanConfig) -> int:
    """Run `gwm plan`."""
    model = WorldModel.load(config.model)
    guide = find_guide(config, model)
    if not config.goal and config.goal_episode is None:
        return 0
    env, skipped = make_env(config.env, model, config.model), 0
    if config.goal_episode is not None:
        place, told = config.goal_episode, config.goal_telemetry
        problems, skipped = episode_problems(place, config.env, model, guide, config.episodes, told)
    else:
        problems = picture_problems(config.goal, model, guide, env, config.seed, config.episodes or 1)
    film: list[Picture] | None = None if config.video is None else []
    runs, seconds = solve(problems, model, mpc_config(config, model), guide, env, film)
    env.close()
    numbers = report(config, model, runs, seconds) | {"skipped_demos": skipped}
    low, high = numbers["wilson"]
    Console().print(
        f"{config.env}: sustained success {numbers['success_rate']:.1%} ({low:.1%} to {high:.1%}), "
        f"{numbers['episodes']} runs; a plan takes {numbers['plan_ms_p50']:.0f} ms, 95th percentile "
        f"{numbers['plan_ms_p95']:.0f} ms",
        highlight=False,
    )
    if skipped:
        print(f"skipped {skipped} demonstrations that never fulfilled the task")
    if config.video is not None and film is not None:
        write_video(config.video, film, model.config.schema.rate)
        print(f"film: {config.video}")
    if config.json is not None:
        write_json(config.json, numbers)
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


def mpc_config(config: PlanConfig, model: WorldModel) -> MpcConfig:
    """How to plan, by the options of the command."""
    if config.planner == "prior":
        return replace(guided_config(model), planner=None, horizon=2, execute=2, seed=config.seed)
    search = sized(config.planner, config.population, config.iterations)
    changes = {"horizon": config.horizon, "execute": config.execute, "time_budget": config.plan_seconds}
    return guided_config(model, search, seed=config.seed, **changes)


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
