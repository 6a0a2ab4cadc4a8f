"""What learning in a world of one's own is worth outside: a policy cloned from its recordings, and what it is after it
has learned in imagination alone, in the true environment from the same starts.

The world was learned from raw recordings (`own_worlds.py`). What is to be done is a goal picture, the last frame of a
recording of a validation seed. `gwm rl train` clones *all* recordings, whatever they were about, and learns on in the
learned world; of the true one it sees no step. Success, sustained, is by the environment's own rule. Starts that
satisfy it already are left out, and counted.

A run that was broken off goes on: folders of policies that are whole are kept, episodes that are done too.

python benchmarks/rl_own_world.py --world fetch --folder runs/own-worlds --out runs/rl-own-world
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import torch
from program import circumstances, launch, resumed
from worlds.rows import FIRST_TEST_SEED, gwm
from worlds.true_world import TrueWorld

from gwm_sim.envs import WORLD_ID
from gwm_sim.envs.spaces import image_key
from gwm_sim.evaluation.statistics import wilson_interval
from gwm_sim.files import write_json
from gwm_sim.media.video import write_png
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.engines.options import EngineOptions
from gwm_sim.policies.evaluation import evaluate
from gwm_sim.policies.policy import Policy
from gwm_sim.policies.rl.agents import SeeingAgent
from gwm_sim.policies.uniform import HoldPolicy, UniformPolicy
from gwm_sim.policies.worker_pool import WorkerPool
from gwm_sim.progress import progress

RESULTS = Path(__file__).resolve().parent / "results/rl"
FIRST = 2  # moment of an episode at which starts are: learned worlds begin with three frames
System = Literal["warm-start", "trained", "random", "hold"]
SYSTEMS: tuple[System, ...] = ("warm-start", "trained", "random", "hold")


@dataclass(frozen=True)
class RlOwnWorldConfig(EngineOptions):
    """Measure what learning in a world of one's own is worth outside."""

    world: Literal["fetch", "cube"] = "fetch"
    """Which world, a row of `own_worlds.py` whose rule asks for nothing but where its thing is."""
    minutes: float = 50.0
    """Of training, cloning included."""
    algo: str = "sac"
    """As of `gwm rl train`."""
    hyperparams: Path | None = None
    """As of `gwm rl train`."""
    goal_seed: int = 200_003
    """The goal is where things are at the end of the episode of this seed."""
    episodes: int = 200
    """In the true environment, of each policy."""
    steps: int = 80
    """Time limit there."""
    seed: int = FIRST_TEST_SEED
    """Seed of the first start; those of tests from 300000, for choices others."""
    folder: Path = Path("runs/own-worlds")
    """Where `own_worlds.py` has made data and models."""
    venvs: Path | None = None
    """Environments of the worlds, by default in FOLDER."""
    out: Path = Path("runs/rl-own-world")
    """Folder for goal picture and policies."""
    json: Path | None = None
    """What was measured; by default `WORLD.json` in results/rl."""

    @property
    def model(self) -> Path:
        """Folder of the world model."""
        return self.folder / self.world / "auto"

    @property
    def agents(self) -> dict[str, Path]:
        """Folders of what was trained."""
        return {system: self.out / self.world / system for system in ("warm-start", "trained")}


class Judge:
    """Runs policies in the true environment, in a worker process."""

    def __init__(self, config: RlOwnWorldConfig) -> None:
        torch.set_num_threads(1)
        world = WorldModel.load(config.model).config
        true = TrueWorld(config.world, world.schema, world.camera, config.venvs or config.folder / "venvs")
        true.aim(config.goal_seed, true.play(config.goal_seed) - 1)
        self.goal = true.goal[image_key(world.camera)]
        """What is seen at the goal."""
        self._config, self._control = config, world.control
        self._env: gym.Env[Any, Any] = gym.wrappers.TimeLimit(true, config.steps)
        self._agents: dict[str, SeeingAgent] = {}

    def begins_solved(self, seed: int) -> tuple[int, bool]:
        """Whether the start of a seed satisfies the goal."""
        return seed, bool(self._env.reset(seed=seed, options={"first": FIRST})[1]["success"])

    def attempt(self, system: System, seed: int) -> tuple[int, bool]:
        """Whether a policy succeeds from the start of a seed."""
        result = evaluate(self._policy(system, seed), self._env, 1, seed, {"first": FIRST}, until_sustained=True)
        return seed, result.episodes[0].success

    def _policy(self, system: System, seed: int) -> Policy:
        space: Any = self._env.action_space
        if system == "random":
            return UniformPolicy(space, seed)
        if system == "hold":
            return HoldPolicy(space, self._control)
        if system not in self._agents:
            self._agents[system] = SeeingAgent(self._config.agents[system])
        return self._agents[system]


