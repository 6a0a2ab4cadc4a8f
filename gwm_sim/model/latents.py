"""Latents: the integers that stand for a picture, (..., N, M) uint8 with N tokens of M integers from 0 to `levels` - 1.

All that knows of integers outside the tokenizer: how they are chosen, compared, and shown to a network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def choose(logits: Tensor, generators: Sequence[torch.Generator] | None) -> Tensor:
    """Codes (B, N, M) uint8 from logits (B, N, M, L): the most likely, or a sample by each row's generator."""
    if generators is None:
        return logits.argmax(dim=-1).to(torch.uint8)
    noise = torch.stack([torch.rand(logits.shape[1:], generator=g, device=logits.device) for g in generators])
    return (logits - (-noise.clamp_min(1e-20).log()).log()).argmax(dim=-1).to(torch.uint8)


def normalised_entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the predicted codes of each row in [0, 1], (B, N, M, L) -> (B,)."""
    log_p = logits.log_softmax(dim=-1)
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    return entropy.mean(dim=(1, 2)) / math.log(logits.shape[-1])


def one_hot(codes: Tensor, levels: int) -> Tensor:
    """(..., M) integers to (..., M * levels)."""
    return F.one_hot(codes.long(), levels).flatten(-2)


def centred(codes: Tensor, levels: int) -> Tensor:
    """Integers as numbers in [-1, 1], of the same shape."""
    return codes.float() / ((levels - 1) / 2) - 1


def distance(codes: Tensor, goal: Tensor) -> Tensor:
    """Sum of the differences of latents (..., N, M) from those of a goal, in the views that this shows, (...)."""
    return (codes[..., : goal.shape[-2], :].float() - goal.float()).abs().sum(dim=(-2, -1))
