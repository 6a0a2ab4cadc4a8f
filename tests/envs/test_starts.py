"""Where episodes of learned worlds start: the bank, recorded episodes, frames, properties."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learned_worlds import HOLD, draw_actions, same

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.learned.vector import LearnedEnv
from gwm_sim.errors import CheckpointError
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.world_model import WorldModel


@pytest.fixture
def env(tiny_checkpoint: Path) -> Iterator[LearnedEnv]:
    env = LearnedEnv(task="stack", model=tiny_checkpoint)
    yield env
    env.close()


def test_a_start_of_the_bank_is_its_last_frame(env: LearnedEnv, tiny_checkpoint: Path) -> None:
    with EpisodeFile(tiny_checkpoint / BANK_FILE) as bank:
        for index in (0, len(bank) - 1):
            observation, _ = env.reset(options={"bank": index})
            np.testing.assert_array_equal(observation["pixels"], bank[index].frames["front"][-1])
            np.testing.assert_array_equal(observation["agent_pos"], bank[index].telemetry[-1])


def test_an_episode_and_its_frames_are_the_same_start(env: LearnedEnv, tiny_data: Path) -> None:
    with EpisodeFile(tiny_data) as file:
        episode = file.read(2, 4, 8)
    by_name = env.reset(options={"episode": f"{tiny_data}:2", "step": 7})[0]
    np.testing.assert_array_equal(by_name["pixels"], episode.frames["front"][-1])
    futures = [env.step(action)[0] for action in draw_actions(5)]
    arrays = {"frames": episode.frames["front"], "telemetry": episode.telemetry, "actions": episode.actions}
    assert same(env.reset(options={**arrays, "properties": episode.properties})[0], by_name)
    for action, expected in zip(draw_actions(5), futures, strict=True):
        assert same(env.step(action)[0], expected)


def test_one_frame_is_enough(env: LearnedEnv, tiny_data: Path) -> None:
    with EpisodeFile(tiny_data) as file:
        episode = file.read(0, 5, 6)
    mirrored = episode.frames["front"][0][:, ::-1]  # a view with a negative stride
    observation, _ = env.reset(options={"frames": mirrored, "telemetry": episode.telemetry[0]})
    np.testing.assert_array_equal(observation["pixels"], mirrored)
    assert env.observation_space.contains(env.step(HOLD)[0])


def test_telemetry_out_of_bounds_is_clipped(env: LearnedEnv, tiny_data: Path) -> None:
    with EpisodeFile(tiny_data) as file:
        episode = file.read(0, 5, 6)
    observation, _ = env.reset(options={"frames": episode.frames["front"], "telemetry": episode.telemetry + 1})
    assert env.observation_space.contains(observation)


def test_properties_condition_the_start(env: LearnedEnv) -> None:
    env.reset(options={"bank": 0, "properties": {"friction": 0.3}})
    names = env.world_model.config.properties
    state = env.get_state()[0]
    assert dict(zip(names, state.properties[0].tolist(), strict=True)) == pytest.approx(
        {"friction": 0.3, "gravity": spec.PROPERTY_DEFAULTS["gravity"]}
    )
    env.reset(seed=1, options={"properties": "random"})
    drawn = env.get_state()[0].properties
    env.reset(seed=1, options={"properties": "random"})
    assert drawn.equal(env.get_state()[0].properties)


def test_a_world_is_told_any_property_that_its_data_have(tiny_checkpoint: Path, tmp_path: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    schema = replace(model.config.schema, env_id="Bench-v0")  # of which nothing is known beside the data
    model.config = replace(model.config, schema=schema, properties=("mass", "stiffness"))
    low, high = torch.tensor([0.5, 10.0]), torch.tensor([2.0, 30.0])
    model.statistics.properties_low.copy_(low)
    model.statistics.properties_high.copy_(high)
    model.save(tmp_path)
    (tmp_path / BANK_FILE).write_bytes((tiny_checkpoint / BANK_FILE).read_bytes())
    env = LearnedEnv(task="stack", model=tmp_path)
    env.reset(options={"bank": 0, "properties": {"mass": 1.5}})
    told = env.get_state()[0].properties[0]
    assert told[0] == 1.5 and told[1].isnan()  # nobody knows the other
    env.reset(seed=0, options={"properties": "random"})
    drawn = env.get_state()[0].properties[0]
    assert ((low < drawn) & (drawn < high)).all()
    for message, properties in {
        "mass=9.0 is out of range; valid properties: mass 0.5 to 2, stiffness 10 to 30": {"mass": 9.0},
        "Unknown properties .'gravity'.; valid properties: mass": {"gravity": 9.81},
        'must be "random" or a dict': "all",
    }.items():
        with pytest.raises(ValueError, match=message):
            env.reset(options={"properties": properties})
    with pytest.raises(ValueError, match="nothing is known of what tasks look at in Bench-v0"):
        env.task_state()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"banks": 0}, "Unknown reset options"),
        ({"bank": 999}, "bank must be an index from 0 to 49"),
        ({"bank": 0, "episode": "a:0"}, "exclude each other"),
        ({"episode": "a.hdf5"}, '"FILE:K"'),
        ({"episode": "DATA:999"}, "has 50 episodes"),
        ({"episode": "DATA:0", "step": 13}, "step must be from 0 to 12"),
        ({"step": 3}, '"step" needs "episode"'),
        ({"frames": np.zeros((4, 64, 64, 3), np.uint8)}, '"frames" needs "telemetry"'),
        ({"telemetry": np.zeros((4, 14))}, '"telemetry" needs "frames"'),
        ({"frames": np.zeros((4, 64, 64, 3)), "telemetry": np.zeros((4, 14))}, "uint8"),
        ({"frames": np.zeros((4, 32, 32, 3), np.uint8), "telemetry": np.zeros((4, 14))}, "frames must have shape"),
        ({"frames": np.zeros((0, 64, 64, 3), np.uint8), "telemetry": np.zeros((0, 14))}, "at least one"),
        ({"frames": np.zeros((4, 64, 64, 3), np.uint8), "telemetry": np.full((4, 14), np.nan)}, "finite"),
        ({"properties": {"colour": 1.0}}, "Unknown properties ..colour.."),
        ({"properties": {"friction": 99.0}}, "out of range"),
    ],
)
def test_impossible_options_are_refused(
    options: dict[str, Any], message: str, env: LearnedEnv, tiny_data: Path
) -> None:
    if "episode" in options:
        options = {**options, "episode": options["episode"].replace("DATA", str(tiny_data))}
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_solved_starts_are_redrawn(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = copy_with_bank(tiny_checkpoint, tmp_path, solved=range(49))
    env = LearnedEnv(task="stack", model=folder)
    only, _ = env.reset(options={"bank": 49})
    for seed in range(5):
        assert same(env.reset(seed=seed)[0], only)


def test_without_a_bank_a_start_must_be_given(tiny_checkpoint: Path, tmp_path: Path, tiny_data: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((tiny_checkpoint / name).read_bytes())
    env = LearnedEnv(task="stack", model=tmp_path)
    with pytest.raises(CheckpointError, match="no bank"):
        env.reset(seed=0)
    env.reset(options={"episode": f"{tiny_data}:0"})


def copy_with_bank(checkpoint: Path, folder: Path, solved: range) -> Path:
    """Copy a checkpoint; the starts `solved` of its bank get a stack that stands already."""
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((checkpoint / name).read_bytes())
    with EpisodeFile(checkpoint / BANK_FILE) as bank:
        writer = EpisodeWriter(folder / BANK_FILE, bank.schema)
        for index, episode in enumerate(bank):
            episode.labels["stack"].success[:] = index in solved
            writer.write(index, episode)
        writer.merge()
    return folder
