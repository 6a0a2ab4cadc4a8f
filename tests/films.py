"""Films whose frames tell their number, picture files of any kind, and LeRobot data around films."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[Any]

HEIGHT, WIDTH = 64, 80
BASE = Fraction(1, 90_000)
"""Unit of the times in films."""

ENCODERS = {
    "libx264": {"crf": "12"},
    "mpeg4": {"qmin": "1", "qmax": "3"},
    "libx265": {"x265-params": "lossless=1:log-level=none"},
    "libsvtav1": {"crf": "20", "preset": "12", "svtav1-params": "lp=1"},
}


def numbered(number: int) -> Array:
    """Draw a number below 1024 in stripes that any codec keeps, (64, 80, 3) uint8; what is below is red at the left."""
    bits = (number >> np.arange(10)) & 1
    stripes = np.where(np.repeat(bits, WIDTH // 10), 220, 40)
    picture = np.broadcast_to(stripes[None, :, None], (HEIGHT, WIDTH, 3)).copy()
    picture[-16:, : WIDTH // 2] = (200, 40, 40)
    return picture.astype(np.uint8)


def number_of(picture: Array) -> int:
    """Read the number in a picture of any size."""
    height, width = picture.shape[:2]
    middles = ((np.arange(10) + 0.5) * width / 10).astype(int)
    return int(((picture[height // 4, middles].mean(axis=-1) > 130) << np.arange(10)).sum())


def write_film(
    path: Path,
    pictures: Sequence[Array],
    times: Sequence[float] | Array,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    options: Mapping[str, str] | None = None,
    container: Mapping[str, str] | None = None,
) -> Path:
    """Write a film whose frames are shown at some times [s]; of an array (H, W) uint16 with its numbers as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(1 / float(np.median(np.diff(times)))).limit_denominator(1000) if len(times) > 1 else Fraction(10)
    with av.open(str(path), "w", options=dict(container or {})) as file:
        stream: Any = file.add_stream(codec, rate=rate, options={**ENCODERS.get(codec, {}), **(options or {})})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pixels
        stream.codec_context.time_base = 1 / rate if path.suffix == ".avi" else BASE
        for time, picture in zip(times, pictures, strict=True):
            frame = levels_frame(picture, pixels) if picture.ndim == 2 else av.VideoFrame.from_ndarray(picture)
            frame.time_base = stream.codec_context.time_base
            frame.pts = round(float(time) / float(frame.time_base))
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def levels_frame(levels: Array, pixels: str) -> av.VideoFrame:
    """Make a frame of one channel whose numbers are not rescaled."""
    frame = av.VideoFrame(levels.shape[1], levels.shape[0], pixels)
    plane = frame.planes[0]
    kind = np.dtype("u1" if pixels == "gray" else ">u2" if pixels.endswith("be") else "<u2")
    rows = np.zeros((levels.shape[0], plane.line_size // kind.itemsize), kind)
    rows[:, : levels.shape[1]] = levels
    plane.update(rows.tobytes())
    return frame


def picture_file(picture: Array, kind: str = "png") -> bytes:
    """Encode a picture as PNG, JPEG or TIFF: (H, W) uint8 or uint16, (H, W, 3) or (H, W, 4) uint8."""
    shapes = {2: {"uint8": "gray", "uint16": "gray16le" if kind == "tiff" else "gray16be"}, 3: {3: "rgb24", 4: "rgba"}}
    pixels = shapes[picture.ndim][picture.dtype.name if picture.ndim == 2 else picture.shape[2]]  # type: ignore[index]
    name = {"png": "png", "tiff": "tiff", "jpeg": "mjpeg"}[kind]
    frame = levels_frame(picture, pixels) if picture.ndim == 2 else av.VideoFrame.from_ndarray(picture, format=pixels)
    if kind == "jpeg":
        pixels, frame = "yuvj444p", frame.reformat(format="yuvj444p")
    codec: Any = av.CodecContext.create(name, "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = *picture.shape[:2], pixels, Fraction(1)
    codec.options = {"qmin": "1", "qmax": "1"} if kind == "jpeg" else {}
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def with_orientation(data: bytes, orientation: int, order: str = ">") -> bytes:
    """Write EXIF's orientation into a JPEG or PNG file, after another entry, in either order of bytes."""
    head = b"MM\0*" if order == ">" else b"II*\0"
    entries = [struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in ((271, 7), (274, orientation))]
    exif = head + struct.pack(f"{order}IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    if data.startswith(b"\xff\xd8"):
        segment = b"Exif\0\0" + exif
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    chunk = b"eXIf" + exif
    return data[:33] + struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""The numbers a, b, c, d of a film's display matrix that ask for the same as each orientation of EXIF."""


def turn_film(path: Path, orientation: int) -> Path:
    """Write a display matrix into the header of the first track of an .mp4 file."""
    a, b, c, d = MATRICES[orientation]
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def oriented(picture: Array, orientation: int) -> Array:
    """Return what a viewer shows of a stored picture, after the table in the standard of EXIF."""
    quarters = {1: 0, 2: 0, 3: 2, 4: 0, 5: 3, 6: 3, 7: 1, 8: 1}[orientation]  # counter-clockwise
    turned = np.rot90(picture, quarters)
    return {2: np.fliplr, 4: np.flipud, 5: np.fliplr, 7: np.fliplr}.get(orientation, np.asarray)(turned)


def write_lerobot(
    folder: Path,
    rate: float,
    lengths: Sequence[int],
    *,
    starts: Sequence[float] | None = None,
    stops: Sequence[float] | None = None,
    stored: Mapping[str, Sequence[Any]] | None = None,
    features: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write the tables and metadata of LeRobot data v3.0; films are for the test to write.

    Args:
        folder: Where to.
        rate: Rows per second [Hz].
        lengths: Rows of each episode.
        starts: Where each episode begins in the film [s].
        stops: Where it ends; not written when None.
        stored: Cells of pictures that lie in the table, by feature, of all rows one after the other.
        features: What info.json says of the cameras; one film named front when None.
    """
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    shown = dict(features or {"observation.images.front": {"dtype": "video", "shape": [HEIGHT, WIDTH, 3]}})
    vector = {"dtype": "float32", "shape": [2], "names": ["x.pos", "y.pos"]}
    vectors = {"observation.state": vector, "action": vector}
    info = {"codebase_version": "v3.0", "robot_type": "arm", "fps": rate, "features": {**vectors, **shown},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"}  # fmt: skip
    for name in ("meta/episodes/chunk-000", "data/chunk-000"):
        (folder / name).mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info))
    rows = [(k, i) for k, length in enumerate(lengths) for i in range(length)]
    columns: dict[str, Any] = {
        "episode_index": [k for k, _ in rows],
        "frame_index": [i for _, i in rows],
        "timestamp": pa.array(np.array([i / rate for _, i in rows], np.float32)),
        **{key: pa.array([[0.01 * i, 0.02 * i] for _, i in rows], pa.list_(pa.float32())) for key in vectors},
    }
    cell = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for key, files in (stored or {}).items():
        columns[key] = pa.array([{"bytes": data, "path": None} for data in files], cell)
    pq.write_table(pa.table(columns), folder / "data/chunk-000/file-000.parquet")
    begins = starts or (np.concatenate([[0], np.cumsum(lengths[:-1])]) / rate).tolist()
    records = []
    for k, length in enumerate(lengths):
        record: dict[str, Any] = {"episode_index": k, "length": length, "data/chunk_index": 0, "data/file_index": 0}
        for key, feature in shown.items():
            if feature["dtype"] == "video":
                record |= {f"videos/{key}/chunk_index": 0, f"videos/{key}/file_index": 0}
                record |= {f"videos/{key}/from_timestamp": begins[k]}
                record |= {} if stops is None else {f"videos/{key}/to_timestamp": stops[k]}
        records.append(record)
    pq.write_table(pa.Table.from_pylist(records), folder / "meta/episodes/chunk-000/file-000.parquet")
    return folder


def film_of(folder: Path, camera: str = "front") -> Path:
    """Return where the shared film of a camera belongs."""
    return folder / f"videos/observation.images.{camera}/chunk-000/file-000.mp4"
