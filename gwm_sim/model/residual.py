"""The residual: a few numbers for what neither robot nor things explain of a picture, such as cloth, doors and light.

They are read from single real frames and learned with the renderer, which draws from them; the dynamics predicts how
they go on. Since robot and things are told to the renderer exactly, nothing of these has to fit into the residual.
"""

from __future__ import annotations

from torch import Tensor, nn

from gwm_sim.model.config import CELL, TokenizerConfig

CHANNELS = 16  # of each cell
WIDTH = 128


class ResidualEncoder(nn.Module):
    """From the latents of all views to the residual, numbers in [-1, 1]."""

    def __init__(self, config: TokenizerConfig, numbers: int) -> None:
        super().__init__()
        cells = config.views * (config.height // CELL) * (config.width // CELL)
        self.cell = nn.Conv2d(config.numbers, CHANNELS, 3, padding=1)
        self.whole = nn.Sequential(
            nn.SiLU(), nn.Linear(CHANNELS * cells, WIDTH), nn.SiLU(), nn.Linear(WIDTH, numbers), nn.Tanh()
        )

    def forward(self, grid: Tensor) -> Tensor:
        """Residuals (B, R) of frames, from their quantised values (B, V, numbers, H/8, W/8)."""
        cells = self.cell(grid.flatten(0, 1))
        return self.whole(cells.unflatten(0, grid.shape[:2]).flatten(1)).float()
