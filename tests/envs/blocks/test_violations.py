"""What `blocks.violations` finds on drawn courses: each kind of violation alone, and nothing in what is possible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from drawings import write_file
from numpy.typing import NDArray

from gwm_sim.commands.eval import EvalConfig, evaluate
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.blocks.mujoco.scene import make_model
from gwm_sim.envs.blocks.spec import CUBE_SIZE, GRIPPER_MAX
from gwm_sim.envs.blocks.violations import KINDS, find_violations, gripper_boxes, violation_rates
from gwm_sim.evaluation.open_loop import OpenLoopTest, Prediction, Window
from gwm_sim.evaluation.report import open_loop_report

Array = NDArray[Any]

STEPS = 8
RATE = 10.0
LYING = CUBE_SIZE / 2  # height of the middle of a cube on the table [m]
HIGH = np.array([0.5, 0.0, 0.28])  # where the gripper waits [m]


def lie(x: float = 0.5, y: float = 0.0, z: float = LYING) -> Array:
    """A cube that stays where it is, (T, 3)."""
    return np.tile([x, y, z], (STEPS, 1))


def go(start: list[float], step: list[float]) -> Array:
    """A cube that moves evenly, (T, 3)."""
    return np.array(start) + np.arange(STEPS)[:, None] * np.array(step)


def fall(height: float, gravity: float) -> Array:
    """A cube that falls from rest onto the table, (T, 3)."""
    course = lie()
    course[:, 2] = np.maximum(LYING, height - 0.5 * gravity * (np.arange(STEPS) / RATE) ** 2)
    return course


def found(*cubes: Array, effector: Array = HIGH, opening: float = GRIPPER_MAX) -> set[str]:
    """Kinds of violations along courses (T, 3)."""
    objects = np.stack(cubes, axis=1)
    place = np.broadcast_to(effector, (STEPS, 3))
    mask = find_violations(objects, place, np.full(STEPS, opening), CUBE_SIZE, RATE)
    assert mask.shape == (len(KINDS), STEPS)
    return {kind for kind, steps in zip(KINDS, mask, strict=True) if steps.any()}


def test_cubes_at_rest_side_by_side_and_stacked_are_possible() -> None:
    assert found(lie(), lie(0.55)) == set()
    assert found(lie(), lie(z=LYING + CUBE_SIZE)) == set()


def test_two_cubes_in_one_place_overlap() -> None:
    assert found(lie(), lie(0.53)) == {"overlap"}
    assert found(lie(), lie(0.545)) == set()  # contacts give way a little


def test_a_cube_that_rests_on_nothing_floats() -> None:
    assert found(lie(z=0.12), lie(0.7)) == {"float"}
    assert found(lie(z=LYING + 0.005), lie(0.7)) == set()
    assert found(lie(z=-0.5, x=2.0), lie()) == set()  # where there is no table, nothing is said


def test_a_cube_that_is_held_or_lies_on_another_does_not_float() -> None:
    held = np.array([0.5, 0.0, 0.12])
    assert found(lie(z=0.12), lie(0.7), effector=held, opening=CUBE_SIZE) == set()
    assert found(lie(0.52, z=LYING + CUBE_SIZE), lie()) == set()


@pytest.mark.parametrize("gravity", [1.6, 9.81, 15.0])
def test_falling_is_neither_floating_nor_jumping(gravity: float) -> None:
    assert found(fall(0.2, gravity), lie(0.7)) == set()


def test_a_cube_that_jumps_without_cause_teleports() -> None:
    course = lie()
    course[5:, 1] += 0.04
    assert found(course, lie(0.7)) == {"teleport"}
    assert found(course, lie(0.57)) == set()  # the other cube could have pushed it
    course[5:, 1] += 0.06
    assert found(course, lie(0.57)) == {"teleport"}  # but not so far


def test_cubes_that_change_places_teleport() -> None:
    one, other = lie(), lie(0.58)
    one[4:], other[4:] = other[4:].copy(), one[4:].copy()
    assert found(one, other) == {"teleport"}


def test_pushed_sliding_and_falling_off_the_table_do_not_teleport() -> None:
    pushed = go([0.45, 0.0, LYING], [0.03, 0.0, 0.0])
    assert found(pushed, lie(0.9), effector=pushed - [0.036, 0.0, 0.0], opening=0.0) == set()
    sliding = lie()
    sliding[:, 1] = np.cumsum([0.0, 0.04, 0.03, 0.02, 0.01, 0.0, 0.0, 0.0])
    assert found(sliding, lie(0.7)) == set()
    off = go([1.2, 0.0, LYING], [0.03, 0.0, 0.0])
    off[:, 2] -= 0.5 * 15.0 * (np.arange(STEPS) / RATE) ** 2
    assert found(off, lie()) == set()


def test_a_cube_in_the_table_is_found() -> None:
    assert found(lie(z=LYING - 0.015), lie(0.7)) == {"table"}
    assert found(lie(z=LYING - 0.005), lie(0.7)) == set()


def test_a_cube_in_fingers_or_hand_is_found() -> None:
    assert found(lie(), lie(0.7), effector=np.array([0.5, 0.0, LYING]), opening=0.0) == {"gripper"}
    assert found(lie(), lie(0.7), effector=np.array([0.5, 0.0, LYING]), opening=CUBE_SIZE) == set()
    assert found(lie(), lie(0.7), effector=np.array([0.5, 0.04, LYING]), opening=GRIPPER_MAX) == {"gripper"}
    assert found(lie(z=0.1), lie(0.7), effector=np.array([0.5, 0.0, 0.05])) == {"gripper"}


def test_the_gripper_is_that_of_the_twin() -> None:
    model = make_model("fast")
    data = mujoco.MjData(model)
    opening = 0.06
    for side in ("left", "right"):
        data.joint(f"{side}_finger").qpos = opening / 2
    data.qpos[:7] = [0.0, 0.0, 0.0, -2.4, 0.0, 2.4, np.pi / 4]  # the hand points down
    mujoco.mj_kinematics(model, data)
    solid = [g for g in range(model.ngeom) if model.geom_contype[g] == 2]
    middles, half_sizes = gripper_boxes(data.site("end_effector").xpos, np.array(opening))
    for middle, half in zip(middles, half_sizes, strict=True):
        nearest = min(solid, key=lambda g: float(np.linalg.norm(data.geom_xpos[g] - middle)))
        np.testing.assert_allclose(data.geom_xpos[nearest], middle, atol=1e-3)
        np.testing.assert_allclose(model.geom_size[nearest], half)
        solid.remove(nearest)
    assert not solid


def test_rows_are_judged_alone_and_one_step_says_little() -> None:
    rng = np.random.default_rng(0)
    objects = rng.uniform([0.4, -0.1, 0.0], [0.6, 0.1, 0.3], (3, STEPS, 2, 3))
    effector, opening = objects[:, :, 0] + 0.02, rng.uniform(0, GRIPPER_MAX, (3, STEPS))
    together = find_violations(objects, effector, opening, CUBE_SIZE, RATE)
    for row in range(3):
        alone = find_violations(objects[row], effector[row], opening[row], CUBE_SIZE, RATE)
        np.testing.assert_array_equal(together[:, row], alone)
    single = find_violations(objects[:, :1], effector[:, :1], opening[:, :1], CUBE_SIZE, RATE)
    assert not single[[KINDS.index("float"), KINDS.index("teleport")]].any()


def test_one_cube_alone_never_overlaps() -> None:
    assert found(lie()) == set()


def test_rates_are_shares_of_steps() -> None:
    mask = np.zeros((len(KINDS), 2, 5), bool)
    mask[KINDS.index("float"), 0, :2] = True
    mask[KINDS.index("table"), 0, 1:3] = True
    rates = violation_rates(mask)
    assert rates == {"overlap": 0, "float": 0.2, "teleport": 0, "table": 0.2, "gripper": 0, "any": 0.3, "steps": 10}
    assert violation_rates(mask[..., :0])["any"] is None


# --- in `gwm eval` ----------------------------------------------------------------------------------------------------


def test_eval_reports_both_worlds_and_the_twin_obeys(tiny_checkpoint: Path, tiny_data: Path) -> None:
    report = evaluate(EvalConfig(str(tiny_checkpoint), tiny_data, horizons=(1, 5), limit=20, device="cpu"))
    rates = report["violations"]
    assert rates["model"].keys() == rates["twin"].keys() == {*KINDS, "any", "steps"}
    assert rates["model"]["steps"] == rates["twin"]["steps"] > 100
    assert rates["twin"]["any"] < 0.02


def test_a_predictor_that_repeats_the_recording_has_the_rates_of_the_twin(tiny_data: Path) -> None:
    def oracle(windows: Window, actions: Array, horizons: Any) -> Prediction:
        frames, telemetry = (
            value[:, -1:].repeat(len(horizons), axis=1) for value in (windows.frames, windows.telemetry)
        )
        return Prediction(frames, telemetry, None, windows.course_telemetry, windows.course_objects)

    with EpisodeFile(tiny_data) as file:
        rates = open_loop_report(oracle, OpenLoopTest(file, [1, 5, 10], limit=20), [1, 5])["violations"]
    assert rates["model"] == rates["twin"]


def test_data_without_a_gripper_gives_no_rates(tmp_path: Path) -> None:
    def still(windows: Window, actions: Array, horizons: Any) -> Prediction:
        return Prediction(windows.true_frames, windows.true_telemetry, None)

    with EpisodeFile(write_file(tmp_path / "drawn.hdf5", episodes=2)) as file:
        report = open_loop_report(still, OpenLoopTest(file, [10]), [10])
    assert report["violations"] == {"model": None, "twin": None}
