"""Prompts: scene, task and properties of an episode from plain English, such as "stack the red cube on the blue one".

A grammar reads them, by word and phrase and with help for the spelling; no network and no model is asked. What it does
not understand it names, and what it would.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gwm_sim.envs.table.english.clauses import MOVES, Event, Reading, read_clauses
from gwm_sim.envs.table.english.discourse import Thing
from gwm_sim.envs.table.english.phrases import Setting
from gwm_sim.envs.table.english.tokens import not_understood
from gwm_sim.envs.table.scene import ASSIGNED, MAX_OBJECTS, PROPERTY_DEFAULTS, PROPERTY_RANGES, Scene, SceneObject

LONGEST: Final = 1000  # prompt [characters]

# What a degree means: 1 is "big" and 2 "very big", 0.5 "slightly", negative the contrary.
DEGREES: Final[Mapping[str, Mapping[float, float]]] = {
    "size": {-2: 0.03, -1: 0.035, -0.5: 0.04, 0.5: 0.05, 1: 0.055, 2: 0.06},  # [m]
    "mass": {-2: 0.02, -1: 0.05, -0.5: 0.07, 0.5: 0.15, 1: 0.3, 2: 0.5},  # [kg]
    "friction": {-2: 0.1, -1: 0.3, -0.5: 0.5, 0: 1.0, 0.5: 1.1, 1: 1.2, 2: 1.2},
    "gravity": {-2: 1.6, -1: 3.5, -0.5: 7.0, 0: 9.81, 0.5: 11.5, 1: 13.0, 2: 15.0},  # [m/s^2]
    "bounciness": {-2: 0.0, -1: 0.0, -0.5: 0.05, 0: 0.1, 0.5: 0.4, 1: 0.7, 2: 0.9},
}
# Places as they are seen from the front camera, (x, y) [m]; None of one axis leaves it to others.
PLACES: Final[Mapping[str, tuple[float | None, float | None]]] = {
    "left": (None, -0.09),
    "right": (None, 0.09),
    "middle": (0.5, 0.0),
    "near": (0.43, None),  # the robot
    "back": (0.43, None),
    "far": (0.57, None),
    "front": (0.57, None),
}
BESIDE: Final[Mapping[str, tuple[float, float]]] = {
    "left of": (0.0, -0.11),
    "right of": (0.0, 0.11),
    "next to": (0.0, -0.11),
    "in front of": (0.11, 0.0),
    "front of": (0.11, 0.0),
    "behind": (-0.11, 0.0),
}
"""From an object to what lies beside it (x, y) [m]."""
_CENTRE: Final = (0.5, 0.0)
_ROWS: Final = (0.0, 0.075, -0.075)  # along x, of objects in one place [m]


@dataclass(frozen=True)
class Prompt:
    """What a prompt says; None is left to the environment or drawn."""

    objects: tuple[SceneObject, ...] | None = None
    task: str | None = None
    chosen: tuple[int, ...] | None = None
    """Numbers of the objects that the task is about, in the order of `Assignment`."""
    place: tuple[float, float] | None = None
    properties: dict[str, float] = field(default_factory=dict)
    read_as: dict[str, str] = field(default_factory=dict)
    """Words whose spelling was corrected, and as what they were read."""


def read_prompt(prompt: str) -> Prompt:
    """Scene, task and properties of a prompt in English.

    Args:
        prompt: Such as "a robot arm stacks a blue cube on a yellow one on the moon".

    Raises:
        ValueError: Something that is not understood, does not exist or makes no sense; it names that and what would do.
        MissingDependency: A word is misspelled, and rapidfuzz is not installed.
    """
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError(f"a prompt is a sentence such as 'stack the red cube on the blue one', got {prompt!r}")
    if len(prompt) > LONGEST:
        raise ValueError(f"a prompt has at most {LONGEST} characters, this one has {len(prompt)}")
    reading = read_clauses(prompt)
    task, chosen = _Decision(reading).decide()
    if not reading.things and task is None and not reading.settings:
        raise ValueError(not_understood([prompt.strip()]))
    things = reading.things
    if len(things) > MAX_OBJECTS:
        raise ValueError(f"a scene has 1 to {MAX_OBJECTS} objects, the prompt has {len(things)}")
    properties = _properties(reading.settings)
    place = _put_things(reading, task, chosen)
    objects = tuple(_object(thing) for thing in things) or None
    if objects is not None:
        Scene(objects, {})  # says what is wrong with it
    return Prompt(objects, task, tuple(chosen) if objects and chosen else None, place, properties, reading.read_as)


class _Decision:
    """Which task is meant, and what it is about."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.on = reading.on
        self.events = [event for event in reading.events if event.verb not in ("lie", "ignore")]

    def decide(self) -> tuple[str | None, list[int]]:
        verbs = {event.verb for event in self.events}
        falls = verbs & {"drop", "bounce"}
        if "tower" in verbs or "stack" in verbs or (self.on and not falls):
            done, about = self._build()
        elif pushed := self._pushed():
            done, about = "push", pushed.about[:1]
        elif grasps := [event for event in self.events if event.verb == "grasp"]:
            done, about = "grasp", next((event.about[:1] for event in grasps if event.about), [])
        else:
            return ("drop" if falls else None), []
        if falls and (real := verbs - {"bounce", "put"}) & {"drop"} and real - {"drop"}:
            raise ValueError(f"a prompt has one task, this one has {done} and drop: leave out one of them")
        self._fill_up(about, ASSIGNED[done])
        return done, about

    def _pushed(self) -> Event | None:
        moved = [event for event in self.events if event.verb in MOVES]
        told = [event for event in moved if event.verb == "push" or event.places or event.point or event.beside]
        told += [event for event in moved if event.text.startswith(_CARRIES)]
        return told[-1] if told else None

    def _build(self) -> tuple[str, list[int]]:
        order = self._order()
        three = len(order) >= 3
        named = any(event.verb == "tower" for event in self.events)
        if len(order) == 2 or (not named and not three):
            return "stack", order[:2][::-1]
        return "tower", order[:3]

    def _order(self) -> list[int]:
        """Objects of a tower from below."""
        chain = self._chain()
        labels = self._labels()
        built = [event for event in self.events if event.verb in ("tower", "stack", "put")]
        after = [i for event in self.reading.events[self._first(built) :] for i in event.objects]
        said = list(dict.fromkeys(after))
        if len(chain) >= 3:
            return chain
        if labels and (len(said) >= 3 or chain):
            rest = [i for i in [*chain, *said] if i not in labels]
            low = [i for i, label in labels.items() if label == "bottom"]
            high = [i for i, label in labels.items() if label == "top"]
            middle = [i for i, label in labels.items() if label == "middle"]
            return list(dict.fromkeys([*low, *middle, *rest, *high]))
        if chain:
            return chain
        if len(said) < 2:
            said = list(dict.fromkeys([*said, *(i for event in built for i in event.subject)]))
        if len(said) < 2:
            said = list(range(len(self.reading.things)))
        return said[::-1] if self.reading.downwards else said

    def _first(self, built: Sequence[Event]) -> int:
        return self.reading.events.index(built[0]) if built else 0

    def _labels(self) -> dict[int, str]:
        labels = dict(self.reading.labels)
        if labels:
            for i, thing in enumerate(self.reading.things):
                if "middle" in thing.place and i not in labels:
                    labels[i] = "middle"
                    thing.place.discard("middle")
        return labels

    def _chain(self) -> list[int]:
        """The longest row of objects of which each is on the one before."""
        best: list[int] = []
        for low in {bottom for _, bottom in self.on}:
            row = [low]
            while above := [top for top, bottom in self.on if bottom == row[-1] and top not in row]:
                row.append(above[0])
            best = max(best, row, key=len)
        return best

    def _fill_up(self, about: list[int], count: int) -> None:
        """Give the task as many objects as it needs, where it names some."""
        things = self.reading.things
        for i in range(len(things)):
            if len(about) < count and i not in about and things:
                about.append(i)
        while things and len(about) < count:
            things.append(Thing("cube"))
            about.append(len(things) - 1)


