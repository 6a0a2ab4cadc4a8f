"""From files of any robot to its own world by three commands, and what that world says of itself."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from layouts import LAYOUTS
from recordings import make_camera

from gwm_sim import cli
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter, TaskLabels
from gwm_sim.data.schema import Schema
from gwm_sim.envs.learned.vector import LearnedEnv, LearnedVectorEnv
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import PRESETS

CHECKPOINT = ("config.json", "model.safetensors", "bank.hdf5", "README.md", "report.json")


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recordings here have few frames each."""
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], frames_per_window=4))


def train(data: Path, out: Path, camera: str, *options: str) -> Path:
    words = ["train", "--data", str(data), "--out", str(out), "--camera", camera, "--preset", "tiny", "--steps", "8"]
    assert cli.main([*words, "--device", "cpu", "--name", "own", *options]) == 0
    return out


def make(model: Path, **options: Any) -> gym.Env[Any, Any]:
    """The world of a model, whether or not it knows a reward."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "own lacks labels")
        return gym.make("GWM-World-v0", model=model, **options)


def drive(env: gym.Env[Any, Any], steps: int = 3) -> tuple[list[float], dict[str, Any]]:
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    rewards = []
    for _ in range(steps):
        observation, reward, terminated, _, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert not terminated
        rewards.append(float(reward))
    return rewards, info


def bench(telemetry: int = 20, actions: int = 1, height: int = 32, width: int = 48, **members: Any) -> Schema:
    camera = replace(make_camera(), height=height, width=width)
    return Schema(
        env_id="bench",
        rate=12.5,
        telemetry_names=tuple(f"sensor {i}" for i in range(telemetry)),
        telemetry_units=("bar", *["deg"] * (telemetry - 1)),
        telemetry_low=(-5.0,) * telemetry,
        telemetry_high=(5.0,) * telemetry,
        action_names=tuple(f"valve {i}" for i in range(actions)),
        action_low=(-2.0,) * actions,
        action_high=(3.0,) * actions,
        **{"cameras": {"overhead cam": camera}, **members},
    )


def record(path: Path, schema: Schema, episodes: int = 4, length: int = 9) -> Path:
    """Write episodes in which a bright bar moves, with whatever the schema asks for."""
    writer = EpisodeWriter(path, schema)
    rng = np.random.default_rng(0)
    for k in range(episodes):
        rows = length + 1
        frames = {name: np.zeros((rows, c.height, c.width, 3), np.uint8) for name, c in schema.cameras.items()}
        for pictures in frames.values():
            for row in range(rows):
                pictures[row, :, 2 * row + k : 2 * row + k + 8] = 200
        success = np.arange(rows) > rows // 2
        telemetry = rng.normal(size=(rows, len(schema.telemetry_names))).astype(np.float32)
        writer.write(
            k,
            Episode(
                frames=frames,
                telemetry=telemetry,
                actions=rng.uniform(-1, 1, (length, len(schema.action_names))).astype(np.float32),
                labels={task: TaskLabels(success.astype(np.float32), success) for task in schema.tasks},
                objects=rng.normal(size=(rows, len(schema.object_names), 7)).astype(np.float32)
                if schema.object_names
                else None,
                properties={},
                seed=None,
                policy="demonstration",
            ),
        )
    writer.merge()
    return path


@pytest.fixture(scope="module")
def bare_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of pictures, telemetry and one action: no objects, labels or properties."""
    folder = tmp_path_factory.mktemp("bare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], frames_per_window=4))
        return train(record(folder / "data.hdf5", bench()), folder / "world", "overhead cam")


# --- three commands ---------------------------------------------------------------------------------------------------


QUICK = ("robomimic", "lerobot-v3", "folder")  # the others take the same way, more slowly


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in LAYOUTS])
def test_every_layout_becomes_a_world_by_three_commands(name: str, tmp_path: Path) -> None:
    case = LAYOUTS[name]
    source, data, out = tmp_path / case.name, tmp_path / "data.hdf5", tmp_path / "world"
    case.write(source)
    rate = ["--fps", str(case.rate)] if case.rate else []
    size = ["--size", "96" if name == "folder" else "32"]
    assert cli.main(["inspect", str(source)]) == 0
    assert cli.main(["import", case.format, str(source), "--out", str(data), *rate, *size]) == 0
    with EpisodeFile(data) as file:
        schema = file.schema
    camera = list(schema.cameras)[-1]
    env = make(train(data, out, camera))
    drive(env)
    metadata = env.unwrapped.metadata
    for key in ("telemetry_names", "telemetry_units", "action_names", "rate", "tasks"):
        assert metadata[key] == getattr(schema, key), key
    assert metadata["camera"] == camera
    assert f"pixels_{camera}" in env.observation_space.spaces  # type: ignore[attr-defined]
    assert ("reward" in metadata["lacks"]) == (not schema.tasks)


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized", "ignore:own lacks labels")  # the robot's own range
def test_a_world_of_pictures_and_sensors_steps_and_says_what_it_lacks(bare_world: Path) -> None:
    for form in (LearnedEnv, LearnedVectorEnv):
        with pytest.warns(UserWarning, match="own lacks labels.*gwm label") as caught:
            form(model=bare_world)
        assert caught[0].filename == __file__  # whoever made it is told
    env = gym.make("GWM-World-v0", model=bare_world)
    check_env(env.unwrapped, skip_render_check=True)
    rewards, info = drive(env)
    assert rewards == [0, 0, 0] and info["is_success"] is False
    metadata = env.unwrapped.metadata
    assert metadata["telemetry_units"][0] == "bar" and metadata["rate"] == metadata["render_fps"] == 12.5
    assert set(metadata["lacks"]) == {"reward", "objects"}
    assert env.observation_space["pixels_overhead cam"].shape == (32, 48, 3)  # type: ignore[index]
    assert env.action_space.low.tolist() == [-2] and env.action_space.high.tolist() == [3]  # type: ignore[attr-defined]


