"""Pictures of more episodes than fit into memory: read from their files when they are asked for.

Files compress some neighbouring frames together. Such a block is read as a whole, and those used last are kept. What is
read does not depend on what is kept.
"""

from __future__ import annotations

import math
import os
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gwm_sim.arrays import Array
from gwm_sim.data.demos import frames_per_chunk
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.hdf5 import read_chunk
from gwm_sim.model.rendering.exposure import relit

OPEN_FILES = 64  # at once; systems allow 256 to 1024

View = tuple[int, int, int]  # height and width of pictures [px], and channels


class BlockReader:
    """Reads blocks of neighbouring pictures of many episodes.

    Where they lie is looked up once. The HDF5 library keeps small pieces of all that it has read, between what else
    comes and goes in memory, and a process that trains meanwhile would grow without end.
    """

    def __init__(self, places: Mapping[int, tuple[EpisodeFile, int]], names: Sequence[str], view: View) -> None:
        """Read arrays such as `frames/front` of episodes, which are at `places`, each a file and the position in it."""
        self.names, self.view, self.rows = names, view, frames_per_chunk(view)
        self.dtype = np.dtype(np.uint16 if view[2] == 1 else np.uint8)
        self._places = places
        self._first: dict[tuple[int, str], tuple[Path, int]] = {}  # file of a block 0, and its place in these:
        offsets, sizes, count = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
        for episode, (file, k) in places.items():
            for name in names:
                if (found := file.chunks(k, name, self.rows)) is not None:
                    path, begin, size = found
                    self._first[episode, name] = path, count
                    offsets.append(begin)
                    sizes.append(size)
                    count += len(begin)
            if k == len(file) - 1:
                file.close()
        self._offsets, self._sizes = np.concatenate(offsets), np.concatenate(sizes)
        self._opened: OrderedDict[Path, int] = OrderedDict()
        weakref.finalize(self, close_all, self._opened)

    def block(self, episode: int, name: str, number: int) -> Array:
        """A block of an array of an episode, (rows, H, W, C), the last one perhaps of fewer rows."""
        file, k = self._places[episode]
        if (episode, name) not in self._first:  # some other program made the file anew, in another way
            with file:
                return file.rows(k, name, number * self.rows, (number + 1) * self.rows)
        path, first = self._first[episode, name]
        rows = min(self.rows, file.lengths[k] + 1)
        place, size = first + number, rows * math.prod(self.view) * self.dtype.itemsize
        content = read_chunk(self._open(path), path, int(self._offsets[place]), int(self._sizes[place]), size)
        return np.frombuffer(content, self.dtype).reshape(rows, *self.view)

    def _open(self, path: Path) -> int:
        """Descriptor of a file, which few others are open beside."""
        if path not in self._opened:
            if len(self._opened) == OPEN_FILES:
                os.close(self._opened.popitem(last=False)[1])
            self._opened[path] = os.open(path, os.O_RDONLY)
        self._opened.move_to_end(path)
        return self._opened[path]


def close_all(opened: OrderedDict[Path, int]) -> None:
    """Close files by their descriptors."""
    while opened:
        os.close(opened.popitem()[1])


class Blocks:
    """Blocks of pictures, those used last in memory, of which they share one piece."""

    def __init__(self, reader: BlockReader, room: float) -> None:
        """Keep what fits into so many bytes; one block is, however little that is."""
        self.reader = reader
        shape = reader.rows, *reader.view
        count = max(1, int(room / (math.prod(shape) * reader.dtype.itemsize)))
        self._memory = np.empty((count, *shape), reader.dtype)  # which the system gives as it is filled
        self._kept: OrderedDict[tuple[int, str, int], int] = OrderedDict()

    def block(self, episode: int, name: str, number: int) -> Array:
        """A block, see `BlockReader.block`, which holds until the next one is asked for."""
        key = episode, name, number
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            rows = self.reader.block(*key)
            full = len(self._kept) == len(self._memory)
            self._kept[key] = self._kept.popitem(last=False)[1] if full else len(self._kept)
            self._memory[self._kept[key], : len(rows)] = rows
        block: Array = self._memory[self._kept[key]]
        return block


class StoredPictures:
    """Pictures in files, by their numbers as in a tensor (S, H, V*W, C): uint8, or of depth int32."""

    def __init__(self, blocks: Blocks, count: int, starts: Tensor, frames: Tensor | None = None) -> None:
        """Show S pictures, of which `blocks` reads the views, side by side.

        Args:
            blocks: Where they are read.
            count: S.
            starts: First frame of each episode, (E,).
            frames: Frame of each picture, (S,); None where they are frames 0 to S - 1.
        """
        self._blocks, self._starts, self._frames, self._names = blocks, starts, frames, blocks.reader.names
        height, width, channels = blocks.reader.view
        self.shape = torch.Size((count, height, len(self._names) * width, channels))
        self._dtype = torch.int32 if channels == 1 else torch.uint8
        self._light: Tensor | None = None  # (S, V, 3), by which pictures are divided

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        """Pictures (..., H, V*W, C) of some numbers (...)."""
        flat = index.flatten()
        order = flat.argsort()  # neighbours lie in one block, and blocks of a file beside each other
        frames = flat[order] if self._frames is None else self._frames[flat[order]]
        episodes = torch.searchsorted(self._starts, frames, right=True) - 1
        where = zip(order.tolist(), episodes.tolist(), (frames - self._starts[episodes]).tolist(), strict=True)
        pictures = torch.empty(len(flat), *self.shape[1:], dtype=self._dtype)
        height, width, channels = self._blocks.reader.view
        views = pictures.numpy().reshape(len(flat), height, len(self._names), width, channels)
        for i, episode, row in where:
            number, within = divmod(row, self._blocks.reader.rows)
            for view, name in enumerate(self._names):
                views[i, :, view] = self._blocks.block(episode, name, number)[within]
        if self._light is not None:
            light = self._light[flat].repeat_interleave(width, dim=1)[:, None]  # (B, 1, V*W, 3)
            pictures = relit(pictures, 1 / light)
        return pictures.reshape(*index.shape, *self.shape[1:])

    def divide(self, index: Tensor, light: Tensor) -> None:
        """Give pictures (B,) divided by their `light` (B, 1, V*W, 3) from now on, which is one factor per channel of a
        view."""
        if self._light is None:
            self._light = torch.ones(len(self), len(self._names), 3)
        self._light[index] = light[:, 0, :: self._blocks.reader.view[1]]


Pictures = Tensor | StoredPictures
"""In memory, or in files."""
