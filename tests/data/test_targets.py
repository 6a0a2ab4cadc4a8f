"""Targets are found in recordings of made-up robots, and nothing else is taken for one."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from recordings import make_schema

from gwm_sim.data.schema import Schema
from gwm_sim.data.targets import find_targets

Array = npt.NDArray[Any]
RATE, EPISODES, STEPS = 10.0, 12, 100
STARTS, LENGTHS = np.arange(EPISODES) * (STEPS + 1), np.full(EPISODES, STEPS + 1)


def wander(rng: np.random.Generator, columns: int, size: float = 1.0) -> Array:
    """Smooth courses within about [-size, size], (STEPS + 1, columns)."""
    time = np.arange(STEPS + 1)[:, None] / RATE
    waves = [np.sin(rng.uniform(0.3, 2.5, columns) * time + rng.uniform(0, 6.3, columns)) for _ in range(3)]
    return size * np.mean(waves, axis=0)


def follow(targets: Array, pull: float, start: Array) -> Array:
    """What is measured of quantities that go a share `pull` of the way to their targets (STEPS + 1, P) at each step."""
    rows = [start]
    for target in targets[:-1]:
        rows.append(rows[-1] + pull * (target - rows[-1]))
    return np.array(rows)


def switch(rng: np.random.Generator, low: float = 0.0, high: float = 1.0) -> Array:
    """A gripper's order that changes every second or two, (STEPS + 1, 1)."""
    return np.where(np.arange(STEPS + 1) // rng.integers(10, 20) % 2 == 0, high, low)[:, None]


def robot(telemetry: Array, actions: Array, unit: str = "", action_unit: str = "") -> Schema:
    """What is known of a robot with these columns."""
    count, told = telemetry.shape[1], actions.shape[1]
    names = {"telemetry_names": tuple(map(str, range(count))), "telemetry_units": (unit,) * count}
    names |= {"action_names": tuple(map(str, range(told))), "settings": {"action_units": [action_unit] * told}}
    return replace(make_schema(), rate=RATE, **names)


def found(*episodes: tuple[Array, Array], unit: str = "", action_unit: str = "") -> dict[int, int]:
    """Telemetry by the action that is its target, of episodes of telemetry and actions (STEPS + 1, ...)."""
    telemetry, actions = (np.concatenate(parts).astype(np.float32) for parts in zip(*episodes, strict=True))
    actions[STARTS + STEPS] = 0  # as training data have it
    schema = robot(telemetry, actions, unit, action_unit)
    return {target.action: target.telemetry for target in find_targets(telemetry, actions, STARTS, LENGTHS, schema)}


def test_six_joints_follow_their_targets_and_hang_below_them() -> None:
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(EPISODES):
        targets = wander(rng, 6)
        sag = rng.normal(0, 0.05, 6)
        measured = follow(targets, 0.4, targets[0]) + sag + rng.normal(0, 0.003, targets.shape)
        episodes.append((measured[:, ::-1], targets))  # in another order
    assert found(*episodes) == {action: 5 - action for action in range(6)}
    assert found(*episodes, unit="rad", action_unit="rad") == {action: 5 - action for action in range(6)}
    assert found(*episodes, unit="rad", action_unit="m") == {}


def test_changes_that_a_controller_adds_up_are_no_targets() -> None:
    rng = np.random.default_rng(1)
    for unit in (0.03, 1.0):  # actions in [-1, 1], and in metres
        episodes = []
        for _ in range(EPISODES):
            deltas = np.clip(wander(rng, 3, 0.06) + rng.normal(0, 0.02, (STEPS + 1, 3)), -0.03, 0.03)
            commanded = np.cumsum(np.concatenate((rng.uniform(-0.1, 0.1, (1, 3)), deltas[:-1])), axis=0)
            measured = follow(commanded, 0.6, commanded[0])
            episodes.append((np.concatenate((measured, commanded), axis=1), deltas / unit))
        assert found(*episodes) == {}


def test_a_gripper_follows_an_order_of_its_own_unit_alone() -> None:
    rng = np.random.default_rng(2)
    orders = [switch(rng) for _ in range(EPISODES)]
    opening = [follow(order, 0.4, order[0]) for order in orders]
    held = [np.maximum(width, 0.2) for width in opening]  # there is something between the fingers
    assert found(*zip(opening, orders, strict=True)) == {0: 0}
    assert found(*zip(held, orders, strict=True)) == {0: 0}
    assert found(*((0.08 * width, order) for width, order in zip(opening, orders, strict=True))) == {}  # [m]
    assert found(*((width, 2 * order - 1) for width, order in zip(opening, orders, strict=True))) == {}
    assert found(*((width, 1 - order) for width, order in zip(opening, orders, strict=True))) == {}


def test_two_arms_that_do_the_same_are_told_apart() -> None:
    rng = np.random.default_rng(3)
    episodes = []
    for _ in range(EPISODES):
        shared = wander(rng, 3)
        targets = np.concatenate((shared, shared + wander(rng, 3, 0.2)), axis=1)
        still = np.concatenate((targets, np.full((STEPS + 1, 1), 0.5)), axis=1)  # and a waist that is never moved
        episodes.append((follow(still, 0.5, still[0]), still))
    assert found(*episodes) == {action: action for action in range(6)}


def test_a_base_follows_its_velocity_and_not_its_place() -> None:
    rng = np.random.default_rng(4)
    episodes = []
    for _ in range(EPISODES):
        asked = wander(rng, 2, 0.5)
        velocity = follow(asked, 0.5, np.zeros(2))
        place = np.cumsum(velocity, axis=0) / RATE
        episodes.append((np.concatenate((place, velocity), axis=1), asked))
    assert found(*episodes) == {0: 2, 1: 3}
    assert found(*((telemetry[:, :2], asked) for telemetry, asked in episodes)) == {}


def test_what_only_repeats_the_telemetry_is_no_target() -> None:
    rng = np.random.default_rng(5)
    courses = [wander(rng, 2) for _ in range(EPISODES)]
    assert found(*((course, course) for course in courses)) == {}
    assert found(*((course, np.roll(course, 1, axis=0)) for course in courses)) == {}
    assert found(*((course, np.roll(course, -1, axis=0)) for course in courses)) == {0: 0, 1: 1}  # the coming states


def test_nothing_is_found_in_noise_or_in_too_little() -> None:
    rng = np.random.default_rng(6)
    telemetry, actions = rng.normal(size=(2, EPISODES * (STEPS + 1), 4))
    assert find_targets(telemetry, actions, STARTS, LENGTHS, robot(telemetry, actions)) == ()
    targets = wander(rng, 2)
    measured = follow(targets, 0.5, targets[0])
    assert find_targets(measured[:40], targets[:40], np.array([0]), np.array([40]), robot(measured, targets)) == ()
    none = np.zeros((len(measured), 0))
    for reported, asked in ((none, targets), (measured, none)):
        assert find_targets(reported, asked, STARTS[:1], LENGTHS[:1], robot(reported, asked)) == ()


def test_a_target_is_a_command_of_which_nothing_is_reported() -> None:
    rng = np.random.default_rng(7)
    targets = wander(rng, 1)
    measured = follow(targets, 0.4, targets[0])
    (target,) = find_targets(measured, targets, STARTS[:1], LENGTHS[:1], robot(measured, targets))
    assert target.lag in (1, 2, 3)
    assert target.follows > 0.9
    assert target.distance < 0.3
    assert target.command.absolute
    assert not target.command.reported
