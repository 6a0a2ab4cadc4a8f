"""Time for the live loop: one clock that all threads share, and moments at a fixed rate."""

import math
import time
from threading import Event


class Clock:
    """Monotonic time. All threads of a loop take theirs here, so that tests can pass it at will."""

    def now(self) -> float:
        """The present moment [s]; only differences mean something."""
        return time.monotonic()

    def wait(self, event: Event, seconds: float) -> bool:
        """Wait for an event, at most so long; return whether it has come."""
        return event.wait(max(0.0, seconds))


class Schedule:
    """Moments at a fixed rate.

    Whoever is late misses moments and goes on at the next one: two actions are never sent in a burst to catch up.
    """

    def __init__(self, rate: float, start: float) -> None:
        """Begin at the moment `start`, at `rate` moments per second."""
        self.period = 1.0 / rate
        self.next = start

    def advance(self, now: float) -> int:
        """Go to the first moment that is not over yet, and return how many were missed."""
        self.next += self.period
        missed = max(0, math.ceil((now - self.next) / self.period))
        self.next += missed * self.period
        return missed
