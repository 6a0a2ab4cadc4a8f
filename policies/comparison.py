"""Policies in both worlds from the same starts: can the learned one be believed when it ranks them?

What is compared is sustained success. Over policies: correlation, rank correlation, MMRV and the gap; over the starts
of one policy: how often both worlds agree on whether it succeeds from there. A world of one's own has no twin: there
policies are ranked by it alone, or held against outcomes that were recorded on the robot, which then stand in the
twin's place.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
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
from gwm_sim.envs.tabletop.paired import PairedWorlds, World
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.evaluation.ranking import Trials, rank_agreement
from gwm_sim.evaluation.statistics import confusion, kappa, wilson_interval
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.engines.options import EngineOptions
from gwm_sim.policies.evaluation import EpisodeResult, Evaluation, evaluate
from gwm_sim.policies.listed_starts import ListedWorlds
from gwm_sim.policies.outcomes import Outcomes, Record, Start
from gwm_sim.policies.own_world import OwnWorld, check_task, scored_worlds
from gwm_sim.policies.registry import PolicySpec, make_policy, needs_pixels, split_name
from gwm_sim.policies.rollout import rollout
from gwm_sim.policies.worker_pool import Job
from gwm_sim.progress import progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED

DEFAULT: Final = "grasp"
"""What policies should do where nobody says."""


Worlds = PairedWorlds | OwnWorld | ListedWorlds
"""Where policies run."""


@dataclass(frozen=True)
class CompareConfig(EngineOptions):
    """Run policies in both worlds from the same starts, or in the world of a model alone."""

    policies: tuple[str, ...]
    """scripted, scripted:lapse=0.2, uniform, hold, icem, cem, mppi, sac-grasp, or folders of `gwm rl train`. NAME=SPEC
    calls one NAME."""
    task: str | None = None
    """What they should do: reach, grasp (the default) or stack; in GWM-World-v0 a label of the model's data, or a
    function FILE.py:NAME."""
    env: str | None = None
    """GWM-World-v0 for the world of --model, which has no twin; by default the block world of the task and its twin."""
    goal: Path | None = None
    """In GWM-World-v0, a picture of what is to be reached, instead of a task."""
    real: Path | None = None
    """Table of outcomes on the robot in place of the twin, CSV: policy, start or episode, success, and perhaps trial
    and stages (docs/policies.md)."""
    unpaired: bool = False
    """The table of --real does not say where trials began: compare success rates alone."""
    episodes: int = 200
    """Episodes of each policy in each world; with --real, as many as the table has starts."""
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
        if self.unpaired and self.real is None:
            raise ConfigError("--unpaired is about the table of --real")
        if len(self.specs) < len(self.policies):
            raise ConfigError(f"--policies names one twice: {' '.join(self.policies)}")

    @property
    def specs(self) -> dict[str, str]:
        """The policies by name."""
        return dict(map(split_name, self.policies))

    @property
    def about(self) -> str | None:
        """The task; None where success is a goal."""
        if self.env is None:
            return self.task or DEFAULT
        return check_task(self.env, self.task, self.goal)

    def worlds(self, rows: int, outcomes: Outcomes | None = None) -> Worlds:
        """Where policies run, so many episodes at a time: with outcomes from where those began."""
        env = env_id("learned", str(self.about)) if self.env is None else self.env
        worlds = scored_worlds(env, self.model, rows, self.task, self.goal)
        return worlds if outcomes is None else ListedWorlds(worlds, outcomes.starts)


class Duel(NamedTuple):
    """One policy in the learned world and in what it is held against, start by start."""

    policy: str
    learned: Evaluation
    twin: Evaluation | None = None
    """None where there is no twin."""
    real: Record | None = None
    """What it did on the robot; None where nobody wrote it down."""
    paired: bool = True
    """Whether both began from the same starts."""

    def trials(self) -> list[list[bool]]:
        """Successes in the twin or on the robot from each start, which the learned world is held against."""
        if self.real is not None:
            return [[trial.success for trial in trials] for trials in self.real.by_start]
        return [] if self.twin is None else [[run.success] for run in self.twin.episodes]

    def to_json(self) -> dict[str, Any]:
        """Numbers for a results file."""
        told: dict[str, Any] = {"policy": self.policy, "learned": self.learned.to_json()}
        other = self.twin or self.real
        if other is None:
            return told
        told |= {"real" if other is self.real else "twin": other.to_json()}
        told["gap"] = self.learned.success_rate - other.success_rate
        if not self.paired:
            return told
        trials = self.trials()
        truth = np.array([success for group in trials for success in group])
        believed = np.repeat([run.success for run in self.learned.episodes], list(map(len, trials)))
        return told | {
            "agreement": float(np.mean(truth == believed)),
            "kappa": kappa(confusion(truth, believed, 2)),
        }


def compare(config: CompareConfig, worlds: Worlds, outcomes: Outcomes | None = None) -> Iterator[Duel]:
    """Run every policy in all worlds; yields each as soon as it is done, beside its recorded outcomes."""
    jobs = len(config.policies) * len(worlds.names)
    unseen: dict[World, VectorEnv[Any, Any, Any]] = {}  # worlds that draw nothing serve all policies that do not look
    with (
        config.pool(partial(Spectator, str(config.about), config.model, config.seed)) as pool,
        ExitStack() as stack,
        progress("compare") as show,
    ):
        for i, (name, spec) in enumerate(config.specs.items()):
            results: dict[World, Evaluation] = {}
            for j, world in enumerate(worlds.names):
                show((len(worlds.names) * i + j) / jobs, f"{name} in the {world} world".replace("twin world", "twin"))
                if needs_pixels(spec) and world == "twin":
                    starts = range(config.seed, config.seed + config.episodes)
                    runs = pool.run(
                        Job(f"{name} from seed {seed}", partial(Spectator.watch, spec=spec, seed=seed))
                        for seed in starts
                    )
                    results[world] = Evaluation(tuple(sorted(runs, key=lambda run: run.seed)))
                elif needs_pixels(spec):
                    with closing(_make(worlds, world, outcomes)) as env:
                        results[world] = _run(spec, env, config, worlds)
                else:
                    if world not in unseen:
                        unseen[world] = stack.enter_context(closing(_make(worlds, world, outcomes, sees=False)))
                    results[world] = _run(spec, unseen[world], config, worlds)
            real = None if outcomes is None else outcomes.records[name]
            yield Duel(name, **results, real=real, paired=outcomes is None or outcomes.paired)
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


def _make(
    worlds: Worlds, world: World, outcomes: Outcomes | None = None, sees: bool = True
) -> VectorEnv[Any, Any, Any]:
    """A world, whose infos tell of the stages that were recorded and that it can judge."""
    env = worlds.make(world, sees)
    if outcomes is not None and (stages := judged_stages(worlds.world_model, outcomes)):
        there: Any = env.unwrapped
        there.judge_also(stages)
    return env


def judged_stages(model: WorldModel, outcomes: Outcomes) -> list[str]:
    """Stages of a table that are called as labels of a model's data."""
    return [stage for stage in outcomes.stages if stage in model.tasks]


