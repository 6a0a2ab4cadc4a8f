"""The arm's kinematics, against MuJoCo's own."""

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco")

from gwm_sim.envs.blocks import spec  # noqa: E402
from gwm_sim.envs.blocks.mujoco import scene  # noqa: E402
from gwm_sim.envs.tabletop.mujoco import kinematics  # noqa: E402


def random_joints(count: int) -> kinematics.Array:
    return np.random.default_rng(1).uniform(kinematics.JOINT_LOW, kinematics.JOINT_HIGH, (count, 7))


def random_targets(count: int) -> kinematics.Array:
    return np.random.default_rng(2).uniform(spec.WORKSPACE_LOW, spec.WORKSPACE_HIGH, (count, 3))


def test_forward_kinematics_agree_with_the_scene() -> None:
    model = scene.make_model("fast")
    data = mujoco.MjData(model)
    for joints in random_joints(20):
        data.qpos[:7] = joints
        mujoco.mj_kinematics(model, data)
        _, tool = kinematics.joint_frames(joints)
        np.testing.assert_allclose(tool[:3, 3], data.site("end_effector").xpos, atol=1e-8)
        np.testing.assert_allclose(tool[:3, :3], data.site("end_effector").xmat.reshape(3, 3), atol=1e-8)


def test_inverse_kinematics_reach_the_whole_workspace_from_home() -> None:
    targets = random_targets(300)
    joints = kinematics.solve(targets, kinematics.HOME, iterations=30)
    assert np.linalg.norm(kinematics.end_effector(joints) - targets, axis=1).max() < 1e-4
    turn = kinematics.joint_frames(joints)[1][:, :3, :3] - kinematics.GRIPPER_DOWN
    assert np.abs(turn).max() < 1e-3
    assert (joints > kinematics.JOINT_LOW).all()
    assert (joints < kinematics.JOINT_HIGH).all()


def test_a_few_iterations_follow_one_step_of_command_within_a_millimetre() -> None:
    targets = random_targets(300)
    joints = kinematics.solve(targets, kinematics.HOME, iterations=30)
    corners = spec.ACTION_SCALE * np.sign(np.random.default_rng(3).normal(size=targets.shape))
    moved = (targets + corners).clip(spec.WORKSPACE_LOW, spec.WORKSPACE_HIGH)
    followed = kinematics.solve(moved, joints, iterations=3)
    assert np.linalg.norm(kinematics.end_effector(followed) - moved, axis=1).max() < 1e-3


def test_rows_are_solved_independently() -> None:
    targets = random_targets(8)
    together = kinematics.solve(targets, kinematics.HOME, iterations=5)
    alone = np.stack([kinematics.solve(target[None], kinematics.HOME, iterations=5)[0] for target in targets])
    np.testing.assert_array_equal(together, alone)
