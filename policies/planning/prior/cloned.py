"""A policy cloned from the recordings of a world, that goes to any goal.

Goal-conditioned behaviour cloning with hindsight: whatever a recording reached later was a goal of what it did before
(Ding et al., 2019, https://arxiv.org/abs/1906.05838). It reads robot and things as the world model does, needs no
demonstrations that succeed, and learns by the mean absolute error of actions in a minute or less.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gwm_sim.envs.learned.goals import turns_of
from gwm_sim.files import replacing
from gwm_sim.model.state import Rollout, WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.progress import progress

WIDTH: Final = 256
BATCH: Final = 512
UPDATES: Final = 6000
RATE: Final = 1e-3
FARTHEST: Final = 50  # steps that a goal is away, at most
UNSAID: Final = 0.1  # share of the goals that do not say how the robot should stand
CLOSE: Final = 5.0  # times as fine as offsets from the goal are, those that saturate


class ClonedPolicy(nn.Module):
    """From states and goals to actions; both are of N numbers, see `state_of` and `goal_of`."""

    mean: Tensor
    std: Tensor
    middle: Tensor
    reach: Tensor

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        control, dynamics = model.config.control, model.config.dynamics
        numbers = dynamics.telemetry + 5 * dynamics.objects
        low, high = (torch.tensor(side) for side in (control.action_low, control.action_high))
        self.reported = dynamics.telemetry
        self.layers = nn.Sequential(
            *(nn.Linear(4 * numbers, WIDTH), nn.LayerNorm(WIDTH), nn.SiLU()),
            *(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.SiLU()),
            nn.Linear(WIDTH, len(low)),
        )
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("std", torch.ones(numbers))
        self.register_buffer("middle", (low + high) / 2)
        self.register_buffer("reach", (high - low) / 2)

    def forward(self, states: Tensor, goals: Tensor) -> Tensor:
        """Actions (..., A) in states (..., N) toward goals (..., N), NaN where these ask for nothing."""
        states, goals = states.nan_to_num(0.0), torch.where(goals.isfinite(), goals, states).nan_to_num(0.0)
        level, asked = (((x - self.mean) / self.std).clamp(-10, 10) for x in (states, goals))
        offset = asked - level
        unit = self.layers(torch.cat((level, asked, offset, (CLOSE * offset).tanh()), dim=-1)).tanh()
        return self.middle + unit * self.reach

    @classmethod
    def learned(cls, model: WorldModel, states: Mapping[str, Tensor], seed: int = 0) -> ClonedPolicy:
        """Learn from what `gwm train` keeps of recordings, see `Examples`."""
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            torch.manual_seed(seed)
            policy = cls(model)
            policy.learn(states, torch.Generator().manual_seed(seed))
        return policy.to(model.device).eval()

    @classmethod
    def beside(cls, model: WorldModel, path: Path, states: Mapping[str, Tensor]) -> ClonedPolicy:
        """Read what was learned from these states, or learn it and keep it there, where that may be written."""
        key = {"states": digest_of(states)}
        if path.exists():
            with contextlib.suppress(OSError, RuntimeError, SafetensorError), safe_open(path, framework="pt") as file:
                if file.metadata() == key:
                    policy = cls(model)
                    policy.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
                    return policy.to(model.device).eval()
        policy = cls.learned(model, states)
        with contextlib.suppress(OSError), replacing(path) as temporary:
            save_file({name: value.cpu().contiguous() for name, value in policy.state_dict().items()}, temporary, key)
        return policy

    def learn(self, states: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Learn, in place."""
        flat = torch.cat([states[name].flatten(1) for name in ("telemetry", "objects", "turns")], dim=1)
        known = flat.nan_to_num(0.0)
        self.mean.copy_(known.mean(dim=0))
        self.std.copy_(known.std(dim=0).clamp_min(1e-4))
        last = last_frames(states["starts"], len(flat))
        usable = torch.nonzero(torch.arange(len(flat)) < last).flatten()
        optimiser = torch.optim.AdamW(self.parameters(), RATE, weight_decay=0.01)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, UPDATES)
        with progress("clone a policy") as show:
            for step in range(UPDATES):
                now = usable[torch.randint(len(usable), (BATCH,), generator=generator)]
                ahead = 1 + (FARTHEST * torch.rand(BATCH, generator=generator)).long()
                goals = flat[torch.minimum(now + ahead, last[now])]
                goals[torch.rand(BATCH, generator=generator) < UNSAID, : self.reported] = torch.nan
                error = ((self(flat[now], goals) - states["actions"][now]) / self.reach).abs().mean()
                optimiser.zero_grad(set_to_none=True)
                error.backward()
                optimiser.step()
                rates.step()
                if step % 100 == 99:
                    show((step + 1) / UPDATES, f"error {float(error.detach()):.3f}")


def state_of(model: WorldModel, world: WorldState | Rollout) -> Tensor:
    """Robot and things of worlds, and how these are turned, as the policy takes them, (..., N)."""
    things = world.objects, turns_of(model, world.residual)
    return torch.cat((world.telemetry, *(x.flatten(-2) for x in things)), dim=-1)


def goal_of(model: WorldModel, goal: Goal) -> Tensor:
    """What a goal asks for, (B, N) of its rows, NaN where it asks for nothing."""
    c = model.config.dynamics
    nothing = torch.full((goal.rows, c.telemetry + 5 * c.objects), torch.nan, device=model.device)
    telemetry, objects, turns = nothing.split((c.telemetry, 3 * c.objects, 2 * c.objects), dim=1)
    asked = (goal.telemetry, telemetry), (goal.objects, objects), (goal.turns, turns)
    parts = [(unasked if given is None else given.flatten(1)).expand(goal.rows, -1) for given, unasked in asked]
    return torch.cat(parts, dim=1)


def digest_of(states: Mapping[str, Tensor]) -> str:
    """Which states these are."""
    content = hashlib.sha256()
    for name in sorted(states):
        content.update(name.encode() + states[name].contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


def last_frames(starts: Tensor, count: int) -> Tensor:
    """The last frame of the episode to which each of so many frames belongs, (count,); episodes begin at `starts`."""
    frames = torch.arange(count)
    last = torch.cat((starts[1:] - 1, frames[-1:]))
    return last[torch.searchsorted(starts, frames, right=True) - 1]
