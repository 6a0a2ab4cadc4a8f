"""Angles and rotations of a source without jumps, whatever its format: the telemetry, and the actions that follow it.

All recordings are looked at first: what a column is, and in which of its turns it lies, is one answer for the whole
source. Then each recording is made continuous, stretch by stretch between gaps in time, before rows are left out.

Targets follow the telemetry of the same name, in the turn nearest to it. Changes that were computed across the end of
a turn lose the turn that they have too much. Rates stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from gwm_sim.data.conversion.angles import Angle, Change, EulerAngles, bare_name, base_name, nearest_turn, rotation_sets
from gwm_sim.data.conversion.resampling import cuts
from gwm_sim.data.conversion.rotations import Quaternions, RotationVectors
from gwm_sim.data.reading.checks import Array, listed
from gwm_sim.data.recording import Action, Column, Layout, Recording


class _Kind(Protocol):
    """What columns are: one of them (R,), several (R, columns), in float64."""

    def look(self, values: Array) -> None: ...

    def continuous(self, values: Array, beside: Array | None = None) -> Array: ...


class _EulerOrVector:
    """Three columns rx, ry, rz: a rotation vector if that explains the jumps better than three angles do."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._euler = EulerAngles([Angle(column.name, column.unit) for column in columns])
        self._vector = RotationVectors()
        self._rests = np.zeros(2)

    def look(self, values: Array) -> None:
        self._euler.look(values)
        self._vector.look(values)
        steps = np.diff(values, axis=0)
        jumped = np.linalg.norm(steps, axis=1) > np.pi
        if jumped.any():
            before, after = values[:-1][jumped], values[1:][jumped]
            turned = (steps - 2 * np.pi * np.round(steps / (2 * np.pi)))[jumped]
            rests = turned, RotationVectors().continuous(after, before) - before
            self._rests += [np.linalg.norm(rest, axis=1).sum() for rest in rests]

    def continuous(self, values: Array, beside: Array | None = None) -> Array:
        if self._vector.possible and self._rests[1] < self._rests[0]:
            return self._vector.continuous(values, beside)
        # Without a jump it may be either, and what is right for one is wrong for the other.
        return self._euler.continuous(values, beside) if self._rests.any() else values


class _Part:
    """Columns that are one thing, and what was done to them."""

    did = "jumps by a whole turn {} times in {} recordings", "lies a turn away from the rest in {} recordings"
    made = "continuous"
    """What they were made, as the schema says it."""

    def __init__(self, columns: tuple[int, ...], kind: _Kind, beside: tuple[int, ...] = ()) -> None:
        self.columns = columns
        self.kind = kind
        self.beside = beside
        """Columns of the telemetry that they follow."""
        self.changed: set[int] = set()
        """Columns of which some row was changed."""
        self.places = 0
        """Where they jumped, over all recordings."""
        self.recordings: dict[bool, set[str]] = {True: set(), False: set()}
        """Recordings in which they jumped, and those that only lay elsewhere as a whole."""
        self._low, self._high = np.full(len(columns), np.inf), np.full(len(columns), -np.inf)

    def look(self, values: Array, telemetry: Array) -> None:
        """Take a stretch into account: (R, columns), and the telemetry of the same rows (R, P)."""
        self.kind.look(_bare(values))

    def continuous(self, values: Array, beside: Array | None) -> Array:
        """Return a stretch as it should be, in the shape that its kind has."""
        return self.kind.continuous(values, beside)

    def apply(self, values: Array, telemetry: Array, where: str) -> Array:
        """Return a stretch as it should be, and note what was changed."""
        beside = _bare(telemetry[:, self.beside]) if self.beside else None
        shift = self.continuous(_bare(values), beside).reshape(values.shape) - values
        moved = (np.abs(shift) > 1e-6).any(axis=0)
        if moved.any():
            self.changed |= {column for column, some in zip(self.columns, moved, strict=True) if some}
            places = int((np.abs(np.diff(shift, axis=0)) > 1e-3).any(axis=1).sum())
            self.places += places
            self.recordings[places > 0].add(where)
        made = np.asarray(values + shift)
        self._low, self._high = np.minimum(self._low, made.min(axis=0)), np.maximum(self._high, made.max(axis=0))
        return made

    @property
    def turn(self) -> float | None:
        """One turn of what is made of angles."""
        return self.kind.turn if isinstance(self.kind, Angle | EulerAngles) else None

    def told(self, done: bool) -> str:
        """Say what was done, or what an import will do."""
        jumps, elsewhere = self.did
        jumped, moved = (len(self.recordings[key]) for key in (True, False))
        found = [jumps.format(self.places, jumped)] * bool(jumped) + [elsewhere.format(moved)] * bool(moved)
        turns = 0.0 if self.turn is None else float((self._high - self._low).max() / self.turn)
        return (
            f"{' and '.join(found)}: {'it was made' if done else 'gwm import makes it'} {self.made}."
            + f" It then spans {turns:.1f} turns: one direction has several numbers." * (turns > 1.1)
        )


