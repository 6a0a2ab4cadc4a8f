"""Transformer parts of the dynamics and the heads: normalisation, gated feed-forward, attention over space and time.

Activations are (B, T, N, D). Space attention mixes the N tokens of one frame; time attention mixes one token position
across frames and is causal within a sliding window, so that a ring of the last `window` frames is all a rollout has to
remember.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TIME_PERIOD = 100.0  # longest wavelength of the time rotation, in units of 2 pi frames: well above any window used here


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.scale.to(x.dtype), eps=1e-5)


class GatedMLP(nn.Module):
    """SwiGLU feed-forward (Shazeer, 2020)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * value)


def rotate(x: Tensor, time: Tensor) -> Tensor:
    """Rotate queries or keys by their time, so that products depend on time differences only (RoPE, Su et al., 2021).

    Args:
        x: Queries or keys, (B, N*H, T, E).
        time: Frame index of each column, (B, T) or (1, T).

    Returns:
        Rotated tensor of the same shape and dtype.
    """
    half = x.shape[-1] // 2
    frequency = TIME_PERIOD ** (-torch.arange(half, device=x.device, dtype=torch.float32) / half)
    angle = time.to(torch.float32)[:, None, :, None] * frequency  # (B, 1, T, E/2)
    cos, sin = angle.cos(), angle.sin()
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1).to(x.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention, (..., T, E) x (..., S, E) -> (..., T, E), where `mask` (..., T, S) is True.

    Written out, since PyTorch's fused CPU kernel takes ten times longer to differentiate at these sizes (20 tokens, 16
    frames).
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e4)
    return scores.float().softmax(dim=-1).to(value.dtype) @ value


class SpaceAttention(nn.Module):
    """Full attention among the tokens of each frame, with normalised queries and keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.query_norm = RMSNorm(width // heads)
        self.key_norm = RMSNorm(width // heads)

    def forward(self, x: Tensor) -> Tensor:
        b, t, n, d = x.shape
        qkv = self.qkv(x).reshape(b * t, n, 3, self.heads, d // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B*T, H, N, E)
        mixed = attend(self.query_norm(query), self.key_norm(key), value)
        return self.out(mixed.transpose(1, 2).reshape(b, t, n, d))


class TimeAttention(nn.Module):
    """Causal attention of each token position to its own past, at most `window` frames back (itself included)."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.query_norm = RMSNorm(width // heads)
        self.key_norm = RMSNorm(width // heads)

    def project(self, x: Tensor, time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, N*H, T, E): token positions act as further heads."""
        b, t, n, d = x.shape
        qkv = self.qkv(x).reshape(b, t, n, 3, self.heads, d // self.heads)
        query, key, value = qkv.permute(3, 0, 2, 4, 1, 5).flatten(2, 3).unbind(0)
        return rotate(self.query_norm(query), time), rotate(self.key_norm(key), time), value

    def merge(self, mixed: Tensor, n: int) -> Tensor:
        """(B, N*H, T, E) back to (B, T, N, D)."""
        b, _, t, e = mixed.shape
        return self.out(mixed.reshape(b, n, self.heads, t, e).permute(0, 3, 1, 2, 4).reshape(b, t, n, self.heads * e))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Attend within whole sequences, as in training and when a context is read.

        Returns:
            Mixed activations (B, T, N, D), and the keys and values (B, 2, N*H, T, E) for a cache.
        """
        t = x.shape[1]
        time = torch.arange(t, device=x.device)
        lag = time[:, None] - time[None, :]
        query, key, value = self.project(x, time[None])
        mixed = attend(query, key, value, (lag >= 0) & (lag < self.window))
        return self.merge(mixed, x.shape[2]), torch.stack((key, value), dim=1)

    def step(self, x: Tensor, cache: Tensor, age: Tensor) -> Tensor:
        """Attend from one new frame to the ring of past frames, and write the new frame into the ring in place.

        Args:
            x: Activations of the new frame, (B, 1, N, D).
            cache: Ring of keys and values, (B, 2, N*H, window, E); frame f lies in slot f % window.
            age: Number of frames already in each row, (B,).

        Returns:
            Mixed activations, (B, 1, N, D).
        """
        query, key, value = self.project(x, age[:, None])
        rows = torch.arange(x.shape[0], device=x.device)
        slot = age % self.window
        cache[rows, 0, :, slot] = key[:, :, 0].to(cache.dtype)
        cache[rows, 1, :, slot] = value[:, :, 0].to(cache.dtype)
        filled = torch.arange(self.window, device=x.device) <= age[:, None]  # (B, window)
        key, value = cache.to(query.dtype).unbind(1)
        # One query and no gradient: here the fused kernel is the faster one.
        mixed = F.scaled_dot_product_attention(query, key, value, filled[:, None, None, :])
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

    def step(self, x: Tensor, cache: Tensor | None, age: Tensor) -> Tensor:
        """One new frame (B, 1, N, D) against this block's ring `cache`, which is updated in place."""
        x = x + self.space(self.space_norm(x))
        if self.time is not None and self.time_norm is not None:
            assert cache is not None
            x = x + self.time.step(self.time_norm(x), cache, age)
        return x + self.mlp(self.mlp_norm(x))
