"""Arrays that may be pictures: what their type, axes and numbers say, and how they become RGB of 8 bits."""

from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.errors import DataError

_SMALLEST = 8
"""Height and width of the smallest picture [px] whose axes can be told from each other."""

_CHANNELS = {1, 3, 4}


@dataclass(frozen=True)
class Form:
    """How pictures are stored in an array (N, ...)."""

    channels: int
    first: bool = False
    """Whether the axis of the channels comes before height and width; grey may have none."""
    scale: float = 1.0
    """What its numbers are multiplied with to be grey levels."""

    def pictures(self, values: Array, where: str) -> Array:
        """Return pictures (N, H, W, 3) uint8: grey becomes RGB, what is transparent opaque.

        Raises:
            DataError: A number is no grey level.
        """
        values = np.moveaxis(values, 1, -1) if self.first else values
        values = values[..., None] if values.ndim == 3 else values
        values = values[..., :3] if self.channels == 4 else values
        if values.dtype != np.uint8:
            values = _levels(values, self.scale, where)
        return np.repeat(values, 3, axis=-1) if self.channels == 1 else values


def _levels(values: Array, scale: float, where: str) -> Array:
    levels = np.asarray(values, np.float64) * scale
    wrong = levels[~((levels >= -0.5) & (levels <= 255.5))]
    if wrong.size:
        raise DataError(
            f"{where} holds {wrong.flat[0] / scale:.6g} among numbers in [0, {255 / scale:g}], which is no grey level."
        )
    return levels.round().clip(0, 255).astype(np.uint8)


def axes_of(shape: tuple[int, ...]) -> tuple[int, bool] | None:
    """Return how many channels an array (N, ...) of pictures has, and whether they come first; None if it has none."""
    if len(shape) == 3 and min(shape[1:]) >= _SMALLEST:
        return 1, False
    if len(shape) != 4 or 0 in shape:
        return None
    if shape[-1] in _CHANNELS:
        return shape[-1], False
    if shape[1] in _CHANNELS and min(shape[2:]) >= _SMALLEST:
        return shape[1], True
    return None


def form_of(shape: tuple[int, ...], kind: np.dtype[np.generic], sample: Array) -> Form | str:
    """Return how pictures are stored in an array, or why it cannot be said for certain.

    Args:
        shape: Of the array, (N, ...).
        kind: Type of its numbers.
        sample: Some of its rows, among them its first two.
    """
    axes = axes_of(shape)
    if axes is None:
        return "its axes are not those of pictures"
    channels, first = axes
    if kind == np.uint8:
        if _is_stack(np.moveaxis(sample, 1, -1) if first else sample, channels):
            return f"its {channels} channels are pictures one after the other, not colours"
        return Form(channels, first)
    if kind.kind != "f" or channels == 1:
        return f"its numbers are {kind}, and nothing says which is white"
    low, high = (float(sample.min()), float(sample.max())) if np.isfinite(sample).all() else (np.nan, np.nan)
    if not 0 <= low <= high <= 255:
        return f"its numbers reach from {low:.4g} to {high:.4g}, expected [0, 1] or [0, 255]"
    return Form(channels, first, 255.0 if high <= 1 else 1.0)


def _is_stack(sample: Array, channels: int) -> bool:
    """Return whether channels are the last grey pictures, each moving on by one from row to row, (N, H, W, C)."""
    if channels == 1 or len(sample) < 2 or (sample == sample[..., :1]).all():
        return False
    return bool((sample[1][..., :-1] == sample[0][..., 1:]).all())
