"""Video files by strangers: decode them frame by frame, never leave the source folder.

PyAV brings its own decoders, AV1 among them, which the wheels of OpenCV cannot decode. Only real video containers are
opened: playlists and scripts, which a demuxer would follow to other files or hosts, are refused by name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import av
import numpy as np

from gwm_sim.data.pictures.upright import AS_IT_IS, Turn, turn_of_degrees, turn_of_file, turn_of_matrix, upright
from gwm_sim.data.reading.checks import MAX_ROWS, Array, brief, reading
from gwm_sim.errors import DataError, OutsideError

SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"

MAX_PIXELS = 50_000_000
"""Pixels of one picture; a small damaged or hostile file can claim any number."""

SAME_RATE = 0.02
"""Relative difference of two rates that are the same, one of them rounded."""

_ROUNDING = 0.25
"""Periods of a film by which the moments that speak of it may be off: sums and float32 are never so wrong."""

_FAR = 30
"""Frames from which on those between two wanted ones are jumped over: beginning anew costs as much as some of them."""

_EARLIER = 1e-6
"""Of two frames that are equally near to a moment, by all that rounding leaves of it [s], the earlier one is taken."""


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


class Film(NamedTuple):
    """What a file tells of its frames before one is decoded, in the order in which they are shown."""

    times: Array
    """When each is shown, by the clock of the file [s], (F,) float64."""
    stamps: Array | None
    """The same as the file writes it, (F,) int64; None where it writes none, so that frames are told by counting."""
    keys: Array
    """Numbers of the frames at which decoding can begin."""
    still: Turn | None
    """Turn in the EXIF of frames that are picture files of their own; None where they are not, or say nothing."""
    tagged: Turn
    """Turn in the tags of the file, which counts where no frame says one."""
    rate: float
    """Frames per second that the file says it has [Hz]; 0 where it says nothing."""

    @property
    def period(self) -> float:
        """Usual time from one frame to the next [s]; infinite for a single one."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else float("inf")


def film(path: Path) -> Film:
    """Read what a file tells of its frames; decodes nothing. The films read last are remembered."""
    with reading(path):
        status = path.stat()
    return _film(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)
def _film(path: Path, size: int, changed: int) -> Film:
    with _open(path) as (container, stream):
        packets: list[tuple[int | None, int | None, bool]] = []
        still = None
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:  # before the start that an edit list says: never shown
                continue
            if not packets and stream.codec_context.name in ("mjpeg", "png"):
                still = turn_of_file(bytes(packet))
            packets.append((packet.pts, packet.dts, packet.is_keyframe))
        base, rate = float(stream.time_base), float(stream.average_rate or 0)
        guessed = container.format.name == "avi"  # which writes no times: the demuxer makes them up
        tagged = {name.lower(): text for name, text in stream.metadata.items()}.get("rotate", "0")
    if not 0 < len(packets) <= MAX_ROWS:
        raise DataError(f"{path} holds {len(packets):,} frames.")
    stamps, keys = _order(packets, guessed)
    if stamps is not None and (np.diff(stamps) <= 0).any():
        raise DataError(f"{path} is damaged: it shows two frames at once. Copy it again.")
    if stamps is None and not rate:
        raise DataError(f"{path} says neither when its frames are shown nor at which rate. Write it anew as .mp4.")
    times = np.arange(len(packets)) / rate if stamps is None else stamps * base
    still = None if still == AS_IT_IS else still
    return Film(times, stamps, keys, still, _tagged_turn(tagged), rate)


def _order(packets: list[tuple[int | None, int | None, bool]], guessed: bool) -> tuple[Array | None, Array]:
    """Return the stamps of packets in the order of showing, and where decoding can begin."""
    if guessed or any(pts is None for pts, _, _ in packets):
        return None, np.zeros(0, np.int64)
    shown = sorted((int(pts), is_key) for pts, _, is_key in packets if pts is not None)
    return np.array([pts for pts, _ in shown], np.int64), np.flatnonzero([is_key for _, is_key in shown])


def _tagged_turn(degrees: str) -> Turn:
    return turn_of_degrees(float(degrees)) if degrees.lstrip("+-").isdigit() else AS_IT_IS


