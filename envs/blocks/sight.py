"""Grasp and stack, told by positions and telemetry alone: of cubes that were tracked or imagined nobody knows more.

The twin's rules (`tasks`) ask for touch, for turns and for a speed of 1 mm in a step, less than a tracker is off. Here
the hand is judged by sight, and the tolerances are shares of a cube's edge, fixed before anything was measured with
them; that lift is read at the last frame alone was decided after labels of training episodes had been seen. Whether
places are measured, tracked or imagined makes no difference.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.schema import Schema
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.tasks import BLUE, LIFT_HEIGHT, RED, STACK_OFFSET

Array = NDArray[Any]

# When a cube is taken to be grasped, where no finger feels it.
GRASPED_WITHIN: Final = 0.025  # greatest distance of its centre from the end-effector [m]
FINGER_MARGIN: Final = 0.008  # greatest difference of the opening from a cube's width [m]
STOPPED: Final = 0.003  # greatest change of the opening in a step [m]

FRAMES: Final = 3  # at an episode's end, of which the middle place counts for what rests: a tracker's errors differ
LEVEL: Final = spec.CUBE_SIZE / 2  # red is on blue rather than beside it: greatest difference from its height there [m]
STILL: Final = spec.CUBE_SIZE / 10  # a cube rests if it is at most this far from where it was the step before [m]


def cubes_among(schema: Schema) -> list[int] | None:
    """Which objects are the red and the blue cube, by name; None where these are not known in metres, or the robot is
    another one."""
    known = schema.object_frame == "metres" and set(spec.OBJECT_NAMES) <= set(schema.object_names)
    if not known or schema.telemetry_names != spec.TELEMETRY_NAMES:
        return None
    return [schema.object_names.index(name) for name in spec.OBJECT_NAMES]


def success_at_the_end(position: Array, telemetry: Array) -> dict[str, NDArray[np.bool_]]:
    """Whether grasp and stack are fulfilled at the end of courses, (...) each.

    Args:
        position: Middles of the red and the blue cube (..., T, 2, 3) [m], T at least 3.
        telemetry: (..., T, P), as `spec` has it.
    """
    place, opening = position[..., -1, :, :], telemetry[..., spec.OPENING]
    held = grasped_by_sight(place, telemetry[..., -1, spec.EE], opening[..., -1], opening[..., -2])
    middle = np.median(position[..., -FRAMES:, :, :], axis=-3)
    offset = middle[..., RED, :] - middle[..., BLUE, :]
    on_blue = np.linalg.norm(offset[..., :2], axis=-1) <= STACK_OFFSET
    on_blue &= np.abs(offset[..., 2] - spec.CUBE_SIZE) <= LEVEL
    steps = np.linalg.norm(np.diff(position[..., -FRAMES:, :, :], axis=-3), axis=-1)
    still = (np.median(steps, axis=-2) <= STILL).all(axis=-1)
    lifted = place[..., RED, 2] - spec.CUBE_SIZE / 2 >= LIFT_HEIGHT
    return {"grasp": held[..., RED] & lifted, "stack": on_blue & still & ~held[..., RED]}


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
