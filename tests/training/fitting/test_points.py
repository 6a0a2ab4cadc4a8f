"""Points of the robot are found where its picture changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import make_episode, make_schema

from gwm_sim.data.episode_file import EpisodeWriter
from gwm_sim.training.build import build
from gwm_sim.training.config import TrainConfig
from gwm_sim.training.dataset import load_training_data


def dot(place: float, size: int) -> np.ndarray:
    """A square picture of a white dot on black, 2 px wide, whose column is a share of the way."""
    frame = np.zeros((size, size, 3), np.uint8)
    column = round((size - 2) * place)
    frame[size // 2 - 1 : size // 2 + 1, column : column + 2] = 255
    return frame


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A robot of which one number says where its dot is."""
    schema = make_schema().without_objects()
    writer = EpisodeWriter(tmp_path / "dots.hdf5", schema)
    rng = np.random.default_rng(0)
    for k in range(12):
        episode = make_episode(k)
        telemetry = rng.uniform(0, 1, episode.telemetry.shape).astype(np.float32)
        telemetry[:, 0] = np.linspace(rng.uniform(), rng.uniform(), len(telemetry))
        frames = {
            name: np.stack([dot(x, camera.height) for x in telemetry[:, 0]]) for name, camera in schema.cameras.items()
        }
        writer.write(k, replace(episode, telemetry=telemetry, frames=frames, objects=None))
    writer.merge()
    return writer.path


def test_telemetry_tells_where_the_robot_is_in_the_picture(recording: Path, tmp_path: Path) -> None:
    config = TrainConfig(data=(recording,), out=tmp_path / "x", steps=1, preset="tiny")
    data = load_training_data(config.data)
    torch.manual_seed(0)
    model = build(config, replace(config.sizes, found_in=600), data)
    telemetry = torch.full((3, 1, len(data.schema.telemetry_names)), 0.5)
    telemetry[:, 0, 0] = torch.tensor([0.2, 0.5, 0.8])
    with torch.no_grad():
        points = model.dynamics.points(telemetry)[:, 0, 0]  # (3, points, 2)
    true = torch.tensor([[14 * x + 0.5, 7.5] for x in (0.2, 0.5, 0.8)])
    assert ((points - true[:, None]).norm(dim=-1).amin(dim=1) < 2.5).all()
    torch.manual_seed(0)
    again = build(config, replace(config.sizes, found_in=600), data)
    assert torch.equal(again.dynamics.points(telemetry), model.dynamics.points(telemetry))
