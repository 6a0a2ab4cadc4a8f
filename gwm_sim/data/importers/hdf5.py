"""HDF5 files by strangers: read what is named, follow no link, believe no size.

A link or an external dataset could make a file show any other file of this machine, so only what lies in the file
itself is read.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from gwm_sim.data.demos import open_file
from gwm_sim.data.importers.source import Source
from gwm_sim.data.pictures.depth import BUFFER, DepthMap, Scale, Shown, says_depth, sort_cameras
from gwm_sim.data.pictures.pixels import Form, axes_of, form_of
from gwm_sim.data.reading.checks import MAX_COLUMNS, MAX_ROWS, Array, matrix, reading, rows_of
from gwm_sim.data.reading.folders import unlinked
from gwm_sim.errors import DataError

_MAX_ATTRIBUTE = 1_000_000
"""Elements of an attribute, or characters of a text, that are still read."""

_BLOCK_BYTES = 16_000_000
"""Pictures read at a time: whole chunks are decompressed once, and memory stays small."""

_NO_PICTURES = re.compile(r"segmentation|(^|[_/])(mask|seg|labels?|points?|point_?cloud|xyz|normals?|flow)([_/]|$)")
"""Names of arrays that have the form of pictures and hold numbers of objects, places or directions."""


class Hdf5Source(Source):
    """A source in HDF5 files that keeps the last one open: episodes of one file are read one after the other."""

    _file: h5py.File | None = None

    def _open(self, path: Path) -> h5py.File:
        if self._file is None or path != Path(self._file.filename):
            self.close()
            self._file = open_file(path)
        return self._file

    def close(self) -> None:
        """Close the open file."""
        if self._file is not None:
            self._file.close()
        self._file = None


def is_hdf5(path: Path) -> bool:
    """Return whether `path` is a file that HDF5 can open; one that nobody may read is told, as it could be."""
    try:
        if path.is_file():
            path.open("rb").close()
        return path.is_file() and bool(h5py.is_hdf5(path))
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False


def hdf5_files(path: Path) -> list[Path]:
    """List the HDF5 file at `path`, or those directly in the folder `path`, by name."""
    if not path.is_dir():
        return [path]
    files = sorted(unlinked(file) for file in path.iterdir() if file.suffix in (".hdf5", ".h5"))
    if not files:
        raise DataError(f"{path} holds no .hdf5 file. Give the file, or the folder that holds it.")
    return files


def how_to_delete(path: Path, group: str) -> str:
    """Say how an episode that is a group of a file is left out."""
    return f"To leave the episode out, delete /{group} in a copy of {path.name}: del h5py.File(COPY, 'r+')[{group!r}]."


@contextmanager
def first_data(path: Path) -> Iterator[h5py.Group | None]:
    """Open the group /data of an HDF5 file, or of the first one in a folder; None where there is no such group."""
    files = sorted(path.glob("*.hdf5")) if path.is_dir() else [path]
    if not files or not is_hdf5(files[0]):
        yield None
        return
    with open_file(files[0]) as file:
        data = member(file, "data")
        yield data if isinstance(data, h5py.Group) else None


def member(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    """Return what lies at `path` below a group, or None when nothing does.

    Raises:
        DataError: It is a link, or its content lies in another file.
    """
    item: Any = group
    for name in path.split("/"):
        if not isinstance(item, h5py.Group) or name not in item.keys():
            return None
        where = place(item, name)
        if not isinstance(item.get(name, getlink=True), h5py.HardLink):
            raise DataError(f"{where} is a link, which could lead anywhere. Resolve it: h5repack --merge FILE NEW.")
        with reading(where):
            item = item[name]
    if isinstance(item, h5py.Dataset) and _lies_elsewhere(item):
        raise DataError(f"{place(group, path)} keeps its content in another file, which is not followed.")
    return item if isinstance(item, h5py.Group | h5py.Dataset) else None


def _lies_elsewhere(dataset: h5py.Dataset) -> bool:
    with reading(place(dataset)):
        virtual = dataset.is_virtual and any(source.file_name != "." for source in dataset.virtual_sources())
        return bool(dataset.external) or virtual


def group_at(group: h5py.Group, path: str) -> h5py.Group:
    """Return the group at `path`, which must exist."""
    item = member(group, path)
    if not isinstance(item, h5py.Group):
        raise DataError(f"{place(group, path)} is missing or no group.")
    return item


def dataset_at(group: h5py.Group, path: str) -> h5py.Dataset:
    """Return the dataset at `path`, which must exist."""
    item = member(group, path)
    if not isinstance(item, h5py.Dataset):
        raise DataError(f"{place(group, path)} is missing or no dataset.")
    return item


def place(item: h5py.Group | h5py.Dataset, path: str = "") -> str:
    """Name a place for messages, as `file.hdf5: /data/demo_0/actions`."""
    return f"{item.file.filename}: {item.name.rstrip('/')}{'/' + path if path else ''}"


def array_at(group: h5py.Group, path: str) -> Array:
    """Read a whole dataset of bounded size, (R,) or (R, columns), in its own type."""
    dataset, where = dataset_at(group, path), place(group, path)
    with reading(where):
        shape: tuple[int, ...] = dataset.shape or ()
        if len(shape) not in (1, 2) or shape[0] > MAX_ROWS or shape[1:] > (MAX_COLUMNS,):
            raise DataError(f"{where} has shape {shape}, expected one or two axes and at most {MAX_ROWS:,} rows.")
        if dataset.dtype.kind not in "fiub":
            raise DataError(f"{where} is {dataset.dtype}, expected numbers.")
        values: Array = dataset[:]
        return values


def matrix_at(group: h5py.Group, path: str) -> Array:
    """Read numbers as (R, columns) float32."""
    return matrix(array_at(group, path), place(group, path))


def rows_at(group: h5py.Group, path: str, count: int) -> Array | None:
    """Read one number per row as (count,) float32; None where there is no such dataset."""
    return None if member(group, path) is None else rows_of(array_at(group, path), count, place(group, path))


def is_unjudged_export(demo: h5py.Group) -> bool:
    """Return whether a demo is an export of ours that nobody labelled: its rewards of 0 only fill a place."""
    return attribute(demo, "properties") is not None and member(demo, "labels") is None


def sort_views(
    members: Mapping[str, Any], where: str, known: Collection[str] = ()
) -> tuple[list[str], dict[str, DepthMap], list[str]]:
    """Find pictures and depth maps among the members of a group.

    Args:
        members: Members by name; what has one or two axes is passed over.
        where: For messages.
        known: Members that are pictures for certain, such as JPEG files.

    Returns:
        The names of the pictures, the depth maps by the pictures that they belong to, and what the user has to know.

    Raises:
        DataError: There are views, but none of colours.
    """
    views = {name: item for name, item in members.items() if _is_view(item)}
    metric = any(_is_metric(item) for name, item in views.items() if says_depth(name))
    shown = [Shown(name, 0, False, {}) for name in known]
    remarks = []
    for name, item in members.items():
        if isinstance(item, h5py.Dataset) and len(item.shape or ()) > 2 and name not in views:
            remarks.append(f"{name} {item.dtype} {item.shape} was left out: it is neither a vector nor pictures")
    for name, item in views.items():
        if item.dtype.kind in "fu" and item.dtype != np.uint8 and says_depth(name):
            shown.append(Shown(name, 8 * item.dtype.itemsize, True, _said(item, metric)))
        elif _NO_PICTURES.search(name):
            remarks.append(f"{name} was left out: by its name it holds no colours")
        elif isinstance(form := _form(item), str):
            remarks.append(f"{name} {item.dtype} {item.shape} was left out: {form}")
        else:
            shown.append(Shown(name, 0, False, {}))
    if not shown and not remarks:
        return [], {}, []
    return sort_cameras(shown, where, remarks)


def _is_view(item: Any) -> bool:
    """Return whether a member may hold one picture or depth map per row."""
    is_array = isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and item.size
    return bool(is_array and axes_of(item.shape) is not None)


def _sample(dataset: h5py.Dataset) -> Array:
    """Read the first two rows, and some more that are spread evenly."""
    with reading(place(dataset)):
        rows = sorted({0, min(1, len(dataset) - 1), *np.linspace(0, len(dataset) - 1, 8).astype(int).tolist()})
        values: Array = dataset[rows]
        return values


def _form(dataset: h5py.Dataset) -> Form | str:
    if dataset.dtype == np.uint8 and dataset.ndim == 4 and dataset.shape[-1] == 3:
        return Form(3)  # as nearly all are: nothing is read
    return form_of(dataset.shape, dataset.dtype, _sample(dataset))


def _is_metric(dataset: h5py.Dataset) -> bool:
    """Return whether there are distances that no depth buffer holds, whose numbers end at 1."""
    if dataset.dtype.kind != "f":
        return False
    sample = _sample(dataset)
    return bool((sample[np.isfinite(sample)] > 1).any())


def _said(dataset: h5py.Dataset, metric: bool) -> dict[str, Any]:
    """Return what is known of the numbers of a depth map: floats are metres, unless they may be a depth buffer."""
    named = {name: attribute(dataset, name) for name in ("depth_unit", "unit", "depth_scale")}
    said = {name: value for name, value in named.items() if value is not None}
    if isinstance(units := attribute(dataset, "units"), str):
        said.setdefault("unit", units)
    if dataset.dtype.kind == "f" and not said:
        said = {"unit": "m" if metric else BUFFER}
    return said


def pictures(dataset: h5py.Dataset, rows: Array, count: int) -> Iterator[Array]:
    """Read the pictures of some rows, increasing, in blocks of bounded size; `count` is how many there must be."""
    where = place(dataset)
    form = _form(dataset) if _is_view(dataset) else "it is no picture"
    if isinstance(form, str) or len(dataset) != count:
        raise DataError(
            f"{where} is {dataset.dtype} {dataset.shape}, expected {count} pictures, such as uint8 (N, H, W, 3)"
            f"{': ' + form if isinstance(form, str) else ''}."
        )
    for block in _blocks(dataset, rows):
        with reading(where):
            shown = form.pictures(block, where)
        yield from shown


def distances(dataset: h5py.Dataset, rows: Array, count: int, scale: Scale) -> Iterator[Array]:
    """Read depth maps (H, W) float32 [m] like `pictures`."""
    axes = axes_of(dataset.shape)
    if len(dataset) != count or axes is None or axes[0] != 1:
        raise DataError(f"{place(dataset)} is {dataset.dtype} {dataset.shape}, expected {count} depth maps (N, H, W).")
    for block in _blocks(dataset, rows):
        yield from scale.distances(block.reshape(len(block), *(size for size in dataset.shape[1:] if size != 1)))


def _blocks(dataset: h5py.Dataset, rows: Array) -> Iterator[Array]:
    block = max(1, _BLOCK_BYTES // max(1, dataset.dtype.itemsize * int(np.prod(dataset.shape[1:]))))
    for first in range(0, len(dataset), block):
        wanted = rows[(rows >= first) & (rows < first + block)] - first
        if len(wanted):
            with reading(place(dataset)):
                rows_read = dataset[first : first + int(wanted[-1]) + 1]
            yield rows_read[wanted]


def text_attribute(item: h5py.Group, name: str) -> str | None:
    """Return an attribute as text, whether it was stored as bytes or characters; None when it is missing."""
    value = attribute(item, name)
    if value is None:
        return None
    with reading(f"{place(item)}, attribute {name}"):
        text = value.decode() if isinstance(value, bytes) else str(value)
        if len(text) > 64 * _MAX_ATTRIBUTE:
            raise DataError(f"{place(item)}: attribute {name} has {len(text):,} characters: that is no description.")
        return text


def json_attribute(item: h5py.Group, name: str) -> dict[str, Any]:
    """Return a JSON attribute as an object, empty when it is missing."""
    text = text_attribute(item, name)
    where = f"{place(item)}, attribute {name}"
    with reading(where):
        value = json.loads(text) if text else {}
    if not isinstance(value, dict):
        raise DataError(f"{where} is {type(value).__name__}, expected a JSON object.")
    return value


def attribute(item: h5py.Group, name: str) -> Any:
    """Return an attribute as a plain value, None when it is missing or empty."""
    where = f"{place(item)}, attribute {name}"
    with reading(where):
        if name not in item.attrs:
            return None
        shape = item.attrs.get_id(name).shape
        if shape and int(np.prod(shape)) > _MAX_ATTRIBUTE:
            raise DataError(f"{where} has shape {shape}: that is no description.")
        value = item.attrs[name]
        if isinstance(value, np.ndarray) and value.size == 1:
            value = value.reshape(-1)[0]
        if isinstance(value, h5py.Empty):
            return None
        return value.item() if isinstance(value, np.generic) else value
