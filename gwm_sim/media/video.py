"""Pictures and films of frames: labelled contact sheets, mosaics, PNG and MP4 files.

Frames are uint8 (H, W, 3) here as everywhere. Files are written by PyAV, which the core needs anyway, and the labels
use a small pixel font of our own, so nothing else has to be installed to look at results.
"""

import io
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.errors import ConfigError
from gwm_sim.files import replacing

# Capitals of 3 by 5 pixels: one octal digit per row, from the top; its three bits are the pixels from left to right.
_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-+=/:%,()'"
_ROWS = (
    "25755 65656 34443 65556 74647 74644 34553 55755 72227 11152 55655 44447 57755 65555 25552 65644 25563 65655 34216 "
    "72222 55557 55552 55775 55255 55222 71247 75557 26227 71747 71317 55711 74717 74757 71222 75757 75717 "
    "00002 00700 02720 07070 11244 02020 51245 00024 12221 42224 22000"
)
_GLYPHS = dict(zip(_CHARACTERS, _ROWS.split(), strict=True))
_PAPER, _INK = 255, 40
_TEXT_SCALE = 2
_TEXT_HEIGHT = 5 * _TEXT_SCALE
_GAP = 4


def enlarge(image: Array, factor: int) -> Array:
    """Repeat every pixel `factor` times in both directions, (H, W, 3) -> (H * factor, W * factor, 3)."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def text(label: str) -> Array:
    """Draw a line of text in capitals, (10, W, 3); characters that the font lacks stay blank."""
    columns = [np.zeros((5, 0), dtype=bool)]
    for character in label.upper():
        rows = [int(row) for row in _GLYPHS.get(character, "00000")]
        columns += [
            np.array([[row & bit for bit in (4, 2, 1)] for row in rows], dtype=bool),
            np.zeros((5, 1), dtype=bool),
        ]
    ink = np.concatenate(columns, axis=1)
    picture = np.where(ink, _INK, _PAPER).astype(np.uint8)
    return enlarge(np.repeat(picture[..., None], 3, axis=-1), _TEXT_SCALE)


def contact_sheet(rows: Mapping[str, Sequence[Array]], columns: Sequence[str] = (), scale: int = 2) -> Array:
    """Arrange frames of one size in labelled rows.

    Args:
        rows: Frames (H, W, 3) uint8 from left to right, by row label; rows may be shorter than the longest.
        columns: Label above each column.
        scale: Enlargement of the frames.

    Returns:
        One picture, (height, width, 3) uint8.
    """
    height, width = (scale * size for size in next(frame for frames in rows.values() for frame in frames).shape[:2])
    titles = [text(label) for label in rows]
    left = max(title.shape[1] for title in titles) + 2 * _GAP
    top = _TEXT_HEIGHT + 2 * _GAP if columns else _GAP
    count = max(len(frames) for frames in rows.values())
    sheet = np.full((top + len(rows) * (height + _GAP), left + count * (width + _GAP), 3), _PAPER, dtype=np.uint8)
    for i, label in enumerate(columns):
        _paste(sheet, text(label)[:, :width], _GAP, left + i * (width + _GAP))
    for j, (title, frames) in enumerate(zip(titles, rows.values(), strict=True)):
        y = top + j * (height + _GAP)
        _paste(sheet, title, y + (height - _TEXT_HEIGHT) // 2, _GAP)
        for i, frame in enumerate(frames):
            _paste(sheet, enlarge(frame, scale), y, left + i * (width + _GAP))
    return sheet


def mosaic(frames: Sequence[Array], columns: int, scale: int = 2) -> Array:
    """Arrange frames of one size in a grid, row by row, without labels."""
    height, width = (scale * size for size in frames[0].shape[:2])
    rows = -(-len(frames) // columns)
    picture = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, 3), _PAPER, dtype=np.uint8)
    for k, frame in enumerate(frames):
        row, column = divmod(k, columns)
        _paste(picture, enlarge(frame, scale), _GAP + row * (height + _GAP), _GAP + column * (width + _GAP))
    return picture


def encode_png(image: Array) -> bytes:
    """Return one picture (H, W, 3) uint8 as the bytes of a PNG file."""
    codec = av.CodecContext.create("png", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = *image.shape[:2], "rgb24", Fraction(1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def write_png(path: str | Path, image: Array) -> None:
    """Write one picture (H, W, 3) uint8 as a PNG file."""
    with replacing(path) as temporary:
        temporary.write_bytes(encode_png(image))


def write_video(path: str | Path, frames: Iterable[Array], rate: float) -> None:
    """Write frames (H, W, 3) uint8 of one size as an H.264 film that browsers play, which appears whole or not at all.

    Args:
        path: File to write; its suffix chooses the container, such as `.mp4`.
        frames: At least one frame; an odd height or width is padded by one white pixel, which H.264 needs.
        rate: Frames per second [Hz].

    Raises:
        ConfigError: No container has that suffix.
    """
    with replacing(path, f".tmp{Path(path).suffix}") as temporary, _film(temporary) as container:
        _encode(container, frames, rate)


def encode_video(frames: Iterable[Array], rate: float) -> bytes:
    """Return frames as the bytes of an MP4 file, see `write_video`."""
    film = io.BytesIO()
    with av.open(film, "w", format="mp4") as container:
        _encode(container, frames, rate)
    return film.getvalue()


def _encode(container: av.container.OutputContainer, frames: Iterable[Array], rate: float) -> None:
    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
    stream.height, stream.width, stream.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
    stream.options = {"crf": "18"}
    for frame in chain([first], frames):
        padded = np.pad(frame, padding, constant_values=_PAPER)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
    container.mux(stream.encode(None))


def _film(path: Path) -> av.container.OutputContainer:
    try:
        return av.open(str(path), "w")
    except ValueError as error:  # of a suffix that says no container
        raise ConfigError(f"no film ends in {path.suffix!r}: give a name that ends in .mp4.") from error


def _paste(sheet: Array, image: Array, y: int, x: int) -> None:
    sheet[y : y + image.shape[0], x : x + image.shape[1]] = image
