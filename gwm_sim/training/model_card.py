"""README.md of a checkpoint: what the model is, what it was trained on, and how to use it."""

from __future__ import annotations

from datetime import date

from torch import nn

from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.config import TrainConfig
from gwm_sim.training.dataset import TrainingData


def model_card(config: TrainConfig, model: WorldModel, data: TrainingData) -> str:
    """The text, in Markdown with the fields that the Hugging Face Hub reads."""
    schema, c = data.schema, model.config
    budget = f"{config.minutes:g} minutes" if config.minutes is not None else f"{config.steps} steps"
    return f"""---
license: apache-2.0
library_name: gwm_sim
pipeline_tag: robotics
tags: [world-model, robotics, gymnasium, simulator]
---

# {config.name}

An action-conditioned video world model of `{schema.env_id}`: from {CONTEXT} frames, telemetry and actions it predicts
the frames and telemetry that follow, at {schema.rate:g} Hz and {c.tokenizer.height}x{c.tokenizer.width} pixels.

| | |
|---|---|
| model hash | `{model.digest()}` |
| parameters | tokenizer {millions(model.tokenizer):.2f} M, dynamics {millions(model.dynamics):.2f} M |
| latents | {c.tokenizer.tokens} tokens of {c.tokenizer.token_numbers} integers with {c.tokenizer.levels} values |
| data | {data.episodes} episodes, {len(data.frames)} frames, cameras `{", ".join(config.camera)}`, digest `{
        data.digest
    }` |
| conditioned on | actions {", ".join(schema.action_names)}; properties {", ".join(c.properties) or "none"} |
| heads | reward and success of {", ".join(schema.tasks) or "no task"}; positions of {
        ", ".join(schema.object_names) or "no object"
    } |
| trained | {date.today()}, {budget} on {model.device}, preset {config.preset}, seed {config.seed} |

    import gymnasium as gym
    env = gym.make("gwm_sim:GWM-World-v0", model="path/to/{config.name}")  # the folder of this card

Valid for scenes, cameras and objects like those of its data, and nowhere else. Measured fidelity: `evaluation.json`,
made by `gwm eval --json`.
"""


def millions(module: nn.Module) -> float:
    """Number of weights, in millions."""
    return sum(p.numel() for p in module.parameters()) / 1e6
