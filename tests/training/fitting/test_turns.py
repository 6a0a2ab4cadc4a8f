"""How things are turned is found from their looks, where it can be told, and turns them in pictures."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import make_episode, make_schema

from gwm_sim.data.episode_file import EpisodeWriter
from gwm_sim.model.rendering.compositor import carry
from gwm_sim.model.residual import CROP, cut, rotation, turned_back
from gwm_sim.training.build import build
from gwm_sim.training.config import TrainConfig
from gwm_sim.training.dataset import TrainingData, load_training_data

SIZE = 8.0  # [px]


def turns(*angles: float) -> torch.Tensor:
    """Cosines and sines of angles, one thing each, (1, K, 2)."""
    angle = torch.tensor([angles])
    return torch.stack((angle.cos(), angle.sin()), dim=-1)


def half_disc(angle: float, place: np.ndarray, size: int, round: bool) -> np.ndarray:
    """A square picture of a disc at a place (2,), of which half is white: that where an angle points to."""
    row, column = np.mgrid[:size, :size] - place[::-1, None, None]
    inside = np.hypot(row, column) < SIZE / 2
    half = column * math.cos(angle) + row * math.sin(angle) > 0
    frame = np.zeros((size, size, 3), np.uint8)
    frame[inside & (half | round)] = 255
    return frame


def record(path: Path, round: bool) -> TrainingData:
    """A thing that lies somewhere and turns, as the first number of the telemetry says."""
    schema = replace(make_schema(), tracked=("front",), object_frame="image")
    writer, rng = EpisodeWriter(path, schema), np.random.default_rng(0)
    for k in range(12):
        episode = make_episode(k)
        assert episode.objects is not None
        first, last = rng.uniform(-3, 3, 2)
        angles = np.linspace(first, last, len(episode.telemetry))
        telemetry = episode.telemetry.copy()
        telemetry[:, 0] = angles
        side = schema.cameras["front"].height
        place = rng.uniform(4, side - 5, 2)
        objects = episode.objects.copy()
        objects[..., :3] = *place, SIZE
        frames = episode.frames | {"front": np.stack([half_disc(a, place, side, round) for a in angles])}
        count = objects.shape[:2]
        seen = {"front": np.tile(np.array([*place, SIZE, SIZE, 1, 1], np.float32), (*count, 1))}
        surely = np.ones(count, np.float32)
        writer.write(
            k,
            replace(
                episode,
                telemetry=telemetry,
                frames=frames,
                objects=objects,
                objects_confidence=surely,
                sightings=seen,
            ),
        )
    writer.merge()
    return load_training_data([path])


@pytest.mark.parametrize("round", [False, True])
def test_turns_are_told_of_what_does_not_look_the_same_from_all_sides(tmp_path: Path, round: bool) -> None:
    data = record(tmp_path / "a.hdf5", round)
    config = TrainConfig(data=(tmp_path / "a.hdf5",), out=tmp_path / "x", steps=1, preset="tiny")
    torch.manual_seed(0)
    model = build(config, config.sizes, data)
    assert model.turn_reader is not None
    assert (model.turn_reader.turning == (0.0 if round else 1.0)).all()
    frames = torch.arange(0, len(data.frames), 5)
    with torch.no_grad():
        residual = model.unexplained(data.frames[frames], torch.zeros(len(frames), 0, 0), data.objects[frames])
    told = residual[:, -2:]
    if round:
        assert not told.any()
        return
    true = data.telemetry[frames, 0]
    beside = (rotation(-true) @ told[..., None])[..., 0]  # what is no turn is the network's choice
    assert beside.mean(dim=0).norm() > 0.97


def test_what_is_cut_at_an_angle_is_turned_back() -> None:
    picture, place = torch.rand(1, 3, 32, 32), torch.full((1, 1, 2), 15.5)
    sides = torch.full((1, 1), float(CROP))
    upright, quarter = (cut(picture, place, sides, torch.full((1, 1), a))[0, 0] for a in (0.0, math.pi / 2))
    torch.testing.assert_close(quarter, upright.rot90(1, (1, 2)), atol=1e-4, rtol=0)


def test_a_thing_that_turned_is_drawn_turned() -> None:
    picture, place = torch.rand(1, 3, 9, 9), torch.full((1, 1, 2), 4.0)
    back = turned_back(turns(0.3), turns(0.3 + math.pi / 2))
    turned = carry(picture, place, place, back)[:, 0]
    torch.testing.assert_close(turned, picture.rot90(-1, (2, 3)), atol=1e-4, rtol=0)
    torch.testing.assert_close(turned_back(torch.zeros(1, 1, 2), turns(1.0)), torch.eye(2)[None, None])
