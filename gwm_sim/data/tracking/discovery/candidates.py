"""What might be a thing: a look, where its pixels are in all pictures, and how it behaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.tracking.discovery.evidence import Blob, Evidence
from gwm_sim.data.tracking.palette import BINS, Colors, Palette

_FEWEST = 10
"""Blobs of one look, fewer than which are chance."""

_MOST_BLOBS = 1500
"""Blobs that are compared with each other."""

_SAME_COLOR, _SAME_AREA = 30.0, 0.4
"""Grey levels, and logarithm of the area, by which blobs of one look differ."""

_STEADY = 1.7
"""Times by which the area of the larger blobs is that of the smaller ones, at most, where it is always the same."""

_OFTEN = 0.15
"""Share of the pictures, and of the episodes, in which such a thing lies apart."""

_AT_ONCE = 64
"""Pictures that are looked at together, which bounds memory."""


@dataclass(frozen=True)
class Candidate:
    """A look, and what was seen of it."""

    counts: tuple[Array, Array]
    """Pixels of it by colour, and unexplained ones of all else in the same pictures, (BINS,) each."""
    pictures: int
    """How many these were."""
    color: tuple[int, int, int]
    blobs: int
    """How often it lay apart; 0 where it is known by its colours alone."""
    steady: bool
    """Whether it then had the same area every time."""
    size: tuple[float, float, float]
    """Usual width, height [px] and area."""
    count: int
    """Things of this look."""

    def colors(self, evidence: Evidence) -> Colors:
        """Compare its colours with those of robot and background."""
        share = self.pictures / len(evidence)
        return Colors.of(*self.counts, evidence.robot * share, evidence.ground * share)


@dataclass(frozen=True)
class Behaviour:
    """How the largest piece of a look behaves over all pictures."""

    presence: float
    """Share of the pictures that show it."""
    whole: float
    """Share of its pixels that are in as many pieces as there are things."""
    spread: float
    """Area at the 90th percentile over that at the 10th."""
    rest: float
    """How often it stays where it is while the robot moves."""
    follows: float
    """Share of its motion that telemetry tells, in episodes other than those that this was learned from."""
    size: tuple[float, float, float]
    """Width, height [px] and area when it is seen well."""

    @property
    def likely(self) -> float:
        """How likely a thing behaves so, in [0, 1]: it is seen always, and has always the same area."""
        return self.presence * min(1.0, 1.5 / self.spread)


def blob_candidates(evidence: Evidence, blobs: Sequence[Blob]) -> list[Candidate]:
    """Group blobs that look alike, the largest group first."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(blobs) < _FEWEST:
        return []
    features = np.array([[*(blob.color / _SAME_COLOR), np.log(blob.area) / _SAME_AREA] for blob in blobs])
    few = features[:: -(-len(features) // _MOST_BLOBS)]
    group = fcluster(linkage(few, "average"), 1.0, "distance")
    centers = np.array([few[group == number].mean(axis=0) for number in range(1, group.max() + 1)])
    distance = ((features[:, None] - centers) ** 2).sum(axis=-1)
    nearest = np.where(distance.min(axis=1) < 4, distance.argmin(axis=1), -1)
    sizes = np.bincount(nearest[nearest >= 0], minlength=len(centers))
    order = np.argsort(-sizes, kind="stable")
    chosen = [[blobs[i] for i in np.flatnonzero(nearest == number).tolist()] for number in order]
    return [of_blobs(evidence, alike) for alike in chosen if len(alike) >= _FEWEST]


def of_blobs(evidence: Evidence, blobs: Sequence[Blob]) -> Candidate:
    """Make a candidate of blobs that are the same thing, or things that look alike."""
    own, beside = np.zeros(BINS, np.float32), np.zeros(BINS, np.float32)
    by_moment: dict[int, list[Blob]] = {}
    for blob in blobs:
        by_moment.setdefault(blob.moment, []).append(blob)
    together = np.array([len(some) for some in by_moment.values()])
    count = 1
    while (together > count).mean() > 0.2:
        count += 1
    for moment, some in by_moment.items():
        rest = evidence.front[moment] & ~evidence.explained[moment]
        for blob in some:
            own += np.bincount(evidence.colors[moment][blob.window][blob.mask], minlength=BINS)
            rest[blob.window] &= ~blob.mask
        if len(some) >= count:
            beside += np.bincount(evidence.colors[moment][rest], minlength=BINS)
    beside *= len(together) / max(1, int((together >= count).sum()))
    areas = np.array([blob.area for blob in blobs])
    low, high = np.percentile(areas, (10, 90))
    height, width = np.median([blob.mask.shape for blob in blobs], axis=0)
    episodes = len({int(evidence.episodes[blob.moment]) for blob in blobs})
    return Candidate(
        counts=(own, beside),
        pictures=len(by_moment),
        color=_rounded(np.mean([blob.color for blob in blobs], axis=0)),
        blobs=len(blobs),
        steady=bool(
            high <= _STEADY * low
            and len(by_moment) >= _OFTEN * len(evidence)
            and episodes >= max(3, _OFTEN * len(np.unique(evidence.episodes)))
        ),
        size=(float(width), float(height), float(np.median(areas))),
        count=count,
    )


def pixels_of(evidence: Evidence, candidate: Candidate) -> Array:
    """Return which pixels look like a candidate, (N, H, W) bool."""
    palette = Palette.of([candidate.colors(evidence)])
    parts = [slice(start, start + _AT_ONCE) for start in range(0, len(evidence), _AT_ONCE)]
    looks = [palette.read(evidence.colors[n], evidence.front[n], evidence.explained[n]) > 0 for n in parts]
    return np.concatenate(looks)


def behaviour(evidence: Evidence, pixels: Array, count: int) -> Behaviour | None:
    """Describe how the largest piece of some pixels (N, H, W) behaves; None where there is hardly any."""
    area, place, box, total = _largest(pixels, count)
    if (area >= 6).mean() < 0.02:
        return None
    usual = float(np.percentile(area[area >= 6], 75))
    seen = area > 0.4 * usual
    well = area > 0.7 * usual
    both = evidence.same_episode & seen[1:] & seen[:-1]
    moved = np.linalg.norm(np.diff(place, axis=0), axis=1)
    robot = np.linalg.norm(np.diff(evidence.poses, axis=0), axis=1)
    busy = both & (robot > np.median(robot[evidence.same_episode]))
    low, high = np.percentile(area[seen], (10, 90))
    width, height = np.median(box[well], axis=0)
    size = float(np.sqrt(width * height))
    return Behaviour(
        presence=float(seen.mean()),
        whole=float((total[seen, 0] / total[seen, 1]).mean()),
        spread=float(high / low),
        rest=float((moved[busy] < max(0.7, 0.08 * size)).mean()) if busy.any() else 1.0,
        follows=_follows(evidence.poses[seen], place[seen], evidence.episodes[seen]),
        size=(float(width), float(height), float(np.median(area[well]))),
    )


def _largest(pixels: Array, count: int) -> tuple[Array, Array, Array, Array]:
    """Return of the largest piece area (N,), place (N, 2) and box (N, 2), and pixels of the `count` largest and of all
    pieces (N, 2)."""
    import cv2

    length = len(pixels)
    area, place, box, total = np.zeros(length), np.zeros((length, 2)), np.zeros((length, 2)), np.ones((length, 2))
    for n in np.flatnonzero(pixels.any(axis=(1, 2))).tolist():
        _, _, stats, centroids = cv2.connectedComponentsWithStats(pixels[n].view(np.uint8), connectivity=8)
        areas = stats[1:, cv2.CC_STAT_AREA]
        i = 1 + int(areas.argmax())
        area[n], place[n], box[n] = stats[i, 4], centroids[i], stats[i, 2:4]
        total[n] = np.sort(areas)[-count:].sum(), areas.sum()
    return area, place, box, total


def _follows(poses: Array, places: Array, episodes: Array) -> float:
    """Return which share of the variance of places a quadratic function of telemetry tells in other episodes, the
    lesser of columns and rows."""
    inputs = np.concatenate([np.ones((len(poses), 1)), poses, poses**2], axis=1)
    odd = episodes % 2 == 1
    if min(odd.sum(), (~odd).sum()) < 20:
        return 0.0
    square = inputs[odd].T @ inputs[odd] + np.eye(inputs.shape[1])
    weights = np.linalg.solve(square, inputs[odd].T @ places[odd])
    left = ((places[~odd] - inputs[~odd] @ weights) ** 2).sum(axis=0)
    whole = ((places[~odd] - places[~odd].mean(axis=0)) ** 2).sum(axis=0)
    return float((1 - left / np.maximum(whole, 1e-6)).min())


def united(one: Candidate, other: Candidate) -> Candidate:
    """Make one look of two that are parts of the same thing."""
    share = one.pictures / max(1, other.pictures)
    own = one.counts[0] + other.counts[0] * share
    # What is beside one part may be the other part.
    beside = np.minimum(one.counts[1], other.counts[1] * share)
    return replace(one, counts=(own, beside), steady=False)


def touching(one: Array, other: Array) -> float:
    """Return in which share of the pictures that show both, pixels (N, H, W) of two looks touch."""
    import cv2

    both = one.any(axis=(1, 2)) & other.any(axis=(1, 2))
    if both.mean() < 0.2:
        return 0.0
    kernel = np.ones((3, 3), np.uint8)
    wide = np.stack([cv2.dilate(mask.view(np.uint8), kernel) for mask in one[both]]) > 0
    return float((wide & other[both]).any(axis=(1, 2)).mean())


def _rounded(color: Array) -> tuple[int, int, int]:
    red, green, blue = (round(float(value)) for value in color)
    return red, green, blue
