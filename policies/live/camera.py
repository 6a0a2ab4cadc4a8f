"""What the camera sees now: capture in a thread of its own, of which only the latest picture counts.

Every picture carries the moment at which it arrived and since when its content has been the same. A stream that
stopped, fails or froze is a fault: a controller that goes on with an old picture integrates its mistakes.
"""

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.pictures.upright import AS_IT_IS, Turn, upright
from gwm_sim.data.pictures.videos import film_turn
from gwm_sim.errors import DataError, GwmError
from gwm_sim.extras import missing
from gwm_sim.policies.live.timing import Clock

Picture = NDArray[np.uint8]

OPEN_TIMEOUT: Final = 5000  # for streams [ms]
READ_TIMEOUT: Final = 1000  # for streams [ms]; how old a picture may be is decided by its time stamp, not by this
RETRY: Final = 0.005  # pause after a picture that could not be had [s]
UNKNOWN_RATE: Final = 30.0  # of video files that do not tell theirs [Hz]


class CameraError(GwmError):
    """A camera cannot be opened or gives no pictures."""


class EndOfVideo(CameraError):
    """A video file has been played to its end."""


class FrameSource(Protocol):
    """Where pictures come from; cameras of LeRobot fit. One that also has `close()` is closed by the same thread."""

    def read(self) -> Picture | None:
        """Wait for the next picture (H, W, 3) uint8 in RGB; None where it failed and may be tried again.

        Whatever it raises ends the capture.
        """


@dataclass(frozen=True)
class Shot:
    """A picture, and when it was seen."""

    frame: Picture  # (H, W, 3)
    time: float
    """When it arrived [s]."""
    changed: float
    """When the first of the pictures arrived that have been identical since, bit by bit [s]."""
    number: int
    """How many pictures came before it."""


@dataclass(frozen=True)
class Freshness:
    """When a stream of pictures counts as lost."""

    max_age: float = 0.2
    """Age of the latest picture [s]; more than two periods of the camera."""
    max_frozen: float = 0.2
    """How long pictures may stay identical bit by bit [s]; sensors have noise. Infinity for cameras without any."""


