"""The contract of an import format: the numbers of an episode at once, its pictures one by one.

A `Source` is a recording in a foreign format. Its rows are moments: at each there is telemetry and one picture per
camera, and action r leads from row r to row r+1. A format whose files say otherwise is shifted or cut to this by its
own module, so nothing downstream knows of it. Whatever a file does wrong becomes a `DataError` here.

A format of your own is a module in this folder with a subclass of `Source`, which writes `__len__`, `_recording` and
`_frames`, and with a constant `FORMAT`; what it needs can be imported from here. `gwm_sim.testing.source` tests whether
it keeps to the contract.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from gwm_sim.data.reading.checks import Array, brief, reading
from gwm_sim.data.reading.checks import counted as counted
from gwm_sim.data.reading.checks import listed as listed
from gwm_sim.data.recording import AS_STORED as AS_STORED
from gwm_sim.data.recording import Action as Action
from gwm_sim.data.recording import Column as Column
from gwm_sim.data.recording import Kind as Kind
from gwm_sim.data.recording import Layout as Layout
from gwm_sim.data.recording import Recording as Recording
from gwm_sim.data.recording import SourceOptions as SourceOptions
from gwm_sim.data.recording import standing as standing
from gwm_sim.errors import ConfigError, DamagedEpisode, DataError, OutsideError

_MOST_REASONS = 5
"""Episodes that were left out of which it is said why; more of them fill the screen."""


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
        remarks = [
            f"{text.rstrip('.')}{f' ({listed(episodes)})' if episodes else ''}."
            for text, episodes in self._remarks.items()
        ]
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
        try:
            with reading(self._name(k)):
                yield
        except (DamagedEpisode, OutsideError):
            raise
        except DataError as error:
            if self.leaves_out:
                raise DamagedEpisode(str(error)) from error
            advice = self.advice(k) if self._is_there(k) else ""
            raise DataError(f"{error} {advice}".rstrip()) from error

    def _is_there(self, k: int) -> bool:
        return 0 <= k < len(self)

    def _name(self, k: int) -> str:
        return self.title(k) if self._is_there(k) else f"episode {k} of {len(self)}"

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
        where = f"{self._name(k)}, camera {camera!r}"
        for picture in self._counted(k, self._frames(k, camera, wanted), len(wanted), where):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3 or picture.size == 0:
                raise DataError(f"{where}: a picture is {picture.dtype} {picture.shape}.")
            size = self._sizes.setdefault(camera, picture.shape[:2])
            if picture.shape[:2] != size:
                sizes = " and ".join(f"{height}x{width}" for height, width in (size, picture.shape[:2]))
                self.remark(f"camera {camera} has pictures of {sizes} pixels: all become one size", self._name(k))
            yield picture

    def depth(self, k: int, camera: str, rows: Sequence[int] | Array) -> Iterator[Array]:
        """Read depth images of the k-th episode one after the other, like `frames`, of a camera in `layout.depth`.

        Yields:
            One image per row, (H, W) float32 [m], 0 where nothing was measured.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        where = f"{self._name(k)}, depth of camera {camera!r}"
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
    """What it heeds of `SourceOptions`, beside `camera`, `actions` and `source_fps`, which all formats know."""
    looks_for: str = ""
    """What `recognises` wants to see in a folder, or of a file, in words: for who gave something else."""


def chosen_cameras(cameras: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the cameras that the user wants of those that there are, in the order of the choice; all without one.

    Raises:
        ConfigError: One does not exist, or is wanted twice.
    """
    if unknown := [camera for camera in wanted if camera not in cameras]:
        raise ConfigError(f"the source has no camera {unknown[0]!r}; it has {', '.join(cameras)}.")
    if twice := [camera for camera in wanted if wanted.count(camera) > 1]:
        raise ConfigError(f"--camera names {twice[0]!r} twice.")
    return tuple(wanted or cameras)


def how_to_move(folder: Path) -> str:
    """Say how an episode that is a folder is left out."""
    return f"To leave the episode out, move {folder} away."


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