def train(config: RlOwnWorldConfig, goal: Path) -> dict[str, Any]:
    """Clone, and learn on from there; return how the policies fare in the learned world."""
    recipe = ("--hyperparams", config.hyperparams) if config.hyperparams else ()
    task = ("--env", WORLD_ID, "--model", config.model, "--goal", goal, "--algo", config.algo, *recipe)
    recordings = config.folder / config.world / "train.hdf5"
    imagined = {}
    for system, budget in (("warm-start", ("--steps", 0)), ("trained", ("--minutes", config.minutes))):
        out = config.agents[system]
        told = out.with_suffix(".json")
        if not told.exists():
            going_on = ("--resume",) if (out / "config.json").exists() else ()
            words = (*task, *budget, "--warm_start", recordings, "--out", out, "--json", told, *going_on)
            gwm("rl", "train", *words, "--eval_episodes", 100, "--eval_minutes", 0, "--keep")
        imagined[system] = json.loads(told.read_text(encoding="utf-8"))["scores"]
    return imagined


def starts(pool: WorkerPool[Judge], config: RlOwnWorldConfig) -> tuple[list[int], int]:
    """Seeds of starts that do not satisfy the goal already, and how many did."""
    found: list[int] = []
    solved, first = 0, config.seed
    while len(found) < config.episodes:
        looks = dict(pool.run([partial(Judge.begins_solved, seed=first + i) for i in range(config.episodes)]))
        for seed in sorted(looks)[: config.episodes]:
            if len(found) < config.episodes:
                found, solved = (found, solved + 1) if looks[seed] else ([*found, seed], solved)
        first += config.episodes
    return found, solved


def judge(pool: WorkerPool[Judge], system: System, seeds: list[int]) -> dict[str, Any]:
    """Success of a policy from some starts."""
    done: dict[int, bool] = {}
    with progress(f"{system}, true environment") as show:
        for seed, success in pool.run([partial(Judge.attempt, system=system, seed=seed) for seed in seeds]):
            done[seed] = success
            show(len(done) / len(seeds), f"{sum(done.values())} of {len(done)}")
    reached = sum(done.values())
    return {
        "success": reached / len(seeds),
        "wilson": list(wilson_interval(reached, len(seeds))),
        "episodes": len(seeds),
        "failed": sorted(seed for seed, success in done.items() if not success),
    }


def main(config: RlOwnWorldConfig) -> None:
    """Train what is missing, and judge what was not judged."""
    path = config.json or RESULTS / f"{config.world}.json"
    told = ("world", "minutes", "algo", "goal_seed", "episodes", "steps", "seed")
    identity = {"model_hash": WorldModel.load(config.model).digest(), **{name: getattr(config, name) for name in told}}
    report = resumed(path, identity, {"true": {}})
    goal = config.out / config.world / "goal.png"
    if not goal.exists():
        goal.parent.mkdir(parents=True, exist_ok=True)
        write_png(goal, Judge(config).goal)
    report["imagined"] = train(config, goal)
    with config.pool(partial(Judge, config)) as pool:
        if "starts" not in report:
            report["starts"], report["solved_starts"] = starts(pool, config)
        for system in SYSTEMS:
            if system not in report["true"]:
                report["true"][system] = judge(pool, system, report["starts"])
                write_json(path, report | circumstances())
    for system in SYSTEMS:
        low, high = report["true"][system]["wilson"]
        print(f"{system}: {report['true'][system]['success']:.1%} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    launch(main, RlOwnWorldConfig)
