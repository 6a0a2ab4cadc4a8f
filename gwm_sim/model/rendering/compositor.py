"""Puts a picture together from a reference picture that has to be changed to show another scene.

Each pixel is a mixture of the reference as it is, the empty scene, the reference moved and turned along with each thing
and each point of the robot, an exemplar that shows the robot nearly as it is to be, moved along with it, and what the
network makes up itself. So what stays where it was keeps every detail, what moves takes its pixels along, a robot is
seen from the side that it turns to, and little has to be invented. Where entities are is known; how they turn, and what
else of their motion is linear about them, is learned (first order motion models, Siarohin et al., 2019, eq. 4; there
points are found in pictures, too).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.layers import begin_as_copy, linear
from gwm_sim.model.residual import turned_back
from gwm_sim.model.threads import weights
from gwm_sim.model.tokenizer import ChannelNorm, ResidualBlock

ROBOT = 64  # channels of what is known of the robot
STAYS = 2.0  # logit by which pixels are those of the reference, to begin with
SHIFT = 4.0  # [px] for each unit of what an entity moves beyond its place
SURE = 8.0  # logit that none exceeds: a source that was given up can be taken up again


class Scene(NamedTuple):
    """What the state says of N pictures: E entities, which are things and then points of the robot, and the robot."""

    places: Tensor  # (N, E, 2), column and row in the picture [px]
    sizes: Tensor  # (N, E), apparent size [px]
    there: Tensor  # (N, E), 1 where it is there, else 0
    turns: Tensor  # (N, E, 2), cosine and sine of how it is turned, 0 where that is not told
    robot: Tensor  # (N, D), telemetry in its usual sizes, the residual, and which view it is


class Compositor(nn.Module):
    """A small U-net (Ronneberger et al., 2015) that chooses between sources for each pixel."""

    def __init__(self, entities: int, moved: int, robot: int, width: int) -> None:
        """Draw with so many entities, the last `moved` of which take an exemplar along, from so many numbers of the
        robot, with `width` channels at half resolution."""
        super().__init__()
        w, sources, scenes = width, 2 + entities + moved, 3 if moved else 2
        self.sources, self.moved = sources, moved
        self.robot = nn.Sequential(linear(2 * robot, 2 * ROBOT), nn.SiLU(), nn.Linear(2 * ROBOT, ROBOT))
        self.turn = begin_as_copy(nn.Linear(ROBOT, 6 * entities))
        self.look = nn.Conv2d(12 * sources + scenes * entities, w, 1)
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
        self.high_out = nn.Sequential(ResidualBlock(w), ChannelNorm(w), nn.SiLU())  # without a norm logits run away
        self.out = begin_as_copy(nn.Conv2d(w, 4 * (sources + 1 + 3), 1))

    def work(self, pixels: int) -> int:
        """Products to put together a picture of so many pixels, see `threads.py`."""
        places = {"look": 4, "high": 4, "down": 16, "middle": 16, "downer": 64, "low": 64, "up": 64, "upper": 16}
        places |= {"middle_out": 16, "high_out": 4, "out": 4}
        return sum(pixels // share * weights(getattr(self, name)) for name, share in places.items())

    def forward(
        self,
        reference: Tensor,
        background: Tensor,
        shown: Scene,
        wanted: Scene,
        exemplar: Tensor | None = None,
        known: Scene | None = None,
    ) -> Tensor:
        """Pictures (N, 3, H, W) around 0 of the `wanted` scenes, from references of the same shape, which are `shown`,
        the empty scene (N, 3, H, W), and exemplars (N, 3, H, W), of whose scenes all is `known`."""
        n, _, height, width = reference.shape
        robot = self.motion(shown, wanted)
        carried = [self.carried(reference, shown, wanted, robot)]
        if exemplar is not None and known is not None:
            carried.append(self.carried(exemplar, known, wanted, self.motion(known, wanted), self.moved))
        sources = torch.cat((torch.stack((reference, background), dim=1), *(moved for moved, _ in carried)), dim=1)
        there = torch.cat((wanted.there.new_ones(n, 2), *(follows for _, follows in carried)), dim=1)
        scenes = [scene for scene in (shown, wanted, known) if scene is not None]
        heat = torch.cat([spots(scene, height // 2, width // 2) for scene in scenes], dim=1)
        features = F.pixel_unshuffle(sources.flatten(0, 1), 2).unflatten(0, (n, -1)).flatten(1, 2)
        high = self.high(self.look(torch.cat((features, heat), dim=1)))
        middle = self.middle(self.down(high))
        low = self.downer(middle)
        low = self.low(torch.cat((low, robot[..., None, None].expand(-1, -1, *low.shape[2:])), dim=1))
        middle = self.middle_out(middle + F.pixel_shuffle(self.up(low), 2))
        high = self.high_out(high + F.pixel_shuffle(self.upper(middle), 2))
        logits, made = F.pixel_shuffle(self.out(high), 2).float().split((self.sources + 1, 3), dim=1)
        prior = F.pad(torch.where(there > 0, 0.0, -1e4), (0, 1))
        prior[:, 0] = STAYS
        share = (SURE * (logits / SURE).tanh() + prior[..., None, None]).softmax(dim=1)[:, :, None]
        return (share[:, :-1] * sources).sum(dim=1) + share[:, -1] * (made + background)

    def motion(self, shown: Scene, wanted: Scene) -> Tensor:
        """What the robot did between two scenes, (N, ROBOT)."""
        return self.robot(torch.cat((wanted.robot, shown.robot), dim=-1))

    def carried(
        self, picture: Tensor, shown: Scene, wanted: Scene, motion: Tensor, last: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, H, W) as each of the `last` entities takes them along, (N, E, 3, H, W), and whether it is
        there in both scenes, (N, E)."""
        some = slice(-last if last else None, None)
        turn, more = self.turn(motion).float().view(len(motion), -1, 3, 2)[:, some].split((2, 1), dim=2)
        there = (shown.there * wanted.there)[:, some]
        turn = turn + turned_back(shown.turns[:, some], wanted.turns[:, some])
        begins = shown.places[:, some] + SHIFT * more[:, :, 0]
        return carry(picture, begins, wanted.places[:, some], turn) * there[..., None, None, None], there


