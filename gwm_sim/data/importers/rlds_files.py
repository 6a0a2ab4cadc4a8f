"""The files of an RLDS data set: its versions, the shards of its splits, and what features.json says of a record."""

import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.data.importers.source import Source, listed
from gwm_sim.data.reading.checks import MAX_COLUMNS, Array, brief, reading
from gwm_sim.errors import DataError

FEATURES, INFO = "features.json", "dataset_info.json"
_SHARD = re.compile(r".+-(?P<split>[^-]+)\.(?P<format>\w+)-(?P<shard>\d{1,7})-of-(?P<count>\d{1,7})")


@dataclass(frozen=True)
class Feature:
    """What features.json says of one."""

    kind: str
    """image, text, tensor, or another kind that is not read."""
    shape: tuple[int, ...]
    """Without the axis of the steps; -1 for a size that varies."""
    dtype: str
    encoding: str

    @property
    def certain(self) -> bool:
        """Whether its numbers are amounts, or 0 and 1: integers may as well be numbers of choices."""
        return self.width is not None and self.dtype.startswith(("float", "bfloat", "bool"))

    @property
    def width(self) -> int | None:
        """Numbers per step; None when it is no vector of numbers."""
        number = self.kind == "tensor" and self.dtype.startswith(("float", "bfloat", "bool", "int", "uint"))
        if not number or len(self.shape) > 1 or not 0 < sum(self.shape or (1,)) <= MAX_COLUMNS:
            return None
        return self.shape[0] if self.shape else 1


def decoded(texts: list[memoryview], feature: Feature, width: int) -> Array:
    """Return the numbers of tensors that were stored as bytes, one per step, perhaps compressed."""
    dtype = np.dtype(feature.dtype).newbyteorder("<")
    size = width * dtype.itemsize
    if feature.encoding not in ("bytes", "zlib"):
        raise ValueError(f"encoding {brief(feature.encoding)} is not known")
    if feature.encoding == "zlib":
        texts = [memoryview(zlib.decompressobj().decompress(text, size + 1)) for text in texts]
    if any(len(text) != size for text in texts):
        raise ValueError(f"a step has other than {size} bytes")
    return np.frombuffer(b"".join(texts), dtype)


def features_of(content: dict[str, Any], where: Path) -> dict[str, Feature]:
    """Return the features by their paths, those of a step below `steps`."""
    found: dict[str, Feature] = {}

    def add(path: str, node: Any, in_steps: bool) -> None:
        members = node["featuresDict"]["features"] if "featuresDict" in node else None
        if members is not None:
            for name, member in members.items():
                add(f"{path}/{name}" if path else name, member, in_steps)
        elif path == "steps" and "sequence" in node:
            add(path, node["sequence"]["feature"], True)
        else:
            kind = next((kind for kind in ("tensor", "image", "text") if kind in node), "other")
            content = node.get(kind) or {}
            sizes = (content.get("shape") or {}).get("dimensions") or []
            shape = tuple(int(size) for size in sizes)
            dtype, encoding = str(content.get("dtype")), str(content.get("encoding") or "none")
            found[path] = Feature(kind, shape, dtype, encoding)

    with reading(where):
        add("", content, False)
    if not any(path.startswith("steps/") for path in found):
        raise DataError(f"{where} lists no steps: it is no RLDS data set of episodes.")
    return dict(sorted(found.items()))  # TFDS lists them in no order


def shards_of(folder: Path) -> dict[str, tuple[int, dict[int, str]]]:
    """Find the files of every split: how many there should be, and the names of those that are here."""
    found: dict[str, tuple[int, dict[int, str]]] = {}
    for name in sorted(item.name for item in folder.iterdir()):
        match = _SHARD.fullmatch(name)
        if match is None:
            continue
        if match["format"] != "tfrecord":
            raise DataError(f"{folder / name} is {match['format']}; tfrecord is read. Convert it with TFDS.")
        found.setdefault(match["split"], (int(match["count"]), {}))[1][int(match["shard"])] = name
    return found


def versions_of(path: Path) -> list[Path]:
    """Find the folders that hold a version of a data set: this one, those in it, and those in these."""
    if not path.is_dir():
        path = path.parent
    found = [path, *path.glob("*"), *path.glob("*/*")] if not (path / FEATURES).is_file() else [path]
    return sorted(folder for folder in found if (folder / FEATURES).is_file() and not folder.is_symlink())


def version_folder(path: Path, source: Source) -> Path:
    """Return the newest version of the only data set at a path."""
    versions = versions_of(path)
    if not versions:
        raise DataError(f"{path} holds no {FEATURES}. Give the folder of a data set, such as bridge_dataset/1.0.0.")
    sets = sorted({str(version.parent) for version in versions})
    if len(sets) > 1:
        raise DataError(f"{path} holds several data sets, {listed(sets)}: give one of them.")
    newest = max(versions, key=lambda version: ([int(part) for part in re.findall(r"\d+", version.name)], version.name))
    if len(versions) > 1:
        others = listed(version.name for version in versions if version != newest)
        source.remark(f"version {newest.name} was taken, not {others}: give the folder of another.")
    return newest
