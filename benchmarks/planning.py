"""How often goal images are reached by planning in the learned world, acting in the physics twin.

python benchmarks/planning.py --json benchmarks/results/planning.json

Full episodes: start and goal are those of a scripted demonstration, the goal being the picture of its last success and
nothing else. Moments: start and goal are two moments of a recording of mixed behaviour, so many steps apart; nothing is
in flight at the goal: each cube rests or is in the hand. Reached is what brings end-effector and both cubes within 2
cm, in twice as many steps. A search that has neither demonstrations nor a prior is measured in its slow form and with
100 ms a plan, beside the same search in the true simulator. Success is sustained success, starts are unsolved. Systems
that are compared meet the same starts. The time of a plan is measured first, alone; then runs are spread over worker
processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command `gwm` does, before torch is imported

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from peers.simulator import SimulatorPolicy
from program import launch, resumed, runs_of

from gwm_sim.envs.blocks.spec import TASKS, TIME_LIMIT, action_space, env_id
from gwm_sim.envs.spaces import image_key
from gwm_sim.envs.tabletop.paired import twin_options
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.statistics import wilson_interval
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.blocks.behaviours import mixed
from gwm_sim.policies.blocks.experts import expert
from gwm_sim.policies.commands.plan import PlanConfig, mpc_config
from gwm_sim.policies.engines.options import EngineOptions
from gwm_sim.policies.evaluation import EpisodeResult, evaluate
from gwm_sim.policies.planning import Goal, Guide, MpcPolicy, searching_config
from gwm_sim.policies.policy import Policy
from gwm_sim.policies.rollout import rollout
from gwm_sim.policies.uniform import HoldPolicy
from gwm_sim.policies.worker_pool import WorkerPool
from gwm_sim.protocol import FIRST_EVALUATION_SEED

AHEAD: Final = (10, 25, 50)  # steps between start and goal
FIRST_MOMENT: Final = 20  # of a recording, at which runs to a later one begin [steps]
NEAR: Final = 0.02  # [m]
STILL, HELD = 0.003, 0.04  # how far what rests moves in a step, and how far what is held is from the hand [m], at most
FAST: Final = 0.1  # time for a plan in real time [s]
CEILING: Final = 20  # runs of the search in the true simulator, which takes seconds for a plan
GUIDED: Final = ("icem", "prior")
SEARCHES: Final = ("search", "search-fast")


@dataclass(frozen=True)
class PlanningConfig(EngineOptions):
    """Measure goal-image planning in the physics twin."""

    model: str = "gwm-mini"
    """Name of a shipped model, or the folder of one with its guide beside it."""
    episodes: int = 200
    """Runs of each system; `benchmarks/experts.py` has the floors of full episodes."""
    fewer: int = 50
    """Full episodes in the true simulator, and searches there at most; 0 leaves searches and the simulator out."""
    timed: int = 5
    """Episodes of each task in which plans are timed."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of the first start."""
    only: tuple[str, ...] = ()
    """Do these runs alone, such as moment-25/search; by default all."""
    json: Path | None = None
    """Write the numbers here; finished systems that stand there already are kept."""


class Job(NamedTuple):
    """One run."""

    system: str
    kind: str  # a task or "moment-N"
    seed: int


