"""What stands between a plan and a motor: limits, the dead-man, and a stop that stays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench import ABSOLUTE, SCHEMA, Actions, Bench

from gwm_sim.errors import ConfigError
from gwm_sim.policies.live.safety import DeadMan, Latch, Limits, check_hold, touched
from gwm_sim.policies.live.timing import Clock


def test_actions_keep_to_step_size_and_workspace() -> None:
    limits = Limits.of(SCHEMA, speed=0.5, workspace={"cmd_x": (0.2, 0.6)})
    telemetry = np.array([0.58, 0.5, 0.5, 0.58, 0.5], np.float32)
    clamped = limits.clamp(np.array([9.0, -9.0, 9.0], np.float32), telemetry)
    np.testing.assert_allclose(clamped, [0.2, -0.5, 0.5], atol=1e-5)
    outside = replace_at(telemetry, 3, 0.9)
    assert not limits.clamp(np.zeros(3, np.float32), outside).any()  # a hold stays a hold
    assert limits.clamp(np.array([1.0, 0, 0], np.float32), outside)[0] == 0
    assert limits.clamp(np.array([-1.0, 0, 0], np.float32), outside)[0] == -0.5


def replace_at(values: Actions, index: int, value: float) -> Actions:
    changed = values.copy()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("speed", "workspace", "message"),
    [
        (0.0, {}, "share of the largest action"),
        (1.0, {"z": (0.0, 1.0)}, "has cmd_x, cmd_y, not 'z'"),
        (1.0, {"cmd_x": (0.9, 0.2)}, "leaves no room for cmd_x"),
    ],
)
def test_impossible_limits_are_refused(speed: float, workspace: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Limits.of(SCHEMA, speed, workspace)


def test_what_zero_does_not_hold_still_is_not_moved() -> None:
    for kinds, message in (
        (["delta", "target", "rate"], "dy of the model's data are targets, and nothing in the telemetry follows them"),
        (["delta", None, "rate"], "do not say whether zero holds dy still: import them with --actions"),
    ):
        schema = replace(SCHEMA, settings={"action_kinds": kinds})
        with pytest.raises(ConfigError, match=message):
            check_hold(schema)
        with pytest.raises(ConfigError, match=message):
            Bench(schema=schema)
        Bench(schema=schema, move=False)  # a dry run sends nothing
    for settings in ({}, {"action_kinds": ["delta", "delta", "rate"]}):
        check_hold(replace(SCHEMA, settings=settings))
    with pytest.raises(ConfigError, match="do not say whether zero holds dx, dy, gripper still"):
        check_hold(replace(SCHEMA, settings={}, commands=()))
    told = (replace(SCHEMA.commands[0], absolute=True), SCHEMA.commands[1])
    check_hold(replace(SCHEMA, settings={}, commands=told))


def test_targets_keep_to_steps_from_the_last_one_and_to_their_box() -> None:
    limits = Limits.of(ABSOLUTE, speed=0.5, workspace={"joint_1": (-0.1, 0.1)}, steps=np.full(6, 0.2, np.float32))
    where, before = np.zeros(6, np.float32), np.full(6, 0.05, np.float32)
    wanted = np.array([2.0, 2.0, -2.0, 0.1, 0.05, np.float32(0)], np.float32)
    clamped = limits.clamp(wanted, where, before)
    np.testing.assert_allclose(clamped, [0.15, 0.1, -0.05, 0.1, 0.05, 0.0], atol=1e-6)
    for place in (1.5, 3.4):  # moved by hand, out of the workspace, or beyond all that was recorded
        outside = np.full(6, place, np.float32)
        np.testing.assert_allclose(limits.clamp(ABSOLUTE.hold(outside), outside, outside), outside)
        back = limits.clamp(np.zeros(6, np.float32), outside, outside)
        np.testing.assert_allclose(back, outside - 0.1, err_msg="step by step", rtol=1e-6)
    unsaid = Limits.of(ABSOLUTE).steps
    np.testing.assert_allclose(unsaid, 0.02 * 4)
    course = limits.course(np.full((3, 6), 2.0, np.float32), where, where)
    np.testing.assert_allclose(course[:, 0], [0.1, 0.2, 0.3], rtol=1e-6)
    np.testing.assert_allclose(course[:, 1], 0.1, rtol=1e-6)


def test_a_target_may_lie_beyond_what_is_ever_measured() -> None:
    """So a gripper presses."""
    gripper = replace(ABSOLUTE, telemetry_low=(0.3,) * 6)
    where = np.full(6, 0.3, np.float32)
    pressed = Limits.of(gripper).clamp(np.full(6, 0.25, np.float32), where, where)
    np.testing.assert_allclose(pressed, 0.25)


def test_angles_that_are_counted_beyond_a_turn_are_not_sent_as_targets() -> None:
    turning = replace(ABSOLUTE, settings={**ABSOLUTE.settings, "turns": {"state.joint_3": 6.28}})
    with pytest.raises(ConfigError, match="state.joint_3 are angles that the model counts beyond one turn"):
        check_hold(turning)


def test_a_hold_of_targets_is_where_the_robot_is_measured() -> None:
    where = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_array_equal(ABSOLUTE.hold(where), where)
    gripper = replace(ABSOLUTE, commands=(replace(ABSOLUTE.commands[2], scale=0.5),))
    np.testing.assert_allclose(gripper.hold(where[0]), [0, 0, where[0, 2] / 0.5, 0, 0, 0], rtol=1e-6)
    assert not SCHEMA.hold(np.ones((3, 5), np.float32)).any()


class Still(Clock):
    """A clock that is set by hand."""

    moment = 0.0

    def now(self) -> float:
        return self.moment


def test_a_dead_man_lapses() -> None:
    clock = Still()
    switch = DeadMan(timeout=0.2, clock=clock)
    assert switch.fault(0.0) == "dead-man: never held"
    switch.refresh()
    assert switch.fault(0.2) is None
    assert switch.fault(0.25) == "dead-man: released 0.25 s ago"


def test_a_file_is_a_dead_man_while_it_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "held"
    held = touched(file)
    assert not held()
    file.touch()
    assert held() and not held()
    file.unlink()
    assert not held()


def test_the_first_reason_counts() -> None:
    latch = Latch(Still())
    latch.trip("first", fault=False)
    latch.trip("second")
    assert latch.stop is not None and latch.stop.reason == "first" and not latch.stop.fault
