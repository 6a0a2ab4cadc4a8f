"""How often goals some steps ahead are reached in worlds that are not ours, by the published protocol.

Start and goal are two moments of the same held-out recording, 25 steps apart with 50 steps to get there, or 50 apart
with 100; time limits are lifted, and success at any step, by the environment's own rule, counts. Only pairs count whose
thing is displaced far enough (PushT: 20 px or 15 degrees; cube: 4 cm; Fetch: 5 cm) and is not there already. Models,
and what they learned from, are those of `own_worlds.py`; what acts is the true simulator, in a process with packages of
its own. Beside the search stand what needs no model.

python benchmarks/goals.py --worlds pusht cube --folder runs/own-worlds
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command `gwm` does, before torch is imported

import numpy as np
import torch
from program import circumstances, launch, resumed, runs_of
from worlds.cloned import CloneAgent
from worlds.rows import FIRST_TEST_SEED, TESTS
from worlds.true_world import TrueWorld

from gwm_sim.envs.spaces import Observation, image_key
from gwm_sim.evaluation.statistics import wilson_interval
from gwm_sim.files import write_json
from gwm_sim.model.checkpoint import STATES_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.engines.options import EngineOptions
from gwm_sim.policies.planning import Examples, Goal, MpcPolicy, searching_config
from gwm_sim.policies.policy import Policy
from gwm_sim.policies.uniform import HoldPolicy, UniformPolicy
from gwm_sim.policies.worker_pool import WorkerPool

RESULTS = Path(__file__).resolve().parent / "results/goals"
FIRST, LAST = 4, 70  # moments of a recording between which a pair lies

System = Literal["search", "search-picture", "search-alone", "clone", "hold", "random"]
World = Literal["pusht", "cube", "fetch"]


@dataclass(frozen=True)
class GoalsConfig(EngineOptions):
    """Measure how often goals some steps ahead are reached in worlds that are not ours."""

    worlds: tuple[World, ...] = ("pusht", "cube")
    """Which worlds, rows of `own_worlds.py`."""
    systems: tuple[System, ...] = ("search", "search-picture", "clone", "hold", "random")
    """What acts. `search` is told what the robot reports at the goal, beside the picture; `search-picture` is not, and
    `search-alone` does without examples of recordings; `clone` is a policy cloned from these, told as much."""
    ahead: tuple[int, ...] = (25, 50)
    """Steps between start and goal; twice as many to get there."""
    pairs: int = 200
    """Of start and goal."""
    seed: int = FIRST_TEST_SEED
    """Seed of the first recording; those of tests from 300000, for choices others."""
    folder: Path = Path("runs/own-worlds")
    """Where `own_worlds.py` has made data and models."""
    venvs: Path | None = None
    """Environments of the worlds, by default in FOLDER."""
    results: Path = RESULTS
    """Folder for what was measured, one JSON file per world."""
    search: tuple[str, ...] = ()
    """Settings of the search, as horizon=10, that are not the defaults of `searching_config`."""


class Pair(NamedTuple):
    """Where to begin and what to reach."""

    seed: int
    first: int
    ahead: int


class Run(NamedTuple):
    """What came of a pair."""

    reached: bool
    steps: int
    seconds: tuple[float, ...]
    """Duration of every plan [s]."""


class Bench:
    """Does runs, in a worker process: one world model and its true world."""

    def __init__(self, world: World, folder: Path, venvs: Path, search: tuple[str, ...]) -> None:
        torch.set_num_threads(1)
        self.model = WorldModel.load(folder / world / "auto")
        self.model_folder = folder / world / "auto"
        self.examples = Examples.beside(self.model, self.model_folder)
        self.search: dict[str, Any] = {name: int(value) for name, _, value in (word.partition("=") for word in search)}
        config = self.model.config
        self.env = TrueWorld(world, config.schema, config.camera, venvs)

    def begin(self, pair: Pair) -> tuple[Observation, bool]:
        """Go to the start; return what is seen, and whether this is a pair of the protocol."""
        ends = {"first": pair.first, "goal": pair.first + pair.ahead}
        observation, info = self.env.reset(seed=pair.seed, options=ends)
        return observation, self.env.counts and not info["success"]

    def look(self, number: int, pair: Pair) -> tuple[int, Pair, dict[str, float] | None]:
        """How far the thing is displaced; None where this is no pair of the protocol."""
        return number, pair, self.env.displaced if self.begin(pair)[1] else None

    def attempt(self, number: int, system: System, pair: Pair) -> tuple[int, Run]:
        """Try to get from start to goal."""
        observation, _ = self.begin(pair)
        policy = self.policy(system, pair)
        memory, begun, steps, reached = None, np.ones((), bool), 0, False
        while steps < 2 * pair.ahead and not reached:
            action, memory = policy.predict(observation, memory, begun)
            begun, steps = np.zeros((), bool), steps + 1
            observation, _, _, _, info = self.env.step(action)
            reached = info["success"]
        return number, Run(reached, steps, tuple(getattr(policy, "plan_seconds", ())))

    def policy(self, system: System, pair: Pair) -> Policy:
        """The system under test."""
        seed = pair.seed + 1000 * pair.first
        if system == "hold":
            return HoldPolicy(self.env.action_space, self.model.config.control)
        if system == "random":
            return UniformPolicy(self.env.action_space, seed)
        picture, told = self.env.goal[image_key(self.model.config.camera)], self.env.goal["agent_pos"]
        goal = Goal.image(self.model, picture, None if system == "search-picture" else told)
        if system == "clone":
            self.clone.ask(goal)
            return self.clone
        examples = None if system == "search-alone" else self.examples
        search = searching_config(self.model, examples=examples, seed=seed, **self.search)
        return MpcPolicy(self.model, goal, config=search, examples=examples)

    @cached_property
    def clone(self) -> CloneAgent:
        """What was cloned from the recordings."""
        return CloneAgent(self.model, self.model_folder)


def pairs_of(pool: WorkerPool[Bench], config: GoalsConfig, ahead: int) -> tuple[list[Pair], dict[str, float]]:
    """Pairs that the protocol admits, drawn in batches that are tried by episode, and their median displacement."""
    rng = np.random.default_rng([config.seed, ahead])
    found: list[tuple[Pair, dict[str, float]]] = []
    while len(found) < config.pairs:
        seeds, firsts = rng.integers(TESTS, size=config.pairs), rng.integers(FIRST, LAST - ahead, size=config.pairs)
        drawn = [Pair(config.seed + int(seed), int(first), ahead) for seed, first in zip(seeds, firsts, strict=True)]
        by_episode = sorted(enumerate(drawn), key=lambda job: job[1])  # which is played once for all of its pairs
        looks = sorted(pool.run(partial(Bench.look, number=i, pair=pair) for i, pair in by_episode))
        found += [(pair, displaced) for _, pair, displaced in looks if displaced is not None]
    found = found[: config.pairs]
    units = found[0][1]
    return [pair for pair, _ in found], {unit: float(np.median([by[unit] for _, by in found])) for unit in units}


def identity_of(world: World, model_hash: str, examples: bool, config: GoalsConfig) -> dict[str, Any]:
    """What makes results comparable; a model may have examples beside it or not."""
    told = {"seed": config.seed, "pairs": config.pairs, "search": list(config.search)}
    return {"world": world, "model_hash": model_hash, "examples": examples} | told


def main(config: GoalsConfig) -> None:
    """Do all runs; what files hold already, of a run that was killed too, is not done again."""
    for world in config.worlds:
        folder = config.folder / world / "auto"
        examples = (folder / STATES_FILE).exists()
        identity = identity_of(world, WorldModel.load(folder).digest(), examples, config)
        path = config.results / f"{world}.json"
        begun = path.with_suffix(".begun.json")
        report = resumed(path, identity, {"runs": {}, "displacement": {}})
        venvs = config.venvs or config.folder / "venvs"
        with config.pool(partial(Bench, world, config.folder, venvs, config.search)) as pool:
            for ahead in config.ahead:
                pairs, report["displacement"][str(ahead)] = pairs_of(pool, config, ahead)
                for system in config.systems:
                    name = f"{ahead}/{system}"
                    if name not in report["runs"]:
                        runs = measure(pool, system, pairs, begun, identity | {"runs of": name})
                        report["runs"][name] = summary(pairs, runs)
                        write_json(path, report | circumstances())
                        begun.unlink(missing_ok=True)


def measure(
    pool: WorkerPool[Bench], system: System, pairs: list[Pair], begun: Path, identity: dict[str, Any]
) -> list[Run]:
    """Do the runs of one system; those that a file says were done before it was killed are not done again."""

    def do(left: list[str]) -> Iterator[tuple[str, Any]]:
        jobs = (partial(Bench.attempt, number=int(i), system=system, pair=pairs[int(i)]) for i in left)
        for number, run in pool.run(jobs):
            yield str(number), list(run)

    def told(done: dict[str, Any]) -> str:
        return f"{sum(Run(*run).reached for run in done.values())} of {len(done)} reached"

    names = [str(i) for i in range(len(pairs))]
    return [Run(*run) for run in runs_of(begun, identity, names, do, told)]


def summary(pairs: list[Pair], runs: list[Run]) -> dict[str, Any]:
    """What came of the runs of one system."""
    reached, seconds = sum(run.reached for run in runs), [s for run in runs for s in run.seconds]
    return {
        "reached": reached / len(runs),
        "wilson": list(wilson_interval(reached, len(runs))),
        "pairs": len(runs),
        "median_steps": float(np.median([run.steps for run in runs if run.reached])) if reached else None,
        "failed": [[pair.seed, pair.first] for pair, run in zip(pairs, runs, strict=True) if not run.reached],
        "plan_ms": round(1000 * float(np.median(seconds)), 1) if seconds else None,
    }


if __name__ == "__main__":
    launch(main, GoalsConfig)
