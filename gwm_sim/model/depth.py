"""Codes -> depth: how far away what the main camera sees is, of real and of imagined pictures alike."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gwm_sim.model.config import TokenizerConfig
from gwm_sim.model.tokenizer import cell_decoder

NEAR_WEIGHT = 5.0  # extra loss weight of a pixel that is a metre nearer or farther than the empty scene [1/m]


class DepthHead(nn.Module):
    """A decoder of its own beside that of the pictures, with the median depth of the scene as its bias."""

    background: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.decoder = cell_decoder(config.numbers, config.channels // 2, blocks=1, out=1)
        self.register_buffer("background", torch.zeros(1, config.height, config.width))

    def forward(self, grid: Tensor) -> Tensor:
        """Depth (B, H, W, 1) [m] from quantised values (B, numbers, H/8, W/8) of the main view."""
        return (self.decoder(grid).float() + self.background).clamp_min(0.0).permute(0, 2, 3, 1)

    def loss(self, grid: Tensor, depth: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error, in which counts more what is not the empty scene.

        Args:
            grid: Quantised values (B, numbers, H/8, W/8) of the main view.
            depth: True depth (B, H, W, 1) [m].
        """
        error = (self(grid) - depth).abs()
        apart = (depth - self.background.permute(1, 2, 0)).abs()
        return ((1 + NEAR_WEIGHT * apart) * error).mean(), {"depth_mm": 1000 * error.detach().mean()}