def _run(spec: str, env: VectorEnv[Any, Any, Any], config: CompareConfig, worlds: Worlds) -> Evaluation:
    policy, seen = make_policy(spec, env, config.seed, worlds.world_model)
    starts = worlds.starts if isinstance(worlds, ListedWorlds) else ()
    if not starts:
        return evaluate(policy, seen, config.episodes, config.seed)
    found = evaluate(policy, seen, config.episodes, seed=0).episodes  # the seed counts the starts
    numbered = zip(found, starts, strict=True)
    return Evaluation(tuple(replace(run, seed=start) if isinstance(start, int) else run for run, start in numbered))


def summarise(
    config: CompareConfig, worlds: Worlds, duels: list[Duel], outcomes: Outcomes | None = None
) -> dict[str, Any]:
    """All numbers of a comparison."""
    numbers: dict[str, Any] = {
        "task": config.about or f"goal {config.goal}",
        "model": worlds.world_model.config.name,
        "model_hash": worlds.world_model.digest(),
        "options": {name: value for name, value in asdict(config).items() if name not in EngineOptions.names()},
        "worlds": list(worlds.names) if outcomes is None else ["real", *worlds.names],
        "policies": [duel.to_json() for duel in duels],
    }
    if outcomes is None and "twin" not in worlds.names:
        return numbers
    learned = np.array([[run.success for run in duel.learned.episodes] for duel in duels], int)
    simulated = Trials(learned, np.ones_like(learned))
    if outcomes is None:
        real = Trials(np.array([duel.trials() for duel in duels], int)[..., 0], np.ones_like(learned))
    else:
        real = outcomes.trials([duel.policy for duel in duels])
    paired = outcomes is None or outcomes.paired
    numbers |= rank_agreement(real, simulated, paired)
    if paired:
        starts = range(config.seed, config.seed + config.episodes) if outcomes is None else outcomes.starts
        numbers["starts"] = start_numbers(starts, learned, real)
    if outcomes is not None:
        judged = judged_stages(worlds.world_model, outcomes)
        numbers["stages"] = [
            stage_numbers(i, duels, outcomes, stage in judged) for i, stage in enumerate(outcomes.stages)
        ]
    return numbers


