"""Readings of a frame: where the objects are, reward and success of each task, and depth.

The locator reads real frames, before they are rounded to codes: it starts the tracking of objects, which the dynamics
goes on with. The picture reader says how the robot stands in a frame of which nobody tells that. The task head looks at
two consecutive frames, real or imagined: at telemetry and tracked positions, and at the picture where nothing is
tracked. The depth head says from codes how far away what the main camera sees is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.config import CELL, HeadsConfig, TokenizerConfig
from gwm_sim.model.dynamics import Dynamics
from gwm_sim.model.latents import one_hot
from gwm_sim.model.layers import Block, RMSNorm, begin_as_copy, fourier, perceptron, soft_argmax
from gwm_sim.model.state import Segment, Statistics
from gwm_sim.model.threads import weights
from gwm_sim.model.tokenizer import cell_decoder, products

NEAR_WEIGHT = 5.0  # extra loss weight of a pixel that is a metre nearer or farther than the empty scene [1/m]
SELDOM = -2.0  # logit of an object being held, before anything is learned
OCTAVES = 5  # sine and cosine pairs of how far an object is from the hand in the picture
NEAR = 1e-3  # least depth at which a point is seen [m]
READ, PARTS = 96, 8  # channels of the picture reader, and parts of the robot that it looks for
DEPTHS = 4.0  # things are at most so many times nearer or farther than the middle of the scene


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

    numbers: ClassVar[int] = 3  # that are read of each object

    def __init__(self, config: HeadsConfig, channels: int, dynamics: Dynamics) -> None:
        super().__init__()
        c, d = dynamics.config, config.width
        self.look = nn.Sequential(nn.Conv2d(channels, d, 3, padding=1), nn.SiLU(), nn.Conv2d(d, d, 1))
        self.maps = nn.Conv2d(d, c.objects, 1)
        self.robot = perceptron(c.telemetry, d)
        self.seen = nn.Linear(d + 2, d)
        self.identity = nn.Parameter(torch.randn(c.objects, d) * 0.02)
        self.out = nn.Sequential(nn.SiLU(), nn.Linear(d, d), nn.SiLU(), nn.Linear(d, self.numbers))

    def forward(self, features: Tensor, telemetry: Tensor, dynamics: Dynamics) -> Tensor:
        """Positions (B, K, 3) [m], from features (B, channels, H/8, W/8) and telemetry (B, P)."""
        return self.read(features, telemetry, dynamics)[0]

    def read(self, features: Tensor, telemetry: Tensor, dynamics: Dynamics) -> tuple[Tensor, Tensor | None]:
        """Positions as `forward` returns them, and logits (B, K) of being in sight, None where nothing tells."""
        seen = self.look(features)
        unit = self.out(self.mixed(seen, self.maps(seen), telemetry, dynamics)).float()
        return dynamics.objects_low + (unit + 1) / 2 * (dynamics.objects_high - dynamics.objects_low), None

    def mixed(self, seen: Tensor, maps: Tensor, telemetry: Tensor, dynamics: Dynamics) -> Tensor:
        """What the maps (B, K, H/8, W/8) find in what is seen, beside what telemetry tells, (B, K, D)."""
        found = soft_argmax(seen, maps)  # (B, K, D + 2)
        level = (telemetry - dynamics.telemetry_mean) / dynamics.telemetry_std
        return self.seen(found) + self.robot(level)[:, None] + self.identity


class PictureLocator(Locator):
    """Objects as points of the picture, which in metres are lifted along the rays through them.

    How far along is where things mostly lie, `ground`, which is a plane, less what is read, or where the end-effector
    is, for what it holds. So an object in the air is as far off as its height is misjudged and no more, and the hand,
    which telemetry knows, need not be learned. In the image frame nothing is lifted: the third number is the size.
    """

    numbers: ClassVar[int] = 5  # how far beside the middle of the map, in columns and rows [tokens]; how much nearer,
    # or the size; logits of being held, and of being in sight
    view: Tensor
    lifts: Tensor  # what takes the picture back to the scene, (3, 3), or in the image frame to pixels, (2, 2)

    def __init__(self, config: HeadsConfig, channels: int, dynamics: Dynamics) -> None:
        super().__init__(config, channels, dynamics)
        c = dynamics.config
        self.grid, self.ground = c.grid, config.ground
        self.hand = nn.Linear(2 * (1 + 2 * OCTAVES), config.width) if c.effector and config.ground else None
        last = self.out[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            begin_as_copy(last).bias[3] = SELDOM
        view = torch.tensor(c.view[:12]).view(3, 4)
        self.register_buffer("view", view, persistent=False)
        seen_by = view[:, :3] if self.ground else view[:2, :2]
        self.register_buffer("lifts", torch.linalg.inv(seen_by), persistent=False)

    def read(self, features: Tensor, telemetry: Tensor, dynamics: Dynamics) -> tuple[Tensor, Tensor | None]:
        seen = self.look(features)
        maps = self.maps(seen)
        place, mixed = middle_of(maps, self.grid), self.mixed(seen, maps, telemetry, dynamics)
        hand = self.seen_from(dynamics.effector(telemetry[:, None])[:, 0])  # (B, 1 or 0, 3)
        if self.hand is not None:
            away = 2 * (place - hand[..., :2] / hand[..., 2:].clamp_min(NEAR)) / self.grid[0]
            mixed = mixed + self.hand(fourier(away.clamp(-1, 1), OCTAVES))
        beside, nearer, held, in_sight = self.out(mixed).float().split((2, 1, 1, 1), dim=-1)
        in_sight = in_sight[..., 0] + maps.flatten(2).float().logsumexp(dim=-1)
        place, low, high = place + beside, dynamics.objects_low, dynamics.objects_high
        if not self.ground:
            size = low[2] + (nearer + 1) / 2 * (high[2] - low[2])
            across = times(self.lifts, place - self.view[:2, 3])
            return torch.cat((across, size), dim=-1), in_sight
        depth = self.depth_of_ground(place, (low + high) / 2) - (high - low).mean() / 2 * nearer
        if self.hand is not None:
            depth = depth + held.sigmoid() * (hand[..., 2:] - depth)
        return self.lift(place, depth), in_sight

    def depth_of_ground(self, place: Tensor, middle: Tensor) -> Tensor:
        """How far away things mostly are at places (B, K, 2) [tokens] of the picture, (B, K, 1) [m], near the depth of
        the `middle` (3,) [m] of the scene."""
        constant, column, row = self.ground
        usual = 1 / self.seen_from(middle)[2]
        inverse = constant + column * place[..., :1] + row * place[..., 1:]
        return 1 / inverse.clamp(usual / DEPTHS, usual * DEPTHS)

    def seen_from(self, points: Tensor) -> Tensor:
        """Column and row [tokens], both times the depth, and depth [m] of points (..., 3) [m]."""
        return (self.view[:, :3] * points[..., None, :]).sum(dim=-1) + self.view[:, 3]

    def lift(self, place: Tensor, depth: Tensor) -> Tensor:
        """Points (B, K, 3) [m] that are seen at places (B, K, 2) [tokens] in a depth (B, K, 1) [m]."""
        seen = torch.cat((depth * place, depth), dim=-1) - self.view[:, 3]
        return times(self.lifts, seen)


def times(matrix: Tensor, values: Tensor) -> Tensor:
    """What a matrix (N, N) makes of `values` (..., N), in single precision whatever multiplies matrices."""
    return (matrix * values[..., None, :]).sum(dim=-1)


def middle_of(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean column and row (B, M, 2) [tokens] of maps of scores (B, M, h, w) that cover `grid` rows and columns; in
    single precision whatever multiplies matrices, since half a percent of a picture is a thing's width."""
    share = maps.flatten(2).float().softmax(dim=-1).unflatten(2, maps.shape[-2:])
    rows, columns = (
        (torch.arange(count, device=maps.device) + 0.5) * tokens / count - 0.5
        for count, tokens in zip(maps.shape[-2:], grid, strict=True)
    )
    return torch.stack(((share.sum(dim=2) * columns).sum(dim=-1), (share.sum(dim=3) * rows).sum(dim=-1)), dim=-1)


