"""README.md of a checkpoint: what the model is, what it was trained on, and how to use it."""

from __future__ import annotations

from datetime import date
from typing import Any

from torch import nn

from gwm_sim.data.schema import RAW, TRACKER
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.config import TrainConfig
from gwm_sim.training.dataset import TrainingData


def model_card(config: TrainConfig, model: WorldModel, data: TrainingData) -> str:
    """The text, in Markdown with the fields that the Hugging Face Hub reads."""
    schema, c = data.schema, model.config
    budget = f"{config.minutes:g} minutes" if config.minutes is not None else f"{config.steps} steps"
    begun = f", from the weights of {config.init}" if config.init is not None else ""
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
| objects | {objects_in_words(data, c.dynamics.from_pixels)} |
| raw recordings | {"yes: made by `gwm export raw`" if schema.settings.get(RAW) else "no"} |
| conditioned on | actions {", ".join(schema.action_names)}; properties {", ".join(c.properties) or "none"} |
| heads | reward and success of {", ".join(schema.tasks) or "no task"}; positions of {
        ", ".join(schema.object_names) or "no object"
    } |
| trained | {date.today()}, {budget} on {model.device}, preset {config.preset}, seed {config.seed}{begun} |

    import gymnasium as gym
    env = gym.make("gwm_sim:GWM-World-v0", model="path/to/{config.name}")  # the folder of this card

Valid for scenes, cameras and objects like those of its data, and nowhere else. Measured fidelity: `evaluation.json`,
made by `gwm eval --json`.
"""


def known_objects(data: TrainingData) -> dict[str, Any] | None:
    """How the data know where objects are, and whether that was learned; None where they say nothing of any."""
    schema = data.stored
    if not schema.object_names:
        return None
    return {
        "names": list(schema.object_names),
        "provenance": schema.provenance,
        "cameras": list(schema.tracked),
        "frame": schema.object_frame,
        "tracker": schema.settings.get(TRACKER),
        "learned": bool(data.schema.object_names),
    }


def objects_in_words(data: TrainingData, from_pixels: bool) -> str:
    """Say whether objects were measured or tracked, by which tracker, and whether that was learned."""
    known = known_objects(data)
    if known is None:
        learned = "learned from pictures alone" if from_pixels else "robot and residual are learned"
        return f"none in the data: {learned}"
    how = str(known["provenance"])
    if known["cameras"]:
        how += f" in the pictures of {', '.join(known['cameras'])}, never measured"
    if known["tracker"] is not None:
        how += f" (tracker `{known['tracker']}`)"
    unused = "" if known["learned"] else "; left out: learned from pictures alone"
    return f"{', '.join(known['names'])}: {how}{unused}"


def millions(module: nn.Module) -> float:
    """Number of weights, in millions."""
    return sum(p.numel() for p in module.parameters()) / 1e6