class Reached(gym.Wrapper[Any, Any, Any, Any]):
    """A twin that starts in a given state, in which success is to bring robot and objects where they were at a goal."""

    def __init__(self, env: gym.Env[Any, Any], start: Any, effector: NDArray[Any], objects: NDArray[Any]) -> None:
        """Wrap a twin, for the state `start` and the goal's effector (3,) and object positions (K, 3) [m]."""
        super().__init__(env)
        self._start, self._effector, self._objects = start, effector, objects

    def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Go to the start."""
        _, info = self.env.reset(**kwargs)
        return self.env.unwrapped.set_state(self._start), info | {"success": self.reached()}  # type: ignore[attr-defined]

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the twin and compare it with the goal."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, info | {"success": self.reached()}

    def reached(self) -> bool:
        """Whether end-effector and objects are where the goal wants them."""
        state = self.env.unwrapped.task_state()  # type: ignore[attr-defined]
        places = np.vstack((state.end_effector - self._effector, state.position - self._objects))
        return bool((np.linalg.norm(places, axis=-1) <= NEAR).all())


class Bench:
    """Does runs, in a worker process: one world model, and per task a twin to act in and one for demonstrations."""

    def __init__(self, model: str, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self.model = WorldModel.load(model)
        guide = Guide.beside(self.model, model)
        if guide is None:
            raise ConfigError(f"{model} has no guide: `gwm plan --demos` learns one")
        self.guide = guide
        self._twins: dict[str, tuple[gym.Env[Any, Any], gym.Env[Any, Any]]] = {}

    def attempt(self, job: Job) -> tuple[Job, EpisodeResult | None, list[float]]:
        """Do a run; the result is None where there is nothing to reach."""
        problem = self.moment(job) if job.kind.startswith("moment") else self.demonstration(job)
        if problem is None:
            return job, None, []
        env, goal = problem
        policy = self.policy(job, env, goal)
        result = evaluate(policy, env, 1, job.seed, until_sustained=True).episodes[0]
        return job, result, getattr(policy, "plan_seconds", [])

    def policy(self, job: Job, env: gym.Env[Any, Any], goal: Goal) -> Policy:
        """The system under test."""
        if job.system == "hold":
            return HoldPolicy(action_space())
        if job.system.startswith("search"):
            budget = FAST if job.system.endswith("fast") else None
            searching = searching_config(self.model, seed=job.seed, time_budget=budget)
            if job.system.endswith("simulator"):
                return SimulatorPolicy(self.model, goal, config=searching).attach(env)
            return MpcPolicy(self.model, goal, config=searching)
        planner: Any = job.system.partition("-")[0]
        config = mpc_config(PlanConfig(goal_episode="-", planner=planner, seed=job.seed), self.model, self.guide)
        if job.system.endswith("simulator"):
            return SimulatorPolicy(self.model, goal, config=config, guide=self.guide).attach(env)
        return MpcPolicy(self.model, goal, config=config, guide=self.guide)

    def demonstration(self, job: Job) -> tuple[gym.Env[Any, Any], Goal] | None:
        """Start and goal of the scripted expert; None where it fails."""
        twin, plain = self.twins(job.kind)
        observation, _ = plain.reset(seed=job.seed)
        acting = rollout(expert(plain, seed=job.seed), plain, observation)
        last = None
        for step in islice(acting, TIME_LIMIT[job.kind]):
            last = plain.unwrapped.get_state() if step.info["success"] else last  # type: ignore[attr-defined]
        return None if last is None else (twin, self.goal(twin, last))

    def moment(self, job: Job) -> tuple[gym.Env[Any, Any], Goal] | None:
        """Two moments of a recording of mixed behaviour; None where the first is like the second, or something flies
        at the second."""
        twin, plain = self.twins("stack")
        steps = int(job.kind.partition("-")[2])
        observation, _ = plain.reset(seed=job.seed)
        acting = islice(rollout(mixed(plain, job.seed), plain, observation), FIRST_MOMENT + steps)
        scene: Any = plain.unwrapped
        snapshots, places = zip(*((scene.get_state(), scene.task_state()) for _ in acting), strict=True)
        start, end = snapshots[FIRST_MOMENT - 1], snapshots[-1]
        if in_flight(*places[-2:]):
            return None
        goal = self.goal(twin, end)
        there: Any = twin.unwrapped
        effector, objects = there.task_state().end_effector, there.objects()[:, :3].astype(np.float64)
        env = Reached(there, start, effector, objects)  # which has no time limit of a task
        there.set_state(start)
        if env.reached():
            return None
        return gym.wrappers.TimeLimit(env, 2 * steps), goal

    def goal(self, twin: gym.Env[Any, Any], snapshot: Any) -> Goal:
        """What the picture of a state shows."""
        observation = twin.unwrapped.set_state(snapshot)  # type: ignore[attr-defined]
        return self.guide.goal(observation[image_key(self.model.config.camera)])

    def twins(self, task: str) -> tuple[gym.Env[Any, Any], gym.Env[Any, Any]]:
        """A twin that looks as the model's data, and one for scripts, which is drawn small and plainly."""
        if task not in self._twins:
            self._twins[task] = (
                gym.make(env_id("twin", task), **twin_options(self.model.config)),
                gym.make(env_id("twin", task), size=8, rendering="fast", max_episode_steps=-1),
            )
        return self._twins[task]


def in_flight(before: Any, now: Any) -> bool:
    """Whether a cube moves from one task state to the next without being in the hand."""
    moves = np.linalg.norm(now.position - before.position, axis=-1) > STILL
    held = np.linalg.norm(now.position - now.end_effector, axis=-1) < HELD
    return bool((moves & ~held).any())


