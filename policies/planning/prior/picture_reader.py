"""Telemetry from a picture: how the robot stands in a goal image that nobody took telemetry with."""

import torch
from torch import Tensor, nn

from gwm_sim.model.layers import soft_argmax
from gwm_sim.model.state import PhysicalState
from gwm_sim.model.world_model import WorldModel

_CHANNELS, _MAPS = 96, 8


class PictureReader(nn.Module):
    """Reads the tokenizer's features: soft-argmaxes say where parts of the robot are."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        channels, columns = model.feature_channels, model.config.dynamics.telemetry
        self.look = nn.Sequential(
            nn.Conv2d(channels, _CHANNELS, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
            nn.SiLU(),
        )
        self.maps = nn.Conv2d(_CHANNELS, _MAPS, 1)
        self.out = nn.Sequential(nn.Linear(_MAPS * (_CHANNELS + 2), 256), nn.SiLU(), nn.Linear(256, columns))
        self.register_buffer("mean", model.statistics.telemetry_mean.clone())
        self.register_buffer("std", model.statistics.telemetry_std.clone())

    def forward(self, features: Tensor) -> Tensor:
        """Telemetry (B, P) from features (B, channels, H/8, W/8)."""
        seen = self.look(features)
        found = soft_argmax(seen, self.maps(seen))  # (B, maps, channels + 2)
        return self.mean + self.std * self.out(found.flatten(1))

    @torch.no_grad()
    def read(self, model: WorldModel, frames: Tensor, telemetry: Tensor | None = None) -> PhysicalState:
        """Telemetry (B, P), unless it is given, and object positions (B, K, 3) in frames (B, H, V*W, 3) uint8."""
        features = model.features(frames)
        telemetry = self(features) if telemetry is None else telemetry.to(model.device)
        return PhysicalState(telemetry, model.locate(features, telemetry))
