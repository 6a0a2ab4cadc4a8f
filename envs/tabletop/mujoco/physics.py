"""n copies of a scene, stepped together: on `mujoco.batch.Batch`, or one by one where MuJoCo has no batch.

Both forms have the same interface and give bit-identical results, so the rest of a twin is written once. The rows are
of one model and differ in properties, or each has a model of its own, with the same bodies and joints. A row's `state`
is MuJoCo's whole integration state, warm start included: copying it back continues exactly. So do copies of either
form, and a forked process, which begins threads of its own for a batch.
"""

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self
from weakref import WeakSet

import mujoco
import numpy as np
from numpy.typing import NDArray

try:
    from mujoco.batch import Batch
except ImportError:  # before MuJoCo 3.17
    Batch = None

HAS_BATCH: Final = Batch is not None
HAS_BATCH_OF_MODELS: Final = hasattr(Batch, "set_models")

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

_STATE: Final = mujoco.mjtState.mjSTATE_INTEGRATION
_TORSION_PER_FRICTION: Final = 0.005  # torsional friction [m] per unit of sliding friction


@dataclass(frozen=True)
class StateOffsets:
    """Where the parts of an integration state lie."""

    time: int
    qpos: slice
    qvel: slice

    @classmethod
    def of(cls, model: mujoco.MjModel) -> Self:
        """Those of the states of a model."""
        # The parts are stored in the order of their bits, time first.
        positions = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_TIME)
        velocities = positions + model.nq
        return cls(time=0, qpos=slice(positions, velocities), qvel=slice(velocities, velocities + model.nv))


class Physics(Protocol):
    """Rows of simulations. `get_*` and `set_*` take the indices of the rows they concern."""

    def get_state(self, rows: Rows) -> Array:
        """Integration states (len(rows), S)."""

    def set_state(self, rows: Rows, state: Array) -> None:
        """Write integration states (len(rows), S)."""

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


class PropertyPhysics(Physics, Protocol):
    """Rows of one model that differ in physics properties."""

    def set_properties(self, rows: Rows, friction: Array, gravity: Array) -> None:
        """Write sliding friction (len(rows),) of the objects and gravity (len(rows),) [m/s^2]."""


class ModelPhysics(Physics, Protocol):
    """Rows with models of their own, which have the same bodies and joints."""

    def set_models(self, rows: Rows, models: Sequence[mujoco.MjModel]) -> None:
        """Simulate `rows` on `models` (len(rows),) from now on, and never change those."""


class LoopPhysics:
    """One MjModel and one MjData per row: right for a single environment, and the fallback for many."""

    def __init__(self, model: mujoco.MjModel, num_rows: int, objects: Sequence[str] = ()) -> None:
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

    def set_models(self, rows: Rows, models: Sequence[mujoco.MjModel]) -> None:
        for i, model in zip(rows, models, strict=True):
            self._models[i] = model

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


class BatchRows:
    """All rows in one `mujoco.batch.Batch`, stepped on all cores."""

    def __init__(self, model: mujoco.MjModel, num_rows: int) -> None:
        self._open(model, num_rows)

    def _open(self, model: mujoco.MjModel, num_rows: int) -> None:
        self._model = model
        self._batch = Batch(model, num_rows)
        self._control = self._batch.bind("ctrl")
        self.qpos: Array = self._batch.bind("qpos")
        self.qvel: Array = self._batch.bind("qvel")
        self.sensordata: Array = self._batch.bind("sensordata")
        self._inherited = False
        _batches.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self._model, "state": np.array(self._batch.state), "control": np.array(self._control)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._open(state["model"], len(state["state"]))
        self._batch.state[:] = state["state"]
        self._control[:] = state["control"]

    def abandon(self) -> None:
        """Stop using the threads of a parent process: the next step begins new ones."""
        _abandoned.append(self._batch)
        self._inherited = True

    def get_state(self, rows: Rows) -> Array:
        return np.array(self._batch.state[rows])

    def set_state(self, rows: Rows, state: Array) -> None:
        self._batch.state[rows] = state

    def step(self, rows: Rows, control: Array, substeps: int) -> None:
        if self._inherited:
            self.__setstate__(self.__getstate__())
        self._control[rows] = control
        self._batch.step(rows, nstep=substeps)


class BatchPhysics(BatchRows):
    """Rows of one model that differ in properties."""

    def __init__(self, model: mujoco.MjModel, num_rows: int, objects: Sequence[str]) -> None:
        self._objects = _geoms(model, objects)
        super().__init__(model, num_rows)

    def _open(self, model: mujoco.MjModel, num_rows: int) -> None:
        super()._open(model, num_rows)
        self._friction = self._batch.expand("geom_friction")
        self._gravity = self._batch.expand("opt.gravity")

    def __getstate__(self) -> dict[str, Any]:
        properties = {"friction": np.array(self._friction), "gravity": np.array(self._gravity)}
        return super().__getstate__() | properties | {"objects": self._objects}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._objects = state["objects"]
        super().__setstate__(state)
        self._friction[:], self._gravity[:] = state["friction"], state["gravity"]

    def set_properties(self, rows: Rows, friction: Array, gravity: Array) -> None:
        self._friction[rows[:, None], self._objects, 0] = friction[:, None]
        self._friction[rows[:, None], self._objects, 1] = _TORSION_PER_FRICTION * friction[:, None]
        self._gravity[rows, 2] = -gravity


class BatchModels(BatchRows):
    """Rows with models of their own."""

    def _open(self, model: mujoco.MjModel, num_rows: int) -> None:
        super()._open(model, num_rows)
        self._models = [model] * num_rows

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"models": self._models}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.set_models(np.arange(len(self._models)), state["models"])

    def set_models(self, rows: Rows, models: Sequence[mujoco.MjModel]) -> None:
        for i, model in zip(rows, models, strict=True):
            self._models[i] = model
        self._batch.set_models(self._models)


_batches: WeakSet[BatchRows] = WeakSet()
_abandoned: list[Any] = []
"""Batches that this process inherited by a fork: to free them is to wait for threads that it does not have."""


def _after_fork() -> None:
    for batch in _batches:
        batch.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def make_physics(model: mujoco.MjModel, num_rows: int, objects: Sequence[str]) -> PropertyPhysics:
    """The faster form of rows of one model, for this number of them, that the installed MuJoCo offers.

    Args:
        model: The scene.
        num_rows: Number of its copies n.
        objects: Geoms whose friction is a property.
    """
    form = LoopPhysics if num_rows == 1 or not HAS_BATCH else BatchPhysics
    return form(model, num_rows, objects)


def make_physics_of_models(model: mujoco.MjModel, num_rows: int) -> ModelPhysics:
    """The faster form of rows with models of their own, all of which begin with `model`."""
    form = LoopPhysics if num_rows == 1 or not HAS_BATCH_OF_MODELS else BatchModels
    return form(model, num_rows)


def _geoms(model: mujoco.MjModel, names: Sequence[str]) -> list[int]:
    return [model.geom(name).id for name in names]
