"""RLDS data sets as TensorFlow Datasets writes them, made without TensorFlow."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from truths import HEIGHT, WIDTH, Array, Truth, jpeg, make_truth

from gwm_sim.data.reading.tfrecord import crc32c, masked
from gwm_sim.media.video import write_png

Content = Sequence[bytes] | Array
"""Strings of bytes, or numbers."""


def write_rlds(
    folder: Path,
    splits: Mapping[str, Sequence[Sequence[int]]] | None = None,
    features: Mapping[str, Any] | None = None,
    changes: Mapping[str, Content] | None = None,
) -> list[Truth]:
    """Write a data set with two splits, one of them in two files; the third camera shows nothing.

    Args:
        folder: Folder of the data set; its version goes into it.
        splits: Rows of the episodes of each file, by split.
        features: Features beside the usual ones, or in their place: by path, as `tensor` and `image` make them.
        changes: Their values, the same in every episode, or values of usual ones.
    """
    splits = splits or {"train": [[8, 11], [6]], "val": [[9]]}
    all_features = USUAL | dict(features or {})
    version = folder / "1.0.0"
    truths: list[Truth] = []
    version.mkdir(parents=True)
    for split, files in splits.items():
        for shard, lengths in enumerate(files):
            records = []
            for rows in lengths:
                truths.append(make_truth(len(truths), rows, 5, 3, ("image_0", "wrist")))
                values = _values(truths[-1], len(truths) - 1) | dict(changes or {})
                records.append(framed(example({path: values[path] for path in all_features})))
            name = f"{folder.name}-{split}.tfrecord-{shard:05d}-of-{len(files):05d}"
            (version / name).write_bytes(b"".join(records))
    (version / "features.json").write_text(json.dumps(nested(all_features)))
    said = [{"name": split, "shardLengths": [str(len(of)) for of in files]} for split, files in splits.items()]
    info = {"name": folder.name, "version": "1.0.0", "fileFormat": "tfrecord", "splits": said}
    (version / "dataset_info.json").write_text(json.dumps(info))
    return truths


def tensor(*shape: int, dtype: str = "float32", encoding: str = "none") -> dict[str, Any]:
    """Describe numbers."""
    return {"tensor": {"shape": {"dimensions": list(map(str, shape))}, "dtype": dtype, "encoding": encoding}}


def image(channels: int = 3, dtype: str = "uint8", encoding: str = "jpeg") -> dict[str, Any]:
    """Describe pictures."""
    shape = {"dimensions": [str(HEIGHT), str(WIDTH), str(channels)]}
    return {"image": {"shape": shape, "dtype": dtype, "encodingFormat": encoding}}


USUAL: dict[str, Any] = {
    "steps/observation/state": tensor(5),
    "steps/observation/image_0": image(),
    "steps/observation/image_2": image(),
    "steps/observation/wrist": image(encoding="png"),
    "steps/action": tensor(3),
    "steps/reward": tensor(),
    "steps/discount": tensor(),
    "steps/language_embedding": tensor(16),
    "steps/language_instruction": {"text": {}},
    "episode_metadata/file_path": {"text": {}},
    "episode_metadata/has_image_0": tensor(dtype="bool"),
    **{f"steps/{name}": tensor(dtype="bool") for name in ("is_first", "is_last", "is_terminal")},
}
"""Features that every data set here has."""


def _values(truth: Truth, k: int) -> dict[str, Content]:
    rows = len(truth.telemetry)
    first, last = np.arange(rows) == 0, np.arange(rows) == rows - 1
    return {
        "steps/observation/state": truth.telemetry,
        "steps/observation/image_0": [jpeg(picture).tobytes() for picture in truth.frames["image_0"]],
        "steps/observation/image_2": [jpeg(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).tobytes()] * rows,
        "steps/observation/wrist": _pngs(truth.frames["wrist"]),
        "steps/action": np.concatenate([truth.actions, np.full((1, 3), 7, np.float32)]),  # the last one is void
        "steps/reward": last.astype(np.float32),
        "steps/discount": np.ones(rows, np.float32),
        "steps/language_embedding": np.ones((rows, 16), np.float32),
        "steps/language_instruction": [f"stack number {k}, grün".encode()] * rows,
        "episode_metadata/file_path": [b"/data/one"],
        "episode_metadata/has_image_0": np.array([0]),
        "steps/is_first": first.astype(int),
        "steps/is_last": last.astype(int),
        "steps/is_terminal": last.astype(int),
    }


def _pngs(pictures: Array) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for picture in pictures:
            write_png(Path(folder) / "a.png", picture)
            files.append((Path(folder) / "a.png").read_bytes())
        return files


def nested(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return features by their paths as features.json nests them."""
    members: dict[str, Any] = {}
    for name in dict.fromkeys(path.partition("/")[0] for path in features):
        below = {path.partition("/")[2]: feature for path, feature in features.items() if path.startswith(f"{name}/")}
        inner = nested(below) if below else features[name]
        members[name] = {"sequence": {"feature": inner, "length": "-1"}} if name == "steps" else inner
    return {"featuresDict": {"features": members}}


def example(values: Mapping[str, Content]) -> bytes:
    """Write a `tf.train.Example`."""
    entries = (_field(1, _field(1, path.encode()) + _field(2, _feature(value))) for path, value in values.items())
    return _field(1, b"".join(entries))


def _feature(value: Content) -> bytes:
    if not isinstance(value, np.ndarray):
        return _field(1, b"".join(_field(1, text) for text in value))
    if value.dtype.kind == "f":
        return _field(2, _field(1, value.astype("<f4").tobytes()))
    return _field(3, _field(1, b"".join(_varint(int(number) % (1 << 64)) for number in value.ravel())))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def framed(data: bytes) -> bytes:
    """Return a message as a record of a file."""
    length = struct.pack("<Q", len(data))
    return b"".join([length, struct.pack("<I", masked(crc32c(length))), data, struct.pack("<I", masked(crc32c(data)))])
