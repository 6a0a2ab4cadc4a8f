"""What stands between a plan and a motor: limits, the dead-man, and a stop that stays."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench import SCHEMA, Actions, Bench

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
        (["delta", "target", "rate"], "dy of the model's data are targets"),
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
    with pytest.raises(ConfigError, match="dx of the model's data are targets"):
        check_hold(replace(SCHEMA, settings={}, commands=told))


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
