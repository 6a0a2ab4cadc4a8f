"""Worlds in which nothing is tracked: a transformer over frames predicts the robot and the next picture.

Within a frame, the N image tokens, one robot token (telemetry and action) and one token of physics properties attend to
each other; across frames each token position attends to its own last `window` frames. Every position of a training
window predicts its next frame, like a language model over frames, and one pass per frame is all a rollout costs.

Inputs carry a corruption level per frame. In training, histories are corrupted and labelled with it; in a rollout,
imagined frames carry `IMAGINED`, the level that training gave to the model's own predictions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gwm_sim.model.config import DynamicsConfig
from gwm_sim.model.dynamics import Dynamics
from gwm_sim.model.layers import Block, Ring, RMSNorm, begin_as_copy, linear, perceptron
from gwm_sim.model.state import NextFrame, Segment, Statistics
from gwm_sim.model.threads import weights


class VideoDynamics(Dynamics):
    """A causal transformer over frames, with the picture in view."""

    def __init__(self, config: DynamicsConfig, statistics: Statistics) -> None:
        super().__init__(config, statistics)
        c, d = config, config.width
        self.robot_in = perceptron(2 * c.telemetry + c.actions + 2 * len(c.commands), d)
        self.property_in = perceptron(max(1, 2 * c.properties), d)
        self.corruption_in = perceptron(1, d)
        self.position = nn.Parameter(torch.randn(c.tokens + 2, d) * 0.02)
        # Blocks 1, 3, 5, ... look back in time: a frame is first read as a whole, then compared with the past.
        self.blocks = nn.ModuleList(Block(d, c.heads, c.window if i % 2 else 0) for i in range(c.layers))
        self.body_norm = RMSNorm(d)
        self.telemetry_out = begin_as_copy(linear(d, c.telemetry))
        self.work = weights(self.blocks) * (c.tokens + 2) + self.work_of_picture  # the picture belongs to it

    def forward(self, segment: Segment, rest: bool = True) -> NextFrame:
        """Predict the successor of every frame of whole sequences; for `rest` see `moved`."""
        return self.read_out(self.read(segment)[0], segment, rest)

    def blank_memory(self, rows: int) -> Tensor:
        """A ring that holds no frame yet, (B, time_layers, 2, N*H, window, E)."""
        c = self.config
        shape = (rows, c.layers // 2, 2, (c.tokens + 2) * c.heads, c.window, c.width // c.heads)
        return torch.zeros(shape, device=self.telemetry_mean.device)

    def remember(self, past: Segment) -> Tensor:
        ring = self.blank_memory(len(past.telemetry))
        length, window = past.telemetry.shape[1], self.config.window
        _, memory = self.read(past)
        kept = torch.arange(max(0, length - window), length, device=ring.device)
        ring[..., kept % window, :] = memory[..., kept, :].to(ring.dtype)
        return ring

    def step(
        self, segment: Segment, memory: Tensor, age: Tensor, draw: bool = True, noise: Tensor | None = None
    ) -> tuple[NextFrame, Tensor]:
        """Predict the successor of one frame; it is always drawn, since the next step looks at it."""
        x = self.embed(segment)
        ring = Ring(age, self.config.window, self.config.width // self.config.heads)
        layer = 0
        for block in self.blocks:
            assert isinstance(block, Block)
            looks_back = block.time is not None
            x = block.step(x, memory[:, layer] if looks_back else None, ring)
            layer += looks_back
        return self.read_out(x, segment), memory

    def read(self, segment: Segment) -> tuple[Tensor, Tensor]:
        """Tokens of whole sequences (B, T, N + 2, D), and keys and values of the time attention, (B, time_layers, 2,
        N*H, T, E)."""
        x = self.embed(segment)
        memories = []
        for block in self.blocks:
            x, memory = block(x)
            if memory is not None:
                memories.append(memory)
        return x, torch.stack(memories, dim=1)

    def embed(self, segment: Segment) -> Tensor:
        """All tokens of each frame, (B, T, N + 2, D)."""
        b, t = segment.actions.shape[:2]
        dtype = self.painter.image_in.weight.dtype
        robot = self.robot_in(self.robot_features(segment).to(dtype))[:, :, None]  # (B, T, 1, D)
        physics = self.property_in(self.property_features(segment.properties).to(dtype))[:, None, None]  # (B, 1, 1, D)
        level = self.corruption_in(segment.corruption[..., None].to(dtype))[:, :, None]
        tokens = torch.cat((self.painter.embed(segment) + robot, robot, physics.expand(b, t, 1, -1)), dim=2)
        return tokens + self.position.to(dtype) + level

    def read_out(self, x: Tensor, segment: Segment, rest: bool = True) -> NextFrame:
        """The next frame from the tokens (B, T, N + 2, D) of the present one: its physical state, then its picture."""
        count = self.config.tokens
        change = self.telemetry_out(self.body_norm(x[:, :, count])).float()
        physical = self.moved(segment, change, torch.zeros_like(segment.objects), rest)
        logits = self.painter.render(x[:, :, :count], self.conditioning(physical, segment), segment)
        return NextFrame(logits, physical.telemetry, physical.objects, segment.objects[..., 0], segment.residual)
