"""Pictures of more episodes than fit into memory: read from their files when they are asked for.

Files compress some neighbouring frames together. Such a block is read as a whole, and those used last are kept, in a
number of bytes. What is read does not depend on what is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gwm_sim.arrays import Array
from gwm_sim.data.demos import frames_per_chunk
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.model.rendering.exposure import relit

OPEN_FILES = 64  # at once; systems allow 256 to 1024, and each takes some memory


class Blocks:
    """Blocks of pictures of some episodes, those used last in memory."""

    def __init__(self, places: Sequence[tuple[EpisodeFile, int]], room: float) -> None:
        """Read episodes at `places`, each a file and the position in it, and keep at most `room` bytes."""
        self._places, self._room, self._taken = places, room, 0
        self._kept: OrderedDict[tuple[str, int, int], Array] = OrderedDict()
        self._opened: OrderedDict[EpisodeFile, None] = OrderedDict()

    def block(self, name: str, episode: int, start: int, rows: int) -> Array:
        """Rows of an array of an episode such as `frames/front`, from `start`, at most so many; not to be changed."""
        key = name, episode, start
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        file, k = self._places[episode]
        self._opened[file] = None
        self._opened.move_to_end(file)
        if len(self._opened) > OPEN_FILES:
            self._opened.popitem(last=False)[0].close()
        block = self._kept[key] = file.rows(k, name, start, start + rows)
        self._taken += block.nbytes
        while self._taken > self._room and len(self._kept) > 1:
            self._taken -= self._kept.popitem(last=False)[1].nbytes
        return block


class StoredPictures:
    """Pictures in files, by their numbers as in a tensor (S, H, V*W, C)."""

    def __init__(
        self,
        blocks: Blocks,
        names: Sequence[str],
        shape: tuple[int, ...],
        dtype: torch.dtype,
        place: Callable[[Tensor], tuple[Tensor, Tensor]],
    ) -> None:
        """Show S pictures.

        Args:
            blocks: Where they are read.
            names: The array of each view, such as `frames/front`; the views stand side by side.
            shape: Of all, (S, H, V*W, C).
            dtype: What they become.
            place: Says of pictures (B,) in which episodes they are, (B,), and in which rows of these, (B,).
        """
        self.shape, self._dtype, self._place = torch.Size(shape), dtype, place
        self._blocks, self._names = blocks, names
        self._view = shape[1], shape[2] // len(names), shape[3]  # (H, W, C)
        self._rows = frames_per_chunk(self._view)
        self._light: Tensor | None = None  # (S, V, 3), by which pictures are divided

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor) -> Tensor:
        """Pictures (..., H, V*W, C) of some numbers (...)."""
        flat = index.flatten()
        order = flat.argsort()  # neighbours lie in one block, and blocks of a file beside each other
        where = zip(order.tolist(), *(x[order].tolist() for x in self._place(flat)), strict=True)
        pictures = torch.empty(len(flat), *self.shape[1:], dtype=self._dtype)
        height, *rest = self._view
        views = pictures.numpy().reshape(len(flat), height, len(self._names), *rest)
        for i, episode, row in where:
            start = row - row % self._rows
            for view, name in enumerate(self._names):
                views[i, :, view] = self._blocks.block(name, episode, start, self._rows)[row - start]
        if self._light is not None:
            pictures = relit(pictures, 1 / self._spread(self._light[flat]))
        return pictures.reshape(*index.shape, *self.shape[1:])

    def divide(self, index: Tensor, light: Tensor) -> None:
        """Give pictures (B,) divided by their `light` (B, 1, V*W, 3) from now on, which is one factor per channel of a
        view."""
        if self._light is None:
            self._light = torch.ones(len(self), len(self._names), 3)
        self._light[index] = light[:, 0, :: self._view[1]]

    def _spread(self, light: Tensor) -> Tensor:
        """Light (B, V, 3) as factors (B, 1, V*W, 3) of pictures."""
        return light.repeat_interleave(self._view[1], dim=1)[:, None]


Pictures = Tensor | StoredPictures
"""In memory, or in files."""
