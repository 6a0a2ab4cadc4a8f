"""Made-up episodes, what they must become after import, and their pictures as videos.

Every picture can be told from its neighbours, from its mirror image and from itself upside-down, so a frame out of
place is noticed even through a lossy codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

HEIGHT, WIDTH = 64, 80
"""Size of all pictures [px]; SVT-AV1 makes no smaller ones."""


@dataclass(frozen=True)
class Truth:
    """What an episode must be after import, at the source's rate."""

    telemetry: Array
    """(R, P) float32."""
    actions: Array
    """(R-1, A) float32."""
    frames: dict[str, Array]
    """(R, 64, 80, 3) uint8 before they are resized."""

    def rows(self, start: int, stop: int) -> Truth:
        """Return some rows and the actions between them."""
        frames = {camera: pictures[start:stop] for camera, pictures in self.frames.items()}
        return Truth(self.telemetry[start:stop], self.actions[start : stop - 1], frames)


def make_pictures(seed: int, rows: int) -> Array:
    """Draw a scene that stands still, and a patch whose grey level and place are the row: (rows, 64, 80, 3) uint8."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(30, 90, HEIGHT)[:, None] + np.linspace(0, 60, WIDTH)  # bright below and at the right
    pictures = np.repeat(np.broadcast_to(ramp[..., None], (HEIGHT, WIDTH, 3))[None], rows, axis=0)
    pictures[:, :16, :24] = (200, 40, 40)  # a red corner at the top left
    for row in range(rows):
        level = 20 + (97 * row + rng.integers(20)) % 220
        column = 26 + 5 * (row % 8)
        pictures[row, 20:60, column : column + 18] = level
    return pictures.astype(np.uint8)


def make_truth(seed: int, rows: int, telemetry: int, actions: int, cameras: Sequence[str]) -> Truth:
    rng = np.random.default_rng(seed)
    return Truth(
        telemetry=np.cumsum(rng.normal(0, 0.05, (rows, telemetry)), axis=0).astype(np.float32),
        actions=rng.uniform(-1, 1, (rows - 1, actions)).astype(np.float32),
        frames={camera: make_pictures(10 * seed + i, rows) for i, camera in enumerate(cameras)},
    )


def down_turned(rows: int) -> Array:
    """Quaternions wxyz of a gripper that turns about x through pi, where other forms of rotation jump, (rows, 4)."""
    half = np.linspace(2.9, 3.4, rows) / 2
    return np.stack([np.cos(half), np.sin(half), 0 * half, 0 * half], axis=1).astype(np.float32)


def write_mp4(
    path: Path, pictures: Array, rate: float, codec: str = "libx264", stamps: Sequence[int] | Array | None = None
) -> None:
    """Write frames as a video, such that each can be told from the next after decoding.

    Args:
        path: File to write.
        pictures: Frames, (F, H, W, 3) uint8.
        rate: Frames per second [Hz].
        codec: Encoder.
        stamps: Number of the period in which each frame is shown; one after the other when None.
    """
    options = {"libx264": {"crf": "12"}, "libsvtav1": {"crf": "20", "preset": "12", "svtav1-params": "lp=1"}}[codec]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1000), options=options)
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv420p"
        stream.gop_size = 2
        for stamp, picture in zip(range(len(pictures)) if stamps is None else stamps, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = int(stamp)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def jpeg(picture: Array) -> Array:
    """Encode a picture as a JPEG file, (bytes,) uint8."""
    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = *picture.shape[:2], "yuvj420p", Fraction(1)
    codec.options = {"qmin": "1", "qmax": "1"}
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
    data = b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
    return np.frombuffer(data, np.uint8)
