"""The table twin as an environment: scenes from options and seeds, rows, cameras, state."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from table_scenes import BLUE_BALL, GREEN_CYLINDER, RED_CUBE, STILL, THREE
from world_conformance import WorldConformance, equal

pytest.importorskip("mujoco")

import gwm_sim  # noqa: E402, F401
from gwm_sim.envs.table import spec  # noqa: E402
from gwm_sim.envs.table.mujoco.twin import TableEnv, TableVectorEnv  # noqa: E402
from gwm_sim.envs.table.scene import ATTRIBUTES, MAX_OBJECTS, PROPERTY_DEFAULTS, TASKS, Assignment, Scene  # noqa: E402
from gwm_sim.envs.tabletop.mujoco.physics import BatchModels, LoopPhysics  # noqa: E402
from gwm_sim.envs.tabletop.robot import COMMAND, TELEMETRY_NAMES, integrate_command  # noqa: E402


class TestTableEnv(WorldConformance):
    tasks = {"reach": "push", "grasp": "grasp", "stack": "stack"}
    """The tasks that stand for those of the block world."""

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"rendering": "fast"}

    def make(self, task: str, rows: int = 0, **options: Any) -> Any:
        options["task"] = self.tasks.get(task, task)
        return gym.make_vec(spec.TWIN_ID, num_envs=rows, **options) if rows else gym.make(spec.TWIN_ID, **options)

    def limit(self, task: str) -> int:
        return spec.TIME_LIMIT[self.tasks.get(task, task)]


@pytest.fixture(scope="module")
def env() -> Any:
    env = TableEnv(task="grasp", rendering="fast")
    yield env
    env.close()


def actions(count: int, *shape: int) -> Any:
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape, 4)).astype(np.float32)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_the_same_spaces(task: str) -> None:
    env = gym.make(spec.TWIN_ID, task=task, rendering="fast", cameras=("front", "film"))
    observation, info = env.reset(seed=0)
    assert {key: value.shape for key, value in observation.items()} == {
        "pixels": (64, 64, 3),
        "pixels_film": (144, 256, 3),
        "agent_pos": (len(TELEMETRY_NAMES),),
    }
    assert env.observation_space.contains(observation)
    assert info["task"] == task
    env.close()


@pytest.mark.parametrize("task", ["tower", "drop"])
def test_every_task_has_a_time_limit_of_its_own(task: str) -> None:
    env = gym.make(spec.TWIN_ID, task=task, rendering="fast", cameras=())
    env.reset(seed=0)
    steps = 1
    while not env.step(STILL)[3]:
        steps += 1
    assert steps == spec.TIME_LIMIT[task]
    env.close()


@pytest.mark.parametrize(("size", "film"), [(144, (144, 256)), (480, (480, 854)), (64, (64, 114))])
def test_frames_have_other_sizes_where_asked_for(size: int, film: tuple[int, int]) -> None:
    env = TableEnv(task="drop", size=size, cameras=("film", "wrist"), rendering="fast")
    observation, _ = env.reset(seed=0)
    assert observation["pixels_film"].shape == (*film, 3)
    assert observation["pixels_wrist"].shape == (size, size, 3)
    assert env.camera_info()["film"].width == film[1]
    env.close()


@pytest.mark.parametrize(
    "keywords",
    [
        {"task": "juggle"},
        {"cameras": ("side",)},
        {"cameras": ("front", "front")},
        {"rendering": "best"},
        {"reward": "big"},
        {"size": 9999},
        {"size": 0},
        {"device": "cuda"},
    ],
)
def test_unknown_words_are_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        TableEnv(**keywords)


def test_film_sees_the_workspace_up_to_the_highest_drop() -> None:
    env = TableEnv(task="drop", cameras=("front", "film"), rendering="fast")
    env.reset(seed=0)
    corners = np.stack(np.meshgrid([0.35, 0.65], [-0.18, 0.18], [0.0, 0.65]), axis=-1).reshape(-1, 3)
    cameras = env.camera_info()
    pixels = cameras["film"].project(corners)
    assert ((pixels > -0.5) & (pixels < [255.5, 143.5])).all()
    assert (cameras["front"].project(corners[corners[:, 2] == 0]) > -0.5).all()
    env.close()


def test_objects_are_drawn_where_they_are_in_their_colours(env: TableEnv) -> None:
    observation, info = env.reset(seed=0, options={"scene": THREE})
    camera = env.camera_info()["front"]
    for thing, channel in zip(info["scene"], (0, 2, 1), strict=True):
        column, row = camera.project(thing["position"]).round().astype(int)
        assert observation["pixels"][row, column].argmax() == channel


# --- scenes -----------------------------------------------------------------------------------------------------------


def test_a_scene_is_as_told_and_the_rest_is_drawn_from_the_seed(env: TableEnv) -> None:
    scene = [{"kind": "ball", "colour": "green"}, {"size": 0.04, "mass": 0.3}, {"kind": "cylinder", "bounciness": 0.8}]
    _, info = env.reset(seed=3, options={"scene": scene, "properties": {"gravity": 3.7}})
    assert [thing["kind"] for thing in info["scene"]] == ["ball", "cube", "cylinder"]
    assert info["scene"][0]["colour"] == "green" and info["scene"][1]["size"] == 0.04
    assert info["properties"] == {**PROPERTY_DEFAULTS, "gravity": 3.7} == env.properties
    assert info["task"] == "grasp" and info["task_objects"] == [0]
    poses, told = env.objects(), env.attributes()
    assert poses.shape == (MAX_OBJECTS, 7) and told.shape == (MAX_OBJECTS, len(ATTRIBUTES))
    assert np.isnan(poses[3:]).all() and np.isnan(told[3:]).all()
    np.testing.assert_allclose(poses[:3, :3], [thing["position"] for thing in info["scene"]], atol=1e-4)
    rows = [dict(zip(ATTRIBUTES, row, strict=True)) for row in told[:3]]
    assert rows[0]["ball"] == rows[0]["green"] == 1.0 and rows[0]["cube"] == 0.0
    assert rows[1]["mass"] == np.float32(0.3) and rows[2]["bounciness"] == np.float32(0.8)
    again = env.reset(seed=3, options={"scene": scene, "properties": {"gravity": 3.7}})[1]
    assert again == info
    assert env.reset(seed=4, options={"scene": scene})[1]["scene"] != info["scene"]


def test_a_scene_may_be_a_record_with_properties_and_a_task(env: TableEnv) -> None:
    scene = Scene.of([RED_CUBE, GREEN_CYLINDER], {"bounciness": 0.5})
    _, info = env.reset(seed=0, options={"scene": scene, "assignment": Assignment("stack", (0, 1))})
    assert info["properties"]["bounciness"] == 0.5 and info["task"] == "stack"
    chosen = {"task": "push", "objects": ["green cylinder"], "place": (0.5, -0.1)}
    _, info = env.reset(seed=0, options={"scene": scene, "assignment": chosen})
    assert (info["task"], info["task_objects"], info["task_place"]) == ("push", [1], (0.5, -0.1))
    assert env.assignment == Assignment("push", (1,), (0.5, -0.1))


def test_an_episode_of_another_task_has_its_time_limit() -> None:
    env = gym.make(spec.TWIN_ID, task="grasp", rendering="fast")
    env.reset(seed=0, options={"assignment": {"task": "drop"}})
    assert [env.step(STILL)[3] for _ in range(spec.TIME_LIMIT["drop"])].index(True) == spec.TIME_LIMIT["drop"] - 1
    env.close()


def test_random_properties_leave_the_start_and_draw_physics_of_single_objects(env: TableEnv) -> None:
    plain = env.reset(seed=5)[1]["scene"]
    drawn = env.reset(seed=5, options={"properties": "random"})[1]
    assert [thing["position"] for thing in drawn["scene"]] == [thing["position"] for thing in plain]
    assert drawn["properties"] != PROPERTY_DEFAULTS and len({thing["mass"] for thing in drawn["scene"]}) > 1
    scenes = [env.reset(seed=seed, options={"properties": "random"})[1]["scene"] for seed in range(10)]
    own = ["bounciness" in thing for scene in scenes for thing in scene]
    assert any(own) and not all(own)
    assert env.reset(seed=5)[1]["properties"] == PROPERTY_DEFAULTS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scene": [{}] * 7}, "1 to 6 objects, got 7"),
        ({"scene": []}, "1 to 6 objects, got 0"),
        ({"scene": "a cube"}, "must be a list of objects"),
        ({"scene": [{"kind": "cone"}]}, "kind must be one of cube, ball, cylinder"),
        ({"scene": [{"colour": "pink"}]}, "colour must be one of red, blue"),
        ({"scene": [{"shape": "cube"}]}, "an object has no shape"),
        ({"scene": [{"size": 0.1}]}, "size must be between 0.03 and 0.06 m"),
        ({"scene": [{"bounciness": 2.0}]}, "bounciness must be between 0 and 0.9, got 2"),
        ({"scene": [{"position": (1.0, 0.0)}]}, "must be in reach"),
        ({"scene": [{"position": (0.5, 0.0, 0.9)}]}, "must be in reach"),
        ({"scene": [{"position": (0.5, 0.0, 0.01)}]}, "is in the table"),
        ({"scene": [{"position": (0.5, np.nan)}]}, "position must be"),
        ({"scene": [{"position": 0.5}]}, "position must be"),
        ({"scene": [{"yaw": "left"}]}, "yaw must be a number"),
        ({"scene": [{"mass": "heavy"}]}, "mass must be between 0.02 and 0.5 kg, got 'heavy'"),
        ({"scene": ["red cube"]}, "an object is a mapping such as"),
        (
            {"scene": [RED_CUBE, {**BLUE_BALL, "position": (0.5, 0.03)}]},
            "the blue ball at .* and the red cube at .* overlap",
        ),
        # Corner to corner: the balls inside them do not meet.
        (
            {"scene": [{**RED_CUBE, "yaw": 0.78}, {**RED_CUBE, "colour": "blue", "yaw": 0.78, "position": (0.555, 0)}]},
            "cube and the .* cube overlap",
        ),
        ({"properties": {"bounciness": 2.0}}, "bounciness=2.0 is out of range"),
        ({"properties": {"mass": 1.0}}, "Unknown properties"),
        ({"properties": "all"}, 'must be "random"'),
        ({"prompts": "a red cube"}, "Unknown reset options"),
        ({"assignment": {"task": "juggle"}}, "task must be one of grasp"),
        ({"assignment": {"objects": [0]}}, "needs their scene"),
        ({"assignment": {"task": "grasp", "place": (0.5, 0.0)}}, "a place is where something is pushed to"),
        ({"assignment": {"task": "push", "place": "left"}}, "place must be"),
        ({"assignment": {"goal": 0}}, "any of task, objects and place"),
        ({"scene": THREE, "assignment": {"task": "stack", "objects": ["red cube", "blue ball"]}}, "on the blue ball"),
        ({"scene": THREE, "assignment": {"task": "stack", "objects": ["red cube"]}}, "about 2 different objects"),
        ({"scene": THREE, "assignment": {"task": "stack", "objects": [0, 7]}}, "there is no object 7"),
        ({"scene": THREE, "assignment": {"task": "push", "objects": [0], "place": (0.9, 0)}}, "the place .* in reach"),
        ({"scene": [RED_CUBE], "assignment": {"task": "stack"}}, "stack is about 2 objects, the scene has 1"),
    ],
)
def test_bad_scenes_are_refused_before_anything_changes(env: TableEnv, options: Any, message: str) -> None:
    env.reset(seed=0)
    before = env.objects()
    with pytest.raises(ValueError, match=message):
        env.reset(seed=1, options=options)
    np.testing.assert_array_equal(env.objects(), before)


def test_sizes_that_are_drawn_fit_between_places_that_are_given(env: TableEnv) -> None:
    near = [{"position": (0.5, y)} for y in (-0.1, -0.05, 0.0, 0.05)]
    low = {"kind": "ball", "position": (0.5, 0.1, 0.02)}
    for seed in range(10):
        _, info = env.reset(seed=seed, options={"scene": [{**near[0], "size": 0.04}, *near[1:], low]})
        assert info["scene"][0]["size"] == 0.04 and 0.03 <= info["scene"][-1]["size"] <= 0.04
        assert all(thing["size"] >= 0.03 for thing in info["scene"])
    with pytest.raises(ValueError, match="overlap"):
        env.reset(seed=0, options={"scene": [{"position": (0.5, 0.0)}, {"position": (0.5, 0.02)}]})


def test_the_parked_arm_takes_no_notice_of_actions_while_things_fall(env: TableEnv) -> None:
    before, info = env.reset(seed=0, options={"assignment": {"task": "drop"}})
    assert all(thing["position"][2] > 0.15 for thing in info["scene"])
    for action in actions(20):
        after = env.step(action)[0]
    np.testing.assert_allclose(after["agent_pos"], before["agent_pos"], atol=1e-3)
    lying = env.objects()[: len(info["scene"]), 2]
    assert (lying < 0.06).all()


def test_the_command_is_integrated_exactly_and_followed(env: TableEnv) -> None:
    command = env.reset(seed=0)[0]["agent_pos"][COMMAND].astype(np.float64)
    for action in actions(10):
        observation = env.step(action)[0]
        command = integrate_command(command, action.astype(np.float64))
        np.testing.assert_allclose(observation["agent_pos"][COMMAND], command, atol=1e-6)


def test_zeros_hold_the_scene_still(env: TableEnv) -> None:
    before = env.reset(seed=0)[0]["agent_pos"]
    objects = env.objects()
    for _ in range(10):
        after = env.step(STILL)[0]["agent_pos"]
    np.testing.assert_allclose(after, before, atol=1e-4)
    np.testing.assert_allclose(env.objects(), objects, atol=1e-4)


# --- rows and states --------------------------------------------------------------------------------------------------


def make_rows(**keywords: Any) -> TableVectorEnv:
    return TableVectorEnv(3, task="stack", rendering="fast", **keywords)


def test_rows_are_single_environments_with_their_seeds() -> None:
    rows = make_rows(size=32)
    assert isinstance(rows._simulation._physics, BatchModels)
    together, infos = rows.reset(seed=7, options={"properties": "random"})
    singles = [TableEnv(task="stack", rendering="fast", size=32) for _ in range(3)]
    assert isinstance(singles[0].rows._simulation._physics, LoopPhysics)
    for row, single in enumerate(singles):
        alone, info = single.reset(seed=7 + row, options={"properties": "random"})
        assert equal(alone, {key: value[row] for key, value in together.items()})
        assert info["scene"] == infos["scene"][row] and infos["_scene"].all()
    for action in actions(30, 3):
        together, rewards, *_ = rows.step(action)
        for row, single in enumerate(singles):
            alone, reward, *_ = single.step(action[row])
            assert equal(alone, {key: value[row] for key, value in together.items()})
            assert reward == rewards[row]
    rows.close()
    for single in singles:
        single.close()


def test_a_row_that_is_reset_says_what_lies_there_now() -> None:
    rows = make_rows(max_episode_steps=2)
    rows.reset(seed=0)
    assert "scene" not in rows.step(np.zeros((3, 4), np.float32))[4]
    _, _, _, truncated, infos = rows.step(np.zeros((3, 4), np.float32))
    assert truncated.all() and infos["_scene"].all()
    assert len(infos["scene"][0]) == np.isfinite(rows.objects()[0, :, 0]).sum()
    _, infos = rows.reset(options={"reset_mask": np.array([True, False, False])})
    assert infos["_scene"].tolist() == [True, False, False]
    rows.close()


def test_a_restored_state_continues_bit_for_bit(env: TableEnv) -> None:
    env.reset(seed=3, options={"properties": "random"})
    plan = actions(50)
    plan[:, 2] -= 0.5  # into the table and the objects
    for action in plan[:20]:
        env.step(action)
    state, properties = env.get_state(), env.properties
    first = [env.step(action) for action in plan[20:]]
    env.reset(seed=4)
    env.set_state(state)
    assert env.properties == properties
    for step, action in zip(first, plan[20:], strict=True):
        again = env.step(action)
        assert equal(step[0], again[0])
        assert step[1:] == again[1:]
