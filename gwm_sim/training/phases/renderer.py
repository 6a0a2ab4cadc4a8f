"""Pictures of physical states: what the camera sees when robot and objects are where they are said to be."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from gwm_sim.model.latents import choose
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import Preset
from gwm_sim.training.dataset import TrainingData, WindowSampler
from gwm_sim.training.dataset.latents import Latents
from gwm_sim.training.distributed import drawn, mine
from gwm_sim.training.phases.phase import MISPLACED, RENDERS, Loss, WorldModelPhase, misplace

ALONE = 0.4  # share of the pictures that are rendered from the physical state alone
OWN_PICTURES = 4  # the renderer goes on from up to that many pictures of its own


class RendererPhase(WorldModelPhase):
    """The renderer, from the state alone or with the past picture in view: a real one, or one that it made itself."""

    name = "painter"
    rate = 1e-3
    learned = (RENDERS,)

    def __init__(self, model: WorldModel, data: TrainingData, codes: Latents, preset: Preset, seed: int) -> None:
        super().__init__(model, data, preset, seed, length=OWN_PICTURES + 2)
        self.codes = codes
        self.off = MISPLACED[model.config.dynamics.object_frame]

    def loss_on(self, windows: WindowSampler, generator: torch.Generator, step: int) -> Loss:
        dynamics, device, count = self.model.dynamics, self.model.device, step % (OWN_PICTURES + 1)
        rows = self.preset.windows_per_batch * self.preset.frames_per_window // 2
        first = mine(windows.draw(rows, generator))
        segment = self.data.batch(self.codes, first, count + 2)[0]
        segment = misplace(segment, generator, self.off).to(device)
        moments = [segment.crop(slice(t, t + 1)) for t in range(count + 2)]
        past, last = moments[0], moments[-1]
        with torch.no_grad():
            for moment in moments[1:-1]:
                codes = choose(dynamics.next_picture(moment, past)[:, 0], None)[:, None]
                past = moment._replace(codes=codes, previous_codes=past.codes)
        alone = drawn(torch.rand, (len(first), 1), generator=generator).to(device) < ALONE
        logits = dynamics.painter.render_mixed(dynamics.conditioning(last, past), past, alone)
        image = F.cross_entropy(logits.flatten(0, -2), last.codes.long().flatten())
        return image, {"image": image.detach()}
