"""Puts a picture together from a reference picture that has to be changed to show another scene.

Each pixel is a mixture of the reference as it is, the empty scene, the reference moved along with each thing and each
point of the robot, and what the network makes up itself. So what stays where it was keeps every detail, what moves
takes its pixels along, and only what turns or was hidden has to be invented (in the manner of first order motion
models, Siarohin et al., 2019; there points and their motion are found in pictures, here they are known).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.layers import begin_as_copy, linear
from gwm_sim.model.threads import weights
from gwm_sim.model.tokenizer import ResidualBlock

ROBOT = 64  # channels of what is known of the robot
STAYS = 2.0  # logit by which pixels are those of the reference, to begin with


class Scene(NamedTuple):
    """What the state says of N pictures: E entities, which are things and points of the robot, and the robot."""

    places: Tensor  # (N, E, 2), column and row in the picture [px]
    sizes: Tensor  # (N, E), apparent size [px]
    there: Tensor  # (N, E), 1 where it is there, else 0
    robot: Tensor  # (N, D), telemetry in its usual sizes, the residual, and which view it is


class Compositor(nn.Module):
    """A small U-net (Ronneberger et al., 2015) that chooses between sources for each pixel."""

    def __init__(self, entities: int, robot: int, width: int) -> None:
        """Draw with so many entities, from so many numbers of the robot, with `width` channels at half resolution."""
        super().__init__()
        w, sources = width, 2 + entities
        self.sources = sources
        self.robot = nn.Sequential(linear(2 * robot, 2 * ROBOT), nn.SiLU(), nn.Linear(2 * ROBOT, ROBOT))
        self.look = nn.Conv2d(12 * sources + 2 * entities, w, 3, padding=1)
        self.high = ResidualBlock(w)
        self.down = nn.Conv2d(w, 2 * w, 4, stride=2, padding=1)
        self.middle = ResidualBlock(2 * w)
        self.downer = nn.Conv2d(2 * w, 3 * w, 4, stride=2, padding=1)
        self.low = nn.Sequential(
            nn.Conv2d(3 * w + ROBOT, 3 * w, 3, padding=1), ResidualBlock(3 * w), ResidualBlock(3 * w)
        )
        self.up = nn.Conv2d(3 * w, 8 * w, 1)
        self.middle_out = ResidualBlock(2 * w)
        self.upper = nn.Conv2d(2 * w, 4 * w, 1)
        self.high_out = nn.Sequential(ResidualBlock(w), nn.SiLU())
        self.out = begin_as_copy(nn.Conv2d(w, 4 * (sources + 1 + 3), 3, padding=1))

    def work(self, pixels: int) -> int:
        """Products to put together a picture of so many pixels, see `threads.py`."""
        places = {"look": 4, "high": 4, "down": 16, "middle": 16, "downer": 64, "low": 64, "up": 64, "upper": 16}
        places |= {"middle_out": 16, "high_out": 4, "out": 4}
        return sum(pixels // share * weights(getattr(self, name)) for name, share in places.items())

    def forward(self, reference: Tensor, background: Tensor, shown: Scene, wanted: Scene) -> Tensor:
        """Pictures (N, 3, H, W) around 0 of the `wanted` scenes, from references of the same shape, which are `shown`,
        and the empty scene (N, 3, H, W)."""
        n, _, height, width = reference.shape
        there = (shown.there * wanted.there)[..., None, None]
        moved = shift(reference, wanted.places - shown.places) * there[..., None]  # (N, E, 3, H, W)
        plain = torch.stack((reference, background), dim=1)
        sources = torch.cat((plain, moved), dim=1)
        heat = torch.cat([spots(s, height // 2, width // 2) for s in (shown, wanted)], dim=1)
        features = F.pixel_unshuffle(sources.flatten(0, 1), 2).unflatten(0, (n, -1)).flatten(1, 2)
        robot = self.robot(torch.cat((wanted.robot, shown.robot), dim=-1))[..., None, None]
        high = self.high(self.look(torch.cat((features, heat), dim=1)))
        middle = self.middle(self.down(high))
        low = self.downer(middle)
        low = self.low(torch.cat((low, robot.expand(-1, -1, *low.shape[2:])), dim=1))
        middle = self.middle_out(middle + F.pixel_shuffle(self.up(low), 2))
        high = self.high_out(high + F.pixel_shuffle(self.upper(middle), 2))
        logits, made = F.pixel_shuffle(self.out(high), 2).float().split((self.sources + 1, 3), dim=1)
        prior = logits.new_zeros(n, self.sources + 1, 1, 1)
        prior[:, 0] = STAYS
        prior[:, 2:-1] = torch.where(there > 0, 0.0, -1e4)
        share = (logits + prior).softmax(dim=1)[:, :, None]  # (N, sources + 1, 1, H, W)
        return (share[:, :-1] * sources).sum(dim=1) + share[:, -1] * (made + background)


def shift(pictures: Tensor, by: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) moved by each of E offsets (N, E, 2) [px], (N, E, 3, H, W), with zeros from outside."""
    n, _, height, width = pictures.shape
    columns, rows = torch.arange(width, device=by.device), torch.arange(height, device=by.device)
    column = columns[None, None, None, :] - by[..., 0, None, None]  # (N, E, 1, W)
    row = rows[None, None, :, None] - by[..., 1, None, None]  # (N, E, H, 1)
    column, row = 2 * column / (width - 1) - 1, 2 * row / (height - 1) - 1
    shape = (*by.shape[:2], height, width)
    grid = torch.stack((column.expand(shape), row.expand(shape)), dim=-1)
    every = pictures[:, None].expand(-1, by.shape[1], -1, -1, -1).flatten(0, 1)
    moved = F.grid_sample(every.float(), grid.flatten(0, 1), mode="bilinear", align_corners=True)
    return moved.unflatten(0, (n, -1))


def spots(scene: Scene, height: int, width: int) -> Tensor:
    """Where entities are, (N, E, height, width): bells of half their size, in a picture of half the resolution."""
    columns, rows = (2 * torch.arange(n, device=scene.places.device) + 0.5 for n in (width, height))
    column, row = scene.places[..., 0, None, None], scene.places[..., 1, None, None]
    away = (columns - column).square() + (rows[:, None] - row).square()
    return (-2 * away / scene.sizes[..., None, None].square()).exp() * scene.there[..., None, None]
