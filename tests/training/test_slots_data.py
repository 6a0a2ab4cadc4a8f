"""What objects are like, how they lie and which are there reaches training from episode files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import make_episode, make_schema, write_file
from slots import ATTRIBUTES, slots_episode, slots_schema, write_slots

from gwm_sim.data.episode_file import EpisodeWriter
from gwm_sim.errors import ConfigError
from gwm_sim.training.dataset import load_training_data


def test_attributes_and_orientations_are_those_of_the_file(tmp_path: Path) -> None:
    data = load_training_data([write_slots(tmp_path / "a.hdf5")])
    episode = slots_episode(2)
    assert episode.attributes is not None and episode.objects is not None
    rows = slice(int(data.starts[2]), int(data.starts[2] + data.lengths[2]))
    np.testing.assert_array_equal(data.attributes[rows], episode.attributes)
    np.testing.assert_array_equal(data.orientations[rows], episode.objects[..., 3:])
    gone = np.isnan(episode.attributes[..., 0])
    np.testing.assert_array_equal(data.objects[rows].isnan().all(dim=-1), gone)
    np.testing.assert_array_equal(data.confidence[rows] == 0, gone)
    assert all(value.isfinite().all() for value in (data.objects_low, data.objects_high, *data.statistics()))


def test_windows_tell_of_every_frame_what_objects_are_like(tmp_path: Path) -> None:
    data = load_training_data([write_slots(tmp_path / "a.hdf5")])
    first = data.starts[:2]
    segment, _, _ = data.batch(None, first, 4)
    assert segment.attributes.shape == (2, 4, 2, len(ATTRIBUTES))
    torch.testing.assert_close(segment.attributes[1], data.attributes[first[1] : first[1] + 4], equal_nan=True)
    torch.testing.assert_close(segment.previous_orientations[:, 1:], segment.orientations[:, :-1], equal_nan=True)
    torch.testing.assert_close(segment.previous_orientations[:, 0], segment.orientations[:, 0], equal_nan=True)
    bounciness = segment.attributes[0, :, 1, ATTRIBUTES.index("bounciness")]
    torch.testing.assert_close(bounciness, torch.tensor([0.2, 0.2, 0.8, 0.8]))  # it is changed on the way


def test_files_that_do_not_say_are_learned_as_before(tmp_path: Path) -> None:
    data = load_training_data([write_file(tmp_path / "a.hdf5")])
    assert data.attributes.shape[2] == data.orientations.shape[2] == 0
    segment, _, _ = data.batch(None, data.starts[:1], 4)
    assert segment.attributes.shape == segment.orientations.shape == (1, 4, 2, 0)


def test_motion_alone_needs_no_pictures(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.hdf5", slots_schema(cameras={}))
    for index in range(3):
        writer.write(index, replace(slots_episode(index), frames={}))
    writer.merge()
    data = load_training_data([tmp_path / "a.hdf5"], cameras=())
    assert len(data.frames) == 0 and not data.seen().any() and len(data.windows(4)) > 0


def test_nothing_to_learn_is_refused(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "a.hdf5", replace(make_schema(), cameras={}, object_names=()))
    writer.write(0, replace(make_episode(0), frames={}, objects=None))
    writer.merge()
    with pytest.raises(ConfigError, match="no pictures and says nothing of objects"):
        load_training_data([tmp_path / "a.hdf5"], cameras=())
