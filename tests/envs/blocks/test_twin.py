"""The physics twin as an environment: spec, state, seeds, properties, autoreset."""

import inspect
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from world_conformance import WorldConformance

pytest.importorskip("mujoco")

import gwm_sim  # noqa: E402, F401
from gwm_sim.envs.blocks import spec  # noqa: E402
from gwm_sim.envs.blocks.initial_state import CUBE_DISTANCE, draw_initial_state  # noqa: E402
from gwm_sim.envs.blocks.mujoco.scene import make_model  # noqa: E402
from gwm_sim.envs.blocks.mujoco.twin import (
    MuJoCoEnv,  # noqa: E402
    MuJoCoVectorEnv,  # noqa: E402
)
from gwm_sim.envs.blocks.tasks import TASK  # noqa: E402
from gwm_sim.envs.tabletop.mujoco.physics import HAS_BATCH, BatchPhysics, LoopPhysics  # noqa: E402

IDS = [spec.env_id("twin", task) for task in spec.TASKS]
from gwm_sim.protocol import FIRST_EVALUATION_SEED  # noqa: E402

SEED = FIRST_EVALUATION_SEED


@pytest.fixture
def env() -> Any:
    env = MuJoCoEnv(task="stack", rendering="fast")
    yield env
    env.close()


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def actions(count: int, *shape: int) -> Any:
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape, 4)).astype(np.float32)


class TestMuJoCoEnv(WorldConformance):
    world = "twin"

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"rendering": "fast"}


def test_every_camera_and_depth_have_their_entries() -> None:
    env = MuJoCoEnv(size=32, cameras=("front", "wrist"), depth=True, rendering="fast")
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"pixels", "pixels_wrist", "depth_front", "depth_wrist", "agent_pos"}
    assert env.observation_space.contains(observation)
    assert 2.0 < np.median(observation["depth_front"]) < 3.0
    env.close()


@pytest.mark.parametrize(
    "keywords",
    [
        {"task": "juggle"},
        {"cameras": ("side",)},
        {"cameras": ()},
        {"rendering": "best"},
        {"reward": "big"},
        {"size": 9999},
        {"device": "cuda"},
    ],
)
def test_unknown_words_are_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|must be among"):
        MuJoCoEnv(**keywords)


def test_arguments_are_checked_and_named_as_those_of_one_environment() -> None:
    assert list(inspect.signature(MuJoCoEnv).parameters)[:2] == ["task", "size"]
    assert "num_envs" not in inspect.signature(MuJoCoEnv).parameters
    with pytest.raises(TypeError, match="num_envs"):
        MuJoCoEnv(num_envs=2)
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        MuJoCoVectorEnv(num_envs=0)
    with pytest.raises(ValueError, match="AutoresetMode"):
        MuJoCoVectorEnv(autoreset_mode=None)  # type: ignore[arg-type]
    env = MuJoCoEnv("reach", rendering="fast")
    assert env.task == "reach"
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array([True])})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape \(3,\), expected \(4,\)"):
        env.step(np.zeros(3, np.float32))
    env.close()


def test_the_device_that_it_runs_on_may_be_named() -> None:
    MuJoCoEnv(rendering="fast", device="cpu").close()


def test_the_command_is_integrated_exactly_and_followed(env: MuJoCoEnv) -> None:
    command = env.reset(seed=0)[0]["agent_pos"][spec.COMMAND].astype(np.float64)
    for action in actions(30):
        observation = env.step(action)[0]
        command = spec.integrate_command(command, action.astype(np.float64))
        np.testing.assert_allclose(observation["agent_pos"][spec.COMMAND], command, atol=1e-6)
    for _ in range(3):
        observation = env.step(np.zeros(4, np.float32))[0]
    np.testing.assert_allclose(observation["agent_pos"][spec.EE], command, atol=0.004)


def test_zeros_hold_the_scene_still(env: MuJoCoEnv) -> None:
    before = env.reset(seed=0)[0]["agent_pos"]
    objects = env.objects()
    for _ in range(10):
        after = env.step(np.zeros(4, np.float32))[0]["agent_pos"]
    np.testing.assert_allclose(after, before, atol=1e-4)
    np.testing.assert_allclose(env.objects(), objects, atol=1e-4)


def test_a_restored_state_continues_bit_for_bit(env: MuJoCoEnv) -> None:
    env.reset(seed=3, options={"properties": {"friction": 0.4, "gravity": 12.0}})
    plan = actions(60)
    plan[:, 2] -= 0.5  # into the table and the cubes
    for action in plan[:20]:
        env.step(action)
    state = env.get_state()
    first = [env.step(action) for action in plan[20:]]
    env.reset(seed=4)
    env.set_state(state)
    assert env.properties == {"friction": 0.4, "gravity": 12.0}
    for step, action in zip(first, plan[20:], strict=True):
        again = env.step(action)
        assert equal(step[0], again[0])
        assert step[1:] == again[1:]


