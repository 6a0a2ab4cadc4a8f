"""Gymnasium-Robotics' `FetchPickAndPlace-v4` at 25 Hz, 80 steps an episode.

Environment: that of gwm_sim with `pip install "gwm-sim[fetch]"`. The operator and the camera are those of
`examples/own_robot.py`: a scripted pick and place that changes its mind every 12 steps or so, plays around the block
or holds still, at a speed of 0.4 to 1 and with noise of 0, 0.1 or 0.3 of the largest action by seed; a third of the
episodes each. The block is 5 to 7 px wide. The goal's marker, which is no thing, is not drawn.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np

from recorders.filming import Camera
from recorders.recording import Take, World

sys.path.append(str(Path(__file__).parents[2] / "examples"))
from own_robot import CAMERA, NAME, Operator  # noqa: E402  (found by the line above)

STEPS = 80
WORLD = World(NAME, 25, "OSC_POSITION", ("object0",))


def takes(seeds: Iterable[int]) -> Iterator[Take]:
    """Act and film, one episode per seed."""
    env = gym.make(NAME, STEPS)
    scene: Any = env.unwrapped
    camera = None
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        scene.model.geom_rgba[scene.model.geom_bodyid == scene.model.body("robot0:mocap").id] = 0  # lines at the hand
        camera = camera or Camera(scene.model, scene.data, _viewpoint(), WORLD.things)
        operator, rows, succeeded = Operator(seed), [], False
        for step in range(STEPS + 1):
            grip, block, _, fingers = np.split(observation["observation"][:11], (3, 6, 9))
            action = operator.act(grip, fingers.sum(), block, observation["desired_goal"])
            rows.append((camera.picture(), grip, fingers, action, camera.centres(), camera.visible()))
            if step < STEPS:
                observation, _, _, _, info = env.step(action)
                succeeded = succeeded or bool(info["is_success"])
        frames, grips, openings, actions, centres, visible = map(np.stack, zip(*rows, strict=True))
        telemetry = {"robot0_eef_pos": grips, "robot0_gripper_qpos": openings}
        behaviour = f"operator, noise {operator.noise:g}, speed {operator.speed:.2f}"
        yield Take(seed, behaviour, frames, telemetry, actions[:-1], centres, visible, succeeded)


def _viewpoint() -> mujoco.MjvCamera:
    """Return the free camera of the example, which stands still."""
    camera = mujoco.MjvCamera()
    for name, value in CAMERA.items():
        setattr(camera, name, value)
    return camera
