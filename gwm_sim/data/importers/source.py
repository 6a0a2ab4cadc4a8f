"""What every importer gives: the numbers of an episode at once, its pictures one by one.

A `Source` is a recording in a foreign format. Its rows are moments: at each there is telemetry and one picture per
camera, and action r leads from row r to row r+1. A format whose files say otherwise is shifted or cut to this by its
own module, so nothing downstream knows of it. Whatever a file does wrong becomes a `DataError` here.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import av.error
import numpy as np
from numpy.typing import ArrayLike, NDArray

from gwm_sim.errors import DataError, GwmError

Array = NDArray[Any]

Kind = Literal["delta", "target", "rate"]
"""How an action adds up over time: changes are summed, of absolute targets the last one counts, rates are averaged."""

MAX_ROWS = 1_000_000
"""Rows of an episode beyond which a file is damaged rather than long: ten hours at 30 Hz."""

MAX_COLUMNS = 1_000


@dataclass(frozen=True)
class Column:
    """A number that the robot reports."""

    name: str
    unit: str = ""


@dataclass(frozen=True)
class Action(Column):
    """A number that the robot is told."""

    kind: Kind | None = None
    """None when the source does not say."""
    low: float | None = None
    """Limit that the source declares; None leaves it to the data."""
    high: float | None = None


@dataclass(frozen=True)
class Layout:
    """What all episodes of a source have in common."""

    robot: str
    """Robot or environment that was recorded."""
    rate: float | None
    """Rows per second [Hz]; None when the source does not say."""
    telemetry: tuple[Column, ...]
    actions: tuple[Action, ...]
    cameras: tuple[str, ...]
    effector: tuple[int, ...] = ()
    """Columns of the telemetry that are the measured end-effector position [m]."""
    gripper: tuple[int, ...] = ()
    """Columns of the telemetry that are how far the gripper or each finger is open [m]."""
    task: str | None = None
    """Name of the task that the rewards speak of."""


@dataclass(frozen=True)
class Recording:
    """The numbers of one episode: R rows and the actions between them."""

    where: str
    """File and place in it, for messages."""
    telemetry: Array
    """(R, P) float32."""
    actions: Array
    """(R-1, A) float32."""
    times: Array | None = None
    """Moments of the rows [s], (R,) float64, increasing; None when they follow the rate exactly."""
    reward: Array | None = None
    """Reward that stands at each row, (R,) float32."""
    success: Array | None = None
    """Whether the task is fulfilled at each row, (R,) bool."""
    succeeded: bool | None = None
    """How the episode ended; None when nobody wrote it down."""

    def __len__(self) -> int:
        """Return the number of rows R."""
        return len(self.telemetry)


class Source(ABC):
    """Episodes in a foreign format; a context that closes its files."""

    layout: Layout
    unsaid: Kind | None = None
    """How actions add up of which the recordings do not say so, where whoever reads them knows."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of episodes."""

    @abstractmethod
    def _recording(self, k: int) -> Recording: ...

    @abstractmethod
    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]: ...

    def recording(self, k: int) -> Recording:
        """Read the numbers of the k-th episode.

        Raises:
            DataError: They are damaged, or do not fit the layout.
        """
        with reading(f"episode {k}"):
            recording = self._recording(k)
            _check(recording, self.layout)
            return recording

    def frames(self, k: int, camera: str, rows: Sequence[int] | Array) -> Iterator[Array]:
        """Read pictures of the k-th episode one after the other.

        Args:
            k: Position of the episode.
            camera: One of `layout.cameras`.
            rows: Rows that are wanted, increasing.

        Yields:
            One picture per row, (H, W, 3) uint8; sizes may differ between episodes.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        count = 0
        with reading(f"episode {k}, camera {camera!r}"):
            for picture in self._frames(k, camera, wanted):
                if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3 or picture.size == 0:
                    raise DataError(f"episode {k}, camera {camera!r}: a picture is {picture.dtype} {picture.shape}.")
                yield picture
                count += 1
        if count < len(wanted):
            raise DataError(
                f"episode {k}, camera {camera!r}: its pictures end after {count} of {len(wanted)} wanted ones. "
                "The file is truncated: copy it again, or leave the episode out."
            )

    def close(self) -> None:
        """Close what is open; most sources open files only while they read."""
        return

    def __enter__(self) -> Self:
        """Return the source."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what is open."""
        self.close()


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
        reason = (str(error).splitlines() or [""])[0][:300] or type(error).__name__
        raise DataError(f"{where} cannot be read: {reason}. Copy it again, or leave it out.") from error


def brief(value: object) -> str:
    """Show a value that a file gives, which may be of any length, in a message."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def matrix(values: ArrayLike, where: str) -> Array:
    """Return numbers as (R, columns) float32; one number per row may come without its axis.

    Raises:
        DataError: They are no numbers, have a wrong number of axes, or are too large for float32.
    """
    array = np.asarray(values)
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


def side_by_side(parts: dict[str, Array], where: str) -> Array:
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


def _check(recording: Recording, layout: Layout) -> None:
    """Refuse what would become a silently wrong episode."""
    rows, where = len(recording), recording.where
    if rows < 2:
        raise DataError(f"{where} has {rows} usable rows; an episode needs two. Remove it.")
    expected = {
        "telemetry": (rows, len(layout.telemetry)),
        "actions": (rows - 1, len(layout.actions)),
        "times": (rows,),
        "reward": (rows,),
        "success": (rows,),
    }
    for name, shape in expected.items():
        values = getattr(recording, name)
        if values is not None and values.shape != shape:
            raise DataError(f"{where}: {name} have shape {values.shape}, expected {shape} as in the first episode.")