def frame_count(path: Path) -> int:
    """Return how many frames a file holds; whether they are whole shows when they are decoded."""
    return len(film(path).times)


def frame_times(path: Path) -> Array:
    """Return when each frame is shown [s] in order, counted from the first, (F,) float64; decodes nothing."""
    times = film(path).times
    return np.asarray(times - times[0])


def numbers_at(path: Path, times: Array, start: float = 0.0, stop: float = np.inf, origin: float = 0.0) -> Array:
    """Return the number of the frame that belongs to each moment of a table: the nearest one in time.

    A film that has exactly as many frames as there are moments, and another rate, has a wrong clock: frame i then
    belongs to moment i.

    Args:
        path: Video file; several episodes may share it.
        times: Moments in the file [s], increasing, (R,).
        start: Where the episode begins in the file [s]: no frame before it is its own.
        stop: Where the next one begins [s].
        origin: Earliest moment that any table means in this file [s]. Where the first frame is later, the clock of
            the film does not begin at its first frame, and the tables count from there.

    Raises:
        DataError: No frame is near enough to a moment.
    """
    held = film(path)
    step = float(np.median(np.diff(times))) if len(times) > 1 else np.inf
    period = held.period if len(held.times) > 1 else step
    shown = held.times - _late(held, origin, period)
    own = own_frames(path, start, stop, origin, step)
    if not len(own):
        raise DataError(f"{path} has no frame from {start:.4f} s on. It is truncated or belongs to other data.")
    if len(own) == len(times) > 1 and abs(step / period - 1) > SAME_RATE:
        return own
    middles = (shown[own][1:] + shown[own][:-1]) / 2
    numbers = own[np.searchsorted(middles, times - _EARLIER)]
    # Half a step where frames are as frequent as rows; a slow film shows its last frame until its period is over.
    reach = np.nanmax([0.5 * step, 0.75 * period, period - step]) + _EARLIER
    far = np.flatnonzero(np.abs(shown[numbers] - times) > reach)
    if len(far):
        raise DataError(f"{path} has no frame at {times[far[0]]:.4f} s. It is truncated or belongs to other data.")
    return np.asarray(numbers)


def own_frames(path: Path, start: float, stop: float, origin: float, step: float = np.inf) -> Array:
    """Return the numbers of the frames that show an episode, which may be off by what rounding does.

    Args:
        path: Video file.
        start: Where the episode begins in it [s].
        stop: Where the next one begins [s].
        origin: As for `numbers_at`.
        step: Time from row to row [s], which is the period of a film with a single frame.
    """
    held = film(path)
    period = held.period if len(held.times) > 1 else step
    slack = _ROUNDING * period if np.isfinite(period) else 0.0
    shown = held.times - _late(held, origin, period)
    return np.flatnonzero((shown >= start - slack) & (shown < stop - slack))


def last_moment(path: Path, step: float, origin: float) -> float:
    """Return when the last of some rows may be that a film still shows [s].

    Args:
        path: Video file.
        step: Time from row to row [s]: a film that is slower shows its last frame to several of them.
        origin: As for `numbers_at`.
    """
    held = film(path)
    period = held.period if np.isfinite(held.period) else step
    return float(held.times[-1] - _late(held, origin, period) + max(0.0, period - step))


def _late(held: Film, origin: float, period: float) -> float:
    """Return by how much the clock of a film is ahead of the one in which tables count [s]."""
    late = float(held.times[0]) - origin
    return late if late > 0.5 * period else 0.0


def frames(path: Path, indices: Array, read: Callable[[Any], Array] | None = None) -> Iterator[Array]:
    """Decode the frames with some numbers, not decreasing: one may be shown twice. Ends early where the file does.

    Args:
        path: Video file.
        indices: Numbers of the wanted frames, in the order in which they are shown.
        read: What makes an array of a decoded frame; `colours` by default.

    Yields:
        What `read` made, upright.

    Raises:
        DataError: A frame that the file lists cannot be decoded, or holds no colours.
    """
    held = film(path)
    make = read or partial(colours, where=str(path))
    for wanted in _runs(indices[indices < len(held.times)], held.keys):
        shown = 0
        for number, frame in _decoded(path, held, int(wanted[0])):
            if number > wanted[shown]:
                moment = held.times[wanted[shown]]
                raise DataError(f"{path}: frame {wanted[shown]} at {moment:.4f} s cannot be decoded. Copy it again.")
            if number < wanted[shown]:
                continue
            with reading(path):
                picture = upright(make(frame), _turn(frame, held))
            while shown < len(wanted) and number == wanted[shown]:
                yield picture
                shown += 1
            if shown == len(wanted):
                break
        else:  # the file ends
            return


