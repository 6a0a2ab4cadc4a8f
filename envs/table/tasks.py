"""Grasp, stack, push, tower and drop: reward and success as pure functions of the physical state, for any batch shape.

Axes: K slots of objects, of which absent ones have NaN for their place. Which objects a task is about is part of the
state, as every row may have a task of its own. Nothing here knows a simulator. Rewards are dense, staged and in [0, 1];
1 is given exactly where the task is solved at this instant.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.table.scene import ASSIGNED, TASKS, Assignment

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Index = NDArray[np.intp]

MOST_ASSIGNED: Final = max(ASSIGNED.values())

LIFT_HEIGHT: Final = 0.05  # a grasped object counts as lifted this far above its place on the table [m]
HEIGHT_TOLERANCE: Final = 0.005  # of what lies on something else [m]
OFFSET_SLACK: Final = 0.005  # beyond what keeps an object on the one below it [m]
PLACE_TOLERANCE: Final = 0.03  # horizontal distance to the place where something is pushed to [m]
STATIC_LINEAR: Final = 0.01  # [m/s]
STATIC_ANGULAR: Final = 0.5  # [rad/s]


@dataclass(frozen=True)
class TableState:
    """What the tasks look at; `...` is any batch shape."""

    end_effector: Array  # measured position (..., 3) [m]
    gripper_opening: Array  # measured opening (...) [m]
    position: Array  # centres (..., K, 3) [m]
    quaternion: Array  # orientations (..., K, 4), w first
    linear_velocity: Array  # (..., K, 3) [m/s]
    angular_velocity: Array  # (..., K, 3) [rad/s]
    grasped: Mask  # whether each object is held between the fingers (..., K)
    size: Array  # edge or diameter, which is the height too (..., K) [m]
    task: Index  # index into `TASKS` (...)
    assigned: Index  # objects that the task is about, in the order of `Assignment` and filled up with 0 (..., 3)
    place: Array  # where on the table something is pushed to, NaN where nothing is (..., 2) [m]

    def __getitem__(self, index: int | Index | Mask) -> "TableState":
        """State of one row or of a selection of rows."""
        return TableState(**{name: value[index] for name, value in vars(self).items()})

    @property
    def assignment(self) -> Assignment:
        """The task of a single row."""
        task = TASKS[int(self.task)]
        place = (float(self.place[0]), float(self.place[1])) if task == "push" else None
        return Assignment(task, tuple(map(int, self.assigned[: ASSIGNED[task]])), place)


def assigned_of(assignments: list[Assignment]) -> dict[str, NDArray[Any]]:
    """The columns of a `TableState` that say what is to be done in n rows."""
    filled = [(*a.objects, *(0,) * (MOST_ASSIGNED - len(a.objects))) for a in assignments]
    return {
        "task": np.array([TASKS.index(a.task) for a in assignments]),
        "assigned": np.array(filled),
        "place": np.array([a.place if a.place is not None else (np.nan, np.nan) for a in assignments]),
    }


def of(state: TableState, values: NDArray[Any], number: int) -> NDArray[Any]:
    """Of values (..., K, ...) those of the object that the task names at `number` (...)."""
    index, axis = state.assigned[..., number], state.assigned.ndim - 1
    index = index.reshape(*index.shape, *(1,) * (values.ndim - axis))
    return np.take_along_axis(values, index, axis).squeeze(axis)


def is_static(state: TableState) -> Mask:
    """Whether each object is at rest (..., K)."""
    linear = np.linalg.norm(state.linear_velocity, axis=-1)
    angular = np.linalg.norm(state.angular_velocity, axis=-1)
    return np.asarray((linear <= STATIC_LINEAR) & (angular <= STATIC_ANGULAR))


def is_on(state: TableState, top: int, bottom: int) -> Mask:
    """Whether one assigned object's centre is where it belongs on another (...), held or not."""
    offset = of(state, state.position, top) - stack_point(state, top, bottom)
    # ManiSkill's rule for cubes of one size, whose reach it takes from both.
    reach = (of(state, state.size, top) + of(state, state.size, bottom)) / 2 * np.sqrt(0.5) + OFFSET_SLACK
    near = np.linalg.norm(offset[..., :2], axis=-1) <= reach
    return np.asarray(near & (np.abs(offset[..., 2]) <= HEIGHT_TOLERANCE))


