"""Worlds whose state is known: recurrent networks predict robot and objects from what they did.

The state is small and complete but for what no sensor says, such as how firmly a gripper presses: that is the memory's
part. The robot and every object have a memory of their own, and tell each other what they hold at every step; all
objects share one network, so what is learned about one is known about all. A step costs a few small matrix products
whatever the picture shows, and training goes through whole rollouts, so that an error is blamed on the step that made
it and not on those that only inherit it.

Objects are a set: any number up to a maximum, each there or absent, those of one kind exchangeable. Where they are is
known in metres, or in the image frame by column, row and apparent size; then points of the robot that meet objects are
found by learning in the place of the end-effector. A small residual goes along that stands for what neither robot nor
objects explain of the picture. Of no object at all, a robot and its residual are left.

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
from gwm_sim.model.residual import own_frame
from gwm_sim.model.state import NextFrame, Segment, Statistics
from gwm_sim.model.threads import threads_for, weights

OCTAVES = 5  # sine and cosine pairs per coordinate of an object position
RESIDUAL_CHANGE = 0.1  # usual change of a number of the residual, which lies in [-1, 1]


class ObjectDynamics(Dynamics):
    """A gated recurrent unit (Cho et al., 2014) for the robot and for each object, with messages between them."""

    def __init__(self, config: DynamicsConfig, statistics: Statistics) -> None:
        super().__init__(config, statistics)
        c, m = config, config.memory
        self.turn_along = c.turns and c.object_frame == "image"
        """Whether things meet the robot, and move, in a frame that turns with them: a push is alike however they
        lie."""
        known = 2 * c.telemetry + c.actions + 2 * len(c.commands) + max(1, 2 * c.properties) + 2 * c.of_scene
        if c.objects:
            offsets = 0 if c.pairs else 3 * (c.objects - 1)
            met = 3 * c.points if c.object_frame == "image" else len(c.effector)
            turned = 4 + (4 * c.points + 2) * self.turn_along if c.turns else 0
            place = 3 * (1 + 2 * OCTAVES) + 3 + met + offsets + c.gaps + turned
            self.object_in = reader(place + known, m)
            self.identity = nn.Parameter(torch.zeros(len(set(c.kinds)) or c.objects, m))
            self.object_cell = nn.GRUCell(m, m)
            self.object_norm = RMSNorm(m)
            self.object_tells = nn.Linear(2 * m, m)
        self.robot_in = reader(known + m, m)
        self.robot_cell = nn.GRUCell(m, m)
        self.robot_norm = RMSNorm(m)
        self.robot_tells = nn.Linear(2 * m, m)
        if c.objects:
            self.object_out = decider(4 * m, m)
            self.motion_out = begin_as_copy(nn.Linear(m, 4))
        self.robot_out = decider(3 * m, m)
        self.telemetry_out = begin_as_copy(linear(m, c.telemetry))
        self.chance = nn.Linear(c.noise, m, bias=False) if c.noise else None
        if self.chance is not None:
            nn.init.normal_(self.chance.weight, std=0.02)  # hardly any, to begin with
        self.object_pairs = reader(3 * (1 + 2 * OCTAVES), m) if c.pairs else None
        self.object_presence = nn.Linear(m, 1) if c.gaps else None
        self.residual_out = begin_as_copy(nn.Linear(m, c.of_scene)) if c.of_scene else None
        self.turn_out = begin_as_copy(nn.Linear(m, 2)) if c.turns else None
        self.kinds = list(c.kinds or range(c.objects))
        of_objects = c.objects and weights(
            *(self.object_in, self.object_cell, self.object_tells, self.object_out, self.motion_out)
        )
        of_robot = weights(self.robot_in, self.robot_cell, self.robot_tells, self.robot_out, self.telemetry_out)
        self.work = c.objects * of_objects + of_robot

    def blank_memory(self, rows: int) -> Tensor:
        """Memories of the robot and of each object, (B, 1 + K, memory)."""
        return torch.zeros(rows, 1 + self.config.objects, self.config.memory, device=self.telemetry_mean.device)

    def remember(self, past: Segment) -> Tensor:
        return self.advance(past, self.blank_memory(len(past.telemetry)))[1]

    def step(
        self, segment: Segment, memory: Tensor, age: Tensor, draw: bool = True, noise: Tensor | None = None
    ) -> tuple[NextFrame, Tensor]:
        made, memory = self.advance(segment, memory, noise=noise)
        if draw:
            with threads_for(len(memory) * self.work_of_picture):
                made = made._replace(logits=self.next_picture(made, segment))
        return made, memory

    def advance(
        self, segment: Segment, memory: Tensor, rest: bool = True, noise: Tensor | None = None
    ) -> tuple[NextFrame, Tensor]:
        """What follows each of some frames, without its picture.

        Args:
            segment: Frames and actions.
            memory: What is remembered of those before, (B, 1 + K, memory).
            rest: See `moved`.
            noise: What chance has it for the robot and each object, (B, T, 1 + K, noise), standard normal; None for the
                most likely future.

        Returns:
            The frames that follow, and the memory after the last one.
        """
        c = self.config
        known = self.known(segment)  # (B, T, features)
        chance = None if noise is None or self.chance is None else self.chance(noise.to(known.dtype))
        if c.objects:
            there = self.there(segment)
            seen = self.object_in(self.around(segment, known)) + self.identity[self.kinds]
            if self.object_pairs is not None:
                seen = seen + self.neighbours(segment.objects, there)
            if chance is not None:
                seen = seen + chance[:, :, 1:]
            held = recur(self.object_cell, seen, memory[:, 1:])  # (B, T, K, memory)
            objects = torch.cat((self.object_norm(held), seen), dim=-1)
            told = self.object_tells(objects)
            if there is not None:
                told = told * there[..., None]
        else:
            held, told = memory[:, None, 1:], known.new_zeros(*known.shape[:2], 0, c.memory)
        all_told = told.sum(dim=2)
        robot_seen = self.robot_in(torch.cat((known, all_told), dim=-1))
        if chance is not None:
            robot_seen = robot_seen + chance[:, :, 0]
        robot_held = recur(self.robot_cell, robot_seen, memory[:, 0])  # (B, T, memory)
        robot = torch.cat((self.robot_norm(robot_held), robot_seen), dim=-1)
        decided = self.robot_out(torch.cat((robot, all_told), dim=-1))
        out, presence = known.new_zeros(*told.shape[:3], 4), None
        changes = [] if self.residual_out is None else [self.residual_out(decided)]
        if c.objects:
            others = all_told[:, :, None] - told
            of_robot = self.robot_tells(robot)[:, :, None].expand_as(others)
            fate = self.object_out(torch.cat((objects, of_robot, others), dim=-1))
            out = self.motion_out(fate).float()
            presence = None if self.object_presence is None else self.object_presence(fate).float()[..., 0]
        if self.turn_out is not None:
            own = own_frame(self.turns(segment.residual))
            changes.append(in_picture(self.turn_out(fate).float(), own).flatten(2))
            if self.turn_along:
                out = torch.cat((in_picture(out[..., :2], own), out[..., 2:]), dim=-1)
        physical = self.moved(segment, self.telemetry_out(decided).float(), out[..., :3], rest)
        if rest and presence is not None:
            physical = physical._replace(objects=physical.objects.where(presence[..., None] > 0, torch.nan))
        change = torch.cat(changes, dim=-1).float() * RESIDUAL_CHANGE if changes else 0.0
        residual = (segment.residual + change).clamp(-1, 1)
        memory = torch.cat((robot_held[:, -1:], held[:, -1]), dim=1)
        spread = F.softplus(out[..., 3]) * self.objects_change
        return NextFrame(None, physical.telemetry, physical.objects, spread, residual, presence), memory

    def there(self, segment: Segment) -> Tensor | None:
        """Which objects are there, (B, T, K), None where none is ever absent."""
        return segment.objects[..., 0].isfinite().to(self.identity.dtype) if self.config.gaps else None

    def known(self, segment: Segment) -> Tensor:
        """What is known of each frame beside its objects, (B, T, features)."""
        physics = self.property_features(segment.properties)[:, None].expand(-1, segment.actions.shape[1], -1)
        known = [self.robot_features(segment).clamp(-10, 10), physics]
        if count := self.config.of_scene:
            now, before = segment.residual[..., :count], segment.previous_residual[..., :count]
            known += [now, (now - before) / RESIDUAL_CHANGE]
        return torch.cat(known, dim=-1)

    def around(self, segment: Segment, known: Tensor) -> Tensor:
        """What each object meets: its own features, and what is `known` of the frame, (B, T, K, features)."""
        place = self.object_features(segment)
        return torch.cat((place, known[:, :, None].expand(*place.shape[:3], -1)), dim=-1)

    def object_features(self, segment: Segment) -> Tensor:
        """Where each object is, how it last moved, where robot and other objects see it, (B, T, K, features)."""
        objects, before = segment.objects, segment.previous_objects
        if self.config.gaps:
            there, moved = objects.isfinite(), objects.isfinite() & before.isfinite()
            objects = objects.where(there, (self.objects_low + self.objects_high) / 2)
            before = before.where(moved, objects)
        unit = 2 * (objects - self.objects_low) / (self.objects_high - self.objects_low) - 1
        features = [fourier(unit, OCTAVES), (objects - before) / self.objects_change]
        if self.config.effector:
            features.append((objects - self.effector(segment.telemetry)) / (5 * self.objects_change))
        if self.config.object_frame == "image":
            away = objects[..., None, :] - self.robot_in_frame(segment.telemetry)[:, :, None]  # (B, T, K, points, 3)
            features.append(away.flatten(-2) / (5 * self.objects_change))
        if not self.config.pairs:
            others = (objects.roll(-k, dims=2) for k in range(1, self.config.objects))
            features += [(other - objects) / (5 * self.objects_change) for other in others]
        if self.config.gaps:
            features.append(there[..., :1].to(objects.dtype))
        if self.config.turns:
            now, last = self.turns(segment.residual), self.turns(segment.previous_residual)
            features += [now, (now - last) / RESIDUAL_CHANGE]
        if self.turn_along:
            meets = before[..., None, :] - self.robot_in_frame(segment.previous_telemetry)[:, :, None]
            offsets = torch.cat((away / 5, away - meets, (objects - before)[..., None, :]), dim=-2)[..., :2]
            features.append((offsets @ own_frame(now).mT / self.objects_change).flatten(-2))
        return torch.cat([f.clamp(-10, 10) for f in features], dim=-1)

    def turns(self, residual: Tensor) -> Tensor:
        """How each thing is turned, (B, T, K, 2), cosine and sine, of residuals (B, T, R)."""
        return residual[..., self.config.of_scene :].unflatten(-1, (-1, 2))

    def neighbours(self, objects: Tensor, there: Tensor | None) -> Tensor:
        """What each object sees of all others, (B, T, K, memory): their offsets, one by one, in any order."""
        assert self.object_pairs is not None
        offset = (objects[:, :, None] - objects[:, :, :, None]) / (self.objects_high - self.objects_low)
        seen = self.object_pairs(fourier(offset.nan_to_num(0.0), OCTAVES))  # (B, T, K, K, memory)
        apart = ~torch.eye(objects.shape[2], dtype=torch.bool, device=objects.device)
        counts = apart.to(seen.dtype) if there is None else apart * there[:, :, None]
        return (seen * counts[..., None]).sum(dim=3)


def in_picture(offsets: Tensor, own: Tensor) -> Tensor:
    """Offsets (B, T, K, 2) in frames that turn with things, of which matrices (B, T, K, 2, 2) are those into them."""
    return (offsets[..., None, :] @ own)[..., 0, :]


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
