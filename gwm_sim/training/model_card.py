"""README.md of a checkpoint: what the model is, what it was trained on, and how to use it."""

from __future__ import annotations

from datetime import date
from typing import Any

from torch import nn

from gwm_sim.data.schema import RAW, TRACKER
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.dataset import TrainingData
from gwm_sim.training.tracking import Recordings


def model_card(recordings: Recordings, model: WorldModel, data: TrainingData) -> str:
    """The text, in Markdown with the fields that the Hugging Face Hub reads."""
    config, schema, c = recordings.config, data.schema, model.config
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
| objects | {objects_in_words(recordings, data, c.dynamics.from_pixels)} |
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


def known_objects(recordings: Recordings, data: TrainingData) -> dict[str, Any]:
    """How the data know where objects are, whether training found them, and whether that was learned; where they say
    nothing of any, only `why`."""
    schema, tracking = data.stored, recordings.tracking
    if not schema.object_names:
        return {"names": [], "learned": False, "why": recordings.why}
    found = {} if tracking is None else recordings.to_json() | {"places": tracking.placement.words}
    return {
        "names": list(schema.object_names),
        "provenance": schema.provenance,
        "cameras": list(schema.tracked),
        "frame": schema.object_frame,
        "tracker": schema.settings.get(TRACKER),
        "learned": bool(data.schema.object_names),
        "found_in_training": found or None,
    }


def objects_in_words(recordings: Recordings, data: TrainingData, from_pixels: bool) -> str:
    """Say whether objects were measured or tracked, when and by which tracker, and whether that was learned."""
    known = known_objects(recordings, data)
    if not known["names"]:
        learned = "learned from pictures alone" if from_pixels else "robot and residual are learned"
        return f"none in the data: {learned}{'; ' if recordings.why else ''}{recordings.why}"
    how = str(known["provenance"])
    if known["cameras"]:
        how += f" in the pictures of {', '.join(known['cameras'])}, never measured"
    if known["found_in_training"]:
        how += ", when it was trained"
    if known["tracker"] is not None:
        how += f" (tracker `{known['tracker']}`)"
    unused = "" if known["learned"] else "; left out: learned from pictures alone"
    return f"{', '.join(known['names'])}: {how}{unused}"


def millions(module: nn.Module) -> float:
    """Number of weights, in millions."""
    return sum(p.numel() for p in module.parameters()) / 1e6
