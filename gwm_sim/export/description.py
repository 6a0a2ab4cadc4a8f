"""What the numbers of an exported world mean: a page or a program elsewhere knows of it what stands here.

    model, hash, rate [Hz], context (real frames that it begins with)
    cameras      [{name, height, width [px], calibration}], views in their order; `calibration` is null where unknown
    actions      [{name, unit, low, high, switched, raise, lower, target}]; `target` is null for changes and rates, or
                 {telemetry, scale} where the robot stays if it is told telemetry / scale
    telemetry    [{name, unit, low, high}];  effector: columns that say where the hand is
    objects      names;  object_frame: "metres" or "image";  tasks, task
    properties   [{name, low, high, default}], physics that a step is told, and the usual value
    uncertainty  {unit, limit}, above which a thing may be anywhere near

Keys are named as browsers do, in `raise` and `lower` of an action whose world has keys of its own.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any, Final

import gwm_sim
from gwm_sim.data.schema import Schema
from gwm_sim.data.targets import switched
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT

FORMAT: Final = 1
"""Version of the description."""
DOMAIN: Final = "gwm_sim.envs.learned.domain:find_domain"
"""Who knows what data do not say of a world, such as its usual physics, by the id in the data."""
BROWSER_KEYS: Final = {"PAGEUP": "PageUp", "PAGEDOWN": "PageDown"} | {
    name.upper(): f"Arrow{name}" for name in ("Up", "Down", "Left", "Right")
}
"""Keys that have another name in browsers."""
GREY_LEVELS: Final = 32.0
"""Expected error of a picture by which nothing in it is sure."""


def describe(model: WorldModel) -> dict[str, Any]:
    """The description of a model's world, which JSON can hold."""
    config, schema = model.config, model.config.schema
    return {
        "format": FORMAT,
        "gwm_sim": gwm_sim.__version__,
        "model": config.name,
        "hash": model.digest(),
        "rate": schema.rate,
        "context": CONTEXT,
        "cameras": [
            {
                "name": name,
                "height": config.tokenizer.height,
                "width": config.tokenizer.width,
                "calibration": calibration(model, name),
            }
            for name in config.cameras
        ],
        "actions": actions_of(config.control),
        "telemetry": _columns(
            schema.telemetry_names, schema.telemetry_units, schema.telemetry_low, schema.telemetry_high
        ),
        "effector": list(config.dynamics.effector),
        "objects": list(schema.object_names[: config.dynamics.objects]),
        "object_frame": schema.object_frame,
        "tasks": list(model.tasks),
        "task": schema.task if schema.task in model.tasks else None,
        "properties": _properties(model),
        "uncertainty": {"unit": config.dynamics.error_unit, "limit": unsure_from(model)},
    }


def _columns(*columns: Any) -> list[dict[str, Any]]:
    keys = "name", "unit", "low", "high"
    return [dict(zip(keys, values, strict=True)) for values in zip(*columns, strict=True)]


def actions_of(schema: Schema) -> list[dict[str, Any]]:
    """What each action means, and in `raise` and `lower` the keys of a world that has its own."""
    units = schema.settings.get("action_units", ("",) * len(schema.action_names))
    actions = _columns(schema.action_names, units, schema.action_low, schema.action_high)
    own = resolve_name(DOMAIN)(schema.env_id).keys
    targets = {command.action: command for command in schema.targets}
    for i, action in enumerate(actions):
        command = targets.get(i)
        action["target"] = None if command is None else {"telemetry": command.measured, "scale": command.scale}
        action["switched"] = switched(action["name"])
        for key, names in zip(("raise", "lower"), own.get(action["name"], ()), strict=False):
            action[key] = [BROWSER_KEYS.get(name, name) for name in names]
    return actions


def calibration(model: WorldModel, camera: str) -> dict[str, Any] | None:
    """Where a camera stands and looks, if it stays there and that is known: by this a place in its picture is one on
    the table."""
    schema = model.config.schema
    seen_from = schema.cameras.get(camera)
    known = schema.settings.get("calibrated", True) and model.config.dynamics.object_frame == "metres"
    if seen_from is None or not known or seen_from.moving or not seen_from.position.any():
        return None
    return seen_from.to_json()


def _properties(model: WorldModel) -> list[dict[str, Any]]:
    domain = resolve_name(DOMAIN)(model.config.schema.env_id)
    low, high = model.statistics.properties_low.tolist(), model.statistics.properties_high.tolist()
    properties = []
    for name, *of_data in zip(model.config.properties, low, high, strict=True):
        least, greatest = domain.property_ranges.get(name, of_data)
        value = domain.property_defaults.get(name)
        properties.append({"name": name, "low": least, "high": greatest, "default": value})
    return properties


def unsure_from(model: WorldModel) -> float:
    """Expected error, in its own unit, that is as large as a thing: what is imagined then may be anywhere near."""
    config, statistics = model.config, model.statistics
    if not config.dynamics.objects:
        return GREY_LEVELS
    if config.schema.object_frame == "image":
        return float((statistics.objects_low + statistics.objects_high)[2] / 2)
    span = (statistics.objects_high - statistics.objects_low).max().item()
    return 100 * (config.schema.object_size or span / 8)
