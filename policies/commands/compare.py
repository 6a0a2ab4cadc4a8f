"""`gwm compare`: can the learned world be believed when it ranks policies?

Each policy runs in both worlds from the same starts.

What is compared is held success. Over policies: correlation, rank correlation, MMRV and the gap; over the starts of one
policy: how often both worlds agree on whether it succeeds from there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from gwm_sim.data.views import main_view
from gwm_sim.envs.blocks.spec import world_ids
from gwm_sim.envs.tabletop.paired import WORLDS, PairedWorlds, World
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.statistics import spearman
from gwm_sim.policies.agreement import kappa, mean_maximum_rank_violation, pearson
from gwm_sim.policies.evaluation import EpisodeResult, Evaluation, evaluate
from gwm_sim.policies.registry import PolicySpec, make_policy, needs_pixels
from gwm_sim.policies.report import write_report
from gwm_sim.policies.worker_pool import WorkerPool
from gwm_sim.progress import progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED


@dataclass(frozen=True)
class CompareConfig:
    """Run policies in both worlds from the same starts."""

    policies: tuple[str, ...]
    """scripted, scripted:lapse=0.2, uniform, hold, icem, cem, mppi, sac-grasp, or folders of `gwm rl train`."""
    task: Literal["reach", "grasp", "stack"] = "grasp"
    """What they should do."""
    episodes: int = 200
    """Episodes of each policy in each world."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of the first start; episode i starts from seed + i."""
    model: str = "gwm-mini"
    """World model: a shipped one, or a folder."""
    rows: int = 20
    """Episodes that run at a time."""
    json: Path | None = None
    """Write the numbers here."""
    report: Path | None = None
    """Write a page with plots and films here, complete in one file."""

    def __post_init__(self) -> None:
        if self.episodes < 1 or self.rows < 1:
            raise ConfigError(f"--episodes and --rows must be at least 1, got {self.episodes} and {self.rows}")
        if len(set(self.policies)) < len(self.policies):
            raise ConfigError(f"--policies names one twice: {' '.join(self.policies)}")


@dataclass(frozen=True)
class Duel:
    """One policy in both worlds, start by start."""

    policy: str
    twin: Evaluation
    learned: Evaluation

    def outcomes(self, world: World) -> NDArray[np.bool_]:
        """Whether each episode succeeded, (N,)."""
        evaluation: Evaluation = getattr(self, world)
        return np.array([episode.success for episode in evaluation.episodes])

    def to_json(self) -> dict[str, Any]:
        """Numbers for a results file."""
        twin, learned = self.outcomes("twin"), self.outcomes("learned")
        return {
            "policy": self.policy,
            "twin": self.twin.to_json(),
            "learned": self.learned.to_json(),
            "gap": self.learned.success_rate - self.twin.success_rate,
            "agreement": float(np.mean(twin == learned)),
            "kappa": kappa(twin, learned),
        }


def main(config: CompareConfig) -> int:
    """Compare, print and write."""
    arena = PairedWorlds(world_ids(config.task), config.model, min(config.rows, config.episodes))
    for spec in config.policies:
        make_policy(spec, arena.make("learned"), model=config.model)  # a wrong name is told before hours of work
    duels = list(compare(config, arena))
    numbers = summarise(config, arena, duels)
    print(table(numbers))
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(numbers, indent=1, default=str) + "\n")
    if config.report is not None:
        films = record_films(config)
        write_report(config.report, numbers, films, arena.world_model.config.schema.rate)
    return 0


def compare(config: CompareConfig, arena: PairedWorlds) -> Iterator[Duel]:
    """Run every policy in both worlds; yields each as soon as it is done."""
    jobs = len(config.policies) * len(WORLDS)
    blind: dict[World, VectorEnv[Any, Any, Any]] = {}  # worlds that draw nothing serve every policy that does not look
    with ExitStack() as stack, progress("compare") as show:
        crew: WorkerPool | None = None
        for i, spec in enumerate(config.policies):
            results: dict[World, Evaluation] = {}
            for j, world in enumerate(WORLDS):
                show((2 * i + j) / jobs, f"{spec} in the {world} world".replace("twin world", "twin"))
                if needs_pixels(spec) and world == "twin":
                    if crew is None:
                        crew = stack.enter_context(
                            WorkerPool(partial(Spectator, config.task, config.model, config.seed))
                        )
                    results[world] = _watch(crew, spec, config)
                elif needs_pixels(spec):
                    with closing(arena.make(world)) as env:
                        results[world] = _run(spec, env, config, arena)
                else:
                    if world not in blind:
                        blind[world] = stack.enter_context(closing(arena.make(world, sees=False)))
                    results[world] = _run(spec, blind[world], config, arena)
            yield Duel(spec, **results)
        show(1.0, "")


