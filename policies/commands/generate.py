"""`gwm generate`: a film of a learned world, of any length, from one start."""

import time
from typing import Any

import gymnasium as gym
import torch

from gwm_sim.envs import WORLD_ID
from gwm_sim.files import keeping, write_json
from gwm_sim.media.video import enlarge, write_video
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.film import Film, GenerateConfig, follow, length, start
from gwm_sim.policies.registry import PolicySpec, make_policy
from gwm_sim.policies.uniform import RecordedPolicy

HEIGHT = 384  # of a film [px]


def main(config: GenerateConfig) -> int:
    """Run `gwm generate`."""
    env = gym.make_vec(WORLD_ID, num_envs=1, model=config.model, time_limit=None)
    world: Any = env.unwrapped
    model: WorldModel = world.world_model
    rate = model.config.schema.rate
    actions = follow(config, model)
    steps = length(config, rate, actions)
    torch.manual_seed(config.seed)  # what agents draw from
    if actions is None:
        actor = make_policy(config.policy or "uniform", env, config.seed, model)
    else:
        actor = PolicySpec(RecordedPolicy(actions), env)
    film = Film(world, actor, start(config, model), config.seed, steps)
    scale = config.scale or max(1, round(HEIGHT / model.config.tokenizer.height))
    begun = time.perf_counter()
    with keeping(lambda: f"{config.out} was not written."):
        write_video(config.out, (enlarge(frame, scale) for frame in film.frames()), rate)
    seconds = time.perf_counter() - begun
    print(f"{config.out}: {steps / rate:g} s of {model.config.name}, {steps / seconds:.0f} steps a second")
    print(f"expected error at the end: {film.uncertainty:.1f} {model.config.dynamics.error_unit}")
    if config.json is not None:
        report = {
            "film": str(config.out),
            "model": model.config.name,
            "model_hash": model.digest(),
            "seconds": steps / rate,
            "steps": steps,
            "steps_per_second": round(steps / seconds, 1),
            "uncertainty": film.uncertainty,
        }
        write_json(config.json, report)
    return 0


__all__ = ["GenerateConfig", "main"]