def carry(pictures: Tensor, shown: Tensor, wanted: Tensor, turn: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) as each of E entities takes them along from places that are `shown` to `wanted` ones
    (N, E, 2) [px], (N, E, 3, H, W), with zeros from outside. Offsets from the wanted place are turned, (N, E, 2, 2), to
    those from the one shown."""
    n, _, height, width = pictures.shape
    columns, rows = torch.arange(width, device=turn.device), torch.arange(height, device=turn.device)
    right = columns - wanted[..., 0, None, None]  # (N, E, 1, W)
    below = rows[:, None] - wanted[..., 1, None, None]  # (N, E, H, 1)
    of_right, of_below = turn[..., 0, None, None], turn[..., 1, None, None]  # (N, E, 2, 1, 1)
    column = shown[..., 0, None, None] + of_right[:, :, 0] * right + of_below[:, :, 0] * below
    row = shown[..., 1, None, None] + of_right[:, :, 1] * right + of_below[:, :, 1] * below
    grid = torch.stack((2 * column / (width - 1) - 1, 2 * row / (height - 1) - 1), dim=-1)
    every = pictures[:, None].expand(-1, turn.shape[1], -1, -1, -1).flatten(0, 1)
    moved = F.grid_sample(every.float(), grid.flatten(0, 1), mode="bilinear", align_corners=True)
    return moved.unflatten(0, (n, -1))


def spots(scene: Scene, height: int, width: int) -> Tensor:
    """Where entities are, (N, E, height, width): bells of half their size, in a picture of half the resolution."""
    columns, rows = (2 * torch.arange(n, device=scene.places.device) + 0.5 for n in (width, height))
    column, row = scene.places[..., 0, None, None], scene.places[..., 1, None, None]
    away = (columns - column).square() + (rows[:, None] - row).square()
    return (-2 * away / scene.sizes[..., None, None].square()).exp() * scene.there[..., None, None]
