"""The physics twin is a robot with a camera, which the live loop can drive."""

import json
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from bench import SCHEMA, SIZE
from models import make_model

from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.media.video import write_png, write_video
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.commands.run import RunConfig, main
from gwm_sim.policies.live.camera import Camera, Freshness
from gwm_sim.policies.live.robots import Robot, make_robot
from gwm_sim.policies.testing.robot import RobotConformance


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model(schema=SCHEMA)


class TestTwinRobot(RobotConformance):
    def make_robot(self) -> tuple[Robot, Schema]:
        pytest.importorskip("mujoco")
        from gwm_sim.policies.blocks.twin_robot import TwinRobot

        world = WorldModel.load("gwm-mini", "cpu").config
        return TwinRobot(world), world.schema


def test_the_twin_is_a_robot_with_a_camera(model: WorldModel) -> None:
    pytest.importorskip("mujoco")
    from gwm_sim.policies.blocks.twin_robot import TwinRobot

    robot = TwinRobot(model.config, task="reach")
    with Camera(robot.camera, Freshness(max_age=60.0)) as camera:
        before = camera.start(timeout=60.0)
        here = robot.get_observation()
        for _ in range(4):
            assert robot.send_action({"dx": 0.0, "dy": 0.0, "dz": 5.0, "gripper": 0.0})["dz"] == 1.0
        there = robot.get_observation()
        while (shot := camera.latest()) is None or shot.number < before.number + 3:
            Event().wait(0.02)
        assert camera.fault(shot.time) is None  # it never freezes
    assert there["cmd_z"] > here["cmd_z"] + 0.03 and there["ee_z"] > here["ee_z"] + 0.03
    assert before.frame.shape == shot.frame.shape == (SIZE, SIZE, 3)
    assert np.abs(shot.frame.astype(int) - before.frame).max() > 30
    assert not robot.succeeded
    with pytest.raises(ConfigError, match="task must be one of reach, grasp, stack, got 'juggle'"):
        make_robot("mujoco", model.config, ["task=juggle"])


@pytest.mark.slow
def test_a_cube_is_grasped_through_the_camera_of_the_twin_and_along_a_film_nothing_moves(tmp_path: Path) -> None:
    """In real time with the shipped model, so on an idle machine."""
    import gymnasium as gym

    import gwm_sim.envs  # noqa: F401  # registers the ids
    from gwm_sim.policies.blocks.experts import expert

    seed, memory = 300_003, None
    twin = gym.make("MuJoCo-BlockGrasp-v0")
    observation, _ = twin.reset(seed=seed)
    script, frames = expert(twin, seed=seed), [observation["pixels"]]
    for _ in range(30):
        action, memory = script.predict(observation, memory)
        observation, *_ = twin.step(action)
        frames.append(observation["pixels"])
    goal, film, numbers = tmp_path / "goal.png", tmp_path / "film.mp4", tmp_path / "run.json"
    write_png(goal, frames[-1])
    write_video(film, frames, rate=10)

    options = (f"seed={seed}", "task=grasp")
    run = RunConfig(
        "robot", (goal,), "mujoco", options, move=True, seconds=15.0, plan_deadline=5.0, max_age=1.0, json=numbers
    )
    assert main(run) == 0
    assert json.loads(numbers.read_text())["succeeded"]
    assert main(RunConfig(str(film), (goal,), "null", json=numbers)) == 0
    along = json.loads(numbers.read_text())
    assert along["sent"] == 0 and along["plans"] >= 1 and "the video is over" in along["stop"]["reason"]
