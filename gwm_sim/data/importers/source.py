"""The contract of an import format: the numbers of an episode at once, its pictures one by one.

A `Source` is a recording in a foreign format. Its rows are moments: at each there is telemetry and one picture per
camera, and action r leads from row r to row r+1. A format whose files say otherwise is shifted or cut to this by its
own module, so nothing downstream knows of it. Whatever a file does wrong becomes a `DataError` here.

A format of your own is a module in this folder with a subclass of `Source`, which writes `__len__`, `_recording` and
`_frames`, and with a constant `FORMAT`. `gwm_sim.testing.source` tests whether it keeps to the contract.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np

from gwm_sim.data.importers.checks import Array, reading
from gwm_sim.errors import DataError

Kind = Literal["delta", "target", "rate"]
"""How an action adds up over time: changes are summed, of absolute targets the last one counts, rates are averaged."""


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
    """Episodes in a foreign format; a context that closes its files.

    Episodes are numbered from 0 in an order that does not change, and reading one again gives the same. The constructor
    takes a path and reads as much as `layout` and the number of episodes need. Files are read, never written.
    """

    layout: Layout
    """Set by the constructor, and true of every episode; one that differs is refused when it is read."""
    unsaid: Kind | None = None
    """How actions add up of which the recordings do not say so, where whoever reads them knows. Matters to formats
    that leave rows out themselves, as where a table is faster than its videos."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of episodes, at least 1: the constructor refuses a recording that has none."""

    @abstractmethod
    def _recording(self, k: int) -> Recording:
        """Read the numbers of the k-th episode; all of them, whatever the rows that are wanted later.

        It may raise anything that a parser raises: `recording` makes a `DataError` of it, and checks the shapes.
        """

    @abstractmethod
    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        """Yield the pictures of some rows of `_recording(k)` in their order, (H, W, 3) uint8 in RGB, the top row first.

        One picture is in memory at a time. Ending early says that the file is truncated.
        """

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
        """Close what is open; closing twice does no harm. Most sources open files only while they read."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(frozen=True)
class ImportFormat:
    """What a module says of the format that it reads, as `FORMAT`: by that alone `gwm import` knows it."""

    name: str
    source: Callable[[Path], Source]
    recognises: Callable[[Path], bool]
    """Whether an existing path is of this format; looks at names and a few heads, and reads no episode."""
    packages: tuple[str, ...] = ()
    """Optional packages that it needs, by the names under which they are imported."""
    rank: int = 4
    """When `detect` asks for it, lowest first: a format that looks like another comes before it, a slow one last."""


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
