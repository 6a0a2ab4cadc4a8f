"""What stands between a plan and a motor: limits on every action, checks on everything that must be alive, and a stop
that stays.

A check is a function of the moment that says what is wrong, from time stamps alone, so that whoever asks cannot be
blocked. The watchdog asks all of them many times a second in its own thread; the control thread asks them again before
each action. None of this is an emergency stop: it is software, and can fail together with the machine that it runs on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.schema import Command, Schema
from gwm_sim.errors import ConfigError
from gwm_sim.policies.live.timing import Clock

Vector = NDArray[np.float32]

Check = Callable[[float], str | None]
"""Maps the present moment [s] to what is wrong, or None. Must return at once."""

LOOK_PERIOD: Final = 0.02  # of the watchdog [s]

STEP: Final = 0.02  # of the range of a target, by which one action may differ from the one before

HOLDING: Final = ("delta", "rate")
"""Kinds of actions of which zero holds a robot still."""


# --- the stop ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stop:
    """Why and when a run was stopped."""

    reason: str
    fault: bool
    """Whether something was wrong; False where somebody asked for it or the time was over."""
    time: float  # [s]


class Latch:
    """A stop that stays: the first reason counts, and nothing but a new run takes it back."""

    def __init__(self, clock: Clock) -> None:
        self.tripped = Event()
        """Wakes whoever waits for the stop."""
        self.stop: Stop | None = None
        """The stop, None while there is none; set by `trip` alone."""
        self._clock = clock
        self._lock = Lock()

    def trip(self, reason: str, fault: bool = True) -> None:
        """Stop, if nobody has before."""
        with self._lock:
            if self.stop is None:
                self.stop = Stop(reason, fault, self._clock.now())
        self.tripped.set()


# --- limits -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """How far one action may go: a step size for each action, and a box for commanded quantities."""

    low: Vector  # (A,)
    high: Vector  # (A,)
    commands: tuple[Command, ...]
    command_low: Vector  # (len(commands),), in the unit of the telemetry
    command_high: Vector  # (len(commands),)
    steps: Vector
    """By how much one action may differ from the one before, (A,); infinite for those that are no targets."""

    @classmethod
    def of(
        cls,
        schema: Schema,
        speed: float = 1.0,
        workspace: Mapping[str, tuple[float, float]] | None = None,
        steps: Vector | None = None,
    ) -> "Limits":
        """Limits from what a model's data declare.

        Args:
            schema: Meaning and bounds of actions and telemetry.
            speed: Share of the largest action, or of a target's largest change, in (0, 1].
            workspace: Narrower bounds of commanded telemetry by name, low and high.
            steps: Largest change of each target from one action to the next, (A,), of other actions of no meaning; None
                for `STEP` of its range.

        Raises:
            ConfigError: The speed or the workspace is impossible.
        """
        if not 0 < speed <= 1:
            raise ConfigError(f"the speed is a share of the largest action in (0, 1], got {speed}")
        names = [schema.telemetry_names[command.telemetry] for command in schema.commands]
        columns = [command.telemetry for command in schema.commands]
        low = np.array([schema.telemetry_low[column] for column in columns], np.float32)
        high = np.array([schema.telemetry_high[column] for column in columns], np.float32)
        for i, command in enumerate(schema.commands):
            if command.absolute:  # which may lie beyond what is ever measured: so a gripper presses
                ends = [command.scale * side[command.action] for side in (schema.action_low, schema.action_high)]
                low[i], high[i] = min(low[i], *ends), max(high[i], *ends)
        for name, (lower, upper) in (workspace or {}).items():
            if name not in names:
                raise ConfigError(f"the workspace has {', '.join(names) or 'no commanded telemetry'}, not {name!r}")
            i = names.index(name)
            low[i], high[i] = max(low[i], lower), min(high[i], upper)
            if not low[i] < high[i]:
                raise ConfigError(f"the workspace leaves no room for {name}: {lower} to {upper}")
        lowest, highest = (np.array(side, np.float32) for side in (schema.action_low, schema.action_high))
        targets = [command.action for command in schema.targets]
        share = np.full(len(lowest), speed, np.float32)
        share[targets] = 1.0  # of a place there is no share
        changes = STEP * (highest - lowest) if steps is None else np.array(steps, np.float32)
        largest = np.full(len(lowest), np.inf, np.float32)
        largest[targets] = speed * changes[targets]
        return cls(share * lowest, share * highest, schema.commands, low, high, largest)

    def clamp(self, action: Vector, telemetry: Vector, before: Vector | None = None) -> Vector:
        """The nearest action that keeps to the limits.

        Args:
            action: Wanted, (A,), finite.
            telemetry: What the robot reports now, (P,).
            before: What was sent last, (A,), from which targets may differ by one step; None where nothing was.

        A command that is outside its box already may stay there, so that holding remains holding, or come back.
        """
        clamped, low, high = action.copy(), self.low, self.high
        for command, lowest, highest in zip(self.commands, self.command_low, self.command_high, strict=True):
            now = telemetry[command.telemetry]
            begin = command.begins(now)
            target = begin + command.scale * clamped[command.action]
            target = min(max(target, min(lowest, now)), max(highest, now))
            clamped[command.action] = (target - begin) / command.scale
        if before is not None:  # from out of bounds a target comes back step by step
            goes_on = np.isfinite(self.steps)
            low, high = (np.where(goes_on, f(x, before), x) for f, x in ((np.minimum, low), (np.maximum, high)))
            clamped = np.where(goes_on, np.clip(clamped, before - self.steps, before + self.steps), clamped)
        return np.asarray(clamped.clip(low, high), np.float32)

    def course(self, actions: Vector, telemetry: Vector, before: Vector) -> Vector:
        """Actions (K, A) whose targets go on from what was sent `before`, (A,), step by step as `clamp` lets them."""
        going, course = np.isfinite(self.steps), []
        for action in actions:
            before = np.where(going, self.clamp(action, telemetry, before), action)
            course.append(before)
        return np.array(course, np.float32).reshape(actions.shape)


def check_hold(schema: Schema) -> None:
    """Raise ConfigError unless it is known how a robot is held still: by zero where actions are changes or rates, and
    where they are targets by where the robot is, if it is known of which telemetry they are.

    Of imported data each action says what it is. Where none does, a controller that adds actions up (`commands`) does.
    """
    kinds = _kinds(schema)
    known = {schema.action_names[command.action] for command in schema.targets}
    others = {
        name: kind
        for name, kind in zip(schema.action_names, kinds, strict=True)
        if kind not in HOLDING and name not in known
    }
    turning = [f"state.{schema.telemetry_names[command.measured]}" for command in schema.targets]
    if unwrapped := sorted(set(turning) & schema.settings.get("turns", {}).keys()):
        raise ConfigError(
            f"{', '.join(unwrapped)} are angles that the model counts beyond one turn, and the robot is told them as "
            "targets: it could be sent round. Record them without jumps, or leave out --move."
        )
    if targets := [name for name, kind in others.items() if kind is not None]:
        raise ConfigError(
            f"{', '.join(targets)} of the model's data are targets, and nothing in the telemetry follows them: what "
            "holds the robot still is not known. Record what is measured of them, learn from changes or rates, say "
            "--zero_holds where you know that zero does, or leave out --move."
        )
    if others:
        raise ConfigError(
            f"the model's data do not say whether zero holds {', '.join(others)} still: import them with --actions "
            "delta or rate if it does (of files of your own: settings['action_kinds']) and train again, say that you "
            "know it by --zero_holds, or leave out --move."
        )


def declare(schema: Schema, names: Sequence[str]) -> Schema:
    """The schema of data whose user knows that zero, for actions of some names, holds the robot still.

    Raises:
        ConfigError: There is no such action, or it is a target, so that its zero is a place.
    """
    targets = [schema.action_names[command.action] for command in schema.targets]
    for name in names:
        if name not in schema.action_names:
            raise ConfigError(f"--zero_holds names actions of {', '.join(schema.action_names)}, got {name!r}")
        if name in targets:
            raise ConfigError(f"--zero_holds {name}: it is a target that the telemetry follows, its zero is a place")
    told = ["delta" if name in names else kind for name, kind in zip(schema.action_names, _kinds(schema), strict=True)]
    return replace(schema, settings={**schema.settings, "action_kinds": told}) if names else schema


def _kinds(schema: Schema) -> Sequence[str | None]:
    """What each action is; None where nobody says."""
    commanded = {command.action: "target" if command.absolute else "delta" for command in schema.commands}
    others_are = "delta" if "delta" in commanded.values() else None
    unsaid = [commanded.get(action, others_are) for action in range(len(schema.action_names))]
    kinds: Sequence[str | None] = schema.settings.get("action_kinds", unsaid)
    return kinds


# --- dead-man ---------------------------------------------------------------------------------------------------------


class DeadMan:
    """Permission that must be given again and again: it lapses when nobody does."""

    def __init__(
        self, pressed: Callable[[], bool] | None = None, timeout: float = 0.2, clock: Clock | None = None
    ) -> None:
        """Make the switch.

        Args:
            pressed: Asked by the watchdog's thread whether permission is given; None where somebody calls `refresh`.
            timeout: How long a permission lasts [s].
            clock: The loop's.
        """
        self._pressed = pressed
        self._timeout = timeout
        self._clock = Clock() if clock is None else clock
        self._refreshed: float | None = None

    def refresh(self) -> None:
        """Give permission now."""
        self._refreshed = self._clock.now()

    def poll(self) -> None:
        """Ask `pressed`, which may take its time: never called by the control thread."""
        if self._pressed is not None and self._pressed():
            self.refresh()

    def fault(self, now: float) -> str | None:
        """A `Check`."""
        if self._refreshed is None:
            return "dead-man: never held"
        if (age := now - self._refreshed) > self._timeout:
            return f"dead-man: released {age:.2f} s ago"
        return None


def touched(path: Path) -> Callable[[], bool]:
    """A dead-man's `pressed`: whether a file was touched since it was asked last.

    The times of the file are compared with each other only: its clock may be another machine's.
    """
    last = _modified(path)

    def pressed() -> bool:
        nonlocal last
        before, last = last, _modified(path)
        return last is not None and last != before

    return pressed


def _modified(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


# --- watchdog ---------------------------------------------------------------------------------------------------------


class Watchdog:
    """Asks all checks in a thread of its own and stops the run at the first that finds something."""

    def __init__(self, latch: Latch, checks: Sequence[Check], clock: Clock, dead_man: DeadMan | None = None) -> None:
        self._latch = latch
        self._checks = tuple(checks) if dead_man is None else (*checks, dead_man.fault)
        self._clock = clock
        self._dead_man = dead_man
        self._closed = Event()
        self._thread = Thread(target=self._watch, name="watchdog", daemon=True)
        self._armed = False

    def start(self) -> None:
        """Begin to ask the dead-man; the checks count once `arm` was called."""
        self._thread.start()

    def arm(self) -> None:
        """From now on every fault stops the run."""
        self._armed = True

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._thread.join(timeout=1.0)  # a dead-man that hangs is left behind

    def look(self) -> None:
        """Ask every check once."""
        if not self._armed:
            return
        now = self._clock.now()
        for check in self._checks:
            if reason := check(now):
                self._latch.trip(reason)

    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                if self._dead_man is not None:
                    self._dead_man.poll()
                self.look()
            except Exception as error:  # a watchdog that died must not go unnoticed
                self._latch.trip(f"watchdog: {type(error).__name__}: {error}")
            self._clock.wait(self._closed, LOOK_PERIOD)
