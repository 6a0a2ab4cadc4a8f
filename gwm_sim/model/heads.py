"""Readings of a frame: where the objects are, reward and success of each task, and depth.

The locator reads real frames, before they are rounded to codes: it starts the tracking of objects, which the dynamics
goes on with. The task head looks at two consecutive frames, real or imagined: at telemetry and tracked positions, and
at the picture where nothing is tracked. The depth head says from codes how far away what the main camera sees is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.config import CELL, HeadsConfig, TokenizerConfig
from gwm_sim.model.dynamics import Dynamics
from gwm_sim.model.latents import one_hot
from gwm_sim.model.layers import Block, RMSNorm, perceptron, soft_argmax
from gwm_sim.model.state import Segment
from gwm_sim.model.threads import weights
from gwm_sim.model.tokenizer import cell_decoder, products

NEAR_WEIGHT = 5.0  # extra loss weight of a pixel that is a metre nearer or farther than the empty scene [1/m]


class LatentReader(nn.Module):
    """Two consecutive frames to one token: the image and the robot, mixed by attention."""

    def __init__(self, config: HeadsConfig, dynamics: Dynamics) -> None:
        super().__init__()
        c, d = dynamics.config, config.width
        self.image = nn.Linear(2 * c.token_numbers * c.levels, d)
        self.robot = perceptron(2 * c.telemetry, d)
        self.verdict = nn.Parameter(torch.randn(1, d) * 0.02)
        self.position = nn.Parameter(torch.randn(c.tokens + 1, d) * 0.02)
        self.blocks = nn.ModuleList(Block(d, config.heads) for _ in range(config.layers))
        self.norm = RMSNorm(d)

    def forward(self, segment: Segment, dynamics: Dynamics) -> Tensor:
        """What is seen in each frame, (B, T, D)."""
        codes = torch.cat([one_hot(c, dynamics.config.levels) for c in (segment.codes, segment.previous_codes)], dim=-1)
        robot = self.robot(dynamics.telemetry_features(segment.telemetry, segment.previous_telemetry))[:, :, None]
        verdict = self.verdict.expand(*segment.telemetry.shape[:2], -1, -1)
        x = torch.cat((torch.cat((self.image(codes.float()), robot), dim=2) + self.position, verdict), dim=2)
        for block in self.blocks:
            x, _ = block(x)
        return self.norm(x[:, :, -1])


class StateReader(nn.Module):
    """Robot and tracked objects in two consecutive frames to one token."""

    def __init__(self, config: HeadsConfig, dynamics: Dynamics) -> None:
        super().__init__()
        c, d = dynamics.config, 2 * config.width
        self.layers = nn.Sequential(
            nn.Linear(2 * c.telemetry + 9 * c.objects + len(c.effector) * c.objects, d),
            *(nn.SiLU(), nn.Linear(d, d), RMSNorm(d), nn.SiLU(), nn.Linear(d, config.width)),
        )

    def forward(self, segment: Segment, dynamics: Dynamics) -> Tensor:
        """What is seen in each frame, (B, T, D)."""
        robot = dynamics.telemetry_features(segment.telemetry, segment.previous_telemetry).clamp(-10, 10)
        return self.layers(torch.cat((robot, object_features(segment, dynamics).flatten(2)), dim=-1))


def object_features(segment: Segment, dynamics: Dynamics) -> Tensor:
    """Position, motion, offsets from the first object and from the end-effector, (B, T, K, features), zeros of what is
    absent: stacks and grips are told by millimetres."""
    scale = dynamics.objects_change
    unit = 2 * (segment.objects - dynamics.objects_low) / (dynamics.objects_high - dynamics.objects_low) - 1
    features = [unit, (segment.objects - segment.previous_objects) / scale]
    features.append((segment.objects - segment.objects[:, :, :1]) / scale)
    if dynamics.config.effector:
        features.append((segment.objects - dynamics.effector(segment.telemetry)) / scale)
    return torch.cat(features, dim=-1).clamp(-10, 10).nan_to_num(0.0)


class Locator(nn.Module):
    """Object positions in single frames, from the tokenizer's features and the telemetry.

    Each object has a map of where it is looked for, and a soft-argmax over it says what is there and where that is; the
    telemetry tells of an object behind the fingers.
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
        found = soft_argmax(seen, self.maps(seen))  # (B, K, D + 2)
        level = (telemetry - dynamics.telemetry_mean) / dynamics.telemetry_std
        x = self.seen(found) + self.robot(level)[:, None] + self.identity
        unit = self.out(x).float()
        return dynamics.objects_low + (unit + 1) / 2 * (dynamics.objects_high - dynamics.objects_low)


class TaskHead(nn.Module):
    """Reward in [0, 1] and success of each task, from robot and tracked objects, or from the picture without any."""

    def __init__(self, config: HeadsConfig, dynamics: Dynamics) -> None:
        super().__init__()
        reader = LatentReader if dynamics.config.from_pixels else StateReader
        self.reader = reader(config, dynamics)
        self.out = nn.Linear(config.width, 2 * len(config.tasks))
        self.work = weights(self) * (dynamics.config.tokens if reader is LatentReader else 1)

    def forward(self, segment: Segment, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
        """Logits of reward and of success, each (B, T, tasks)."""
        reward, success = self.out(self.reader(segment, dynamics)).float().chunk(2, dim=-1)
        return reward, success

    def loss(
        self, logits: tuple[Tensor, Tensor], reward: Tensor, success: Tensor, weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Squared error of the reward and cross-entropy of success, for targets (B, T, tasks) that count `weight`.

        Where the reward is NaN the task was judged by nobody, and nothing is learned of it.
        """
        known = ~reward.isnan()
        error = (logits[0].sigmoid() - reward.where(known, 0.0)).square()
        entropy = F.binary_cross_entropy_with_logits(logits[1], success.float(), reduction="none")
        if weight is not None:
            error, entropy = error * weight, entropy * weight
        share = known.float().mean().clamp_min(1 / known.numel())  # 1 if all are known, which changes no bit
        return error.where(known, 0.0).mean() / share, entropy.where(known, 0.0).mean() / share


class DepthHead(nn.Module):
    """A decoder of its own beside that of the pictures, with the median depth of the scene as its bias."""

    background: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.decoder = cell_decoder(config.numbers, config.channels // 2, blocks=1, out=1)
        self.work = products(self.decoder, config.height * config.width // CELL**2)
        self.register_buffer("background", torch.zeros(1, config.height, config.width))

    def forward(self, grid: Tensor) -> Tensor:
        """Depth (B, H, W, 1) [m] from quantised values (B, numbers, H/8, W/8) of the main view."""
        return (self.decoder(grid).float() + self.background).clamp_min(0.0).permute(0, 2, 3, 1)

    def loss(self, grid: Tensor, depth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error from a true depth (B, H, W, 1) [m]; what is not the empty scene counts more."""
        error = (self(grid) - depth).abs()
        apart = (depth - self.background.permute(1, 2, 0)).abs()
        return ((1 + NEAR_WEIGHT * apart) * error).mean(), {"depth_mm": 1000 * error.detach().mean()}
