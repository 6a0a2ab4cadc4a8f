"""What physics twins of worlds on a table share: their states, objects and cameras, in vector form and as one."""

from collections.abc import Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.cameras import Camera
from gwm_sim.envs.single_env import SingleEnv, first
from gwm_sim.envs.spaces import Observation
from gwm_sim.envs.tabletop.mujoco.physics import Array
from gwm_sim.envs.tabletop.mujoco.rendering import FrameRenderer
from gwm_sim.envs.vector_world import Rows, VectorWorld


class RowsOfState(Protocol):
    """What the tasks look at in some rows."""

    def __getitem__(self, index: int) -> Self:
        """That of one row."""


State = TypeVar("State", bound=RowsOfState)
StateOut = TypeVar("StateOut", bound=RowsOfState, covariant=True)
Snapshot = TypeVar("Snapshot")
"""One row's complete state."""


class Simulation(Protocol[StateOut, Snapshot]):
    """n rows of physics."""

    elapsed: NDArray[np.int_]
    """Steps of each row since its reset (n,)."""

    def step(self, rows: Rows, actions: Array) -> None:
        """Advance rows by one control step."""

    def task_state(self) -> StateOut:
        """What the tasks look at, for all rows."""

    def objects(self) -> NDArray[np.float32]:
        """Poses in all rows (n, K, 7)."""

    def qpos(self, row: int) -> Array:
        """Generalised positions of one row."""

    def snapshot(self, row: int) -> Snapshot:
        """Complete state of one row."""

    def restore(self, row: int, snapshot: Snapshot) -> None:
        """Put one row back."""


class TwinVectorEnv(VectorWorld, Generic[State, Snapshot]):
    """Many rows of a twin."""

    _simulation: Simulation[State, Snapshot]
    _renderer: FrameRenderer
    _display: FrameRenderer

    def close_extras(self, **kwargs: Any) -> None:
        """Free the graphics contexts."""
        self._renderer.close()
        self._display.close()

    def task_state(self) -> State:
        """What the tasks look at, for all rows."""
        return self._simulation.task_state()

    def objects(self) -> NDArray[np.float32]:
        """Poses (num_envs, K, 7) of the objects: position [m] and quaternion, w first; NaN where there is none."""
        return self._simulation.objects()

    def camera_info(self) -> tuple[dict[str, Camera], ...]:
        """Calibration of each row's cameras at this instant."""
        return tuple(self._renderer.camera_info(self._simulation.qpos(row)) for row in range(self.num_envs))

    @property
    def properties(self) -> tuple[dict[str, float], ...]:
        """Physics properties of each row's episode."""
        raise NotImplementedError

    def get_state(self) -> tuple[Snapshot, ...]:
        """Complete state of each row."""
        return tuple(self._simulation.snapshot(row) for row in range(self.num_envs))

    def set_state(self, states: Sequence[Snapshot]) -> Observation:
        """Put every row back into its state, time limit included, and return the observation."""
        for row, state in zip(range(self.num_envs), states, strict=True):
            self._simulation.restore(row, state)
        return self._resume()

    def _advance(self, actions: NDArray[Any], rows: Rows) -> None:
        self._simulation.step(rows, actions[rows])

    def _elapsed(self) -> NDArray[np.int_]:
        return self._simulation.elapsed


class TwinEnv(SingleEnv, Generic[State, Snapshot]):
    """One row of a twin."""

    rows: TwinVectorEnv[State, Snapshot]

    def task_state(self) -> State:
        """What the tasks look at, without a batch axis."""
        return self.rows.task_state()[0]

    def objects(self) -> NDArray[np.float32]:
        """Poses (K, 7) of the objects: position [m] and quaternion, w first; NaN where there is none."""
        return self.rows.objects()[0]

    def camera_info(self) -> dict[str, Camera]:
        """Calibration of the cameras at this instant."""
        return self.rows.camera_info()[0]

    @property
    def properties(self) -> dict[str, float]:
        """Physics properties of this episode."""
        return self.rows.properties[0]

    def get_state(self) -> Snapshot:
        """Complete state: `set_state` continues from it bit for bit. A TimeLimit wrapper keeps its own count."""
        return self.rows.get_state()[0]

    def set_state(self, state: Snapshot) -> Observation:
        """Go back to `state` and return its observation."""
        observation: Observation = first(self.rows.set_state([state]))
        return observation
