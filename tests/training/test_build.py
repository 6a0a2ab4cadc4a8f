"""What the shape of a model takes from its data."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gwm_sim.model.rendering.exposure import relit
from gwm_sim.training.build import build, ground
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data


def test_the_ground_is_where_most_things_are(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_training_data([tiny_data])
    view = data.schema.cameras["front"].matrix(16).flatten().tolist()
    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(400, 2, 3, generator=generator)
    objects = torch.tensor([0.35, -0.25, 0.0]) + torch.tensor([0.3, 0.5, 0.0]) * spread
    objects[..., 2] = 0.025  # [m]
    objects[:120, :, 2] += 0.2 * torch.rand(120, 2, generator=generator)  # in the air
    confidence = torch.ones(400, 2)
    objects[390:], confidence[390:] = torch.nan, 0.0
    constant, column, row = ground(objects, confidence, view)
    camera = data.schema.cameras["front"]
    lying = objects[200:390].flatten(0, 1).double().numpy()
    across = (torch.from_numpy(camera.project(lying)) - 7.5) / 16  # [tokens]
    depth = torch.from_numpy(camera.depth(lying))
    off = 1 / (constant + column * across[:, 0] + row * across[:, 1]) - depth
    assert off.abs().max() < 1e-4
    monkeypatch.setattr("gwm_sim.training.build.AT_MOST", 200)
    assert ground(objects, confidence, view) == pytest.approx((constant, column, row), abs=1e-6)
    heads = build(
        TrainConfig(data=(tiny_data,), out=tmp_path, preset="tiny", steps=1), PRESETS["tiny"], data
    ).config.heads
    assert heads.in_picture and len(heads.ground) == 3


def test_light_that_changes_is_taken_out_of_what_is_drawn_from_a_reference(tiny_data: Path, tmp_path: Path) -> None:
    """Latents are learned from pictures as they are: shipped models were."""
    for drawing in ("reference", "latents"):
        config = TrainConfig(data=(tiny_data,), out=tmp_path / "world", preset="tiny", steps=1, drawing=drawing)
        even, uneven = load_training_data(config.data), load_training_data(config.data)
        assert isinstance(even.frames, Tensor) and isinstance(uneven.frames, Tensor)
        dim = uneven.frames[::2]
        dim.copy_(relit(dim, torch.tensor(0.8)))
        build(config, PRESETS["tiny"], even), build(config, PRESETS["tiny"], uneven)
        apart = (even.frames.float() / 255 - uneven.frames.float() / 255).abs().mean()
        if drawing == "reference":
            assert even.light < 0.01 and uneven.light > 0.05
            assert apart < 0.01
        else:
            assert apart > 0.03
