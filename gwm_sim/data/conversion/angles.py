"""Which columns are angles, by their names and by what their numbers do, and how they become continuous.

An angle of +pi and one of -pi are the same direction. Where a recorder keeps angles within one turn they jump there,
and a model that learns changes from row to row would see the arm spin. The numbers of an angle may be moved by whole
turns: so that it does not jump, and so that one pose has one number in every episode.

What is no angle is left as it is. A name such as roll or heading says that a column is one; of any other column that
could be one the numbers must say so: it stays within one turn, moves in small steps, and jumps from one end of the
turn to the other.
"""

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from gwm_sim.data.reading.checks import Array

TURNS = {"rad": 2 * np.pi, "radian": 2 * np.pi, "deg": 360.0, "degree": 360.0, "°": 360.0, "turn": 1.0, "rev": 1.0}
"""One turn, by unit."""

_ORIENTATION = {"roll", "pitch", "yaw", "rx", "ry", "rz", "euler", "rpy", "heading", "azimuth", "bearing"}
"""Words for angles of a body in space, which mean the same when moved by a turn, however far they go."""

_PLANAR = {"theta", "angle", "rot", "rotation"}
"""Words for angles that may as well count turns, of a valve for example, when they go beyond one."""

_OF_A_JOINT = set(
    "joint joints motor servo j q qpos pos shoulder elbow wrist hip knee ankle waist torso neck head thumb steering "
    "wheel pan tilt flex lift".split()
)
"""Words for joints: many have an end, and a joint at +2.9 rad is not where it is at -3.4. Numbers decide."""

_NO_ANGLE = set(
    "sin cos vel velocity speed omega rate acc accel acceleration torque effort force current voltage temperature pwm "
    "time timestamp clock phase count counter index idx step frame reward quat quaternion qw qx qy qz "
    "vx vy vz wx wy wz".split()
)
"""Words for what is never an angle."""

_NO_ANGLE_ALONE = set("grip gripper grasp finger fingers jaw claw hand width opening suction".split())
"""Words for what is no angle unless it says so, as gripper_yaw does."""

_TINY = 1e-3
"""Share of a turn by which rounding may go beyond its ends."""
_SMALL = 0.02
"""Share of a turn that is a small step, whatever the other steps are."""
_FEW_LEVELS = 4
"""Different values of what is switched, not turned."""


def turns(unit: str) -> tuple[float, ...]:
    """Return what one turn may be in a unit: of radians or degrees where none is given; nothing for other units."""
    bare = unit.strip().lower()
    if not bare:
        return 2 * np.pi, 360.0
    turn = TURNS.get(bare) or TURNS.get(bare.removesuffix("s"))
    return (turn,) if turn else ()