def nearest_order(objects: Tensor, others: Tensor, kinds: Sequence[int]) -> Tensor:
    """The order (B, K) in which objects (B, K, 3) lie nearest to `others` (B, K, 3), those of one kind exchanged."""
    order = torch.arange(objects.shape[1], device=objects.device).repeat(len(objects), 1)
    for kind in sorted(set(kinds)):
        places = [k for k, other in enumerate(kinds) if other == kind]
        if len(places) < 2:
            continue
        ways = torch.tensor(list(permutations(places)), device=objects.device)  # (ways, n)
        away = (objects[:, ways] - others[:, None, places]).nan_to_num(0.0).abs().sum(dim=(2, 3))  # (B, ways)
        order[:, places] = ways[away.argmin(dim=1)]
    return order


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
        self,
        logits: tuple[Tensor, Tensor],
        reward: Tensor,
        success: Tensor,
        weight: Tensor | None = None,
        judged: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Squared error of the reward and cross-entropy of success, for targets (B, T, tasks) that count `weight`.

        Where the reward is NaN the task was judged by nobody, and nothing is learned of it. Means are over what was
        judged; `judged` says which share of a whole batch that is, of which these targets are a part.
        """
        known = ~reward.isnan()
        error = (logits[0].sigmoid() - reward.where(known, 0.0)).square()
        entropy = F.binary_cross_entropy_with_logits(logits[1], success.float(), reduction="none")
        if weight is not None:
            error, entropy = error * weight, entropy * weight
        share = known.float().mean() if judged is None else judged  # 1 if all are known, which changes no bit
        share = share.clamp_min(torch.finfo(share.dtype).tiny)
        return error.where(known, 0.0).mean() / share, entropy.where(known, 0.0).mean() / share


class PictureReader(nn.Module):
    """What the robot reports in single frames, from the tokenizer's features: soft-argmaxes say where parts of it are
    (Finn et al., 2016)."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, statistics: Statistics) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv2d(channels, READ, 3, padding=1), nn.SiLU(), nn.Conv2d(READ, READ, 3, padding=1), nn.SiLU()
        )
        self.maps = nn.Conv2d(READ, PARTS, 1)
        columns = len(statistics.telemetry_mean)
        self.out = nn.Sequential(nn.Linear(PARTS * (READ + 2), 256), nn.SiLU(), nn.Linear(256, columns))
        self.register_buffer("mean", statistics.telemetry_mean.clone())
        self.register_buffer("std", statistics.telemetry_std.clone())

    def forward(self, features: Tensor) -> Tensor:
        """Telemetry (B, P) from features (B, channels, H/8, W/8)."""
        seen = self.look(features)
        found = soft_argmax(seen, self.maps(seen))  # (B, PARTS, READ + 2)
        return self.mean + self.std * self.out(found.flatten(1))

    def loss(self, features: Tensor, telemetry: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error of the telemetry (B, P), in its usual spread."""
        error = ((self(features) - telemetry) / self.std).abs().mean()
        return error, {"misread": error.detach()}


class DepthHead(nn.Module):
    """A decoder of its own beside that of the pictures, with the median depth of the scene as its bias."""

    background: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.decoder = cell_decoder(config.numbers, config.channels // 2, blocks=1, out=1)
        self.work = products(self.decoder, config.covered[0] * config.covered[1] // CELL**2)
        self.register_buffer("background", torch.zeros(1, config.height, config.width))

    def forward(self, grid: Tensor) -> Tensor:
        """Depth (B, H, W, 1) [m] from quantised values (B, numbers, H/8, W/8) of the main view."""
        rows, columns = self.background.shape[1:]
        return (self.decoder(grid).float()[..., :rows, :columns] + self.background).clamp_min(0.0).permute(0, 2, 3, 1)

    def loss(self, grid: Tensor, depth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error from a true depth (B, H, W, 1) [m]; what is not the empty scene counts more."""
        error = (self(grid) - depth).abs()
        apart = (depth - self.background.permute(1, 2, 0)).abs()
        return ((1 + NEAR_WEIGHT * apart) * error).mean(), {"depth_mm": 1000 * error.detach().mean()}
