"""Make a world of your own: record, train, measure, and step it as an environment.

A model that is good for nothing, in a minute:

    python examples/train_world_model.py

A real one, in an afternoon on two cores:

    python examples/train_world_model.py --out runs/mine --episodes 900 --length 90 --preset mini --minutes 180
"""

from pathlib import Path

import gymnasium as gym
import tyro

import gwm_sim
from gwm_sim.commands.eval import EvalConfig, evaluate
from gwm_sim.commands.train import main as train
from gwm_sim.policies.collection import collect
from gwm_sim.policies.commands.collect import CollectConfig
from gwm_sim.training.config import TrainConfig


def main(
    out: Path = Path("out/my-world"),
    env: str = "MuJoCo-BlockStack-v0",
    episodes: int = 60,
    length: int = 30,
    preset: str = "tiny",
    minutes: float | None = None,
) -> None:
    """Go the whole way from physics to a learned environment.

    Args:
        out: Folder for recordings and model.
        env: Environment to learn.
        episodes: Episodes to train on.
        length: Length of an episode in steps.
        preset: Size of the model, tiny or mini.
        minutes: Training time; by default 100 updates.
    """
    model, test = out / "model", out / "test.hdf5"

    # Behaviours of mixed quality: a model of nothing but demonstrations believes that everything succeeds.
    recording = out / "train.hdf5"
    collect(CollectConfig(env=env, episodes=episodes, steps=length, out=recording, rendering="fast"))
    collect(CollectConfig(env=env, episodes=10, steps=length, out=test, seed=300_000, rendering="fast"))

    steps = 100 if minutes is None else None
    train(TrainConfig(data=(recording,), out=model, preset=preset, minutes=minutes, steps=steps, resume=True))

    report = evaluate(EvalConfig(model=str(model), data=test, horizons=(1, 10)))
    for horizon, numbers in report["horizons"].items():
        print(
            f"after {horizon} steps: end-effector {numbers['telemetry_error_mm']:.0f} mm off, frames "
            f"{numbers['psnr']:.1f} dB ({numbers['psnr_floor']:.1f} dB had the last one been copied)"
        )

    world = gym.make("GWM-World-v0", model=model)
    world.reset(seed=0)
    for _ in range(10):
        _, reward, _, _, info = world.step(world.action_space.sample())
    print(f"gwm_sim {gwm_sim.__version__}: 10 steps in the new world, uncertainty {info['gwm/uncertainty']:.2f}")
    world.close()


if __name__ == "__main__":  # the recording uses processes that import this file
    tyro.cli(main)
