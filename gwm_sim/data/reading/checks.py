"""What strangers wrote, checked: numbers and JSON that an episode can hold, or a `DataError` that names the place."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from numpy.typing import ArrayLike

from gwm_sim.arrays import Array as Array
from gwm_sim.errors import DataError, GwmError
from gwm_sim.storage import reason

MAX_ROWS = 1_000_000
"""Rows of an episode beyond which a file is damaged rather than long: ten hours at 30 Hz."""

MAX_COLUMNS = 1_000


@contextmanager
def reading(where: str | Path) -> Iterator[None]:
    """Turn what a parser raises over a damaged file into a `DataError` that names the place."""
    try:
        yield
    except GwmError:
        raise
    except (
        *(OSError, EOFError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError),
        *(MemoryError, csv.Error, av.error.FFmpegError),
    ) as error:
        if (refused := reason(error)) is not None:
            raise DataError(f"{where} cannot be read: {refused}.") from error
        why = (str(error).splitlines() or [""])[0][:300] or type(error).__name__
        raise DataError(f"{where} cannot be read: {why}. Copy it again, or leave it out.") from error


def brief(value: object) -> str:
    """Show a value that a file gives, which may be of any length, in a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def counted(count: int, thing: str) -> str:
    """Say how many there are of something, as `1 demo` and `2 demos`."""
    return f"{count} {thing}{'s' * (count != 1)}"


def listed(names: Iterable[str], most: int = 8) -> str:
    """Name some things, and say how many more there are."""
    named = list(names)
    return ", ".join(named[:most]) + (f" and {len(named) - most} more" if len(named) > most else "")


def matrix(values: ArrayLike, where: str) -> Array:
    """Return numbers as (R, columns) float32; one number per row may come without its axis.

    Raises:
        DataError: They are no numbers, have a wrong number of axes, or are too large for float32.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{where}: its rows differ in length, or some are missing. Repair or remove it.") from error
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        raise DataError(f"{where} is {array.dtype} {array.shape}, expected numbers with one or two axes.")
    array = array[:, None] if array.ndim == 1 else array
    if array.shape[1] > MAX_COLUMNS or array.shape[0] > MAX_ROWS:
        raise DataError(f"{where} has shape {array.shape}: more than an episode can hold.")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(numbers))
    if len(wrong):
        row, column = map(int, wrong[0])
        raise DataError(f"{where} holds {array[row, column]} at row {row}, column {column}. Repair or remove it.")
    return numbers


def join_columns(parts: dict[str, Array], where: str) -> Array:
    """Join the columns of named parts (R, ...) that must have equally many rows."""
    if len({len(part) for part in parts.values()}) > 1:
        rows = ", ".join(f"{name} {len(part)}" for name, part in parts.items())
        raise DataError(f"{where}: its parts have different numbers of rows: {brief(rows)}. Is it finished?")
    return np.concatenate(list(parts.values()), axis=1)


def rows_of(values: ArrayLike, count: int, where: str) -> Array:
    """Return one number per row as (count,) float32."""
    numbers = matrix(values, where)
    if numbers.shape != (count, 1):
        raise DataError(f"{where} has shape {numbers.shape}, expected {count} rows of one number.")
    return numbers[:, 0]


def moments(values: ArrayLike, where: str) -> Array:
    """Return times [s] as (R,) float64; they must be finite and increase."""
    times = np.asarray(values)
    if times.ndim != 1 or times.dtype.kind not in "fiu":
        raise DataError(f"{where} is {times.dtype} {times.shape}, expected one time per row.")
    times = times.astype(np.float64)
    if not np.isfinite(times).all():
        raise DataError(f"{where} holds {times[~np.isfinite(times)][0]}; times must be finite.")
    back = np.flatnonzero(np.diff(times) <= 0)
    if len(back):
        row = int(back[0])
        raise DataError(
            f"{where} goes from {times[row]:.6f} s to {times[row + 1]:.6f} s at row {row + 1}: sort the rows."
        )
    return times


def json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object."""
    with reading(path):
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(value, dict):
        raise DataError(f"{path} is {type(value).__name__}, expected a JSON object.")
    return value
