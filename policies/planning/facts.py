"""What a search for places of things needs to know of a model, as numbers, where it runs without this package."""

from typing import Any

from gwm_sim.envs.learned.goals import NEAR, near
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.hand import Hands, openings
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.planning.plan_step import GRIPPER_RATE
from gwm_sim.policies.planning.via_points import ViaPoints


def facts(model: WorldModel) -> dict[str, Any] | None:
    """The facts, which JSON can hold; None where the robot is not known among the things, or some of these look alike.

    near         distance at which a thing is where it should be, in the frame of the things
    lost         distance that counts for a thing that is not there any more
    low, high    least and largest moves: actions, or changes of targets in one step
    three_level  actions that are lowest, in the middle or highest
    hand         [{telemetry, action, scale}], what commands move the end-effector; empty where the world has to tell
    openings     {columns, spread} of the telemetry that says how far a gripper is open
    """
    moves = Moves(model)
    if not ViaPoints(model, moves).known or model.config.dynamics.kinds:
        return None
    schema = model.config.schema
    low, high = moves.bounds
    columns = openings(schema)
    return {
        "near": near(model),
        "lost": near(model) / NEAR,
        "low": low.tolist(),
        "high": high.tolist(),
        "three_level": [i for i, name in enumerate(schema.action_names) if name == GRIPPER_RATE],
        "hand": [
            {"telemetry": axis.telemetry, "action": axis.action, "scale": axis.scale}
            for axis in Hands(model, moves).axes
        ],
        "openings": {"columns": columns, "spread": float(model.statistics.telemetry_std[columns].sum())},
    }
