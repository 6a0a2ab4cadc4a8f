"""OGBench's cube-single at 20 Hz, 70 steps an episode.

Environment: `pip install ogbench h5py tyro` in one of its own, since it brings dm_control. Who acts, by seed: a quarter
of the episodes each follow OGBench's CubePlanOracle without noise, the same with its usual noise of 0.1, its
CubeMarkovOracle with normal noise of 0.5 of the largest action, and smooth random motions near the cube.

The camera is ours: the cube (4 cm) is some 5 px wide, 3 px before OGBench's own. So that all of the table is in sight,
cubes and targets lie within 20 cm of the middle instead of 30. The arm is opaque, and neither targets, success nor
shadows are drawn: those of an arm of 185,000 triangles take 77 of 93 ms a picture where no graphics card draws.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import ogbench.manipspace  # noqa: F401  (registers its environments)
from ogbench.manipspace.oracles.markov.cube_markov import CubeMarkovOracle
from ogbench.manipspace.oracles.plan.cube_plan import CubePlanOracle

from recorders.filming import ArmStage, Camera, put_back, snapshot
from recorders.recording import Take, World

STEPS = 70
WORLD = World("ogbench-cube-single-v0", 20, None, ("object_0",))
SPREAD = np.array([[0.3, -0.2], [0.55, 0.2]])
"""Where cubes and targets lie [m]."""
BEHAVIOURS = ("plan", "plan, noise 0.1", "markov, noise 0.5", "random")
VIEW = {"lookat": np.array([0.37, 0.0, 0.10]), "distance": 0.72, "azimuth": 180.0, "elevation": -38.0}

REPORTED = {
    "robot0_joint_pos": "joint_pos",
    "robot0_eef_pos": "effector_pos",
    "robot0_eef_yaw": "effector_yaw",
    "robot0_gripper_opening": "gripper_opening",
}
"""What the arm reports of itself, by robomimic's names and OGBench's."""


class Wanderer:
    """Moves to and fro around the cube, and opens and closes the gripper, without an aim."""

    def __init__(self, seed: int) -> None:
        self._rng, self._action = np.random.default_rng([seed, 1]), np.zeros(5)

    def reset(self, observation: Any, info: Any) -> None:
        """Begin an episode."""

    def select_action(self, observation: Any, info: Any) -> Any:
        """Return the next action, which resembles the last one."""
        self._action = 0.8 * self._action + self._rng.normal(0, 0.4, 5)
        away = info["privileged/block_0_pos"] + (0, 0, 0.05) - info["proprio/effector_pos"]
        return np.clip(self._action + np.append(4 * away, (0, 0)), -1, 1)


class Stage(ArmStage):
    """The arm and the cube."""

    least = 4

    def __init__(self) -> None:
        self._env = gym.make(
            "cube-single-v0", STEPS, mode="data_collection", visualize_info=False, terminate_at_goal=False
        )
        scene: Any = self._env.unwrapped
        scene._object_sampling_bounds = scene._target_sampling_bounds = SPREAD
        self.scene = scene
        self._camera: Camera | None = None
        self._yaw: Any = None
        self.succeeded = False

    def play(self, seed: int) -> Iterator[Any]:
        """Act an episode out, and stop at each moment to say what is done next, (5,)."""
        np.random.seed(seed)  # the oracles draw from numpy's global generator
        observation, info = self._env.reset(seed=seed)
        behaviour, noise, self.succeeded = BEHAVIOURS[seed % 4], np.random.default_rng([seed, 2]), False
        actor = _actor(behaviour, self._env, seed)
        actor.reset(observation, info)
        self._yaw = None
        for step in range(STEPS + 1):
            action = np.clip(actor.select_action(observation, info), -1, 1)
            if behaviour.startswith("markov"):
                action = np.clip(action + noise.normal(0, 0.5, 5) * (1, 1, 1, 1, 0), -1, 1)
            yield action
            if step < STEPS:
                observation, _, _, _, info = self.scene.step(action)
                self.succeeded = self.succeeded or bool(info["success"])

    @property
    def camera(self) -> Camera:
        """What films it, once there is a scene."""
        self._camera = self._camera or Camera(
            self.scene.model, self.scene.data, _viewpoint(), WORLD.things, shadows=False
        )
        return self._camera

    def frame(self) -> Any:
        """What the camera sees, (H, W, 3) uint8."""
        return self.camera.picture()

    def telemetry(self) -> dict[str, Any]:
        """What the arm reports of itself; the turn of its hand goes on beyond half a turn."""
        info = self.scene.compute_ob_info()
        told = {name: info[f"proprio/{key}"] for name, key in REPORTED.items()}
        yaw = told["robot0_eef_yaw"]
        if self._yaw is not None:
            yaw = yaw - 2 * np.pi * np.round((yaw - self._yaw) / (2 * np.pi))
        self._yaw = yaw  # of the moment before
        return told | {"robot0_eef_yaw": yaw}

    def save(self) -> Any:
        """All of the simulation, and what the turn of the hand goes on from."""
        return snapshot(self.scene.data), self._yaw

    def restore(self, saved: Any) -> None:
        """Put it back to where it was."""
        state, self._yaw = saved
        put_back(self.scene.model, self.scene.data, state)

    def pose(self) -> Any:
        """Where the cube is, (3,) [m]."""
        return self.scene.data.joint("object_joint_0").qpos[:3].copy()

    def reached(self, pose: Any) -> bool:
        """Whether the cube is within 4 cm of a pose."""
        return bool(np.linalg.norm(self.pose() - pose) <= 0.04)


def takes(seeds: Iterable[int]) -> Iterator[Take]:
    """Act and film, one episode per seed."""
    stage = Stage()
    for seed in seeds:
        rows = []
        for action in stage.play(seed):
            camera = stage.camera
            rows.append((camera.picture(), *stage.telemetry().values(), action, camera.centres(), camera.visible()))
        frames, *told, actions, centres, visible = map(np.stack, zip(*rows, strict=True))
        telemetry = dict(zip(REPORTED, told, strict=True))
        yield Take(seed, BEHAVIOURS[seed % 4], frames, telemetry, actions[:-1], centres, visible, stage.succeeded)


def _actor(behaviour: str, env: Any, seed: int) -> Any:
    """Return who acts in an episode."""
    if behaviour == "random":
        return Wanderer(seed)
    if behaviour.startswith("markov"):
        return CubeMarkovOracle(env=env)
    return CubePlanOracle(env=env, noise=0.1 if "noise" in behaviour else 0)


def _viewpoint() -> mujoco.MjvCamera:
    """Return a free camera that stands still."""
    camera = mujoco.MjvCamera()
    for name, value in VIEW.items():
        setattr(camera, name, value)
    return camera
