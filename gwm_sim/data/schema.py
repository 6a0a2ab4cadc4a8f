"""What the columns of an episode mean, and what all episodes of a file have in common.

Knows nothing of files: `Schema` goes to JSON and back, into episode files as well as checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.cameras import Camera
from gwm_sim.data.tracking.sightings import COLUMNS

FORMAT = 1
"""Version of the layout; raised when an older reader would misread a newer file."""

IMAGINED = "imagined"
"""Key of the settings, and of the metadata of every export, that says which model imagined the episodes."""

TRACKER = "tracker"
"""Key of the settings that holds the digest of the tracker which found the objects: it says which things they are."""

RAW = "raw"
"""Key of the settings that is true where `gwm export raw` left out all that nobody has of an own recording."""

ObjectFrame = Literal["metres", "image"]
"""In what positions of objects are: xyz [m] of the world, or column, row and apparent size [px] of a picture."""

AXES: dict[ObjectFrame, tuple[str, str, str]] = {"metres": ("x", "y", "z"), "image": ("column", "row", "size")}
"""What the three numbers of a position are."""

Symmetry = Literal["cubic", "cylindrical", "spherical"]
"""By which turns a thing looks the same: the 24 of a cube; any about its third axis, and upside down; or all."""


@dataclass(frozen=True)
class Command:
    """A quantity that the controller knows exactly: it integrates, command <- clip(command + scale * action), or is
    told an absolute target, command <- scale * action."""

    telemetry: int
    """Index of the commanded quantity in the telemetry; that of the measured one where a target is not reported."""
    action: int
    """Index of the action that changes or tells it."""
    scale: float
    """Change or target per unit of action, in the unit of the telemetry."""
    measured: int
    """Index of the measured counterpart in the telemetry."""
    absolute: bool = False
    """Whether the action is a target."""

    @property
    def reported(self) -> bool:
        """Whether the commanded quantity is in the telemetry; a target need not be, where only what follows it is."""
        return not self.absolute or self.telemetry != self.measured

    def begins(self, now: float) -> float:
        """What the scaled action is added to, where the commanded quantity is `now`."""
        return 0.0 if self.absolute else now

    def to_json(self) -> dict[str, Any]:
        """Return the command as a JSON object, as older versions know it where it integrates."""
        return {key: value for key, value in asdict(self).items() if key != "absolute" or value}


@dataclass(frozen=True)
class Schema:
    """What all episodes of a file have in common: the meaning of the columns and how they were made."""

    env_id: str
    """Environment or robot that was recorded."""
    rate: float
    """Frames and actions per second [Hz]."""
    telemetry_names: tuple[str, ...]
    telemetry_units: tuple[str, ...]
    telemetry_low: tuple[float, ...]
    telemetry_high: tuple[float, ...]
    action_names: tuple[str, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    cameras: dict[str, Camera]
    """Calibration at the start of the first episode; of a camera on the arm only picture size and `fovy` stay true."""
    commands: tuple[Command, ...] = ()
    """What is commanded, not measured, and therefore known in advance."""
    effector: tuple[int, ...] = ()
    """Telemetry indices of the end-effector position, in the frame of the object poses; empty if unknown."""
    gripper: tuple[int, ...] = ()
    """Telemetry indices of how far the gripper or each finger is open [m]; empty if unknown."""
    object_names: tuple[str, ...] = ()
    """Objects whose poses are stored; empty when none are."""
    object_size: float = 0.0
    """Edge length of the objects [m]; 0 where it is not known, as of those that were tracked."""
    object_frame: ObjectFrame = "metres"
    """In what their positions are; in `image` those of the first camera of `tracked`."""
    object_attributes: tuple[str, ...] = ()
    """Numbers that say what each object is like, such as its size and how it bounces; a kind is one column that is 1.
    Of such files an object may be absent: its row and its pose are NaN."""
    object_looks: tuple[str, ...] = ()
    """Those of the attributes that are for the eye alone, such as colours: nothing moves otherwise because of them."""
    object_symmetry: dict[str, Symmetry] = field(default_factory=dict)
    """The symmetry of objects of which an attribute is 1; without, each of their orientations is different."""
    tracked: tuple[str, ...] = ()
    """Cameras in whose pictures the objects were tracked; empty where they were measured, or there are none."""
    tasks: tuple[str, ...] = ()
    """Tasks that frames are labelled for: all of them, unless an episode says that it has labels for some alone."""
    task: str | None = None
    """The task whose reward robomimic sees as `rewards`."""
    depth: tuple[str, ...] = ()
    """Cameras that also measured depth."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the environment."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Everything else that decides the content, such as policy and first seed."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that made the data; not part of the content digest."""

    def __post_init__(self) -> None:
        if self.object_frame not in get_args(ObjectFrame):
            frames = " or ".join(get_args(ObjectFrame))
            raise ValueError(f"object_frame must be {frames}, got {self.object_frame!r}")
        if self.tracked and not self.object_names:
            raise ValueError(f"tracked names cameras {', '.join(self.tracked)}, but there are no objects")
        self._check_attributes()

    def _check_attributes(self) -> None:
        attributes = self.object_attributes
        if attributes and (not self.object_names or self.object_frame != "metres" or self.tracked):
            raise ValueError("object_attributes are for measured objects in metres")
        if len(set(attributes)) < len(attributes):
            raise ValueError(f"object_attributes must differ, got {', '.join(attributes)}")
        for what, names in (("object_looks", self.object_looks), ("object_symmetry", self.object_symmetry)):
            if unknown := [name for name in names if name not in attributes]:
                raise ValueError(
                    f"{what} names {unknown[0]}, which is no attribute of {', '.join(attributes) or 'any'}"
                )
        if wrong := set(self.object_symmetry.values()) - set(get_args(Symmetry)):
            known = " or ".join(get_args(Symmetry))
            raise ValueError(f"object_symmetry must be {known}, got {min(wrong)!r}")

    @property
    def provenance(self) -> Literal["measured", "tracked", "imagined"]:
        """How the positions of the objects are known: measured, tracked in pictures, or imagined by a model."""
        if self.tracked:
            return "tracked"
        return "imagined" if IMAGINED in self.settings else "measured"

    @property
    def targets(self) -> tuple[Command, ...]:
        """The commands that are absolute."""
        return tuple(command for command in self.commands if command.absolute)

    def hold(self, telemetry: Array) -> Array:
        """Return the actions (..., A) that hold a robot still which reports telemetry (..., P): zeros, and of targets
        where it is measured to be."""
        still = np.zeros((*telemetry.shape[:-1], len(self.action_names)), np.float32)
        for command in self.targets:
            still[..., command.action] = telemetry[..., command.measured] / command.scale
        return still

    def without_objects(self) -> Schema:
        """Return the schema of the same episodes where nobody says where objects are."""
        settings = {key: value for key, value in self.settings.items() if key != TRACKER}
        nothing: dict[str, Any] = {"object_names": (), "object_size": 0.0, "object_frame": "metres", "tracked": ()}
        nothing |= {"object_attributes": (), "object_looks": (), "object_symmetry": {}}
        return replace(self, **nothing, settings=settings)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a JSON object."""
        value = asdict(self) | {"cameras": {name: camera.to_json() for name, camera in self.cameras.items()}}
        value["commands"] = [command.to_json() for command in self.commands]
        # What older files do not know is left out where they would say nothing else: they keep their digest.
        for name in ("depth", "tracked", "object_attributes", "object_looks", "object_symmetry"):
            if not value[name]:
                del value[name]
        if self.object_frame == "metres":
            del value["object_frame"]
        if self.gripper in ((), _named_gripper(self.telemetry_names)):
            del value["gripper"]
        return {"format": FORMAT, **json.loads(json.dumps(value))}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Schema:
        """Make a schema from what `to_json` returned."""
        members = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
        del members["format"]
        cameras = {name: Camera.from_json(camera) for name, camera in value["cameras"].items()}
        commands = tuple(Command(**command) for command in value["commands"])
        gripper = members.get("gripper", _named_gripper(value["telemetry_names"]))
        return cls(**members | {"cameras": cameras, "commands": commands, "gripper": gripper})

    def other_things(self, other: Schema) -> list[str]:
        """Name every respect in which the objects of two schemas are not the same things, known in the same way.

        What a model imagined counts as known in the way in which the model learned it.
        """

        def told(schema: Schema) -> dict[str, Any]:
            tracker = schema.settings.get(TRACKER)
            found = tracker is not None or bool(schema.tracked)
            return {
                "objects": schema.object_names,
                "frame": schema.object_frame,
                "size": schema.object_size,
                "attributes": schema.object_attributes,
                "symmetry": schema.object_symmetry,
                "provenance": "tracked" if found else "measured",
                "tracker": tracker,
            }

        ours, theirs = told(self), told(other)
        return [f"{key} {ours[key]}, there {theirs[key]}" for key in ours if ours[key] != theirs[key]]

    def differences(self, other: Schema) -> list[str]:
        """Name every entry in which two schemas differ, as `settings.seed: 0, here 5`."""
        ours, theirs = _flatten(self.to_json()), _flatten(other.to_json())
        if "gripper" not in ours.keys() & theirs.keys():  # one is of an older version, which did not say
            ours, theirs = ({k: v for k, v in entries.items() if k != "gripper"} for entries in (ours, theirs))
        return [
            f"{key}: {ours.get(key, 'absent')}, here {theirs.get(key, 'absent')}"
            for key in sorted(ours.keys() | theirs.keys())
            if ours.get(key) != theirs.get(key)
        ]

    def layout(
        self, length: int, labelled: Sequence[str] | None = None
    ) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Return shape and type of every source dataset of an episode with `length` actions.

        It has labels for the tasks `labelled`, by default for all.
        """
        rows, float32 = length + 1, np.dtype(np.float32)
        layout: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
            "actions": ((length, len(self.action_names)), float32),
            "telemetry": ((rows, len(self.telemetry_names)), float32),
        }
        for name, camera in self.cameras.items():
            layout[f"frames/{name}"] = ((rows, camera.height, camera.width, 3), np.dtype(np.uint8))
        for name in self.depth:
            layout[f"depth/{name}"] = ((rows, *layout[f"frames/{name}"][0][1:3], 1), np.dtype(np.uint16))
        if self.object_names:
            layout["objects"] = ((rows, len(self.object_names), 7), float32)
        if self.object_attributes:
            layout["attributes"] = ((rows, len(self.object_names), len(self.object_attributes)), float32)
        if self.tracked:
            layout["objects_confidence"] = ((rows, len(self.object_names)), float32)
        for name in self.tracked:
            layout[f"sightings/{name}"] = ((rows, len(self.object_names), len(COLUMNS)), float32)
        for task in self.tasks if labelled is None else labelled:
            layout[f"labels/{task}/reward"] = ((rows,), float32)
            layout[f"labels/{task}/success"] = ((rows,), np.dtype(np.bool_))
        return layout


def _named_gripper(telemetry_names: Sequence[str]) -> tuple[int, ...]:
    """Find the gripper by the name that it has in files which do not say where it is."""
    return tuple(i for i, name in enumerate(telemetry_names) if name == "gripper_opening")


def _flatten(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flatten(item, f"{prefix}{key}.") if isinstance(item, dict) else {f"{prefix}{key}": item}
    return flat
