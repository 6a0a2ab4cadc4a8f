"""What a served model tells of itself: all that a client needs in order to act, and that a page needs to show."""

from typing import Any

import numpy as np

from gwm_sim.envs.spaces import depth_key, image_key
from gwm_sim.export.description import actions_of, calibration, unsure_from
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving.planning import can_plan
from gwm_sim.policies.serving.worlds import Kind, Worlds


def describe(worlds: Worlds, twin: bool) -> dict[str, Any]:
    """Names, units and bounds of a model's numbers, its cameras, tasks and properties, and what it lacks."""
    model = worlds.model
    config = model.config
    schema, dynamics = config.schema, config.dynamics
    imagination = worlds.imagination(Kind(None, "dense"))
    means = imagination.metadata()
    starts = imagination.starts
    return {
        "model": worlds.name,
        "hash": model.digest(),
        "rate": schema.rate,
        "time_limit": config.time_limit,
        "cameras": _cameras(model),
        "actions": actions_of(config.control),
        "telemetry": [
            {"name": name, "unit": unit, "low": low, "high": high}
            for name, unit, low, high in zip(
                schema.telemetry_names,
                schema.telemetry_units,
                np.array(schema.telemetry_low, np.float32).tolist(),
                np.array(schema.telemetry_high, np.float32).tolist(),
                strict=True,
            )
        ],
        "commands": [command.to_json() for command in schema.commands],
        "effector": list(schema.effector),
        "gripper": list(schema.gripper),
        "objects": list(schema.object_names[: dynamics.objects]),
        "object_frame": dynamics.object_frame,
        "object_size": schema.object_size,
        "uncertainty": {"unit": dynamics.error_unit, "limit": unsure_from(model)},
        "tasks": list(model.tasks),
        "task": schema.task,
        "properties": [
            {"name": name, "low": low, "high": high, "default": starts.property_defaults.get(name)}
            for name, (low, high) in starts.property_ranges.items()
        ],
        "starts": len(starts),
        "lacks": means["lacks"],
        "plans": can_plan(config),
        "twin": twin,
    }


def _cameras(model: WorldModel) -> list[dict[str, Any]]:
    config = model.config
    return [
        {
            "name": name,
            "key": image_key(name),
            "height": config.tokenizer.height,
            "width": config.tokenizer.width,
            "depth": depth_key(name) if config.depth and name == config.camera else None,
            "calibration": calibration(model, name),
        }
        for name in config.cameras
    ]
