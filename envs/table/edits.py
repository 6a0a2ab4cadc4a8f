"""Changes to a scene while it runs: which object is meant, and what it is like afterwards.

Slots keep their numbers: an object that is removed leaves an empty one. Knows no simulator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Final

from gwm_sim.envs.table.initial_state import check_position
from gwm_sim.envs.table.scene import COLOURS, KINDS, PROPERTY_RANGES, SceneObject, one_of, within

Slots = tuple[SceneObject | None, ...]

OF_AN_OBJECT: Final = ("position", "colour", "size", "mass", "friction", "bounciness", "remove")


def find_object(slots: Sequence[SceneObject | None], which: int | str) -> int:
    """Number of the object that is meant.

    Args:
        slots: The objects, None where there is none.
        which: Its number, or its kind, its colour or both, such as "red cube".

    Raises:
        ValueError: There is none like that, or several.
    """
    there = ", ".join(f"{i}: {thing.name}" for i, thing in enumerate(slots) if thing is not None) or "none"
    if not isinstance(which, str):
        if not isinstance(which, Integral) or not 0 <= which < len(slots) or slots[which] is None:
            raise ValueError(f"there is no object {which}; there are {there}")
        return int(which)
    words = which.lower().split()
    if not words or set(words) - {*KINDS, *COLOURS}:
        raise ValueError(
            f"an object is called by its kind ({', '.join(KINDS)}), its colour ({', '.join(COLOURS)}) or both, such as "
            f'"red cube", or by its number; got {which!r}; there are {there}'
        )
    found = [i for i, thing in enumerate(slots) if thing is not None and set(words) <= {thing.kind, thing.colour}]
    if len(found) != 1:
        several = f"{which!r} may be any of {', '.join(map(str, found))}" if found else f"there is no {which!r}"
        raise ValueError(f"{several}; there are {there}")
    return found[0]


def edit_object(slots: Slots, which: int | str, change: Mapping[str, Any]) -> tuple[Slots, int]:
    """The objects after a change of one of them, and its number.

    Args:
        slots: The objects, None where there is none.
        which: See `find_object`.
        change: New values of `position`, `colour`, `size`, `mass`, `friction`, `bounciness`, or `remove=True`.

    Raises:
        ValueError: No such object or attribute, or a value that is out of range.
    """
    number = find_object(slots, which)
    change = {name: value for name, value in change.items() if value is not None}
    if unknown := set(change) - set(OF_AN_OBJECT):
        raise ValueError(
            f"an object has no {', '.join(sorted(unknown))} that could be changed; it has {', '.join(OF_AN_OBJECT)}"
        )
    if not change:
        raise ValueError(f"nothing to change: give any of {', '.join(OF_AN_OBJECT)}")
    thing = slots[number]
    assert thing is not None
    if change.get("remove"):
        if len(change) > 1:
            raise ValueError(f"an object that is removed has no other changes, got {dict(change)}")
        after = None
    else:
        values = {name: value for name, value in change.items() if name != "remove"}
        after = replace(thing, **SceneObject.of({"kind": thing.kind, **values}).to_json())
        if "position" in values:
            check_position(after)
    return (*slots[:number], after, *slots[number + 1 :]), number


def edit_properties(properties: Mapping[str, float], change: Mapping[str, Any]) -> dict[str, float]:
    """The properties of a scene after a change of some; objects with a value of their own keep it.

    Raises:
        ValueError: No such property, or a value that is out of range.
    """
    change = {name: value for name, value in change.items() if value is not None}
    if not change:
        raise ValueError(f"nothing to change: give object=..., or any of {', '.join(PROPERTY_RANGES)}")
    for name, value in change.items():
        one_of("property of the scene", name, tuple(PROPERTY_RANGES))
        within(name, value, PROPERTY_RANGES[name])
    return {**properties, **{name: float(value) for name, value in change.items()}}