def start_numbers(starts: Sequence[Start], learned: NDArray[np.int_], real: Trials) -> list[dict[str, Any]]:
    """How often trials from every start end as the learned world says (P, S): of all policies, and of each."""
    agreed = np.where(learned == 1, real.successes, real.tried - real.successes)
    over_all = agreed.sum(axis=0) / real.tried.sum(axis=0)
    each = agreed / real.tried
    return [
        {"start": start, "agreement": float(over_all[i]), "by_policy": each[:, i].tolist()}
        for i, start in enumerate(starts)
    ]


def stage_numbers(column: int, duels: list[Duel], outcomes: Outcomes, judged: bool) -> dict[str, Any]:
    """How often every policy reached a stage on the robot and, if the model judged it, in the learned world."""
    stage = outcomes.stages[column]
    entries = []
    for duel in duels:
        groups = outcomes.records[duel.policy].by_start
        reached = [[trial.stages[column] for trial in trials] for trials in groups]
        entry: dict[str, Any] = {"policy": duel.policy, "real": _share([one for group in reached for one in group])}
        believed = [stage in run.stages for run in duel.learned.episodes]
        if judged:
            entry["learned"] = _share(believed)
            if outcomes.paired:
                pairs = [one == told for group, told in zip(reached, believed, strict=True) for one in group]
                entry["agreement"] = float(np.mean(pairs))
        entries.append(entry)
    return {"stage": stage, "policies": entries}


def _share(reached: list[bool]) -> dict[str, Any]:
    count = len(reached)
    return {"n": count, "rate": sum(reached) / count, "interval": list(wilson_interval(sum(reached), count))}


def record_films(config: CompareConfig, outcomes: Outcomes | None = None) -> dict[str, dict[World, NDArray[np.uint8]]]:
    """Frames (T, H, W, 3) of every policy in all worlds, from the first start."""
    worlds = config.worlds(rows=1, outcomes=outcomes)
    return {
        name: {world: _record(spec, worlds, world, config.seed) for world in worlds.names}
        for name, spec in config.specs.items()
    }


def _record(spec: str, worlds: Worlds, world: World, seed: int) -> NDArray[np.uint8]:
    cameras = worlds.world_model.config.cameras if world == "learned" else ("front",)
    with closing(worlds.make(world)) as env:
        policy, seen = make_policy(spec, env, seed, worlds.world_model)
        unwrapped: Any = env.unwrapped
        listed = isinstance(worlds, ListedWorlds) and worlds.starts
        observation, _ = seen.reset(seed=0 if listed else seed)
        frames = [main_view(unwrapped.frames()[0], cameras)]
        for step in rollout(policy, seen, observation):
            if step.done.any():  # it already shows its next episode
                break
            frames.append(main_view(unwrapped.frames()[0], cameras))
    return np.stack(frames)