@pytest.mark.parametrize("task", spec.TASKS)
def test_starts_keep_their_distance_and_are_not_solved(task: str, env: MuJoCoEnv) -> None:
    for seed in range(200):
        start = draw_initial_state(TASK[task], np.random.default_rng(seed))
        assert np.linalg.norm(start.cubes[0] - start.cubes[1]) >= CUBE_DISTANCE
    for seed in range(5):
        env.reset(seed=seed)
        assert not env.labels()[task][1]


def test_cubes_are_whole_in_view_and_seven_pixels_wide(env: MuJoCoEnv) -> None:
    env.reset(seed=0)
    camera = env.camera_info()["front"]
    half = spec.CUBE_SIZE / 2
    corners = np.array([[x, y, z] for x in (-half, half) for y in (-half, half) for z in (-half, half)])
    for x in (spec.WORKSPACE_LOW[0], spec.WORKSPACE_HIGH[0]):
        for y in (spec.WORKSPACE_LOW[1], spec.WORKSPACE_HIGH[1]):
            for z in (half, 0.25):
                pixels = camera.project(np.array([x, y, z]) + corners)
                assert (pixels > -0.5).all()
                assert (pixels < 63.5).all()
                assert np.ptp(pixels[:, 0]) >= 7.0


def test_seeds_draw_the_same_start_with_and_without_random_properties(env: MuJoCoEnv) -> None:
    env.reset(seed=5)
    plain = env.objects()[:, :2]
    env.reset(seed=5, options={"properties": "random"})
    np.testing.assert_allclose(env.objects()[:, :2], plain, atol=1e-3)
    drawn = env.properties
    env.reset(seed=5, options={"properties": "random"})
    assert env.properties == drawn != spec.PROPERTY_DEFAULTS
    env.reset(seed=5)
    assert env.properties == spec.PROPERTY_DEFAULTS


@pytest.mark.parametrize("properties", [{"mass": 1.0}, {"friction": 5.0}, {"gravity": 0.0}, "all"])
def test_bad_properties_are_refused(properties: Any, env: MuJoCoEnv) -> None:
    with pytest.raises(ValueError, match=r"friction 0\.1 to 1\.2"):
        env.reset(seed=0, options={"properties": properties})


def slide(env: MuJoCoEnv, friction: float) -> float:
    """How far the red cube slides when it is thrown along the table [m]."""
    env.reset(seed=0, options={"properties": {"friction": friction}})
    start = env.objects()[0, :2]
    state = env.get_state()
    model = make_model("fast")
    velocity = 1 + model.nq + model.joint("red").dofadr[0]  # time and positions come first
    state.physics[velocity] = 0.5
    env.set_state(state)
    for _ in range(10):
        env.step(np.zeros(4, np.float32))
    return float(np.linalg.norm(env.objects()[0, :2] - start))


def test_less_friction_slides_farther(env: MuJoCoEnv) -> None:
    # v^2 / (2 mu g)
    assert slide(env, 0.2) == pytest.approx(0.5**2 / (2 * 0.2 * 9.81), rel=0.1)
    assert slide(env, 0.2) > 3 * slide(env, 0.8)


def test_gravity_sets_how_fast_a_cube_falls(env: MuJoCoEnv) -> None:
    heights = []
    for gravity in (2.0, 10.0):
        env.reset(seed=0, options={"properties": {"gravity": gravity}})
        state = env.get_state()
        height = 1 + make_model("fast").joint("red").qposadr[0] + 2
        state.physics[height] += 0.2
        env.set_state(state)
        env.step(np.zeros(4, np.float32))
        heights.append(float(env.objects()[0, 2]))
    np.testing.assert_allclose(heights[0] - heights[1], (10.0 - 2.0) * 0.1**2 / 2, atol=0.003)


def test_renders_a_larger_frame() -> None:
    shown = MuJoCoEnv(rendering="fast", render_mode="rgb_array")
    shown.reset(seed=0)
    frame = shown.render()
    assert frame is not None
    assert frame.shape == (480, 480, 3)
    shown.close()


def test_renderings_differ_only_in_their_quality() -> None:
    frames = {}
    for rendering in ("fast", "rich"):
        env = gym.make(IDS[0], rendering=rendering)
        frames[rendering] = env.reset(seed=0)[0]["pixels"].astype(int)
        env.close()
    difference = np.abs(frames["fast"] - frames["rich"]).max(axis=-1)
    assert 0.02 < (difference > 10).mean() < 0.5


@pytest.mark.skipif(not HAS_BATCH, reason="this MuJoCo has no batch")
def test_the_batch_and_the_loop_agree_bit_for_bit() -> None:
    model = make_model("fast")
    rows = np.arange(3)
    targets = np.random.default_rng(0).uniform(-0.5, 0.5, (10, 3, model.nu))
    states = []
    for physics in (form(model, 3, spec.OBJECT_NAMES) for form in (LoopPhysics, BatchPhysics)):
        physics.set_properties(rows, np.array([0.2, 0.6, 1.0]), np.array([2.0, 9.81, 14.0]))
        for target in targets:
            physics.step(rows, target, 50)
        states.append(physics.get_state(rows))
    np.testing.assert_array_equal(states[0], states[1])


