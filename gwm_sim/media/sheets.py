"""Contact sheets: some episodes as rows of moments in a picture, or playing side by side in a film."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.media.video import contact_sheet, mosaic, write_png, write_video

_EPISODES = 12
_MOMENTS = 10
_MOSAIC_COLUMNS = 4


def chosen_episodes(count: int) -> list[int]:
    """Return which of `count` episodes a sheet shows: some, spread over all."""
    chosen: list[int] = np.unique(np.linspace(0, count - 1, _EPISODES).round().astype(int)).tolist()
    return chosen


def chosen_rows(count: int) -> list[int]:
    """Return which of `count` frames a picture shows, from the first to the last."""
    rows: list[int] = np.linspace(0, count - 1, _MOMENTS).round().astype(int).tolist()
    return rows


def write_sheet(moments: Mapping[str, list[Array]], episodes: list[Array], path: Path, rate: float) -> None:
    """Show some episodes: as rows of moments in a picture if the name ends in .png, else side by side in a film.

    Args:
        moments: Frames of each episode by its label, as `chosen_rows` has them.
        episodes: The same episodes, (N+1, H, W, 3) uint8 each.
        path: File to write.
        rate: Frames per second of the film [Hz].
    """
    if path.suffix.lower() == ".png":
        write_png(path, contact_sheet(moments, [f"{share:.0%}" for share in np.linspace(0.0, 1.0, _MOMENTS)]))
    else:
        write_film(episodes, path, rate)


def write_film(episodes: list[Array], path: Path, rate: float) -> None:
    """Write episodes (N+1, H, W, 3) side by side, `rate` frames per second [Hz]; short ones stand at their end."""
    length = max(len(frames) for frames in episodes)
    pictures = (
        mosaic([frames[min(t, len(frames) - 1)] for frames in episodes], _MOSAIC_COLUMNS) for t in range(length)
    )
    write_video(path, pictures, rate)
