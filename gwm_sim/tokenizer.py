"""Frames <-> latents: a per-frame convolutional autoencoder whose latents are small integers.

An (H, W, 3) frame becomes an (H/8, W/8) grid of cells of `numbers` integers with `levels` values each (finite scalar
quantisation, Mentzer et al., 2023), packed 2x2 into N tokens. Integers let the dynamics predict by classification, so
that an imagined frame snaps back to valid codes instead of fading.

Small objects decide the loss: a 7-pixel cube is one percent of a 64x64 frame, and a decoder that drops it still scores
30 dB. Pixels are therefore weighted by how far they are from the median background, the worst pixels count extra (as
in delta-IRIS, Micheli et al., 2024), and the median background is the decoder's bias, so that the code is spent on
what moves.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gwm_sim.errors import ConfigError

CELL = 8  # pixels per side of a latent cell
PACK = 2  # cells per side of a token
TOKEN = CELL * PACK  # pixels per side of a token


@dataclass(frozen=True)
class TokenizerConfig:
    """Shape of the tokenizer."""

    height: int = 64
    """Frame height in [px], a multiple of 16."""
    width: int = 64
    """Frame width in [px], a multiple of 16."""
    numbers: int = 5
    """Integers per latent cell."""
    levels: int = 5
    """Values per integer."""
    channels: int = 32
    """Channels at half resolution; doubled at each halving."""
    foreground_weight: float = 12.0
    """Extra loss weight of a pixel that differs from the background by the full range."""
    worst_weight: float = 0.2
    """Weight of the mean error of the worst one percent of pixels."""

    def __post_init__(self) -> None:
        if self.height % TOKEN or self.width % TOKEN:
            raise ConfigError(
                f"frames must be multiples of {TOKEN} pixels high and wide, got {self.height}x{self.width}: "
                f"collect or import them with --size {max(TOKEN, self.height // TOKEN * TOKEN)}"
            )
        if self.levels % 2 == 0:
            raise ConfigError(f"levels must be odd, so that 0 is one of them, got {self.levels}")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens."""
        return self.height // TOKEN, self.width // TOKEN

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def token_numbers(self) -> int:
        return PACK * PACK * self.numbers


