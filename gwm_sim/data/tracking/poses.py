"""What telemetry explains: the scene with the robot alone, as the pictures of the nearest poses show it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gwm_sim.arrays import Array, in_steps
from gwm_sim.data.episode_file import EpisodeFile

NEAREST = 9
"""Episodes whose nearest pose is asked; things that lie elsewhere in most of them vanish in the median."""

_MOST_FRAMES, _MOST_PIXELS = 6000, 150_000_000
"""Frames of a library at most, and pixels of all of them: more take memory and find no better poses."""

_AT_ONCE = 64
"""Poses whose pictures are made together, which bounds memory."""

_CONSTANT = 1e-6
"""Standard deviation of telemetry that tells no poses apart."""

_FAR, _BITS = 1024.0, 12
"""Spreads beyond which poses are equally far off, and binary places that they are compared to: robots rest, so that
many poses are the same, and which of these is asked must not depend on rounding."""

_EMPTY_SCENE = 250
"""Frames that the empty scene is the median of."""

# Exchanges of a network that sorts nine values far enough for their median to be the fifth (Devillard 1998).
_MEDIAN_OF_9 = (
    *((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3), (5, 8), (4, 7), (3, 6)),
    *((1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)),
)


@dataclass(frozen=True)
class PoseLibrary:
    """Pictures of many poses of the robot, to look poses up in."""

    frames: Array
    """(F, H, W, 3) uint8."""
    poses: Array
    """Telemetry in units of its spread, (F, P) float32."""
    episodes: Array
    """Episode of each frame, (F,) int64."""
    center: Array
    """Mean of the telemetry, (P,)."""
    scale: Array
    """Its standard deviation, (P,); infinite for what never changes."""

    @classmethod
    def of(cls, file: EpisodeFile, camera: str, episodes: list[int] | None = None) -> PoseLibrary:
        """Take pictures and telemetry from episodes, by default all, thinned out where there are very many."""
        chosen = list(range(len(file))) if episodes is None else episodes
        total = sum(file.lengths[k] + 1 for k in chosen)
        view = file.schema.cameras[camera]
        stride = -(-total // min(_MOST_FRAMES, _MOST_PIXELS // (view.height * view.width)))
        frames, telemetry, owners = [], [], []
        for k in chosen:
            rows = range((k * 7) % stride, file.lengths[k] + 1, stride)
            if not rows:
                continue
            # A copy, so that what was read beside these rows does not stay in memory.
            frames.append(file.rows(k, f"frames/{camera}", rows[0], rows[-1] + 1)[::stride].copy())
            telemetry.append(file.rows(k, "telemetry", rows[0], rows[-1] + 1)[::stride].copy())
            owners.append(np.full(len(rows), k))
        return cls.from_arrays(np.concatenate(frames), np.concatenate(telemetry), np.concatenate(owners))

    @classmethod
    def from_arrays(cls, frames: Array, telemetry: Array, episodes: Array) -> PoseLibrary:
        """Make a library of frames (F, H, W, 3), telemetry (F, P) and the episode of each (F,)."""
        center = telemetry.mean(axis=0, dtype=np.float64)
        scale = telemetry.std(axis=0, dtype=np.float64)
        scale = np.where(scale < _CONSTANT, np.inf, scale)
        return cls(frames, _scaled(telemetry, center, scale), episodes, center, scale)

    def scaled(self, telemetry: Array) -> Array:
        """Return telemetry (T, P) in units of its spread, float32."""
        return _scaled(telemetry, self.center, self.scale)

    def picture(self, telemetry: Array, without: int | None = None) -> Array:
        """Return the scene with the robot alone: the median picture of the nearest poses, one per other episode.

        Args:
            telemetry: Poses, (T, P).
            without: Episode (by its place in the file) whose pictures are not asked.

        Returns:
            Pictures (T, H, W, 3) uint8.
        """
        if not telemetry.shape[1]:  # nothing is told of the robot: the scene without it
            empty = np.median(self.frames[:: -(-len(self.frames) // _EMPTY_SCENE)], axis=0).astype(np.uint8)
            return np.broadcast_to(empty, (len(telemetry), *empty.shape))
        nearest = self.nearest(telemetry, without)
        parts = range(0, max(1, len(nearest)), _AT_ONCE)
        return np.concatenate([median(self.frames[nearest[start : start + _AT_ONCE].T]) for start in parts])

    def nearest(self, telemetry: Array, without: int | None = None) -> Array:
        """Return frames of the nearest poses, each of another episode, (T, up to `NEAREST`), an odd number of them."""
        asked, known = (in_steps(poses, _BITS) for poses in (self.scaled(telemetry), self.poses))
        distance = (known**2).sum(axis=1) - 2 * asked @ known.T  # (T, F), but for what all share
        names, starts = np.unique(self.episodes, return_index=True)
        order = np.argsort(starts)
        names, starts = names[order], starts[order]
        ends = np.append(starts[1:], len(self.episodes))
        spans = zip(starts.tolist(), ends.tolist(), strict=True)
        best = np.stack([start + distance[:, start:end].argmin(axis=1) for start, end in spans], axis=1)
        near = np.take_along_axis(distance, best, axis=1)  # (T, E)
        if without is not None:
            near[:, names == without] = np.inf
        count = max(1, min(NEAREST, len(names) - (without in names)))
        count -= 1 - count % 2
        chosen = np.argpartition(near, count - 1, axis=1)[:, :count]
        return np.take_along_axis(best, chosen, axis=1)


def _scaled(telemetry: Array, center: Array, scale: Array) -> Array:
    poses: Array = ((telemetry - center) / scale).clip(-_FAR, _FAR).astype(np.float32)
    return poses


def median(stack: Array) -> Array:
    """Return the median along the first axis of an odd number of uint8 arrays, (N, ...) -> (...)."""
    if len(stack) != NEAREST:
        middle: Array = np.partition(stack, len(stack) // 2, axis=0)[len(stack) // 2]
        return middle
    values = list(stack)
    for a, b in _MEDIAN_OF_9:
        values[a], values[b] = np.minimum(values[a], values[b]), np.maximum(values[a], values[b])
    result: Array = values[4]
    return result
