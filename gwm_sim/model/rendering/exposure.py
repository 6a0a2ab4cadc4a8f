"""How bright a picture is beside the empty scene, so that a world in other light is seen in that of its recordings.

Exposure, white balance and daylight change most pixels of a view by one factor per channel; what moves changes some
pixels by any. So the factor is the one that most pixels share, which holds while little is left of the empty scene.
A picture divided by it looks as all others do, and what is drawn from it is multiplied by it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

EVERY = 2  # one pixel in so many rows and columns is looked at
DARK = 32  # level of the empty scene up to which a pixel says little
ENOUGH = 0.1  # share of brighter pixels without which a channel counts as lit as ever
AGREE = 0.15  # share of these that must have one factor, else there is no empty scene left to compare with
LIMIT = math.log(5)  # of the logarithm of a factor
BIN = 0.01  # of it


def exposure(frames: Tensor, empty: Tensor, still: Sequence[bool]) -> Tensor:
    """How many times as bright frames (B, H, V*W, 3) uint8 are as the empty scene (H, V*W, 3) uint8, for each channel
    of each view, (B, 1, V*W, 3); 1 where it cannot be told, as in views whose camera does not stand `still`."""
    width = frames.shape[2] // len(still)
    now, usual = (by_channel(x, len(still)).float() for x in (frames, empty[None]))
    bright = (usual > DARK) & (now > 0)
    off = (now / usual).log().where(bright, torch.nan)  # (B, V, 3, P)
    bins = ((off.nan_to_num(2 * LIMIT) + LIMIT) / BIN).round().long()
    count = round(2 * LIMIT / BIN) + 1
    inside = (bins >= 0) & (bins < count)
    shared = torch.zeros(*bins.shape[:-1], count, device=off.device)
    shared.scatter_add_(-1, bins.clamp(0, count - 1), inside.float())
    most = F.avg_pool1d(shared.flatten(1, 2), 3, stride=1, padding=1).argmax(dim=-1).unflatten(1, shared.shape[1:3])
    near = inside & ((bins - most[..., None]).abs() <= 1)
    ordered, middle = off.where(near, torch.inf).sort(dim=-1).values, (near.sum(dim=-1, keepdim=True) - 1) // 2
    factor = ordered.gather(-1, middle.clamp_min(0))[..., 0].exp()  # the median, as runtimes without torch know it
    told = (bright.float().mean(dim=-1) > ENOUGH) & (near.sum(dim=-1) > AGREE * bright.sum(dim=-1))
    told &= torch.tensor(still, device=off.device)[:, None]
    return factor.where(told, 1.0).repeat_interleave(width, dim=1)[:, None]


def by_channel(frames: Tensor, views: int) -> Tensor:
    """Some pixels of each channel of each view, (B, V, 3, P), of frames (B, H, V*W, 3)."""
    apart = frames.unflatten(2, (views, -1))[:, ::EVERY, :, ::EVERY]
    return apart.permute(0, 2, 4, 1, 3).flatten(3)


def relit(frames: Tensor, factor: Tensor) -> Tensor:
    """Frames (B, H, V*W, 3) uint8 so many times as bright, by a factor (B, 1, V*W, 3)."""
    return (frames * factor).round().clamp(0, 255).to(torch.uint8)
