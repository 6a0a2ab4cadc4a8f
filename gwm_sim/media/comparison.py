"""Pictures of a prediction beside what really happened: real | predicted | difference, as a strip or as a film."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.media.video import contact_sheet, write_png, write_video

_MOMENTS = 10
_FILM_SCALE = 3


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
        moments = np.unique(np.linspace(0, length - 1, _MOMENTS).round().astype(int)).tolist()
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