def test_objects_and_tasks_of_other_names_survive(tmp_path: Path) -> None:
    schema = bench(telemetry=2, actions=5, object_names=("mug",), object_size=0.1, tasks=("pour",), task="pour")
    env = make(train(record(tmp_path / "data.hdf5", schema), tmp_path / "world", "overhead cam"))
    metadata = env.unwrapped.metadata
    assert metadata["object_names"] == ("mug",) and metadata["tasks"] == ("pour",) and not metadata["lacks"]
    assert all(0 < reward < 1 for reward in drive(env)[0])


def test_pictures_may_have_any_size(tmp_path: Path) -> None:
    data = record(tmp_path / "data.hdf5", bench(height=37, width=50))
    env = make(train(data, tmp_path / "world", "overhead cam"))
    assert env.observation_space["pixels_overhead cam"].shape == (37, 50, 3)  # type: ignore[index]
    drive(env)


# --- goal images ------------------------------------------------------------------------------------------------------


def test_a_goal_image_gives_the_reward(bare_world: Path) -> None:
    env = make(bare_world)
    start = env.reset(options={"bank": 0})[0]["pixels_overhead cam"]
    env.reset(options={"bank": 0, "goal": start})
    world: Any = env.unwrapped
    assert world.rows._imagination.judge()[0] == 0  # nothing is nearer to the goal than the goal
    env.reset(options={"bank": 0, "goal": start[:, ::-1]})
    reward = env.step(np.zeros(1, np.float32))[1]
    assert float(reward) < 0
    env.reset(seed=1)
    assert env.step(np.zeros(1, np.float32))[1] == 0  # a goal lasts one episode


def test_a_goal_given_to_the_constructor_lasts_and_serves_the_vector_form(bare_world: Path) -> None:
    picture = make(bare_world).reset(seed=1)[0]["pixels_overhead cam"]
    env = make(bare_world, goal=picture)
    single = [drive(env)[0] for _ in range(2)][1]
    assert all(reward <= 0 for reward in single)
    envs = gym.make_vec("GWM-World-v0", num_envs=3, model=bare_world, goal=picture)
    envs.reset(seed=0)
    actions = np.zeros((3, 1), np.float32)
    env.reset(seed=2)
    batched = [envs.step(actions)[1] for _ in range(12)]  # beyond the time limit of 9 steps
    # Pictures of other batches differ by a grey level, and so do some latents by one.
    assert batched[0][2] == pytest.approx(float(env.step(actions[0])[1]), abs=0.1)
    assert np.isfinite(batched).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"goal": np.zeros((8, 8, 3), np.uint8)}, r"goal image .* must be \(32, 48, 3\)"),
        ({"goal": np.zeros((32, 48, 3), np.float32)}, "float32"),
        ({"gaol": None}, "Unknown reset options"),
    ],
)
def test_wrong_goals_are_refused(bare_world: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(bare_world).reset(options=options)


def test_a_sparse_reward_of_a_goal_image_is_that_it_is_reached(bare_world: Path) -> None:
    env = make(bare_world, reward="sparse")
    first = env.reset(seed=0)[0]["pixels_overhead cam"]
    env.reset(seed=0, options={"goal": first})
    _, reward, _, _, info = env.step(np.zeros(1, np.float32))
    assert reward == float(info["success"])


# --- sharing ----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_needs_nothing_but_its_own_files(bare_world: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in CHECKPOINT:
        shutil.copy(bare_world / name, shared / name)
    assert WorldModel.load(shared, "cpu").digest() == WorldModel.load(bare_world, "cpu").digest()
    here, there = make(bare_world), make(shared)
    for env in (here, there):
        env.action_space.seed(0)
    assert drive(here)[0] == drive(there)[0]
    first, second = (env.reset(seed=3)[0] for env in (here, there))
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert len(there.unwrapped.rows._imagination.starts) == 4  # type: ignore[attr-defined]
