"""Readings of a frame: where the objects are, and reward and success of each task.

The locator reads real frames, before they are rounded to codes: it starts the tracking of objects, which the dynamics
goes on with. The task head looks at two consecutive frames, real or imagined, and the tracked positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.blocks import Block, RMSNorm
from gwm_sim.dynamics import Dynamics, Frames, perceptron


@dataclass(frozen=True)
class HeadsConfig:
    """Shape of the heads."""

    tasks: tuple[str, ...] = ()
    """Tasks with labels in the data, in the order of the outputs."""
    width: int = 128
    """Channels per token."""
    layers: int = 2
    """Transformer blocks."""
    heads: int = 4
    """Attention heads."""


class FrameReader(nn.Module):
    """Two consecutive frames to tokens: N of the image, one of the robot, then `extra` learned ones."""

    def __init__(self, config: HeadsConfig, dynamics: Dynamics, extra: int) -> None:
        super().__init__()
        c, d = dynamics.config, config.width
        numbers = c.token_numbers * c.levels
        self.image = nn.Linear(2 * numbers, d)
        self.robot = perceptron(2 * c.telemetry, d)
        self.extra = nn.Parameter(torch.randn(extra, d) * 0.02)
        self.position = nn.Parameter(torch.randn(c.tokens + 1, d) * 0.02)
        self.blocks = nn.ModuleList(Block(d, config.heads) for _ in range(config.layers))
        self.norm = RMSNorm(d)

    def forward(self, frames: Frames, dynamics: Dynamics, added: Tensor | None = None) -> Tensor:
        """Tokens of the `extra` positions, (B, T, extra, D); `added` (B, T, extra, D) is added to them first."""
        b, t = frames.telemetry.shape[:2]
        image = self.image(
            torch.cat((dynamics.one_hot(frames.codes), dynamics.one_hot(frames.previous_codes)), -1).float()
        )
        change = (frames.telemetry - frames.previous_telemetry) / dynamics.telemetry_change
        level = (frames.telemetry - dynamics.telemetry_mean) / dynamics.telemetry_std
        robot = self.robot(torch.cat((level, change), dim=-1))[:, :, None]
        extra = self.extra.expand(b, t, -1, -1)
        x = torch.cat(
            (torch.cat((image, robot), dim=2) + self.position, extra if added is None else extra + added), dim=2
        )
        for block in self.blocks:
            x, _ = block(x)
        return self.norm(x[:, :, -self.extra.shape[0] :])


class Locator(nn.Module):
    """Object positions in single frames, from the tokenizer's features and the telemetry.

    Each object has a map of where it is looked for, and a spatial soft-argmax over it (Finn et al., 2016) says what is
    there and where that is; the telemetry tells of an object behind the fingers.
    """

    def __init__(self, config: HeadsConfig, channels: int, dynamics: Dynamics) -> None:
        super().__init__()
        c, d = dynamics.config, config.width
        self.look = nn.Sequential(nn.Conv2d(channels, d, 3, padding=1), nn.SiLU(), nn.Conv2d(d, d, 1))
        self.maps = nn.Conv2d(d, c.objects, 1)
        self.robot = perceptron(c.telemetry, d)
        self.seen = nn.Linear(d + 2, d)
        self.identity = nn.Parameter(torch.randn(c.objects, d) * 0.02)
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(d, d), nn.SiLU(), nn.Linear(d, 3))

    def forward(self, features: Tensor, telemetry: Tensor, dynamics: Dynamics) -> Tensor:
        """Positions (B, K, 3) [m], from features (B, channels, H/8, W/8) and telemetry (B, P)."""
        seen = self.look(features)
        rows, columns = (torch.linspace(-1, 1, n, device=seen.device, dtype=seen.dtype) for n in seen.shape[-2:])
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(seen), -1, -1, -1)
        share = self.maps(seen).flatten(2).float().softmax(dim=-1).to(seen.dtype)  # (B, K, cells)
        found = share @ torch.cat((seen, grid), dim=1).flatten(2).transpose(1, 2)  # (B, K, D + 2)
        level = (telemetry - dynamics.telemetry_mean) / dynamics.telemetry_std
        x = self.seen(found) + self.robot(level)[:, None] + self.identity
        unit = self.out(x).float()
        return dynamics.objects_low + (unit + 1) / 2 * (dynamics.objects_high - dynamics.objects_low)


class TaskHead(nn.Module):
    """Reward in [0, 1] and success of each task."""

    def __init__(self, config: HeadsConfig, dynamics: Dynamics) -> None:
        super().__init__()
        self.reader = FrameReader(config, dynamics, 1 + dynamics.config.objects)
        self.objects = perceptron(9, config.width)
        self.out = nn.Linear(config.width, 2 * len(config.tasks))

    def forward(self, frames: Frames, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
        """Logits of reward and of success, each (B, T, tasks)."""
        added = frames.objects.new_zeros(*frames.telemetry.shape[:2], 1, self.out.in_features)
        if dynamics.config.objects:
            added = torch.cat((added, self.objects(self.object_features(frames, dynamics))), dim=2)
        reward, success = self.out(self.reader(frames, dynamics, added)[:, :, 0]).float().chunk(2, dim=-1)
        return reward, success

    def object_features(self, frames: Frames, dynamics: Dynamics) -> Tensor:
        """Position, motion, and offset from the first object, (B, T, K, 9): stacks are told by millimetres."""
        unit = 2 * (frames.objects - dynamics.objects_low) / (dynamics.objects_high - dynamics.objects_low) - 1
        motion = (frames.objects - frames.previous_objects) / dynamics.objects_change
        offset = (frames.objects - frames.objects[:, :, :1]) / dynamics.objects_change
        return torch.cat((unit, motion, offset), dim=-1).clamp(-10, 10)

    def loss(self, logits: tuple[Tensor, Tensor], reward: Tensor, success: Tensor) -> tuple[Tensor, Tensor]:
        """Squared error of the reward and cross-entropy of success, for targets (B, T, tasks)."""
        return F.mse_loss(logits[0].sigmoid(), reward), F.binary_cross_entropy_with_logits(logits[1], success.float())
