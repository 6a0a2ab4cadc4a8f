"""A world that is not ours: film Gymnasium-Robotics' Fetch as a team films its robot, import, train and compare.

pip install "gwm-sim[fetch]", then this file: a model that is good for nothing, in two minutes. The one of the README is
made by benchmarks/own_robot.sh.
"""

import enum
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import h5py
import mujoco
import numpy as np
import tyro
from gymnasium_robotics.utils import mujoco_utils

from gwm_sim import EpisodeFile, cli
from gwm_sim.envs.gl import choose_gl_backend

NAME = "FetchPickAndPlace-v4"
CAMERA = {"lookat": np.array([1.34, 0.75, 0.50]), "distance": 0.68, "azimuth": 180.0, "elevation": -36.0}
REACH = ((1.15, 0.55, 0.42), (1.50, 0.95, 0.66))  # where the operator keeps the gripper: in sight of the camera [m]
ROBOT = {"control_freq": 25, "controller_configs": {"type": "OSC_POSITION"}}  # robosuite's name for dx, dy, dz

# gymnasium-robotics 1.4 compares numpy's integers with MuJoCo's enums, which since MuJoCo 4 are never equal.
ENUMS = {kind.__name__: enum.IntEnum(kind.__name__, kind.__members__) for kind in (mujoco.mjtJoint, mujoco.mjtEq)}
vars(mujoco_utils)["mujoco"] = SimpleNamespace(**vars(mujoco) | ENUMS)


class Operator:
    """Picks and places, plays around the block or holds still, and changes their mind every 12 steps or so."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 1])
        self.speed, self.noise = self.rng.uniform(0.4, 1), self.rng.choice([0, 0.1, 0.3])
        self.mode, self.aim, self.fingers = "place", np.zeros(3), 0

    def act(self, grip: Any, opening: float, block: Any, goal: Any) -> Any:
        """Return dx, dy, dz, 1 being 3 cm, and the motion of the fingers, -1 closes."""
        if self.rng.random() < 0.08:
            self.mode = self.rng.choice(["place", "play", "hold"], p=[0.6, 0.25, 0.15])
            self.aim, self.fingers = block + self.rng.normal(0, (0.08, 0.08, 0.04)), int(self.rng.integers(-1, 2))
        if self.mode == "hold":
            return np.zeros(4, np.float32)
        if self.mode == "place":
            aside, above = max(abs(grip - block)[:2]) > 0.012, abs(grip - block)[2] > 0.012
            self.aim = block + (0, 0, 0.08) if aside else block if above or opening > 0.053 else goal
            self.fingers = 1 if aside or above else -1
        move = (12 * (np.clip(self.aim, *REACH) - grip)).clip(-self.speed, self.speed)
        return np.append(move + self.rng.normal(0, self.noise, 3), self.fingers).clip(-1, 1).astype(np.float32)


def record(path: str, episodes: int, seed: int) -> None:
    """Write demos of 60 steps in robomimic's layout; the block is 5 to 7 px wide."""
    choose_gl_backend()
    env = gym.make(NAME, 60, render_mode="rgb_array", width=64, height=64, default_camera_config=CAMERA)
    with h5py.File(path, "w") as file:
        file.create_group("data").attrs["env_args"] = json.dumps({"env_name": NAME, "env_kwargs": ROBOT})
        for k in range(episodes):
            (observation, _), operator, rows, over = env.reset(seed=seed + k), Operator(seed + k), [], False
            while not over:
                frame, (grip, block, _, fingers) = env.render(), np.split(observation["observation"][:11], (3, 6, 9))
                action = operator.act(grip, fingers.sum(), block, observation["desired_goal"])
                observation, _, _, over, info = env.step(action)
                rows.append((frame, grip, fingers, action, info["is_success"]))
            keys = "obs/front_image", "obs/robot0_eef_pos", "obs/robot0_gripper_qpos", "actions", "rewards"
            for key, values in zip(keys, zip(*rows, strict=True), strict=True):
                file[f"data/demo_{k}/{key}"] = np.stack(values)
    env.close()


def main(out: str = "out/fetch", episodes: int = 30, tests: int = 6, train: str = "--preset tiny --steps 100") -> None:
    """Go from recordings to a learned environment in the folder OUT, by TRAIN as options of `gwm train`."""
    data, test, model = f"{out}/train.hdf5", f"{out}/test.hdf5", f"{out}/model"
    Path(out).mkdir(parents=True, exist_ok=True)
    record(f"{data}.robomimic", episodes, seed=0)
    record(f"{test}.robomimic", tests, seed=300_000)
    for command in (
        f"import robomimic {data}.robomimic --out {data}",
        f"import robomimic {test}.robomimic --out {test}",
        f"train --data {data} --out {model} --name fetch --resume {train}",
        f"eval --model {model} --data {test} --horizons 1 10 25 --json {out}/evaluation.json",
    ):
        if cli.main(command.split()):
            raise SystemExit(f"gwm {command} failed")
    world = gym.make("gwm_sim:GWM-World-v0", model=model)
    world.reset(options={"episode": f"{test}:0", "step": 3})
    real = EpisodeFile(test).read(0)
    for action in real.actions[3:]:
        observation, reward, *_ = world.step(action)
    off = 100 * np.linalg.norm(observation["agent_pos"][:3] - real.telemetry[-1, :3])
    print(f"after {len(real) - 3} steps the learned gripper is {off:.1f} cm from the true one, reward {reward:.2f}")


if __name__ == "__main__":
    tyro.cli(main)
