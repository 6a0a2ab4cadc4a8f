"""Poses become actions of any model whose end-effector is commanded, and only of those."""

from dataclasses import replace
from math import pi, tau
from typing import Any

import numpy as np
import pytest
from learned_worlds import draw_actions

from gwm_sim.data.schema import Command, Schema
from gwm_sim.envs.blocks import spec
from gwm_sim.model.checkpoint import SHIPPED
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving.errors import ServingError
from gwm_sim.policies.serving.runway.poses import POSE, Poses

AXES = ("x", "y", "z", "roll", "pitch", "yaw")


@pytest.fixture(scope="module")
def blocks() -> WorldModelConfig:
    return WorldModel.load(SHIPPED / "gwm-mini").config


def robot(config: WorldModelConfig, telemetry: tuple[str, ...], actions: tuple[str, ...], **said: Any) -> Poses:
    """Poses of a robot that reports and is told other things, in the same model."""
    schema: Schema = replace(
        config.schema,
        telemetry_names=telemetry,
        telemetry_low=(-10.0,) * len(telemetry),
        telemetry_high=(10.0,) * len(telemetry),
        action_names=actions,
        commands=said.pop("commands", ()),
        effector=(),
        gripper=(),
        settings=said,
    )
    return Poses(replace(config, schema=schema))


def test_poses_lead_where_the_actions_would_have_led(blocks: WorldModelConfig) -> None:
    poses, command = Poses(blocks), np.array([0.5, 0.0, 0.15])
    for action in 0.9 * draw_actions(20):
        telemetry = np.zeros(14)
        telemetry[spec.COMMAND] = command
        reached = spec.integrate_command(command, action)
        told = poses.action([*reached, 0, 0, 0, 0], telemetry.tolist())
        np.testing.assert_allclose(spec.integrate_command(command, np.array(told)), reached, atol=1e-9)
        command = reached
    assert poses.lost == ("roll", "pitch", "yaw")


def test_the_gripper_goes_to_its_share_of_closing(blocks: WorldModelConfig) -> None:
    poses, opening = Poses(blocks), 0.08
    for wanted, there in ((0.0, 0.08), (1.0, 0.0), (0.5, 0.04)):
        for _ in range(8):
            telemetry = np.zeros(14)
            telemetry[spec.OPENING] = opening
            rate = np.clip(poses.action([0, 0, 0, 0, 0, 0, wanted], telemetry.tolist())[spec.GRIPPER], -1, 1)
            opening = float(np.clip(opening - spec.GRIPPER_SCALE * rate, 0, spec.GRIPPER_MAX))
        assert opening == pytest.approx(there, abs=1e-6)


def test_changes_are_counted_from_what_is_measured(blocks: WorldModelConfig) -> None:
    kinds = ["delta"] * 6 + ["target"]
    poses = robot(blocks, AXES, (*(f"d{axis}" for axis in AXES), "gripper"), action_kinds=kinds)
    told = poses.action([0.4, 0.1, 0.2, pi - 0.1, 0.0, 0.3, 0.7], [0.3, 0.1, 0.3, -pi + 0.1, 0.0, 0.0])
    np.testing.assert_allclose(told, [0.1, 0.0, -0.1, -0.2, 0.0, 0.3, 0.7], atol=1e-9)
    assert poses.lost == ()


def test_targets_are_told_as_they_are_but_for_whole_turns(blocks: WorldModelConfig) -> None:
    commands = tuple(Command(i, i, 0.5, i, absolute=True) for i in range(7))
    poses = robot(blocks, POSE, POSE, commands=commands)
    told = poses.action([0.4, 0.1, 0.2, 0.1, 0.0, 0.3, 0.7], [0.3, 0.1, 0.3, tau, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(np.array(told) / 2, [0.4, 0.1, 0.2, tau + 0.1, 0.0, 0.3, 0.7], atol=1e-9)


def test_a_robot_that_is_told_joints_takes_no_poses(blocks: WorldModelConfig) -> None:
    joints = tuple(f"joint_{i}" for i in range(1, 8))
    commands = tuple(Command(i, i, 1.0, i, absolute=True) for i in range(7))
    with pytest.raises(ServingError, match="takes no poses: its actions are joint_1, joint_2"):
        robot(blocks, (*joints, "x", "y", "z"), joints, commands=commands)
