"""Train a policy where no physics runs, then see what it is worth where it does.

A policy that is good for nothing, in seconds; one that reaches the cube, in five minutes on two cores:

    python examples/rl_in_imagination.py
    python examples/rl_in_imagination.py --steps 30000 --episodes 50
"""

from pathlib import Path

import gymnasium as gym
import tyro
from stable_baselines3 import SAC
from stable_baselines3.common.vec_env import VecMonitor

import gwm_sim
from gwm_sim.envs.blocks.spec import world_ids
from gwm_sim.envs.tabletop.paired import PairedWorlds
from gwm_sim.envs.wrappers import VectorLatentObservation
from gwm_sim.policies.evaluation import evaluate
from gwm_sim.policies.rl import SB3VecEnv
from gwm_sim.policies.rl.features import StateExtractor


def main(
    task: str = "reach", model: Path = Path("gwm-mini"), steps: int = 600, rows: int = 16, episodes: int = 4
) -> None:
    """Train in the learned world, score in both.

    Args:
        task: What to learn: reach, grasp or stack.
        model: World model, a shipped one or a folder.
        steps: Imagined steps to learn from.
        rows: Worlds that are imagined at a time.
        episodes: Episodes of the scores.
    """
    # Policies see what the model reads, joints and positions, so no picture is drawn while they learn.
    worlds = gym.make_vec(f"GWM-Block{task.capitalize()}-v0", num_envs=rows, model=model)
    env = VecMonitor(SB3VecEnv(VectorLatentObservation(worlds, keys=("objects",))))

    effector = worlds.unwrapped.get_attr("world_model")[0].config.dynamics.effector  # type: ignore[attr-defined]
    agent = SAC(
        "MultiInputPolicy",
        env,
        gamma=0.95,
        learning_rate=1e-3,
        learning_starts=20 * rows,
        gradient_steps=8,
        policy_kwargs={
            "net_arch": [256, 256],
            "features_extractor_class": StateExtractor,
            "features_extractor_kwargs": {"effector": effector},
        },
        seed=0,
        device="cpu",
    )
    agent.learn(steps)

    # Both worlds from the same starts: the twin is reset by seed, and the learned world is given its first frames.
    arena = PairedWorlds(world_ids(task), model, rows=min(rows, episodes))
    for world in ("twin", "learned"):
        scored = VectorLatentObservation(arena.make(world), keys=("objects",), model=model)
        result = evaluate(agent, scored, episodes, seed=300_000)
        low, high = result.interval
        print(f"{world}: held success {result.success_rate:.0%} [{low:.0%}, {high:.0%}] of {episodes} episodes")
        scored.close()
    print(f"gwm_sim {gwm_sim.__version__}: learned from {agent.num_timesteps} imagined steps")


if __name__ == "__main__":
    tyro.cli(main)
