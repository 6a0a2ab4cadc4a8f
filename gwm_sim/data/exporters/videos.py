"""Video files that LeRobot reads: AV1 or H.264 in MP4. Every second frame is a key frame, so any is found quickly."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import av
import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.cameras import Camera
from gwm_sim.errors import ConfigError, MissingDependency

Codec = Literal["av1", "h264"]
"""AV1 is LeRobot's own choice and smaller, H.264 plays everywhere and takes pictures of any even size."""

PIXEL_FORMAT = "yuv420p"
"""What every player and training library decodes; colours have half the resolution of brightness."""

_KEY_FRAMES = 2
"""Frames from one key frame to the next, as LeRobot has it."""


class _Encoder(NamedTuple):
    name: str
    options: dict[str, str]  # far finer than LeRobot's usual crf 30: our pictures are small, and so are the files
    smallest: int  # height and width of the smallest pictures [px]


_ENCODERS: dict[Codec, _Encoder] = {
    # One level of parallelism: small pictures gain nothing from 40 threads, among which SVT-AV1 4.1 was seen to wait
    # for ever once. The files are the same to the bit.
    "av1": _Encoder("libsvtav1", {"crf": "20", "preset": "8", "svtav1-params": "lp=1"}, smallest=64),
    "h264": _Encoder("libx264", {"crf": "18"}, smallest=2),
}


def check_codec(codec: Codec, cameras: dict[str, Camera]) -> None:
    """Refuse pictures that a codec cannot hold.

    Raises:
        ConfigError: A picture is too small or has an odd size.
        MissingDependency: PyAV was built without the encoder.
    """
    encoder = _ENCODERS[codec]
    if encoder.name not in av.codecs_available:
        raise MissingDependency(f"this PyAV has no {encoder.name}. Run: pip install --force-reinstall av")
    for name, camera in cameras.items():
        size = f"camera {name!r} has pictures of {camera.height}x{camera.width}"
        if camera.height % 2 or camera.width % 2:
            raise ConfigError(f"{size}, but videos need even sizes: make them even with gwm import --size")
        if min(camera.height, camera.width) < encoder.smallest:
            raise ConfigError(f"{size}, but {codec} needs {encoder.smallest} at least: use --codec h264")


class VideoFile:
    """A video that grows picture by picture."""

    def __init__(self, path: Path, codec: Codec, rate: float) -> None:
        """Begin a file of `rate` frames per second [Hz]."""
        os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 else prints its settings; 1 leaves the errors
        encoder = _ENCODERS[codec]
        self.frames = 0
        """Pictures so far."""
        self._file = open(path, "wb")  # a path given to the muxer could be taken for a URL
        self._container = av.open(self._file, "w", format="mp4")
        period = Fraction(rate).limit_denominator(100_000)
        stream: Any = self._container.add_stream(encoder.name, rate=period, options=dict(encoder.options))
        stream.pix_fmt, stream.gop_size = PIXEL_FORMAT, _KEY_FRAMES
        self._stream = stream

    def add(self, pictures: Array) -> None:
        """Append pictures (R, H, W, 3) uint8, all of one size."""
        if self.frames == 0:
            self._stream.height, self._stream.width = pictures.shape[1:3]
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = self.frames
            self._container.mux(self._stream.encode(frame))
            self.frames += 1

    def close(self) -> None:
        """Finish the file."""
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        finally:
            self._file.close()
