"""Latents, telemetry and actions -> the next frame's latents, telemetry and object positions.

First the body, then the picture: telemetry and object positions of the next frame are predicted first, and a painter
draws the next latents for them (`painter.py`). It also learns to draw blind: what went on while nobody watched is drawn
from the body alone.

How the body is predicted depends on what the data says. Where objects are tracked, robot and objects are the whole
state, and a recurrent network goes on from them (`tracked.py`): what happens does not depend on the picture, so a
rollout that nobody watches is not drawn, at a small part of the cost, and goes the same way as one that is. Where
nothing is tracked only the picture knows what is there: a transformer reads all past pictures (`sighted.py`).

What is known exactly is not predicted: a commanded pose is integrated by the controller (`Command`), so its next value
is computed and given as an input, absolute and relative to the measured pose. The arm therefore cannot drift.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gwm_sim.data.schema import Command
from gwm_sim.errors import ConfigError
from gwm_sim.model.latents import normalised_entropy
from gwm_sim.model.layers import fourier
from gwm_sim.model.renderer import Conditioning, Renderer

IMAGINED = 0.5  # corruption level that labels the model's own predictions
REST = 0.08  # an object of which less motion than this is predicted, in units of the usual one, stays where it is
TELEMETRY_REST = 0.03  # the same for telemetry
OCTAVES = 5  # sine and cosine pairs per coordinate of an object position


@dataclass(frozen=True)
class DynamicsConfig:
    """Shape of the dynamics; everything about the robot comes from the data."""

    tokens: int
    """Image tokens per frame."""
    token_numbers: int
    """Integers per image token."""
    levels: int
    """Values per integer."""
    telemetry: int
    """Length of the telemetry vector."""
    actions: int
    """Length of the action vector."""
    objects: int
    """Tracked objects; 0 when the data has no poses."""
    properties: int
    """Physics properties that condition the prediction."""
    commands: tuple[Command, ...] = ()
    """Quantities that the controller integrates exactly."""
    effector: tuple[int, ...] = ()
    """Telemetry indices of the end-effector position, in the frame of the object positions; empty if unknown."""
    memory: int = 192
    """Where objects are tracked, the numbers that are remembered of the robot's past, and of each object's."""
    width: int = 192
    """Channels per token of a picture."""
    layers: int = 6
    """Transformer blocks that read pictures where no object is tracked; every second one looks back in time."""
    heads: int = 6
    """Attention heads."""
    painter_layers: int = 4
    """Transformer blocks that draw the next picture for the predicted body."""
    window: int = 12
    """Frames that time attention reaches back, the present one included."""
    grid: tuple[int, int] = (0, 0)
    """Rows and columns of the image tokens of a view."""
    view: tuple[float, ...] = ()
    """Where objects are tracked, each camera as a matrix (3, 4), row by row: it takes a point (x, y, z, 1) [m] to
    column and row [tokens], both times the depth, and to the depth [m]."""
    rides: tuple[bool, ...] = ()
    """Which of these cameras ride on the end-effector, from which their points are then measured; empty for none."""

    action_size: tuple[float, ...] = ()
    """What the network takes for 1, of each action in its own unit; empty where that is 1 for all."""

    noise: int = 0
    """Where objects are tracked, random numbers per object and step that decide what cannot be foreseen; 0 for a model
    of the most likely future alone."""

    def __post_init__(self) -> None:
        views = self.tokens // max(1, self.grid[0] * self.grid[1])
        if self.objects and len(self.view) != 12 * views:
            raise ConfigError(
                f"a world with {self.objects} tracked objects needs the views of its cameras, {12 * views} numbers, "
                f"got {len(self.view)}: see `Camera.matrix`"
            )
        if self.rides and (len(self.rides) != views or not self.effector):
            raise ConfigError(f"cameras that ride on the end-effector need to know it, and {views} entries in rides")

    @property
    def from_pixels(self) -> bool:
        """Whether the body is predicted with the picture in view: where nothing else says what is there."""
        return not self.objects

    @property
    def place(self) -> int:
        """Numbers that describe where an object is."""
        return 3 * (1 + 2 * OCTAVES) + 3 + len(self.effector)


class Segment(NamedTuple):
    """What is known about T consecutive frames, and the action taken in each."""

    codes: Tensor  # (B, T, N, M) uint8
    previous_codes: Tensor  # (B, T, N, M) uint8
    telemetry: Tensor  # (B, T, P)
    previous_telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m]
    previous_objects: Tensor  # (B, T, K, 3) [m]
    actions: Tensor  # (B, T, A) in the units of the data
    properties: Tensor  # (B, Q), NaN where unknown
    corruption: Tensor  # (B, T) in [0, 1]
    novelty: (
        Tensor  # (B, T), how badly the tokenizer shows a real frame, about 1 for a familiar one; not predicted from
    )


class PhysicalState(NamedTuple):
    """What is predicted of a frame before its picture: the robot and the tracked objects."""

    telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m]


class Prediction(NamedTuple):
    """The frames that follow."""

    logits: Tensor | None  # (B, T, N, M, L), None if not drawn
    telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m]
    spread: Tensor  # (B, T, K) [m], expected absolute error of the object positions per coordinate


class Statistics(NamedTuple):
    """Scales of the data; those of changes are standard deviations from one frame to the next."""

    telemetry_mean: Tensor  # (P,)
    telemetry_std: Tensor  # (P,)
    telemetry_change: Tensor  # (P,)
    telemetry_low: Tensor  # (P,)
    telemetry_high: Tensor  # (P,)
    objects_low: Tensor  # (3,) [m]
    objects_high: Tensor  # (3,) [m]
    objects_change: Tensor  # (1,) [m]
    properties_low: Tensor  # (Q,)
    properties_high: Tensor  # (Q,)


def previous(x: Tensor) -> Tensor:
    """The same sequence one frame earlier along axis 1; the first frame is its own predecessor."""
    return torch.cat((x[:, :1], x[:, :-1]), dim=1)


class Dynamics(nn.Module, ABC):
    """Predict the next frame from the past ones: what all kinds of dynamics share, and the painter."""

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
    action_size: Tensor

    def __init__(self, config: DynamicsConfig, statistics: Statistics) -> None:
        super().__init__()
        self.config = config
        for name, value in statistics._asdict().items():
            self.register_buffer(name, value.float())
        commands = config.commands
        self.register_buffer("command_telemetry", torch.tensor([c.telemetry for c in commands], dtype=torch.long))
        self.register_buffer("command_action", torch.tensor([c.action for c in commands], dtype=torch.long))
        self.register_buffer("command_measured", torch.tensor([c.measured for c in commands], dtype=torch.long))
        self.register_buffer("command_scale", torch.tensor([c.scale for c in commands], dtype=torch.float32))

        size = torch.tensor(config.action_size) if config.action_size else torch.ones(config.actions)
        self.register_buffer("action_size", size, persistent=False)

        self.painter = Renderer(config)

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
    ) -> tuple[Prediction, Tensor]:
        """Predict the successor of one frame (T = 1) in a rollout.

        Args:
            frames: The present frame and action.
            memory: What is remembered of the frames before, (B, ...); may be written over.
            age: How many these were, (B,).
            draw: Whether the picture is wanted.
            noise: What chance has it, (B, 1, 1 + K, noise); None for the most likely future.

        Returns:
            The prediction, and the memory with the present frame in it.
        """

    # --- the body -----------------------------------------------------------------------------------------------------

    def next_commands(self, telemetry: Tensor, actions: Tensor) -> Tensor:
        """Commanded quantities after the action, (..., number of commands): the controller's own arithmetic."""
        index = self.command_telemetry
        moved = telemetry[..., index] + self.command_scale * actions[..., self.command_action]
        return torch.minimum(torch.maximum(moved, self.telemetry_low[index]), self.telemetry_high[index])

    def moved(self, segment: Segment, change: Tensor, motion: Tensor, rest: bool) -> PhysicalState:
        """The body after a change of the telemetry (B, T, P) and a motion of the objects (B, T, K, 3), both in units of
        the usual one; with `rest`, as in a rollout, what hardly moves stays where it is."""
        if rest:
            change = change * (change.abs() > TELEMETRY_REST)
            motion = motion * (motion.norm(dim=-1, keepdim=True) > REST)
        telemetry = segment.telemetry + change * self.telemetry_change
        commands = self.next_commands(segment.telemetry, segment.actions)
        telemetry = telemetry.index_copy(-1, self.command_telemetry, commands)
        telemetry = torch.minimum(torch.maximum(telemetry, self.telemetry_low), self.telemetry_high)
        return PhysicalState(telemetry, segment.objects + motion * self.objects_change)

    # --- the picture --------------------------------------------------------------------------------------------------

    def next_picture(self, physical: PhysicalState, segment: Segment) -> Tensor:
        """Logits (B, T, N, M, L) of the picture of `body`, with the past one in view."""
        return self.painter.follow(self.painter.look(segment), self.outline(physical, segment), segment)

    def outline(self, physical: PhysicalState, before: PhysicalState | Segment) -> Conditioning:
        """What there is to draw: a body as it is, and as it differs from the one `before`."""
        robot = torch.cat(
            (
                (physical.telemetry - self.telemetry_mean) / self.telemetry_std,
                (physical.telemetry - before.telemetry) / self.telemetry_change,
            ),
            dim=-1,
        )
        if not self.config.objects:
            return Conditioning(robot, robot[..., :0, None, None])
        mount, mount_before = self.effector(physical.telemetry), self.effector(before.telemetry)
        things = torch.cat((physical.objects, mount), dim=2)
        things_before = torch.cat((before.objects, mount_before), dim=2)
        middle = (self.objects_low + self.objects_high) / 2
        return Conditioning(robot, self.painter.places(things, things_before, mount, mount_before, middle))

    def effector(self, telemetry: Tensor) -> Tensor:
        """Position of the end-effector (B, T, 1, 3) [m], (B, T, 0, 3) where it is not known."""
        index = list(self.config.effector)
        if not index:
            return telemetry.new_zeros(*telemetry.shape[:2], 0, 3)
        return torch.stack([telemetry[..., i] for i in index], dim=-1)[..., None, :]

    # --- features -----------------------------------------------------------------------------------------------------

    def robot_features(self, segment: Segment) -> Tensor:
        """Telemetry, its last change, the action in its size, and where the action sends the commanded quantities."""
        commands = self.next_commands(segment.telemetry, segment.actions)
        index = self.command_telemetry
        return torch.cat(
            (
                (segment.telemetry - self.telemetry_mean) / self.telemetry_std,
                (segment.telemetry - segment.previous_telemetry) / self.telemetry_change,
                segment.actions / self.action_size,
                (commands - self.telemetry_mean[index]) / self.telemetry_std[index],
                (commands - segment.telemetry[..., self.command_measured]) / self.command_scale,
            ),
            dim=-1,
        )

    def object_features(self, segment: Segment) -> Tensor:
        """Where each object is, how it last moved, where end-effector and other objects see it, (B, T, K, features)."""
        places = self.place_features(segment.objects, segment.previous_objects, segment.telemetry)
        others = [segment.objects.roll(-k, dims=2) for k in range(1, self.config.objects)]
        apart = [((other - segment.objects) / (5 * self.objects_change)).clamp(-10, 10) for other in others]
        return torch.cat((places, *apart), dim=-1)

    def place_features(self, objects: Tensor, before: Tensor, telemetry: Tensor) -> Tensor:
        """Positions (B, T, K, 3): absolute, as change from `before`, and from the end-effector, (B, T, K, features)."""
        unit = 2 * (objects - self.objects_low) / (self.objects_high - self.objects_low) - 1
        features = [fourier(unit, OCTAVES), (objects - before) / self.objects_change]
        if self.config.effector:
            features.append((objects - self.effector(telemetry)) / (5 * self.objects_change))
        return torch.cat([f.clamp(-10, 10) for f in features], dim=-1)

    def property_features(self, properties: Tensor) -> Tensor:
        """Properties scaled to [-1, 1] beside a flag for each that is known, (B, 2Q)."""
        if not self.config.properties:
            return properties.new_zeros(properties.shape[0], 1)
        known = properties.isfinite()
        span = (self.properties_high - self.properties_low).clamp_min(1e-6)
        unit = (2 * (properties - self.properties_low) / span - 1).clamp(-1, 1)  # no data beyond: the nearest known
        return torch.cat((torch.where(known, unit, 0.0), known.float()), dim=-1)


def risk(prediction: Prediction) -> Tensor:
    """What a step (T = 1) may add to the error, (B,): the spread of the objects, else the entropy of the picture."""
    if prediction.spread.shape[-1]:
        return prediction.spread[:, 0].mean(dim=-1)
    assert prediction.logits is not None
    return normalised_entropy(prediction.logits[:, 0])
