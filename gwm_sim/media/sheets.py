"""Contact sheets: some episodes as rows of moments in a picture, or playing side by side in a film.

Or predictions beside what really happened: real | predicted | difference.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.media.video import contact_sheet, mosaic, write_png, write_video

_EPISODES = 12
_MOMENTS = 10
_MOSAIC_COLUMNS = 4
_FILM_SCALE = 3


def spread(count: int, most: int = _EPISODES) -> list[int]:
    """Return which of `count` episodes, or frames, are shown: at most `most`, spread over all."""
    chosen: list[int] = np.unique(np.linspace(0, count - 1, most).round().astype(int)).tolist()
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


def write_comparison(path: str | Path, rollouts: Mapping[str, tuple[Array, Array]], rate: float) -> None:
    """Write rollouts beside the recordings that they should repeat; the shorter ones hold their last frame.

    Args:
        path: A name ending in .png makes a strip of ten moments, any other a film.
        rollouts: Real and predicted frames of the same instants, each (T, H, W, 3) uint8, by label; frame t is step
            t + 1.
        rate: Frames per second of the film [Hz].
    """
    length = max(len(real) for real, _ in rollouts.values())
    columns = {label: _columns(real, predicted) for label, (real, predicted) in rollouts.items()}
    if Path(path).suffix.lower() == ".png":
        moments = spread(length, _MOMENTS)
        rows = {
            f"{label} {kind}": [frames[min(t, len(frames) - 1)] for t in moments]
            for label, kinds in columns.items()
            for kind, frames in kinds.items()
        }
        write_png(path, contact_sheet(rows, [f"+{t + 1}" for t in moments]))
    else:
        write_video(path, (_film_frame(columns, t) for t in range(length)), rate)


def _columns(real: Array, predicted: Array) -> dict[str, Array]:
    difference = np.abs(predicted.astype(np.int16) - real).astype(np.uint8)
    return {"real": real, "predicted": predicted, "difference": difference}


def _film_frame(columns: Mapping[str, Mapping[str, Array]], t: int) -> Array:
    rows = {label: [frames[min(t, len(frames) - 1)] for frames in kinds.values()] for label, kinds in columns.items()}
    return contact_sheet(rows, list(next(iter(columns.values()))), scale=_FILM_SCALE)
