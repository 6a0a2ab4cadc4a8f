"""Worlds whose objects are tracked: recurrent networks predict robot and objects from what they did.

The state is small and complete but for what no sensor says, such as how firmly a gripper presses: that is the memory's
part. The robot and every object have a memory of their own, and tell each other what they hold at every step; all
objects share one network, so what is learned about one is known about all. A step costs a few small matrix products
whatever the picture shows, and training goes through whole rollouts, so that an error is blamed on the step that made
it and not on those that only inherit it.

Where a future is open, such as that of a thing set down on an edge, a model may be given random numbers at every step
that choose one (functional generative networks, Alet et al., 2025): one network, whose futures are as many as there are
seeds. Without them it predicts the most likely one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.config import DynamicsConfig
from gwm_sim.model.dynamics import Dynamics
from gwm_sim.model.layers import RMSNorm, begin_as_copy, fourier, linear
from gwm_sim.model.state import NextFrame, PhysicalState, Segment, Statistics
from gwm_sim.model.threads import threads_for, weights

OCTAVES = 5  # sine and cosine pairs per coordinate of an object position


class ObjectDynamics(Dynamics):
    """A gated recurrent unit (Cho et al., 2014) for the robot and for each object, with messages between them."""

    def __init__(self, config: DynamicsConfig, statistics: Statistics) -> None:
        super().__init__(config, statistics)
        c, m = config, config.memory
        known = 2 * c.telemetry + c.actions + 2 * len(c.commands) + max(1, 2 * c.properties)
        place = 3 * (1 + 2 * OCTAVES) + 3 + len(c.effector) + 3 * (c.objects - 1)
        self.object_in = reader(place + known, m)
        self.identity = nn.Parameter(torch.zeros(c.objects, m))
        self.object_cell = nn.GRUCell(m, m)
        self.object_norm = RMSNorm(m)
        self.object_tells = nn.Linear(2 * m, m)
        self.robot_in = reader(known + m, m)
        self.robot_cell = nn.GRUCell(m, m)
        self.robot_norm = RMSNorm(m)
        self.robot_tells = nn.Linear(2 * m, m)
        self.object_out = decider(4 * m, m)
        self.motion_out = begin_as_copy(nn.Linear(m, 4))
        self.robot_out = decider(3 * m, m)
        self.telemetry_out = begin_as_copy(linear(m, c.telemetry))
        self.chance = nn.Linear(c.noise, m, bias=False) if c.noise else None
        if self.chance is not None:
            nn.init.normal_(self.chance.weight, std=0.02)  # hardly any, to begin with
        of_objects = weights(self.object_in, self.object_cell, self.object_tells, self.object_out, self.motion_out)
        of_robot = weights(self.robot_in, self.robot_cell, self.robot_tells, self.robot_out, self.telemetry_out)
        self.work = c.objects * of_objects + of_robot

    def blank_memory(self, rows: int) -> Tensor:
        """Memories of the robot and of each object, (B, 1 + K, memory)."""
        return torch.zeros(rows, 1 + self.config.objects, self.config.memory, device=self.telemetry_mean.device)

    def remember(self, past: Segment) -> Tensor:
        return self.advance(past, self.blank_memory(len(past.telemetry)))[2]

    def step(
        self, segment: Segment, memory: Tensor, age: Tensor, draw: bool = True, noise: Tensor | None = None
    ) -> tuple[NextFrame, Tensor]:
        physical, spread, memory = self.advance(segment, memory, noise=noise)
        logits = None
        if draw:
            with threads_for(len(memory) * self.work_of_picture):
                logits = self.next_picture(physical, segment)
        return NextFrame(logits, physical.telemetry, physical.objects, spread), memory

    def advance(
        self, segment: Segment, memory: Tensor, rest: bool = True, noise: Tensor | None = None
    ) -> tuple[PhysicalState, Tensor, Tensor]:
        """The physical state that follows each of some frames.

        Args:
            segment: Frames and actions.
            memory: What is remembered of those before, (B, 1 + K, memory).
            rest: See `moved`.
            noise: What chance has it for the robot and each object, (B, T, 1 + K, noise), standard normal; None for the
                most likely future.

        Returns:
            The physical states, the spread of their objects (B, T, K) [m], and the memory after the last frame.
        """
        known = self.known(segment)  # (B, T, features)
        place = self.object_features(segment)
        around = known[:, :, None].expand(*place.shape[:3], -1)
        seen = self.object_in(torch.cat((place, around), dim=-1)) + self.identity
        chance = None if noise is None or self.chance is None else self.chance(noise.to(seen.dtype))
        if chance is not None:
            seen = seen + chance[:, :, 1:]
        held = recur(self.object_cell, seen, memory[:, 1:])  # (B, T, K, memory)
        objects = torch.cat((self.object_norm(held), seen), dim=-1)
        told = self.object_tells(objects)
        all_told = told.sum(dim=2)
        robot_seen = self.robot_in(torch.cat((known, all_told), dim=-1))
        if chance is not None:
            robot_seen = robot_seen + chance[:, :, 0]
        robot_held = recur(self.robot_cell, robot_seen, memory[:, 0])  # (B, T, memory)
        robot = torch.cat((self.robot_norm(robot_held), robot_seen), dim=-1)

        change = self.telemetry_out(self.robot_out(torch.cat((robot, all_told), dim=-1))).float()
        others = all_told[:, :, None] - told
        of_robot = self.robot_tells(robot)[:, :, None].expand_as(others)
        out = self.motion_out(self.object_out(torch.cat((objects, of_robot, others), dim=-1))).float()
        physical = self.moved(segment, change, out[..., :3], rest)
        memory = torch.cat((robot_held[:, -1:], held[:, -1]), dim=1)
        return physical, F.softplus(out[..., 3]) * self.objects_change, memory

    def known(self, segment: Segment) -> Tensor:
        """What is known of each frame beside its objects, (B, T, features)."""
        physics = self.property_features(segment.properties)[:, None].expand(-1, segment.actions.shape[1], -1)
        return torch.cat((self.robot_features(segment).clamp(-10, 10), physics), dim=-1)

    def object_features(self, segment: Segment) -> Tensor:
        """Where each object is, how it last moved, where end-effector and other objects see it, (B, T, K, features)."""
        objects = segment.objects
        unit = 2 * (objects - self.objects_low) / (self.objects_high - self.objects_low) - 1
        features = [fourier(unit, OCTAVES), (objects - segment.previous_objects) / self.objects_change]
        if self.config.effector:
            features.append((objects - self.effector(segment.telemetry)) / (5 * self.objects_change))
        others = (objects.roll(-k, dims=2) for k in range(1, self.config.objects))
        features += [(other - objects) / (5 * self.objects_change) for other in others]
        return torch.cat([f.clamp(-10, 10) for f in features], dim=-1)


def reader(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), RMSNorm(width))


def decider(inputs: int, width: int) -> nn.Sequential:
    first, second = nn.Linear(inputs, width), nn.Linear(width, width)
    return nn.Sequential(first, nn.SiLU(), RMSNorm(width), second, nn.SiLU(), RMSNorm(width))


def recur(cell: nn.GRUCell, seen: Tensor, memory: Tensor) -> Tensor:
    """Memories (B, T, ..., D) after each of the inputs (B, T, ..., D), beginning from `memory` (B, ..., D)."""
    shape, held = memory.shape, []
    memory = memory.flatten(0, -2)
    for x in seen.unbind(dim=1):
        memory = cell(x.flatten(0, -2), memory)
        held.append(memory.view(shape))
    return torch.stack(held, dim=1)
