"""The table twin is edited while it runs: what a change does, which ones are refused."""

from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from table_scenes import BLUE_BALL, RED_CUBE, STILL, THREE

pytest.importorskip("mujoco")

from gwm_sim.envs.table.mujoco.twin import TableEnv, TableVectorEnv  # noqa: E402
from gwm_sim.envs.table.scene import ATTRIBUTES, PROPERTY_DEFAULTS  # noqa: E402


@pytest.fixture(scope="module")
def env() -> Any:
    env = TableEnv(task="grasp", rendering="fast")
    yield env
    env.close()


def bounce_height(env: TableEnv, edit: dict[str, Any]) -> float:
    """Highest point after the first bounce of a ball that is changed in its fall."""
    ball = {"kind": "ball", "colour": "blue", "size": 0.05, "position": (0.55, 0.0, 0.525)}
    env.reset(seed=0, options={"scene": [ball], "assignment": {"task": "drop"}})
    heights = []
    for step in range(10):
        if step == 2:
            env.edit(**edit)
        env.step(STILL)
        heights.append(float(env.objects()[0, 2]))
    return max(heights[4:])


def test_a_ball_becomes_bouncier_in_flight(env: TableEnv) -> None:
    dull = bounce_height(env, {"object": "ball", "bounciness": 0.1})
    lively = bounce_height(env, {"object": "blue ball", "bounciness": 0.9})
    assert dull < 0.04 and lively > 0.35
    assert bounce_height(env, {"bounciness": 0.9}) == lively


def test_everything_about_an_object_can_be_changed(env: TableEnv) -> None:
    observation, _ = env.reset(seed=0, options={"scene": THREE})
    env.edit(object="ball", colour="yellow", size=0.06, friction=0.3, mass=0.2)
    env.edit(object=2, position=(0.55, -0.05))
    env.edit(object="green cylinder", remove=True)
    env.edit(gravity=1.6, friction=0.2)
    assert env.properties == {**PROPERTY_DEFAULTS, "gravity": 1.6, "friction": 0.2}
    told = [dict(zip(ATTRIBUTES, row, strict=True)) for row in env.attributes()]
    assert told[1]["yellow"] == 1.0 and told[1]["blue"] == 0.0
    assert told[1]["size"] == np.float32(0.06) and told[1]["friction"] == np.float32(0.3)
    assert told[0]["friction"] == np.float32(0.2)
    assert np.isnan(env.objects()[2]).all()
    assert env.objects()[1, 2] == pytest.approx(0.03, abs=1e-4)
    after = env.step(STILL)[0]["pixels"].astype(int)
    changed = np.abs(after - observation["pixels"]).max(axis=-1) > 60
    assert 20 < changed.sum() < 1000
    np.testing.assert_allclose(env.objects()[:2, 2], [0.025, 0.03], atol=1e-3)


def test_a_moved_object_lies_still_and_a_state_keeps_its_edits(env: TableEnv) -> None:
    env.reset(seed=0, options={"scene": THREE})
    env.edit(object="ball", position=(0.42, -0.05, 0.2))
    np.testing.assert_allclose(env.objects()[1, :3], [0.42, -0.05, 0.2], atol=1e-6)
    state = env.get_state()
    env.edit(object="ball", colour="white", remove=False)
    env.set_state(state)
    assert env.attributes()[1, ATTRIBUTES.index("blue")] == 1.0


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"object": "cone", "size": 0.05}, "called by its kind"),
        ({"object": "yellow cube", "size": 0.05}, "there is no 'yellow cube'; there are 0: red cube"),
        ({"object": "cube", "size": 0.05}, "'cube' may be any of 0, 3"),
        ({"object": 5, "size": 0.05}, "there is no object 5"),
        ({"object": 0.5, "size": 0.05}, "there is no object 0.5"),
        ({"object": 0, "position": (0.5, 0.0, 0.0)}, "is in the table"),
        ({"object": 0, "weight": 1.0}, "no weight that could be changed"),
        ({"object": 0}, "nothing to change"),
        ({}, "nothing to change"),
        ({"gravity": None}, "nothing to change"),
        ({"gravity": "moon"}, "gravity must be between 1.6 and 15, got 'moon'"),
        ({"object": 0, "bounciness": 2.0}, "bounciness must be between 0 and 0.9"),
        ({"object": 0, "colour": "pink"}, "colour must be one of"),
        ({"object": 0, "position": (2.0, 0.0)}, "must be in reach"),
        ({"object": 0, "position": (0.45, 0.1)}, "the blue ball and the red cube overlap"),
        ({"object": 0, "remove": True}, "the task grasp is about object 0"),
        ({"object": 1, "remove": True, "size": 0.05}, "no other changes"),
        ({"gravity": 100.0}, "gravity must be between"),
        ({"mass": 1.0}, "property of the scene must be one of"),
    ],
)
def test_bad_edits_are_refused_and_change_nothing(env: TableEnv, edit: dict[str, Any], message: str) -> None:
    env.reset(seed=0, options={"scene": [*THREE, {**RED_CUBE, "colour": "white", "position": (0.58, 0.1)}]})
    before = env.get_state()
    with pytest.raises(ValueError, match=message):
        env.edit(**edit)
    assert env.get_state().scene == before.scene
    np.testing.assert_array_equal(env.get_state().physics, before.physics)


def test_an_edit_that_one_row_cannot_take_changes_none() -> None:
    rows = TableVectorEnv(2, task="drop", cameras=(), rendering="fast")
    scene = [RED_CUBE, {**BLUE_BALL, "position": (0.45, 0.1, 0.5)}]
    rows.reset(seed=0, options={"scene": scene, "assignment": {"task": "drop"}})
    rows.edit(object="ball", rows=1, position=(0.45, 0.1, 0.2))
    before = rows.objects()
    with pytest.raises(ValueError, match="overlap"):
        rows.edit(object="cube", position=(0.45, 0.1, 0.2))
    np.testing.assert_array_equal(rows.objects(), before)
    with pytest.raises(ValueError, match="there is no row 2"):
        rows.edit(rows=2, gravity=2.0)
    rows.close()


def test_single_rows_are_edited_and_worlds_without_a_present_are_not() -> None:
    rows = TableVectorEnv(3, cameras=(), rendering="fast")
    with pytest.raises(ResetNeeded):
        rows.edit(gravity=2.0)
    rows.reset(seed=0)
    rows.edit(rows=1, gravity=2.0)
    assert [properties["gravity"] for properties in rows.properties] == [9.81, 2.0, 9.81]
    rows.close()