def make_rows(num_envs: int = 3, **keywords: Any) -> MuJoCoVectorEnv:
    env = gym.make_vec(IDS[0], num_envs=num_envs, rendering="fast", **keywords)
    assert isinstance(env, MuJoCoVectorEnv)
    return env


def test_row_i_of_a_seeded_batch_is_the_single_environment_seeded_s_plus_i(env: MuJoCoEnv) -> None:
    rows = make_rows()
    options = {"properties": "random"}
    batch, _ = rows.reset(seed=SEED, options=options)
    assert rows.observation_space.contains(batch)
    plan = actions(10, 3)
    batches = [batch] + [rows.step(action)[0] for action in plan]
    single = gym.make(IDS[0], rendering="fast")
    for i in range(3):
        observations = [single.reset(seed=SEED + i, options=options)[0]] + [single.step(a[i])[0] for a in plan]
        for together, alone in zip(batches, observations, strict=True):
            assert equal({key: value[i] for key, value in together.items()}, alone)
    rows.close()
    single.close()


def test_same_step_restarts_at_once_and_keeps_the_last_observation() -> None:
    rows = make_rows(max_episode_steps=3)
    rows.reset(seed=0)
    for _ in range(2):
        *_, truncated, infos = rows.step(np.zeros((3, 4), np.float32))
        assert not truncated.any()
        assert "final_obs" not in infos
    observation, _, terminated, truncated, infos = rows.step(np.zeros((3, 4), np.float32))
    assert truncated.all()
    assert not terminated.any()
    assert infos["_final_obs"].all()
    assert infos["final_info"]["success"].dtype == bool
    for i in range(3):
        assert rows.single_observation_space.contains(infos["final_obs"][i])
        assert not equal(infos["final_obs"][i], {key: value[i] for key, value in observation.items()})
    assert not rows.step(np.zeros((3, 4), np.float32))[3].any()
    rows.close()


def test_next_step_ignores_the_action_of_the_reset() -> None:
    rows = make_rows(max_episode_steps=2, autoreset_mode=AutoresetMode.NEXT_STEP)
    rows.reset(seed=0)
    rows.step(np.zeros((3, 4), np.float32))
    last, *_, truncated, _ = rows.step(np.zeros((3, 4), np.float32))
    assert truncated.all()
    observation, reward, _, truncated, infos = rows.step(np.ones((3, 4), np.float32))
    assert not truncated.any()
    assert not reward.any()
    assert "final_obs" not in infos
    assert not equal(observation, last)
    np.testing.assert_allclose(observation["agent_pos"][:, spec.OPENING], spec.GRIPPER_MAX, atol=1e-3)
    rows.close()


def test_disabled_resets_only_the_masked_rows() -> None:
    rows = make_rows(max_episode_steps=2, autoreset_mode=AutoresetMode.DISABLED)
    rows.reset(seed=0)
    rows.step(np.zeros((3, 4), np.float32))
    before, *_ = rows.step(np.zeros((3, 4), np.float32))
    with pytest.raises(gym.error.ResetNeeded):
        rows.step(np.zeros((3, 4), np.float32))
    mask = np.array([True, False, False])
    after, infos = rows.reset(options={"reset_mask": mask})
    assert infos["_success"].tolist() == mask.tolist()
    assert (after["agent_pos"][0] != before["agent_pos"][0]).any()
    np.testing.assert_array_equal(after["agent_pos"][1:], before["agent_pos"][1:])
    with pytest.raises(ValueError, match="reset_mask"):
        rows.reset(options={"reset_mask": [True, False, False]})
    rows.close()


def test_rows_are_restored_bit_for_bit() -> None:
    rows = make_rows()
    rows.reset(seed=0, options={"properties": "random"})
    states = rows.get_state()
    plan = actions(10, 3)
    first = [rows.step(action)[0] for action in plan]
    rows.reset(seed=9)
    rows.set_state(states)
    for observation, action in zip(first, plan, strict=True):
        assert equal(observation, rows.step(action)[0])
    rows.close()


def test_attributes_are_read_per_row() -> None:
    rows = make_rows(render_mode="rgb_array")
    rows.reset(seed=0)
    assert rows.get_attr("task") == ("reach",) * 3
    assert len({str(properties) for properties in rows.call("properties")}) == 1
    assert [frame.shape for frame in rows.call("render")] == [(480, 480, 3)] * 3
    rows.set_attr("task", "grasp")
    assert rows.task == "grasp"
    with pytest.raises(ValueError, match="share"):
        rows.set_attr("task", ["reach", "grasp", "stack"])
    rows.close()
