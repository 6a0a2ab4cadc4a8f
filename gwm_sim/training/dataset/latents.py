"""Latents of frames, of which files that hold the same share those of one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class SharedLatents:
    """Latents by the numbers of frames as in a tensor (S, N, M), of which fewer are stored."""

    def __init__(self, stored: Tensor, count: int, place: Callable[[Tensor], Tensor]) -> None:
        """Show the latents of `count` frames by those that are stored (U, N, M); `place` says which of these belong to
        frames (B,)."""
        self.shape, self._stored, self._place = torch.Size((count, *stored.shape[1:])), stored, place

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        """Latents (..., N, M) of some frames (...)."""
        return self._stored[self._place(index.flatten())].reshape(*index.shape, *self.shape[1:])


Latents = Tensor | SharedLatents
"""Of all frames with pictures, (S, N, M) uint8."""
