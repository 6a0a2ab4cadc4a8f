"""Reach, grasp and stack: reward and success as pure functions of the physical state, for any leading batch shape.

Axes: K objects, in the order of `OBJECT_NAMES` (0 red, 1 blue). Nothing here knows a simulator; whoever knows the
state can ask. Rewards are dense, staged and in [0, 1]; 1 is given exactly where the task is solved at this instant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks.spec import CUBE_SIZE, TASKS

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

RED: Final = 0
BLUE: Final = 1

REACH_HEIGHT: Final = 0.10  # the point to reach lies this far above the red cube's centre [m]
REACH_TOLERANCE: Final = 0.02  # [m]
LIFT_HEIGHT: Final = 0.05  # a grasped cube counts as lifted this far above its place on the table [m]
# ManiSkill's StackCube rule, for our size of cube.
STACK_OFFSET: Final = float(np.hypot(CUBE_SIZE, CUBE_SIZE)) / 2 + 0.005  # horizontal, between the centres [m]
STACK_HEIGHT_TOLERANCE: Final = 0.005  # [m]
STATIC_LINEAR: Final = 0.01  # [m/s]
STATIC_ANGULAR: Final = 0.5  # [rad/s]


@dataclass(frozen=True)
class TaskState:
    """What the tasks look at; `...` is any batch shape."""

    end_effector: Array  # measured position (..., 3) [m]
    gripper_opening: Array  # measured opening (...) [m]
    position: Array  # cube centres (..., K, 3) [m]
    quaternion: Array  # cube orientations (..., K, 4), w first
    linear_velocity: Array  # (..., K, 3) [m/s]
    angular_velocity: Array  # (..., K, 3) [rad/s]
    grasped: Mask  # whether each cube is held between the fingers (..., K)

    def __getitem__(self, index: int | NDArray[np.intp] | Mask) -> "TaskState":
        """State of one row or of a selection of rows."""
        return TaskState(**{name: value[index] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Task:
    """A task's two functions of the state, both batched: reward (...) in [0, 1] and success (...) of this instant."""

    name: str
    reward: Callable[[TaskState], Array]
    success: Callable[[TaskState], Mask]


def reach_point(state: TaskState) -> Array:
    """Point (..., 3) [m] that the end-effector should reach, above the red cube."""
    return np.asarray(state.position[..., RED, :] + [0.0, 0.0, REACH_HEIGHT])


def stack_point(state: TaskState) -> Array:
    """Point (..., 3) [m] where the red cube's centre belongs, on the blue cube."""
    return np.asarray(state.position[..., BLUE, :] + [0.0, 0.0, CUBE_SIZE])


def is_static(state: TaskState) -> Mask:
    """Whether each cube is at rest (..., K)."""
    linear = np.linalg.norm(state.linear_velocity, axis=-1)
    angular = np.linalg.norm(state.angular_velocity, axis=-1)
    return np.asarray((linear <= STATIC_LINEAR) & (angular <= STATIC_ANGULAR))


def is_on_blue(state: TaskState) -> Mask:
    """Whether the red cube's centre is where it belongs on the blue cube (...), held or not."""
    offset = state.position[..., RED, :] - stack_point(state)
    near = np.linalg.norm(offset[..., :2], axis=-1) <= STACK_OFFSET
    return np.asarray(near & (np.abs(offset[..., 2]) <= STACK_HEIGHT_TOLERANCE))


def lift(state: TaskState) -> Array:
    """Height (...) [m] of the red cube above its place on the table."""
    return np.asarray(state.position[..., RED, 2] - CUBE_SIZE / 2)


def _closeness(a: Array, b: Array) -> Array:
    return np.asarray(1.0 - np.tanh(5.0 * np.linalg.norm(a - b, axis=-1)))


def _approach(state: TaskState) -> Array:
    return _closeness(state.end_effector, state.position[..., RED, :])


def _reach_success(state: TaskState) -> Mask:
    distance = np.linalg.norm(state.end_effector - reach_point(state), axis=-1)
    return np.asarray(distance <= REACH_TOLERANCE)


def _reach_reward(state: TaskState) -> Array:
    return np.where(_reach_success(state), 1.0, 0.9 * _closeness(state.end_effector, reach_point(state)))


def _grasp_success(state: TaskState) -> Mask:
    return np.asarray(state.grasped[..., RED] & (lift(state) >= LIFT_HEIGHT))


def _grasp_reward(state: TaskState) -> Array:
    lifted = np.clip(lift(state) / LIFT_HEIGHT, 0.0, 1.0)
    staged = np.where(state.grasped[..., RED], 0.5 + 0.4 * lifted, 0.4 * _approach(state))
    return np.where(_grasp_success(state), 1.0, staged)


def _stack_success(state: TaskState) -> Mask:
    return np.asarray(is_on_blue(state) & is_static(state).all(axis=-1) & ~state.grasped[..., RED])


def _stack_reward(state: TaskState) -> Array:
    grasped = state.grasped[..., RED]
    placing = 0.3 + 0.4 * _closeness(state.position[..., RED, :], stack_point(state))
    staged = np.where(grasped, placing, 0.25 * _approach(state))
    released = 0.75 + 0.1 * is_static(state).all(axis=-1) + 0.1 * ~grasped
    return np.where(_stack_success(state), 1.0, np.where(is_on_blue(state), released, staged))


TASK: Final[Mapping[str, Task]] = {
    "reach": Task("reach", _reach_reward, _reach_success),
    "grasp": Task("grasp", _grasp_reward, _grasp_success),
    "stack": Task("stack", _stack_reward, _stack_success),
}
assert tuple(TASK) == TASKS


def label(state: TaskState) -> dict[str, tuple[Array, Mask]]:
    """Reward (...) and success (...) of every task in `state`, by task name."""
    return {name: (task.reward(state), task.success(state)) for name, task in TASK.items()}
