"""What speaks for things in a recording: pictures of many moments, and what in them telemetry does not explain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.background import Background, levels
from gwm_sim.data.tracking.palette import BINS, bins
from gwm_sim.data.tracking.poses import PoseLibrary

_MOMENTS = 1500
"""Pictures that are looked at, about."""

_BACKGROUND_FRAMES = 250

_SMALLEST, _LARGEST = 0.0015, 0.12
"""Share of the picture that a thing which lies apart may have."""

_UNEXPLAINED = 0.7
"""Share of its pixels that telemetry must not explain."""


class Blob(NamedTuple):
    """Something that lies apart in one picture."""

    moment: int
    left: int
    top: int
    mask: Array
    """Its pixels within its box, (h, w) bool."""
    color: Array
    """Mean colour, (3,)."""
    area: int

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True)
class Evidence:
    """Pictures of N moments spread over episodes, in order."""

    background: Background
    lit: Array
    """Under the light of the background, (N, H, W, 3) uint8."""
    front: Array
    """Where something is in front of the background, (N, H, W) bool."""
    explained: Array
    """Where telemetry explains what is seen, (N, H, W) bool."""
    colors: Array
    """Number of each pixel's colour, (N, H, W), see `palette.bins`."""
    episodes: Array
    """Episode of each moment, (N,)."""
    poses: Array
    """Telemetry in units of its spread, (N, P)."""
    robot: Array
    """Pixels of the robot alone, as telemetry tells, by colour, (BINS,)."""
    ground: Array
    """Pixels of the background, by colour, (BINS,)."""

    def __len__(self) -> int:
        """Return the number of moments N."""
        return len(self.lit)

    def blobs(self) -> list[Blob]:
        """Return what lies apart from robot, border and all else, and is not explained by telemetry."""
        import cv2

        found = []
        pixels = self.front[0].size
        for moment, front in enumerate(self.front):
            number, labels, stats, _ = cv2.connectedComponentsWithStats(front.view(np.uint8), connectivity=4)
            for i in range(1, number):
                left, top, width, height, area = stats[i].tolist()
                inside = left > 0 and top > 0 and left + width < front.shape[1] and top + height < front.shape[0]
                if not inside or not max(6, _SMALLEST * pixels) <= area <= _LARGEST * pixels:
                    continue
                window = slice(top, top + height), slice(left, left + width)
                mask = labels[window] == i
                if 1 - self.explained[moment][window][mask].mean() >= _UNEXPLAINED:
                    color = self.lit[moment][window][mask].mean(axis=0)
                    found.append(Blob(moment, left, top, mask, color, area))
        return found

    @property
    def same_episode(self) -> Array:
        """Whether a moment is of the same episode as the one before, (N-1,) bool."""
        same: Array = self.episodes[1:] == self.episodes[:-1]
        return same


def gather(
    file: EpisodeFile, camera: str, library: PoseLibrary, episodes: list[int], show: Callable[[float, str], None]
) -> Evidence:
    """Look at moments spread over episodes.

    Args:
        file: The recordings.
        camera: Whose pictures are looked at.
        library: Poses to look up, of these episodes among others.
        episodes: Which ones.
        show: Told about the progress.
    """
    stride = max(1, len(library.frames) // _BACKGROUND_FRAMES)
    background = Background.of(library.frames[::stride])
    every = max(1, round(sum(file.lengths[k] + 1 for k in episodes) / _MOMENTS))
    robot, ground = np.zeros(BINS, np.float32), np.zeros(BINS, np.float32)
    parts = []
    for done, k in enumerate(episodes, 1):
        episode = file.read(k, cameras=(camera,), depth=False)
        rows = slice(k % every, None, every)
        lit = background.relit(episode.frames[camera][rows])
        alone = background.relit(library.picture(episode.telemetry[rows], without=k))
        front, explained = background.differs(lit), background.explains(lit, alone)
        lit = levels(lit)
        colors = bins(lit)
        robot += np.bincount(bins(levels(alone[background.differs(alone)])), minlength=BINS)
        ground += np.bincount(colors[~front], minlength=BINS)
        parts.append((lit, front, explained, colors, np.full(len(lit), k), library.scaled(episode.telemetry[rows])))
        show(done / len(episodes), f"looked at {done} of {len(episodes)} episodes")
    lit, front, explained, colors, numbers, poses = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Evidence(background, lit, front, explained, colors, numbers, poses, robot, ground)