def _runs(indices: Array, keys: Array) -> list[Array]:
    """Part the numbers of wanted frames where many others lie between, which need not be decoded."""
    if not len(indices):
        return []
    begins = keys[np.maximum(np.searchsorted(keys, indices, side="right") - 1, 0)] if len(keys) else 0 * indices
    return np.split(indices, np.flatnonzero(begins[1:] - indices[:-1] > _FAR) + 1)


def _decoded(path: Path, held: Film, first: int) -> Iterator[tuple[int, Any]]:
    """Decode frames with their numbers, from one that is not later than `first` on."""
    begins = max(held.keys[held.keys <= first], default=0)
    with _open(path) as (container, stream):
        if held.stamps is None:
            yield from enumerate(container.decode(stream))
            return
        if begins > 0:
            container.seek(int(held.stamps[begins]), stream=stream, backward=True)
        landed = begins == 0
        for frame in container.decode(stream):
            if not landed and (frame.pts is None or frame.pts > held.stamps[first]):
                break  # a container with a poor index may seek too far
            landed = True
            number = int(np.searchsorted(held.stamps, frame.pts)) if frame.pts is not None else len(held.stamps)
            if number < len(held.stamps) and held.stamps[number] == frame.pts:
                yield number, frame
    if not landed:
        yield from _decoded(path, held._replace(keys=held.keys[:0]), first)


def _turn(frame: Any, held: Film) -> Turn:
    """Return what makes a frame upright."""
    if held.still is not None:
        return held.still
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # beside the frame lies something that this PyAV has no name for
        return turn_of_degrees(-frame.rotation)
    return held.tagged if matrix is None else turn_of_matrix(np.frombuffer(bytes(matrix), np.int32).tolist())


def film_turn(path: Path) -> Turn:
    """Return what makes the pictures of a film upright."""
    held = film(path)
    return next((_turn(frame, held) for _, frame in _decoded(path, held, 0)), AS_IT_IS)


def colours(frame: Any, where: str) -> Array:
    """Return a decoded frame as a picture, (H, W, 3) uint8 in RGB: grey becomes RGB, what is transparent opaque.

    Raises:
        DataError: It holds what nobody can take for colours.
    """
    if level_bits(frame.format):
        raise DataError(
            f"{where} holds {frame.format.name}, numbers of more than 8 bits and not colours. If they are distances, "
            "let its name or its metadata say depth; else write 8-bit pictures."
        )
    return np.asarray(frame.to_ndarray(format="rgb24"))


def level_bits(format: Any) -> int:
    """Return the bits of the numbers in a pixel format that cannot be taken for colours, 0 where it can.

    Grey of more than 8 bits may be distances, heat or raw light, and nobody knows which number of 16 bits is white.
    Films of 10 and 12 bits in colours are as clear as others.
    """
    bits = max(component.bits for component in format.components)
    return 0 if bits <= 8 or (bits < 16 and len(format.components) >= 3) else int(bits)


def film_bits(path: Path) -> int:
    """Return the bits of the numbers of a film that shows no colours, 0 where it does."""
    with _open(path) as (_, stream):
        return level_bits(stream.codec_context.format)


def levels(frame: Any) -> Array:
    """Return the numbers of a decoded frame that has one channel, (H, W) uint8 or uint16, as they are."""
    name, plane = frame.format.name, frame.planes[0]
    if not name.startswith("gray") or max(component.bits for component in frame.format.components) > 16:
        raise DataError(f"the pictures are {name}, expected one channel of at most 16 bits.")
    wide = frame.format.components[0].bits > 8
    kind = np.dtype(np.uint16 if wide else np.uint8).newbyteorder(">" if name.endswith("be") else "<")
    rows = np.frombuffer(bytes(plane), kind).reshape(-1, plane.line_size // kind.itemsize)
    return rows[: frame.height, : frame.width].astype(kind.newbyteorder("="))
