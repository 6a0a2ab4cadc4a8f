"""Action spaces as Gymnasium declares them and Minari writes them down, and the columns that their values become.

A choice (`Discrete`, each part of a `MultiDiscrete`) becomes as many columns as it has values, of which the chosen one
is 1 and all others are 0: numbers of choices have no order that a model could learn from. What is on or off
(`MultiBinary`) is a column of 0 and 1. A `Box` keeps its numbers. Parts of `Dict` and `Tuple` stand in their order.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gwm_sim.data.reading.checks import MAX_COLUMNS, Array, brief, reading
from gwm_sim.errors import DataError

MOST_CHOICES = 64
"""Columns that choices may become; more say that numbers were meant, or that a model would learn little of each."""

_NESTED = {"Dict", "Tuple"}


@dataclass(frozen=True)
class Number:
    """A column, in the order in which they stand."""

    name: str
    low: float | None
    high: float | None
    chosen: bool
    """Whether it is 0 or 1."""


@dataclass(frozen=True)
class Part:
    """A space that is stored as one array, (T, *shape)."""

    path: str
    """Where it lies below the actions, such as `/arm/_index_0`; empty for the actions themselves."""
    kind: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    """Of the entries of the array, in their order."""
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]

    @property
    def one_hot(self) -> bool:
        """Whether entries are numbers of choices."""
        return self.kind in ("Discrete", "MultiDiscrete")

    def __str__(self) -> str:
        """Say what it is, in a few words."""
        if self.kind == "MultiBinary":
            return f"MultiBinary({'x'.join(map(str, self.shape))})"
        if self.one_hot:
            sizes = ", ".join(f"{low:g} to {high:g}" for low, high in zip(self.low, self.high, strict=True))
            return f"{self.kind}({brief(sizes)})".replace("'", "")
        return f"{self.kind}{self.shape}"

    @property
    def width(self) -> int:
        """Return how many columns it becomes."""
        if not self.one_hot:
            return len(self.names)
        return sum(int((high or 0) - (low or 0)) + 1 for low, high in zip(self.low, self.high, strict=True))

    @property
    def columns(self) -> Iterator[Number]:
        """Name the columns that it becomes."""
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if self.one_hot:
                assert low is not None and high is not None
                for value in range(int(low), int(high) + 1):
                    yield Number(f"{name}={value}", 0.0, 1.0, True)
            else:
                yield Number(name, low, high, self.kind != "Box")

    def read(self, values: Array, where: str) -> Array:
        """Return stored values (T, ...) as columns, (T, C) float32.

        Raises:
            DataError: They do not fit the space.
        """
        if values.shape[1:] != self.shape and not (self.shape in ((), (1,)) and values.shape[1:] in ((), (1,))):
            raise DataError(f"{where} has shape {values.shape}, but its space is {self}: T x {self.shape} is expected.")
        entries = values.reshape(len(values), len(self.names))
        if self.kind == "Box":
            return _floats(entries, where)
        low, high = (np.array(ends, np.float64) for ends in (self.low, self.high))
        wrong = np.argwhere(~((entries >= low) & (entries <= high) & (entries == np.floor(entries))))
        if len(wrong):
            row, entry = map(int, wrong[0])
            raise DataError(
                f"{where} holds {values.dtype.type(entries[row, entry])} at row {row} for {self.names[entry]}, but its "
                f"space is {self}: whole numbers from {low[entry]:g} to {high[entry]:g} are expected."
            )
        if self.kind == "MultiBinary":
            return entries.astype(np.float32)
        hot = [np.arange(low[i], high[i] + 1) == entries[:, i, None] for i in range(len(self.names))]
        return np.concatenate(hot, axis=1).astype(np.float32)

    def beyond(self, values: Array) -> bool:
        """Return whether stored numbers of a box leave it."""
        entries = values.reshape(len(values), -1)
        low = np.array([-np.inf if end is None else end for end in self.low])
        high = np.array([np.inf if end is None else end for end in self.high])
        slack = 1e-6 * np.maximum(1, np.abs(entries))
        return self.kind == "Box" and bool(((entries < low - slack) | (entries > high + slack)).any())


def _floats(entries: Array, where: str) -> Array:
    with np.errstate(over="ignore"):
        numbers: Array = entries.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        row, column = map(int, wrong[0])
        raise DataError(f"{where} holds {entries[row, column]} at row {row}, column {column}. Repair or remove it.")
    return numbers


def parts_of(space: Any, where: str) -> list[Part]:
    """Return the arrays of a declared space in the order of their columns.

    Raises:
        DataError: The declaration is damaged, or of a kind that is not known.
    """
    with reading(where):
        parts = list(_parts(space, "", "action", where))
    chosen = sum(part.width for part in parts if part.one_hot)
    if chosen > MOST_CHOICES:
        what = ", ".join(str(part) for part in parts if part.one_hot)
        raise DataError(
            f"{where} is {what}: {chosen} choices. At most {MOST_CHOICES} become a column each: record what they stand "
            "for, such as positions, instead."
        )
    names = [column.name for part in parts for column in part.columns]
    if not names or len(names) > MAX_COLUMNS or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), None)
        raise DataError(f"{where} gives {len(names)} columns" + (f", two of them named {twice!r}." if twice else "."))
    return parts


def _parts(space: Any, path: str, name: str, where: str) -> Iterator[Part]:
    kind = space.get("type") if isinstance(space, Mapping) else None
    if kind in _NESTED:
        inner = space["subspaces"]
        members = inner.items() if kind == "Dict" else ((f"_index_{i}", item) for i, item in enumerate(inner))
        for number, (key, item) in enumerate(members):
            below = str(key) if kind == "Dict" else str(number)
            # Keys of a Dict are names enough; a Tuple has none.
            inside = below if kind == "Dict" and name == "action" else f"{name}_{below}"
            yield from _parts(item, f"{path}/{key}", inside, where)
        return
    if kind == "Box":
        shape = tuple(int(size) for size in space["shape"])
        count = _count(shape, where)
        low, high = (_limits(space.get(end), shape, count) for end in ("low", "high"))
    elif kind == "Discrete":
        shape, start = (), int(space.get("start") or 0)
        low, high = _whole([start]), _whole([start + int(space["n"]) - 1])
    elif kind == "MultiDiscrete":
        sizes = np.asarray(space["nvec"], np.int64)
        starts = np.broadcast_to(np.asarray(space.get("start") or 0, np.int64), sizes.shape)
        shape = sizes.shape
        low, high = _whole(starts.ravel().tolist()), _whole((starts + sizes - 1).ravel().tolist())
    elif kind == "MultiBinary":
        shape = tuple(int(size) for size in np.atleast_1d(space["n"]))
        count = _count(shape, where)
        low, high = (0.0,) * count, (1.0,) * count
    else:
        part = f"part {path}: " if path else ""
        raise DataError(
            f"{where}: {part}{brief(kind)} is no space that actions can be read from; these are Box, Discrete, "
            "MultiDiscrete, MultiBinary, and Dict and Tuple of them."
        )
    _count(shape, where)
    if any(a is not None and b is not None and a > b for a, b in zip(low, high, strict=True)):
        raise DataError(f"{where}: a {kind} has no value, or limits of the wrong order.")
    plain = kind == "Box" and path == "" and shape in ((), (1,))  # one number, whose name was always this
    yield Part(path, kind, shape, ("action_0",) if plain else _names(name, shape), low, high)


def _count(shape: tuple[int, ...], where: str) -> int:
    """Return the number of entries, which a declaration may not blow up."""
    count = math.prod(shape)
    if not 0 < count <= MAX_COLUMNS or min(shape, default=1) < 1:
        raise DataError(f"{where} has a part of shape {brief(shape)}: 1 to {MAX_COLUMNS} numbers are expected.")
    return count


def _names(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    return tuple("_".join(map(str, (name, *index))) for index in np.ndindex(*shape))


def _whole(values: list[int]) -> tuple[float, ...]:
    return tuple(map(float, values))


def _limits(limits: Any, shape: tuple[int, ...], count: int) -> tuple[float | None, ...]:
    """Return a limit for each number of a box; None where it has none."""
    if limits is None:
        return (None,) * count
    ends = np.broadcast_to(np.asarray(limits, np.float64), shape).ravel().tolist()
    return tuple(end if math.isfinite(end) else None for end in ends)
