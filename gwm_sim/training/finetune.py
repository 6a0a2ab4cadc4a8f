"""Start from the weights of another model: what is kept, and what has to be learned anew.

A new model takes its sizes from the other one, so nearly all weights fit. Whether they still mean the same is decided
by the data: how a picture is encoded or attention is paid does not depend on the robot, but the weights that read its
telemetry do. Weights are kept together with the scales of what they read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from gwm_sim.data.schema import TRACKER
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import find_checkpoint, read_config
from gwm_sim.model.config import DynamicsConfig, WorldModelConfig
from gwm_sim.model.world_model import WorldModel

SIZES: Final = ("memory", "width", "layers", "heads", "painter_layers", "window")
"""Of the dynamics, what a new model takes over from the other one."""

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "positions in the picture": ("picture",),
    "robot inputs and outputs": ("robot",),
    "objects": ("objects", "robot"),
    "properties": ("properties",),
    "reward and success": ("tasks", "objects", "robot", "read pictures"),
}
"""Parts of a model beside tokenizer and dynamics, and what the data must share for them to keep their meaning.

The first of each is what the part is about.
"""

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "tokenizer.": (),
    "depth_head.": ("picture",),
    "locator.": ("robot", "objects"),
    "picture_reader.": ("robot", "picture"),
    "task_head.out.": ("read pictures", "robot", "objects", "tasks"),
    "task_head.": ("read pictures", "robot", "objects"),
    "dynamics.motion_out.": ("objects",),
    "dynamics.identity": ("objects",),
    "dynamics.painter.robot_in.": ("robot",),
    "dynamics.painter.thing": ("objects",),
    "dynamics.robot_points.": ("robot", "picture"),
    "dynamics.robot_": ("robot",),
    "dynamics.telemetry_": ("robot",),
    "dynamics.object_": ("robot", "objects"),
    "dynamics.objects_": ("objects",),
    "dynamics.property_": ("properties",),
    "dynamics.": (),
    "renderer.": ("robot", "objects", "picture"),
    "residual_encoder.": ("picture",),
    "turn_reader.": ("picture", "objects"),
}
"""What weights and scales need, by the beginning of their name; the first that fits counts."""

TOKENS: Final = ("dynamics.position", "dynamics.painter.canvas")
"""Weights with a row for each token of a frame, which means the same where tokens are as many."""

ABOUT_PICTURES: Final = ("picture", "read pictures", "grid", "camera")
"""Differences that do not matter to what becomes of robot and tracked objects."""

OF_PICTURES: Final = ("dynamics.painter.", "dynamics.robot_points.")
"""Weights of the dynamics that only pictures need, where things are known in metres."""

OF_THE_DATA: Final = (
    "tokenizer.background",
    "tokenizer.usual_error",
    "dynamics.command_",
    "calibration",
    "renderer.exemplar",
)
"""What belongs to the new data alone."""

RANGES: Final = {"dynamics.objects": "objects", "dynamics.properties": "properties"}
"""Scales by a range `_low` to `_high` that is widened to hold both data, and what they need."""


@dataclass(frozen=True)
class Inheritance:
    """What a model took over from another one."""

    source: str
    digest: str
    kept: tuple[str, ...]  # parts, in words
    fresh: dict[str, str]  # parts that are new, and why
    share: float  # share of the model's weights that were taken over

    def __str__(self) -> str:
        """Say it in two sentences."""
        fresh = "; ".join(f"{part} ({reason})" for part, reason in self.fresh.items())
        kept = f"from {self.source} ({self.digest}): {', '.join(self.kept)}, {self.share:.0%} of the weights"
        return f"{kept}. New: {fresh or 'nothing'}."


@torch.no_grad()
def inherit(model: WorldModel, source: WorldModel) -> Inheritance:
    """Copy into a fresh model, in place, what means the same in another one."""
    reasons = differences(model.config, source.config)
    theirs, own = source.state_dict(), model.state_dict()  # the tensors of the state are those of the model
    parameters = {name for name, _ in model.named_parameters()}
    copied = 0
    for name, value in own.items():
        if name in TOKENS and name in theirs:
            rows, source_rows = token_rows(model.config.dynamics), token_rows(source.config.dynamics)
            copied += copy_tokens(value, theirs[name], rows, source_rows, reasons)
        elif keeps(name, reasons) and name in theirs and theirs[name].shape == value.shape:
            value.copy_(theirs[name].to(value.device))
            copied += value.numel() * (name in parameters)
    for name, meaning in RANGES.items():
        if meaning not in reasons:
            for end, widest in (("_low", torch.minimum), ("_high", torch.maximum)):
                own[name + end].copy_(widest(own[name + end], theirs[name + end].to(own[name + end].device)))
    about = describe(model.config)
    parts = {part: needs for part, needs in PARTS.items() if about[needs[0]]}
    lacking = {part: [reasons[need] for need in needs if need in reasons] for part, needs in parts.items()}
    alike = model.config.dynamics.from_pixels == source.config.dynamics.from_pixels
    other_kind = {} if alike else {"dynamics": "objects are tracked in one of both only"}
    return Inheritance(
        source=source.config.name,
        digest=source.digest(),
        kept=("tokenizer", "dynamics" if alike else "painter", *(part for part, lacks in lacking.items() if not lacks)),
        fresh=other_kind | {part: lacks[0] for part, lacks in lacking.items() if lacks},
        share=copied / sum(p.numel() for p in model.parameters()),
    )


def become(model: WorldModel, source: WorldModel, kept: Collection[str], why: str) -> None:
    """Copy what the phases that are left out, `kept`, would learn from another model, in place, scales too: it must not
    change. Where tracked objects and robot alone are kept, the pictures may be others.

    Raises:
        ConfigError: The data of `model` are of another robot, scene or picture; begins with `why` it must fit them.
    """
    reasons = differences(model.config, source.config)
    judged = "dynamics" in kept  # else the task head is learned, and may judge other tasks
    if not judged:
        reasons.pop("tasks", None)
    if model.config.dynamics.view != source.config.dynamics.view:
        reasons["camera"] = "the camera stands elsewhere"
    unseen = not {"tokenizer", "painter"} & set(kept) and not model.config.dynamics.from_pixels
    if unseen:
        reasons = {meaning: reason for meaning, reason in reasons.items() if meaning not in ABOUT_PICTURES}
    if reasons:
        different = "; ".join(dict.fromkeys(reasons.values()))
        raise ConfigError(f"{why}, which does not fit the data: {different}. Learn all phases.")
    own = model.state_dict()
    theirs = {name: value for name, value in source.state_dict().items() if name in own}
    if not judged:
        theirs = {name: value for name, value in theirs.items() if not name.startswith("task_head.")}
    if unseen:
        theirs = {
            name: value
            for name, value in theirs.items()
            if name.startswith(("dynamics.", "task_head.")) and not name.startswith(OF_PICTURES)
        }
    model.load_state_dict(own | theirs)


def keeps(name: str, reasons: Mapping[str, str]) -> bool:
    """Whether the tensor of that name means the same, where `reasons` says what does not."""
    if name.startswith(OF_THE_DATA) or name.endswith(("_low", "_high")):
        return False
    needs = next(needs for beginning, needs in NEEDS.items() if name.startswith(beginning))
    return not any(need in reasons for need in needs)


def borrow_tokenizer(model: WorldModel, name: str) -> bool:
    """Let a fresh model begin with the tokenizer of another, by its name, in place; whether theirs are of one size, for
    pictures of any. The empty scene stays that of the data."""
    own, theirs = model.config.tokenizer, read_config(find_checkpoint(name)).tokenizer
    if any(getattr(own, size) != getattr(theirs, size) for size in ("channels", "numbers", "levels")):
        return False
    weights = WorldModel.load(name, "cpu").tokenizer.named_parameters()
    model.tokenizer.load_state_dict(dict(weights), strict=False)
    return True


def copy_tokens(
    own: Tensor, theirs: Tensor, rows: Mapping[str, slice], source_rows: Mapping[str, slice], reasons: Mapping[str, str]
) -> int:
    """Copy the rows of tokens that mean the same and that both have; return the number of weights copied."""
    copied = 0
    for meaning, place in rows.items():
        target, source = own[place], theirs[source_rows[meaning]]
        if meaning not in reasons and target.shape == source.shape:
            target.copy_(source.to(own.device))
            copied += target.numel()
    return copied


def token_rows(config: DynamicsConfig) -> dict[str, slice]:
    """Where the tokens of a frame are, by what they need; the robot's token is always one that listens to it."""
    robot, main = config.tokens, config.grid[0] * config.grid[1]
    return {
        "grid": slice(0, main),  # of the main view
        "picture": slice(main, robot),
        "robot token": slice(robot, robot + 1),
        "properties": slice(robot + 1, None),
    }


