"""Frames <-> latents: a per-frame convolutional autoencoder whose latents are small integers.

An (H, W, 3) view becomes an (H/8, W/8) grid of cells of `numbers` integers with `levels` values each (finite scalar
quantisation, Mentzer et al., 2023), packed into square tokens. A frame holds the views of all cameras side by side
(`views.py`); each is encoded alone by the same weights, and N counts the tokens of all. A view that whole tokens do not
fill is continued beyond its right and lower edge for the encoder, and cut there after the decoder. Integers let the
dynamics predict by classification, so that an imagined frame snaps back to valid codes instead of fading.

Small objects decide: 7 by 7 pixels are one percent of a 64x64 frame, and a decoder that drops them still scores
30 dB. Pixels are therefore weighted by how far they are from the median background, the worst pixels count extra (as
in delta-IRIS, Micheli et al., 2024), and the median background is the decoder's bias, so that the code is spent on
what moves.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Self

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from gwm_sim.model.config import CELL, TokenizerConfig
from gwm_sim.model.threads import threads_for

HALF_PRECISION = 3  # times as fast are products in bfloat16


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


def cell_decoder(numbers: int, width: int, blocks: int, out: int) -> nn.Sequential:
    """From cells of `numbers` values to `out` channels of pixels; `width` channels at half resolution."""
    return nn.Sequential(
        nn.Conv2d(numbers, 4 * width, 3, padding=1),
        *(ResidualBlock(4 * width) for _ in range(blocks)),
        nn.Conv2d(4 * width, 8 * width, 3, padding=1),
        nn.PixelShuffle(2),
        ResidualBlock(2 * width),
        nn.Conv2d(2 * width, 4 * width, 3, padding=1),
        nn.PixelShuffle(2),
        ResidualBlock(width),
        nn.Conv2d(width, 4 * out, 3, padding=1),
        nn.PixelShuffle(2),
    )


def products(net: nn.Sequential, places: int) -> int:
    """Number of products of a network of convolutions, of one picture with so many places at its input."""
    count = 0
    for layer in net:
        if isinstance(layer, nn.Conv2d):
            places //= layer.stride[0] ** 2
        count += places * sum(weight.numel() for weight in layer.parameters())
        if isinstance(layer, nn.PixelShuffle):
            places *= layer.upscale_factor**2
    return count


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
        self.decoder = cell_decoder(config.numbers, c, blocks=2, out=3)
        self._quick: tuple[nn.Module, ...] = ()  # in a tuple, so that it is neither stored nor trained
        self.register_buffer("background", torch.zeros(3 * config.views, config.height, config.width))
        self.register_buffer("usual_error", torch.ones(()))
        pixels = config.covered[0] * config.covered[1]
        self._work = products(self.encoder, pixels), products(self.decoder, pixels // CELL**2)

    def hasten(self) -> None:
        """Decode by a bfloat16 copy of the decoder from now on: at most 2 grey levels off, up to three times as fast.

        Weights that change later need a new one; a move to another device makes one. The dynamics stay in float32: in
        bfloat16 the codes of a row depend on the rows beside it.
        """
        quick: Any = deepcopy(self.decoder).bfloat16()
        self._quick = (quick.to(memory_format=torch.channels_last),)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """What `to`, `cuda` and the like call: the copy goes where the weights go."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self._quick:
            self.hasten()
        return self

    @property
    def work_of_features(self) -> int:
        """Products to see one view, see `threads.py`."""
        return self._work[0]

    @property
    def work_of_decoding(self) -> float:
        """Products to decode one view, counted as if in float32."""
        return self._work[1] / (HALF_PRECISION if self._quick else 1)

    def quantise(self, z: Tensor) -> Tensor:
        """Bound to [-1, 1] and round to `levels` values, with straight-through gradients."""
        half = (self.config.levels - 1) / 2
        bounded = torch.tanh(z.float())
        return bounded + ((bounded * half).round() / half - bounded).detach()

    def decode_grid(self, grid: Tensor) -> Tensor:
        """Quantised values (B, V, numbers, H/8, W/8) to images (B, V, 3, H, W) centred on 0, not clipped."""
        return self._shown(self.decoder(grid.flatten(0, 1)), grid.shape[1])

    def _shown(self, decoded: Tensor, views: int) -> Tensor:
        """Images (B, V, 3, H, W) of what was decoded (B*V, 3, h, w), as far as the views reach."""
        seen = decoded[..., : self.config.height, : self.config.width]
        return seen.float().unflatten(0, (-1, views)) + self.backgrounds[:views]

    @property
    def backgrounds(self) -> Tensor:
        """The empty scene in each view, (V, 3, H, W) around 0."""
        return self.background.unflatten(0, (self.config.views, 3))

    def empty(self) -> Tensor:
        """The empty scene as a frame, (H, V*W, 3) uint8."""
        return to_frames(self.backgrounds[None])[0]

    def fit_background(self, frames: Tensor) -> None:
        """Take in the median of frames (B, H, V*W, 3) uint8 as the empty scene."""
        self.background.copy_(median_background(frames, self.config.views))

    def features(self, frames: Tensor) -> Tensor:
        """What the encoder sees in frames (B, H, V*W, 3) uint8 before it rounds: (B, V, channels, H/8, W/8).

        Of frames that are narrower, only of the views that they show: the first ones.
        """
        views = frames.shape[2] // self.config.width
        images = to_images(frames, views).flatten(0, 1)
        height, width = self.config.covered
        below, right = height - self.config.height, width - self.config.width
        if below or right:
            images = F.pad(images, (0, right, 0, below), mode="replicate")
        return self.encoder(images).unflatten(0, (-1, views))

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Codes (..., N, token_numbers) uint8 in [0, levels) of frames (..., H, V*W, 3) uint8."""
        flat = frames.reshape(-1, *frames.shape[-3:])
        with threads_for(len(flat) * self.work_of_features * (flat.shape[2] // self.config.width)):
            codes = self.codes(self.features(flat))
        return codes.reshape(*frames.shape[:-3], *codes.shape[1:])

    @torch.no_grad()
    def codes(self, features: Tensor) -> Tensor:
        """Round features (B, V, channels, H/8, W/8) to codes (B, N, token_numbers) uint8."""
        half, pack = (self.config.levels - 1) / 2, self.config.pack
        grid = (self.quantise(self.to_code(features.flatten(0, 1))) * half + half).round().to(torch.uint8)
        return rearrange(grid, "(b v) c (y p) (x q) -> b (v y x) (p q c)", v=features.shape[1], p=pack, q=pack)

    def unpack(self, codes: Tensor) -> Tensor:
        """Codes (B, N, token_numbers) as quantised values, (B, V, numbers, H/8, W/8)."""
        config = self.config
        half, (rows, columns) = (config.levels - 1) / 2, config.grid
        return rearrange(
            codes.float() / half - 1,
            "b (v y x) (p q c) -> b v c (y p) (x q)",
            **{"y": rows, "x": columns, "p": config.pack, "q": config.pack},
        )

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (..., N, token_numbers) to frames (..., H, V*W, 3) uint8, or those of the first views alone."""
        lead = codes.shape[:-2]
        grid = self.unpack(codes.reshape(-1, *codes.shape[-2:]))
        with threads_for(grid.shape[0] * grid.shape[1] * self.work_of_decoding):
            if self._quick:
                flat = grid.flatten(0, 1).to(torch.bfloat16, memory_format=torch.channels_last)
                images = self._shown(self._quick[0](flat), grid.shape[1])
            else:
                images = self.decode_grid(grid)
            frames = to_frames(images)
        return frames.reshape(*lead, *frames.shape[1:])

    @torch.no_grad()
    def novelty(self, frames: Tensor, codes: Tensor) -> Tensor:
        """How badly codes (B, N, M) show frames (B, H, V*W, 3) uint8, or the first views, (B,): 1 is usual for familiar
        ones. The worst one percent of the pixels counts: an object of an unknown colour or kind is not larger."""
        error = (self.decode(codes).float() - frames.float()).abs().mean(dim=-1).flatten(1)
        return worst_pixels(error).mean(dim=1) / self.usual_error

    def loss(
        self, frames: Tensor, features: Tensor, emphasis: Tensor | float = 0.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction loss of frames (B, H, V*W, 3) uint8 with their `features`, and named scalars to log.

        What the pixels weigh beside what every one does is `emphasis` (B, V, 1, H, W).
        """
        images = to_images(frames, self.config.views)
        code = self.quantise(self.to_code(features.flatten(0, 1))).unflatten(0, features.shape[:2])
        error = (self.decode_grid(code) - images).abs()
        distance = (images - self.backgrounds).abs().amax(dim=2, keepdim=True)
        weighted = ((1 + self.config.foreground_weight * distance + emphasis) * error).mean()
        per_pixel = error.mean(dim=2).flatten(1)  # (B, V*H*W)
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


def to_images(frames: Tensor, views: int = 1) -> Tensor:
    """(B, H, V*W, 3) uint8 to (B, V, 3, H, W) float in [-0.5, 0.5].

    In memory the channels come last where convolutions run in half precision, which is faster there, and first
    elsewhere: in float32 on a CPU a training step with channels last takes twice as long.
    """
    half = torch.is_autocast_enabled(frames.device.type)
    layout = torch.channels_last if half else torch.contiguous_format
    images = rearrange(frames, "b h (v w) c -> (b v) c h w", v=views).float().div_(255).sub_(0.5)
    return images.contiguous(memory_format=layout).unflatten(0, (-1, views))


def to_frames(images: Tensor) -> Tensor:
    """(B, V, 3, H, W) float around 0 to (B, H, V*W, 3) uint8."""
    levels = ((images + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)
    return rearrange(levels, "b v c h w -> b h (v w) c").contiguous()


def median_background(frames: Tensor, views: int = 1) -> Tensor:
    """Per-pixel median of frames (B, H, V*W, 3) uint8, as images (3*V, H, W) around 0."""
    return rearrange(frames.float().median(dim=0).values, "h (v w) c -> (v c) h w", v=views) / 255 - 0.5
