"""A policy cloned from recordings that goes to any goal: the prior of a search, and a planner of its own.

Goal-conditioned behaviour cloning with hindsight (Ding et al., 2019; Lynch et al., 2019): whatever a recording reached
later was a goal of what it did before. It predicts the next actions as a whole (action chunks, Zhao et al., 2023), and
how many steps the goal is away, a learned temporal distance. It sees what the world model reads from frames, telemetry
and object positions, so it runs on real and on imagined states alike.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.data.schema import Schema
from gwm_sim.model.state import PhysicalState
from gwm_sim.model.world_model import WorldModel

FARTHEST = 40.0  # steps; goals farther away are said to be as far as this


@dataclass(frozen=True)
class GoalPolicyConfig:
    """Shape of a goal policy."""

    chunk: int = 15
    """Actions that are predicted at once."""
    width: int = 384
    """Channels."""
    layers: int = 3
    """Hidden layers."""


def posture(schema: Schema) -> list[int]:
    """Columns of the telemetry that say how the robot stands to its objects: end-effector and gripper, if known."""
    if not schema.effector:
        return list(range(len(schema.telemetry_names)))
    return [*schema.effector, *schema.gripper]


class Proposal(NamedTuple):
    """What a goal policy says."""

    actions: Tensor  # (..., chunk, A)
    steps: Tensor  # (...), how far the goal is away


class GoalPolicy(nn.Module):
    """From present and goal to the next actions, and the number of steps between them."""

    def __init__(self, config: GoalPolicyConfig, model: WorldModel) -> None:
        super().__init__()
        self.config = config
        schema, statistics = model.config.schema, model.statistics
        self.columns = posture(schema)
        self.commands = [command for command in model.config.dynamics.commands if command.reported]
        self.effector = list(model.config.dynamics.effector)
        self.register_buffer("low", torch.tensor(schema.action_low))
        self.register_buffer("high", torch.tensor(schema.action_high))
        for name in ("telemetry_mean", "telemetry_std", "telemetry_change", "objects_change"):
            self.register_buffer(name, getattr(statistics, name).clone())
        self.register_buffer("command_scale", torch.tensor([c.scale for c in self.commands], dtype=torch.float32))
        k, g = model.config.dynamics.objects, len(self.columns)
        pairs = 3 * k * (k - 1) // 2
        relative = 3 * k * bool(self.effector)
        inputs = 2 * g + len(self.commands) + 2 * (g + 3 * k + 2 * relative + pairs)
        layers: list[nn.Module] = []
        for i in range(config.layers):
            layers += [nn.Linear(config.width if i else inputs, config.width), nn.LayerNorm(config.width), nn.SiLU()]
        self.trunk = nn.Sequential(*layers)
        self.act = nn.Linear(config.width, config.chunk * len(schema.action_names))
        self.count = nn.Linear(config.width, 1)

    telemetry_mean: Tensor
    telemetry_std: Tensor
    telemetry_change: Tensor
    objects_change: Tensor
    command_scale: Tensor
    low: Tensor
    high: Tensor

    def forward(self, now: PhysicalState, before: Tensor, goal: PhysicalState) -> Proposal:
        """Propose actions.

        Args:
            now: Telemetry (..., P) and object positions (..., K, 3) of the present.
            before: Telemetry one step ago, (..., P).
            goal: The same of the goal; NaN where it does not matter.
        """
        x = self.trunk(self.features(now, before, goal))
        unit = self.act(x).unflatten(-1, (self.config.chunk, -1)).tanh()
        actions = self.low + (unit + 1) / 2 * (self.high - self.low)
        return Proposal(actions, F.softplus(self.count(x).squeeze(-1)) * 10)

    def features(self, now: PhysicalState, before: Tensor, goal: PhysicalState) -> Tensor:
        """Where everything is, where it should be, and where the effector sees it: coarse, and fine close by."""
        columns = self.columns
        stance, asked = now.telemetry[..., columns], goal.telemetry[..., columns]
        wanted = torch.where(asked.isnan(), stance, asked)
        places = torch.where(goal.objects.isnan(), now.objects, goal.objects)
        level = (stance - self.telemetry_mean[columns]) / self.telemetry_std[columns]
        change = (stance - before[..., columns]) / self.telemetry_change[columns]
        ordered = [
            (now.telemetry[..., c.telemetry] - now.telemetry[..., c.measured]) / self.command_scale[i]
            for i, c in enumerate(self.commands)
        ]
        offsets = [((wanted - stance) / self.telemetry_change[columns])]
        spatial = [places - now.objects]
        if self.effector:
            effector = now.telemetry[..., None, self.effector]
            end = goal.telemetry[..., self.effector]
            arrival = torch.where(end.isnan(), effector[..., 0, :], end)
            spatial += [now.objects - effector, places - arrival[..., None, :]]
        k = now.objects.shape[-2]
        spatial += [now.objects[..., i : i + 1, :] - now.objects[..., j : j + 1, :] for i in range(k) for j in range(i)]
        offsets += [x.flatten(-2) / (2 * self.objects_change) for x in spatial if x.shape[-2]]
        offset = torch.cat(offsets, dim=-1)
        exact = torch.stack(ordered, dim=-1) if ordered else stance[..., :0]
        return torch.cat((level, change, exact, offset / 8, offset.tanh()), dim=-1).clamp(-10, 10)

    def loss(
        self, now: PhysicalState, before: Tensor, goal: PhysicalState, actions: Tensor, steps: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean absolute errors of actions (B, chunk, A), in halves of the range, and of log-steps (B,)."""
        proposal = self(now, before, goal)
        half = (self.high - self.low) / 2
        acting = ((proposal.actions - actions) / half).abs().mean()
        counting = (proposal.steps.log1p() - steps.clamp_max(FARTHEST).log1p()).abs().mean()
        return acting, counting
