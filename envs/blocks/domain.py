"""What learned block worlds are told beside their data, and what scripted policies and tasks see in them."""

from typing import Final

import numpy as np

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.sight import cubes_among, grasped_by_sight
from gwm_sim.envs.blocks.tasks import TaskState
from gwm_sim.envs.learned.domain import Domain, Keys
from gwm_sim.envs.learned.observations import LATENTS, OBJECTS
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel


def believed_state(model: WorldModel, state: WorldState) -> TaskState:
    """What the tasks look at, (B, ...), as far as the model tells: cubes stand upright, and are grasped by sight.

    Raises:
        ValueError: The model's robot and objects are not those of the block tasks.
    """
    cubes = cubes_among(model.config.schema) if model.config.dynamics.objects else None
    if cubes is None:
        raise ValueError(f"{model.config.name} does not track the cubes and the gripper of the block tasks")
    telemetry, before = (x.double().cpu().numpy() for x in (state.telemetry, state.previous_telemetry))
    place, place_before = (x[:, cubes].double().cpu().numpy() for x in (state.objects, state.previous_objects))
    upright = np.zeros((*place.shape[:2], 4))
    upright[..., 0] = 1.0
    return TaskState(
        end_effector=telemetry[:, spec.EE],
        gripper_opening=telemetry[:, spec.OPENING],
        position=place,
        quaternion=upright,
        linear_velocity=(place - place_before) * spec.CONTROL_RATE,
        angular_velocity=np.zeros_like(place),
        grasped=grasped_by_sight(place, telemetry[:, spec.EE], telemetry[:, spec.OPENING], before[:, spec.OPENING]),
    )


KEYS: Final[dict[str, Keys]] = {
    "dx": (("DOWN", "s"), ("UP", "w")),
    "dy": (("RIGHT", "d"), ("LEFT", "a")),
    "dz": (("PAGEUP", "r"), ("PAGEDOWN", "f")),
}
"""Directions as the front camera sees them: it looks at the robot, so its right is +y and away from it is -x."""

BLOCKS: Final = Domain(spec.PROPERTY_RANGES, spec.PROPERTY_DEFAULTS, believed_state, KEYS, (OBJECTS, LATENTS))
