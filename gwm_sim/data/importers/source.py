"""The contract of an import format: the numbers of an episode at once, its pictures one by one.

A `Source` is a recording in a foreign format. Its rows are moments: at each there is telemetry and one picture per
camera, and action r leads from row r to row r+1. A format whose files say otherwise is shifted or cut to this by its
own module, so nothing downstream knows of it. Whatever a file does wrong becomes a `DataError` here.

A format of your own is a module in this folder with a subclass of `Source`, which writes `__len__`, `_recording` and
`_frames`, and with a constant `FORMAT`. `gwm_sim.testing.source` tests whether it keeps to the contract.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np

from gwm_sim.data.reading.checks import Array, brief, reading
from gwm_sim.errors import DamagedEpisode, DataError, OutsideError, check_rate

Kind = Literal["delta", "target", "rate"]
"""How an action adds up over time: changes are summed, of absolute targets the last one counts, rates are averaged."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How recordings are read where their files leave it open or are wrong: options of `gwm import` and `gwm inspect`.

    A format heeds those that its `ImportFormat` names; any other one is refused before a file is opened.
    """

    actions: Kind | None = None
    """How actions add up where the source does not say: delta sums, target takes the last, rate averages."""
    source_fps: float | None = None
    """True frames per second of the recordings, where their files say none or a wrong number."""
    trim: bool = False
    """Drop what is too much at the end of an episode whose rows and frames differ in number, which is refused else."""
    mask: str | None = None
    """Take only the demonstrations of this filter key, such as train."""
    state_key: str | None = None
    """Field that is the telemetry, where it has another name than usual; several with commas between."""
    action_key: str | None = None
    """Field that is the action, where it has another name than usual; several with commas between."""

    def __post_init__(self) -> None:
        check_rate(source_fps=self.source_fps)


_MOST_REASONS = 5
"""Episodes that were left out of which it is said why; more of them fill the screen."""

AS_STORED = SourceOptions()
"""Everything as the files say."""


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
    """Name of the task that the rewards speak of, where a recording does not name its own."""
    depth: tuple[str, ...] = ()
    """Cameras that measured depth as well."""


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
    instruction: str | None = None
    """What the robot was asked to do, in words."""
    masks: tuple[str, ...] = ()
    """Filter keys that the episode belongs to, such as train."""
    task: str | None = None
    """Name of the task that reward and success speak of; None for that of the layout."""

    def __len__(self) -> int:
        """Return the number of rows R."""
        return len(self.telemetry)


class Source(ABC):
    """Episodes in a foreign format; a context that closes its files.

    Episodes are numbered from 0 in an order that does not change, and reading one again gives the same. The constructor
    takes a path and options, and reads as much as `layout` and the number of episodes need. Files are read, never
    written.
    """

    layout: Layout
    """Set by the constructor, and true of every episode; one that differs is refused when it is read."""
    options: SourceOptions = AS_STORED
    """Set by the constructor."""
    leaves_out: ClassVar[bool] = False
    """Whether an episode that is damaged is left out with a remark; else it stops an import, and the user decides."""

    @cached_property
    def _remarks(self) -> dict[str, dict[str, None]]:
        return {}

    @cached_property
    def _sizes(self) -> dict[str, tuple[int, ...]]:
        """Height and width of the first picture that was seen of each camera."""
        return {}

    def remark(self, text: str, episode: str = "") -> None:
        """Keep what the user has to know of this source; of a text that is true of several episodes, their names."""
        episodes = self._remarks.setdefault(text, {})
        if episode:
            episodes[episode] = None

    @property
    def remarks(self) -> list[str]:
        """What was noticed by now, each text once."""
        remarks = [f"{text} ({listed(episodes)})" if episodes else text for text, episodes in self._remarks.items()]
        lost = sorted(self._left_out)
        remarks += [f"{self.title(k)} was left out: {self._left_out[k]}" for k in lost[:_MOST_REASONS]]
        if more := lost[_MOST_REASONS:]:
            remarks.append(f"{len(more)} more were left out for reasons of that kind: {listed(map(self.title, more))}.")
        return remarks

    @cached_property
    def _left_out(self) -> dict[int, str]:
        return {}

    def leave_out(self, k: int, reason: DamagedEpisode) -> None:
        """Remember that the k-th episode is left out, and why."""
        self._left_out[k] = str(reason)

    def title(self, k: int) -> str:
        """Name the k-th episode as its files do."""
        return f"episode {k}"

    def advice(self, k: int) -> str:
        """Say how the user leaves the k-th episode out, where `leaves_out` does not."""
        return ""

    @contextmanager
    def _reading(self, k: int) -> Iterator[None]:
        """Say of what is wrong with an episode whether, or how, it is left out."""
        known = 0 <= k < len(self)
        try:
            with reading(self.title(k) if known else f"episode {k} of {len(self)}"):
                yield
        except (DamagedEpisode, OutsideError):
            raise
        except DataError as error:
            if self.leaves_out:
                raise DamagedEpisode(str(error)) from error
            raise DataError(f"{error} {self.advice(k) if known else ''}".rstrip()) from error

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

    def _depth(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        """Yield how far away things are at some rows, (H, W) float32 [m], 0 where nothing was measured, as `_frames`.

        Only called for cameras of `layout.depth`.
        """
        raise DataError(f"camera {camera!r} measured no depth.")

    def recording(self, k: int) -> Recording:
        """Read the numbers of the k-th episode.

        Raises:
            DataError: They are damaged, or do not fit the layout; a `DamagedEpisode` where the others may be read.
        """
        with self._reading(k):
            recording = self._recording(k)
            _check(recording, self.layout)
            return recording

    def sound_recording(self, k: int) -> Recording | None:
        """Read the numbers of the k-th episode; None, and a remark, where it is damaged and may be left out."""
        try:
            return self.recording(k)
        except DamagedEpisode as error:
            self.leave_out(k, error)
            return None

    def nothing_sound(self, otherwise: str) -> DataError:
        """Return what to raise when no episode is of use: why the first one was left out, or what is told."""
        first = next((self._left_out[k] for k in sorted(self._left_out)), None)
        return DataError(otherwise if first is None else f"no episode could be read. {first}")

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
        where = f"episode {k}, camera {camera!r}"
        for picture in self._counted(k, self._frames(k, camera, wanted), len(wanted), where):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3 or picture.size == 0:
                raise DataError(f"{where}: a picture is {picture.dtype} {picture.shape}.")
            size = self._sizes.setdefault(camera, picture.shape[:2])
            if picture.shape[:2] != size:
                sizes = " and ".join(f"{height}x{width}" for height, width in (size, picture.shape[:2]))
                self.remark(f"camera {camera} has pictures of {sizes} pixels: all become one size", f"episode {k}")
            yield picture

    def depth(self, k: int, camera: str, rows: Sequence[int] | Array) -> Iterator[Array]:
        """Read depth images of the k-th episode one after the other, like `frames`, of a camera in `layout.depth`.

        Yields:
            One image per row, (H, W) float32 [m], 0 where nothing was measured.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        where = f"episode {k}, depth of camera {camera!r}"
        for image in self._counted(k, self._depth(k, camera, wanted), len(wanted), where):
            if image.dtype != np.float32 or image.ndim != 2 or image.size == 0:
                raise DataError(f"{where}: an image is {image.dtype} {image.shape}.")
            if not np.isfinite(image).all() or (image < 0).any():
                raise DataError(f"{where}: an image holds what is no distance.")
            yield image

    def _counted(self, k: int, images: Iterator[Array], count: int, where: str) -> Iterator[Array]:
        """Pass images on; say what is wrong with those that a file cannot give."""
        given = 0
        with self._reading(k):
            for image in images:
                yield image
                given += 1
            if given < count:
                raise DataError(
                    f"{where}: its pictures end after {given} of {count} wanted ones. "
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
    source: Callable[[Path, SourceOptions], Source]
    recognises: Callable[[Path], bool]
    """Whether an existing path is of this format; looks at names and a few heads, and reads no episode."""
    packages: tuple[str, ...] = ()
    """Optional packages that it needs, by the names under which they are imported."""
    rank: int = 4
    """When `detect` asks for it, lowest first: a format that looks like another comes before it, a slow one last."""
    options: tuple[str, ...] = ()
    """What it heeds of `SourceOptions`, beside `actions` and `source_fps`, which all do."""
    looks_for: str = ""
    """What `recognises` wants to see in a folder, or of a file, in words: for who gave something else."""


def how_to_move(folder: Path) -> str:
    """Say how an episode that is a folder is left out."""
    return f"To leave the episode out, move {folder} away."


def listed(names: Iterable[str], most: int = 8) -> str:
    """Name some things, and say how many more there are."""
    named = list(names)
    return ", ".join(named[:most]) + (f" and {len(named) - most} more" if len(named) > most else "")


def _check(recording: Recording, layout: Layout) -> None:
    """Refuse what would become a silently wrong episode."""
    rows, where = len(recording), recording.where
    if rows < 2:
        raise DataError(f"{where} has {rows} usable rows; an episode needs two. Remove it.")
    if "\0" in (recording.instruction or ""):  # no file could hold it
        raise DataError(f"{where}: there is a zero character in {brief(recording.instruction)}. Remove it.")
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
