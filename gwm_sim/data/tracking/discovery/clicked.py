"""The look of what a person points at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.tracking.background import levels
from gwm_sim.data.tracking.discovery.candidates import Candidate, behaviour, pixels_of
from gwm_sim.data.tracking.discovery.choice import DOUBTED, Found, accepted
from gwm_sim.data.tracking.discovery.evidence import Evidence
from gwm_sim.data.tracking.palette import BINS, bins, blurred

_SAME_COLOR = 40.0
"""Grey levels by which pixels of one thing differ from the one that was clicked."""

_LARGEST = 0.25
"""Share of the picture that a thing may have."""

_ALIKE, _AS_LARGE = 0.5, 2.0
"""Share of the colours of things that look alike which they have in common, and ratio of their areas."""


def clicked(evidence: Evidence, picture: Array, mask: Array) -> Found:
    """Learn the look of a thing, first from the picture that was clicked, then from all in which it is found by that.

    Args:
        evidence: Pictures of many moments.
        picture: The one that was clicked, under the light of the background, (H, W, 3).
        mask: Pixels of the thing in it, (H, W) bool, see `region_at`.
    """
    first = _candidate(bins(levels(picture[mask])), mask, picture)
    pixels = pixels_of(evidence, first)
    own = pixels & _near_in_size(pixels, int(mask.sum()))
    seen = own.any(axis=(1, 2))
    if not seen.any():
        return accepted(first, None, DOUBTED)
    beside = evidence.front[seen] & ~evidence.explained[seen] & ~own[seen]
    colors = evidence.colors[seen]
    counts = [np.bincount(colors[chosen], minlength=BINS).astype(np.float32) for chosen in (own[seen], beside)]
    learned = replace(first, counts=(counts[0], counts[1]), pictures=int(seen.sum()))
    again = behaviour(evidence, pixels_of(evidence, learned), 1)
    return accepted(learned, again, DOUBTED if again is None else again.likely)


def look_alike(one: Found, other: Found) -> bool:
    """Whether two things have the same colours (by the intersection of their histograms, Swain and Ballard 1991) and
    about the same area, so that nothing in a picture tells one from the other."""
    shares = [item.candidate.counts[0] / item.candidate.counts[0].sum() for item in (one, other)]
    small, large = sorted((one.size[2], other.size[2]))
    return float(np.minimum(*map(blurred, shares)).sum()) > _ALIKE and large < _AS_LARGE * small


def region_at(evidence: Evidence, picture: Array, column: int, row: int) -> Array:
    """Return the connected pixels around a place that have its colour or, where it is in front of the background and
    lies apart, all that are in front, (H, W) bool; none where nothing of one colour is there."""
    height, width = picture.shape[:2]
    around = picture[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].reshape(-1, 3)
    alike = np.abs(picture - np.median(around, axis=0)).max(axis=-1) < _SAME_COLOR
    front = evidence.background.differs(picture[None].astype(np.float32))[0]
    for pixels in (front, alike & front, alike):
        region = _piece_at(pixels, column, row)
        borders = region[0].any() or region[-1].any() or region[:, 0].any() or region[:, -1].any()
        if region.any() and region.sum() < _LARGEST * height * width and not (pixels is front and borders):
            return region
    return np.zeros((height, width), bool)


def _piece_at(pixels: Array, column: int, row: int) -> Array:
    import cv2

    _, labels = cv2.connectedComponents(pixels.view(np.uint8), connectivity=4)
    near = labels[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].ravel()
    near = near[near > 0]
    region: Array = labels == np.bincount(near).argmax() if len(near) else np.zeros(pixels.shape, bool)
    return region


def _candidate(colors: Array, mask: Array, picture: Array) -> Candidate:
    rows, columns = np.nonzero(mask)
    red, green, blue = (round(float(value)) for value in picture[mask].mean(axis=0))
    return Candidate(
        counts=(np.bincount(colors, minlength=BINS).astype(np.float32), np.zeros(BINS, np.float32)),
        pictures=1,
        color=(red, green, blue),
        blobs=0,
        steady=False,
        size=(float(np.ptp(columns) + 1), float(np.ptp(rows) + 1), float(len(rows))),
        count=1,
    )


def _near_in_size(pixels: Array, area: int) -> Array:
    """Return which pictures (N, 1, 1) have about as many pixels of a look as the one that was clicked."""
    counts = pixels.sum(axis=(1, 2))
    near: Array = ((counts > 0.4 * area) & (counts < 2.5 * area))[:, None, None]
    return near
