"""Scores in both worlds along a training run: a JSON file and a plot of the gap between them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from gwm_sim.envs.tabletop.paired import WORLDS, World
from gwm_sim.evaluation.statistics import wilson_interval
from gwm_sim.files import write_json

CURVE_FILE: Final = "curve.json"


@dataclass(frozen=True)
class Score:
    """Sustained successes in both worlds, from the same starts."""

    steps: int
    """Environment steps learned from."""
    seconds: float
    """Training time [s]."""
    episodes: int
    """Episodes in each world."""
    learned: int
    """Successful ones in the learned world."""
    twin: int | None = None
    """Successful ones in the twin; None where there is none."""

    @property
    def worlds(self) -> tuple[World, ...]:
        """Those that it was scored in."""
        return WORLDS if self.twin is not None else ("learned",)

    def rate(self, world: World) -> float:
        """Share of successful episodes."""
        return int(getattr(self, world)) / self.episodes

    def __str__(self) -> str:
        """The shares, in words."""
        rates = ", ".join(f"{self.rate(world):.0%} in the {world} world" for world in self.worlds)
        return rates.replace("twin world", "twin")


def read_curve(folder: Path) -> list[Score]:
    """Scores of a run so far."""
    path = folder / CURVE_FILE
    return [Score(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))] if path.is_file() else []


def write_curve(scores: Sequence[Score], folder: Path, title: str) -> None:
    """Write the scores, and the plot where matplotlib is installed."""
    write_json(folder / CURVE_FILE, [asdict(score) for score in scores])
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    minutes = [score.seconds / 60 for score in scores]
    for world in scores[0].worlds if scores else ():
        rates = [score.rate(world) for score in scores]
        low, high = zip(*(wilson_interval(getattr(s, world), s.episodes) for s in scores), strict=True)
        (line,) = axes.plot(minutes, rates, marker="o", label={"twin": "physics twin"}.get(world, "learned world"))
        axes.fill_between(minutes, low, high, color=line.get_color(), alpha=0.15)
    axes.set(xlabel="training [min]", ylabel="sustained success", ylim=(-0.02, 1.02), title=title)
    axes.legend()
    figure.savefig(folder / "gap.png", dpi=120)
