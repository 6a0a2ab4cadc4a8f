"""Actions of robosuite are named as its controllers take them; what they leave open is said, never guessed.

The orders, widths and limits are those that robosuite 1.5.2 prints for its robots.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from gwm_sim.data.importers.source import Action
from gwm_sim.data.reading.robosuite import name_actions

ONE = {"robot0_eef_pos": 3, "robot0_joint_pos": 7}
PARALLEL = {"robot0_gripper_qpos": 2}
TWO = ONE | {"robot1_eef_pos": 3, "robot1_joint_pos": 7}
BOTH_ARMS = {"robot0_right_eef_pos": 3, "robot0_left_eef_pos": 3, "robot0_joint_pos": 14}
MOBILE = ONE | PARALLEL | {"robot0_base_pos": 3}

POSE = ["dx", "dy", "dz", "dax", "day", "daz"]


def osc(**more: Any) -> dict[str, Any]:
    return {"type": "OSC_POSE", "input_max": 1, "input_min": -1, "input_type": "delta", "gripper": {"type": "GRIP"},
            "output_max": [0.05] * 6, "kp_limits": [0, 300], "damping_ratio_limits": [0, 10]} | more  # fmt: skip


def composite(*parts: str, kind: str = "BASIC", **more: Any) -> dict[str, Any]:
    """A configuration of 1.5 that describes some parts of a body."""
    joints = {"type": "JOINT_POSITION", "input_max": 1, "input_min": -1, "output_max": 0.5}
    known = {"right": osc(), "left": osc(), "torso": joints, "head": joints, "legs": joints,
             "base": {"type": "JOINT_VELOCITY"}}  # fmt: skip
    return {"type": kind, "body_parts": {name: deepcopy(known[name]) for name in parts}} | more


BASIC = composite("right", "left", "torso", "head", "base", "legs")
"""What `controller="BASIC"` describes whatever the robot is."""


def actions(
    config: Any, width: int, observed: dict[str, int], version: str = "1.5.2", **kwargs: Any
) -> tuple[Action, ...]:
    named, reason = name_actions({"controller_configs": config, **kwargs}, version, width, observed)
    assert named is not None, reason
    assert len(named) == width and reason == ""
    return named


def names(*given: Any, **kwargs: Any) -> list[str]:
    return [action.name for action in actions(*given, **kwargs)]


def test_one_arm_of_a_body_with_two_is_that_arm() -> None:
    told = actions(BASIC, 7, ONE, robots=["Panda"])
    assert [action.name for action in told] == [*POSE, "gripper"]
    assert [action.kind for action in told] == ["delta"] * 6 + ["target"]
    assert {(action.low, action.high) for action in told} == {(-1.0, 1.0)}
    assert names(BASIC, 7, {}) == [*POSE, "gripper"]  # the width alone tells


def test_two_robots_come_one_after_the_other() -> None:
    expected = [f"arm{i}_{name}" for i in (0, 1) for name in (*POSE, "gripper")]
    assert names(BASIC, 14, TWO, robots=["Panda", "Panda"]) == expected
    assert names([osc(), osc()], 14, TWO, "1.4.1") == expected


def test_grippers_of_two_arms_come_last_since_1_5_and_each_after_its_arm_before() -> None:
    right, left = ([f"{side}_{name}" for name in POSE] for side in ("right", "left"))
    assert names(BASIC, 14, BOTH_ARMS, robots="Baxter") == [*right, *left, "right_gripper", "left_gripper"]
    assert names(osc(), 14, BOTH_ARMS, "1.4.1") == [*right, "right_gripper", *left, "left_gripper"]
    named, reason = name_actions({"controller_configs": osc()}, "", 14, BOTH_ARMS)
    assert named is None and "leave open what the 14 actions are" in reason


def test_bodies_on_wheels_and_legs() -> None:
    omron = composite("right", "torso", "base", kind="HYBRID_MOBILE_BASE")
    base = ["base_0", "base_1", "base_2"]
    told = actions(omron, 12, MOBILE)
    assert [action.name for action in told] == [*POSE, "dtorso", *base, "gripper", "base_mode"]
    assert [action.kind for action in told[6:]] == ["delta", "rate", "rate", "rate", "target", "target"]
    order = {"body_part_ordering": ["right", "right_gripper", "base", "torso"]}
    ordered = names(omron | {"composite_controller_specific_configs": order}, 12, MOBILE)
    assert ordered == [*POSE, "gripper", *base, "dtorso", "base_mode"]
    wheels = {"robot0_base_pos": 3, "robot0_right_gripper_qpos": 6, "robot0_left_gripper_qpos": 6}
    tiago = names(composite("right", "left", "torso", "head", "base"), 20, BOTH_ARMS | wheels)
    assert tiago[12:] == [*(f"dtorso_head_{i}" for i in range(3)), *base, "right_gripper", "left_gripper"]
    spot = names(composite("right", "legs"), 19, MOBILE)
    assert spot[6:] == [*(f"dlegs_{i}" for i in range(12)), "gripper"]
    named, reason = name_actions({"controller_configs": omron}, "1.5.2", 12, ONE | {"robot0_base_pos": 3})
    assert named is None and "leave open" in reason  # one column may be the gripper's or the torso's
    named, reason = name_actions({"controller_configs": composite(*BASIC["body_parts"])}, "1.5.2", 12, MOBILE)
    assert named is None and "torso JOINT_POSITION ?, head JOINT_POSITION ?, base JOINT_VELOCITY 3" in reason


@pytest.mark.parametrize(
    ("config", "width", "observed", "expected"),
    [
        ({"type": "OSC_POSITION"}, 4, ONE, ("dx", "delta", -1, 1)),
        ({"type": "JOINT_POSITION"}, 8, ONE, ("djoint_0", "delta", -1, 1)),
        ({"type": "JOINT_POSITION"}, 7, ONE | {"robot0_joint_pos": 6}, ("djoint_0", "delta", -1, 1)),
        ({"type": "JOINT_POSITION", "input_type": "absolute"}, 8, ONE, ("joint_0", "target", None, None)),
        ({"type": "JOINT_VELOCITY", "input_max": 0.5, "input_min": -0.5}, 8, ONE, ("joint_0", "rate", -0.5, 0.5)),
        ({"type": "JOINT_TORQUE"}, 8, ONE, ("joint_0", "rate", -1, 1)),
        ({"type": "IK_POSE", "ik_pos_limit": 0.02, "ik_ori_limit": 0.05}, 7, ONE, ("dx", "delta", -0.02, 0.02)),
        (osc(control_delta=False), 7, ONE, ("x", "target", None, None)),
        ({"body_parts": {"right": osc(input_type="absolute")}}, 7, ONE, ("x", "target", None, None)),
        (osc(impedance_mode="variable_kp"), 13, ONE, ("kp_0", "target", 0, 300)),
        (osc(impedance_mode="variable"), 19, ONE, ("damping_ratio_0", "target", 0, 10)),
    ],
)  # fmt: skip
def test_controllers(config: dict[str, Any], width: int, observed: dict[str, int], expected: tuple[Any, ...]) -> None:
    told = actions(config, width, observed)
    first = told[0]
    assert (first.name, first.kind, first.low, first.high) == expected
    assert (told[-1].name, told[-1].kind, told[-1].low, told[-1].high) == ("gripper", "target", -1, 1)


def test_hands_and_missing_grippers() -> None:
    hand = {"robot0_gripper_qpos": 12}
    assert names(composite("right"), 12, ONE | hand)[6:] == [f"gripper_{i}" for i in range(6)]
    assert names(BASIC, 6, ONE | hand, gripper_types=None) == names(BASIC, 6, ONE) == POSE
    hands = {"robot0_right_gripper_qpos": 11, "robot0_left_gripper_qpos": 11}
    specific = {"actuation_part_names": ["torso", "head", "right", "left"], "ik_input_type": "absolute"}
    whole = composite("right", "left", "torso", "head", kind="WHOLE_BODY_MINK_IK")
    told = actions(whole | {"composite_controller_specific_configs": specific}, 24, BOTH_ARMS | hands)
    assert [told[i].name for i in (0, 6, 12, 18)] == ["right_x", "left_x", "right_gripper_0", "left_gripper_0"]
    assert told[0].kind == "target"


@pytest.mark.parametrize(
    ("config", "width", "reason"),
    [
        (BASIC, 9, "the actions have 9 columns, but .* take others: right OSC_POSE 6, right gripper 1"),
        (BASIC, 5, "the actions have 5 columns"),
        (BASIC, 6, "take others: right OSC_POSE 6, right gripper 1"),  # a gripper is observed, so it is told something
        ({"type": "OSC_POSITION"}, 7, "take others: right OSC_POSITION 3, right gripper 1"),
        ({"type": "JOINT_POSITION"}, 7, "take others: right JOINT_POSITION 7, right gripper 1"),
        ({"type": "MY_OWN"}, 7, "names the controller 'MY_OWN', of which it is not known"),
        (composite("right") | {"body_parts": {"right": {"type": "MINE"}}}, 7, "it is not known what its 7 actions are"),
    ],
)
def test_what_does_not_fit_is_said(config: dict[str, Any], width: int, reason: str) -> None:
    named, said = name_actions({"controller_configs": config, "robots": ["Panda"]}, "1.5.2", width, ONE | PARALLEL)
    assert named is None
    with pytest.raises(ValueError, match=reason):
        raise ValueError(said)


def test_no_controller_of_robosuite_is_no_fault() -> None:
    nothing: tuple[Any, ...] = (None, {}, [])
    for config in nothing:
        assert name_actions({"controller_configs": config}, "1.5.2", 7, ONE) == (None, "")