def describe(config: WorldModelConfig) -> dict[str, dict[str, Any]]:
    """What gives a model's parts their meaning; empty where the model has no such part."""
    schema, dynamics = config.schema, config.dynamics
    tracker = schema.settings.get(TRACKER)  # which says what things these are, whatever their names
    names = ("rate", "telemetry_names", "telemetry_units", "action_names", "effector")
    return {
        "picture": {"picture size": config.tokenizer.frame[:2]},
        "read pictures": {"picture size": config.tokenizer.frame[:2]},
        "grid": {"tokens": dynamics.grid},
        "robot": {name.replace("_", " "): getattr(schema, name) for name in names} | {"commands": dynamics.commands},
        "objects": {"objects": schema.object_names, "trackers": tracker} if dynamics.objects else {},
        "properties": {"properties": config.properties} if config.properties else {},
        "tasks": {"tasks": config.heads.tasks} if config.heads.tasks else {},
    }


def differences(config: WorldModelConfig, source: WorldModelConfig) -> dict[str, str]:
    """What two models do not share, and in what they differ."""
    reasons = {}
    for (meaning, ours), theirs in zip(describe(config).items(), describe(source).values(), strict=True):
        differing = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
        if differing:
            verb = "differ" if all(theirs.get(name) for name in differing) else "are new"
            reasons[meaning] = f"{', '.join(sorted(differing))} {verb}"
    if not config.dynamics.from_pixels:
        reasons.pop("read pictures", None)  # rewards of tracked objects are read from their positions
    return reasons