class ChannelNorm(nn.Module):
    """Root-mean-square normalisation over the channels of each position.

    Not over positions: what a cell is coded as must not depend on what happens elsewhere in the picture.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-5) * self.scale


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(F.silu(self.norm(x)))))


class Tokenizer(nn.Module):
    """Encode frames to integer codes and decode codes to frames."""

    background: Tensor
    usual_error: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.channels = 4 * c  # of the features
        self.encoder = nn.Sequential(
            nn.Conv2d(3, c, 4, stride=2, padding=1),
            ResidualBlock(c),
            nn.Conv2d(c, 2 * c, 4, stride=2, padding=1),
            ResidualBlock(2 * c),
            nn.Conv2d(2 * c, 4 * c, 4, stride=2, padding=1),
            ResidualBlock(4 * c),
            ResidualBlock(4 * c),
            ChannelNorm(4 * c),  # codes spread over all levels from the first step; without it they all stay 0
        )
        self.to_code = nn.Conv2d(4 * c, config.numbers, 1)
        self.decoder = nn.Sequential(
            nn.Conv2d(config.numbers, 4 * c, 3, padding=1),
            ResidualBlock(4 * c),
            ResidualBlock(4 * c),
            nn.Conv2d(4 * c, 8 * c, 3, padding=1),
            nn.PixelShuffle(2),
            ResidualBlock(2 * c),
            nn.Conv2d(2 * c, 4 * c, 3, padding=1),
            nn.PixelShuffle(2),
            ResidualBlock(c),
            nn.Conv2d(c, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )
        self._quick: tuple[nn.Module, ...] = ()  # in a tuple, so that it is neither stored nor trained
        self.register_buffer("background", torch.zeros(3, config.height, config.width))
        self.register_buffer("usual_error", torch.ones(()))

    def hasten(self) -> None:
        """Decode by a bfloat16 copy of the decoder from now on: at most 2 grey levels off, up to three times as fast.

        Weights that change later need a new one. The dynamics stay in float32: in bfloat16 the codes of a row depend on
        the rows beside it.
        """
        quick: Any = deepcopy(self.decoder).bfloat16()
        self._quick = (quick.to(memory_format=torch.channels_last),)

    def quantise(self, z: Tensor) -> Tensor:
        """Bound to [-1, 1] and round to `levels` values, with straight-through gradients."""
        half = (self.config.levels - 1) / 2
        bounded = torch.tanh(z.float())
        return bounded + ((bounded * half).round() / half - bounded).detach()

    def decode_grid(self, grid: Tensor) -> Tensor:
        """Quantised values (B, numbers, H/8, W/8) to images (B, 3, H, W) centred on 0, not clipped."""
        return self.decoder(grid).float() + self.background

    def features(self, frames: Tensor) -> Tensor:
        """What the encoder sees in frames (B, H, W, 3) uint8 before it rounds: (B, channels, H/8, W/8)."""
        return self.encoder(to_images(frames))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Encode frames.

        Args:
            frames: (..., H, W, 3) uint8.

        Returns:
            Codes, (..., N, token_numbers) uint8 in [0, levels).
        """
        codes = self.codes(self.features(frames.reshape(-1, *frames.shape[-3:])))
        return codes.reshape(*frames.shape[:-3], *codes.shape[1:])

    @torch.no_grad()
    def codes(self, features: Tensor) -> Tensor:
        """Round features (B, channels, H/8, W/8) to codes (B, N, token_numbers) uint8."""
        half = (self.config.levels - 1) / 2
        grid = (self.quantise(self.to_code(features)) * half + half).round().to(torch.uint8)
        return rearrange(grid, "b c (y p) (x q) -> b (y x) (p q c)", p=PACK, q=PACK)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (..., N, token_numbers) to frames (..., H, W, 3) uint8."""
        lead = codes.shape[:-2]
        half = (self.config.levels - 1) / 2
        grid = rearrange(
            codes.reshape(-1, *codes.shape[-2:]).float() / half - 1,
            "b (y x) (p q c) -> b c (y p) (x q)",
            y=self.config.height // (CELL * PACK),
            p=PACK,
            q=PACK,
        )
        if self._quick:
            quick = self._quick[0](grid.to(torch.bfloat16, memory_format=torch.channels_last))
            frames = to_frames(quick.float() + self.background)
        else:
            frames = to_frames(self.decode_grid(grid))
        return frames.reshape(*lead, *frames.shape[1:])

    @torch.no_grad()
    def novelty(self, frames: Tensor, codes: Tensor) -> Tensor:
        """How badly codes (B, N, M) show their frames (B, H, W, 3) uint8, (B,): 1 is usual for familiar frames.

        The worst one percent of the pixels counts: an object of an unknown colour or kind is not larger.
        """
        error = (self.decode(codes).float() - frames.float()).abs().mean(dim=-1).flatten(1)
        return worst_pixels(error).mean(dim=1) / self.usual_error

    def loss(self, frames: Tensor, features: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction loss of a batch.

        Args:
            frames: (B, H, W, 3) uint8.
            features: What `features` made of them.

        Returns:
            Scalar loss, and named scalars to log.
        """
        images = to_images(frames)
        error = (self.decode_grid(self.quantise(self.to_code(features))) - images).abs()
        distance = (images - self.background).abs().amax(dim=1, keepdim=True)
        weighted = ((1 + self.config.foreground_weight * distance) * error).mean()
        per_pixel = error.mean(dim=1).flatten(1)  # (B, H*W)
        worst = worst_pixels(per_pixel).mean()
        mse = error.detach().square().mean()
        return weighted + self.config.worst_weight * worst, {
            "weighted_l1": weighted.detach(),
            "worst": worst.detach(),
            "psnr": -10 * torch.log10(mse),
        }


def worst_pixels(error: Tensor) -> Tensor:
    """The largest one percent of errors (B, pixels)."""
    return error.topk(max(1, error.shape[1] // 100), dim=1).values


def to_images(frames: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float in [-0.5, 0.5].

    In memory the channels come last where convolutions run in half precision, which is faster there, and first
    elsewhere: in float32 on a CPU a training step with channels last takes twice as long.
    """
    half = torch.is_autocast_enabled(frames.device.type)
    layout = torch.channels_last if half else torch.contiguous_format
    return frames.permute(0, 3, 1, 2).float().div_(255).sub_(0.5).contiguous(memory_format=layout)


def to_frames(images: Tensor) -> Tensor:
    """(B, 3, H, W) float around 0 to (B, H, W, 3) uint8."""
    return ((images + 0.5) * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def median_background(frames: Tensor) -> Tensor:
    """Per-pixel median of frames (B, H, W, 3) uint8, as an image (3, H, W) around 0."""
    return frames.float().median(dim=0).values.permute(2, 0, 1) / 255 - 0.5
