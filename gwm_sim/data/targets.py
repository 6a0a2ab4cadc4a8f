"""Which actions are targets of which telemetry, found in recordings where nobody declared it.

Joints, poses and grippers are often told where to be: an action is then a number of the same kind as a column of the
telemetry, which follows it a little later. That shows in recordings: the column lies near the action, and it changes as
the action changed before, not the other way around.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gwm_sim.data.schema import Command, Schema

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]

REACTION = 0.5  # seconds in which telemetry begins to follow, over which changes are compared
FOLLOWS = 0.3  # smallest correlation of the telemetry's changes with the action's changes before
LEADS = 0.9  # largest share of what is left unexplained without the action's lead that may still be with it
NEAR = 0.7  # largest mean distance from the target, over that from where the telemetry usually is
FEWEST = 50  # instants that are needed to tell
MOST = 50_000  # instants that are looked at
STILL = 1e-6  # a column that spreads less, compared with its largest number, is constant

SWITCHED: Final = re.compile(r"(^|[^a-z])(grip|gripper)([^a-z]*(pos|cmd|command|opening))?[^a-z]*$")
"""How an action is called that is at one of its ends, such as of a gripper, and not where a gripper goes."""


def switched(action: str) -> bool:
    """Whether hands switch an action of that name between its ends, instead of moving it."""
    return SWITCHED.search(action.lower()) is not None


@dataclass(frozen=True)
class Target:
    """An action that says where a quantity of the telemetry is to be, in the same unit."""

    action: int
    telemetry: int
    lag: int
    """Steps after which the telemetry follows best."""
    follows: float
    """Correlation of the telemetry's changes with the action's, `lag` steps before."""
    distance: float
    """Mean distance of the telemetry from its target, over that from where it usually is."""

    @property
    def command(self) -> Command:
        """The same as a command, of which the telemetry holds what is measured alone."""
        return Command(self.telemetry, self.action, 1.0, self.telemetry, absolute=True)


def find_targets(
    telemetry: FloatArray, actions: FloatArray, starts: IntArray, lengths: IntArray, schema: Schema
) -> tuple[Target, ...]:
    """Find actions that are targets of telemetry, at most one for each column.

    Args:
        telemetry: Of all episodes, one after the other, (F, P).
        actions: Action t leads from frame t to frame t + 1, (F, A); those of last frames are of no meaning.
        starts: First frame of each episode that is looked at, (E,).
        lengths: Frames of each of these, (E,).
        schema: Says the rate, and which columns are of different units, if it is known.

    Returns:
        The targets in the order of the actions.
    """
    lag = max(2, round(REACTION * schema.rate))
    now = instants(starts, lengths, lag)
    if len(now) < FEWEST:
        return ()
    told = actions[now].astype(np.float64)
    asked = told - actions[now - lag]
    courses = [
        correlations(asked, telemetry[now + k].astype(np.float64) - telemetry[now + k - lag])
        for k in range(-lag, lag + 1)
    ]
    before, after = np.array(courses[: lag + 1]).max(0), np.array(courses[lag + 1 :])  # (A, P), (lag, A, P)
    follows, lags = after.max(0), after.argmax(0) + 1
    constant = still(telemetry[now])[None] | still(told)[:, None]
    likely = (follows >= FOLLOWS) & (1 - follows <= LEADS * (1 - before)) & ~constant & comparable(schema)
    found = []
    for action, column in np.argwhere(likely).tolist():
        steps = int(lags[action, column])
        reached = telemetry[now + steps, column].astype(np.float64)
        distance = np.abs(reached - told[:, action]).mean() / np.abs(reached - np.median(reached)).mean()
        if distance <= NEAR:
            found.append(Target(action, column, steps, float(follows[action, column]), float(distance)))
    return one_to_one(found)


def instants(starts: IntArray, lengths: IntArray, lag: int) -> IntArray:
    """Frames (N,) whose action is known, with two `lag` before and one behind them in the same episode."""
    spans = [np.arange(start + 2 * lag, start + length - lag) for start, length in zip(starts, lengths, strict=True)]
    every = np.concatenate([np.zeros(0, np.int64), *spans])
    return every if len(every) <= MOST else every[np.linspace(0, len(every) - 1, MOST).round().astype(np.int64)]


def comparable(schema: Schema) -> npt.NDArray[np.bool_]:
    """Which actions may be of the same unit as which telemetry, (A, P): all but those known to be of others."""
    told = np.array(schema.settings.get("action_units", [""] * len(schema.action_names)), dtype=np.str_)[:, None]
    reported = np.array(schema.telemetry_units, dtype=np.str_)
    return np.asarray((told == reported) | (told == "") | (reported == ""))


def correlations(a: FloatArray, b: FloatArray) -> FloatArray:
    """Correlations of the columns of (N, A) with those of (N, P), (A, P); 0 for columns that are constant."""
    a, b = (x - x.mean(0) for x in (a, b))
    sizes = np.sqrt((a**2).sum(0))[:, None] * np.sqrt((b**2).sum(0))
    return np.divide(a.T @ b, sizes, out=np.zeros_like(sizes), where=sizes > 0)


def still(columns: FloatArray) -> npt.NDArray[np.bool_]:
    """Which columns of (N, P) never change but for rounding, or hardly ever, (P,)."""
    away = np.abs(columns - np.median(columns, axis=0)).mean(0)
    return np.asarray(away <= STILL * np.abs(columns).max(0))


def one_to_one(found: list[Target]) -> tuple[Target, ...]:
    """Of several targets of one column, or columns of one target, those that lie nearest."""
    kept: list[Target] = []
    for target in sorted(found, key=lambda target: target.distance):
        if all(target.action != other.action and target.telemetry != other.telemetry for other in kept):
            kept.append(target)
    return tuple(sorted(kept, key=lambda target: target.action))
