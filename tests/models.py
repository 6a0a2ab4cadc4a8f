"""Small real models with random weights, for tests that are about structure and not about quality."""

import torch
from recordings import make_schema
from torch import Tensor

from gwm_sim.data.schema import Command, Schema
from gwm_sim.model.config import DynamicsConfig, HeadsConfig, TokenizerConfig, WorldModelConfig
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel

TELEMETRY, ACTIONS, OBJECTS, PROPERTIES, WINDOW = 5, 3, 2, 2, 4


def make_model(objects: int = OBJECTS, seed: int = 0, schema: Schema | None = None) -> WorldModel:
    """A model of width 16 whose outputs depend visibly on its inputs."""
    torch.manual_seed(seed)
    schema = schema or make_schema()
    tokenizer = TokenizerConfig(height=32, width=32, channels=8)
    dynamics = DynamicsConfig(
        tokens=tokenizer.tokens,
        token_numbers=tokenizer.token_numbers,
        levels=tokenizer.levels,
        telemetry=TELEMETRY,
        actions=ACTIONS,
        objects=objects,
        properties=PROPERTIES,
        commands=(
            Command(telemetry=3, action=0, scale=0.1, measured=0),
            Command(telemetry=4, action=1, scale=0.1, measured=1),
        ),
        effector=(0, 1, 2),
        grid=tokenizer.grid,
        view=tuple(schema.cameras["front"].matrix(tokenizer.token).flatten().tolist()),
        memory=16,
        width=16,
        layers=4,
        heads=2,
        window=WINDOW,
    )
    config = WorldModelConfig(
        name="test",
        schema=schema,
        camera="front",
        properties=("friction", "gravity"),
        time_limit=20,
        tokenizer=tokenizer,
        dynamics=dynamics,
        heads=HeadsConfig(tasks=("reach", "stack"), width=16, layers=1, heads=2),
    )
    model = WorldModel(config)
    with torch.no_grad():
        for name, layer in model.dynamics.named_modules():
            if name not in ("painter.image_out", "motion_out", "telemetry_out"):
                continue
            assert isinstance(layer, torch.nn.Linear)
            layer.weight.normal_(std=0.5)  # past the "copy the last frame" that training starts from
    return model.eval()


def make_context(
    model: WorldModel, rows: int, length: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Random frames (B, C, H, W, 3), telemetry (B, C, P) and actions (B, C-1, A)."""
    generator = torch.Generator().manual_seed(seed)
    t = model.config.tokenizer
    frames = torch.randint(0, 256, (rows, length, t.height, t.width, 3), generator=generator, dtype=torch.uint8)
    telemetry = torch.rand(rows, length, TELEMETRY, generator=generator)
    actions = 2 * torch.rand(rows, length - 1, ACTIONS, generator=generator) - 1
    return frames, telemetry, actions


__all__ = ["ACTIONS", "OBJECTS", "PROPERTIES", "TELEMETRY", "WINDOW", "make_context", "make_model"]


class Unjudged(WorldModel):
    """A model that judges no task, for those that know their motion."""

    def judge(self, state: WorldState) -> tuple[Tensor, Tensor]:
        nothing = torch.zeros(len(state), len(self.tasks))
        return nothing, nothing
