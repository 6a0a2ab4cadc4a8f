"""Which stretch of which film shows an episode, where what the metadata say of it cannot be true."""

from bisect import bisect, insort
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple


class Span(NamedTuple):
    """A stretch of a film."""

    file: str
    start: float
    """First and last moment that are shown [s]."""
    stop: float


def settle(spans: Sequence[Span], ends: Mapping[str, float], slack: float) -> list[Span | str]:
    """Find the stretch that shows each episode, when films hold one episode after the other.

    A stretch that its film lacks, or that an earlier episode has, lies in another film: in the only one that has it
    to give without changing the order of the episodes. Where there is no such film, or a choice, nothing is certain.

    Args:
        spans: What the metadata say, in the order of the episodes.
        ends: Last moment [s] of every film, by its name, in the order of the films; infinite where none is known.
        slack: Seconds by which stretches may overlap, and go beyond the end of a film.

    Returns:
        The stretch of each episode, or what is wrong with the one that is told.
    """
    films = {file: _Film(end, slack) for file, end in ends.items()}
    settled: list[Span | str] = []
    rivals: dict[int, int] = {}  # which episode has what another one claims
    for k, span in enumerate(spans):
        film = films.get(span.file)
        rival = None if film is None else film.rival(span)
        if rival is not None:
            rivals[k] = rival
        settled.append(span if film is not None and film.take(span, k) else _reason(span, ends))
    order = {file: number for number, file in enumerate(films)}
    for k in [k for k, found in enumerate(settled) if isinstance(found, str)]:
        low = max((order[span.file] for span in settled[:k] if isinstance(span, Span)), default=0)
        high = min((order[span.file] for span in settled[k + 1 :] if isinstance(span, Span)), default=len(order) - 1)
        known = [file for file in list(order)[low : high + 1] if file != spans[k].file and isfinite(ends[file])]
        others = [file for file in known if films[file].has(spans[k])]
        if len(others) == 1:
            settled[k] = moved = spans[k]._replace(file=others[0])
            films[others[0]].take(moved, k)
        elif k in rivals:
            settled[rivals[k]] = settled[k]
    return settled


class _Film:
    """A film, and which of its stretches are taken by an episode."""

    def __init__(self, end: float, slack: float) -> None:
        self._end, self._slack = end, slack
        self._taken: list[tuple[float, float, int]] = []

    def rival(self, span: Span) -> int | None:
        """Return the episode that has some of a stretch already."""
        place = bisect(self._taken, (span.start, span.stop, -1))
        near = self._taken[max(0, place - 1) : place + 1]
        overlaps = (k for start, stop, k in near if min(stop, span.stop) - max(start, span.start) > self._slack)
        return next(overlaps, None)

    def has(self, span: Span) -> bool:
        """Return whether a stretch is there and free."""
        return span.stop <= self._end + self._slack and self.rival(span) is None

    def take(self, span: Span, k: int) -> bool:
        """Give a stretch to an episode, if it is there and free."""
        has = self.has(span)
        if has:
            insort(self._taken, (span.start, span.stop, k))
        return has


def _reason(span: Span, ends: Mapping[str, float]) -> str:
    if span.file not in ends:
        return f"{span.file} is missing or no video."
    what = f"{span.file} from {span.start:.2f} to {span.stop:.2f} s"
    if span.stop > ends[span.file]:
        return f"it needs {what}, which ends at {ends[span.file]:.2f} s: truncated, or the metadata name a wrong film."
    return f"the metadata give {what} to two episodes, and it cannot be told to which it belongs."
