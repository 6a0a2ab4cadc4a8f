"""Renders the picture of a predicted physical state: what the camera sees when robot and objects are there, as latents.

All tokens of a picture are chosen at once; without a state to agree on, each decides alone where an uncertain future
puts an object, and together they draw none, or two.

Every token is told where the objects and the end-effector are as seen from itself: how many tokens beside it they
project to, how far away, and how they moved. So an object is drawn by the same weights wherever it lies, and what was
learned in the middle of the table holds at its edges, where few objects ever were.

The views of several cameras are drawn together, so that they agree. A camera that rides on the robot is measured from
the end-effector, with which it moves without turning.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.config import DynamicsConfig
from gwm_sim.model.latents import one_hot
from gwm_sim.model.layers import Block, RMSNorm, begin_as_copy, fourier, perceptron
from gwm_sim.model.state import Segment

REACH = 3.0  # tokens beyond which all distances are alike
OCTAVES = 5  # sine and cosine pairs of a distance


class Conditioning(NamedTuple):
    """What there is to draw: the robot, and E things, which are the objects and the end-effector."""

    robot: Tensor  # (B, T, 2P), telemetry and its change, in their usual sizes
    places: Tensor  # (B, T, E, N, features), each thing as seen from each token; may be empty


class Renderer(nn.Module):
    """A transformer over the tokens of one picture, with the past one in view or from the physical state alone."""

    view: Tensor
    grid: Tensor

    def __init__(self, config: DynamicsConfig) -> None:
        super().__init__()
        self.config = config
        c, d = config, config.width
        numbers = c.token_numbers * c.levels
        self.rides = c.rides or (False,) * (len(c.view) // 12)
        self.image_in = nn.Linear(numbers, d)
        self.image_before_in = nn.Linear(numbers, d, bias=False)
        self.robot_in = perceptron(2 * c.telemetry, d)
        if c.objects:
            self.register_buffer("view", torch.tensor(c.view).view(-1, 3, 4), persistent=False)
            rows, columns = (torch.arange(n, dtype=torch.float32) for n in c.grid)
            grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)
            self.register_buffer("grid", grid, persistent=False)  # (N/V, 2), column and row of a view's tokens
            self.place_in = nn.Linear(2 * (1 + 2 * OCTAVES) + 3, d)
            self.thing = nn.Parameter(torch.randn(c.objects + bool(c.effector), 1, d) * 0.02)
            self.place_out = nn.Linear(d, d)
        if not c.from_pixels:
            self.blank = nn.Parameter(torch.zeros(d))
        self.canvas = nn.Parameter(torch.randn(c.tokens + 1, d) * 0.02)
        self.blocks = nn.ModuleList(Block(d, c.heads) for _ in range(c.painter_layers))
        self.norm = RMSNorm(d)
        self.image_out = begin_as_copy(nn.Linear(d, numbers))
        self.copy_gain = nn.Parameter(torch.full((c.token_numbers, 1), 2.0))

    # --- rendering ----------------------------------------------------------------------------------------------------

    def render(self, image: Tensor, conditioning: Conditioning, segment: Segment) -> Tensor:
        """Logits (B, T, N, M, L) of pictures that differ little from the past ones of `segment`, of which the tokens
        are `image` (B, T, N, D)."""
        return self.logits(image, conditioning) + self.copied(segment)

    def render_state(self, conditioning: Conditioning) -> Tensor:
        """Logits (B, T, N, M, L) of pictures, from the physical state alone."""
        b, t = conditioning.robot.shape[:2]
        image = self.blank.to(self.image_in.weight.dtype).expand(b, t, self.config.tokens, -1)
        return self.logits(image, conditioning)

    def render_mixed(self, conditioning: Conditioning, segment: Segment, alone: Tensor) -> Tensor:
        """Logits (B, T, N, M, L) of the pictures that follow `segment`, those of `alone` (B, T) from the physical state
        alone: what is learned from."""
        alone = alone[..., None, None]
        image = self.embed(segment)
        image = torch.where(alone, self.blank.to(image.dtype), image)
        return self.logits(image, conditioning) + torch.where(alone[..., None], 0.0, self.copied(segment))

    def logits(self, image: Tensor, conditioning: Conditioning) -> Tensor:
        """Logits (B, T, N, M, L) of pictures, from image tokens (B, T, N, D) and what there is to draw."""
        c = self.config
        dtype = image.dtype
        if c.objects:
            seen = F.silu(self.place_in(conditioning.places.to(dtype)) + self.thing.to(dtype))
            image = image + self.place_out(seen.sum(dim=2))
        robot = self.robot_in(conditioning.robot.to(dtype))[:, :, None]
        x = torch.cat((image, robot), dim=2) + self.canvas.to(dtype)
        for block in self.blocks:
            x, _ = block(x)
        return self.image_out(self.norm(x[:, :, : c.tokens])).float().unflatten(-1, (c.token_numbers, c.levels))

    def copied(self, segment: Segment) -> Tensor:
        """Logits (B, T, N, M, L) of the picture staying as it is, which is the usual case."""
        return self.copy_gain * F.one_hot(segment.codes.long(), self.config.levels)

    # --- features -----------------------------------------------------------------------------------------------------

    def embed(self, segment: Segment) -> Tensor:
        """Image tokens of each frame and of the one before, (B, T, N, D)."""
        dtype, levels = self.image_in.weight.dtype, self.config.levels
        now, before = (one_hot(codes, levels).to(dtype) for codes in (segment.codes, segment.previous_codes))
        return self.image_in(now) + self.image_before_in(before)

    def places(self, things: Tensor, before: Tensor, mount: Tensor, mount_before: Tensor, middle: Tensor) -> Tensor:
        """Things as seen from each token, (B, T, E, N, features): from where they are and were in the past picture
        (B, T, E, 3) [m], the same of what a camera rides on, the end-effector (B, T, 1, 3) [m], and the middle of the
        scene (3,) [m], with whose depth theirs are compared."""
        views = []
        for view, rides in zip(self.view, self.rides, strict=True):
            origin, origin_before = (mount, mount_before) if rides else (0.0, 0.0)
            (seen, depth), (seen_before, _) = project(view, things - origin), project(view, before - origin_before)
            away = (seen[..., None, :] - self.grid).clamp(-REACH, REACH)  # (B, T, E, N/V, 2) [tokens]
            if rides:  # it sees things from a hand's breadth to an arm's length
                farther = 1.5 * torch.log(depth / project(view, torch.zeros_like(middle))[1])
            else:
                farther = 10 * (depth / project(view, middle)[1] - 1)
            same = torch.cat((2 * (seen - seen_before), farther[..., None]), dim=-1).clamp(-3, 3)[..., None, :]
            views.append(torch.cat((fourier(away / 2, OCTAVES), same.expand(*away.shape[:-1], -1)), dim=-1))
        return torch.cat(views, dim=3)


def project(view: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Points (..., 3) [m] in a view (3, 4): (..., 2) column and row in tokens, and their depth (...) [m].

    Not as a matrix product, which in bfloat16 would be off by a pixel.
    """
    seen = (view[:, :3] * points[..., None, :]).sum(dim=-1) + view[:, 3]
    depth = seen[..., 2].clamp_min(1e-3)
    return seen[..., :2] / depth[..., None], depth
