"""Policies in both worlds from the same starts: can the learned one be believed when it ranks them?

What is compared is sustained success. Over policies: correlation, rank correlation, MMRV and the gap; over the starts
of one policy: how often both worlds agree on whether it succeeds from there.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from gwm_sim.data.views import main_view
from gwm_sim.envs.blocks.spec import world_ids
from gwm_sim.envs.tabletop.paired import WORLDS, PairedWorlds, World
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.evaluation.statistics import confusion, kappa, mean_maximum_rank_violation, pearson, spearman
from gwm_sim.policies.evaluation import EpisodeResult, Evaluation, evaluate
from gwm_sim.policies.registry import PolicySpec, make_policy, needs_pixels
from gwm_sim.policies.rollout import rollout
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
        check_at_least_one(episodes=self.episodes, rows=self.rows)
        if len(set(self.policies)) < len(self.policies):
            raise ConfigError(f"--policies names one twice: {' '.join(self.policies)}")


class Duel(NamedTuple):
    """One policy in both worlds, start by start."""

    policy: str
    twin: Evaluation
    learned: Evaluation

    def to_json(self) -> dict[str, Any]:
        """Numbers for a results file."""
        twin, learned = (np.array([run.success for run in world.episodes]) for world in (self.twin, self.learned))
        return {
            "policy": self.policy,
            "twin": self.twin.to_json(),
            "learned": self.learned.to_json(),
            "gap": self.learned.success_rate - self.twin.success_rate,
            "agreement": float(np.mean(twin == learned)),
            "kappa": kappa(confusion(twin, learned, 2)),
        }


def compare(config: CompareConfig, worlds: PairedWorlds) -> Iterator[Duel]:
    """Run every policy in both worlds; yields each as soon as it is done."""
    jobs = len(config.policies) * len(WORLDS)
    unseen: dict[World, VectorEnv[Any, Any, Any]] = {}  # worlds that draw nothing serve all policies that do not look
    with (
        WorkerPool(partial(Spectator, config.task, config.model, config.seed)) as pool,
        ExitStack() as stack,
        progress("compare") as show,
    ):
        for i, spec in enumerate(config.policies):
            results: dict[World, Evaluation] = {}
            for j, world in enumerate(WORLDS):
                show((2 * i + j) / jobs, f"{spec} in the {world} world".replace("twin world", "twin"))
                if needs_pixels(spec) and world == "twin":
                    starts = range(config.seed, config.seed + config.episodes)
                    runs = pool.run([partial(Spectator.watch, spec=spec, seed=seed) for seed in starts])
                    results[world] = Evaluation(tuple(sorted(runs, key=lambda run: run.seed)))
                elif needs_pixels(spec):
                    with closing(worlds.make(world)) as env:
                        results[world] = _run(spec, env, config, worlds)
                else:
                    if world not in unseen:
                        unseen[world] = stack.enter_context(closing(worlds.make(world, sees=False)))
                    results[world] = _run(spec, unseen[world], config, worlds)
            yield Duel(spec, **results)
        show(1.0, "")


class Spectator:
    """Runs policies that look in a twin of its own, in a worker process: what they see takes most of the time."""

    def __init__(self, task: str, model: str, seed: int) -> None:
        torch.set_num_threads(1)  # there is one of these on every core
        self._seed = seed  # of what policies draw, the same in every process
        self._worlds = PairedWorlds(world_ids(task), model, rows=1)
        self._policies: dict[str, PolicySpec] = {}

    def watch(self, spec: str, seed: int) -> EpisodeResult:
        """Run the policy of a spec from the start of a seed, until success is sustained."""
        if spec not in self._policies:
            self._policies[spec] = make_policy(spec, self._worlds.make("twin"), self._seed, self._worlds.world_model)
        policy, env = self._policies[spec]
        return evaluate(policy, env, 1, seed, until_sustained=True).episodes[0]


def _run(spec: str, env: VectorEnv[Any, Any, Any], config: CompareConfig, worlds: PairedWorlds) -> Evaluation:
    policy, seen = make_policy(spec, env, config.seed, worlds.world_model)
    return evaluate(policy, seen, config.episodes, config.seed)


def summarise(config: CompareConfig, worlds: PairedWorlds, duels: list[Duel]) -> dict[str, Any]:
    """All numbers of a comparison."""
    twin, learned = (np.array([getattr(duel, world).success_rate for duel in duels]) for world in WORLDS)
    return {
        "task": config.task,
        "model": worlds.world_model.config.name,
        "model_hash": worlds.world_model.digest(),
        "options": asdict(config),
        "pearson": pearson(twin, learned),
        "spearman": spearman(twin, learned),
        "mmrv": mean_maximum_rank_violation(real=twin, simulated=learned),
        "mean_gap": float(np.abs(learned - twin).mean()),
        "policies": [duel.to_json() for duel in duels],
    }


def record_films(config: CompareConfig) -> dict[str, dict[World, NDArray[np.uint8]]]:
    """Frames (T, H, W, 3) of every policy in both worlds, from the first start."""
    worlds = PairedWorlds(world_ids(config.task), config.model, rows=1)
    return {spec: {world: _record(spec, worlds, world, config.seed) for world in WORLDS} for spec in config.policies}


def _record(spec: str, worlds: PairedWorlds, world: World, seed: int) -> NDArray[np.uint8]:
    cameras = worlds.world_model.config.cameras if world == "learned" else ("front",)
    with closing(worlds.make(world)) as env:
        policy, seen = make_policy(spec, env, seed, worlds.world_model)
        unwrapped: Any = env.unwrapped
        observation, _ = seen.reset(seed=seed)
        frames = [main_view(unwrapped.frames()[0], cameras)]
        for step in rollout(policy, seen, observation):
            if step.done.any():  # it already shows its next episode
                break
            frames.append(main_view(unwrapped.frames()[0], cameras))
    return np.stack(frames)
