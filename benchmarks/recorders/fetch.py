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

from recorders.filming import ArmStage, Camera, put_back, snapshot
from recorders.recording import Take, World

sys.path.append(str(Path(__file__).parents[2] / "examples"))
from own_robot import CAMERA, NAME, Operator  # noqa: E402  (found by the line above)

STEPS = 80
WORLD = World(NAME, 25, "OSC_POSITION", ("object0",))


class Stage(ArmStage):
    """The arm and the block."""

    least = 5

    def __init__(self) -> None:
        self._env = gym.make(NAME, STEPS)
        self.scene: Any = self._env.unwrapped
        self._camera: Camera | None = None
        self.succeeded, self.behaviour = False, ""

    def play(self, seed: int) -> Iterator[Any]:
        """Act an episode out, and stop at each moment to say what is done next, (4,)."""
        observation, _ = self._env.reset(seed=seed)
        operator, self.succeeded = Operator(seed), False
        self.behaviour = f"operator, noise {operator.noise:g}, speed {operator.speed:.2f}"
        for step in range(STEPS + 1):
            grip, block, _, fingers = np.split(observation["observation"][:11], (3, 6, 9))
            action = operator.act(grip, fingers.sum(), block, observation["desired_goal"])
            yield action
            if step < STEPS:
                observation, _, _, _, info = self.scene.step(action)
                self.succeeded = self.succeeded or bool(info["is_success"])

    @property
    def camera(self) -> Camera:
        """What films it, once there is a scene."""
        model = self.scene.model
        if self._camera is None:
            model.geom_rgba[model.geom_bodyid == model.body("robot0:mocap").id] = 0  # lines at the hand
            self._camera = Camera(model, self.scene.data, _viewpoint(), WORLD.things)
        return self._camera

    def frame(self) -> Any:
        """What the camera sees, (H, W, 3) uint8."""
        return self.camera.picture()

    def telemetry(self) -> dict[str, Any]:
        """What the arm reports of itself."""
        observation = self.scene._get_obs()["observation"]
        return {"robot0_eef_pos": observation[:3], "robot0_gripper_qpos": observation[9:11]}

    def save(self) -> Any:
        """All of the simulation."""
        return snapshot(self.scene.data)

    def restore(self, saved: Any) -> None:
        """Put it back to where it was."""
        put_back(self.scene.model, self.scene.data, saved)

    def pose(self) -> Any:
        """Where the block is, (3,) [m]."""
        return self.scene._get_obs()["achieved_goal"].copy()

    def reached(self, pose: Any) -> bool:
        """Whether the block is where a pose has it, by the environment's own rule (5 cm)."""
        return bool(self.scene._is_success(self.pose(), pose))


def takes(seeds: Iterable[int]) -> Iterator[Take]:
    """Act and film, one episode per seed."""
    stage = Stage()
    for seed in seeds:
        rows = []
        for action in stage.play(seed):
            camera = stage.camera
            rows.append((camera.picture(), *stage.telemetry().values(), action, camera.centres(), camera.visible()))
        frames, grips, openings, actions, centres, visible = map(np.stack, zip(*rows, strict=True))
        telemetry = {"robot0_eef_pos": grips, "robot0_gripper_qpos": openings}
        yield Take(seed, stage.behaviour, frames, telemetry, actions[:-1], centres, visible, stage.succeeded)


def _viewpoint() -> mujoco.MjvCamera:
    """Return the free camera of the example, which stands still."""
    camera = mujoco.MjvCamera()
    for name, value in CAMERA.items():
        setattr(camera, name, value)
    return camera