def stack_point(state: TableState, top: int, bottom: int) -> Array:
    """Point (..., 3) [m] where one assigned object's centre belongs on another."""
    height = (of(state, state.size, top) + of(state, state.size, bottom)) / 2
    return np.asarray(of(state, state.position, bottom) + height[..., None] * [0.0, 0.0, 1.0])


def lift(state: TableState) -> Array:
    """Height (...) [m] of the first assigned object above its place on the table."""
    return np.asarray(of(state, state.position, 0)[..., 2] - of(state, state.size, 0) / 2)


def _closeness(a: Array, b: Array) -> Array:
    return np.asarray(1.0 - np.tanh(5.0 * np.linalg.norm(a - b, axis=-1)))


def _approach(state: TableState, number: int = 0) -> Array:
    return _closeness(state.end_effector, of(state, state.position, number))


def _grasp_success(state: TableState) -> Mask:
    return np.asarray(of(state, state.grasped, 0) & (lift(state) >= LIFT_HEIGHT))


def _grasp_reward(state: TableState) -> Array:
    lifted = np.clip(lift(state) / LIFT_HEIGHT, 0.0, 1.0)
    return np.where(of(state, state.grasped, 0), 0.5 + 0.4 * lifted, 0.4 * _approach(state))


def _is_left(state: TableState, top: int, bottom: int) -> Mask:
    """Whether one object stands on another, both at rest and the upper one released (...)."""
    still = of(state, is_static(state), top) & of(state, is_static(state), bottom)
    return np.asarray(is_on(state, top, bottom) & still & ~of(state, state.grasped, top))


def _stacking(state: TableState, top: int, bottom: int) -> Array:
    """How far the stacking of one object on another has come (...), in [0, 1]."""
    grasped = of(state, state.grasped, top)
    placing = 0.3 + 0.4 * _closeness(of(state, state.position, top), stack_point(state, top, bottom))
    staged = np.where(grasped, placing, 0.25 * _approach(state, top))
    released = 0.75 + 0.1 * of(state, is_static(state), top) + 0.1 * ~grasped
    unsolved = np.where(is_on(state, top, bottom), released, staged)
    return np.where(_is_left(state, top, bottom), 1.0, unsolved)


def _stack_success(state: TableState) -> Mask:
    return _is_left(state, 0, 1)


def _stack_reward(state: TableState) -> Array:
    return _stacking(state, 0, 1)


def _tower_success(state: TableState) -> Mask:
    return _is_left(state, 1, 0) & _is_left(state, 2, 1)


def _tower_reward(state: TableState) -> Array:
    lower = _stacking(state, 1, 0)
    return np.where(is_on(state, 1, 0), 0.5 + 0.5 * np.minimum(lower, _stacking(state, 2, 1)), 0.5 * lower)


def _push_success(state: TableState) -> Mask:
    there = np.linalg.norm(of(state, state.position, 0)[..., :2] - state.place, axis=-1) <= PLACE_TOLERANCE
    down = np.abs(lift(state)) <= HEIGHT_TOLERANCE
    return np.asarray(there & down & of(state, is_static(state), 0) & ~of(state, state.grasped, 0))


def _push_reward(state: TableState) -> Array:
    left = _closeness(of(state, state.position, 0)[..., :2], state.place)
    return np.asarray(0.25 * _approach(state) + 0.7 * left)


def _nothing(state: TableState) -> Array:
    return np.zeros(state.task.shape)


def _never(state: TableState) -> Mask:
    return np.zeros(state.task.shape, bool)


RULES: Final[Mapping[str, tuple[Callable[[TableState], Array], Callable[[TableState], Mask]]]] = {
    "grasp": (_grasp_reward, _grasp_success),
    "stack": (_stack_reward, _stack_success),
    "push": (_push_reward, _push_success),
    "tower": (_tower_reward, _tower_success),
    "drop": (_nothing, _never),
}
"""Reward where a task is not solved, and success."""
assert tuple(RULES) == TASKS


def judge(state: TableState) -> tuple[Array, Mask]:
    """Reward (...) in [0, 1] and success (...) of each row's task at this instant; of a drop there is neither."""
    reward, success = np.zeros(state.task.shape), np.zeros(state.task.shape, bool)
    for number, (rewards, succeeds) in enumerate(RULES.values()):
        rows = state.task == number
        if rows.any():
            own = state[rows] if state.task.ndim else state
            success[rows] = succeeds(own)
            reward[rows] = np.where(success[rows], 1.0, rewards(own))
    return reward, success
