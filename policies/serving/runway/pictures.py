"""Pictures and films that the client sends, and films that it fetches."""

import io
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

import av
import numpy as np

from gwm_sim.data.images import SEEN, decode_picture, fit, part_of
from gwm_sim.data.reading.checks import reading
from gwm_sim.errors import DataError
from gwm_sim.media.video import encode_video, enlarge
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.policies.serving.errors import refused
from gwm_sim.policies.serving.moments import Frame

FILM_HEIGHT: Final = 384  # of a film [px], about
MOST_FRAMES: Final = 64  # of a film that a client sends; it sends 17, as large as it got them
MOST_PIXELS: Final = 4_000_000  # of each of them, and of a single picture


def film_frames(data: bytes) -> Iterator[Frame]:
    """The frames (H, W, 3) of an MP4 film.

    Raises:
        DataError: It is no such film, or a longer or larger one than clients send.
    """
    with reading("the film"), av.open(io.BytesIO(data), "r", format="mp4") as container:  # opens no other address
        stream: Any = container.streams.video[0]
        if stream.width * stream.height > MOST_PIXELS:
            raise ValueError(f"it claims pictures of {stream.width} x {stream.height} pixels")
        for number, frame in enumerate(container.decode(stream)):
            if number >= MOST_FRAMES:
                raise ValueError(f"it has more than {MOST_FRAMES} frames")
            yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


def read_context(data: bytes, film: bool) -> Frame:
    """The present in what the client uploaded: a picture, or the last frame of a film.

    Raises:
        DataError: It cannot be read, or is too large.
    """
    if not film:
        picture = np.asarray(decode_picture(data, "the picture"), np.uint8)
        if picture.size // 3 > MOST_PIXELS:
            raise DataError(f"the picture has more than {MOST_PIXELS:,} pixels: shrink it first")
        return picture
    last = deque(film_frames(data), 1)
    if not last:
        raise DataError("the film has no frame")
    return last[0]


def shown_views(picture: Frame, config: WorldModelConfig) -> tuple[Frame, int]:
    """A picture at the size of a model's frames, (H, V*W, 3), and how many of its cameras it shows.

    Raises:
        ServingError: It has not the proportions of one camera's picture, nor those of all cameras side by side.
    """
    height, width, cameras = config.tokenizer.height, config.tokenizer.width, len(config.cameras)
    for views in dict.fromkeys((1, cameras)):
        size = height, views * width
        if abs(part_of(picture.shape, size).stretch(size) - 1) <= SEEN:
            return fit(picture, size), views
    names = " and ".join(config.cameras)
    sides = f", or of both views side by side, {cameras * width} x {height}" if cameras == 2 else ""
    raise refused(
        f"the picture is {picture.shape[1]} x {picture.shape[0]} px, base view and wrist view side by side if there "
        f"are two; {config.name} sees through {names} and needs the proportions of one view, {width} x {height}{sides}"
    )


def as_sent(frames: Sequence[Frame], rate: float) -> tuple[bytes, list[Frame]]:
    """Frames as an MP4 film, enlarged so that compression spares their colours, and what is then seen in it."""
    height, width = frames[0].shape[:2]
    scale = enlargement(height, width)
    film = encode_video((enlarge(frame, scale) for frame in frames), rate)
    return film, [fit(frame, (height, width)) for frame in film_frames(film)]


def enlargement(height: int, width: int) -> int:
    """How many times as large frames of a size [px] are in films; a client brings sides to multiples of 16 when it
    sends films back, which these are already."""
    step = 16 // math.gcd(16, height, width)
    return step * max(1, round(FILM_HEIGHT / height / step))


def difference(one: Frame, other: Frame) -> float:
    """How different two pictures of one size are, root mean square [grey levels]."""
    return float(np.sqrt(np.square(one.astype(np.float32) - other).mean()))
