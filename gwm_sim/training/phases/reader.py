"""What the robot reports in single frames, with the tokenizer as it is."""

from __future__ import annotations

import torch
from torch import Tensor

from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import Preset
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.distributed import mine
from gwm_sim.training.encoding import ENCODED_AT_ONCE
from gwm_sim.training.fitting.exemplars import evenly
from gwm_sim.training.phases.phase import Loss, WorldModelPhase

PIXELS = 4000 * 64 * 64  # that are looked at: 4,000 frames of 64 pixels, fewer of larger ones


class ReaderPhase(WorldModelPhase):
    """The picture reader alone, on frames spread over the data whose features are kept: they take most of the time."""

    name = "reader"
    rate = 1e-3
    learned = ("picture_reader.",)

    def __init__(self, model: WorldModel, data: TrainingData, preset: Preset, seed: int) -> None:
        super().__init__(model, data, preset, seed)
        most = PIXELS // (model.config.tokenizer.height * model.config.tokenizer.width)
        kinds = [windows for windows in (self.windows, self.validation) if windows is not None]
        self.frames = [evenly(windows.first, most) for windows in kinds]
        self.features = [self.look(frames) for frames in self.frames]

    @torch.no_grad()
    def look(self, frames: Tensor) -> Tensor:
        """Features of frames (N,), (N, channels, H/8, W/8), as half floats."""
        tokenizer, width = self.model.tokenizer, self.model.config.tokenizer.width
        parts = [self.data.frames[index][:, :, :width] for index in frames.split(ENCODED_AT_ONCE)]
        return torch.cat([tokenizer.features(main.to(self.model.device))[:, 0].half() for main in parts])

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        validation = windows is self.validation
        frames, features = self.frames[validation], self.features[validation]
        chosen = mine(torch.randint(len(frames), (self.preset.postures_per_batch,), generator=generator))
        reader, device = self.model.picture_reader, self.model.device
        assert reader is not None
        return reader.loss(features[chosen.to(device)].float(), self.data.telemetry[frames[chosen]].to(device))
