"""Training windows stay within episodes, hold what the file holds, and never come from evaluation data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import make_episode, make_schema, write_file

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.errors import ConfigError
from gwm_sim.protocol import FIRST_EVALUATION_SEED
from gwm_sim.training.dataset import load_training_data, scene_box


def test_arrays_hold_every_frame_of_the_file(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5")
    data = load_training_data([path, path])
    with EpisodeFile(path) as file:
        assert data.episodes == 2 * len(file)
        episode = file[3]
    first = int(data.starts[3])
    rows = torch.arange(first, first + len(episode) + 1)
    np.testing.assert_array_equal(data.frames[rows], episode.frames["front"])
    np.testing.assert_array_equal(data.telemetry[rows], episode.telemetry)
    np.testing.assert_array_equal(data.actions[rows][:-1], episode.actions)
    assert (data.actions[rows][-1] == 0).all()
    assert episode.objects is not None
    inside = episode.objects[..., :3].clip(data.objects_low.numpy(), data.objects_high.numpy())
    np.testing.assert_array_equal(data.objects[rows], inside)
    assert data.properties[3].tolist() == pytest.approx(list(episode.properties.values()))


def test_windows_stay_within_one_episode(tmp_path: Path) -> None:
    data = load_training_data([write_file(tmp_path / "a.hdf5")])
    first = data.windows(4)
    validation = data.windows(4, validation=True)
    episode_of = torch.repeat_interleave(torch.arange(data.episodes), data.lengths)
    assert (episode_of[first] == episode_of[first + 3]).all()
    assert set(episode_of[validation].tolist()) == {9}  # the tenth of twelve
    assert len(first) + len(validation) == sum(max(0, length - 3) for length in data.lengths.tolist())


def test_batch_is_what_follows_the_first_frame(tmp_path: Path) -> None:
    data = load_training_data([write_file(tmp_path / "a.hdf5")])
    codes = torch.arange(len(data.frames), dtype=torch.uint8)[:, None, None].expand(-1, 2, 3)
    frames, reward, success = data.batch(codes, torch.tensor([0, 5]), 3)
    assert frames.codes[:, :, 0, 0].tolist() == [[0, 1, 2], [5, 6, 7]]
    assert frames.previous_codes[:, :, 0, 0].tolist() == [[0, 0, 1], [5, 5, 6]]
    assert torch.equal(frames.telemetry[1], data.telemetry[5:8])
    assert reward.shape == success.shape == (2, 3, len(data.schema.tasks))


def test_statistics_ignore_the_jump_between_episodes(tmp_path: Path) -> None:
    data = load_training_data([write_file(tmp_path / "a.hdf5")])
    inner = data.inner()
    assert (~inner).sum() == data.episodes - 1
    change = torch.diff(data.telemetry, dim=0)[inner].std(0)
    torch.testing.assert_close(data.statistics().telemetry_change, change)


def test_evaluation_seeds_are_refused(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.hdf5", make_schema())
    writer.write(0, make_episode(FIRST_EVALUATION_SEED))
    writer.merge()
    with pytest.raises(ConfigError, match="1 episodes with seeds from 300000"):
        load_training_data([tmp_path / "a.hdf5"])


def test_motion_needs_tracked_objects(tmp_path: Path) -> None:
    schema = replace(make_schema(), object_names=())
    writer = EpisodeWriter(tmp_path / "a.hdf5", schema)
    writer.write(0, replace(make_episode(0), objects=None))
    writer.merge()
    path = tmp_path / "a.hdf5"
    with pytest.raises(ConfigError, match="--motion needs objects"):
        load_training_data([path], motion=[path])


def test_files_are_drawn_as_often_as_their_weights_say(tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.hdf5")
    generator = torch.Generator().manual_seed(0)
    data = load_training_data([path, path], weights=[3, 1])
    second = (data.samplers(4)[0].draw(4000, generator) >= data.starts[data.episodes // 2]).float().mean()
    assert second == pytest.approx(0.25, abs=0.03)
    alike = load_training_data([path, path])
    first = alike.windows(4)
    place = torch.randint(len(first), (50,), generator=torch.Generator().manual_seed(1))
    assert torch.equal(alike.samplers(4)[0].draw(50, torch.Generator().manual_seed(1)), first[place])
    for wrong in ([1.0], [1.0, 0.0]):
        with pytest.raises(ConfigError, match="--weights must be 2 positive numbers"):
            load_training_data([path, path], weights=wrong)


def test_a_tenth_of_few_episodes_validates_and_every_fiftieth_of_many(tmp_path: Path) -> None:
    data = load_training_data([write_file(tmp_path / "a.hdf5", range(40))])
    assert torch.nonzero(data.validation()).flatten().tolist() == [9, 19, 29, 39]
    data.lengths[9::10] = 3
    assert data.samplers(4)[1] is None and data.samplers(3)[1] is not None
    data.starts = data.numbers = torch.arange(2000)
    data.split = torch.full((2000,), -1)
    assert data.validation().sum() == 40


def test_what_validates_of_a_file_does_not_depend_on_the_others(tmp_path: Path) -> None:
    short, long = write_file(tmp_path / "a.hdf5", range(7)), write_file(tmp_path / "b.hdf5", range(7, 30))
    alone, together = load_training_data([long]), load_training_data([short, long])
    assert torch.equal(together.validation()[7:], alone.validation())
    assert not together.validation()[:7].any()
    assert torch.nonzero(load_training_data([short, short]).validation()).flatten().tolist() == [9]
    assert torch.nonzero(load_training_data([long], motion=[short]).validation()).flatten().tolist() == [2, 12, 22, 29]


def test_no_data_short_data_and_unknown_cameras_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data FILE"):
        load_training_data([])
    path = write_file(tmp_path / "a.hdf5")
    with pytest.raises(ConfigError, match="no camera 'top'"):
        load_training_data([path], cameras=("top",))
    with pytest.raises(ConfigError, match="no training episode has 99 frames"):
        load_training_data([path]).windows(99)


def test_a_cube_that_falls_off_the_table_does_not_set_the_scales() -> None:
    on_table = torch.rand(1000, 2, 3) * torch.tensor([0.2, 0.3, 0.1])
    falling = on_table.clone()
    falling[:30, 0, 2] = -torch.arange(30.0)
    for low, high in (scene_box(on_table, 0.1), scene_box(falling, 0.1)):
        assert (low > torch.tensor([-0.3, -0.4, -0.2])).all() and (high < torch.tensor([0.5, 0.7, 0.4])).all()
        assert (on_table >= low).all() and (on_table <= high).all()
