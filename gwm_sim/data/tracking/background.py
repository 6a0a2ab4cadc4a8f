"""The empty scene before a camera that stands still, the light on it, and what differs from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array

LEAST_DIFFERENCE = 14.0
"""Grey levels that a pixel must differ in some channel to be something else, in pictures without noise."""

MOST_DIFFERENCE = 45.0
"""The same where the scene itself changes much [grey levels]."""

_NOISES = 5.0
"""Standard deviations of the noise that a difference must be beyond."""

_TOLERANCE = 14.0
"""Grey levels beyond that difference by which what telemetry tells may be off: the nearest pose is not the same."""

_SAME_HUE, _DARKEST = 0.06, 0.35
"""A shadow takes the same share of all channels, within the first, and leaves at least the second."""

_DARK, _TELLING = 16.0, 0.25
"""Grey levels above which a pixel tells of the light, and share of the pixels without which nothing is told of it."""

_ROUNDING = 0.02
"""Change of the light that is none, but rounding."""


@dataclass(frozen=True)
class Background:
    """What a still camera shows where nothing is in front."""

    picture: Array
    """The empty scene, (H, W, 3) float32 in grey levels."""
    threshold: float
    """Difference of some channel from which on a pixel shows something else [grey levels]."""

    @classmethod
    def of(cls, frames: Array) -> Background:
        """Take the median of pictures (F, H, W, 3) uint8 of many moments, and how much each pixel strays from it."""
        rough = np.median(frames, axis=0).astype(np.float32)
        lit = relight(frames, rough)
        picture = np.median(lit, axis=0).astype(np.float32)
        # Most pixels show the background most of the time, so their median deviation is that of noise and drift.
        noise = 1.4826 * float(np.median(_most(np.abs(lit - picture))))
        return cls(picture, float(np.clip(_NOISES * noise, LEAST_DIFFERENCE, MOST_DIFFERENCE)))

    def relit(self, frames: Array) -> Array:
        """Return pictures (T, H, W, 3) float32 as under the light of the background."""
        return relight(frames, self.picture)

    def differs(self, lit: Array) -> Array:
        """Return where relit pictures (T, H, W, 3) show something else than the scene or a shadow on it, (T, H, W)."""
        different = _most(np.abs(lit - self.picture)) > self.threshold
        ratio = lit[different] / np.maximum(np.broadcast_to(self.picture, lit.shape)[different], 1.0)
        most, least = _most(ratio), -_most(-ratio)
        different[different] = (most - least > _SAME_HUE) | (least < _DARKEST) | (most > 1)
        return different

    def explains(self, lit: Array, alone: Array) -> Array:
        """Return where relit pictures are as the robot alone would look (T, H, W, 3), (T, H, W) bool."""
        same: Array = _most(np.abs(lit - alone)) <= self.threshold + _TOLERANCE
        return same


def relight(frames: Array, picture: Array) -> Array:
    """Undo a light that brightens or dims: scale each channel of pictures (T, H, W, 3) so that most pixels of the
    background are what they are in `picture` (H, W, 3). Dark pixels, as of black bars, tell nothing of the light."""
    values = frames.astype(np.float32)
    for channel in range(3):
        ground, seen = picture[::2, ::2, channel], values[:, ::2, ::2, channel]
        tells = ground > _DARK
        if tells.mean() > _TELLING:
            gain = np.median(ground[tells] / np.maximum(seen[:, tells], 1.0), axis=1)
            gain[np.abs(gain - 1) < _ROUNDING] = 1.0
            values[..., channel] *= gain[:, None, None]
    return values


def levels(lit: Array) -> Array:
    """Return relit pictures (..., 3) in whole grey levels, uint8."""
    whole: Array = lit.clip(0, 255).astype(np.uint8)
    return whole


def _most(values: Array) -> Array:
    """Return the largest of three channels, (..., 3) -> (...); the same by `max` takes five times as long."""
    most: Array = np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])
    return most
