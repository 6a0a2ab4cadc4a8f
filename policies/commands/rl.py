"""`gwm rl train` and `gwm rl eval`."""

from dataclasses import asdict
from typing import Annotated

import tyro

from gwm_sim.files import write_json
from gwm_sim.policies.rl.evaluation import RlEvalConfig, evaluate_policy, film, read_by
from gwm_sim.policies.rl.training import RlTrainConfig, train

RlConfig = (
    Annotated[RlTrainConfig, tyro.conf.subcommand("train", description="Train a policy inside a world.")]
    | Annotated[RlEvalConfig, tyro.conf.subcommand("eval", description="Score a policy in an environment.")]
)


def main(config: RlTrainConfig | RlEvalConfig) -> int:
    """Run the chosen one."""
    if isinstance(config, RlTrainConfig):
        main_train(config)
    else:
        main_eval(config)
    return 0


def main_train(config: RlTrainConfig) -> None:
    """Run `gwm rl train`."""
    agent, score = train(config)
    if config.json is not None:
        write_json(config.json, {**asdict(agent), "scores": score and asdict(score)})
    print(f"{agent.steps} steps in {agent.seconds / 60:.1f} minutes; the policy is in {config.out}")
    if score is not None:
        print(f"sustained success of {score.episodes} episodes: {score}")


def main_eval(config: RlEvalConfig) -> None:
    """Run `gwm rl eval`."""
    evaluation = evaluate_policy(config)
    low, high = evaluation.interval
    steps = "" if evaluation.median_steps is None else f", median {evaluation.median_steps:.0f} steps"
    print(
        f"{config.policy} in {config.env}: sustained success {evaluation.success_rate:.1%} [{low:.1%}, {high:.1%}] "
        f"of {config.episodes} episodes{steps}"
    )
    if config.json is not None:
        about = {"policy": config.policy, "env": config.env, "seed": config.seed, "stochastic": config.stochastic}
        if (world := read_by(config)) is not None:
            about |= {"model": world.config.name, "model_hash": world.digest()}
        write_json(config.json, about | evaluation.to_json())
    if config.video is not None:
        film(config, config.video)