_CARRIES: Final = ("mov", "bring", "brought", "carr", "transport", "transfer", "deliver", "relocate")


def _properties(settings: Sequence[Setting]) -> dict[str, float]:
    values: dict[str, float] = {}
    for setting in settings:
        name = setting.name
        if setting.value is not None:
            value = setting.value
        elif setting.times is not None:
            value = setting.times * PROPERTY_DEFAULTS[name]
        else:
            value = _of_degree(name, setting.degree or 0.0)
        low, high = PROPERTY_RANGES[name]
        if not low <= value <= high:
            raise ValueError(f"{name} must be between {low:g} and {high:g}, the prompt says {value:g}")
        values[name] = value
    return values


def _of_degree(name: str, degree: float) -> float:
    return DEGREES[name][max(-2.0, min(2.0, degree))]


def _object(thing: Thing) -> SceneObject:
    values: dict[str, Any] = {name: _of_degree(name, degree) for name, degree in thing.degrees.items()}
    values |= thing.values
    if thing.point is not None:
        values["position"] = thing.point
    return SceneObject("cube" if thing.kind == "thing" else thing.kind, thing.colour, **values)


def _put_things(reading: Reading, task: str | None, chosen: Sequence[int]) -> tuple[float, float] | None:
    """Give objects their positions; the place that one is pushed to."""
    things = reading.things
    taken: dict[tuple[float, float], int] = {}
    for thing in things:
        if thing.place and thing.point is None:
            thing.point = _spread(_place(sorted(thing.place)), taken)
    for one, name, other in reading.relations:
        if name in BESIDE:
            _put_beside(things[one], things[other], BESIDE[name])
    place = None
    if task == "push":
        pushed = [event for event in reading.events if event.verb in MOVES]
        for event in pushed:
            if event.beside is not None and event.beside[0] in BESIDE:
                spot = Thing(point=None)
                _put_beside(spot, things[event.beside[1]], BESIDE[event.beside[0]])
                place = spot.point
            place = event.point or (_place(event.places) if event.places else place)
    if reading.height is not None and task == "drop":
        for thing in things:
            thing.values.pop("position", None)
    return place


def _place(names: Sequence[str]) -> tuple[float, float]:
    x, y = _CENTRE
    for name in names:
        own = PLACES[name]
        x, y = (x if own[0] is None else own[0]), (y if own[1] is None else own[1])
    return x, y


def _spread(place: tuple[float, float], taken: dict[tuple[float, float], int]) -> tuple[float, float]:
    """A place beside others in the same place."""
    number = taken.get(place, 0)
    taken[place] = number + 1
    if number >= len(_ROWS):
        raise ValueError(f"at most {len(_ROWS)} objects are in one place of the table: say where the others are")
    return place[0] + _ROWS[number], place[1]


def _put_beside(one: Thing, other: Thing, offset: tuple[float, float]) -> None:
    if other.point is None and one.point is None:
        other.point = _CENTRE[0] - offset[0] / 2, _CENTRE[1] - offset[1] / 2
    if other.point is None and one.point is not None:
        other.point = one.point[0] - offset[0], one.point[1] - offset[1]
    elif one.point is None and other.point is not None:
        one.point = other.point[0] + offset[0], other.point[1] + offset[1]