def jobs_of(config: PlanningConfig) -> dict[str, list[Job]]:
    """All runs, by "kind/system"."""
    moments = [f"moment-{n}" for n in AHEAD]
    searched = config.episodes if config.fewer else 0
    systems = [(task, system, config.episodes) for system in GUIDED for task in TASKS]
    systems += [(task, "icem-simulator", config.fewer) for task in TASKS]
    systems += [(task, "search", searched) for task in ("grasp", "stack")]
    systems += [(moment, system, searched) for system in (*SEARCHES, "prior", "hold") for moment in moments]
    systems += [(moment, "search-simulator", min(CEILING, config.fewer)) for moment in moments]
    return {
        f"{kind}/{system}": [Job(system, kind, config.seed + i) for i in range(count)]
        for kind, system, count in systems
        if count and (not config.only or f"{kind}/{system}" in config.only)
    }


def main(config: PlanningConfig) -> None:
    """Time the plans while nothing else runs, then do the runs; what the report holds already is not done again."""
    bench = Bench(config.model, None)
    assert bench.guide.file is not None
    identity = {
        "model": bench.model.config.name,
        "model_hash": bench.model.digest(),
        "guide": sha256(bench.guide.file.read_bytes()).hexdigest()[:16],
        "seed": config.seed,
    }
    report = resumed(config.json, identity, {"results": {}, "plan_ms": {}})
    begun = None if config.json is None else config.json.with_suffix(".begun.json")
    for planner in () if config.only else (*GUIDED, *SEARCHES) if config.fewer else GUIDED:
        if planner not in report["plan_ms"]:
            report["plan_ms"][planner] = time_plans(bench, planner, config)
            write(config, report)
    with config.pool(partial(Bench, config.model, 1)) as pool:
        for name, jobs in jobs_of(config).items():
            if report["results"].get(name, {}).get("runs", 0) < len(jobs):
                report["results"][name] = run(pool, name, jobs, begun, identity)
                write(config, report)
                if begun is not None:
                    begun.unlink(missing_ok=True)


def time_plans(bench: Bench, planner: str, config: PlanningConfig) -> dict[str, float]:
    """How long a plan takes with all cores [ms], in the first episodes of each task."""
    seconds: list[float] = []
    for task in TASKS:
        for i in range(config.timed):
            seconds += bench.attempt(Job(planner, task, config.seed + i))[2]
    p50, p95 = np.percentile(1000 * np.array(seconds), (50, 95))
    print(f"{planner:11} plan {p50:.0f} ms, 95th percentile {p95:.0f} ms", flush=True)
    return {"p50": round(float(p50), 1), "p95": round(float(p95), 1), "plans": len(seconds)}


def run(pool: WorkerPool[Bench], name: str, jobs: list[Job], begun: Path | None, identity: dict[str, Any]) -> Any:
    """Do the runs of one system; those that a file says were done before it was killed are not done again."""
    by_name = {str(job.seed): job for job in jobs}

    def do(left: list[str]) -> Iterator[tuple[str, Any]]:
        for job, result, took in pool.run(partial(Bench.attempt, job=by_name[seed]) for seed in left):
            yield str(job.seed), (None if result is None else [result.success, result.steps_to_success], took)

    def told(done: dict[str, Any]) -> str:
        ended = [result for result, _ in done.values() if result is not None]
        return f"{sum(success for success, _ in ended)} of {len(ended)} solved"

    runs = runs_of(begun, identity | {"runs of": name}, list(by_name), do, told)
    ended = {job.seed: result for job, (result, _) in zip(jobs, runs, strict=True) if result is not None}
    successes, n = sum(success for success, _ in ended.values()), len(ended)
    steps = [steps for _, steps in ended.values() if steps is not None]
    seconds = [second for _, took in runs for second in took]
    return {
        "success_rate": successes / n,
        "wilson": list(wilson_interval(successes, n)),
        "episodes": n,
        "runs": len(jobs),
        "median_steps": float(np.median(steps)) if steps else None,
        "plan_ms": round(1000 * float(np.median(seconds)), 1) if seconds else None,
        "failed_seeds": sorted(seed for seed, (success, _) in ended.items() if not success),
    }


def write(config: PlanningConfig, report: dict[str, Any]) -> None:
    """Keep what is known so far."""
    if config.json is not None:
        write_json(config.json, report)


if __name__ == "__main__":
    launch(main, PlanningConfig)
