"""Transformer parts of the dynamics and the heads: normalisation, gated feed-forward, attention over space and time.

Activations are (B, T, N, D). Space attention mixes the N tokens of one frame; time attention mixes one token position
across frames and is causal within a sliding window, so that a ring of the last `window` frames is all a rollout has to
remember.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Rotation = tuple[Tensor, Tensor]  # see `rotation`

TIME_PERIOD = 100.0  # longest wavelength of the time rotation, in units of 2 pi frames: well above any window used here


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        # A third of the time of F.rms_norm, which no CPU kernel fuses.
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        return x * (x.shape[-1] ** 0.5 / size.clamp_min(1e-3)).to(x.dtype) * self.scale.to(x.dtype)


class GatedMLP(nn.Module):
    """SwiGLU feed-forward (Shazeer, 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


def rotation(time: Tensor, width: int) -> Rotation:
    """Cosines and sines (B, 1, T, E/2) of the angles by which queries and keys of `width` E are rotated at `time`
    (B, T), so that their products depend on time differences only (RoPE, Su et al., 2021)."""
    half = width // 2
    frequency = TIME_PERIOD ** (-torch.arange(half, device=time.device, dtype=torch.float32) / half)
    angle = time.to(torch.float32)[:, None, :, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate queries or keys (B, N*H, T, E)."""
    (first, second), (cos, sin) = x.float().chunk(2, dim=-1), by
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1).to(x.dtype)


class Ring:
    """Where one new frame goes in a ring of the last `window` ones, and which of them it sees: the same in all layers.

    Frame f of a row lies in slot f % window.
    """

    def __init__(self, age: Tensor, window: int, width: int) -> None:
        """Take the number of frames already in each row, (B,), and the width E of queries and keys."""
        self.rows = torch.arange(len(age), device=age.device)
        self.slot = age % window
        self.filled = (torch.arange(window, device=age.device) <= age[:, None])[:, None, None, :]  # (B, 1, 1, window)
        self.rotation = rotation(age[:, None], width)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention, (..., T, E) x (..., S, E) -> (..., T, E), where `mask` (..., T, S) is True.

    Written out, since PyTorch's fused CPU kernel takes ten times longer to differentiate at these sizes (20 tokens, 16
    frames).
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e4)
    return scores.float().softmax(dim=-1).to(value.dtype) @ value


class Attention(nn.Module):
    """What attention learns: linear maps of the tokens, and the sizes of queries and keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.query_norm = RMSNorm(width // heads)
        self.key_norm = RMSNorm(width // heads)


class SpaceAttention(Attention):
    """Full attention among the tokens of each frame, with normalised queries and keys."""

    def forward(self, x: Tensor) -> Tensor:
        b, t, n, d = x.shape
        qkv = self.qkv(x).reshape(b * t, n, 3, self.heads, d // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B*T, H, N, E)
        mixed = attend(self.query_norm(query), self.key_norm(key), value)
        return self.out(mixed.transpose(1, 2).reshape(b, t, n, d))


class TimeAttention(Attention):
    """Causal attention of each token position to its own past, at most `window` frames back (itself included)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__(width, heads)
        self.window = window

    def project(self, x: Tensor, by: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, N*H, T, E): token positions act as further heads."""
        b, t, n, d = x.shape
        qkv = self.qkv(x).reshape(b, t, n, 3, self.heads, d // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 4, 1, 5).flatten(2, 3).unbind(0)
        return rotate(self.query_norm(query), by), rotate(self.key_norm(key), by), value

    def merge(self, mixed: Tensor, n: int) -> Tensor:
        """(B, N*H, T, E) back to (B, T, N, D)."""
        b, _, t, e = mixed.shape
        return self.out(mixed.reshape(b, n, self.heads, t, e).permute(0, 3, 1, 2, 4).reshape(b, t, n, self.heads * e))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend within whole sequences (B, T, N, D), as in training and when a context is read; also returns keys and
        values (B, 2, N*H, T, E) for a cache."""
        t = x.shape[1]
        time = torch.arange(t, device=x.device)
        lag = time[:, None] - time[None, :]
        query, key, value = self.project(x, rotation(time[None], x.shape[-1] // self.heads))
        mixed = attend(query, key, value, (lag >= 0) & (lag < self.window))
        return self.merge(mixed, x.shape[2]), torch.stack((key, value), dim=1)

    def step(self, x: Tensor, cache: Tensor, ring: Ring) -> Tensor:
        """Attend from one new frame (B, 1, N, D) to the past ones, of which `cache` (B, 2, N*H, window, E) holds keys
        and values, and write the new frame in place where `ring` says."""
        query, key, value = self.project(x, ring.rotation)
        cache[ring.rows, 0, :, ring.slot] = key[:, :, 0].to(cache.dtype)
        cache[ring.rows, 1, :, ring.slot] = value[:, :, 0].to(cache.dtype)
        key, value = cache.to(query.dtype).unbind(1)
        # One query and no gradient: here the fused kernel is the faster one.
        mixed = F.scaled_dot_product_attention(query, key, value, ring.filled)
        return self.merge(mixed, x.shape[2])


class Block(nn.Module):
    """Pre-norm transformer block: space attention, time attention where asked for, feed-forward."""

    def __init__(self, width: int, heads: int, window: int = 0) -> None:
        super().__init__()
        self.space_norm = RMSNorm(width)
        self.space = SpaceAttention(width, heads)
        self.time_norm = RMSNorm(width) if window else None
        self.time = TimeAttention(width, heads, window) if window else None
        self.mlp_norm = RMSNorm(width)
        self.mlp = GatedMLP(width, 2 * width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Whole sequences (B, T, N, D); also returns this block's keys and values if it looks back in time."""
        memory = None
        x = x + self.space(self.space_norm(x))
        if self.time is not None and self.time_norm is not None:
            mixed, memory = self.time(self.time_norm(x))
            x = x + mixed
        return x + self.mlp(self.mlp_norm(x)), memory

    def step(self, x: Tensor, cache: Tensor | None, ring: Ring) -> Tensor:
        """One new frame (B, 1, N, D) against this block's ring `cache`, which is updated in place."""
        x = x + self.space(self.space_norm(x))
        if self.time is not None and self.time_norm is not None:
            assert cache is not None
            x = x + self.time.step(self.time_norm(x), cache, ring)
        return x + self.mlp(self.mlp_norm(x))


def perceptron(inputs: int, width: int) -> nn.Sequential:
    """Two layers."""
    return nn.Sequential(linear(inputs, width), nn.SiLU(), nn.Linear(width, width))


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer. Of no inputs, such as the telemetry of a robot that reports none, it returns what it learned."""
    if inputs and outputs:
        return nn.Linear(inputs, outputs)
    layer = nn.Linear(1, 1)  # torch warns where it initialises nothing
    layer.in_features, layer.out_features = inputs, outputs
    layer.weight, layer.bias = nn.Parameter(torch.empty(outputs, inputs)), nn.Parameter(torch.zeros(outputs))
    return layer


Output = TypeVar("Output", nn.Linear, nn.Conv2d)


def begin_as_copy(layer: Output) -> Output:
    """An output layer that begins with hardly any change."""
    nn.init.normal_(layer.weight, std=1e-3)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def fourier(x: Tensor, octaves: int) -> Tensor:
    """Coordinates (..., C) around 0 beside sines and cosines of some octaves, of which the longest wave is 2 long,
    (..., C * (1 + 2 * octaves))."""
    frequency = math.pi * 2.0 ** torch.arange(octaves, device=x.device)
    angle = (x[..., None] * frequency).flatten(-2)
    return torch.cat((x, angle.sin(), angle.cos()), dim=-1)


def soft_argmax(features: Tensor, maps: Tensor) -> Tensor:
    """What is under each map and where that is, (B, M, D + 2): from features (B, D, H, W) and scores of where to look
    (B, M, H, W) the mean features beside row and column in [-1, 1], a spatial soft-argmax (Finn et al., 2016)."""
    rows, columns = (torch.linspace(-1, 1, n, device=maps.device, dtype=features.dtype) for n in maps.shape[-2:])
    grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(features), -1, -1, -1)
    share = maps.flatten(2).float().softmax(dim=-1).to(features.dtype)  # (B, M, cells)
    return share @ torch.cat((features, grid), dim=1).flatten(2).transpose(1, 2)