class _Signs(_Part):
    """A quaternion or a rotation vector, which has two forms."""

    did = "turns to its other form {} times in {} recordings", "has the other form than the rest in {} recordings"


class _Target(_Part):
    """An angle that telemetry follows."""

    def __init__(self, column: int, angle: Angle, beside: int, partner: Angle) -> None:
        super().__init__((column,), angle, (beside,))
        self._angle, self._partner = angle, partner

    def continuous(self, values: Array, beside: Array | None) -> Array:
        assert beside is not None
        turn = self._angle.turn or self._partner.turn
        return values if turn is None else nearest_turn(values, beside, turn)


class _Changes(_Part):
    """Changes of an angle."""

    did = "goes to a change of a whole turn and back {} times in {} recordings", "is a whole turn off in {} recordings"
    made = "a change of at most half a turn"


class _Unsaid(_Part):
    """An action of which the source does not say how it adds up: its numbers may."""

    def __init__(self, column: int, action: Action, beside: int | None = None, partner: Angle | None = None) -> None:
        self._absolute, self._change = Angle(action.name, action.unit, named=False), Change(action.name, action.unit)
        super().__init__((column,), self._absolute, () if beside is None else (beside,))
        self._partner = partner
        self._apart = Angle(action.name, action.unit)

    def look(self, values: Array, telemetry: Array) -> None:
        super().look(values, telemetry)
        self._change.look(values[:, 0])
        if self.beside:
            self._apart.look((values - telemetry[:, self.beside])[:, 0])

    def continuous(self, values: Array, beside: Array | None) -> Array:
        turn = None if self._partner is None else self._partner.turn
        if turn is not None and beside is not None and self._apart.is_near_zero(turn):
            return nearest_turn(values, beside, turn)
        return (self._change if self._change.turn else self._absolute).continuous(values)

    def told(self, done: bool) -> str:
        return f"{super().told(done)} How it adds up the source does not say; its numbers do."


class Continuity:
    """Which columns of a source are angles and rotations, and all recordings without their jumps.

    It first looks at every recording; from then on it makes each of them continuous.
    """

    def __init__(self, layout: Layout, actions: Sequence[Action]) -> None:
        """Find the columns that may be some.

        Args:
            layout: Layout of the source.
            actions: Its actions, with what the user said of them.
        """
        self._columns: dict[str, Sequence[Column]] = {"state": layout.telemetry, "action": actions}
        state = list(_parts(layout.telemetry, range(len(layout.telemetry))))
        self._parts = {"state": state, "action": list(_action_parts(actions, layout.telemetry, state))}

    @property
    def watches(self) -> bool:
        """Whether any column may be an angle or a part of a rotation."""
        return any(self._parts.values())

    def look(self, recording: Recording) -> None:
        """Take a recording into account."""
        telemetry, actions = recording.telemetry.astype(np.float64), recording.actions.astype(np.float64)
        for rows, steps in _stretches(recording):
            for values, side, those in ((telemetry, "state", rows), (actions, "action", steps)):
                for part in self._parts[side] if those.stop > those.start else ():
                    part.look(values[those][:, part.columns], telemetry[those])

    def __call__(self, recording: Recording) -> Recording:
        """Return a recording without jumps."""
        telemetry, actions = recording.telemetry.astype(np.float64), recording.actions.astype(np.float64)
        for rows, steps in _stretches(recording):
            for values, side, those in ((telemetry, "state", rows), (actions, "action", steps)):
                for part in self._parts[side] if those.stop > those.start else ():
                    made = part.apply(values[those][:, part.columns], telemetry[those], recording.where)
                    values[those, part.columns] = made
        return replace(recording, telemetry=telemetry.astype(np.float32), actions=actions.astype(np.float32))

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """What the schema says of it: what was made of each column that was changed, and one turn of its telemetry.

        Nothing where nothing was changed.
        """
        made, turns = {}, {}
        for side, parts in self._parts.items():
            for part in parts:
                for name in (f"{side}.{self._columns[side][column].name}" for column in sorted(part.changed)):
                    made[name] = part.made
                    if side == "state" and part.turn is not None:
                        turns[name] = part.turn
        return {key: value for key, value in (("angles", made), ("turns", turns)) if value}

    def notes(self, done: bool) -> list[str]:
        """Say what was changed in the recordings that were made continuous, or what an import will change."""
        found = []
        for side, parts in self._parts.items():
            for part in parts:
                if part.changed:
                    names = (f"{side}.{self._columns[side][column].name}" for column in sorted(part.changed))
                    found.append(f"{listed(names)} {part.told(done)}")
                names = (f"{side}.{self._columns[side][column].name}" for column in part.columns)
                found += [f"{listed(names)} {doubt}" for doubt in _doubts(part.kind)]
        return found


