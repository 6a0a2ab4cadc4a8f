"""`gwm rl train` and `gwm rl eval`."""

from __future__ import annotations

from typing import Annotated

import tyro

from gwm_sim.policies.rl.evaluation import RlEvalConfig, evaluate_policy
from gwm_sim.policies.rl.training import RlTrainConfig, train

RlConfig = (
    Annotated[RlTrainConfig, tyro.conf.subcommand("train", description="Train a policy inside a world.")]
    | Annotated[RlEvalConfig, tyro.conf.subcommand("eval", description="Score a policy in an environment.")]
)


def main(config: RlTrainConfig | RlEvalConfig) -> int:
    """Run the chosen one."""
    return train(config) if isinstance(config, RlTrainConfig) else evaluate_policy(config)
