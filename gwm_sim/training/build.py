"""The shape of a model that is to be trained: what its data ask for, in the sizes of a preset or of another model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gwm_sim.data.cameras import Camera, FloatArray
from gwm_sim.data.episode_file import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.model.config import DynamicsConfig, HeadsConfig, TokenizerConfig, WorldModelConfig
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.dataset import TrainingData
from gwm_sim.training.finetune import SIZES
from gwm_sim.training.phases.phase import Preset

if TYPE_CHECKING:
    from gwm_sim.training.pipeline import TrainConfig

ASKEW = 0.02  # share of its largest number that the matrix of a camera on the arm may be off


def build(config: TrainConfig, preset: Preset, data: TrainingData, source: WorldModel | None = None) -> WorldModel:
    """A model with fresh weights whose shape follows from the data, with the sizes of the preset or of `source`."""
    schema = data.schema
    cameras = [schema.cameras[name] for name in config.camera]
    if schema.object_names and cameras[0].moving:
        raise ConfigError(
            f"--camera {config.camera[0]} rides on the robot: objects are tracked from a camera that stands still. "
            f"Name another one of {', '.join(schema.cameras)} first."
        )
    if schema.object_names and any(camera.moving for camera in cameras) and not schema.effector:
        raise ConfigError("a camera that rides on the robot needs data that say where the end-effector is")
    if source is None:
        tokenizer = TokenizerConfig(channels=preset.channels, pack=preset.pack)
        heads = HeadsConfig(width=preset.head_width)
        sizes = {"memory": preset.memory, "width": preset.width, "layers": preset.layers, "heads": preset.heads}
        sizes["window"] = preset.attention_window
    else:
        tokenizer, heads = source.config.tokenizer, source.config.heads
        if (tokenizer.height, tokenizer.width) != (cameras[0].height, cameras[0].width):
            tokenizer = replace(tokenizer, pack=preset.pack)
        sizes = {name: getattr(source.config.dynamics, name) for name in SIZES}
    picture = cameras[0]
    tokenizer = replace(tokenizer, height=picture.height, width=picture.width, views=len(cameras))
    views = [mounted(camera, data).matrix(tokenizer.token) for camera in cameras]
    if source is not None:
        views = [known(camera, view, source, i) for i, (camera, view) in enumerate(zip(cameras, views, strict=True))]
    sizes["noise"] = preset.noise if "dynamics" in config.phases and schema.object_names else 0
    depth = "depth" in config.phases and len(data.measured) > 0
    time_limit = usual_length(data.lengths) - 1
    if source is not None:  # what it has is kept
        time_limit = time_limit if "dynamics" in config.phases else source.config.time_limit
        sizes["noise"] = source.config.dynamics.noise or sizes["noise"]
        depth = depth or (source.config.depth and "tokenizer" not in config.phases)
    dynamics = DynamicsConfig(
        tokens=tokenizer.tokens,
        token_numbers=tokenizer.token_numbers,
        levels=tokenizer.levels,
        telemetry=len(schema.telemetry_names),
        actions=len(schema.action_names),
        objects=len(schema.object_names),
        properties=len(data.property_names),
        commands=schema.commands,
        effector=schema.effector,
        grid=tokenizer.grid,
        view=tuple(float(x) for view in views for x in view.flatten()) if schema.object_names else (),
        action_size=action_size(schema, source),
        rides=tuple(camera.moving for camera in cameras) if schema.object_names and len(cameras) > 1 else (),
        **sizes,
    )
    whole = WorldModelConfig(
        name=config.name,
        schema=schema,
        camera=config.camera[0],
        others=config.camera[1:],
        depth=depth,
        properties=data.property_names,
        time_limit=time_limit,
        tokenizer=tokenizer,
        dynamics=dynamics,
        heads=replace(heads, tasks=schema.tasks),
    )
    model = WorldModel(whole, data.statistics())
    spread = torch.linspace(0, len(data.frames) - 1, 256).long()
    model.tokenizer.fit_background(data.frames[spread])
    return model


def mounted(camera: Camera, data: TrainingData) -> Camera:
    """A camera as seen from what it stands on: one that rides on the robot from the end-effector, which it follows
    without turning."""
    if not camera.moving:
        return camera
    # The schema says where it was at the first frame of all.
    effector = data.telemetry[0, list(data.schema.effector)].double().numpy()
    return replace(camera, position=camera.position - effector)


def known(camera: Camera, view: FloatArray, source: WorldModel, number: int) -> FloatArray:
    """The matrix (3, 4) of a camera, that of `source` if this is the same: one that rides on the robot sits a little
    askew at every moment."""
    theirs = np.array(source.config.dynamics.view).reshape(-1, 3, 4)[number : number + 1]
    if camera.moving and len(theirs) and np.abs(view - theirs[0]).max() < ASKEW * np.abs(theirs[0]).max():
        return theirs[0]
    return view


def action_size(schema: Schema, source: WorldModel | None) -> tuple[float, ...]:
    """What the network takes for 1 of each action: the largest that the data declare, or what `source` takes for it."""
    if source is not None and source.config.schema.action_names == schema.action_names:
        return source.config.dynamics.action_size
    sizes = tuple(
        float(max(abs(low), abs(high))) for low, high in zip(schema.action_low, schema.action_high, strict=True)
    )
    return () if all(size == 1 for size in sizes) else sizes


def usual_length(lengths: Tensor) -> int:
    """Frames of the episode in which the middle one of all frames lies: many short pieces do not make long episodes
    unusual."""
    ordered = lengths.sort().values
    middle = torch.searchsorted(ordered.cumsum(0), ordered.sum() / 2)
    return int(ordered[middle])
