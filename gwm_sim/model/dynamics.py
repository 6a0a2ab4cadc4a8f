"""Latents, telemetry and actions -> the next frame's latents, telemetry and object positions.

First the physical state, then the picture: telemetry and object positions of the next frame are predicted first, and a
renderer draws the next latents for them (`rendering/renderer.py`); it also learns to render from the state alone what
went on while nobody watched. Or pictures are drawn from a reference, by a network of its own.

How the physical state is predicted is a choice. Where robot and things are all there is to know, but for a small
residual, a recurrent network goes on from them (`object_dynamics.py`): what happens does not depend on the picture, so
a rollout that nobody watches is not drawn, at a small part of the cost, and goes the same way as one that is. Where
only the picture is to say what is there, a transformer reads all past pictures (`video_dynamics.py`).

What is known exactly is not predicted: a commanded pose is integrated by the controller, or told as a target
(`Command`), so its next value is computed and given as an input, absolute and relative to the measured pose. The arm
therefore cannot drift.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gwm_sim.model.config import CELL, DynamicsConfig
from gwm_sim.model.layers import linear
from gwm_sim.model.rendering.renderer import Conditioning, Renderer
from gwm_sim.model.state import NextFrame, PhysicalState, Segment, Statistics
from gwm_sim.model.threads import weights

IMAGINED = 0.5  # corruption level that labels the model's own predictions
REST = 0.08  # an object of which less motion than this is predicted, in units of the usual one, stays where it is
TELEMETRY_REST = 0.03  # the same for telemetry
FAR = 10  # usual changes of the telemetry, beyond which it does not matter how far a target is


class Dynamics(nn.Module, ABC):
    """Predict the next frame from the past ones: what all kinds of dynamics share, and the renderer."""

    telemetry_mean: Tensor
    telemetry_std: Tensor
    telemetry_change: Tensor
    telemetry_low: Tensor
    telemetry_high: Tensor
    objects_low: Tensor
    objects_high: Tensor
    objects_change: Tensor
    properties_low: Tensor
    properties_high: Tensor
    command_telemetry: Tensor
    command_action: Tensor
    command_measured: Tensor
    command_scale: Tensor
    command_absolute: Tensor
    reported_commands: Tensor
    reported_telemetry: Tensor
    action_size: Tensor
    targets: bool  # whether any command is absolute
    work: int  # products of one step of one row without its picture, see `threads.py`

    def __init__(self, config: DynamicsConfig, statistics: Statistics) -> None:
        super().__init__()
        self.config = config
        for name, value in statistics._asdict().items():
            self.register_buffer(name, value.float())
        for name in ("telemetry", "action", "measured", "scale"):
            kind = torch.float32 if name == "scale" else torch.long
            self.register_buffer(
                f"command_{name}", torch.tensor([getattr(c, name) for c in config.commands], dtype=kind)
            )
        # Buffers of shipped models stay as they were: these follow from the configuration.
        absolute = torch.tensor([c.absolute for c in config.commands], dtype=torch.bool)
        self.targets = bool(absolute.any())
        self.register_buffer("command_absolute", absolute, persistent=False)
        reported = [(i, c.telemetry) for i, c in enumerate(config.commands) if c.reported]
        for name, place in (("commands", 0), ("telemetry", 1)):
            index = torch.tensor([pair[place] for pair in reported], dtype=torch.long)
            self.register_buffer(f"reported_{name}", index, persistent=False)
        # What is measured goes a share of the way to its target in a step: learned, as is what differs from that.
        self.telemetry_follows = nn.Parameter(torch.zeros(len(config.commands))) if self.targets else None
        size = torch.tensor(config.action_size) if config.action_size else torch.ones(config.actions)
        self.register_buffer("action_size", size, persistent=False)

        self.views = max(1, len(config.view) // 12)
        self.robot_points = pointer(config.telemetry, self.views * config.points) if config.points else None
        if not config.reference:
            self.painter = Renderer(config)
            self.work_of_picture = weights(self.painter) * (config.tokens + 1)

    # --- what a kind of dynamics has to say ---------------------------------------------------------------------------

    @abstractmethod
    def blank_memory(self, rows: int) -> Tensor:
        """Memory of worlds of which no frame was seen, (B, ...)."""

    @abstractmethod
    def remember(self, past: Segment) -> Tensor:
        """Memory of worlds after whole sequences, (B, ...)."""

    @abstractmethod
    def step(
        self, segment: Segment, memory: Tensor, age: Tensor, draw: bool = True, noise: Tensor | None = None
    ) -> tuple[NextFrame, Tensor]:
        """Predict the successor of one frame (T = 1) in a rollout.

        Args:
            segment: The present frame and action.
            memory: What is remembered of the frames before, (B, ...); may be written over.
            age: How many these were, (B,).
            draw: Whether the picture is wanted.
            noise: What chance has it, (B, 1, 1 + K, noise); None for the most likely future.

        Returns:
            The prediction, and the memory with the present frame in it.
        """

    # --- the physical state -------------------------------------------------------------------------------------------

    def next_commands(self, telemetry: Tensor, actions: Tensor) -> Tensor:
        """Commanded quantities after the action, (..., number of commands): the controller's own arithmetic."""
        index = self.command_telemetry
        sent = self.command_scale * actions[..., self.command_action]
        moved = telemetry[..., index] + sent
        moved = torch.minimum(torch.maximum(moved, self.telemetry_low[index]), self.telemetry_high[index])
        return torch.where(self.command_absolute, sent, moved) if self.targets else moved

    def moved(self, segment: Segment, change: Tensor, motion: Tensor, rest: bool) -> PhysicalState:
        """The physical state after a change of the telemetry (B, T, P) and a motion of the objects (B, T, K, 3), both
        in units of the usual one; with `rest`, as in a rollout, what hardly moves stays where it is; what is learned
        from has to move."""
        if rest:
            change = change * (change.abs() > TELEMETRY_REST)
            motion = motion * (motion.norm(dim=-1, keepdim=True) > REST)
        telemetry = segment.telemetry + change * self.telemetry_change
        commands = self.next_commands(segment.telemetry, segment.actions)
        if self.telemetry_follows is not None:
            share = self.telemetry_follows.sigmoid() * self.command_absolute
            way = share * (commands - segment.telemetry[..., self.command_measured])
            telemetry = telemetry.index_add(-1, self.command_measured, way)
        telemetry = telemetry.index_copy(-1, self.reported_telemetry, commands[..., self.reported_commands])
        telemetry = torch.minimum(torch.maximum(telemetry, self.telemetry_low), self.telemetry_high)
        return PhysicalState(telemetry, segment.objects + motion * self.objects_change)

    # --- the picture --------------------------------------------------------------------------------------------------

    def next_picture(self, made: PhysicalState | NextFrame | Segment, segment: Segment) -> Tensor:
        """Logits (B, T, N, M, L) of the picture of a state, with the past one of `segment` in view."""
        return self.painter.render(self.painter.embed(segment), self.conditioning(made, segment), segment)

    def conditioning(
        self, physical: PhysicalState | NextFrame | Segment, before: PhysicalState | Segment
    ) -> Conditioning:
        """What there is to draw: a physical state as it is, and as it differs from the one `before`."""
        robot = self.telemetry_features(physical.telemetry, before.telemetry)
        if not self.config.objects:
            return Conditioning(robot, robot[..., :0, None, None])
        mount, mount_before = self.effector(physical.telemetry), self.effector(before.telemetry)
        things = torch.cat((physical.objects, mount), dim=2)
        things_before = torch.cat((before.objects, mount_before), dim=2)
        middle = (self.objects_low + self.objects_high) / 2
        return Conditioning(robot, self.painter.places(things, things_before, mount, mount_before, middle))

    def points(self, telemetry: Tensor) -> Tensor:
        """Points of the robot in the picture of each camera, (..., V, points, 2), column and row [px]."""
        assert self.robot_points is not None
        place = self.robot_points((telemetry - self.telemetry_mean) / self.telemetry_std).float()
        rows, columns = self.config.grid
        return (place.unflatten(-1, (self.views, -1, 2)) + 1) * place.new_tensor([CELL * columns, CELL * rows])

    def robot_in_frame(self, telemetry: Tensor) -> Tensor:
        """What things of the image frame meet of the robot, (B, T, points, 3): its points in the main view, of the
        middle size of things."""
        place = self.points(telemetry)[..., 0, :, :]
        size = (self.objects_low + self.objects_high)[2] / 2
        return torch.cat((place, size.expand_as(place[..., :1])), dim=-1)

    def effector(self, telemetry: Tensor) -> Tensor:
        """Position of the end-effector (B, T, 1, 3) [m], (B, T, 0, 3) where it is not known."""
        index = list(self.config.effector)
        if not index:
            return telemetry.new_zeros(*telemetry.shape[:2], 0, 3)
        return torch.stack([telemetry[..., i] for i in index], dim=-1)[..., None, :]

    # --- features -----------------------------------------------------------------------------------------------------

    def telemetry_features(self, telemetry: Tensor, before: Tensor) -> Tensor:
        """Telemetry and its change since the frame before, in their usual sizes, (B, T, 2P)."""
        level = (telemetry - self.telemetry_mean) / self.telemetry_std
        return torch.cat((level, (telemetry - before) / self.telemetry_change), dim=-1)

    def robot_features(self, segment: Segment) -> Tensor:
        """Telemetry, its last change, the action in its size, and where the action sends the commanded quantities."""
        commands = self.next_commands(segment.telemetry, segment.actions)
        index = self.command_telemetry
        return torch.cat(
            (
                self.telemetry_features(segment.telemetry, segment.previous_telemetry),
                segment.actions / self.action_size,
                (commands - self.telemetry_mean[index]) / self.telemetry_std[index],
                self.distances(commands, segment.telemetry),
            ),
            dim=-1,
        )

    def distances(self, commands: Tensor, telemetry: Tensor) -> Tensor:
        """How far each commanded quantity is from what is measured: in units of the action that is integrated, or in
        usual changes of the telemetry that follows a target."""
        away = commands - telemetry[..., self.command_measured]
        distances = away / self.command_scale
        if not self.targets:
            return distances
        usual = (away / self.telemetry_change[self.command_measured]).clamp(-FAR, FAR)
        return torch.where(self.command_absolute, usual, distances)

    def property_features(self, properties: Tensor) -> Tensor:
        """Properties scaled to [-1, 1] beside a flag for each that is known, (B, 2Q)."""
        if not self.config.properties:
            return properties.new_zeros(properties.shape[0], 1)
        known = properties.isfinite()
        span = (self.properties_high - self.properties_low).clamp_min(1e-6)
        unit = (2 * (properties - self.properties_low) / span - 1).clamp(-1, 1)  # no data beyond: the nearest known
        return torch.cat((torch.where(known, unit, 0.0), known.float()), dim=-1)


def pointer(telemetry: int, points: int) -> nn.Sequential:
    """From telemetry to so many points, two numbers each."""
    return nn.Sequential(linear(telemetry, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2 * points))
