"""How often scripted experts and floors solve the tasks in the physics twin: ceiling and floor of every table.

python benchmarks/experts.py --json benchmarks/results/experts.json
"""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
from program import launch

import gwm_sim
from gwm_sim.envs.blocks.spec import TASKS, env_id
from gwm_sim.files import write_json
from gwm_sim.policies.blocks.experts import expert
from gwm_sim.policies.evaluation import evaluate
from gwm_sim.policies.uniform import HoldPolicy, UniformPolicy
from gwm_sim.protocol import FIRST_EVALUATION_SEED


@dataclass(frozen=True)
class ExpertsConfig:
    """Evaluate the scripted experts and the floors in the physics twin."""

    episodes: int = 200
    """Episodes of each policy."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of the first episode."""
    json: Path | None = None
    """Write the numbers here."""


def main(config: ExpertsConfig) -> None:
    """Evaluate, print and write."""
    results = {}
    for task in TASKS:
        env = gym.make(env_id("twin", task), rendering="fast")
        space: Any = env.action_space
        for name, policy in (
            ("scripted", expert(env)),
            ("uniform", UniformPolicy(space, config.seed)),
            ("hold", HoldPolicy(space)),
        ):
            evaluation = evaluate(policy, env, config.episodes, config.seed)
            low, high = evaluation.interval
            results[f"{task}/{name}"] = {
                "success_rate": evaluation.success_rate,
                "wilson": [low, high],
                "episodes": config.episodes,
                "median_steps": evaluation.median_steps,
            }
            print(f"{task:6} {name:9} {evaluation.success_rate:6.1%}  [{low:.1%}, {high:.1%}]", flush=True)
        env.close()
    if config.json is not None:
        report = {
            "seed": config.seed,
            "gwm_sim": gwm_sim.__version__,
            "machine": platform.platform(),
            "results": results,
        }
        write_json(config.json, report)


if __name__ == "__main__":
    launch(main, ExpertsConfig)
