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

from recorders.filming import Camera
from recorders.recording import Take, World

STEPS = 70
WORLD = World("ogbench-cube-single-v0", 20, None, ("object_0",))
SPREAD = np.array([[0.3, -0.2], [0.55, 0.2]])
"""Where cubes and targets lie [m]."""
BEHAVIOURS = ("plan", "plan, noise 0.1", "markov, noise 0.5", "random")
VIEW = {"lookat": np.array([0.37, 0.0, 0.10]), "distance": 0.72, "azimuth": 180.0, "elevation": -38.0}


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


def takes(seeds: Iterable[int]) -> Iterator[Take]:
    """Act and film, one episode per seed."""
    env = gym.make("cube-single-v0", STEPS, mode="data_collection", visualize_info=False, terminate_at_goal=False)
    scene: Any = env.unwrapped
    scene._object_sampling_bounds = scene._target_sampling_bounds = SPREAD
    camera = None
    for seed in seeds:
        np.random.seed(seed)  # the oracles draw from numpy's global generator
        observation, info = env.reset(seed=seed)
        camera = camera or Camera(scene.model, scene.data, _viewpoint(), WORLD.things, shadows=False)
        behaviour, noise = BEHAVIOURS[seed % 4], np.random.default_rng([seed, 2])
        actor = _actor(behaviour, env, seed)
        actor.reset(observation, info)
        rows, succeeded = [], False
        for step in range(STEPS + 1):
            action = np.clip(actor.select_action(observation, info), -1, 1)
            if behaviour.startswith("markov"):
                action = np.clip(action + noise.normal(0, 0.5, 5) * (1, 1, 1, 1, 0), -1, 1)
            rows.append((camera.picture(), *_reported(info), action, camera.centres(), camera.visible()))
            if step < STEPS:
                observation, _, _, _, info = env.step(action)
                succeeded = succeeded or bool(info["success"])
        frames, joints, hands, turns, openings, actions, centres, visible = map(np.stack, zip(*rows, strict=True))
        telemetry = {
            "robot0_joint_pos": joints,
            "robot0_eef_pos": hands,
            "robot0_eef_yaw": np.unwrap(turns, axis=0),
            "robot0_gripper_opening": openings,
        }
        yield Take(seed, behaviour, frames, telemetry, actions[:-1], centres, visible, succeeded)


def _actor(behaviour: str, env: Any, seed: int) -> Any:
    """Return who acts in an episode."""
    if behaviour == "random":
        return Wanderer(seed)
    if behaviour.startswith("markov"):
        return CubeMarkovOracle(env=env)
    return CubePlanOracle(env=env, noise=0.1 if "noise" in behaviour else 0)


def _reported(info: Any) -> tuple[Any, ...]:
    """Return what the robot says of itself."""
    return tuple(info[f"proprio/{key}"] for key in ("joint_pos", "effector_pos", "effector_yaw", "gripper_opening"))


def _viewpoint() -> mujoco.MjvCamera:
    """Return a free camera that stands still."""
    camera = mujoco.MjvCamera()
    for name, value in VIEW.items():
        setattr(camera, name, value)
    return camera
