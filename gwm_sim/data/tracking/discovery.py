"""Which looks are things: they are there, in one piece, often at rest while the robot moves, and not where its pose says.

Candidates are what lies apart in many pictures. One whose area is the same every time needs to behave like a thing only
where it lies apart, since the robot may have its colours; any other has to by its colours alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.tracking.candidates import (
    Behaviour,
    Candidate,
    behaviour,
    blob_candidates,
    pixels_of,
    touching,
    united,
    with_all_blobs,
)
from gwm_sim.data.tracking.evidence import Evidence

PRESENCE, WHOLE, SPREAD, REST, FOLLOWS, TRAVELS = 0.35, 0.75, 2.8, 0.2, 0.9, 0.5
"""Bounds of a thing's `Behaviour`: the least but for `spread` and `follows`, the most."""

_KNOWN = 0.6
"""Share of the pixels of a look that belong to things found before, from which on it is none of its own."""

_TOUCHING = 0.8
"""Share of the pictures in which two parts of one thing touch."""

_TRIED = 40
"""Candidates that are looked at."""


@dataclass(frozen=True)
class Found:
    """A look that is a thing, or several alike."""

    candidate: Candidate
    size: tuple[float, float, float]
    """Usual width, height [px] and area."""
    confidence: float


@dataclass(frozen=True)
class Refused:
    """A look that is none."""

    color: tuple[int, int, int]
    reason: str


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
    blobs = evidence.blobs()
    candidates = blob_candidates(evidence, blobs)[:_TRIED]
    judged = []
    for done, candidate in enumerate(candidates, 1):
        pixels = pixels_of(evidence, candidate)
        if candidate.steady:
            pass
            pixels = pixels_of(evidence, candidate)
        judged.append(_judge(evidence, candidate, pixels))
        show(done / len(candidates), f"weighed {done} of {len(candidates)} looks")
    judged.sort(key=lambda item: (-item.candidate.steady, -item.candidate.blobs if item.candidate.steady else -item.score))
    return _choose(evidence, judged, wanted)


@dataclass(frozen=True)
class _Judged:
    candidate: Candidate
    pixels: Array
    """Where it is, (N, H, W) bool."""
    behaviour: Behaviour | None
    faults: tuple[str, ...]
    """What speaks against it."""

    @property
    def score(self) -> float:
        if self.behaviour is None:
            return -1.0
        known = self.behaviour.presence * min(1.0, 1.5 / self.behaviour.spread)
        return known * (1.0 if self.candidate.steady else 0.9 * self.behaviour.whole) - len(self.faults)


def _judge(evidence: Evidence, candidate: Candidate, pixels: Array) -> _Judged:
    seen = behaviour(evidence, pixels, candidate.count)
    if seen is None:
        return _Judged(candidate, pixels, None, ("its colours are the robot's or the background's",))
    faults = []
    if seen.presence < PRESENCE:
        faults.append(f"it is seen in {seen.presence:.0%} of the pictures only")
    if not candidate.steady and seen.whole < WHOLE:
        faults.append("its colours are in several places at once")
    if not candidate.steady and seen.spread > SPREAD:
        faults.append(f"its area changes {seen.spread:.1f} times over")
    if seen.rest < REST:
        faults.append("it moves whenever the robot does: it may be a part of it")
    elif seen.follows > FOLLOWS:
        faults.append("the robot's pose tells where it is: it may be a part of it")
    if seen.travels < TRAVELS:
        faults.append("it is in the same place in every episode")
    return _Judged(candidate, pixels, seen, tuple(faults))


def _choose(evidence: Evidence, judged: Sequence[_Judged], wanted: int | None) -> tuple[list[Found], list[Refused]]:
    chosen: list[_Judged] = []
    refused: list[Refused] = []
    for item in judged:
        number = next((i for i, other in enumerate(chosen) if _is_part(item, other)), None)
        taken = np.logical_or.reduce([other.pixels for other in chosen]) if chosen else np.zeros_like(item.pixels)
        known = float((item.pixels & taken).sum() / max(1, item.pixels.sum()))
        if item.behaviour is None or known > _KNOWN:
            if item.behaviour is None:
                refused.append(Refused(item.candidate.color, item.faults[0]))
            continue
        if number is not None and not item.faults:
            whole = united(chosen[number].candidate, item.candidate)
            both = _judge(evidence, whole, pixels_of(evidence, whole))
            if not both.faults:
                chosen[number] = both
            continue
        enough = wanted is not None and sum(other.candidate.count for other in chosen) >= wanted
        if (item.faults and (wanted is None or enough)) or enough:
            reason = item.faults[0] if item.faults else f"{wanted} likelier ones were asked for"
            refused.append(Refused(item.candidate.color, reason))
            continue
        chosen.append(item)
    return [_found(item) for item in chosen], refused


def _is_part(item: _Judged, other: _Judged) -> bool:
    """Whether a look is a part of a thing that has another one: what lies apart with one area is a thing of its own."""
    return not (item.candidate.steady and other.candidate.steady) and touching(item.pixels, other.pixels) > _TOUCHING


def _found(item: _Judged) -> Found:
    assert item.behaviour is not None
    size = item.candidate.size if item.candidate.steady else item.behaviour.size
    return Found(replace(item.candidate, size=size), size, float(np.clip(item.score, 0.05, 1.0)))
