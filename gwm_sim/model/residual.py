"""The residual: a few numbers for what neither robot nor places of things explain of a picture.

Some stand for the whole scene, such as cloth, doors and light, and two for how each thing is turned. They are read from
single real frames; those of the scene are learned with the renderer, which draws from them. The dynamics predicts how
they go on. Since robot and places are told to the renderer exactly, nothing of these has to fit into the residual.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.config import TokenizerConfig

CHANNELS = 16  # of each cell
WIDTH = 128
CROP = 24  # pixels per side of what is looked at of a thing, which is
AROUND = 2.0  # times its size
ANGLES = 48  # at which a thing is compared with its look
NEEDED = 0.02  # of what is drawn
FAINT = 0.1  # length of a turn below which it is not told


class ResidualEncoder(nn.Module):
    """From the latents of all views to the numbers of the whole scene, in [-1, 1]."""

    worth: (
        Tensor  # (), by which share drawn pictures were nearer where these are told; they are 0 where it was too small
    )

    def __init__(self, config: TokenizerConfig, numbers: int) -> None:
        super().__init__()
        cells = config.tokens * config.pack**2
        self.cell = nn.Conv2d(config.numbers, CHANNELS, 3, padding=1)
        self.whole = nn.Sequential(
            nn.SiLU(), nn.Linear(CHANNELS * cells, WIDTH), nn.SiLU(), nn.Linear(WIDTH, numbers), nn.Tanh()
        )
        self.register_buffer("worth", torch.tensor(1.0))

    def forward(self, grid: Tensor) -> Tensor:
        """Residuals (B, R) of frames, from their quantised values (B, V, numbers, H/8, W/8)."""
        cells = self.cell(grid.flatten(0, 1))
        return self.whole(cells.unflatten(0, grid.shape[:2]).flatten(1)).float() * (self.worth > NEEDED)


class TurnReader(nn.Module):
    """How each thing is turned in the picture of the main camera: the angle at which it is most like its usual look.

    What it is compared with is the picture less the empty scene, so that nothing else that lies there points anywhere.
    """

    looks: Tensor  # (K, 3, CROP, CROP), of things at angle 0, see `training/fitting/turns.py`
    turning: Tensor  # (K,), 1 of things of which a turn can be told, else 0
    window: Tensor  # (CROP, CROP), a disc with a soft edge: what is in it stays in it at all angles

    def __init__(self, things: int) -> None:
        super().__init__()
        self.register_buffer("looks", torch.zeros(things, 3, CROP, CROP))
        self.register_buffer("turning", torch.zeros(things))
        steps = torch.linspace(-1, 1, CROP)
        window = (4 * (1 - torch.hypot(steps[:, None], steps))).clamp(0, 1)
        self.register_buffer("window", window, persistent=False)

    def forward(self, pictures: Tensor, places: Tensor, sizes: Tensor) -> Tensor:
        """Turns (B, K, 2), cosine and sine, of things at places (B, K, 2) [px] of sizes (B, K) [px] in pictures
        (B, 3, H, W), less the empty scene; 0 of what is absent, whose place is NaN, and of what cannot be told."""
        there = places[..., 0].isfinite() * self.turning
        upright = torch.zeros_like(there)
        crops = cut(pictures, places.nan_to_num(0.0), AROUND * sizes.nan_to_num(0.0), upright)
        angles = torch.stack([best_angle(self.window * c, x) for c, x in zip(crops.unbind(1), self.looks, strict=True)])
        return torch.stack((angles.cos(), angles.sin()), dim=-1).transpose(0, 1) * there[..., None]


def best_angle(crops: Tensor, look: Tensor) -> Tensor:
    """Angles (N,) at which a look (3, CROP, CROP) differs least from crops (N, 3, CROP, CROP), by least squares at
    `ANGLES` of them and a parabola through the best one and its neighbours."""
    angles = 2 * torch.pi * torch.arange(ANGLES, device=look.device) / ANGLES
    middle = torch.full((1, ANGLES, 2), (CROP - 1) / 2, device=look.device)
    sides = torch.full((1, ANGLES), float(CROP), device=look.device)
    turned = cut(look[None], middle, sides, -angles[None])[0].flatten(1)  # (ANGLES, ...)
    score = 2 * crops.flatten(1) @ turned.T - turned.square().sum(dim=1)  # (N, ANGLES)
    best = score.argmax(dim=1, keepdim=True)
    before, at, after = (score.gather(1, (best + step) % ANGLES)[:, 0] for step in (-1, 0, 1))
    beyond = 0.5 * (before - after) / (before - 2 * at + after).clamp_max(-1e-6)
    return 2 * torch.pi * (best[:, 0] + beyond.clamp(-0.5, 0.5)) / ANGLES


def cut(pictures: Tensor, places: Tensor, sides: Tensor, angles: Tensor) -> Tensor:
    """Squares of pictures (B, 3, H, W) around places (B, K, 2) [px], with sides (B, K) [px] at angles (B, K),
    (B, K, 3, CROP, CROP), with zeros from outside."""
    height, width = pictures.shape[2:]
    steps = (torch.arange(CROP, device=places.device) + 0.5) / CROP - 0.5
    offsets = torch.stack((steps.expand(CROP, -1), steps[:, None].expand(-1, CROP)), dim=-1)  # (CROP, CROP, 2)
    turned = offsets @ rotation(angles).mT[:, :, None]  # (B, K, CROP, CROP, 2)
    grid = places[:, :, None, None] + sides[..., None, None, None] * turned
    grid = 2 * grid / (grid.new_tensor([width, height]) - 1) - 1
    seen = F.grid_sample(pictures, grid.flatten(1, 2), mode="bilinear", align_corners=True)  # (B, 3, K*CROP, CROP)
    return seen.unflatten(2, (-1, CROP)).transpose(1, 2)


def rotation(angles: Tensor) -> Tensor:
    """Matrices (..., 2, 2) that turn columns and rows by angles (...)."""
    return of_turns(torch.stack((angles.cos(), angles.sin()), dim=-1))


def of_turns(turns: Tensor) -> Tensor:
    """The same of their cosines and sines (..., 2)."""
    cosine, sine = turns.unbind(dim=-1)
    return torch.stack((cosine, -sine, sine, cosine), dim=-1).unflatten(-1, (2, 2))


def own_frame(turns: Tensor) -> Tensor:
    """Matrices (..., 2, 2) that take offsets in the picture to the frame that turns with a thing, of cosines and sines
    (..., 2); the picture's own where these are not told, 0."""
    told = turns.norm(dim=-1, keepdim=True) > FAINT
    still = torch.tensor([1.0, 0.0], device=turns.device)
    return of_turns(torch.where(told, F.normalize(turns, dim=-1), still)).mT


def turned_back(shown: Tensor, wanted: Tensor) -> Tensor:
    """Matrices (..., 2, 2) that take offsets of a thing from where it is wanted to where it is shown, of both its turns
    as cosine and sine (..., 2); it did not turn where these are not told, 0."""
    cosine = (shown * wanted).sum(dim=-1)
    sine = shown[..., 1] * wanted[..., 0] - shown[..., 0] * wanted[..., 1]
    both = torch.stack((cosine, sine), dim=-1)
    told = both.norm(dim=-1, keepdim=True) > FAINT
    still = torch.tensor([1.0, 0.0], device=both.device)
    return of_turns(torch.where(told, F.normalize(both, dim=-1), still))
