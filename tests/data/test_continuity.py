"""Angles and rotations come in without jumps, one pose has one number, and what is no angle stays as it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from motions import PI, TURN, Array, Columns, assert_same, wander, wrap

from gwm_sim.data.conversion.continuity import Continuity
from gwm_sim.data.importers.source import Action, Column, Kind, Layout, Recording


class Made:
    """Recordings, and what became of them; columns are called `name [unit]`, actions `kind.name [unit]`."""

    def __init__(
        self, state: Sequence[Columns], action: Sequence[Columns] | None = None, times: Array | None = None
    ) -> None:
        action = action or [{"rate.v": np.zeros(len(next(iter(columns.values()))))} for columns in state]
        telemetry = tuple(Column(*_split(name)) for name in state[0])
        kinds: dict[str, Kind | None] = {"delta": "delta", "target": "target", "rate": "rate", "action": None}
        actions = tuple(
            Action(*_split(name.partition(".")[2]), kind=kinds[name.partition(".")[0]]) for name in action[0]
        )
        self.layout = Layout("robot", 10.0, telemetry, actions, ("front",))
        self.raw = [
            Recording(
                f"episode {k}",
                np.stack(list(columns.values()), axis=1).astype(np.float32),
                np.stack(list(told.values()), axis=1).astype(np.float32)[:-1],
                times,
            )
            for k, (columns, told) in enumerate(zip(state, action, strict=True))
        ]
        self.continuity = Continuity(self.layout, actions)
        for recording in self.raw:
            self.continuity.look(recording)
        self.made = [self.continuity(recording) for recording in self.raw]

    def state(self, k: int = 0) -> Array:
        return self.made[k].telemetry

    def action(self, k: int = 0) -> Array:
        return self.made[k].actions

    @property
    def untouched(self) -> bool:
        same = all(
            np.array_equal(made.telemetry, raw.telemetry) and np.array_equal(made.actions, raw.actions)
            for made, raw in zip(self.made, self.raw, strict=True)
        )
        assert same == (not self.continuity.settings)
        return same


def _split(name: str) -> tuple[str, str]:
    bare, _, unit = name.partition(" [")
    return bare, unit.removesuffix("]")


# What is an angle


@pytest.mark.parametrize("name", ["roll [rad]", "eef_yaw", "pose.euler_0 [rad]", "base.heading", "theta", "rx [rad]"])
def test_named_angles_follow_their_motion_through_the_end_of_the_turn(name: str) -> None:
    true = wander(0, start=PI)
    made = Made([{name: wrap(true)}])
    assert_same(made.state()[:, 0], true)
    column = f"state.{_split(name)[0]}"
    assert made.continuity.settings == {"angles": {column: "continuous"}, "turns": {column: TURN}}


@pytest.mark.parametrize(("name", "begin"), [("compass_heading [deg]", 0.0), ("yaw", -180.0), ("state_4", -180.0)])
def test_degrees_are_known_by_their_unit_or_by_their_jumps(name: str, begin: float) -> None:
    true = wander(1, step=2.0, start=begin)
    made = Made([{name: (true - begin) % 360 + begin}])
    assert np.abs(np.diff(made.state()[:, 0])).max() < 10


@pytest.mark.parametrize("name", ["state_3", "joint_6 [rad]", "q5", "wrist_roll.pos"])
def test_numbers_tell_an_angle_whose_name_does_not(name: str) -> None:
    true = np.concatenate([wander(2, 100, start=0.0), wander(3, 300, 0.2, 2.0)])
    assert np.ptp(true) > TURN / 2
    assert np.abs(np.diff(Made([{name: wrap(true)}]).state()[:, 0])).max() < 2.5
    assert np.abs(np.diff(wrap(true))).max() > 6


def test_one_pose_has_one_number_in_every_episode() -> None:
    """Three grippers that point down: none, one or many of their rows lie on the other side of pi."""
    ends = np.linspace(3.1, 3.2, 20)
    rolls = {"above": np.full(20, 3.05), "below": np.full(20, -3.08), "across": wrap(ends), "back": wrap(ends[::-1])}
    made = Made([{"roll [rad]": roll} for roll in rolls.values()])
    assert_same(made.state(0)[:, 0], np.full(20, 3.05))
    assert_same(made.state(1)[:, 0], np.full(20, TURN - 3.08))
    assert_same(made.state(2)[:, 0], ends)
    assert_same(made.state(3)[::-1, 0], ends)
    (note,) = made.continuity.notes(done=True)
    assert "state.roll jumps by a whole turn 2 times in 2 recordings and lies a turn away" in note


def test_parts_of_a_recording_around_a_gap_are_one_pose_too() -> None:
    times = np.concatenate([np.arange(20), 1000 + np.arange(20)]) / 10
    made = Made([{"roll [rad]": wrap(np.concatenate([np.full(20, PI - 0.1), np.full(20, PI + 0.1)]))}], times=times)
    assert_same(made.state()[:, 0], np.repeat([PI - 0.1, PI + 0.1], 20))


def test_imports_of_other_shares_of_the_same_recordings_agree() -> None:
    across = [wrap(np.linspace(PI - low, PI + high, 40)) for low, high in ((0.3, 0.1), (0.1, 0.3))]
    for roll in across:
        assert np.median(Made([{"roll [rad]": roll}]).state()) == pytest.approx(PI, abs=0.3)


def saw(rows: int = 300, turn: float = TURN, jitter: float = 0.0) -> Array:
    return np.cumsum(0.1 + jitter * np.random.default_rng(5).uniform(0, 1, rows)) % turn


NO_ANGLES: dict[str, list[Columns]] = {
    "gripper that opens at once": [{"gripper": np.repeat([0, 6.3, 0, 6.3], 20)}],
    "switch without a name": [{"state_6": np.repeat([0, TURN, 0], 20)}],
    "switch at the ends of a turn": [{"angle [rad]": np.repeat([0.0, 0.5, 1.0], 20)}],
    "clock": [{"phase [rad]": saw()}],
    "clock without a name": [{"state_2": saw()}],
    "clock that jitters": [{"state_2": saw(jitter=0.1)}],
    "joint that was put back": [{"joint_1 [rad]": np.tile(np.linspace(-2.9, 2.9, 60), 3)}],
    "joint beyond half a turn": [{"joint_5 [rad]": wander(7, step=0.1, start=PI)}],
    "joint without a unit, on both sides in other episodes": [
        {"wrist_roll": np.linspace(2.5, 2.9, 20)},
        {"wrist_roll": np.linspace(-2.9, -2.5, 20)},
    ],
    "place": [{"x [m]": wrap(wander(8, step=0.2, start=PI))}],
    "percent": [{"elbow.pos": wrap(wander(9, step=5, start=100), 200)}],
    "speed": [{"yaw_vel": wrap(wander(10, step=0.2, start=PI)), "yaw [rad/s]": wrap(wander(10, step=0.2, start=PI))}],
    "sine and cosine": [{"yaw_sin": np.sin(wander(11, step=1)), "yaw_cos": np.cos(wander(11, step=1))}],
    "counter": [{"encoder_count": saw(turn=360)}],
    "angles that never come to the end": [{"roll [rad]": wander(12), "yaw [deg]": wander(13, step=3)}],
    "a heading that was continuous already": [{"heading [rad]": np.linspace(0, 20, 100)}],
    "valve that counts its turns": [{"theta [rad]": x} for x in (np.linspace(0, 9, 50), np.linspace(20, 29, 50))],
    "degrees taken for radians": [{"roll": np.full(9, 3.0)}, {"roll": np.full(9, -3.0)}],
    "four numbers called a quaternion": [{f"quat_{x}": wander(i, step=0.5) for i, x in enumerate("wxyz")}],
    "accelerations": [{f"a{x}": 10 * np.sin(wander(i, step=0.5)) for i, x in enumerate("xyz")}],
}


@pytest.mark.parametrize("what", NO_ANGLES)
def test_what_is_no_angle_stays_as_it_is(what: str) -> None:
    assert Made(NO_ANGLES[what]).untouched


def test_what_may_be_a_clock_or_an_angle_is_named() -> None:
    (note,) = Made(NO_ANGLES["clock without a name"]).continuity.notes(done=False)
    assert note.startswith("state.state_2 goes one way and falls back by one turn, as a clock does: it was left so")


# Actions


def test_targets_are_in_the_turn_of_their_telemetry() -> None:
    roll = wander(20, start=PI)
    told = np.roll(roll, -3)
    told[-3:] = roll[-1]
    made = Made([{"roll [rad]": wrap(roll)}], [{"target.roll [rad]": wrap(told)}])
    assert np.abs(made.action()[:, 0] - made.state()[:-1, 0]).max() < 0.3
    assert np.abs(np.diff(made.action()[:, 0])).max() < 0.2
    assert set(made.continuity.settings["angles"]) == {"state.roll", "action.roll"}


def test_a_target_across_the_end_follows_a_state_that_never_gets_there() -> None:
    made = Made([{"yaw [rad]": np.full(30, 3.1)}], [{"target.yaw [rad]": np.repeat([3.1, -3.1, 3.1], 10)}])
    assert_same(made.action()[9:21, 0], np.array([3.1, *[TURN - 3.1] * 10, 3.1]))


def test_changes_computed_across_the_end_lose_their_turn() -> None:
    roll = wander(21, start=PI)
    naive = np.append(np.diff(wrap(roll)), 0)
    assert np.abs(naive).max() > 6
    made = Made([{"roll [rad]": wrap(roll)}], [{"delta.droll [rad]": naive, "rate.roll [rad/s]": naive}])
    assert_same(made.action()[:, 0], np.diff(roll))
    assert_same(made.action()[:, 1], naive[:-1])
    assert made.continuity.settings["angles"]["action.droll"] == "a change of at most half a turn"


@pytest.mark.parametrize("name", ["delta.joint_3", "delta.a5 [deg]"])
def test_naive_changes_without_a_telling_name_are_known_by_their_size(name: str) -> None:
    turn = 360.0 if "deg" in name else TURN
    small = wander(22, step=0.01)
    naive = small.copy()
    naive[[40, 90]] += [turn, -turn]
    assert_same(Made([{"x [m]": small}], [{name: naive}]).action()[:, 0], small[:-1])


@pytest.mark.parametrize("told", ["delta.dyaw", "action.droll", "delta.dx [m]", "action.a [rad]"])
def test_honest_changes_stay_as_they_are(told: str) -> None:
    changes = np.random.default_rng(23).uniform(-4, 4, 200)
    assert Made([{"x [m]": changes}], [{told: changes}]).untouched


def test_actions_of_unknown_kind_go_by_their_numbers() -> None:
    roll = wander(24, start=PI)
    told = np.append(roll[1:], roll[-1])
    state: Columns = {"roll [rad]": wrap(roll)}
    absolute = Made([state], [{"action.roll [rad]": wrap(told)}])
    assert np.abs(absolute.action()[:, 0] - absolute.state()[:-1, 0]).max() < 0.2
    assert any("action.roll" in note and "does not say" in note for note in absolute.continuity.notes(done=True))
    change = Made([state], [{"action.roll [rad]": np.append(np.diff(roll), 0)}])
    assert_same(change.action()[:, 0], np.diff(roll))


# Rotations


def matrices(euler: Array) -> Array:
    """Rotations by roll, pitch and yaw about fixed axes, (R, 3, 3)."""
    (r, p, y), one, nil = euler.T, np.ones(len(euler)), np.zeros(len(euler))
    about_x = np.array([[one, nil, nil], [nil, np.cos(r), -np.sin(r)], [nil, np.sin(r), np.cos(r)]])
    about_y = np.array([[np.cos(p), nil, np.sin(p)], [nil, one, nil], [-np.sin(p), nil, np.cos(p)]])
    about_z = np.array([[np.cos(y), -np.sin(y), nil], [np.sin(y), np.cos(y), nil], [nil, nil, one]])
    return np.einsum("ijn,jkn,kln->nil", about_z, about_y, about_x)


@pytest.mark.parametrize("unit", ["rad", "deg"])
def test_euler_angles_go_on_through_the_pole(unit: str) -> None:
    """Pitch rises through 90 degrees: recorders fold it back and turn roll and yaw round."""
    pitch = np.linspace(1.2, 1.9, 30)
    past = pitch > PI / 2
    folded = np.stack([0.2 + PI * past, np.where(past, PI - pitch, pitch), -0.4 + PI * past], axis=1)
    scale = 1.0 if unit == "rad" else 180 / PI
    names = [f"{x} [{unit}]" for x in ("roll", "pitch", "yaw")]
    made = Made([dict(zip(names, scale * wrap(folded).T, strict=True))])
    state = made.state() / scale
    assert np.abs(np.diff(state, axis=0)).max() < 0.05
    assert_same(state[:, 1], pitch)
    np.testing.assert_allclose(matrices(state), matrices(folded), atol=1e-5)


def test_euler_angles_that_nobody_can_tell_at_the_pole_are_named() -> None:
    roll = np.repeat([0.0, 2.0, 0.0], 10)
    columns = {"roll [rad]": roll, "pitch [rad]": np.full(30, 1.55), "yaw [rad]": -roll}
    made = Made([columns])
    assert made.untouched
    assert any("jump at 2 places near a pitch of 90 degrees" in note for note in made.continuity.notes(done=True))


def down(rows: int = 60) -> Array:
    """Rotation vectors of a gripper that points down and sways about pi, (rows, 3)."""
    angle = PI + 0.2 * np.sin(np.arange(rows) / 5)
    axis = np.stack([np.ones(rows), 0.1 * np.cos(np.arange(rows) / 7), 0.05 + 0 * angle], axis=1)
    return angle[:, None] * axis / np.linalg.norm(axis, axis=1, keepdims=True)


def folded(vectors: Array) -> Array:
    """The same rotations with angles of at most pi."""
    angle = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(angle > PI, vectors * (1 - TURN / angle), vectors)


@pytest.mark.parametrize("names", ["tcp_r{}", "eef_rotvec_{}", "axis_angle.{}", "a{}"])
def test_rotation_vectors_go_on_beyond_pi(names: str) -> None:
    true = down()
    columns = {names.format(x): folded(true)[:, i] for i, x in enumerate("xyz")}
    other = dict(zip(columns, np.repeat([[-3.0], [-0.1], [-0.2]], 60, axis=1), strict=True))  # at rest, beyond pi
    made = Made([columns, other], [dict(zip(["target.ax", "target.ay", "target.az"], folded(true).T, strict=True))] * 2)
    assert_same(made.state(), true)
    assert_same(made.action(), true[:-1])
    assert_same(folded(made.state(1)), np.stack(list(other.values()), axis=1))
    assert made.state(1)[0, 0] > PI


def test_rx_ry_rz_may_be_three_angles() -> None:
    true = np.stack([PI + 0.2 * np.sin(np.arange(60) / 5), np.full(60, 0.8), wander(30, 60)], axis=1)
    made = Made([{f"r{x} [rad]": wrap(true)[:, i] for i, x in enumerate("xyz")}])
    assert_same(made.state(), true)


@pytest.mark.parametrize("names", ["q{}", "tool_quat.{}", "observation/quat_{}"])
def test_quaternions_keep_their_sign(names: str) -> None:
    parts = "0123" if "quat_" in names else "xyzw"
    half = np.linspace(2.9, 3.4, 40) / 2
    true = np.stack([np.sin(half), 0 * half, 0 * half, np.cos(half)], axis=1)
    flips = np.where(np.arange(40) % 3, 1, -1)[:, None]
    state = [dict(zip(map(names.format, parts), (signs * true).T, strict=True)) for signs in (flips, -1, 1)]
    told = [{f"target.{name}": values for name, values in columns.items()} for columns in state[1:2] * 3]
    made = Made(state, told)
    for k in range(3):
        assert_same(made.state(k), true)
        assert_same(made.action(k), true[:-1])
