"""Policies in both worlds from the same starts: can the learned one be believed when it ranks them?

What is compared is sustained success. Over policies: correlation, rank correlation, MMRV and the gap; over the starts
of one policy: how often both worlds agree on whether it succeeds from there. A world of one's own has no twin: there
policies are ranked by it alone.
"""

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from gwm_sim.data.views import main_view
from gwm_sim.envs import WORLD_ID
from gwm_sim.envs.blocks.spec import TASKS, env_id, is_twin, world_ids
from gwm_sim.envs.tabletop.paired import WORLDS, PairedWorlds, World
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.evaluation.statistics import confusion, kappa, mean_maximum_rank_violation, pearson, spearman
from gwm_sim.policies.engines.options import EngineOptions
from gwm_sim.policies.evaluation import EpisodeResult, Evaluation, evaluate
from gwm_sim.policies.own_world import OwnWorld, check_task, scored_worlds
from gwm_sim.policies.registry import PolicySpec, make_policy, needs_pixels
from gwm_sim.policies.rollout import rollout
from gwm_sim.policies.worker_pool import Job
from gwm_sim.progress import progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED

DEFAULT: Final = "grasp"
"""What policies should do where nobody says."""


@dataclass(frozen=True)
class CompareConfig(EngineOptions):
    """Run policies in both worlds from the same starts, or in the world of a model alone."""

    policies: tuple[str, ...]
    """scripted, scripted:lapse=0.2, uniform, hold, icem, cem, mppi, sac-grasp, or folders of `gwm rl train`."""
    task: str | None = None
    """What they should do: reach, grasp (the default) or stack; in GWM-World-v0 a label of the model's data, or a
    function FILE.py:NAME."""
    env: str | None = None
    """GWM-World-v0 for the world of --model, which has no twin; by default the block world of the task and its twin."""
    goal: Path | None = None
    """In GWM-World-v0, a picture of what is to be reached, instead of a task."""
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
        super().__post_init__()
        check_at_least_one(episodes=self.episodes, rows=self.rows)
        if self.env is None and (self.task or DEFAULT) not in TASKS:
            raise ConfigError(
                f"--task must be one of {', '.join(TASKS)} without --env, got {self.task!r}: for a world of your own "
                f"add --env {WORLD_ID}"
            )
        if self.env is None and self.goal is not None:
            raise ConfigError(f"--goal is for --env {WORLD_ID}: block worlds have tasks")
        if self.env is not None and is_twin(self.env):
            raise ConfigError(f"--env {self.env} is a twin: leave --env out to compare it with the learned world")
        if len(set(self.policies)) < len(self.policies):
            raise ConfigError(f"--policies names one twice: {' '.join(self.policies)}")

    @property
    def about(self) -> str | None:
        """The task; None where success is a goal."""
        if self.env is None:
            return self.task or DEFAULT
        return check_task(self.env, self.task, self.goal)

    def worlds(self, rows: int) -> PairedWorlds | OwnWorld:
        """Where policies run, so many episodes at a time."""
        env = env_id("learned", str(self.about)) if self.env is None else self.env
        return scored_worlds(env, self.model, rows, self.task, self.goal)


class Duel(NamedTuple):
    """One policy in both worlds, start by start."""

    policy: str
    learned: Evaluation
    twin: Evaluation | None = None
    """None where there is no twin."""

    def to_json(self) -> dict[str, Any]:
        """Numbers for a results file."""
        if self.twin is None:
            return {"policy": self.policy, "learned": self.learned.to_json()}
        twin, learned = (np.array([run.success for run in world.episodes]) for world in (self.twin, self.learned))
        return {
            "policy": self.policy,
            "twin": self.twin.to_json(),
            "learned": self.learned.to_json(),
            "gap": self.learned.success_rate - self.twin.success_rate,
            "agreement": float(np.mean(twin == learned)),
            "kappa": kappa(confusion(twin, learned, 2)),
        }


def compare(config: CompareConfig, worlds: PairedWorlds | OwnWorld) -> Iterator[Duel]:
    """Run every policy in all worlds; yields each as soon as it is done."""
    jobs = len(config.policies) * len(worlds.names)
    unseen: dict[World, VectorEnv[Any, Any, Any]] = {}  # worlds that draw nothing serve all policies that do not look
    with (
        config.pool(partial(Spectator, str(config.about), config.model, config.seed)) as pool,
        ExitStack() as stack,
        progress("compare") as show,
    ):
        for i, spec in enumerate(config.policies):
            results: dict[World, Evaluation] = {}
            for j, world in enumerate(worlds.names):
                show((len(worlds.names) * i + j) / jobs, f"{spec} in the {world} world".replace("twin world", "twin"))
                if needs_pixels(spec) and world == "twin":
                    starts = range(config.seed, config.seed + config.episodes)
                    runs = pool.run(
                        Job(f"{spec} from seed {seed}", partial(Spectator.watch, spec=spec, seed=seed))
                        for seed in starts
                    )
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


def _run(
    spec: str, env: VectorEnv[Any, Any, Any], config: CompareConfig, worlds: PairedWorlds | OwnWorld
) -> Evaluation:
    policy, seen = make_policy(spec, env, config.seed, worlds.world_model)
    return evaluate(policy, seen, config.episodes, config.seed)


def summarise(config: CompareConfig, worlds: PairedWorlds | OwnWorld, duels: list[Duel]) -> dict[str, Any]:
    """All numbers of a comparison."""
    numbers = {
        "task": config.about or f"goal {config.goal}",
        "model": worlds.world_model.config.name,
        "model_hash": worlds.world_model.digest(),
        "options": {name: value for name, value in asdict(config).items() if name not in EngineOptions.names()},
        "worlds": list(worlds.names),
        "policies": [duel.to_json() for duel in duels],
    }
    if "twin" not in worlds.names:
        return numbers
    twin, learned = (np.array([getattr(duel, world).success_rate for duel in duels]) for world in WORLDS)
    return numbers | {
        "pearson": pearson(twin, learned),
        "spearman": spearman(twin, learned),
        "mmrv": mean_maximum_rank_violation(real=twin, simulated=learned),
        "mean_gap": float(np.abs(learned - twin).mean()),
    }


def record_films(config: CompareConfig) -> dict[str, dict[World, NDArray[np.uint8]]]:
    """Frames (T, H, W, 3) of every policy in all worlds, from the first start."""
    worlds = config.worlds(rows=1)
    return {
        spec: {world: _record(spec, worlds, world, config.seed) for world in worlds.names} for spec in config.policies
    }


def _record(spec: str, worlds: PairedWorlds | OwnWorld, world: World, seed: int) -> NDArray[np.uint8]:
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
