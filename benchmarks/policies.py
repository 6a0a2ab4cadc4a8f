"""Make the policies that `benchmarks/transfer.py` scores.

For each task: one trained in the learned world, and the checkpoints on the way, which are of graded skill. For the
stack 5 demonstrations are the warm start, and what is cloned from them alone is kept beside. For the grasp the same
algorithm also learns in the twin, for the ratio of the wall-clock times.

python benchmarks/policies.py --out runs/rl
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from program import launch

from gwm_sim.envs.blocks.spec import env_id
from gwm_sim.policies.collection import CollectConfig, collect
from gwm_sim.policies.commands.rl import main_train
from gwm_sim.policies.rl.training import RlTrainConfig

Task = Literal["reach", "grasp", "stack"]
MINUTES: Final[dict[Task, float]] = {"reach": 5.0, "grasp": 15.0, "stack": 12.0}
"""Training time of each task, evaluations on the way included."""
DEMONSTRATED: Final[tuple[Task, ...]] = ("stack",)
IN_THE_TWIN: Final[tuple[Task, ...]] = ("grasp",)
TWIN_MINUTES: Final = 25.0


@dataclass(frozen=True)
class PoliciesConfig:
    """Train policies of every skill; runs that are finished are left as they are, others are resumed."""

    out: Path
    """Folder of all runs."""
    tasks: tuple[Task, ...] = ("reach", "grasp", "stack")
    """Tasks to train for."""
    algo: str = "sac"
    """Algorithm of every run."""
    demonstrations: int = 5
    """Scripted episodes of the warm start."""
    model: str = "gwm-mini"
    """World model."""
    threads: int | None = None
    """Cores to train on; by default all. With 1, the tasks can be trained side by side."""


def main(config: PoliciesConfig) -> None:
    """Record the demonstrations and train."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    for task in config.tasks:
        for run in runs(config, task):
            if not (run.out / "finished.json").is_file():
                main_train(run)


def runs(config: PoliciesConfig, task: Task) -> list[RlTrainConfig]:
    """The trainings of a task; its demonstrations are recorded first."""
    folder = config.out / task
    twin, learned = env_id("twin", task), env_id("learned", task)

    def run(name: str, env: str, **options: Any) -> RlTrainConfig:
        out = folder / name
        resume = (out / "config.json").is_file()
        return RlTrainConfig(
            env, out, config.algo, model=config.model, resume=resume, json=out / "finished.json", **options
        )

    shown: Path | None = None
    listed = []
    if task in DEMONSTRATED:
        shown = folder / "demonstrations.hdf5"
        if not shown.exists():
            collect(CollectConfig(config.demonstrations, shown, twin, policy="scripted"))
        listed.append(run("warm-start", learned, steps=0, warm_start=shown, eval_minutes=-1.0))
    every = max(5.0, MINUTES[task] / 6)
    listed.append(run("learned", learned, minutes=MINUTES[task], eval_minutes=every, keep=True, warm_start=shown))
    if task in IN_THE_TWIN:
        listed.append(run("twin", twin, minutes=TWIN_MINUTES, eval_minutes=every, keep=True))
    return listed


if __name__ == "__main__":
    launch(main, PoliciesConfig)
