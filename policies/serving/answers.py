"""Answers: numbers as JSON, and pictures as bytes, in the tail of a message or, for who reads JSON alone, in base64."""

import base64
import math
from dataclasses import dataclass, field
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from gwm_sim.envs.remote.wire import pack
from gwm_sim.media.video import encode_png
from gwm_sim.policies.serving.errors import refused
from gwm_sim.policies.serving.twin import TwinMoment
from gwm_sim.policies.serving.worlds import Shown, Worlds

WEBP_QUALITY: Final = "90"

MOST_PICTURES: Final = 64_000_000  # bytes of one answer, before they are made smaller

MEDIA_TYPES: Final = {"raw": "application/octet-stream", "png": "image/png", "webp": "image/webp"}


@dataclass
class Answer:
    """A header that can be JSON, and the arrays that it refers to."""

    header: dict[str, Any]
    tail: list[bytes] = field(default_factory=list)
    length: int = 0

    def add(self, picture: NDArray[Any], form: str) -> dict[str, Any]:
        """Take in a picture (H, W, 3) uint8, or any array as raw bytes, and return what the header says of it."""
        form = form if picture.dtype == np.uint8 else "raw"
        data = encoded(picture, form)
        place = [self.length, len(data)]
        self.tail.append(data)
        self.length += len(data)
        return {"format": form, "dtype": str(picture.dtype), "shape": list(picture.shape), "at": place}

    def binary(self) -> bytes:
        """The answer as one message, see `wire.py`."""
        return pack(self.header, self.tail)

    def json(self) -> dict[str, Any]:
        """The answer as JSON alone, its pictures in base64."""
        if not self.tail:
            return self.header
        whole = b"".join(self.tail)
        told: dict[str, Any] = inlined(self.header, whole)
        return told


def inlined(value: Any, tail: bytes) -> Any:
    """A header with the bytes that it refers to in their places."""
    if isinstance(value, dict):
        if "at" in value:
            offset, length = value["at"]
            kept = {key: item for key, item in value.items() if key != "at"}
            return {**kept, "data": base64.b64encode(tail[offset : offset + length]).decode()}
        return {key: inlined(item, tail) for key, item in value.items()}
    return [inlined(item, tail) for item in value] if isinstance(value, list) else value


def encoded(picture: NDArray[Any], form: str) -> bytes:
    """A picture (H, W, 3) as the bytes of a file, or an array as its own."""
    if form == "raw":
        return np.ascontiguousarray(picture).tobytes()
    return encode_png(picture) if form == "png" else encode_webp(picture)


def check_pictures(count: int, worlds: Worlds) -> None:
    """Raise where so many pictures of a model's cameras are too much for one answer."""
    most = MOST_PICTURES // math.prod(worlds.model.config.tokenizer.frame)
    if count > most:
        raise refused(f"an answer has at most {most} pictures of {worlds.name}, {count} were asked for: do fewer steps")


def encode_webp(picture: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 3) as the bytes of a WebP file."""
    codec: Any = av.CodecContext.create("libwebp", "w")
    codec.height, codec.width, codec.pix_fmt, codec.time_base = *picture.shape[:2], "yuv420p", 1
    codec.options = {"quality": WEBP_QUALITY}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24").reformat(format="yuv420p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def told(shown: Shown, form: str | None, answer: Answer) -> dict[str, Any]:
    """What an answer says of a moment, whose pictures it takes in if a form is given."""
    moment = shown.moment
    said: dict[str, Any] = {
        "step": moment.step,
        "reward": finite(moment.reward),
        "success": moment.success,
        "truncated": moment.truncated,
        "uncertainty": finite(moment.uncertainty),
        "agent_pos": finite(moment.telemetry.tolist()),
        "objects": finite(moment.objects.tolist()),
        "properties": moment.properties,
    }
    if form is not None:
        said["pictures"] = {key: answer.add(picture, form) for key, picture in shown.pictures.items()}
    if moment.twin is not None:
        said["twin"] = told_of_twin(moment.twin, form, answer)
    return said


def told_of_twin(moment: TwinMoment, form: str | None, answer: Answer) -> dict[str, Any]:
    """The same of the twin beside it."""
    said: dict[str, Any] = {
        "reward": moment.reward,
        "success": moment.success,
        "agent_pos": moment.telemetry.tolist(),
        "objects": finite(moment.objects.tolist()),
    }
    if form is not None:
        said["pictures"] = {key: answer.add(picture, form) for key, picture in moment.pictures.items()}
    return said


def finite(value: Any) -> Any:
    """A number, or lists of them, as JSON can say it: null for what is not finite, such as the place of what is absent,
    or all that a world says which lost its way."""
    if isinstance(value, list):
        return [finite(item) for item in value]
    return value if math.isfinite(value) else None
