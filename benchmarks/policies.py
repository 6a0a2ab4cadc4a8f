"""Make the policies that `benchmarks/transfer.py` scores.

For each task: one trained in the learned world, one cloned, one trained in the twin, and the checkpoints on the way,
which are of graded skill.

python benchmarks/policies.py --out runs/rl --minutes 60
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from gwm_sim.envs.contract import env_id
from gwm_sim.policies.collect import CollectConfig, collect
from gwm_sim.policies.rl.training import RlTrainConfig, train


@dataclass(frozen=True)
class PoliciesConfig:
    """Train policies of every skill; runs that are finished are left as they are."""

    out: Path
    """Folder of all runs."""
    tasks: tuple[Literal["reach", "grasp", "stack"], ...] = ("reach", "grasp", "stack")
    """Tasks to train for."""
    algo: str = "sac"
    """Algorithm of the policies trained from nothing, in both worlds."""
    minutes: float = 60.0
    """Training time of each run."""
    demonstrations: int = 25
    """Scripted episodes to clone."""
    model: str = "gwm-mini"
    """World model."""
    twin: bool = True
    """Whether to train in the twin as well, for the ratio of the wall-clock times."""


def main(config: PoliciesConfig) -> None:
    """Record the demonstrations and train."""
    for task in config.tasks:
        folder = config.out / task
        demonstrations = folder / "demonstrations.hdf5"
        twin, learned = env_id("twin", task), env_id("learned", task)
        if not demonstrations.exists():
            collect(CollectConfig(config.demonstrations, demonstrations, twin, policy="scripted"))
        runs = {
            "learned": RlTrainConfig(
                learned, folder / "learned", config.algo, config.minutes, model=config.model, keep=True
            ),
            "warm-start": RlTrainConfig(
                learned,
                folder / "warm-start",
                "ppo",
                steps=1,  # cloning alone
                warm_start=demonstrations,
                model=config.model,
                eval_minutes=0.0,
            ),
        }
        if config.twin:
            runs["twin"] = RlTrainConfig(
                twin, folder / "twin", config.algo, config.minutes, model=config.model, keep=True
            )
        for run in runs.values():
            if not (run.out / "config.json").is_file():
                train(run)


if __name__ == "__main__":
    main(tyro.cli(PoliciesConfig))
