"""Planning while the robot moves: in a thread of its own, for the moment at which the plan will begin."""

from threading import Condition, Thread
from typing import Final, NamedTuple

from gwm_sim.policies.live.planner import History, Planner, check_plan
from gwm_sim.policies.live.safety import Latch, Vector
from gwm_sim.policies.live.timing import Clock

LAST_PLAN: Final = 10.0  # how long the end of a run waits for it [s]: no interpreter ends well with a thread in torch


class Planned(NamedTuple):
    """A finished plan."""

    actions: Vector  # (K, A)
    seen: float  # when the frame was seen that it was made from [s]
    seconds: float  # how long it took [s]


class PlannerThread:
    """Runs a planner in a thread, one request at a time."""

    def __init__(self, planner: Planner, actions: int, deadline: float, latch: Latch, clock: Clock) -> None:
        """Prepare the thread, for plans of A actions and a deadline for each [s]; one that fails trips the latch."""
        self._planner = planner
        self._actions = actions
        self._deadline = deadline
        self._latch = latch
        self._clock = clock
        self._changed = Condition()
        self._job: History | None = None
        self._begun = 0.0
        self._result: Planned | None = None
        self._closed = False
        self._thread = Thread(target=self._work, name="planner", daemon=True)

    def start(self) -> None:
        """Begin to wait for requests."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, after the plan in progress; one that hangs is left behind."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=LAST_PLAN)

    @property
    def busy(self) -> bool:
        """Whether a plan is being made."""
        with self._changed:
            return self._job is not None

    @property
    def idle(self) -> bool:
        """Whether there is neither a plan being made nor one to be taken."""
        with self._changed:
            return self._job is None and self._result is None

    def request(self, history: History) -> None:
        """Ask for a plan; only when idle."""
        with self._changed:
            assert self._job is None and self._result is None
            self._job, self._begun = history, self._clock.now()
            self._changed.notify()

    def take(self) -> Planned | None:
        """The finished plan, once, or None."""
        with self._changed:
            result, self._result = self._result, None
            return result

    def fault(self, now: float) -> str | None:
        """A `Check`: the thread lives and keeps its deadline."""
        with self._changed:
            spent = now - self._begun if self._job is not None else 0.0
            closed = self._closed
        if not closed and not self._thread.is_alive():
            return "planner: its thread has ended"
        if spent > self._deadline:
            return f"planner: no plan after {spent:.2f} s, the deadline is {self._deadline:g} s"
        return None

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                actions = check_plan(self._planner(job), self._actions)
                with self._changed:
                    self._result = Planned(actions, job.time, self._clock.now() - self._begun)
                    self._job = None
        except BaseException as error:  # nothing that ends this thread may leave the robot moving
            self._latch.trip(f"planner: {type(error).__name__}: {error}")

    def _next(self) -> History | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._job is not None)
            return None if self._closed else self._job
