"""What learned block worlds are told beside their data, and what scripted policies and tasks see in them."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.tasks import TaskState
from gwm_sim.envs.learned.domain import Domain
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel

Array = NDArray[Any]

# When a cube is taken to be grasped, where no finger feels it.
GRASPED_WITHIN: Final = 0.025  # greatest distance of its centre from the end-effector [m]
FINGER_MARGIN: Final = 0.008  # greatest difference of the opening from a cube's width [m]
STOPPED: Final = 0.003  # greatest change of the opening in a step [m]


def believed_state(model: WorldModel, state: WorldState) -> TaskState:
    """What the tasks look at, (B, ...), as far as the model tells: cubes stand upright, and are grasped by sight.

    Raises:
        ValueError: The model's robot and objects are not those of the block tasks.
    """
    schema = model.config.schema
    known = bool(model.config.dynamics.objects) and schema.object_names == spec.OBJECT_NAMES
    if schema.telemetry_names != spec.TELEMETRY_NAMES or not known:
        raise ValueError(f"{model.config.name} does not track the cubes and the gripper of the block tasks")
    telemetry, before = (x.double().cpu().numpy() for x in (state.telemetry, state.previous_telemetry))
    place, place_before = (x.double().cpu().numpy() for x in (state.objects, state.previous_objects))
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


def grasped_by_sight(position: Array, end_effector: Array, opening: Array, opening_before: Array) -> NDArray[np.bool_]:
    """Whether each cube is grasped, (..., K), told without touch: it is between the fingers, which have stopped at its
    width.

    Args:
        position: Cube centres (..., K, 3) [m].
        end_effector: (..., 3) [m].
        opening: Of the gripper (...) [m].
        opening_before: The same one step earlier (...) [m].
    """
    inside = np.linalg.norm(position - end_effector[..., None, :], axis=-1) < GRASPED_WITHIN
    fits = (np.abs(opening - spec.CUBE_SIZE) < FINGER_MARGIN) & (np.abs(opening - opening_before) < STOPPED)
    return np.asarray(inside & fits[..., None])


BLOCKS: Final = Domain(spec.PROPERTY_RANGES, spec.PROPERTY_DEFAULTS, believed_state)