def words(name: str) -> set[str]:
    """Split a name as `kLeftWristRoll` or `eef.roll_1` into its words, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def bare_name(name: str) -> str:
    """Return a name without what says whose it is, by which targets and changes find their telemetry."""
    return re.sub(r"^(target|goal|commanded|command|cmd|desired|action|state|observation|obs)[._]", "", name.lower())


def base_name(name: str) -> str:
    """Return what a change is the change of: roll for droll, d_roll and delta_roll."""
    return re.sub(r"^(delta|diff|d)[._]?", "", bare_name(name))


def rotation_sets(names: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    """Find the columns that are one rotation together, by their names.

    Returns:
        What each is, `quaternion`, `vector`, `euler` or, of rx, ry and rz, `euler or vector`; and its columns in the
        order w x y z, x y z or roll pitch yaw.
    """
    found: dict[tuple[str, str], dict[str, int]] = {}
    for i, name in enumerate(names):
        match = re.fullmatch(r"(.*?)[._/ ]?(roll|pitch|yaw|[wxyz0-3])", name.lower())
        if match and (kind := _rotation(*match.groups())):
            found.setdefault((kind, match[1]), {})[match[2]] = i
    sets = []
    for (kind, _), columns in found.items():
        orders = ("wxyz", "0123") if kind == "quaternion" else (("roll", "pitch", "yaw"), "xyz", "012")
        sets += [(kind, tuple(columns[part] for part in order)) for order in orders if set(order) == set(columns)]
    return sets


def _rotation(stem: str, part: str) -> str | None:
    """Return what a column is a component of, by the beginning and the end of its name."""
    last = re.split(r"[._/ ]", stem)[-1]
    if part in ("roll", "pitch", "yaw") or (re.search("euler|rpy", stem) and part != "w"):
        return "euler"
    if "quat" in stem or (last == "q" and part in "wxyz"):
        return "quaternion"
    if re.search("rot_?vec|axis_?angle|rotation_?vector", stem) or (last == "a" and part in "xyz"):
        return "vector"
    return "euler or vector" if last == "r" and part in "xyz" else None


def unwrapped(values: Array, turn: float) -> Array:
    """Move each value (R,) by the whole turns that bring it nearest to the one before."""
    steps = np.round(np.diff(values) / turn)
    return np.asarray(values - turn * np.concatenate([[0.0], np.cumsum(steps)]))


def nearest_turn(values: Array, reference: Array | float, turn: float) -> Array:
    """Move each value by the whole turns that bring it nearest to its reference."""
    return np.asarray(values - turn * np.round((values - reference) / turn))


class _Course:
    """What a column did, if some number is one turn."""

    def __init__(self, turn: float) -> None:
        self.turn = turn
        self.jumps = 0
        """Steps of more than half a turn."""
        self.worst = 0.0
        """Largest step that is left of a jump without its turn."""
        self.quick = 0.0
        """A large step of those that are no jumps."""
        self.slowest, self.fastest = np.inf, -np.inf
        """Range of all steps, without whole turns."""
        self.phase = 0j
        """Sum of all rows as directions."""

    def look(self, values: Array, steps: Array) -> None:
        self.phase += np.exp(2j * np.pi / self.turn * values).sum()
        if not len(steps):
            return
        rests = steps - self.turn * np.round(steps / self.turn)
        jumped = np.abs(steps) > self.turn / 2
        self.jumps += int(jumped.sum())
        self.worst = max(self.worst, float(np.abs(rests[jumped]).max(initial=0)))
        if not jumped.all():
            self.quick = max(self.quick, float(np.quantile(np.abs(steps[~jumped]), 0.95)))
        self.slowest, self.fastest = min(self.slowest, float(rests.min())), max(self.fastest, float(rests.max()))


class Angle:
    """A column that may be an angle: first all its stretches are looked at, then each can be made continuous."""

    def __init__(self, name: str, unit: str = "", named: bool | None = None) -> None:
        """Take what the name says; `named` False lets the numbers alone decide."""
        said = words(name)
        oriented = bool(said & _ORIENTATION) and not said & _OF_A_JOINT
        planar = bool(said & _PLANAR) and not said & _OF_A_JOINT
        self.named = (oriented or planar) if named is None else named
        self._oriented = oriented
        self._unit = unit
        no_angle = said & _NO_ANGLE or (said & _NO_ANGLE_ALONE and not (oriented or planar))
        self._courses = [] if no_angle else [_Course(turn) for turn in turns(unit)]
        self._low, self._high, self._sum, self._rows, self._levels = np.inf, -np.inf, 0.0, 0, 0

    @property
    def possible(self) -> bool:
        """Whether the name and the unit leave it open."""
        return bool(self._courses)

    def look(self, values: Array) -> None:
        """Take a stretch of neighbouring rows into account, (R,) float64."""
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        self._sum += float(values.sum())
        self._rows += len(values)
        self._levels = max(self._levels, len(np.unique(values[:64])))
        steps = np.diff(values)
        for course in self._courses:
            course.look(values, steps)

    @cached_property
    def turn(self) -> float | None:
        """One turn in the unit of the column; None when it is no angle, or not for certain."""
        course = self._course
        return None if course is None else course.turn

    @cached_property
    def _course(self) -> _Course | None:
        return next((course for course in self._courses if self._rows and self._is_angle(course)), None)

    @property
    def clock(self) -> bool:
        """Whether it wraps as an angle does, but never goes back: as likely a clock."""
        return not self.named and any(self._wraps(course) and _one_way(course) for course in self._courses)

    def _is_angle(self, course: _Course) -> bool:
        whole = self._high - self._low <= course.turn * (1 + _TINY)
        if not self.named:
            return self._wraps(course) and not _one_way(course)
        if self._unit:
            return whole or self._oriented
        jumps = course.jumps > 0 and course.worst <= course.turn / 4
        return whole and (jumps or self._reaches_both_ends(course, _SMALL * course.turn))

    def _wraps(self, course: _Course) -> bool:
        small = _SMALL * course.turn
        return (
            course.jumps > 0
            and self._levels > _FEW_LEVELS
            and course.worst <= min(max(4 * course.quick, small), course.turn / 4)
            and self._reaches_both_ends(course, max(course.quick, small))
        )

    def _reaches_both_ends(self, course: _Course, slack: float) -> bool:
        """Whether the values fill one turn that begins at minus half a turn or at 0, and stay within it."""
        tiny = _TINY * course.turn
        return any(
            -tiny <= self._low - begin <= slack and -tiny <= begin + course.turn - self._high <= slack
            for begin in (-course.turn / 2, 0.0)
        )

    def is_near_zero(self, turn: float) -> bool:
        """Whether nearly all rows are 0, up to whole turns."""
        directions = [course.phase / self._rows for course in self._courses if course.turn == turn and self._rows]
        return any(abs(mean) > 0.9 and abs(np.angle(mean)) < np.pi / 10 for mean in directions)

    @cached_property
    def centre(self) -> float:
        """The circular mean of all rows, in the turn in which the rows are.

        Where they lie on both sides of the end of a turn, it is the one from -135 to 225 degrees: so grippers that
        point down get the same turn in every import.
        """
        course = self._course
        assert course is not None
        mean = float(np.angle(course.phase)) * course.turn / (2 * np.pi)
        if course.jumps or self._reaches_both_ends(course, 5 * _SMALL * course.turn):
            return mean + course.turn if mean < -0.375 * course.turn else mean
        return float(nearest_turn(np.array(mean), self._sum / self._rows, course.turn))

    def settled(self, values: Array, turn: float) -> Array:
        """Move a continuous stretch (R,) as a whole to the turn nearest to the centre."""
        return values if self.turn is None else values - turn * np.round((values.mean() - self.centre) / turn)

    def continuous(self, values: Array, beside: Array | None = None) -> Array:
        """Return a stretch without jumps, (R,), or each row in the turn nearest to that of another column."""
        if self.turn is None:
            return values
        if beside is not None:
            return nearest_turn(values, beside, self.turn)
        return self.settled(unwrapped(values, self.turn), self.turn)


def _one_way(course: _Course) -> bool:
    return course.slowest >= 0 or course.fastest <= 0


class EulerAngles:
    """Roll, pitch and yaw of a body. (r + pi, pi - p, y + pi) is the same as (r, p, y), and follows it at the pole."""

    def __init__(self, angles: Sequence[Angle]) -> None:
        """Take the three columns, in this order."""
        self.angles = tuple(angles)
        self.locked = 0
        """Rows near the pole, of those made continuous, at which they still jump."""

    def look(self, values: Array) -> None:
        """Take a stretch of neighbouring rows into account, (R, 3) float64."""
        for angle, column in zip(self.angles, values.T, strict=True):
            angle.look(column)

    @cached_property
    def turn(self) -> float | None:
        """One turn in the unit of all three; None when they are not known to be angles."""
        known = {angle.turn for angle in self.angles} - {None}
        return known.pop() if len(known) == 1 else None

    def continuous(self, values: Array, beside: Array | None = None) -> Array:
        """Return a stretch without jumps, (R, 3), or each row in the form nearest to that of three other columns."""
        turn = self.turn
        if turn is None:
            return values
        plain = np.stack([unwrapped(column, turn) for column in values.T], axis=1)
        other = plain * (1, -1, 1) + turn / 2
        if beside is not None:
            forms = [nearest_turn(form, beside, turn) for form in (plain, other)]
            away = [np.abs(form - beside).max(axis=1) for form in forms]
            return np.where(((away[0] > turn / 4) & (away[1] < turn / 8))[:, None], forms[1], forms[0])
        steps = np.abs(np.diff(plain, axis=0)).max(axis=1)
        across = np.abs(nearest_turn(other[1:] - plain[:-1], 0.0, turn)).max(axis=1)
        jumps = steps > turn / 4
        swaps = jumps & (across < turn / 8)
        near_pole = np.abs(np.cos(2 * np.pi / turn * plain[1:, 1])) < 0.2
        self.locked += int((jumps & ~swaps & near_pole).sum())
        swapped = np.concatenate([[0], np.cumsum(swaps) % 2])[:, None] == 1
        whole = [unwrapped(column, turn) for column in np.where(swapped, other, plain).T]
        return np.stack([angle.settled(c, turn) for angle, c in zip(self.angles, whole, strict=True)], axis=1)


class Change:
    """A column that may be the change of an angle: naive differences are a whole turn off where the angle wrapped."""

    def __init__(self, name: str, unit: str = "", of: Angle | None = None) -> None:
        """Take what the name says; `of` is the column that it changes, where that may be an angle."""
        angle = Angle(base_name(name), unit)
        self._named = angle.named and bool(unit)
        self._of = of
        self._turns = turns(unit) if angle.possible else ()
        self._rows, self._levels = 0, 0
        self._wrong = [(0, 0.0, 0.0)] * len(self._turns)  # rows beyond half a turn, their worst rest, largest other

    @property
    def possible(self) -> bool:
        """Whether the name and the unit leave it open."""
        return bool(self._turns)

    def look(self, values: Array) -> None:
        """Take a stretch of neighbouring rows into account, (R,) float64."""
        self._rows += len(values)
        self._levels = max(self._levels, len(np.unique(values[:64])))
        for i, turn in enumerate(self._turns):
            count, worst, largest = self._wrong[i]
            beyond = np.abs(values) > turn / 2
            rests = np.abs(np.abs(values[beyond]) - turn)
            others = np.abs(values[~beyond]).max(initial=largest)
            self._wrong[i] = count + int(beyond.sum()), float(rests.max(initial=worst)), float(others)

    @cached_property
    def turn(self) -> float | None:
        """One turn in the unit of the column, where some changes are one too many; else None."""
        for turn, (count, worst, largest) in zip(self._turns, self._wrong, strict=True):
            rare = count <= 0.2 * self._rows
            certain = self._named or (self._of is not None and self._of.turn == turn)
            small = worst <= turn / 4 if certain else max(worst, largest / 2) <= turn / 20
            if count and rare and small and (certain or self._levels > _FEW_LEVELS):
                return turn
        return None

    def continuous(self, values: Array, beside: Array | None = None) -> Array:
        """Return the changes without whole turns, (R,)."""
        return values if self.turn is None else nearest_turn(values, 0.0, self.turn)
