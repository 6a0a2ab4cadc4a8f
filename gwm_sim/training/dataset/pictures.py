"""Pictures of more episodes than fit into memory: read from their files when they are asked for.

Files compress some neighbouring frames together. Such a block is read as a whole, and those used last are kept. What is
read does not depend on what is kept.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from gwm_sim.arrays import Array
from gwm_sim.data.demos import frames_per_chunk
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.model.rendering.exposure import relit

View = tuple[int, int, int]  # height and width of pictures [px], and channels


class Blocks:
    """Blocks of neighbouring pictures of many episodes, those used last in memory, of which they share one piece.

    One file is open at a time, and none while something else is done: the HDF5 library keeps small pieces for an open
    file, which leave holes between the tensors that come and go meanwhile, and the process grows without end. See
    `benchmarks/reading.py`.
    """

    def __init__(
        self, places: Mapping[int, tuple[EpisodeFile, int]], names: Sequence[str], view: View, room: float
    ) -> None:
        """Read arrays of episodes.

        Args:
            places: File and position in it of each episode.
            names: The arrays, such as `frames/front`.
            view: Their pictures.
            room: Bytes that may be kept; one block is, however little that is.
        """
        self.names, self.view, self.rows = names, view, frames_per_chunk(view)
        self._places = places
        dtype = np.dtype(np.uint16 if view[2] == 1 else np.uint8)
        count = max(1, int(room / (self.rows * math.prod(view) * dtype.itemsize)))
        self._memory = np.empty((count, self.rows, *view), dtype)  # which the system gives as it is filled
        self._kept: OrderedDict[tuple[int, str, int], int] = OrderedDict()
        self._opened: EpisodeFile | None = None

    def block(self, episode: int, name: str, number: int) -> Array:
        """A block of an array of an episode, (rows, H, W, C), the last one perhaps of fewer rows that count. It holds
        until the next one is asked for."""
        key = episode, name, number
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            rows = self._read(*key)
            full = len(self._kept) == len(self._memory)
            self._kept[key] = self._kept.popitem(last=False)[1] if full else len(self._kept)
            self._memory[self._kept[key], : len(rows)] = rows
        block: Array = self._memory[self._kept[key]]
        return block

    def close(self) -> None:
        """Close the file that was read last."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _read(self, episode: int, name: str, number: int) -> Array:
        file, k = self._places[episode]
        if file is not self._opened:
            self.close()
            self._opened = file
        return file.rows(k, name, number * self.rows, (number + 1) * self.rows)


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
        self._blocks, self._starts, self._frames = blocks, starts, frames
        height, width, channels = blocks.view
        self.shape = torch.Size((count, height, len(blocks.names) * width, channels))
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
        blocks = self._blocks
        height, width, channels = blocks.view
        views = pictures.numpy().reshape(len(flat), height, len(blocks.names), width, channels)
        for i, episode, row in where:
            number, within = divmod(row, blocks.rows)
            for view, name in enumerate(blocks.names):
                views[i, :, view] = blocks.block(episode, name, number)[within]
        blocks.close()
        if self._light is not None:
            light = self._light[flat].repeat_interleave(width, dim=1)[:, None]  # (B, 1, V*W, 3)
            pictures = relit(pictures, 1 / light)
        return pictures.reshape(*index.shape, *self.shape[1:])

    def divide(self, index: Tensor, light: Tensor) -> None:
        """Give pictures (B,) divided by their `light` (B, 1, V*W, 3) from now on, which is one factor per channel of a
        view."""
        if self._light is None:
            self._light = torch.ones(len(self), len(self._blocks.names), 3)
        self._light[index] = light[:, 0, :: self._blocks.view[1]]


Pictures = Tensor | StoredPictures
"""In memory, or in files."""
