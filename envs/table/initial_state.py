"""Initial states: what a scene leaves out is drawn from an episode's generator, such as kinds, sizes and places.

Objects that a task is about lie where the gripper has room around them; what is dropped begins in the air. Knows no
simulator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.spaces import resolve_properties
from gwm_sim.envs.table.scene import (
    ASSIGNED,
    COLOURS,
    DEFAULT_MASS,
    KINDS,
    MASS_RANGE,
    MAX_OBJECTS,
    OF_OBJECTS,
    PROPERTY_DEFAULTS,
    PROPERTY_RANGES,
    SIZE_RANGE,
    Assignment,
    Scene,
    SceneObject,
    centre,
)
from gwm_sim.envs.table.spec import PLACE_HIGH, PLACE_LOW

Array = NDArray[np.float64]
Rng = np.random.Generator

# Where the gripper reaches all around an object; others lie there or a little farther out.
TABLE_LOW: Final = np.array([0.42, -0.12])  # [m]
TABLE_HIGH: Final = np.array([0.58, 0.12])  # [m]
MARGIN: Final = 0.02  # [m]
GAP: Final = 0.008  # between things [m]
# The open gripper around an object that it takes: the fingers are thin along x and spread along y.
FINGER_WIDTH: Final = 0.010  # half of it, along x [m]
FINGER_SPREAD: Final = 0.056  # from the middle to the outer side of a finger [m]
# The gripper does not turn: up to this yaw it takes a cube by its faces, if the cube is not too wide for it.
YAW: Final = np.deg2rad(15.0)
WIDEST: Final = 0.066  # a turned cube along y [m]
HOVER_LOW: Final = np.array([0.40, -0.13, 0.12])  # [m]
HOVER_HIGH: Final = np.array([0.60, 0.13, 0.26])  # [m]
PARKED: Final = np.array([0.38, -0.15, 0.30])  # where the arm is out of the way [m]
PASSED: Final = 0.08  # what is higher meets a hovering gripper [m]
# What falls, starts over the part of the table that the parked arm leaves free.
DROP_LOW: Final = np.array([0.47, -0.12, 0.15])  # [m]
DROP_HIGH: Final = np.array([0.60, 0.13, 0.60])  # [m]
PUSH_LENGTH: Final = (0.06, 0.14)  # [m]

_TRIES: Final = 200  # of placing one object
_RESTARTS: Final = 40  # of placing all of them
_FLAT: Final = ("cube", "cylinder")  # what something can stand on, and stands itself
_AT_LEAST: Final[Mapping[str, int]] = {"grasp": 1, "stack": 2, "push": 1, "tower": 3, "drop": 1}


@dataclass(frozen=True)
class Start:
    """A moment at rest, the gripper open: complete objects, properties, what is to be done, and the end-effector."""

    objects: tuple[SceneObject, ...]
    properties: dict[str, float]
    assignment: Assignment
    end_effector: Array  # (3,) [m]


def draw_start(
    task: str,
    rng: Rng,
    objects: Sequence[SceneObject] | None = None,
    properties: Mapping[str, float] | str | None = None,
    chosen: Sequence[int] | None = None,
    place: tuple[float, float] | None = None,
) -> Start:
    """Draw what is not given.

    Args:
        task: What is to be done.
        rng: The episode's generator.
        objects: The objects, perhaps without some of their attributes; None to draw them too.
        properties: Those of the scene by name (others keep their defaults), "random" to draw them and masses, frictions
            and bounciness of single objects, None for the defaults.
        chosen: Numbers of the objects that the task is about; by default the first ones that are given, or any.
        place: Where something is pushed to [m].

    Raises:
        ValueError: Too few objects, or such that cannot carry or be reached, or no room for them.
    """
    drawn = objects is None
    if objects is None:
        objects = _draw_kinds(task, rng)
    if chosen is None:
        order = rng.permutation(len(objects)) if drawn else np.arange(len(objects))
        chosen = _assign(task, objects, order)
    assignment = Assignment(task, tuple(chosen), place)
    _check_assignment(assignment, objects)
    looks = [_draw_look(thing, rng) for thing in _with_colours(objects, rng)]
    placed, place = _place(looks, assignment, rng, [thing.size is None for thing in objects])
    hover = rng.uniform(HOVER_LOW, HOVER_HIGH)
    high = task == "drop" or any(_top(thing) > PASSED for thing in placed)
    # Properties come last, so that a seed names the same start with and without random ones.
    values = resolve_properties(properties, PROPERTY_DEFAULTS, PROPERTY_RANGES, rng)
    complete = tuple(_draw_physics(thing, rng, isinstance(properties, str)) for thing in placed)
    Scene(complete, values)  # says what is wrong with it
    return Start(complete, values, replace(assignment, place=place), PARKED.copy() if high else hover)


def _draw_kinds(task: str, rng: Rng) -> list[SceneObject]:
    """Objects of which only kind and colour are known, no two alike, with enough that are fit for the task."""
    count = int(rng.integers(_AT_LEAST[task], MAX_OBJECTS + 1))
    flat = {"stack": 2, "tower": 3, "push": 1}.get(task, 0)
    kinds = [str(rng.choice(_FLAT if i < flat else KINDS)) for i in range(count)]
    colours = rng.choice(list(COLOURS), count, replace=False)
    return [SceneObject(kinds[i], str(colours[i])) for i in rng.permutation(count)]


def _assign(task: str, objects: Sequence[SceneObject], order: NDArray[np.intp]) -> tuple[int, ...]:
    """Numbers of the first objects in an order, those first that are fit for the task."""
    count = ASSIGNED[task]
    fit = [int(i) for i in order if task == "grasp" or objects[i].kind in _FLAT]
    rest = [int(i) for i in order if int(i) not in fit]
    chosen = (fit + rest)[:count]
    if len(chosen) < count:
        raise ValueError(f"{task} is about {count} objects, the scene has {len(objects)}")
    return tuple(chosen)


def _check_assignment(assignment: Assignment, objects: Sequence[SceneObject]) -> None:
    if beyond := [i for i in assignment.objects if not 0 <= i < len(objects)]:
        raise ValueError(f"the task is about object {beyond[0]}, the scene has 0 to {len(objects) - 1}")
    carrying = {"stack": assignment.objects[1:], "tower": assignment.objects[:2]}.get(assignment.task, ())
    for i in carrying:
        if objects[i].kind not in _FLAT:
            raise ValueError(f"nothing can be put on the {objects[i].name}: choose a {' or a '.join(_FLAT)}")
    if assignment.place is not None:
        within_reach("the place to push to", assignment.place)


def within_reach(what: str, position: Sequence[float]) -> None:
    """Raise ValueError for a position (x, y) or (x, y, z) [m] that is not over the part of the table in reach."""
    low, high = PLACE_LOW[: len(position)], PLACE_HIGH[: len(position)]
    if not ((low <= position) & (position <= high)).all():
        limits = ", ".join(f"{axis} {a:g} to {b:g}" for axis, a, b in zip("xyz", low, high, strict=False))
        raise ValueError(f"{what} must be in reach, {limits} m, got {tuple(map(float, position))}")


def check_position(thing: SceneObject) -> None:
    """Raise ValueError for an object out of reach or in the table; one without a place is nowhere wrong."""
    if thing.position is None:
        return
    within_reach(f"the position of the {thing.name}", thing.position)
    lowest = (thing.size or 0.0) / 2
    if len(thing.position) == 3 and thing.position[2] < lowest - 1e-6:
        raise ValueError(f"the {thing.name} at {thing.position} is in the table: z must be {lowest:g} m or more")


def _with_colours(objects: Sequence[SceneObject], rng: Rng) -> list[SceneObject]:
    """The objects, those without a colour in one that no other of their kind has."""
    coloured = list(objects)
    for i, thing in enumerate(coloured):
        if thing.colour is None:
            taken = {other.colour for other in coloured}
            free = [c for c in COLOURS if c not in taken] or list(COLOURS)
            coloured[i] = replace(thing, colour=str(rng.choice(free)))
    return coloured


def _draw_look(thing: SceneObject, rng: Rng) -> SceneObject:
    """An object with size and yaw."""
    size, turn = rng.uniform(*SIZE_RANGE), rng.uniform(-1.0, 1.0)
    if thing.size is not None:
        size = thing.size
    elif thing.position is not None and len(thing.position) == 3:  # it must not reach into the table
        size = max(SIZE_RANGE[0], min(size, 2 * thing.position[2]))
    size = float(size)
    # The widest turned cube that the gripper takes: size (cos + sin) = WIDEST.
    most = min(YAW, 0.5 * np.arcsin(np.clip((WIDEST / size) ** 2 - 1.0, 0.0, 1.0)))
    return replace(thing, size=size, yaw=float(most * turn) if thing.yaw is None else thing.yaw)


def _draw_physics(thing: SceneObject, rng: Rng, random: bool) -> SceneObject:
    """An object with a mass; with `random`, also now and then with physics of its own."""
    values: dict[str, Any] = {}
    if thing.mass is None:
        low, high = np.log(MASS_RANGE)
        values["mass"] = float(np.exp(rng.uniform(low, high))) if random else DEFAULT_MASS
    for name in OF_OBJECTS:
        if random and rng.random() < 0.5 and getattr(thing, name) is None:
            values[name] = float(rng.uniform(*PROPERTY_RANGES[name]))
    return replace(thing, **values)


def radius(thing: SceneObject) -> float:
    """What an upright object takes on the table around its centre [m], however it is turned."""
    assert thing.size is not None
    return thing.size / 2 * (float(np.sqrt(2)) if thing.kind == "cube" else 1.0)


def _top(thing: SceneObject) -> float:
    assert thing.size is not None and thing.position is not None
    return thing.position[2] + thing.size / 2


def _place(
    objects: Sequence[SceneObject], assignment: Assignment, rng: Rng, free: Sequence[bool]
) -> tuple[tuple[SceneObject, ...], tuple[float, float] | None]:
    """Objects with complete positions, and the place where one is pushed to.

    Where they find no room, those whose size is `free` become smaller.
    """
    for thing in objects:
        check_position(thing)
    for _ in range(_RESTARTS):
        if not _crowded(objects, free) and (found := _try_to_place(objects, assignment, rng)) is not None:
            return found
        sizes = [max(SIZE_RANGE[0], 0.97 * (thing.size or 0)) for thing in objects]
        objects = [
            replace(thing, size=size) if smaller else thing
            for thing, size, smaller in zip(objects, sizes, free, strict=True)
        ]
    raise ValueError(f"there is no room for {len(objects)} objects on the table: give fewer, or their positions")


def _crowded(objects: Sequence[SceneObject], free: Sequence[bool]) -> bool:
    """Whether two placed objects meet of which one could be smaller."""
    for i, one in enumerate(objects):
        for j, other in enumerate(objects[:i]):
            shrinks = any(free[k] and (objects[k].size or 0) > SIZE_RANGE[0] for k in (i, j))
            if shrinks and one.position is not None and other.position is not None:
                halves = (one.size or 0) / 2, (other.size or 0) / 2
                offset = np.abs(centre(one, halves[0]) - centre(other, halves[1]))
                if np.hypot(*offset[:2]) < radius(one) + radius(other) and offset[2] < sum(halves):
                    return True
    return False


def _try_to_place(
    objects: Sequence[SceneObject], assignment: Assignment, rng: Rng
) -> tuple[tuple[SceneObject, ...], tuple[float, float] | None] | None:
    falls = assignment.task == "drop"
    placed = [_completed(thing) if thing.position is not None else None for thing in objects]
    order = [*assignment.objects, *(i for i in range(len(objects)) if i not in assignment.objects)]
    place = assignment.place
    for i in order:
        if placed[i] is None:
            others = [(placed[j], j in assignment.objects) for j in range(len(objects)) if j != i]
            known = [(other, wanted) for other, wanted in others if other is not None]
            placed[i] = _put(objects[i], known, i in assignment.objects, falls, rng)
            if placed[i] is None:
                return None
    complete = tuple(thing for thing in placed if thing is not None)
    if assignment.task == "push" and place is None:
        place = _aim(complete, assignment.objects[0], rng)
        if place is None:
            return None
    return complete, place


def _completed(thing: SceneObject) -> SceneObject:
    """A placed object with its height."""
    assert thing.position is not None and thing.size is not None
    return replace(thing, position=(*thing.position[:2], *(thing.position[2:] or (thing.size / 2,))))


def _put(
    thing: SceneObject, others: Sequence[tuple[SceneObject, bool]], wanted: bool, falls: bool, rng: Rng
) -> SceneObject | None:
    """The object somewhere on the table, or above it, beside the others, or None where no place was found."""
    assert thing.size is not None
    low, high = (TABLE_LOW, TABLE_HIGH) if wanted else (TABLE_LOW - MARGIN, TABLE_HIGH + MARGIN)
    for _ in range(_TRIES):
        if falls:
            position = rng.uniform(DROP_LOW, DROP_HIGH) + [0.0, 0.0, thing.size / 2]
        else:
            position = np.append(rng.uniform(low, high), thing.size / 2)
        tried = replace(thing, position=tuple(map(float, position)))
        if all(_apart(tried, other, wanted or also, falls) for other, also in others):
            return tried
    return None


def _apart(one: SceneObject, other: SceneObject, gripped: bool, falls: bool) -> bool:
    """Whether two placed objects leave room between them, and where one is gripped, for the gripper."""
    assert one.position is not None and other.position is not None
    offset = np.abs(np.subtract(one.position, other.position))
    if falls and offset[2] >= radius(one) + radius(other) + GAP:
        return True
    if not gripped or falls:
        return bool(np.hypot(*offset[:2]) >= radius(one) + radius(other) + GAP)
    widest = max(radius(one), radius(other))
    beside = offset[0] >= max(FINGER_WIDTH + widest, radius(one) + radius(other)) + GAP
    return bool(beside or offset[1] >= FINGER_SPREAD + widest + GAP)


def _aim(objects: Sequence[SceneObject], pushed: int, rng: Rng) -> tuple[float, float] | None:
    """Where to push an object: a free way behind, to and around the place; None where no place was found."""
    thing = objects[pushed]
    assert thing.position is not None
    start = np.array(thing.position[:2])
    for _ in range(_TRIES):
        angle, length = rng.uniform(0.0, 2 * np.pi), rng.uniform(*PUSH_LENGTH)
        way = np.array([np.cos(angle), np.sin(angle)])
        place = start + length * way
        behind = start - way * (radius(thing) + 0.04)
        outside = (place < TABLE_LOW) | (place > TABLE_HIGH) | (behind < PLACE_LOW[:2]) | (behind > PLACE_HIGH[:2])
        if outside.any():
            continue
        free = all(
            _distance(np.array((other.position or start)[:2]), behind, place) >= radius(other) + radius(thing) + 0.02
            for i, other in enumerate(objects)
            if i != pushed
        )
        if free:
            return float(place[0]), float(place[1])
    return None


def _distance(point: Array, start: Array, end: Array) -> float:
    """Distance of a point (2,) from the way between two others [m]."""
    way = end - start
    share = np.clip((point - start) @ way / (way @ way), 0.0, 1.0)
    return float(np.linalg.norm(point - start - share * way))
