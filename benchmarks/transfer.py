"""What a policy trained in the learned world is worth in the twin, and how rightly the learned world ranks policies.

python benchmarks/policies.py --out runs/rl                                  make the policies, hours
python benchmarks/transfer.py --runs runs/rl --json benchmarks/results/transfer.json

Reads the folders that `benchmarks/policies.py` makes, `RUNS/<task>/...`; what is missing there is null in the results.
A killed run goes on with the policies that are not yet in the results.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from program import launch, resumed

from gwm_sim.envs.blocks.spec import world_ids
from gwm_sim.envs.tabletop.paired import WORLDS, PairedWorlds
from gwm_sim.evaluation.statistics import mean_maximum_rank_violation, pearson, spearman
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.commands.compare import CompareConfig
from gwm_sim.policies.comparison import compare
from gwm_sim.policies.engines.options import EngineOptions
from gwm_sim.policies.rl.curve import read_curve
from gwm_sim.protocol import FIRST_EVALUATION_SEED

Task = Literal["reach", "grasp", "stack"]
TRAINED = ("learned", "warm-start")
LAPSES = tuple(f"scripted:lapse={share}" for share in (0.15, 0.2, 0.25, 0.3, 0.35, 0.4))
GRADED: dict[Task, tuple[str, ...]] = {
    "reach": ("uniform",),
    "grasp": (*LAPSES, *(f"scripted:noise={noise}" for noise in (0.4, 0.5, 0.6, 0.7)), "uniform"),
    "stack": (*LAPSES, *(f"scripted:noise={noise}" for noise in (0.2, 0.25, 0.3, 0.35)), "uniform"),
}
"""Policies of graded skill that need no training; most of them succeed in 10 to 90 % of the twin's starts."""
REACHED = 0.8  # success in the twin to which the wall-clock time is taken


@dataclass(frozen=True)
class TransferConfig(EngineOptions):
    """Score trained and graded policies in both worlds."""

    runs: Path
    """Folder of `benchmarks/policies.py`."""
    tasks: tuple[Task, ...] = ("reach", "grasp", "stack")
    """Tasks to score."""
    episodes: int = 200
    """Episodes of each policy in each world."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of the first start."""
    model: str = "gwm-mini"
    """World model."""
    model_minutes: float = 278.0
    """Training time of the world model on one core, as its card says, for the ratio that includes it [min]."""
    checkpoints: int = 1
    """Policies to take from the way of each run, evenly spread, beside the last one."""
    graded: tuple[str, ...] | None = None
    """Policies to rank beside the trained ones; by default experts made clumsy, other ones for each task."""
    json: Path | None = None
    """Write the numbers here."""
    plot: Path | None = None
    """Write the plot here."""


def main(config: TransferConfig) -> None:
    """Score, print and write."""
    identity = {
        "model": config.model,
        "model_hash": WorldModel.load(config.model).digest(),
        "episodes": config.episodes,
        "seed": config.seed,
    }
    report = resumed(config.json, identity, {"tasks": {}})
    for task in config.tasks:
        known = {entry["policy"]: entry for entry in report["tasks"].get(task, {}).get("policies", ())}
        for entries in score(config, task, known):
            report["tasks"][task] = summarise(config, task, entries)
            if config.json is not None:
                write_json(config.json, report)
        print_table(task, report["tasks"][task])
    if config.plot is not None:
        draw(report["tasks"], config.plot)


