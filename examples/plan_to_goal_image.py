"""Reach a goal picture: search in the learned world, act in the physics twin, see what was imagined.

    python examples/plan_to_goal_image.py --task grasp

The goal is a picture and nothing else. What robot and cubes should do on the way comes from demonstrations that lie
beside the shipped model.
"""

from pathlib import Path

import gymnasium as gym
import tyro

import gwm_sim.envs  # noqa: F401  # registers the ids
from gwm_sim.envs.blocks.spec import TIME_LIMIT, env_id
from gwm_sim.media.video import contact_sheet, write_png
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.blocks.experts import expert
from gwm_sim.policies.evaluation import evaluate
from gwm_sim.policies.planning import Guide, MpcPolicy, guided_config


def main(task: str = "grasp", seed: int = 300_000, out: Path = Path("out/plan.png")) -> None:
    """Plan to a picture of the fulfilled task.

    Args:
        task: "reach", "grasp" or "stack".
        seed: Seed of the start.
        out: Picture of start, goal, and what the first plan is expected to lead to.
    """
    model = WorldModel.load("gwm-mini")
    guide = Guide.beside(model, "gwm-mini")
    assert guide is not None
    env = gym.make(env_id("twin", task))

    # A picture of the goal: what the camera sees when the scripted expert is done.
    observation, _ = env.reset(seed=seed)
    start, script, memory = observation["pixels"], expert(env, seed=seed), None
    for _ in range(TIME_LIMIT[task] - 1):
        action, memory = script.predict(observation, memory)
        observation, *_, info = env.step(action)
        if info["success"]:
            break
    picture = observation["pixels"]

    policy = MpcPolicy(model, guide.goal(picture), config=guided_config(model), guide=guide)
    result = evaluate(policy, env, 1, seed, until_sustained=True).episodes[0]
    seconds = sum(policy.plan_seconds) / len(policy.plan_seconds)
    print(
        f"{task}: {'reached' if result.success else 'not reached'} after {result.length} steps, "
        f"{len(policy.plan_seconds)} plans of {1000 * seconds:.0f} ms"
    )

    # What the first plan was expected to lead to, and why it was chosen.
    observation, _ = env.reset(seed=seed)
    _, memory = policy.predict(observation)
    explained = policy.explain(memory)
    for name, share in explained.terms.items():
        print(f"  {name:12} adds {float(share.sum()):.3f} to the cost")
    imagined = list(explained.frames[0].numpy())
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, contact_sheet({"imagined": imagined, "start, goal": [start, picture]}))
    print(f"{out}: the frames that the first plan was expected to lead to")
    env.close()


if __name__ == "__main__":
    tyro.cli(main)
