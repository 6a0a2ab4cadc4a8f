"""What a policy trained in the learned world is worth in the twin, and how rightly the learned world ranks policies.

python benchmarks/policies.py --out runs/rl                                  make the policies, hours
python benchmarks/transfer.py --runs runs/rl --json benchmarks/results/transfer.json

Reads the folders that `benchmarks/policies.py` makes, `RUNS/<task>/...`; what is missing there is null in the results.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from gwm_sim.envs.arena import Arena
from gwm_sim.policies.compare import CompareConfig, compare, summarise, table
from gwm_sim.policies.rl.curve import read_curve
from gwm_sim.protocol import FIRST_EVALUATION_SEED

GRADED = ("scripted", *(f"scripted:lapse={share}" for share in (0.1, 0.2, 0.3, 0.4)), "scripted:offset=0.03", "uniform")
"""Policies of graded skill that need no training."""
REACHED = 0.8  # success in the twin to which the wall-clock time is taken


@dataclass(frozen=True)
class TransferConfig:
    """Score trained and graded policies in both worlds."""

    runs: Path
    """Folder of `benchmarks/policies.py`."""
    tasks: tuple[Literal["reach", "grasp", "stack"], ...] = ("reach", "grasp", "stack")
    """Tasks to score."""
    episodes: int = 200
    """Episodes of each policy in each world."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of the first start."""
    model: str = "gwm-mini"
    """World model."""
    model_minutes: float = 52.0
    """Training time of the world model, for the ratio that includes it [min]."""
    graded: tuple[str, ...] = GRADED
    """Policies to rank beside the trained ones."""
    json: Path | None = None
    """Write the numbers here."""
    plot: Path | None = None
    """Write the plot here."""


def main(config: TransferConfig) -> None:
    """Score, print and write."""
    results: dict[str, Any] = {task: score(config, task) for task in config.tasks}
    report = {
        "model": config.model,
        "episodes": config.episodes,
        "seed": config.seed,
        "machine": platform.platform(),
        "tasks": results,
    }
    report["model_hash"] = next(iter(results.values()))["model_hash"]
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(report, indent=1, default=str) + "\n")
    if config.plot is not None:
        draw(results, config.plot)


def score(config: TransferConfig, task: Literal["reach", "grasp", "stack"]) -> dict[str, Any]:
    """Everything that is said of one task."""
    folder = config.runs / task
    trained = {name: folder / name for name in ("learned", "warm-start") if (folder / name / "config.json").is_file()}
    checkpoints = sorted(path.parent for path in folder.glob("*/checkpoints/*/config.json"))
    policies = (*(str(path) for path in (*trained.values(), *checkpoints)), *config.graded)
    options = CompareConfig(policies, task, config.episodes, config.seed, config.model)
    arena = Arena(task, config.model, min(options.rows, config.episodes))
    numbers = summarise(options, arena, compare(options, arena))
    print(f"{task}\n{table(numbers)}", flush=True)
    entries = {entry["policy"]: entry for entry in numbers["policies"]}
    best = entries.get(str(trained.get("learned")))
    cloned = entries.get(str(trained.get("warm-start")))
    return {
        "twin_success": rate(best, "twin"),
        "learned_success": rate(best, "learned"),
        "warm_start_success": rate(cloned, "twin"),
        **{key: numbers[key] for key in ("pearson", "spearman", "mmrv", "mean_gap", "model_hash")},
        "policies": [
            {"policy": name, "twin": rate(entry, "twin"), "learned": rate(entry, "learned")} | agreement(entry)
            for name, entry in entries.items()
        ],
        "wall_clock_ratio": wall_clock(folder, 60 * config.model_minutes),
    }


def rate(entry: dict[str, Any] | None, world: str) -> dict[str, Any] | None:
    """Success of a policy in a world, in 0 to 1."""
    return entry and {"rate": entry[world]["success_rate"], "wilson": entry[world]["interval"]}


def agreement(entry: dict[str, Any]) -> dict[str, Any]:
    """How often both worlds agree from the same start."""
    return {"agreement": entry["agreement"], "kappa": entry["kappa"]}


def wall_clock(folder: Path, model_seconds: float) -> dict[str, float] | None:
    """Time to `REACHED` in the learned world over that in the twin, without and with the world model's own training."""
    learned, twin = (seconds_to_success(folder / world) for world in ("learned", "twin"))
    if learned is None or twin is None:
        return None
    return {"without_model": learned / twin, "with_model": (learned + model_seconds) / twin}


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
            errors = {
                world: [[rate - policy[world]["wilson"][0]], [policy[world]["wilson"][1] - rate]]
                for world, rate in points.items()
            }
            axes.errorbar(
                points["twin"], points["learned"], errors["learned"], errors["twin"], "o", color="C0", alpha=0.7
            )
        axes.plot([0, 1], [0, 1], color="#bbb", linewidth=1)
        title = task if result["pearson"] is None else f"{task}: r = {result['pearson']:.2f}, MMRV {result['mmrv']:.2f}"
        axes.set(xlabel="held success in the twin", ylabel="in the learned world", title=title)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main(tyro.cli(TransferConfig))
