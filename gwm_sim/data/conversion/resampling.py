"""From the rows of a recording to those of an episode: where to cut, what to keep, what actions then amount to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gwm_sim.data.importers.source import Source
from gwm_sim.data.reading.checks import Array, listed
from gwm_sim.data.recording import Action, Kind
from gwm_sim.errors import ConfigError, DataError

GAP_PERIODS = 1.75
"""Periods between two rows beyond which something is missing: one lost row makes 2, cameras jitter by tenths."""

UNEVEN = 0.05
"""Relative difference of a recording's rate from that of its source that a model would see as another robot."""

_SAME_RATE = 0.01
"""Relative difference of two rates that is no reason to drop rows."""

_TRIMMED_SHARE = 0.75
"""Share of the rows that must be left when others are dropped at the end: where fewer are, the rate is another."""


def rate_of(times: Array, where: str) -> float:
    """Return the rate of rows at some times [Hz]: the median, which gaps do not change, to four digits."""
    if len(times) < 2:
        raise DataError(f"{where} has {len(times)} rows; an episode needs two.")
    return float(f"{1 / np.median(np.diff(times)):.4g}")


def cuts(times: Array) -> list[tuple[int, int]]:
    """Return (start, stop) of the stretches of rows without a gap in time, which cover all rows."""
    steps = np.diff(times)
    gaps = np.flatnonzero(steps > GAP_PERIODS * np.median(steps)) + 1
    edges = [0, *gaps.tolist(), len(times)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def nearest(times: Array, wanted: Array) -> Array:
    """Return for each wanted moment the index of the nearest of the increasing `times`."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(1, len(times) - 1))
    before = after - 1
    after = np.minimum(after, len(times) - 1)
    return np.where(wanted - times[before] <= times[after] - wanted, before, after)


def paired(
    source: Source, where: str, rows: int, frames: Mapping[str, int], *, slack: int = 0, remedy: str = ""
) -> int:
    """Return how many rows have a frame of every camera, when row i belongs to frame i; say what is dropped.

    Args:
        source: Told what is dropped.
        where: File or folder of the episode.
        rows: Rows of its numbers.
        frames: Frames of each camera.
        slack: Rows by which recordings of this format are known to differ; the option `trim` allows more.
        remedy: What else the user could do.

    Raises:
        DataError: They differ in number by more.
    """
    fewest, most = min(rows, *frames.values()), max(rows, *frames.values())
    if fewest == most:
        return rows
    cameras = {count: [name for name, other in frames.items() if other == count] for count in frames.values()}
    shown = ", ".join(f"{count} frames of {', '.join(names)}" for count, names in cameras.items())
    if most - fewest > slack and fewest < _TRIMMED_SHARE * most:
        raise DataError(f"{where} has {rows} rows, but {shown}: row i belongs to frame i. {remedy}".strip())
    if most - fewest > slack and not source.options.trim:
        trim = "Give --trim to drop what is too much at the end."
        raise DataError(f"{where} has {rows} rows, but {shown}: row i belongs to frame i. {trim} {remedy}".strip())
    source.remark(
        "rows and frames differ in number, and what is too much at the end was dropped",
        f"{Path(where).name}: {rows} rows, {shown}",
    )
    return fewest


def rows_at(times: Array, rate: float | None) -> Array:
    """Return the rows that an episode of some rate keeps: those nearest to its moments, beginning with the first.

    Args:
        times: Moments of the rows [s], (R,), without gaps.
        rate: Rows per second that are wanted [Hz]; None keeps all.

    Raises:
        ConfigError: There are fewer rows than that.
    """
    source = rate_of(times, "a stretch")
    if rate is None or abs(rate / source - 1) <= _SAME_RATE:
        return np.arange(len(times))
    if rate > source:
        raise ConfigError(
            f"--fps {rate:g} is more than the {source:.4g} Hz of the source: there are no frames between."
        )
    count = int((times[-1] - times[0]) * rate + 1e-6) + 1
    return np.unique(nearest(times, times[0] + np.arange(count) / rate))


def aggregate(actions: Array, columns: Sequence[Action], rows: Array, unsaid: Kind | None = None) -> Array:
    """Join the actions between kept rows.

    Changes are summed, of absolute targets the last one counts, rates are averaged.

    Args:
        actions: Action r leads from row r to row r+1, (R-1 or R, A).
        columns: How each action is named and adds up.
        rows: Kept rows, increasing, (J,).
        unsaid: How those add up of which the source does not say so.

    Returns:
        Action j leads from kept row j to kept row j+1, (J-1, A) float32.

    Raises:
        ConfigError: Rows are left out, and it is not known how an action adds up.
    """
    steps = np.diff(rows)
    last = actions[rows[1:] - 1] if len(rows) > 1 else actions[:0]
    if (steps == 1).all():
        return last
    kinds = [column.kind or unsaid for column in columns]
    if None in kinds:
        unknown = [column.name for column, kind in zip(columns, kinds, strict=True) if kind is None]
        raise ConfigError(
            f"the source does not say how {listed(unknown)} add up when frames are left out: give "
            "--actions delta (changes, summed), target (absolute, the last counts) or rate (averaged)."
        )
    sums = np.concatenate([np.zeros((1, actions.shape[1])), np.cumsum(actions, axis=0, dtype=np.float64)])
    summed = sums[rows[1:]] - sums[rows[:-1]]
    joined = {"delta": summed, "rate": summed / steps[:, None], "target": last}
    return np.stack([joined[kind][:, i] for i, kind in enumerate(kinds) if kind], axis=1).astype(np.float32)
