"""Any environment is a robot with a camera, which the live loop drives as it would hardware."""

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from bench import SCHEMA, SIZE
from models import make_model

from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.live import Camera, Freshness, LiveLoop, LoopConfig, ModelPlanner
from gwm_sim.policies.live.env_robot import EnvRobot
from gwm_sim.policies.live.model_planner import lead_of, live_config
from gwm_sim.policies.live.robots import Robot, make_robot
from gwm_sim.policies.live.safety import check_hold, declare
from gwm_sim.policies.planning import Goal
from gwm_sim.policies.testing.robot import RobotConformance


class Bead(gym.Env[Any, Any]):
    """A bead on a wire, which the first action moves: it succeeds right of the middle and ends at the right end."""

    observation_space = gym.spaces.Dict({})
    action_space = gym.spaces.Box(-1, 1, (3,))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = (options or {}).get("place", 0.0)
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.place = min(1.0, self.place + 0.125 * float(action[0]))
        return self.seen(), 0.0, self.place == 1, False, {"is_success": self.place > 0.5}

    def seen(self) -> Any:
        pixels = np.full((SIZE, SIZE, 3), 100, np.uint8)
        pixels[:, : int(SIZE * self.place)] = 200
        return {"pixels": pixels, "agent_pos": np.full(5, self.place, np.float32)}


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model(schema=SCHEMA)


@pytest.fixture(scope="module")
def world(model: WorldModel) -> WorldModelConfig:
    return model.config


class TestEnvRobot(RobotConformance):
    def make_robot(self) -> tuple[Robot, Schema]:
        return EnvRobot(Bead(), make_model(schema=SCHEMA).config), SCHEMA


def test_time_passes_with_every_action_until_the_episode_is_over(world: WorldModelConfig) -> None:
    robot = EnvRobot(Bead(), world, options={"place": 0.25})
    assert robot.get_observation() == pytest.approx(dict.fromkeys(SCHEMA.telemetry_names, 0.25))
    for _ in range(9):
        assert robot.send_action({"dx": 9.0, "dy": 0.0, "gripper": 0.0})["dx"] == 1.0
    assert robot.succeeded and robot.succeeded_at == 3  # right of the middle
    assert robot.steps == 6 and (robot.picture == 200).all()  # the rest of the actions came too late


def test_an_environment_of_another_robot_is_refused(world: WorldModelConfig) -> None:
    class Blind(Bead):
        def seen(self) -> Any:
            return {"agent_pos": np.zeros(5)}

    class Short(Bead):
        def seen(self) -> Any:
            return {**super().seen(), "agent_pos": np.zeros(4)}

    for env, message in ((Blind(), r"with 'pixels' and 'agent_pos', not \['agent_pos'\]"), (Short(), r"\(\(4,\), \(3")):
        with pytest.raises(ValueError, match=message):
            EnvRobot(env, world)


def test_environments_are_robots_by_their_ids(world: WorldModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = gym.envs.registration.EnvSpec("Bead-v0", entry_point=lambda **_: Bead(), disable_env_checker=True)
    monkeypatch.setitem(gym.registry, "Bead-v0", spec)
    robot: Any = make_robot("gym", world, ["env=Bead-v0", "seed=4"])
    assert isinstance(robot, EnvRobot)
    for options in (["env=Nowhere-v0"], ["env=Bead-v0", "seed=four"], []):
        with pytest.raises(ConfigError, match="--robot gym cannot be made with options"):
            make_robot("gym", world, options)


def test_the_loop_drives_it_at_its_own_rate(model: WorldModel) -> None:
    """Whatever the plans of a model that knows nothing: it is observed, acted on and held."""
    robot = EnvRobot(Bead(), model.config)
    how = replace(live_config(model, None, 0.2, SCHEMA.rate), proposals=0)
    planner = ModelPlanner(model, [Goal.solve(model, "reach")], config=how)
    with Camera(robot.camera, Freshness(max_age=60.0)) as camera:
        camera.start()
        robot.connect()
        options = LoopConfig(move=True, seconds=0.5, settle=0.1, plan_deadline=60, max_plan_age=60, stall=60)
        report = LiveLoop(camera, robot, planner, SCHEMA, SIZE, options).run()
    assert report.stop.reason == "the time is over" and not report.stop.fault
    assert robot.steps == report.sent > 0


def test_plans_are_executed_for_as_long_as_the_next_one_takes(model: WorldModel) -> None:
    assert [lead_of(seconds, rate) for seconds, rate in ((0.4, 10), (0.4, 25), (0.1, 10))] == [5, 11, 2]
    for rate in (10.0, 25.0):
        how = live_config(model, None, 0.4, rate)
        assert lead_of(0.4, rate) <= how.execute * how.block and how.execute <= how.horizon
        assert how.time_budget == 0.4
    assert live_config(model, None, 9.0, 25.0).execute == live_config(model, None, 9.0, 25.0).horizon


def test_whoever_knows_that_zero_holds_may_say_so() -> None:
    unsaid = replace(SCHEMA, commands=(), settings={"action_kinds": [None, "delta", "target"]})
    check_hold(declare(unsaid, ["dx", "gripper"]))
    for names in ((), ("dx",)):
        with pytest.raises(ConfigError, match="--zero_holds"):
            check_hold(declare(unsaid, names))
    with pytest.raises(ConfigError, match="names actions of dx, dy, gripper, got 'dz'"):
        declare(unsaid, ["dz"])
    absolute = replace(SCHEMA, commands=(replace(SCHEMA.commands[0], absolute=True),))
    with pytest.raises(ConfigError, match="--zero_holds dx: it is a target that the telemetry follows"):
        declare(absolute, ["dx"])
    assert declare(SCHEMA, []) is SCHEMA
