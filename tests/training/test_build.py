"""What the shape of a model takes from its data."""

from pathlib import Path

import torch

from gwm_sim.training.build import build, ground
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data


def test_the_ground_is_where_most_things_are(tiny_data: Path, tmp_path: Path) -> None:
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
    heads = build(
        TrainConfig(data=(tiny_data,), out=tmp_path, preset="tiny", steps=1), PRESETS["tiny"], data
    ).config.heads
    assert heads.in_picture and len(heads.ground) == 3
