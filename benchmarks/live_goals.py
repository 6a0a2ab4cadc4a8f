"""How often the live loop of `gwm run --move` gets a robot to goal pictures, in real time.

The robot is the true simulator of a world that is not ours, at its own rate, seen through a camera that looks when it
likes; what drives it was learned from recordings. Start and goal are two moments of the same held-out recording, 25
steps apart, as in `goals.py`, with twice as many steps to get there, each a period of the robot's: time goes on while
plans are made. Success is by the world's own rule, at any step.

Each goal is written when it is done, and a program that is started again goes on. On a machine with other things to do
`--slower 4` lets all of the loop's time pass at a quarter: what a plan may take is four times as long.

python benchmarks/live_goals.py --world fetch --folder runs/own-worlds
"""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command `gwm` does, before torch is imported

import numpy as np
from goals import Bench, GoalsConfig, Pair, World, pairs_of
from program import circumstances, launch, resumed
from worlds.rows import FIRST_TEST_SEED
from worlds.true_world import TrueWorld

from gwm_sim.envs.spaces import image_key
from gwm_sim.evaluation.statistics import wilson_interval
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.live import Camera, Limits, LiveLoop, LoopConfig, ModelPlanner
from gwm_sim.policies.live.env_robot import EnvRobot
from gwm_sim.policies.live.model_planner import lead_of, live_config
from gwm_sim.policies.live.safety import declare
from gwm_sim.policies.live.timing import Clock
from gwm_sim.policies.planning import Examples, Goal
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.worker_pool import WorkerPool
from gwm_sim.progress import progress

RESULTS = Path(__file__).resolve().parent / "results/live"


@dataclass(frozen=True)
class LiveGoalsConfig:
    """Measure how often the live loop gets a robot to goal pictures."""

    world: World = "fetch"
    """Which world, a row of `own_worlds.py`."""
    goals: int = 50
    """Goal pictures."""
    ahead: int = 25
    """Steps of the recording between start and goal; twice as many to get there."""
    seed: int = FIRST_TEST_SEED
    """Seed of the first recording; those of tests from 300000, for choices others."""
    told: bool = False
    """Also tell the planner what the robot reports at the goal."""
    plan_seconds: float = 0.2
    """Time for a plan, as of `gwm run`."""
    slower: float = 1.0
    """How many times as slowly time passes for the loop."""
    folder: Path = Path("runs/own-worlds")
    """Where `own_worlds.py` has made data and models."""
    venvs: Path | None = None
    """Environments of the worlds, by default in FOLDER."""
    json: Path | None = None
    """What was measured; by default `WORLD.json` in results/live."""


class SlowClock(Clock):
    """Time that passes more slowly than it does."""

    def __init__(self, slower: float) -> None:
        """Pass so many times as slowly."""
        self._slower = slower

    def now(self) -> float:
        """The present moment [s of the loop]."""
        return super().now() / self._slower

    def wait(self, event: Event, seconds: float) -> bool:
        """Wait for an event, at most so long."""
        return super().wait(event, seconds * self._slower)


def attempt(
    model: WorldModel, examples: Examples | None, env: TrueWorld, pair: Pair, config: LiveGoalsConfig
) -> dict[str, Any]:
    """Drive the robot from the start of a pair towards its goal."""
    world, clock = model.config, SlowClock(config.slower)
    rate, budget = world.schema.rate, 2 * pair.ahead
    robot = EnvRobot(env, world, pair.seed, {"first": pair.first, "goal": pair.first + pair.ahead}, clock)
    goal = Goal.image(model, env.goal[image_key(world.camera)], env.goal["agent_pos"] if config.told else None)
    how = live_config(model, None, config.plan_seconds, rate, examples)
    how = replace(how, seed=pair.seed + 1000 * pair.first, time_budget=config.plan_seconds * config.slower)
    planner = ModelPlanner(model, [goal], config=how, examples=examples)
    control = declare(world.control, world.schema.action_names)  # of these robots it is known, whatever files say
    limits = Limits.of(control, steps=Moves(model).steps)
    options = LoopConfig(
        rate=rate, lead=lead_of(config.plan_seconds, rate), seconds=budget / rate, move=True, settle=0.1
    )
    size = world.tokenizer.height, world.tokenizer.width
    with Camera(robot.camera, clock=clock) as camera:
        camera.start()
        robot.connect()
        loop = LiveLoop(camera, robot, planner, control, size, options, limits, clock=clock)
        report = loop.run(lambda _: loop.stop("reached") if robot.succeeded else None)
    return {
        "reached": robot.succeeded_at is not None and robot.succeeded_at <= budget,
        "at": robot.succeeded_at,
        "steps": report.steps,
        "late": report.overruns,
        "waits": report.waits,
        "plan_ms": [round(1000 * seconds) for seconds in report.plan_seconds],
        "fault": report.stop.reason if report.stop.fault else None,
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What came of the goals that were tried."""
    reached, steps = sum(run["reached"] for run in runs), sum(run["steps"] for run in runs)
    late, plans = sum(run["late"] for run in runs), [ms for run in runs for ms in run["plan_ms"]]
    return {
        "goals": len(runs),
        "reached": reached / len(runs),
        "wilson": list(wilson_interval(reached, len(runs))),
        "late_steps": late / max(1, steps + late),
        "steps_without_a_plan": sum(run["waits"] for run in runs) / max(1, steps),
        "plan_ms_p50": float(np.median(plans)) if plans else None,
        "plan_ms_p95": float(np.quantile(plans, 0.95)) if plans else None,
        "faults": sum(run["fault"] is not None for run in runs),
    }


def main(config: LiveGoalsConfig) -> None:
    """Try all goals; those that a results file holds already are not tried again."""
    folder, venvs = config.folder / config.world / "auto", config.venvs or config.folder / "venvs"
    model = WorldModel.load(folder)
    told = ("world", "goals", "ahead", "seed", "told", "plan_seconds", "slower")
    examples = Examples.beside(model, folder)
    identity = {
        "model_hash": model.digest(),
        "examples": examples is not None,
        **{name: getattr(config, name) for name in told},
    }
    path = config.json or RESULTS / f"{config.world}.json"
    report = resumed(path, identity, {"runs": {}})
    if "pairs" not in report:
        asked = GoalsConfig(pairs=config.goals, seed=config.seed)
        with WorkerPool(partial(Bench, config.world, config.folder, venvs, ()), 1) as pool:
            report["pairs"], report["displacement"] = pairs_of(pool, asked, config.ahead)
    env = TrueWorld(config.world, model.config.schema, model.config.camera, venvs)
    with progress(f"{config.world}, live") as show:
        for number, pair in enumerate(Pair(*values) for values in report["pairs"]):
            name = str(number)
            if name not in report["runs"]:
                report["runs"][name] = attempt(model, examples, env, pair, config)
                report["summary"] = summary(list(report["runs"].values()))
                write_json(path, report | circumstances())
            show((number + 1) / config.goals, f"{report['summary']['reached']:.0%} reached")
    env.close()
    print(report["summary"])


if __name__ == "__main__":
    launch(main, LiveGoalsConfig)
