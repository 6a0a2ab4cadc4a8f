"""Which looks are things: they are there, in one piece, often at rest while the robot moves, and not where it tells.

Candidates are what lies apart in many pictures. One whose area is the same every time needs to behave like a thing only
where it lies apart, since the robot may have its colours; any other has to by its colours alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.tracking.discovery.candidates import (
    Behaviour,
    Candidate,
    behaviour,
    blob_candidates,
    pixels_of,
    touching,
    united,
)
from gwm_sim.data.tracking.discovery.evidence import Evidence

PRESENCE, WHOLE, SPREAD, REST, FOLLOWS = 0.35, 0.75, 2.8, 0.2, 0.9
"""Bounds of a thing's `Behaviour`: the least but for `spread` and `follows`, the most."""

LARGEST = 0.2
"""Share of the picture that the box around a thing has at most; what has more is a robot that its telemetry does not
explain, as before a camera that moves."""

DOUBTED = 0.3
"""Confidence, at most, in what is followed only because a person says that it is a thing."""

LIKELY = 0.33
"""Least score of a thing."""

_KNOWN = 0.6
"""Share of the pixels of a look that belong to things found before, from which on it is none of its own."""

_TOUCHING = 0.8
"""Share of the pictures in which two parts of one thing touch."""

_TRIED = 40
"""Candidates that are looked at."""

_OWN_COLORS = "its colours are the robot's or the background's"


@dataclass(frozen=True)
class Found:
    """A look that is a thing, or several alike."""

    candidate: Candidate
    size: tuple[float, float, float]
    """Usual width, height [px] and area."""
    confidence: float
    names: tuple[str, ...] = ()
    """What a person calls each thing of this look, if anybody does."""
    place: tuple[float, float] = (0.0, 0.0)
    """Column and row [px] where it usually is."""


@dataclass(frozen=True)
class Refused:
    """A look that is none."""

    color: tuple[int, int, int]
    reason: str
    """Why not, in words that go on `something grey: ...`."""


def discover(
    evidence: Evidence, wanted: int | None = None, show: Callable[[float, str], None] = lambda share, text: None
) -> tuple[list[Found], list[Refused]]:
    """Find the looks of things.

    Args:
        evidence: Pictures of many moments.
        wanted: How many things there are, if somebody knows: as many are taken, the likeliest ones.
        show: Told about the progress.

    Returns:
        Those that are things, the likeliest first, and those that are none.
    """
    candidates = blob_candidates(evidence, evidence.blobs())[:_TRIED]
    judged = []
    for done, candidate in enumerate(candidates, 1):
        judged.append(_judge(evidence, candidate))
        show(done / len(candidates), f"weighed {done} of {len(candidates)} looks")
    judged.sort(key=lambda item: item.rank)
    chosen = _choose(evidence, [item for item in judged if not item.faults], wanted)
    if wanted is not None:  # somebody knows better
        chosen = _choose(evidence, [item for item in judged if item.faults and item.behaviour], wanted, chosen)
    refused = [
        Refused(item.candidate.color, item.faults[0] if item.faults else f"{wanted} asked for, and others likelier")
        for item in judged
        if not _known(item, chosen)
    ]
    return [accepted(item.candidate, item.behaviour, item.score) for item in chosen], refused


def accepted(candidate: Candidate, seen: Behaviour | None, score: float = 1.0) -> Found:
    """Take a candidate for a thing."""
    size = candidate.size if candidate.steady or seen is None else seen.size
    return Found(replace(candidate, size=size), size, float(np.clip(score, 0.05, 1.0)))


@dataclass(frozen=True)
class _Judged:
    candidate: Candidate
    packed: Array
    """Where it is, (N, H, W / 8) bytes: there are many candidates."""
    wide: int
    """Width W of the pictures [px]."""
    behaviour: Behaviour | None
    faults: tuple[str, ...]
    """What speaks against it."""

    @property
    def pixels(self) -> Array:
        """Where it is, (N, H, W) bool."""
        return np.unpackbits(self.packed, axis=-1, count=self.wide).view(bool)

    @property
    def score(self) -> float:
        if self.behaviour is None:
            return 0.0
        return self.behaviour.likely * (1.0 if self.candidate.steady else 0.9 * self.behaviour.whole)

    @property
    def rank(self) -> tuple[bool, float]:
        """Order in which looks are chosen: what often lies apart is alone then, while a look of two things that touch
        is made of theirs."""
        steady = self.candidate.steady
        return not steady, -self.candidate.blobs if steady else -self.score


def _judge(evidence: Evidence, candidate: Candidate) -> _Judged:
    pixels = pixels_of(evidence, candidate)
    seen = behaviour(evidence, pixels, candidate.count)
    item = _Judged(candidate, np.packbits(pixels, axis=-1), pixels.shape[-1], seen, ())
    if seen is None:
        return replace(item, faults=(_OWN_COLORS,))
    faults = []
    if seen.presence < PRESENCE:
        faults.append(f"it is seen in {seen.presence:.0%} of the pictures only")
    if not candidate.steady and seen.whole < WHOLE:
        faults.append("its colours are in several places at once")
    if not candidate.steady and seen.spread > SPREAD:
        faults.append(f"its area changes {seen.spread:.1f} times over")
    if (share := seen.size[0] * seen.size[1] / pixels[0].size) > LARGEST:
        faults.append(f"it takes up {share:.0%} of the picture")
    if seen.rest < REST:
        faults.append("it moves whenever the robot does: it may be a part of it")
    elif seen.follows > FOLLOWS:
        faults.append("the robot's pose tells where it is: it may be a part of it")
    if item.score < LIKELY:
        faults.append(f"it is too unsure, {item.score:.2f} where {LIKELY} is needed")
    return replace(item, faults=tuple(faults))


def _choose(
    evidence: Evidence, judged: Sequence[_Judged], wanted: int | None, chosen: Sequence[_Judged] = ()
) -> list[_Judged]:
    """Add looks to those that were chosen, in order, as long as they are others and not enough; unite parts."""
    chosen = list(chosen)
    for item in judged:
        enough = wanted is not None and sum(other.candidate.count for other in chosen) >= wanted
        if enough or _known(item, chosen):
            continue
        part_of = next((i for i, other in enumerate(chosen) if _is_part(item, other)), None)
        if part_of is None:
            chosen.append(item)
            continue
        whole = _judge(evidence, united(chosen[part_of].candidate, item.candidate))
        if not whole.faults:
            chosen[part_of] = whole
    return chosen


def _known(item: _Judged, chosen: Sequence[_Judged]) -> bool:
    """Whether most pixels of a look belong to looks that were chosen."""
    if not chosen:
        return False
    shared = item.packed & np.bitwise_or.reduce([other.packed for other in chosen])
    return float(np.unpackbits(shared).sum() / max(1, np.unpackbits(item.packed).sum())) > _KNOWN


def _is_part(item: _Judged, other: _Judged) -> bool:
    """Whether a look is a part of a thing that has another one: what lies apart with one area is a thing of its own."""
    return not (item.candidate.steady and other.candidate.steady) and touching(item.pixels, other.pixels) > _TOUCHING
