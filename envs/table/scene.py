"""What lies on the table: objects with their attributes, the properties of the scene, and what makes no sense.

A scene may be incomplete: what it leaves out (a place, a colour, a size) is drawn from the seed of the episode. The
physics twin, the learned world and prompts share this page. It needs numpy only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from numbers import Real
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

KINDS: Final = ("cube", "ball", "cylinder")
COLOURS: Final[Mapping[str, tuple[float, float, float]]] = {
    "red": (0.85, 0.04, 0.04),
    "blue": (0.04, 0.10, 0.85),
    "green": (0.05, 0.60, 0.12),
    "yellow": (0.92, 0.80, 0.05),
    "orange": (0.95, 0.42, 0.02),
    "purple": (0.48, 0.08, 0.65),
    "white": (0.97, 0.97, 0.97),
    "black": (0.03, 0.03, 0.03),
}
"""Colours by name, as RGB in [0, 1]."""
MAX_OBJECTS: Final = 6
SIZE_RANGE: Final = (0.03, 0.06)
"""Edge of a cube, diameter of a ball, diameter and height of a cylinder [m]."""
MASS_RANGE: Final = (0.02, 0.5)  # [kg]
DEFAULT_MASS: Final = 0.1  # [kg]

PROPERTY_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "friction": (0.1, 1.2),  # sliding coefficient of objects against fingers, table and each other
    "gravity": (1.6, 15.0),  # [m/s^2]
    "bounciness": (0.0, 0.9),  # share of its speed that an object keeps in a drop on the table
}
PROPERTY_DEFAULTS: Final[Mapping[str, float]] = {"friction": 1.0, "gravity": 9.81, "bounciness": 0.1}
OF_OBJECTS: Final = ("friction", "bounciness")
"""Properties that an object may have of its own; the others have those of the scene."""

TASKS: Final = ("grasp", "stack", "push", "tower", "drop")
ASSIGNED: Final[Mapping[str, int]] = {"grasp": 1, "stack": 2, "push": 1, "tower": 3, "drop": 0}
"""How many objects each task is about."""

ATTRIBUTES: Final = (*KINDS, *COLOURS, "size", "mass", *OF_OBJECTS)
"""Columns of what is told to a model about each object; kind and colour are one-hot."""


@dataclass(frozen=True)
class SceneObject:
    """One object; None is drawn from the seed, and of physics, what the scene has."""

    kind: str = "cube"
    colour: str | None = None
    size: float | None = None  # [m], see `SIZE_RANGE`
    position: tuple[float, ...] | None = None  # centre (x, y) on the table, or (x, y, z) above it [m]
    yaw: float | None = None  # turn about the vertical [rad]
    mass: float | None = None  # [kg]
    friction: float | None = None
    bounciness: float | None = None

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        if self.colour is not None:
            one_of("colour", self.colour, tuple(COLOURS))
        within("size", self.size, SIZE_RANGE, " m")
        within("mass", self.mass, MASS_RANGE, " kg")
        for name in OF_OBJECTS:
            within(name, getattr(self, name), PROPERTY_RANGES[name])
        if self.yaw is not None and not is_number(self.yaw):
            raise ValueError(f"yaw must be a number of radians, got {self.yaw!r}")
        if self.position is not None and not is_point(self.position, 2, 3):
            raise ValueError(f"position must be (x, y) or (x, y, z) in metres, got {self.position!r}")

    @property
    def name(self) -> str:
        """What people call it, such as "red cube"."""
        return self.kind if self.colour is None else f"{self.colour} {self.kind}"

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Self:
        """Make one from a mapping such as `{"kind": "ball", "colour": "green"}`.

        Raises:
            ValueError: An entry that does not exist, or a value out of range.
        """
        if not isinstance(value, Mapping):
            raise ValueError(f'an object is a mapping such as {{"kind": "ball", "colour": "green"}}, got {value!r}')
        names = [item.name for item in fields(cls)]
        if unknown := set(value) - set(names):
            raise ValueError(f"an object has no {', '.join(sorted(unknown))}; it has {', '.join(names)}")
        known: dict[str, Any] = {name: float(given) if is_number(given) else given for name, given in value.items()}
        if (position := known.get("position")) is not None and is_point(position, 2, 3):
            known["position"] = tuple(map(float, position))
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """What is said of it, as a JSON object."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Scene:
    """One to six objects and the physics of the scene."""

    objects: tuple[SceneObject, ...]
    properties: Mapping[str, float]
    """Those that are said; the others have their defaults, or are drawn on request."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.objects) <= MAX_OBJECTS:
            raise ValueError(f"a scene has 1 to {MAX_OBJECTS} objects, got {len(self.objects)}")
        for name, value in self.properties.items():
            one_of("property", name, tuple(PROPERTY_RANGES))
            within(name, value, PROPERTY_RANGES[name])
        placed = [thing for thing in self.objects if thing.position is not None]
        for i, one in enumerate(placed):
            for other in placed[:i]:
                if overlap(one, other):
                    raise ValueError(
                        f"the {one.name} at {one.position} and the {other.name} at {other.position} overlap"
                    )

    @classmethod
    def of(cls, objects: Sequence[Mapping[str, Any]], properties: Mapping[str, float] | None = None) -> Self:
        """Make one from mappings, as `reset(options={"scene": [...]})` is given them."""
        return cls(tuple(SceneObject.of(thing) for thing in objects), dict(properties or {}))


@dataclass(frozen=True)
class Assignment:
    """A task of the table world and the objects it is about."""

    task: str
    objects: tuple[int, ...] = ()
    """Indices into the scene: what is lifted; what is stacked and on what; what is pushed; a tower from its lowest to
    its highest; of a drop none, all fall."""
    place: tuple[float, float] | None = None
    """Where on the table something is pushed to [m]; None is drawn from the seed."""

    def __post_init__(self) -> None:
        one_of("task", self.task, TASKS)
        expected = ASSIGNED[self.task]
        if len(self.objects) != expected or len(set(self.objects)) != expected:
            raise ValueError(f"{self.task} is about {expected} different objects, got {self.objects}")
        if self.place is not None and self.task != "push":
            raise ValueError(f"a place is where something is pushed to: {self.task} has none, got {self.place}")


def overlap(one: SceneObject, other: SceneObject) -> bool:
    """Whether the balls inscribed in two placed objects meet, wherever their corners are."""
    radii = ((one.size or SIZE_RANGE[0]) / 2, (other.size or SIZE_RANGE[0]) / 2)
    a, b = (centre(thing, radius) for thing, radius in zip((one, other), radii, strict=True))
    return bool(np.linalg.norm(a - b) < sum(radii) - 1e-6)


def centre(thing: SceneObject, radius: float) -> NDArray[np.float64]:
    """Centre (3,) [m] of a placed object, which lies on the table where no height is said."""
    assert thing.position is not None
    x, y, *z = thing.position
    return np.array([x, y, z[0] if z else radius])


def attributes(objects: Sequence[SceneObject], properties: Mapping[str, float]) -> NDArray[np.float32]:
    """What a model is told of complete objects, (K, len(ATTRIBUTES))."""
    rows = np.zeros((len(objects), len(ATTRIBUTES)), np.float32)
    for row, thing in zip(rows, objects, strict=True):
        assert thing.colour is not None
        row[[ATTRIBUTES.index(thing.kind), ATTRIBUTES.index(thing.colour)]] = 1.0
        for name in ("size", "mass", *OF_OBJECTS):
            own = getattr(thing, name)
            row[ATTRIBUTES.index(name)] = properties[name] if own is None else own
    return rows


def one_of(what: str, value: str, known: Sequence[str]) -> None:
    """Raise ValueError for a word that is none of the known ones."""
    if value not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {value!r}")


def within(what: str, value: float | None, limits: tuple[float, float], unit: str = "") -> None:
    """Raise ValueError for what is given and is no number, or out of its limits."""
    low, high = limits
    if value is not None and not (is_number(value) and low <= value <= high):
        raise ValueError(f"{what} must be between {low:g} and {high:g}{unit}, got {value!r}")


def is_number(value: Any) -> bool:
    """Whether something is a finite number."""
    return isinstance(value, Real) and bool(np.isfinite(float(value)))


def is_point(value: Any, *lengths: int) -> bool:
    """Whether something is a row of finite numbers of one of these lengths."""
    row = isinstance(value, Sequence | np.ndarray) and len(value) in lengths
    return row and all(is_number(number) for number in value)
