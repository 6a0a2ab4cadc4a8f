"""Points of the robot in each camera's picture, found where it changes as the robot moves.

Telemetry says where each point is, by a small network. Together they are a mixture of Gaussians under which what
changes from one picture to the next is most likely; a little of it is anywhere, such as what telemetry does not tell.
So a hand, a forearm and an elbow are found without anybody saying where they are, and things and pictures can be told
as seen from there. Nothing else is learned here, which takes seconds.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gwm_sim.model.tokenizer import to_images
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import TrainingData
from gwm_sim.training.fitting.exemplars import evenly

CELL = 4  # pixels per side of what changes
QUIET = 0.02  # change of a cell [full range] below which it counts as none
ROWS, RATE = 64, 3e-3
WIDE, NARROW = 0.25, 0.06  # standard deviation of a point at first and at last, as a share of the picture's height
ANYWHERE = 0.1  # share of the changes that no point explains
LOOKED_AT = 20_000  # pairs of frames at most


def fit_points(model: WorldModel, data: TrainingData, updates: int, seed: int) -> None:
    """Learn the points of the robot, in place, from training episodes."""
    pointer = model.dynamics.robot_points
    if pointer is None:
        return
    frames = pairs(data)
    changes = torch.cat([changed(data, some, model.dynamics.views) for some in frames.split(256)])  # (N, V, h, w)
    rows, columns = (torch.arange(n) * CELL + 0.5 * (CELL - 1) for n in changes.shape[2:])
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)  # (cells, 2)
    share = changes.flatten(2) / changes.flatten(2).sum(dim=2, keepdim=True).clamp_min(1e-6)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(pointer.parameters(), RATE)
    telemetry = data.telemetry[frames]
    for step in range(updates):
        chosen = torch.randint(len(frames), (ROWS,), generator=generator)
        width = model.config.tokenizer.height * WIDE * (NARROW / WIDE) ** (step / updates)
        points = model.dynamics.points(telemetry[chosen]).flatten(0, 1)
        loss = surprise(points, share[chosen].flatten(0, 1), grid, width)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def pairs(data: TrainingData) -> Tensor:
    """Frames (N,) of training episodes with pictures that have another one before them."""
    return evenly(data.windows(2, seen=True) + 1, LOOKED_AT)


def changed(data: TrainingData, frames: Tensor, views: int) -> Tensor:
    """How much each cell of each view changed since the picture before, (N, V, H/4, W/4)."""
    now, before = (to_images(data.frames[index], views) for index in (frames, frames - 1))
    apart = (now - before).abs().mean(dim=2)  # (N, V, H, W)
    return (F.avg_pool2d(apart, CELL) - QUIET).clamp_min(0)


def surprise(points: Tensor, share: Tensor, grid: Tensor, width: float) -> Tensor:
    """Mean negative log-likelihood of changes, which fall on cells at `grid` (cells, 2) [px] in shares (B, cells) that
    are all 0 where nothing changed, under Gaussians of a `width` [px] around points (B, M, 2) [px]."""
    away = (points[:, :, None] - grid).square().sum(dim=-1) / width**2  # (B, M, cells)
    likely = (-0.5 * away).exp().mean(dim=1) * CELL**2 / (2 * torch.pi * width**2)
    return -(share * ((1 - ANYWHERE) * likely + ANYWHERE / len(grid)).log()).sum(dim=1).mean()