class Spectator:
    """A `Worker` for policies that look: it draws what they see in a twin of its own, which takes most of the time."""

    greeting = None

    def __init__(self, task: str, model: str, seed: int) -> None:
        torch.set_num_threads(1)  # there is one of these on every core
        self._seed = seed  # of what policies draw, the same in every process
        self._arena = PairedWorlds(world_ids(task), model, rows=1)
        self._entrants: dict[str, PolicySpec] = {}

    def __call__(self, job: tuple[str, int]) -> EpisodeResult:
        """Run the policy of a spec from the start of a seed, until success has been held."""
        spec, seed = job
        if spec not in self._entrants:
            self._entrants[spec] = make_policy(spec, self._arena.make("twin"), self._seed, self._arena.world_model)
        policy, env = self._entrants[spec]
        return evaluate(policy, env, 1, seed, until_held=True).episodes[0]


def _run(spec: str, env: VectorEnv[Any, Any, Any], config: CompareConfig, arena: PairedWorlds) -> Evaluation:
    policy, seen = make_policy(spec, env, config.seed, arena.world_model)
    return evaluate(policy, seen, config.episodes, config.seed)


def _watch(crew: WorkerPool, spec: str, config: CompareConfig) -> Evaluation:
    jobs = [(spec, config.seed + i) for i in range(config.episodes)]
    results: list[EpisodeResult] = list(crew.run(jobs, os.cpu_count() or 1))
    return Evaluation(tuple(sorted(results, key=lambda result: result.seed)))


def summarise(config: CompareConfig, arena: PairedWorlds, duels: list[Duel]) -> dict[str, Any]:
    """All numbers of a comparison."""
    twin, learned = (np.array([getattr(duel, world).success_rate for duel in duels]) for world in WORLDS)
    return {
        "task": config.task,
        "model": arena.world_model.config.name,
        "model_hash": arena.world_model.digest(),
        "options": asdict(config),
        "pearson": pearson(twin, learned),
        "spearman": spearman(twin, learned),
        "mmrv": mean_maximum_rank_violation(real=twin, simulated=learned),
        "mean_gap": float(np.abs(learned - twin).mean()),
        "policies": [duel.to_json() for duel in duels],
    }


def table(numbers: dict[str, Any]) -> str:
    """The numbers in lines of text."""
    width = max(len(entry["policy"]) for entry in numbers["policies"])
    lines = [f"{'':{width}}  {'twin':>22} {'learned':>22}  agreement"]
    for entry in numbers["policies"]:
        cells = []
        for world in WORLDS:
            low, high = entry[world]["interval"]
            cells.append(f"{entry[world]['success_rate']:6.1%} [{low:6.1%},{high:6.1%}]")
        lines.append(f"{entry['policy']:{width}}  {cells[0]:>22} {cells[1]:>22}  {entry['agreement']:9.1%}")
    statistics = (
        f"{name} {numbers[key]:.3f}" if numbers[key] is not None else f"{name} undefined"
        for name, key in (("Pearson r", "pearson"), ("Spearman rho", "spearman"), ("MMRV", "mmrv"))
    )
    return "\n".join([*lines, f"{', '.join(statistics)}, mean gap {100 * numbers['mean_gap']:.1f} points"])


def record_films(config: CompareConfig) -> dict[str, dict[World, NDArray[np.uint8]]]:
    """Frames (T, H, W, 3) of every policy in both worlds, from the first start."""
    arena = PairedWorlds(world_ids(config.task), config.model, rows=1)
    return {spec: {world: record(spec, arena, world, config.seed) for world in WORLDS} for spec in config.policies}


def record(spec: str, arena: PairedWorlds, world_name: World, seed: int) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) of one episode in a world of one row."""
    env = arena.make(world_name)
    policy, seen = make_policy(spec, env, seed, arena.world_model)
    world: Any = env.unwrapped
    observation, _ = seen.reset(seed=seed)
    cameras = arena.world_model.config.cameras if world_name == "learned" else ("front",)

    def seen_now() -> NDArray[np.uint8]:
        return main_view(world.frames()[0], cameras)

    frames, state, done = [seen_now()], None, False
    start = np.ones(1, bool)
    while not done:
        action, state = policy.predict(observation, state, start, deterministic=True)
        observation, _, terminated, truncated, _ = seen.step(action)
        done, start = bool(np.any(terminated | truncated)), np.zeros(1, bool)
        if not done:  # a finished row already shows its next episode
            frames.append(seen_now())
    env.close()
    return np.stack(frames)


__all__ = ["CompareConfig", "Duel", "compare", "main"]
