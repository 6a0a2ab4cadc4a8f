"""States of recordings that go up or down all the time, for policies that are cloned from them."""

import torch
from torch import Tensor

from gwm_sim.model.world_model import WorldModel


def recorded_ways(model: WorldModel, episodes: int = 40, frames: int = 20) -> dict[str, Tensor]:
    """In each recording the first action is 1 or -1, and the first number of the telemetry follows."""
    c, generator = model.config.dynamics, torch.Generator().manual_seed(0)
    ways = torch.randint(0, 2, (episodes,), generator=generator) * 2.0 - 1
    telemetry = torch.randn(episodes, frames, c.telemetry, generator=generator)
    telemetry[..., 0] = ways[:, None] * torch.arange(frames) / frames
    actions = torch.zeros(episodes, frames, c.actions)
    actions[..., 0] = ways[:, None]
    states = {"telemetry": telemetry.flatten(0, 1), "actions": actions.flatten(0, 1)}
    objects = torch.randn(episodes * frames, c.objects, 3, generator=generator)
    turns = torch.zeros(episodes * frames, c.objects, 2)
    return states | {"objects": objects, "turns": turns, "starts": torch.arange(episodes) * frames}
