"""n copies of the scene, stepped together: on `mujoco.batch.Batch`, or one by one where MuJoCo has no batch.

Both forms have the same interface and give bit-identical results, so the rest of the twin is written once. A row's
`state` is MuJoCo's whole integration state, warm start included: copying it back continues exactly. So do copies of
either form, and a forked process, which begins threads of its own for a batch.
"""

import copy
import os
from collections.abc import Sequence
from typing import Any, Final, Protocol
from weakref import WeakSet

import mujoco
import numpy as np
from numpy.typing import NDArray

try:
    from mujoco.batch import Batch
except ImportError:  # before MuJoCo 3.17
    Batch = None

HAS_BATCH: Final = Batch is not None

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

_STATE: Final = mujoco.mjtState.mjSTATE_INTEGRATION
_TORSION_PER_FRICTION: Final = 0.005  # torsional friction [m] per unit of sliding friction


class Physics(Protocol):
    """Rows of simulations. `get_*` and `set_*` take the indices of the rows they concern."""

    def get_state(self, rows: Rows) -> Array:
        """Integration states (len(rows), S)."""

    def set_state(self, rows: Rows, state: Array) -> None:
        """Write integration states (len(rows), S)."""

    def set_properties(self, rows: Rows, friction: Array, gravity: Array) -> None:
        """Write sliding friction (len(rows),) of the objects and gravity (len(rows),) [m/s^2]."""

    def step(self, rows: Rows, control: Array, substeps: int) -> None:
        """Advance `rows` by `substeps` with actuator targets `control` (len(rows), U)."""

    @property
    def qpos(self) -> Array:
        """Generalised positions of all rows (n, nq); read only."""

    @property
    def qvel(self) -> Array:
        """Generalised velocities of all rows (n, nv); read only."""

    @property
    def sensordata(self) -> Array:
        """Sensors of all rows (n, sensors) at the last substep; read only."""


class LoopPhysics:
    """One MjModel and one MjData per row: right for a single environment, and the fallback for many."""

    def __init__(self, model: mujoco.MjModel, num_rows: int, objects: Sequence[str]) -> None:
        self._models = [copy.copy(model) for _ in range(num_rows)]
        self._datas = [mujoco.MjData(m) for m in self._models]
        self._objects = _geoms(model, objects)
        self._state_size = mujoco.mj_stateSize(model, _STATE)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_datas": self.get_state(np.arange(len(self._datas)))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._datas = [mujoco.MjData(m) for m in self._models]
        self.set_state(np.arange(len(self._datas)), state["_datas"])

    def get_state(self, rows: Rows) -> Array:
        state = np.empty((len(rows), self._state_size))
        for out, i in zip(state, rows, strict=True):
            mujoco.mj_getState(self._models[i], self._datas[i], out, _STATE)
        return state

    def set_state(self, rows: Rows, state: Array) -> None:
        for row_state, i in zip(state, rows, strict=True):
            mujoco.mj_setState(self._models[i], self._datas[i], row_state, _STATE)

    def set_properties(self, rows: Rows, friction: Array, gravity: Array) -> None:
        for i, mu, g in zip(rows, friction, gravity, strict=True):
            self._models[i].geom_friction[self._objects, 0] = mu
            self._models[i].geom_friction[self._objects, 1] = _TORSION_PER_FRICTION * mu
            self._models[i].opt.gravity[2] = -g

    def step(self, rows: Rows, control: Array, substeps: int) -> None:
        for targets, i in zip(control, rows, strict=True):
            self._datas[i].ctrl[:] = targets
            mujoco.mj_step(self._models[i], self._datas[i], nstep=substeps)

    @property
    def qpos(self) -> Array:
        return np.stack([data.qpos for data in self._datas])

    @property
    def qvel(self) -> Array:
        return np.stack([data.qvel for data in self._datas])

    @property
    def sensordata(self) -> Array:
        return np.stack([data.sensordata for data in self._datas])


class BatchPhysics:
    """All rows in one `mujoco.batch.Batch`, stepped on all cores."""

    def __init__(self, model: mujoco.MjModel, num_rows: int, objects: Sequence[str]) -> None:
        self._objects = _geoms(model, objects)
        self._open(model, num_rows)

    def _open(self, model: mujoco.MjModel, num_rows: int) -> None:
        self._model = model
        self._batch = Batch(model, num_rows)
        self._friction = self._batch.expand("geom_friction")
        self._gravity = self._batch.expand("opt.gravity")
        self._control = self._batch.bind("ctrl")
        self.qpos: Array = self._batch.bind("qpos")
        self.qvel: Array = self._batch.bind("qvel")
        self.sensordata: Array = self._batch.bind("sensordata")
        self._inherited = False
        _batches.add(self)

    def __getstate__(self) -> dict[str, Any]:
        values = {name: np.array(getattr(self, name)) for name in _OF_ROWS}
        return values | {"_objects": self._objects, "_model": self._model, "_state": np.array(self._batch.state)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._objects = state["_objects"]
        self._open(state["_model"], len(state["_state"]))
        self._batch.state[:] = state["_state"]
        for name in _OF_ROWS:
            getattr(self, name)[:] = state[name]

    def abandon(self) -> None:
        """Stop using the threads of a parent process: the next step begins new ones."""
        _abandoned.append(self._batch)
        self._inherited = True

    def get_state(self, rows: Rows) -> Array:
        return np.array(self._batch.state[rows])

    def set_state(self, rows: Rows, state: Array) -> None:
        self._batch.state[rows] = state

    def set_properties(self, rows: Rows, friction: Array, gravity: Array) -> None:
        self._friction[rows[:, None], self._objects, 0] = friction[:, None]
        self._friction[rows[:, None], self._objects, 1] = _TORSION_PER_FRICTION * friction[:, None]
        self._gravity[rows, 2] = -gravity

    def step(self, rows: Rows, control: Array, substeps: int) -> None:
        if self._inherited:
            self.__setstate__(self.__getstate__())
        self._control[rows] = control
        self._batch.step(rows, nstep=substeps)


_OF_ROWS: Final = ("_friction", "_gravity", "_control")
"""What a batch holds of its rows beside their states."""

_batches: WeakSet[BatchPhysics] = WeakSet()
_abandoned: list[Any] = []
"""Batches that this process inherited by a fork: to free them is to wait for threads that it does not have."""


def _after_fork() -> None:
    for batch in _batches:
        batch.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def make_physics(model: mujoco.MjModel, num_rows: int, objects: Sequence[str]) -> Physics:
    """The faster form for this number of rows that the installed MuJoCo offers.

    Args:
        model: The scene.
        num_rows: Number of its copies n.
        objects: Geoms whose friction is a property.
    """
    form = LoopPhysics if num_rows == 1 or not HAS_BATCH else BatchPhysics
    return form(model, num_rows, objects)


def _geoms(model: mujoco.MjModel, names: Sequence[str]) -> list[int]:
    return [model.geom(name).id for name in names]
