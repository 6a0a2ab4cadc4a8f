"""What a model's reconstructions keep of true frames: what they lose, nothing that comes after can show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gwm_sim.arrays import Array
from gwm_sim.data.views import main_view
from gwm_sim.evaluation.matching import alike
from gwm_sim.evaluation.open_loop import OpenLoopTest
from gwm_sim.evaluation.pictures import foreground_error, psnr_of, squared_difference
from gwm_sim.evaluation.tracked import keep, widths_of
from gwm_sim.model.world_model import WorldModel

if TYPE_CHECKING:  # a tracker needs an extra
    from gwm_sim.data.tracking.tracker import Tracker

AT_ONCE = 32  # frames


def reconstruction_report(model: WorldModel, test: OpenLoopTest) -> dict[str, Any]:
    """Compare the last context frame of every window of a test with what a model's tokenizer makes of it.

    Returns:
        kept: Share of (frame, thing seen in it) that is kept, by the rule of `tracked.Things`, whether it moved or not;
            None where nothing is tracked.
        things: Number of (frame, thing) behind it.
        psnr, fg_psnr: Of the mean squared error over all frames of the main camera, and over their foreground pixels
            [dB]; None where there are none.
    """
    kept: list[Array] = []
    squared, pixels = np.zeros(2), np.zeros(2)  # over whole frames, and over the foreground
    for frames in test.stills():
        true, shown = (main_view(views, test.cameras) for views in (frames, reconstruct(model, frames)))
        if test.scene.tracker is not None:
            kept.append(kept_of(test.scene.tracker, true, shown))
        whole, (error, count) = squared_difference(shown, true), foreground_error(test, true, shown)
        squared += whole.sum(dtype=np.float64), error.sum()
        pixels += whole.size, count.sum()
    flat = np.concatenate([np.zeros(0, bool), *kept])
    psnr, fg_psnr = (psnr_of(s / n) if n else None for s, n in zip(squared.tolist(), pixels.tolist(), strict=True))
    return {"kept": float(flat.mean()) if len(flat) else None, "things": len(flat), "psnr": psnr, "fg_psnr": fg_psnr}


def reconstruct(model: WorldModel, frames: Array) -> Array:
    """What the tokenizer makes of frames (F, H, V*W, 3) uint8."""
    parts = torch.from_numpy(frames).split(AT_ONCE)
    return np.concatenate([model.reconstruct(part).cpu().numpy() for part in parts])


def kept_of(tracker: Tracker, true: Array, shown: Array) -> Array:
    """Which of the things that are seen in true pictures (F, H, W, 3) are kept in others, (M,) bool."""
    sightings = tracker.look(true)
    _, kept = keep(sightings, tracker.look(shown), widths_of(tracker.things), alike(tracker.things))
    flat: Array = kept[sightings.found]
    return flat
