"""Telemetry from a picture: how the robot stands in a goal image that nobody took telemetry with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gwm_sim.model.dynamics import PhysicalState
from gwm_sim.model.world_model import WorldModel

_CHANNELS, _MAPS = 96, 8


class PictureReader(nn.Module):
    """Reads the tokenizer's features: spatial soft-argmaxes (Finn et al., 2016) say where parts of the robot are."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        channels, columns = model.tokenizer.channels, model.config.dynamics.telemetry
        self.look = nn.Sequential(
            nn.Conv2d(channels, _CHANNELS, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
            nn.SiLU(),
        )
        self.maps = nn.Conv2d(_CHANNELS, _MAPS, 1)
        self.out = nn.Sequential(nn.Linear(_MAPS * (_CHANNELS + 2), 256), nn.SiLU(), nn.Linear(256, columns))
        self.register_buffer("mean", model.dynamics.telemetry_mean.clone())
        self.register_buffer("std", model.dynamics.telemetry_std.clone())

    def forward(self, features: Tensor) -> Tensor:
        """Telemetry (B, P) from features (B, channels, H/8, W/8)."""
        seen = self.look(features)
        rows, columns = (torch.linspace(-1, 1, n, device=seen.device) for n in seen.shape[-2:])
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(seen), -1, -1, -1)
        share = self.maps(seen).flatten(2).softmax(dim=-1)  # (B, maps, cells)
        found = share @ torch.cat((seen, grid), dim=1).flatten(2).transpose(1, 2)  # (B, maps, channels + 2)
        return self.mean + self.std * self.out(found.flatten(1))

    @torch.no_grad()
    def read(self, model: WorldModel, frames: Tensor, telemetry: Tensor | None = None) -> PhysicalState:
        """Telemetry (B, P), unless it is given, and object positions (B, K, 3) in frames (B, H, V*W, 3) uint8."""
        features = model.tokenizer.features(frames.to(model.device))[:, 0]
        telemetry = self(features) if telemetry is None else telemetry.to(model.device)
        objects = telemetry.new_zeros(len(telemetry), 0, 3)
        if model.locator is not None:
            objects = model.locator(features, telemetry, model.dynamics)
        return PhysicalState(telemetry, objects)