def score(config: TransferConfig, task: Task, known: dict[str, dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Results of all policies of a task, `known` ones first, with one more at each turn."""
    digests = {spec: digest(Path(spec)) for spec in policies(config, task)}
    names = {spec: name_of(config, spec) for spec in digests}
    done = {
        name: known[name] for spec, name in names.items() if name in known and known[name]["digest"] == digests[spec]
    }
    yield list(done.values())
    missing = tuple(spec for spec, name in names.items() if name not in done)
    if not missing:
        return
    engine = {name: getattr(config, name) for name in EngineOptions.names()}
    options = CompareConfig(missing, task, episodes=config.episodes, seed=config.seed, model=config.model, **engine)
    for duel in compare(options, PairedWorlds(world_ids(task), config.model, min(options.rows, config.episodes))):
        numbers = duel.to_json()
        done[names[duel.policy]] = {
            "policy": names[duel.policy],
            "digest": digests[duel.policy],
            **{world: rate(numbers[world]) for world in WORLDS},
            **{key: numbers[key] for key in ("agreement", "kappa")},
        }
        yield list(done.values())


def policies(config: TransferConfig, task: Task) -> list[str]:
    """Specs of what is to be scored: the trained policies, some of the way there, and the graded ones."""
    folder = config.runs / task
    found = [folder / name for name in TRAINED if (folder / name / "config.json").is_file()]
    for run in sorted(folder.glob("*/checkpoints")):
        kept = sorted(path.parent for path in run.glob("*/config.json"))[:-1]  # the last one is the run's own
        chosen = np.linspace(0, len(kept) - 1, min(config.checkpoints, len(kept)) + 2)[1:-1].round().astype(int)
        found += [kept[i] for i in chosen]
    return [*map(str, found), *(GRADED[task] if config.graded is None else config.graded)]


def name_of(config: TransferConfig, spec: str) -> str:
    """A name that does not depend on where the runs are."""
    path = Path(spec)
    return path.relative_to(config.runs).as_posix() if path.is_relative_to(config.runs) else spec


def digest(path: Path) -> str | None:
    """What tells a trained policy from another in the same place; None for policies by name."""
    file = path / "config.json"
    return sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else None


def summarise(config: TransferConfig, task: Task, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that is said of one task."""
    by_name = {entry["policy"]: entry for entry in entries}
    best, shown = by_name.get(f"{task}/learned", {}), by_name.get(f"{task}/warm-start", {})
    twin, learned = (np.array([entry[world]["rate"] for entry in entries]) for world in WORLDS)
    several = len(entries) > 1
    return {
        "twin_success": best.get("twin"),
        "learned_success": best.get("learned"),
        "warm_start_success": shown.get("twin"),
        "pearson": pearson(twin, learned) if several else None,
        "spearman": spearman(twin, learned) if several else None,
        "mmrv": mean_maximum_rank_violation(real=twin, simulated=learned) if several else None,
        "mean_gap": float(np.abs(learned - twin).mean()) if entries else None,
        "policies": entries,
        "wall_clock_ratio": wall_clock(config.runs / task, 60 * config.model_minutes),
    }


def print_table(task: Task, result: dict[str, Any]) -> None:
    """What was found, in lines of text."""
    print(f"{task}: Pearson r {result['pearson']}, MMRV {result['mmrv']}, wall-clock {result['wall_clock_ratio']}")
    for entry in result["policies"]:
        rates = "  ".join(f"{world} {entry[world]['rate']:6.1%}" for world in WORLDS)
        print(f"  {entry['policy']:40} {rates}  agreement {entry['agreement']:.0%}", flush=True)


def rate(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Success of a policy in a world, in 0 to 1."""
    return {"rate": evaluation["success_rate"], "wilson": evaluation["interval"]}


def wall_clock(folder: Path, model_seconds: float) -> dict[str, float | bool] | None:
    """Time to `REACHED` in the learned world over that in the twin, without and with the world model's own training.

    Where the run in the twin never got there, its whole time counts and the ratios are upper bounds.
    """
    learned, twin = (seconds_to_success(folder / world) for world in ("learned", "twin"))
    tried = max((entry.seconds for entry in read_curve(folder / "twin")), default=0.0)
    if learned is None or not tried:
        return None
    spent = tried if twin is None else twin
    return {
        "without_model": learned / spent,
        "with_model": (learned + model_seconds) / spent,
        "bound": twin is None,
        "learned_minutes": learned / 60,
        "twin_minutes": spent / 60,
    }


def seconds_to_success(run: Path) -> float | None:
    """Training time until the policy first succeeded often enough in the twin; None if it never did."""
    return next((entry.seconds for entry in read_curve(run) if entry.rate("twin") >= REACHED), None)


def draw(results: dict[str, Any], path: Path) -> None:
    """Success in the learned world over success in the twin, a panel for each task."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(results), 3.6), layout="constrained")
    for axes, (task, result) in zip(figure.subplots(1, len(results), squeeze=False)[0], results.items(), strict=True):
        for policy in result["policies"]:
            points = {world: policy[world]["rate"] for world in ("twin", "learned")}
            errors = {}
            for world, rate in points.items():
                low, high = policy[world]["wilson"]
                errors[world] = [[max(0.0, rate - low)], [max(0.0, high - rate)]]  # at 0 and 1 rounded past the rate
            axes.errorbar(
                points["twin"], points["learned"], errors["learned"], errors["twin"], "o", color="C0", alpha=0.7
            )
        axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1)
        title = task if result["pearson"] is None else f"{task}: r = {result['pearson']:.2f}, MMRV {result['mmrv']:.2f}"
        axes.set(xlabel="sustained success in the twin", ylabel="in the learned world", title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    launch(main, TransferConfig)
