"""RLlib's PPO in a learned world, from an environment of its own: RLlib pins another Gymnasium than the tests here.

    python -m venv .venv-rllib
    .venv-rllib/bin/pip install . "ray[rllib]==2.60.0"
    .venv-rllib/bin/python examples/rllib_ppo.py

A policy that is good for nothing after 2,000 steps; with --steps 20000 one that comes near the cube, in a minute.
"""

import logging
import os
import secrets

# Ray reads this when it is imported: nothing is sent home, and nobody else gets into the cluster of this program.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))

from typing import Any

import gymnasium as gym
import ray
import tyro
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.wrappers.vector import FlattenObservation
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.tune.registry import register_env

import gwm_sim  # noqa: F401  # registers the ids
from gwm_sim.envs.wrappers import VectorLatentObservation


class OwnSeeds(VectorWrapper):
    """Give no two rows the same starts: RLlib counts seeds by processes, an environment by rows."""

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the rows of a process."""
        return super().reset(seed=None if seed is None else seed * self.num_envs, options=options)


def make_worlds(options: dict[str, Any]) -> VectorEnv[Any, Any, Any]:
    """Rows of a learned world as RLlib wants them: one vector each in place of a Dict, reset by the step after the end.

    The vector is the telemetry and where the world believes its objects to be; no picture is drawn.
    """
    worlds = gym.make_vec(autoreset_mode=AutoresetMode.NEXT_STEP, **options)
    return OwnSeeds(FlattenObservation(VectorLatentObservation(worlds, keys=("objects",))))


def main(
    env: str = "GWM-BlockReach-v0", model: str = "gwm-mini", steps: int = 2000, runners: int = 2, rows: int = 8
) -> None:
    """Train and print the mean return of every iteration.

    Args:
        env: Id of a learned environment of the block world.
        model: World model, a shipped one or a folder.
        steps: Environment steps to learn from, rounded up to whole iterations.
        runners: Processes that imagine; 0 does it in this one.
        rows: Worlds that each of them imagines at a time, in one pass of the model.
    """
    ray.init(
        "local", num_cpus=max(1, runners), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    register_env("gwm", make_worlds)
    config = (
        PPOConfig()
        .environment("gwm", env_config={"id": env, "model": model})
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=rows, gym_env_vectorize_mode="vector_entry_point")
        .training(train_batch_size=500, minibatch_size=100, num_epochs=6, lr=1e-3, gamma=0.95, lambda_=0.9)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], vf_share_layers=False))
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    done = 0
    while done < steps:
        found = algorithm.train()
        done = int(found["num_env_steps_sampled_lifetime"])
        print(f"{done} steps: mean return {found['env_runners']['episode_return_mean']:.2f}", flush=True)
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    tyro.cli(main)
