"""The shape of a model that is to be trained: what its data ask for, in the sizes of a preset or of another model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gwm_sim.data.cameras import Camera, FloatArray
from gwm_sim.data.schema import Command, Schema
from gwm_sim.data.targets import find_targets
from gwm_sim.errors import ConfigError
from gwm_sim.model.config import DynamicsConfig, HeadsConfig, TokenizerConfig, WorldModelConfig
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import Preset, TrainConfig
from gwm_sim.training.dataset import TrainingData
from gwm_sim.training.finetune import SIZES
from gwm_sim.training.fitting.points import fit_points
from gwm_sim.training.fitting.turns import fit_turns

POINTS = 6  # of the robot
AT_ONCE = 1024  # frames
USUAL = 64 * 64  # pixels of a frame
DRAWING = ("points", "residual", "turns", "reference", "exemplars")
FAR = 100.0  # tokens
REWEIGHTED = 30  # times, until a plane leans on most of the points
AT_MOST = 4_000_000  # points that a plane is laid through
FLAT = 1e-4  # share of its depth that a point may lie off a plane and count as on it
ASKEW = 0.02  # share of its largest number that the matrix of a camera on the arm may be off


def build(config: TrainConfig, preset: Preset, data: TrainingData, source: WorldModel | None = None) -> WorldModel:
    """A model with fresh weights whose shape follows from the data, with the sizes of the preset or of `source`."""
    cameras = chosen_cameras(config.camera, data.schema)
    tokenizer = tokenizer_config(preset, cameras, source)
    depth = "depth" in config.phases and len(data.measured) > 0
    time_limit = usual_length(data.lengths) - 1
    if source is not None:  # what it has is kept
        depth = depth or (source.config.depth and "tokenizer" not in config.phases)
        time_limit = time_limit if "dynamics" in config.phases else source.config.time_limit
    dynamics = dynamics_config(config, preset, data, tokenizer, cameras, source)
    whole = WorldModelConfig(
        name=config.name,
        schema=data.schema,
        camera=config.camera[0],
        others=config.camera[1:],
        depth=depth,
        properties=data.property_names,
        time_limit=time_limit,
        tokenizer=tokenizer,
        dynamics=dynamics,
        heads=heads_config(config, preset, data, dynamics, source),
    )
    model = WorldModel(whole, data.statistics())
    fit_empty_scene(model, data, source if "tokenizer" in config.kept else None)
    fit_points(model, data, preset.found_in, config.seed)
    if model.dynamics.robot_points is not None:
        round_as_stored(model.dynamics.robot_points)
    fit_turns(model, data, config.seed)
    return model


@torch.no_grad()
def fit_empty_scene(model: WorldModel, data: TrainingData, source: WorldModel | None) -> None:
    """Take in the empty scene, in place, and take all frames of the data to its light, where the model draws from a
    reference: to that of `source`, whose tokenizer is kept."""
    spread = torch.linspace(0, len(data.frames) - 1, 256).long()
    own, known = model.tokenizer, None if source is None else source.tokenizer.background
    own.fit_background(data.frames[spread])
    if model.renderer is None:
        return
    if known is not None and known.shape == own.background.shape:
        own.background.copy_(known)
    factors = torch.empty(len(data.frames))  # at once: what is kept in between leaves holes in the memory of a process
    for rows in torch.arange(len(data.frames)).split(AT_ONCE):
        usual, light = model.in_usual_light(data.frames[rows])
        data.take_light(rows, usual, light)
        factors[rows] = light.log().mean(dim=(1, 2, 3))
    data.light = float(factors.std())
    if known is None:
        own.fit_background(data.frames[spread])


@torch.no_grad()
def round_as_stored(module: nn.Module) -> None:
    """Give weights, in place, the values that a checkpoint will hold: what learns from them later learns from these."""
    for parameter in module.parameters():
        parameter.copy_(parameter.half())


def chosen_cameras(names: Sequence[str], schema: Schema) -> list[Camera]:
    """The cameras of these names, with which objects must be trackable if there are any."""
    cameras = [schema.cameras[name] for name in names]
    if schema.object_names and cameras[0].moving:
        raise ConfigError(
            f"--camera {names[0]} rides on the robot: objects are tracked from a camera that stands still. "
            f"Name another one of {', '.join(schema.cameras)} first."
        )
    if schema.object_names and any(camera.moving for camera in cameras) and not schema.effector:
        raise ConfigError("a camera that rides on the robot needs data that say where the end-effector is")
    return cameras


def tokenizer_config(preset: Preset, cameras: Sequence[Camera], source: WorldModel | None) -> TokenizerConfig:
    """Shape of the tokenizer."""
    picture = cameras[0]
    if source is None:
        config = TokenizerConfig(channels=preset.channels, pack=preset.pack)
    else:
        config = source.config.tokenizer
        if (config.height, config.width) != (picture.height, picture.width):
            config = replace(config, pack=preset.pack)
    return replace(config, height=picture.height, width=picture.width, views=len(cameras))


def dynamics_config(
    config: TrainConfig,
    preset: Preset,
    data: TrainingData,
    tokenizer: TokenizerConfig,
    cameras: Sequence[Camera],
    source: WorldModel | None,
) -> DynamicsConfig:
    """Shape of the dynamics, and what they know of cameras and actions."""
    schema = data.schema
    tracked = len(schema.object_names) > 0
    told = bool(schema.telemetry_names) or tracked  # of a robot that reports nothing the picture has to tell
    alone = config.path != "video" and told and not tracked
    image = alone or (tracked and schema.object_frame == "image")
    views = (
        [of_image(camera, tokenizer.token, camera is cameras[0]) for camera in cameras]
        if image
        else [mounted(camera, data).matrix(tokenizer.token) for camera in cameras]
    )
    noise = preset.noise if "dynamics" in config.phases and tracked else 0
    sizes: dict[str, Any]
    if source is None:
        sizes = {"memory": preset.memory, "width": preset.width, "layers": preset.layers, "heads": preset.heads}
        sizes["window"] = preset.attention_window
    else:
        views = [known(camera, view, source, i) for i, (camera, view) in enumerate(zip(cameras, views, strict=True))]
        sizes = {name: getattr(source.config.dynamics, name) for name in SIZES}
        noise = source.config.dynamics.noise or noise
    return DynamicsConfig(
        tokens=tokenizer.tokens,
        token_numbers=tokenizer.token_numbers,
        levels=tokenizer.levels,
        telemetry=len(schema.telemetry_names),
        actions=len(schema.action_names),
        objects=len(schema.object_names),
        properties=len(data.property_names),
        commands=commands(data, source),
        effector=() if image else schema.effector,
        grid=tokenizer.grid,
        view=tuple(float(x) for view in views for x in view.flatten()) if tracked or alone else (),
        action_size=action_size(schema, source),
        rides=tuple(camera.moving for camera in cameras) if tracked and len(cameras) > 1 else (),
        noise=noise,
        state=alone,
        object_frame="image" if image else "metres",
        kinds=kinds(schema) if source is None else source.config.dynamics.kinds,
        pairs=len(schema.object_names) > 2,
        gaps=bool(data.objects.isnan().any()),
        **sizes,
        **drawing(config, preset, data, told, tokenizer, source),
    )


def drawing(
    config: TrainConfig,
    preset: Preset,
    data: TrainingData,
    told: bool,
    tokenizer: TokenizerConfig,
    source: WorldModel | None,
) -> dict[str, Any]:
    """Options of a renderer that draws from a reference, where that is asked for.

    Raises:
        ConfigError: Latents are asked for, of things that were not measured.
    """
    schema = data.schema
    measured = bool(schema.object_names) and schema.provenance != "tracked"
    if config.path == "video" or not told:
        return {}
    if config.drawing == "latents" and not measured:
        raise ConfigError("--drawing latents needs data whose objects were measured; leave it out, or --path video")
    if config.drawing == "auto" and source is not None and measured:
        return {name: getattr(source.config.dynamics, name) for name in DRAWING}
    if config.drawing == "latents":
        return {}
    things = len(schema.object_names)
    known = preset.exemplars * USUAL // math.prod(tokenizer.frame[:2])
    return {
        "points": POINTS if schema.telemetry_names else 0,
        "exemplars": max(1, known) if schema.telemetry_names else 0,
        "residual": preset.residual + 2 * things,
        "turns": things > 0,
        "reference": preset.reference,
    }


def kinds(schema: Schema) -> tuple[int, ...]:
    """Which kind each tracked thing is of, by its name: of two alike, `red-1` and `red-2`; empty where all differ."""
    looks = [name.rpartition("-")[0] if name.rpartition("-")[2].isdigit() else name for name in schema.object_names]
    order = list(dict.fromkeys(looks))
    alike = schema.tracked and len(order) < len(looks)
    return tuple(map(order.index, looks)) if alike else ()


def of_image(camera: Camera, token: int, sees: bool) -> FloatArray:
    """The matrix (3, 4) that takes column and row [px] of the camera that `sees` things to those of its tokens, and for
    others far away."""
    if not sees:
        return np.array([[0, 0, 0, -FAR], [0, 0, 0, -FAR], [0, 0, 0, 1.0]])
    middle = 0.5 * (token - 1) / token  # of the first token
    return np.array([[1 / token, 0, 0, -middle], [0, 1 / token, 0, -middle], [0, 0, 0, 1.0]])


def heads_config(
    config: TrainConfig, preset: Preset, data: TrainingData, dynamics: DynamicsConfig, source: WorldModel | None
) -> HeadsConfig:
    """Shape of the heads, and where things lie."""
    heads = HeadsConfig(width=preset.head_width) if source is None else source.config.heads
    known = () if source is None or source.config.dynamics.view[:12] != dynamics.view[:12] else heads.ground
    if source is None or not (source.config.dynamics.objects and dynamics.objects):  # nothing is kept of a locator
        heads = replace(heads, in_picture=dynamics.objects > 0, ground=())
    lifted = heads.in_picture and data.schema.object_frame == "metres"
    lies = (known or ground(data.objects, data.confidence, dynamics.view)) if lifted else ()
    reads = heads.reader or "reader" in config.phases
    heads = replace(heads, ground=lies, reader=reads and dynamics.objects > 0 and dynamics.telemetry > 0)
    return replace(heads, tasks=data.schema.tasks)


def ground(objects: Tensor, confidence: Tensor, view: Sequence[float]) -> tuple[float, ...]:
    """The plane on which most objects (F, K, 3) [m] are, for `HeadsConfig.ground`: in the main camera, the first of
    `view`, the inverse depths of a plane are linear in columns and rows. Of more and more weight is what lies on it, so
    that a third of the objects may be in the air, and each counts by the square of its confidence."""
    matrix = torch.tensor(view[:12], dtype=torch.float64).view(3, 4)
    thin = confidence.numel() // AT_MOST + 1  # frames of which one counts
    places, surely = objects[::thin].flatten(0, 1).double(), confidence[::thin].flatten().double()
    seen = places @ matrix[:, :3].T + matrix[:, 3]
    good = seen.isfinite().all(dim=-1) & (seen[:, 2] > 0) & (surely > 0)
    if not good.any():
        return (1.0, 0.0, 0.0)
    across, depth, surely = seen[good, :2] / seen[good, 2:], seen[good, 2], surely[good]
    terms = torch.cat((torch.ones_like(across[:, :1]), across), dim=-1)
    plane, off = torch.zeros(3, dtype=torch.float64), torch.ones_like(depth)
    for step in range(REWEIGHTED):
        weights = (surely.square() / off ** (1 if step < REWEIGHTED // 2 else 2))[:, None]
        level = (terms * weights).T @ terms + 1e-9 * weights.sum() * torch.eye(3)
        plane = torch.linalg.solve(level, (terms * weights).T @ (1 / depth))
        off = (depth * (terms @ plane) - 1).abs() + FLAT
    return tuple(plane.tolist())


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


def commands(data: TrainingData, source: WorldModel | None) -> tuple[Command, ...]:
    """What is commanded: as the data declare it, else as `source` knows it of the same robot, else the targets that are
    found in the training episodes."""
    schema = data.schema
    if schema.commands:
        return schema.commands
    if source is not None:
        theirs = source.config.schema
        if (theirs.telemetry_names, theirs.action_names) == (schema.telemetry_names, schema.action_names):
            return source.config.dynamics.commands
    chosen = ~data.validation()
    episodes = data.starts[chosen].numpy(), data.lengths[chosen].numpy()
    found = find_targets(data.telemetry.numpy(), data.actions.numpy(), *episodes, schema)
    return tuple(target.command for target in found)


def usual_length(lengths: Tensor) -> int:
    """Frames of the episode in which the middle one of all frames lies: many short pieces do not make long episodes
    unusual."""
    ordered = lengths.sort().values
    middle = torch.searchsorted(ordered.cumsum(0), ordered.sum() / 2)
    return int(ordered[middle])
