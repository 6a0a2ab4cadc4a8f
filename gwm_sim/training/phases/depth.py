"""The depth of what the main camera sees, from the codes of single frames, with the tokenizer as it is."""

from __future__ import annotations

import torch

from gwm_sim.data.episode_file import DEPTH_UNIT
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import Preset
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.dataset.latents import Latents
from gwm_sim.training.distributed import mine
from gwm_sim.training.phases.phase import Loss, WorldModelPhase


class DepthPhase(WorldModelPhase):
    """The depth head, on the frames of which depth was measured; it begins with their median."""

    name = "depth"
    rate = 1.5e-3
    learned = ("depth_head.",)

    def __init__(self, model: WorldModel, data: TrainingData, codes: Latents, preset: Preset, seed: int) -> None:
        super().__init__(model, data, preset, seed)
        assert model.depth_head is not None
        self.codes, self.head = codes, model.depth_head
        spared = data.validation()[data.episode_of(data.measured)]  # which measured frames are not learned from
        learned, spared = (torch.nonzero(which).flatten() for which in (~spared, spared))
        if not len(learned):
            raise ConfigError("depth was measured in validation episodes alone: collect more with --depth")
        self.windows = WindowSampler(learned, torch.ones(len(learned)))
        self.validation = WindowSampler(spared, torch.ones(len(spared))) if len(spared) else None
        middle = data.depth[torch.linspace(0, len(data.depth) - 1, 256).long()].float().median(dim=0).values
        self.head.background.copy_(middle.permute(2, 0, 1) * DEPTH_UNIT)

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        chosen = mine(windows.draw(self.preset.frames_per_batch, generator))
        codes = self.codes[self.data.measured[chosen]].to(self.model.device)
        depth = self.data.depth[chosen].to(self.model.device) * DEPTH_UNIT
        return self.head.loss(self.model.tokenizer.unpack(codes)[:, 0], depth)
