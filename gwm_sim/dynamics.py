"""Latents, telemetry and actions -> the next frame's latents, telemetry and object positions.

A transformer over frames: within a frame, the N image tokens, one robot token (telemetry and action), one token per
tracked object and one token of physics properties attend to each other; across frames each token position attends to
its own last `window` frames. Every position of a training window predicts its next frame, like a language model over
frames, and one pass per frame is all a rollout costs.

First the body, then the picture: telemetry and object positions of the next frame are read out first, and a painter
draws the next latents for them. All tokens of a picture are chosen at once; without a body to agree on, each decides
alone where an uncertain future puts a cube, and together they draw none, or two. The painter also learns to draw blind,
from the body alone: it knows what belongs there when the past picture has lost it.

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
TELEMETRY_WEIGHT, OBJECT_WEIGHT = 0.1, 0.5  # of the losses, beside the picture's 1
REST = 0.08  # an object of which less motion than this is predicted, in units of the usual one, stays where it is
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
    painter_layers: int = 2
    """Transformer blocks that draw the next picture for the predicted body."""
    guidance: float = 0.0
    """Weight of what the painter draws blind, beside what it draws from the past picture as well; 0 saves the time."""
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
    novelty: (
        Tensor  # (B, T), how badly the tokenizer shows a real frame, about 1 for a familiar one; not predicted from
    )


class Body(NamedTuple):
    """What is predicted of a frame before its picture: the robot and the tracked objects."""

    telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m]


class Lesson(NamedTuple):
    """What the painter is given in training instead of its own predictions."""

    body: Body
    blind: Tensor  # (B, T) bool, frames that are drawn from the body alone


class Prediction(NamedTuple):
    """The frames that follow."""

    logits: Tensor  # (B, T, N, M, L)
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
        place = 3 * (1 + 2 * OCTAVES) + 3 + len(config.effector)
        self.object_in = perceptron(place + 3 * max(0, config.objects - 1), d)
        self.property_in = perceptron(max(1, 2 * config.properties), d)
        self.corruption_in = perceptron(1, d)
        self.position = nn.Parameter(torch.randn(config.frame_tokens, d) * 0.02)
        # Blocks 1, 3, 5, ... look back in time: a frame is first read as a whole, then compared with the past.
        self.blocks = nn.ModuleList(Block(d, config.heads, config.window if i % 2 else 0) for i in range(config.layers))
        self.body_norm = RMSNorm(d)
        self.robot_next = perceptron(2 * config.telemetry, d)
        self.object_next = perceptron(place, d)
        self.blank = nn.Parameter(torch.zeros(d))
        self.canvas = nn.Parameter(torch.randn(config.tokens + 1 + config.objects, d) * 0.02)
        self.painter = nn.ModuleList(Block(d, config.heads) for _ in range(config.painter_layers))
        self.norm = RMSNorm(d)
        self.image_out = nn.Linear(d, numbers)
        self.copy_gain = nn.Parameter(torch.full((config.token_numbers, 1), 2.0))
        self.telemetry_out = nn.Linear(d, config.telemetry)
        self.object_out = nn.Linear(d, 3)
        self.spread_out = nn.Linear(d, 1)
        # Start as "copy the last frame".
        for layer in (self.image_out, self.telemetry_out, self.object_out, self.spread_out):
            nn.init.normal_(layer.weight, std=1e-3)
            nn.init.zeros_(layer.bias)

    def forward(self, frames: Frames, lesson: Lesson | None = None) -> Prediction:
        """Predict the successor of every frame of whole sequences.

        Args:
            frames: The sequences.
            lesson: What the painter draws from in training; None takes the predicted bodies.
        """
        return self.read_out(self.read(frames)[0], frames, lesson)

    def read(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Tokens of whole sequences (B, T, frame_tokens, D), and what is remembered of them.

        The memory are keys and values of the time attention, (B, time_layers, 2, N*H, T, E).
        """
        x = self.embed(frames)
        memories = []
        for block in self.blocks:
            x, memory = block(x)
            if memory is not None:
                memories.append(memory)
        return x, torch.stack(memories, dim=1)

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
        physics = self.property_in(self.property_features(frames.properties).to(dtype))[:, None, None]  # (B, 1, 1, D)
        if self.config.objects:
            objects = self.object_in(self.object_features(frames).to(dtype))
            tokens.append(objects + action_and_robot + physics)
        tokens.append(physics.expand(b, t, 1, -1))
        level = self.corruption_in(frames.corruption[..., None].to(dtype))[:, :, None]
        return torch.cat(tokens, dim=2) + self.position.to(dtype) + level

    def read_out(self, x: Tensor, frames: Frames, lesson: Lesson | None = None) -> Prediction:
        """The next frame from the tokens (B, T, frame_tokens, D) of the present one: its body, then its picture."""
        count = self.config.tokens
        body, spread = self.next_body(x[:, :, count:], frames, resting=lesson is None)
        image = x[:, :, :count]
        logits = self.next_picture(image, body, frames) if lesson is None else self.rehearse(image, lesson, frames)
        return Prediction(logits, body.telemetry, body.objects, spread)

    def next_body(self, x: Tensor, frames: Frames, resting: bool) -> tuple[Body, Tensor]:
        """Body and spread (B, T, K) [m] from the tokens after the image's; `resting` keeps slow objects in place."""
        x = self.body_norm(x)
        telemetry = frames.telemetry + self.telemetry_out(x[:, :, 0]).float() * self.telemetry_change
        telemetry = telemetry.index_copy(
            -1, self.command_telemetry, self.next_commands(frames.telemetry, frames.actions)
        )
        x = x[:, :, 1 : 1 + self.config.objects]
        motion = self.object_out(x).float()
        if resting:
            motion = motion * (motion.norm(dim=-1, keepdim=True) > REST)
        spread = F.softplus(self.spread_out(x).float().squeeze(-1)) * self.objects_change
        return Body(telemetry, frames.objects + motion * self.objects_change), spread

    def next_picture(self, image: Tensor, body: Body, frames: Frames) -> Tensor:
        """Logits (B, T, N, M, L) of the picture of `body`: what is drawn with the past picture in view, and blind."""
        outline, guidance = self.outline(body, frames), self.config.guidance
        if not guidance:
            return self.paint(image, outline) + self.copied(frames)
        both = torch.cat((image, self.blank.to(image.dtype).expand_as(image)))
        sighted, blind = self.paint(both, outline.repeat(2, 1, 1, 1)).chunk(2)
        return sighted + self.copied(frames) + guidance * blind

    def rehearse(self, image: Tensor, lesson: Lesson, frames: Frames) -> Tensor:
        """Logits (B, T, N, M, L) of the pictures of a lesson, drawn with the past picture in view or blind."""
        blind = lesson.blind[..., None, None]
        image = torch.where(blind, self.blank.to(image.dtype), image)
        copied = torch.where(blind[..., None], 0.0, self.copied(frames))
        return self.paint(image, self.outline(lesson.body, frames)) + copied

    def copied(self, frames: Frames) -> Tensor:
        """Logits (B, T, N, M, L) of the picture staying as it is, which is the usual case."""
        return self.copy_gain * F.one_hot(frames.codes.long(), self.config.levels)

    def paint_blind(self, body: Body, frames: Frames) -> Tensor:
        """Logits (B, T, N, M, L) of the picture of `body` that follows `frames`, from the body alone."""
        outline = self.outline(body, frames)
        blank = self.blank.to(outline.dtype).expand(*outline.shape[:2], self.config.tokens, -1)
        return self.paint(blank, outline)

    def outline(self, body: Body, frames: Frames) -> Tensor:
        """Tokens (B, T, 1 + K, D) of the bodies to paint, as they are and as they differ from those in `frames`."""
        dtype = self.image_in.weight.dtype
        robot = torch.cat(
            (
                (body.telemetry - self.telemetry_mean) / self.telemetry_std,
                (body.telemetry - frames.telemetry) / self.telemetry_change,
            ),
            dim=-1,
        )
        tokens = [self.robot_next(robot.to(dtype))[:, :, None]]
        if self.config.objects:
            places = self.place_features(body.objects, frames.objects, body.telemetry)
            tokens.append(self.object_next(places.to(dtype)))
        return torch.cat(tokens, dim=2)

    def paint(self, image: Tensor, outline: Tensor) -> Tensor:
        """Logits (B, T, N, M, L) of a picture, from image tokens (B, T, N, D) and an outline (B, T, 1 + K, D)."""
        c = self.config
        x = torch.cat((image, outline), dim=2) + self.canvas.to(image.dtype)
        for block in self.painter:
            x, _ = block(x)
        return self.image_out(self.norm(x[:, :, : c.tokens])).float().unflatten(-1, (c.token_numbers, c.levels))

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
        """Where each object is, how it last moved, where end-effector and other objects see it, (B, T, K, features)."""
        places = self.place_features(frames.objects, frames.previous_objects, frames.telemetry)
        others = [frames.objects.roll(-k, dims=2) for k in range(1, self.config.objects)]
        apart = [((other - frames.objects) / (5 * self.objects_change)).clamp(-10, 10) for other in others]
        return torch.cat((places, *apart), dim=-1)

    def place_features(self, objects: Tensor, before: Tensor, telemetry: Tensor) -> Tensor:
        """Positions (B, T, K, 3): absolute, as change from `before`, and from the end-effector, (B, T, K, features)."""
        unit = 2 * (objects - self.objects_low) / (self.objects_high - self.objects_low) - 1
        features = [fourier(unit), (objects - before) / self.objects_change]
        if self.config.effector:
            effector = telemetry[..., list(self.config.effector)][:, :, None]
            features.append((objects - effector) / (5 * self.objects_change))
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
        total = image + TELEMETRY_WEIGHT * telemetry
        if self.config.objects:
            error = (prediction.objects - target.objects).abs() / self.objects_change  # (B, T, K, 3)
            spread = (prediction.spread / self.objects_change).clamp_min(1e-2)[..., None]
            # Likelihood of a Laplace distribution, for its width only: what cannot be foreseen must not lose weight.
            likelihood = (error.detach() / spread + spread.log()).mean()
            parts |= {"objects": error.mean(), "spread": likelihood}
            total = total + OBJECT_WEIGHT * error.mean() + 0.05 * likelihood
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


def risk(prediction: Prediction) -> Tensor:
    """What a step (T = 1) may add to the error, (B,): the spread of the objects, else the entropy of the picture."""
    if prediction.spread.shape[-1]:
        return prediction.spread[:, 0].mean(dim=-1)
    return normalised_entropy(prediction.logits[:, 0])


def normalised_entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the predicted codes of each row in [0, 1], (B, N, M, L) -> (B,)."""
    log_p = logits.log_softmax(dim=-1)
    entropy = -(log_p.exp() * log_p).sum(dim=-1)
    return entropy.mean(dim=(1, 2)) / math.log(logits.shape[-1])
