"""Video files by strangers: decode them frame by frame, never leave the source folder.

PyAV brings its own decoders, AV1 among them, which the wheels of OpenCV cannot decode. Only real video containers are
opened: playlists and scripts, which a demuxer would follow to other files or hosts, are refused by name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import av
import numpy as np

from gwm_sim.data.reading.checks import MAX_ROWS, Array, brief, reading
from gwm_sim.errors import DataError, OutsideError

SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"

MAX_PIXELS = 50_000_000
"""Pixels of one picture; a small damaged or hostile file can claim any number."""


def inside(root: Path, reference: str, where: str) -> Path:
    """Return the file that a source refers to, if it truly lies in the folder of the source.

    Args:
        root: Folder that the reference may not leave.
        reference: Relative path with forward slashes.
        where: Who refers to it, for messages.

    Raises:
        OutsideError: The reference is absolute, climbs with `..`, or passes a symbolic link.
        DataError: It leads to no file.
    """
    parts = PurePosixPath(reference).parts
    if not parts or reference.startswith(("/", "\\")) or ".." in parts or "\0" in reference or ":" in parts[0]:
        raise OutsideError(f"{where} refers to {brief(reference)}: only paths inside {root} are read.")
    path = root
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise OutsideError(f"{where}: {path} is a symbolic link, which is not followed. Copy with `cp -rL`.")
    if not path.is_file():
        raise DataError(f"{where} refers to {brief(reference)}, which is not in {root}. Copy it beside the data.")
    return path


@contextmanager
def _open(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open the first video stream of a file; a Python file object keeps the demuxer from opening anything else."""
    with reading(path), open(path, "rb") as file:
        with av.open(file, options={"format_whitelist": _CONTAINERS}) as container:
            if not container.streams.video:
                raise DataError(f"{path} holds no video.")
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_PIXELS:
                raise DataError(f"{path} claims pictures of {stream.width}x{stream.height}: that is no camera.")
            yield container, stream


def frame_count(path: Path) -> int:
    """Return how many frames a file claims; what is really there shows when they are decoded."""
    with _open(path) as (_, stream):
        claimed = int(stream.frames)
    return claimed if claimed > 0 else len(frame_times(path))


def duration(path: Path) -> float:
    """Return for how long a file claims to show something [s], infinite where it claims nothing; decodes nothing."""
    with _open(path) as (container, stream):
        if stream.duration:
            return float(stream.duration * stream.time_base)
        return container.duration / av.time_base if container.duration else float("inf")


def frame_times(path: Path) -> Array:
    """Return when each frame is shown [s] in order, counted from the first, (F,) float64; decodes nothing."""
    with _open(path) as (container, stream):
        stamps = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        times = np.sort(np.array(stamps, dtype=np.float64)) * float(stream.time_base)
    if len(times) > MAX_ROWS or not len(times):
        raise DataError(f"{path} holds {len(times):,} frames.")
    if (np.diff(times) <= 0).any():
        raise DataError(f"{path} is damaged: it shows two frames at once. Copy it again.")
    return np.asarray(times - times[0])


def frames(path: Path, indices: Array) -> Iterator[Array]:
    """Decode the frames with some numbers, not decreasing: one may be shown twice. Ends early where the file does."""
    wanted = iter(indices.tolist())
    index = next(wanted, None)
    with _open(path) as (container, stream):
        if index is None:
            return
        for number, frame in enumerate(container.decode(stream)):
            if number < index:
                continue
            picture = frame.to_ndarray(format="rgb24")
            while number == index:
                yield picture
                index = next(wanted, None)
            if index is None:
                return


def frames_at(path: Path, times: Array, tolerance: float) -> Iterator[Array]:
    """Decode the frames that are shown at some moments of a file.

    Args:
        path: Video file; several episodes may share it.
        times: Moments in the file [s], increasing.
        tolerance: How far from its moment a frame may be [s].

    Raises:
        DataError: No frame is near enough to a moment.
    """
    with _open(path) as (container, stream):
        base = float(stream.time_base)
        container.seek(max(0, int((times[0] - tolerance) / base)), stream=stream, backward=True)
        decoded = container.decode(stream)
        frame = next(decoded, None)
        for time in times.tolist():
            while frame is not None and frame.pts * base < time - tolerance:
                frame = next(decoded, None)
            if frame is None or frame.pts * base > time + tolerance:
                raise DataError(f"{path} has no frame at {time:.4f} s. It is truncated or belongs to other data.")
            yield frame.to_ndarray(format="rgb24")