def _doubts(kind: _Kind) -> Iterator[str]:
    """Say where jumps were left because nobody can tell."""
    if isinstance(kind, EulerAngles) and kind.locked:
        yield (
            f"jump at {kind.locked} places near a pitch of 90 degrees, where Euler angles are not determined. "
            "They were left so: record quaternions."
        )
    if isinstance(kind, Angle) and kind.clock:
        yield "goes one way and falls back by one turn, as a clock does: it was left so. Call an angle heading or yaw."


def _parts(columns: Sequence[Column], among: Iterable[int]) -> Iterator[_Part]:
    """Find what may be angles and rotations among some columns."""
    order = list(among)
    single = {i: Angle(columns[i].name, columns[i].unit) for i in order}
    for name, positions in rotation_sets([columns[i].name for i in order]):
        members = tuple(order[position] for position in positions)
        kind = _rotation(name, [columns[i] for i in members])
        if kind is not None:
            yield (_Part if isinstance(kind, EulerAngles) else _Signs)(members, kind)
            single = {i: angle for i, angle in single.items() if i not in members}
    yield from (_Part((i,), angle) for i, angle in single.items() if angle.possible)


def _rotation(name: str, columns: Sequence[Column]) -> _Kind | None:
    """Make what `rotation_sets` calls so; None when units or words say that the columns are something else."""
    if name == "quaternion":
        return Quaternions()
    if name.endswith("vector") and {column.unit for column in columns} <= {"", "rad"}:
        return RotationVectors() if name == "vector" else _EulerOrVector(columns)
    angles = [Angle(column.name, column.unit) for column in columns]
    return EulerAngles(angles) if "euler" in name and all(angle.named for angle in angles) else None


def _action_parts(actions: Sequence[Action], telemetry: Sequence[Column], state: Sequence[_Part]) -> Iterator[_Part]:
    """Find what may be angles and rotations in the actions, each with the telemetry that it follows."""
    angles = {
        bare_name(telemetry[column].name): (column, angle)
        for part in state
        for column, angle in zip(part.columns, _angles(part.kind), strict=False)
    }
    sets = {bare_name(telemetry[part.columns[0]].name): part for part in state}

    def partner(name: str, unit: str) -> tuple[int, Angle] | None:
        found = angles.get(name)
        return found if found and telemetry[found[0]].unit == unit else None

    for part in _parts(actions, (i for i, action in enumerate(actions) if action.kind in ("target", None))):
        i = part.columns[0]
        action, kinds = actions[i], {actions[column].kind for column in part.columns}
        followed = sets.get(bare_name(action.name))
        if not isinstance(part.kind, Angle):
            if followed and type(followed.kind) is type(part.kind) and None not in kinds:
                part.beside = followed.columns
            yield part
        elif other := partner(bare_name(action.name), action.unit):
            yield _Unsaid(i, action, *other) if action.kind is None else _Target(i, part.kind, *other)
        else:
            yield _Unsaid(i, action) if action.kind is None else part
    for i, action in enumerate(actions):
        if action.kind == "delta":
            of = angles.get(base_name(action.name))
            if (change := Change(action.name, action.unit, of[1] if of else None)).possible:
                yield _Changes((i,), change)


def _angles(kind: _Kind) -> Sequence[Angle]:
    return kind.angles if isinstance(kind, EulerAngles) else (kind,) if isinstance(kind, Angle) else ()


def _bare(values: Array) -> Array:
    return values[:, 0] if values.shape[1] == 1 else values


def _stretches(recording: Recording) -> Iterator[tuple[slice, slice]]:
    """Yield the rows of each stretch without a gap in time, and the actions that are told in it."""
    rows = len(recording)
    for start, stop in cuts(recording.times) if recording.times is not None else [(0, rows)]:
        yield slice(start, stop), slice(start, min(stop, rows - 1))
