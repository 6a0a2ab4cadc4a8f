"""Latents, telemetry and actions -> the next frame's latents, telemetry and object positions.

A transformer over frames: within a frame, the N image tokens, one robot token (telemetry and action), one token per
tracked object and one token of physics properties attend to each other; across frames each token position attends to
its own last `window` frames. Every position of a training window predicts its next frame, like a language model over
frames, and one pass per frame is all a rollout costs.

What is known exactly is not predicted: a commanded pose is integrated by the controller (`Command`), so its next value
is computed and given as an input, absolute and relative to the measured pose. The arm therefore cannot drift.

Inputs carry a corruption level per frame. In training, histories are corrupted and labelled with it; in a rollout,
imagined frames carry `IMAGINED`, the level that training gave to the model's own predictions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.blocks import Block, RMSNorm
from gwm_sim.episodes import Command

IMAGINED = 0.5  # corruption level that labels the model's own predictions
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
    width: int = 192
    """Channels per token."""
    layers: int = 6
    """Transformer blocks; every second one looks back in time."""
    heads: int = 6
    """Attention heads."""
    window: int = 12
    """Frames that time attention reaches back, the present one included."""

    @property
    def frame_tokens(self) -> int:
        return self.tokens + 1 + self.objects + 1

    @property
    def time_layers(self) -> int:
        return self.layers // 2


class Frames(NamedTuple):
    """What is known about T consecutive frames, and the action taken in each."""

    codes: Tensor  # (B, T, N, M) uint8
    previous_codes: Tensor  # (B, T, N, M) uint8
    telemetry: Tensor  # (B, T, P)
    previous_telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m]
    previous_objects: Tensor  # (B, T, K, 3) [m]
    actions: Tensor  # (B, T, A) in [-1, 1]
    properties: Tensor  # (B, Q), NaN where unknown
    corruption: Tensor  # (B, T) in [0, 1]


class Prediction(NamedTuple):
    """The frames that follow."""

    logits: Tensor  # (B, T, N, M, L)
    telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m]


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


def fourier(x: Tensor) -> Tensor:
    """Coordinates (..., C) in [-1, 1] beside sines and cosines of OCTAVES octaves, (..., C * (1 + 2 * OCTAVES))."""
    frequency = math.pi * 2.0 ** torch.arange(OCTAVES, device=x.device)
    angle = (x[..., None] * frequency).flatten(-2)
    return torch.cat((x, angle.sin(), angle.cos()), dim=-1)


def perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))


class Dynamics(nn.Module):
    """Predict the next frame from the past ones."""

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

    def __init__(self, config: DynamicsConfig, statistics: Statistics) -> None:
        super().__init__()
        self.config = config
        d = config.width
        for name, value in statistics._asdict().items():
            self.register_buffer(name, value.float())
        commands = config.commands
        self.register_buffer("command_telemetry", torch.tensor([c.telemetry for c in commands], dtype=torch.long))
        self.register_buffer("command_action", torch.tensor([c.action for c in commands], dtype=torch.long))
        self.register_buffer("command_measured", torch.tensor([c.measured for c in commands], dtype=torch.long))
        self.register_buffer("command_scale", torch.tensor([c.scale for c in commands], dtype=torch.float32))

        numbers = config.token_numbers * config.levels
        self.image_in = nn.Linear(numbers, d)
        self.image_before_in = nn.Linear(numbers, d, bias=False)
        self.robot_in = perceptron(2 * config.telemetry + config.actions + 2 * len(commands), d)
        self.object_in = perceptron(3 * (1 + 2 * OCTAVES) + 3 + len(config.effector), d)
        self.property_in = perceptron(max(1, 2 * config.properties), d)
        self.corruption_in = perceptron(1, d)
        self.position = nn.Parameter(torch.randn(config.frame_tokens, d) * 0.02)
        # Blocks 1, 3, 5, ... look back in time: a frame is first read as a whole, then compared with the past.
        self.blocks = nn.ModuleList(Block(d, config.heads, config.window if i % 2 else 0) for i in range(config.layers))
        self.norm = RMSNorm(d)
        self.image_out = nn.Linear(d, numbers)
        self.copy_gain = nn.Parameter(torch.full((config.token_numbers, 1), 2.0))
        self.telemetry_out = nn.Linear(d, config.telemetry)
        self.object_out = nn.Linear(d, 3)
        for layer in (self.image_out, self.telemetry_out, self.object_out):  # start as "copy the last frame"
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)

    def forward(self, frames: Frames) -> tuple[Prediction, Tensor]:
        """Predict the successor of every frame of whole sequences.

        Returns:
            The prediction, and the keys and values of the time attention, (B, time_layers, 2, N*H, T, E).
        """
        x = self.embed(frames)
        memories = []
        for block in self.blocks:
            x, memory = block(x)
            if memory is not None:
                memories.append(memory)
        return self.read_out(x, frames), torch.stack(memories, dim=1)

    def step(self, frames: Frames, cache: Tensor, age: Tensor) -> Prediction:
        """Predict the successor of one frame (T = 1) and write that frame into the ring of past frames, in place.

        Args:
            frames: The present frame and action.
            cache: Ring of keys and values, (B, time_layers, 2, N*H, window, E).
            age: Frames already in the ring of each row, (B,).
        """
        x = self.embed(frames)
        layer = 0
        for block in self.blocks:
            assert isinstance(block, Block)
            looks_back = block.time is not None
            x = block.step(x, cache[:, layer] if looks_back else None, age)
            layer += looks_back
        return self.read_out(x, frames)

    def empty_cache(self, rows: int) -> Tensor:
        """A ring that holds no frame yet, (B, time_layers, 2, N*H, window, E)."""
        c = self.config
        shape = (rows, c.time_layers, 2, c.frame_tokens * c.heads, c.window, c.width // c.heads)
        return torch.zeros(shape, device=self.position.device)

    def next_commands(self, telemetry: Tensor, actions: Tensor) -> Tensor:
        """Commanded quantities after the action, (..., number of commands): the controller's own arithmetic."""
        index = self.command_telemetry
        moved = telemetry[..., index] + self.command_scale * actions[..., self.command_action]
        return torch.minimum(torch.maximum(moved, self.telemetry_low[index]), self.telemetry_high[index])

    def embed(self, frames: Frames) -> Tensor:
        """All tokens of each frame, (B, T, frame_tokens, D)."""
        b, t = frames.actions.shape[:2]
        dtype = self.image_in.weight.dtype
        action_and_robot = self.robot_in(self.robot_features(frames).to(dtype))[:, :, None]  # (B, T, 1, D)
        image = self.image_in(self.one_hot(frames.codes).to(dtype))
        image = image + self.image_before_in(self.one_hot(frames.previous_codes).to(dtype)) + action_and_robot
        tokens = [image, action_and_robot]
        if self.config.objects:
            tokens.append(self.object_in(self.object_features(frames).to(dtype)) + action_and_robot)
        conditions = self.property_in(self.property_features(frames.properties).to(dtype))  # (B, D)
        tokens.append(conditions[:, None, None].expand(b, t, 1, -1))
        level = self.corruption_in(frames.corruption[..., None].to(dtype))[:, :, None]
        return torch.cat(tokens, dim=2) + self.position.to(dtype) + level

    def read_out(self, x: Tensor, frames: Frames) -> Prediction:
        c = self.config
        x = self.norm(x)
        logits = self.image_out(x[:, :, : c.tokens]).float().unflatten(-1, (c.token_numbers, c.levels))
        logits = logits + self.copy_gain * F.one_hot(frames.codes.long(), c.levels)
        telemetry = frames.telemetry + self.telemetry_out(x[:, :, c.tokens]).float() * self.telemetry_change
        telemetry = telemetry.index_copy(
            -1, self.command_telemetry, self.next_commands(frames.telemetry, frames.actions)
        )
        moved = self.object_out(x[:, :, c.tokens + 1 : c.tokens + 1 + c.objects]).float() * self.objects_change
        return Prediction(logits, telemetry, frames.objects + moved)

    def one_hot(self, codes: Tensor) -> Tensor:
        """(..., M) integers to (..., M * L)."""
        return F.one_hot(codes.long(), self.config.levels).flatten(-2)

    def robot_features(self, frames: Frames) -> Tensor:
        """Telemetry, its last change, the action, and where the action sends the commanded quantities."""
        commands = self.next_commands(frames.telemetry, frames.actions)
        index = self.command_telemetry
        return torch.cat(
            (
                (frames.telemetry - self.telemetry_mean) / self.telemetry_std,
                (frames.telemetry - frames.previous_telemetry) / self.telemetry_change,
                frames.actions,
                (commands - self.telemetry_mean[index]) / self.telemetry_std[index],
                (commands - frames.telemetry[..., self.command_measured]) / self.command_scale,
            ),
            dim=-1,
        )

    def object_features(self, frames: Frames) -> Tensor:
        """Where each object is, how it last moved, and where the end-effector sees it, (B, T, K, features)."""
        unit = 2 * (frames.objects - self.objects_low) / (self.objects_high - self.objects_low) - 1
        features = [fourier(unit), (frames.objects - frames.previous_objects) / self.objects_change]
        if self.config.effector:
            effector = frames.telemetry[..., list(self.config.effector)][:, :, None]
            features.append((frames.objects - effector) / (5 * self.objects_change))
        return torch.cat([f.clamp(-10, 10) for f in features], dim=-1)

    def property_features(self, properties: Tensor) -> Tensor:
        """Properties scaled to [-1, 1] beside a flag for each that is known, (B, 2Q)."""
        if not self.config.properties:
            return properties.new_zeros(properties.shape[0], 1)
        known = properties.isfinite()
        span = (self.properties_high - self.properties_low).clamp_min(1e-6)
        unit = (2 * (properties - self.properties_low) / span - 1).clamp(-1, 1)  # no data beyond: the nearest known
        return torch.cat((torch.where(known, unit, 0.0), known.float()), dim=-1)

    def loss(self, prediction: Prediction, target: Frames) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare a prediction with the frames that really followed.

        Returns:
            Scalar loss, and named scalars to log.
        """
        image = F.cross_entropy(prediction.logits.flatten(0, -2), target.codes.long().flatten())
        error = (prediction.telemetry - target.telemetry) / self.telemetry_change
        telemetry = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.1)
        parts = {"image": image, "telemetry": telemetry}
        if self.config.objects:
            parts["objects"] = (prediction.objects - target.objects).abs().mean() / self.objects_change.squeeze()
        total = image + 0.1 * telemetry + 0.2 * parts.get("objects", image.new_zeros(()))
        return total, {name: value.detach() for name, value in parts.items()}


def choose(logits: Tensor, generators: list[torch.Generator] | None) -> Tensor:
    """Codes from logits (B, N, M, L): the most likely ones, or a sample per row from that row's own generator.

    Returns:
        Codes, (B, N, M) uint8.
    """
    if generators is None:
        return logits.argmax(dim=-1).to(torch.uint8)
    noise = torch.stack([torch.rand(logits.shape[1:], generator=g, device=logits.device) for g in generators])
    return (logits - (-noise.clamp_min(1e-20).log()).log()).argmax(dim=-1).to(torch.uint8)


def normalised_entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the predicted codes of each row in [0, 1], (B, N, M, L) -> (B,)."""
    log_p = logits.log_softmax(dim=-1)
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    return entropy.mean(dim=(1, 2)) / math.log(logits.shape[-1])
