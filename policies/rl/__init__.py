"""Reinforcement learning on these worlds, with stable-baselines3."""

from gwm_sim.policies.rl.sb3_adapter import SB3VecEnv

__all__ = ["SB3VecEnv"]