class Camera(AbstractContextManager["Camera"]):
    """The latest picture of a source, read in a background thread."""

    def __init__(self, source: FrameSource, freshness: Freshness | None = None, clock: Clock | None = None) -> None:
        """Prepare to read `source`; `start` begins."""
        self.failures = 0
        """Reads that gave no picture."""
        self._source = source
        self._freshness = Freshness() if freshness is None else freshness
        self._clock = Clock() if clock is None else clock
        self._latest: Shot | None = None
        self._error: Exception | None = None
        self._first = Event()  # set by the first picture or error
        self._closed = Event()
        self._thread = Thread(target=self._capture, name="camera", daemon=True)

    def start(self, timeout: float = 10.0) -> Shot:
        """Begin to capture and return the first picture.

        Raises:
            CameraError: No picture came within `timeout` [s].
        """
        self._thread.start()
        self._clock.wait(self._first, timeout)
        shot = self.latest()
        if shot is None:
            self.close()
            raise CameraError(f"the camera gives no picture: {self._error or f'none within {timeout:g} s'}")
        return shot

    def close(self) -> None:
        """End the capture; a read that hangs is left behind."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def __exit__(self, *_: object) -> None:
        self.close()

    def latest(self) -> Shot | None:
        """The latest picture, None before the first."""
        return self._latest

    @property
    def ended(self) -> bool:
        """Whether a video file has come to its end."""
        return isinstance(self._error, EndOfVideo)

    def fault(self, now: float) -> str | None:
        """What is wrong with the pictures at this moment, or None."""
        shot, error = self.latest(), self._error
        if error is not None and not self.ended:  # a video that is over is a regular end
            return f"camera: {error}"
        if shot is None:
            return "camera: no picture yet"
        if (age := now - shot.time) > self._freshness.max_age:
            return f"camera: no new picture for {age:.2f} s, {self.failures} reads failed"
        if (frozen := shot.time - shot.changed) > self._freshness.max_frozen:
            return f"camera: the picture has been frozen for {frozen:.2f} s"
        return None

    def _capture(self) -> None:
        try:
            while not self._closed.is_set():
                frame = self._source.read()
                if frame is None:
                    self.failures += 1
                    self._closed.wait(RETRY)
                else:
                    self._publish(check_picture(frame))
        except Exception as error:  # whatever a driver raises, the robot must hold
            self._error = error if isinstance(error, CameraError) else CameraError(f"{type(error).__name__}: {error}")
            self._first.set()
        finally:
            # Graphics contexts and devices are freed by the thread that used them.
            if callable(close := getattr(self._source, "close", None)):
                close()

    def _publish(self, frame: Picture) -> None:
        now, last = self._clock.now(), self._latest
        frozen = last is not None and np.array_equal(frame, last.frame)
        self._latest = Shot(frame, now, last.changed if last and frozen else now, last.number + 1 if last else 0)
        self._first.set()


def check_picture(frame: Any) -> Picture:
    """The same picture, if it is one.

    Raises:
        CameraError: It is not (H, W, 3) uint8.
    """
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        given = f"{frame.shape} {frame.dtype}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise CameraError(f"a picture must be (H, W, 3) uint8, got {given}")
    return frame


# --- OpenCV -----------------------------------------------------------------------------------------------------------


class OpenCVSource:
    """A device, a stream or a video file, read by OpenCV; files are played at their own rate."""

    def __init__(self, target: int | str, plays: bool = False) -> None:
        """Open a device by number, a stream by URL or, with `plays`, a video file by path.

        Raises:
            CameraError: It cannot be opened.
            MissingDependency: OpenCV is not installed.
        """
        try:
            self._cv2 = import_module("cv2")
        except ModuleNotFoundError as error:
            raise missing("cv2", "a camera") from error
        self._name = str(target)
        if isinstance(target, int):
            self._capture = self._cv2.VideoCapture(target)
            self._capture.set(self._cv2.CAP_PROP_BUFFERSIZE, 1)  # the driver's queue must not add delay
        else:
            opening, reading = self._cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, self._cv2.CAP_PROP_READ_TIMEOUT_MSEC
            options = [] if plays else [opening, OPEN_TIMEOUT, reading, READ_TIMEOUT]
            self._capture = self._cv2.VideoCapture(target, self._cv2.CAP_FFMPEG, options)
        if not self._capture.isOpened():
            self._capture.release()
            raise CameraError(
                f"--camera {target} cannot be opened. `gwm doctor` lists the cameras of this machine; another program "
                "may hold it."
            )
        self._turn = self._turn_of(str(target)) if plays else AS_IT_IS
        self._period = 1.0 / (self._capture.get(self._cv2.CAP_PROP_FPS) or UNKNOWN_RATE) if plays else None
        self._due = -math.inf

    def read(self) -> Picture | None:
        """The next picture in RGB."""
        if self._period is not None:
            sleep(max(0.0, self._due - monotonic()))
            self._due = max(self._due, monotonic() - self._period) + self._period
        found, frame = self._capture.read()
        if not found and self._period is not None:
            raise EndOfVideo(f"{self._name} has been played to its end")
        return upright(self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2RGB), self._turn) if found else None

    def _turn_of(self, film: str) -> Turn:
        """Take the turning of a film from OpenCV, which takes mirrored ones for turned, and do it as importers do."""
        try:
            turn = film_turn(Path(film))
        except DataError:  # of a kind that importers do not read
            return AS_IT_IS
        return turn if self._capture.set(self._cv2.CAP_PROP_ORIENTATION_AUTO, 0) else AS_IT_IS

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


def open_source(name: str) -> OpenCVSource:
    """Open what `--camera` names: an index, a video file or a URL.

    Raises:
        CameraError: There is no such camera.
        MissingDependency: OpenCV is not installed.
    """
    if "://" in name:
        return OpenCVSource(name)
    if name.isdigit() or (name.startswith("/dev/video") and Path(name).exists()):
        return OpenCVSource(int(Path(name).name.removeprefix("video")))
    if Path(name).is_file():
        return OpenCVSource(name, plays=True)
    raise CameraError(f"--camera {name} is neither an index such as 0, nor a file that exists, nor a URL")
