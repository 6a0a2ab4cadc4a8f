"""What an episode file holds beside its episodes: sets of arrays by name, such as the tracker that found the objects.

    /<name>                attrs: digest, of names and contents of all its arrays
        <array>            numbers of any shape; a name may have several parts, as `things/colour`

While the file is not finished, each is a file `<name>.attached` beside the parts of the episodes. It appears whole and
is never written again.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.hdf5 import new_file, open_file
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.files import replacing
from gwm_sim.storage import reason

_OF_EPISODES = ("data", "mask")
_DIGEST = "digest"
_SUFFIX = ".attached"


def names_in(file: h5py.File) -> list[str]:
    """Names of what is attached to a file."""
    return sorted(name for name in file if name not in _OF_EPISODES and _DIGEST in file[name].attrs)


def names_beside(parts: Path) -> list[str]:
    """Names of what will be attached to the file that has its parts in this folder."""
    return sorted(path.stem for path in parts.glob(f"*{_SUFFIX}"))


def file_beside(parts: Path, name: str) -> Path:
    """Where an attachment lies while the file is not finished."""
    return parts / f"{name}{_SUFFIX}"


def store(path: Path, name: str, arrays: Mapping[str, Array]) -> None:
    """Write an attachment to a file of its own, whole or not at all.

    Raises:
        ConfigError: It cannot have that name.
        DataError: One of the arrays cannot be stored.
    """
    if name in _OF_EPISODES or not re.fullmatch(r"\w+", name):
        raise ConfigError(f"an attachment needs a name of letters and digits, none of {_OF_EPISODES}, got {name!r}")
    for key, array in arrays.items():
        if array.dtype.kind not in "biufS":
            raise DataError(f"{name}/{key} is {array.dtype}: numbers and bytes alone can be attached to a file.")
    with replacing(path) as temporary, new_file(temporary) as file:
        group = file.create_group(name)
        group.attrs[_DIGEST] = digest_of(arrays)
        for key, array in arrays.items():
            group[key] = array


def load(file: h5py.File, name: str, path: Path) -> dict[str, Array] | None:
    """Read an attachment; None when there is none of that name.

    Raises:
        DataError: It is damaged.
    """
    if name in _OF_EPISODES or name not in file:
        return None
    where, group, arrays = f"{path}: /{name}", file[name], {}
    if not isinstance(group, h5py.Group) or _DIGEST not in group.attrs:
        raise DataError(f"{where} is damaged: expected a group with the digest of what it holds.")
    datasets: list[str] = []
    group.visititems(lambda key, item: datasets.append(key) if isinstance(item, h5py.Dataset) else None)
    for key in datasets:
        try:
            arrays[key] = group[key][...]
        except OSError as error:
            raise DataError(f"{where}/{key} {reason(error) or f'is damaged: {error}'}") from error
    if digest_of(arrays) != group.attrs[_DIGEST]:
        raise DataError(f"{where} is damaged: it does not hold what was written. Copy the file again.")
    return arrays


def load_beside(parts: Path, name: str) -> dict[str, Array] | None:
    """Read an attachment of a file that is not finished; None when there is none of that name."""
    path = file_beside(parts, name)
    if not path.exists():
        return None
    with open_file(path) as file:
        if name not in file:
            raise DataError(f"{path} is damaged: it holds no /{name}. Remove it, and the same command makes it anew.")
        return load(file, name, path)


def digest_of(arrays: Mapping[str, Array]) -> str:
    """Return a fingerprint (SHA-256) of arrays and their names."""
    content = hashlib.sha256()
    for key, array in sorted(arrays.items()):
        content.update(repr((key, array.shape, array.dtype.str)).encode())
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()
