"""The twin's dynamics at the control rate, for n rows at once: actions in; telemetry, object poses and task state out.

Every row has a scene of its own, which may be changed while it runs. No images here, and no Gymnasium.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import mujoco
import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.table.edits import Slots
from gwm_sim.envs.table.initial_state import Start
from gwm_sim.envs.table.mujoco.scene import EMPTY_HEIGHT, TIMESTEP, make_model, object_name
from gwm_sim.envs.table.scene import ATTRIBUTES, MAX_OBJECTS, PROPERTY_DEFAULTS, Assignment, SceneObject, attributes
from gwm_sim.envs.table.tasks import TableState, assigned_of
from gwm_sim.envs.tabletop.mujoco.arm import FINGERS, Arms, end_effector, find_grasps, opening
from gwm_sim.envs.tabletop.mujoco.physics import Array, Rows, StateOffsets, make_physics_of_models
from gwm_sim.envs.tabletop.mujoco.rendering import Rendering

OVERLAP: Final = 0.001  # depth from which two things count as one inside the other [m]
NOTHING: Final = Assignment("drop")


@dataclass(frozen=True)
class RowScene:
    """What lies on the table of one row, under which physics, and what is to be done."""

    slots: Slots
    properties: dict[str, float]
    assignment: Assignment

    @classmethod
    def of(cls, start: Start) -> "RowScene":
        """The scene that begins with `start`."""
        return cls(filled(start.objects), start.properties, start.assignment)


@dataclass(frozen=True)
class Snapshot:
    """One row's complete state; restored, it continues bit for bit.

    Attributes:
        physics: MuJoCo's integration state, warm start included (S,).
        targets: Actuator targets: joints [rad] and commanded gripper opening [m] (8,).
        command: Commanded end-effector position (3,) [m].
        grasped: Whether the object in each slot is grasped (K,).
        scene: Objects, properties and task.
        elapsed: Steps since the reset.
    """

    physics: Array
    targets: Array
    command: Array
    grasped: NDArray[np.bool_]
    scene: RowScene
    elapsed: int


class Simulation:
    """n rows of scenes under position commands."""

    def __init__(self, rendering: Rendering, num_rows: int) -> None:
        self._rendering: Rendering = rendering
        self.model = make_model(filled(()), PROPERTY_DEFAULTS, rendering)
        self._physics = make_physics_of_models(self.model, num_rows)
        self._at_rest = self._physics.get_state(np.array([0]))
        self._offsets = StateOffsets.of(self.model)
        self._arms = Arms(num_rows)
        self._grasped = np.zeros((num_rows, MAX_OBJECTS), bool)
        self._models = [self.model] * num_rows
        self.scenes = [RowScene(filled(()), dict(PROPERTY_DEFAULTS), NOTHING)] * num_rows
        self.elapsed = np.zeros(num_rows, int)

    def reset(self, rows: Rows, starts: Sequence[Start]) -> None:
        """Put `rows` at `starts`, everything at rest.

        Raises:
            ValueError: Things are inside each other; no row has changed then.
        """
        scenes = [RowScene.of(start) for start in starts]
        models = [make_model(scene.slots, scene.properties, self._rendering) for scene in scenes]
        arms = Arms(len(rows))
        everyone = np.arange(len(rows))
        arms.start(everyone, np.stack([start.end_effector for start in starts]))
        state = np.repeat(self._at_rest, len(rows), axis=0)
        qpos = state[:, self._offsets.qpos]
        arms.place(everyone, qpos)
        for row, scene in zip(qpos, scenes, strict=True):
            poses = row[FINGERS.stop :].reshape(MAX_OBJECTS, 7)
            for slot, thing in enumerate(scene.slots):
                poses[slot] = _pose(thing, slot)
        for row, scene, model in zip(qpos, scenes, models, strict=True):
            check_room(model, row, scene.slots)
        self._arms.command[rows], self._arms.targets[rows] = arms.command, arms.targets
        self._show(rows, scenes, models)
        self._physics.set_state(rows, state)
        self._grasped[rows] = False
        self.elapsed[rows] = 0

    def step(self, rows: Rows, actions: Array) -> None:
        """Advance `rows` by one control step of `actions` (len(rows), A), already checked; parked arms do not act."""
        parked = np.array([self.scenes[row].assignment.task == "drop" for row in rows])
        self._arms.step(self._physics, rows, np.where(parked[:, None], 0.0, actions), TIMESTEP)
        touches = self._physics.sensordata.reshape(-1, MAX_OBJECTS, 2) > 0
        self._grasped[rows] = find_grasps(touches, self._poses()[..., :3], self._physics.qpos)[rows]
        self.elapsed[rows] += 1

    def change(self, row: int, slots: Slots, properties: dict[str, float]) -> None:
        """Go on with other objects or properties: what has another position lies there, still and upright.

        Raises:
            ValueError: Things are inside each other; nothing has changed then.
        """
        rows, before = np.array([row]), self.scenes[row]
        after = replace(before, slots=slots, properties=properties)
        model = make_model(slots, properties, self._rendering)
        state = self._physics.get_state(rows)
        qpos = state[0, self._offsets.qpos]
        poses = qpos[FINGERS.stop :].reshape(MAX_OBJECTS, 7)
        velocities = state[0, self._offsets.qvel][FINGERS.stop :].reshape(MAX_OBJECTS, 6)
        grew = False
        for slot, (old, new) in enumerate(zip(before.slots, slots, strict=True)):
            if new is None or old is None or new.position != old.position:
                if new is not old:
                    poses[slot], velocities[slot], grew = _pose(new, slot), 0.0, True
            elif new.size != old.size:
                assert new.size is not None and old.size is not None
                poses[slot, 2] += (new.size - old.size) / 2  # what it lies on stays below it
                grew = True
        if grew:
            check_room(model, qpos, slots)
        self._show(rows, [after], [model])
        self._physics.set_state(rows, state)

    def telemetry(self) -> NDArray[np.float32]:
        """Telemetry of all rows (n, P), inside its bounds."""
        return self._arms.telemetry(self._physics.qpos)

    def task_state(self) -> TableState:
        """What the tasks look at, for all rows."""
        qpos, poses = self._physics.qpos, self._seen_poses()
        velocities = self._physics.qvel[:, FINGERS.stop :].reshape(-1, MAX_OBJECTS, 6)
        sizes = [[np.nan if thing is None else thing.size for thing in scene.slots] for scene in self.scenes]
        return TableState(
            end_effector=end_effector(qpos),
            gripper_opening=opening(qpos),
            position=poses[..., :3],
            quaternion=poses[..., 3:],
            linear_velocity=velocities[..., :3].copy(),
            angular_velocity=velocities[..., 3:].copy(),
            grasped=self._grasped.copy(),
            size=np.array(sizes, float),
            **assigned_of([scene.assignment for scene in self.scenes]),
        )

    def objects(self) -> NDArray[np.float32]:
        """Poses in all rows (n, K, 7): position [m] and quaternion, w first; NaN where there is no object."""
        return self._seen_poses().astype(np.float32)

    def attributes(self) -> NDArray[np.float32]:
        """What the objects are like in all rows (n, K, F), columns as in `ATTRIBUTES`; NaN where there is none."""
        told = np.full((len(self.scenes), MAX_OBJECTS, len(ATTRIBUTES)), np.nan, np.float32)
        for row, scene in zip(told, self.scenes, strict=True):
            there = [slot for slot, thing in enumerate(scene.slots) if thing is not None]
            row[there] = attributes([thing for thing in scene.slots if thing is not None], scene.properties)
        return told

    def qpos(self, row: int) -> Array:
        """Generalised positions of one row."""
        return np.array(self._physics.qpos[row])

    def model_of(self, row: int) -> mujoco.MjModel:
        """The model of one row, on which with `qpos` an image depends."""
        return self._models[row]

    def snapshot(self, row: int) -> Snapshot:
        """Complete state of one row."""
        return Snapshot(
            physics=self._physics.get_state(np.array([row]))[0],
            targets=self._arms.targets[row].copy(),
            command=self._arms.command[row].copy(),
            grasped=self._grasped[row].copy(),
            scene=self.scenes[row],
            elapsed=int(self.elapsed[row]),
        )

    def restore(self, row: int, snapshot: Snapshot) -> None:
        """Put one row back into `snapshot`, which may come from any row of any simulation."""
        rows, scene = np.array([row]), snapshot.scene
        if scene != self.scenes[row]:
            self._show(rows, [scene], [make_model(scene.slots, scene.properties, self._rendering)])
        self._physics.set_state(rows, snapshot.physics[None])
        self._arms.targets[row] = snapshot.targets
        self._arms.command[row] = snapshot.command
        self._grasped[row] = snapshot.grasped
        self.elapsed[row] = snapshot.elapsed

    def _show(self, rows: Rows, scenes: Sequence[RowScene], models: Sequence[mujoco.MjModel]) -> None:
        for row, scene, model in zip(rows, scenes, models, strict=True):
            self.scenes[row], self._models[row] = scene, model
        self._physics.set_models(rows, models)

    def _poses(self) -> Array:
        return self._physics.qpos[:, FINGERS.stop :].reshape(-1, MAX_OBJECTS, 7)

    def _seen_poses(self) -> Array:
        absent = np.array([[thing is None for thing in scene.slots] for scene in self.scenes])
        return np.where(absent[..., None], np.nan, self._poses())


def filled(objects: Sequence[SceneObject]) -> Slots:
    """All slots, the first ones with objects."""
    return (*objects, *(None,) * (MAX_OBJECTS - len(objects)))


def _pose(thing: SceneObject | None, slot: int) -> Array:
    """Where an object begins (7,), upright, or an empty slot stays."""
    if thing is None:
        return np.array([0.0, 0.0, EMPTY_HEIGHT + slot, 1.0, 0.0, 0.0, 0.0])
    assert thing.position is not None and thing.size is not None
    x, y, *z = thing.position
    half_turn = (thing.yaw or 0.0) / 2
    return np.array([x, y, z[0] if z else thing.size / 2, np.cos(half_turn), 0.0, 0.0, np.sin(half_turn)])


def check_room(model: mujoco.MjModel, qpos: Array, slots: Slots) -> None:
    """Raise ValueError where an object is inside another one, the table or the gripper."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_fwdPosition(model, data)
    names = {object_name(i): f"the {thing.name}" for i, thing in enumerate(slots) if thing is not None}
    names["surface"] = "the table"
    for contact in data.contact:
        if contact.dist < -OVERLAP:
            a, b = (names.get(model.geom(geom).name, "the gripper") for geom in contact.geom)
            raise ValueError(
                f"{a} and {b} overlap by {-1000 * contact.dist:.0f} mm: give other positions or smaller sizes"
            )
