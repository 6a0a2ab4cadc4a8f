"""Initial states: where the cubes lie and where the end-effector hovers, drawn from an episode's generator."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.blocks.spec import CUBE_SIZE, GRIPPER_MAX, OBJECT_NAMES
from gwm_sim.envs.blocks.tasks import Task, TaskState

Array = NDArray[np.float64]

# Both cubes lie where the gripper reaches all around them, and far enough apart for it to close on one of them.
CUBE_LOW: Final = np.array([0.42, -0.12])  # [m]
CUBE_HIGH: Final = np.array([0.58, 0.12])  # [m]
CUBE_DISTANCE: Final = 0.10  # least distance between the centres [m]
# The gripper does not turn: up to this yaw it takes a cube by its faces without turning it out of its fingers.
CUBE_YAW: Final = np.deg2rad(15.0)
HOVER_LOW: Final = np.array([0.40, -0.13, 0.12])  # [m]
HOVER_HIGH: Final = np.array([0.60, 0.13, 0.26])  # [m]


@dataclass(frozen=True)
class InitialState:
    """End-effector (3,) [m], cube positions (K, 2) [m] and yaws (K,) [rad] of a moment at rest; the gripper is open."""

    end_effector: Array
    cubes: Array
    yaws: Array

    def positions(self) -> Array:
        """Centres (K, 3) of the cubes on the table [m]."""
        return np.concatenate([self.cubes, np.full((len(self.cubes), 1), CUBE_SIZE / 2)], axis=1)

    def quaternions(self) -> Array:
        """Orientations (K, 4) of the cubes, w first."""
        zeros = np.zeros_like(self.yaws)
        return np.stack([np.cos(self.yaws / 2), zeros, zeros, np.sin(self.yaws / 2)], axis=-1)


def draw_initial_state(task: Task, rng: np.random.Generator) -> InitialState:
    """Draw one in which the cubes keep their distance and `task` is not yet solved."""
    count = len(OBJECT_NAMES)
    while True:
        state = InitialState(
            cubes=rng.uniform(CUBE_LOW, CUBE_HIGH, (count, 2)),
            yaws=rng.uniform(-CUBE_YAW, CUBE_YAW, count),
            end_effector=rng.uniform(HOVER_LOW, HOVER_HIGH),
        )
        apart = np.linalg.norm(state.cubes[0] - state.cubes[1]) >= CUBE_DISTANCE
        if apart and not task.success(_at_rest(state)):
            return state


def _at_rest(state: InitialState) -> TaskState:
    count = len(state.cubes)
    return TaskState(
        end_effector=state.end_effector,
        gripper_opening=np.array(GRIPPER_MAX),
        position=state.positions(),
        quaternion=state.quaternions(),
        linear_velocity=np.zeros((count, 3)),
        angular_velocity=np.zeros((count, 3)),
        grasped=np.zeros(count, bool),
    )
