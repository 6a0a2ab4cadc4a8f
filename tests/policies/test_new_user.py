"""What a new user does with the recordings of an arm that is told where its six joints should be: five commands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pygame
import pytest
from recordings import make_camera

from gwm_sim.cli import main
from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter
from gwm_sim.data.schema import Schema
from gwm_sim.envs.commands.play import PlayConfig, make, play
from gwm_sim.media.video import write_png
from gwm_sim.model.world_model import WorldModel

SIZE, STEPS, EPISODES = 64, 40, 24
JOINTS = tuple(f"joint_{i}.pos" for i in range(1, 7))
REACH = 0.35  # share of the way to its targets that the arm goes in a step
RADIUS = 6.0  # of the hand and of the block [px]


def schema() -> Schema:
    return Schema(
        env_id="six-joints",
        rate=10.0,
        telemetry_names=JOINTS,
        telemetry_units=("rad",) * 6,
        telemetry_low=(-2.0,) * 6,
        telemetry_high=(2.0,) * 6,
        action_names=JOINTS,
        action_low=(-1.5,) * 6,
        action_high=(1.5,) * 6,
        cameras={"front": replace(make_camera(SIZE))},
    )


def drawn(hand: np.ndarray, block: np.ndarray, table: np.ndarray) -> np.ndarray:
    """The table, a red block on it, and a grey hand above."""
    picture, (rows, columns) = table.copy(), np.mgrid[:SIZE, :SIZE]
    picture[np.maximum(abs(columns - block[0]), abs(rows - block[1])) < RADIUS] = (200, 40, 40)
    picture[np.hypot(columns - hand[0], rows - hand[1]) < RADIUS] = (60, 60, 70)
    return picture


def episode(seed: int, table: np.ndarray) -> Episode:
    """An arm that goes where it is told to; its hand pushes a block along."""
    rng = np.random.default_rng(seed)
    joints, target = rng.uniform(-1, 1, 6), rng.uniform(-1, 1, 6)
    block = rng.uniform(16, SIZE - 16, 2)
    frames, reported, asked = [], [], []
    for step in range(STEPS + 1):
        hand = SIZE / 2 + 22 * joints[:2]
        away = block - hand
        apart = np.abs(away).max()
        if apart < 2 * RADIUS:
            block = (block + away / max(apart, 1.0) * (2 * RADIUS - apart)).clip(8, SIZE - 8)
        frames.append(drawn(hand, block, table))
        reported.append(joints.copy())
        if step % 8 == 0:
            target = rng.uniform(-1, 1, 6)
            target[:2] = (block - SIZE / 2) / 22 + rng.normal(0, 0.3, 2)
        asked.append(target.copy())
        joints = joints + REACH * (target - joints)
    return Episode(
        frames={"front": np.stack(frames)},
        telemetry=np.stack(reported).astype(np.float32),
        actions=np.stack(asked[:-1]).astype(np.float32),
        labels={},
        objects=None,
        properties={},
        seed=seed,
        policy="",
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LeRobot dataset, as recorded by somebody else."""
    folder = tmp_path_factory.mktemp("lerobot")
    table = np.random.default_rng(7).integers(150, 190, (SIZE, SIZE, 3)).astype(np.uint8)
    writer = EpisodeWriter(folder / "own.hdf5", schema())
    for number in range(EPISODES):
        writer.write(number, episode(number, table))
    writer.merge()
    words = ["export", "lerobot", str(folder / "own.hdf5"), str(folder / "dataset"), "--codec", "h264"]
    assert main([*words, "--task", "push the block"]) == 0
    return folder / "dataset"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:world lacks labels")
def test_five_commands_on_a_recording_with_absolute_joints(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, world, goal = tmp_path / "data.hdf5", tmp_path / "world", tmp_path / "goal.png"
    assert main(["import", "lerobot", str(dataset), "--out", str(data)]) == 0
    assert main(["train", "--data", str(data), "--out", str(world), "--preset", "tiny", "--steps", "200"]) == 0
    told = capsys.readouterr().out
    assert "6 of 6 actions are targets" in told, told
    model = WorldModel.load(world, "cpu")
    assert len(model.config.control.targets) == 6 and model.config.schema.object_names

    with EpisodeFile(data) as file:
        write_png(goal, file[0].frames["front"][-1])
    own = ["--env", "GWM-World-v0", "--model", str(world)]
    search = ["--population", "8", "--iterations", "1", "--horizon", "6"]
    assert main(["plan", *own, "--goal", str(goal), *search, "--json", str(tmp_path / "plan.json")]) == 0
    assert main(["plan", *own, "--goal-episode", f"{data}:1", "--ahead", "25", *search]) in (0, 2)

    env = make(PlayConfig(env="GWM-World-v0", model=str(world)))
    pygame.init()
    for key in (pygame.K_q, pygame.K_ESCAPE):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
    play(env, fps=1000.0)
    pygame.quit()

    agent = ["--out", str(tmp_path / "agent"), "--steps", "100", "--eval-minutes", "-1", "--no-tensorboard"]
    assert main(["rl", "train", *own, "--goal", str(goal), "--warm-start", str(data), *agent]) == 0
    scored = ["rl", "eval", *own, "--goal", str(goal), "--policy", str(tmp_path / "agent"), "--episodes", "2"]
    assert main(scored) == 0
    policies = ["hold", "uniform", str(tmp_path / "agent")]
    assert main(["compare", *own, "--goal", str(goal), "--policies", *policies, "--episodes", "2"]) == 0
