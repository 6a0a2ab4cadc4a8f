"""The live loop: look, act at a fixed rate, and plan meanwhile.

Four threads: the camera's, the planner's, the watchdog's and the control thread, which alone talks to the robot. It
sleeps until the next moment of its schedule or until the latch trips, whichever comes first, so a fault that anybody
finds becomes a hold at once. A hold is the action zero, and for a robot that is told where to be the pose that it was
measured in when the hold began, sent again and again until the run ends; a gripper goes on pressing.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final

import numpy as np

from gwm_sim.data.images import fit
from gwm_sim.data.schema import Command, Schema
from gwm_sim.errors import ConfigError
from gwm_sim.policies.live.camera import Camera, Picture
from gwm_sim.policies.live.planner import History, Planner
from gwm_sim.policies.live.planner_thread import PlannerThread
from gwm_sim.policies.live.recorder import LiveRecorder
from gwm_sim.policies.live.robots import Robot, RobotError, read_telemetry
from gwm_sim.policies.live.safety import DeadMan, Latch, Limits, Stop, Vector, Watchdog, check_hold
from gwm_sim.policies.live.timing import Clock, Schedule
from gwm_sim.policies.planning.plan_step import ContextWindow

REFRESH: Final = 0.03  # of whatever is shown [s]
ARM_POLL: Final = 0.02  # [s]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What whoever starts a run decides."""

    seconds: float | None = None
    """Length of the run [s]; by default until it is stopped."""
    move: bool = False
    """Let the robot move. Without it nothing is sent."""
    plan_deadline: float = 1.0
    """A plan that takes longer stops the run [s]."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig(RunOptions):
    """How a run goes, and when it is stopped."""

    rate: float = 10.0
    """Actions per second; that of the model's data."""
    lead: int = 5
    """The next plan is begun when so many steps of the last one are left."""
    max_plan_age: float = 2.0
    """An action is a fault when the picture that it was planned from is older than this [s]."""
    max_overruns: int = 10
    """So many late steps in a row are a fault."""
    stall: float = 0.15
    """So much longer than its period may a step take [s]; more is a fault."""
    arming: float = 30.0
    """Time for everything to be ready before the first action [s]: first plan, dead-man."""
    settle: float = 1.0
    """How long the hold is repeated before the run ends [s]."""

    def __post_init__(self) -> None:
        for name in ("rate", "plan_deadline", "max_plan_age", "stall", "arming"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"seconds must be positive, got {self.seconds}")


@dataclass(frozen=True)
class Status:
    """The loop at this moment, for whoever watches."""

    frame: Picture | None  # (H, W, 3), as the model sees it
    phase: str
    """One of arming, running, waiting for a plan, stopped."""
    steps: int
    stop: Stop | None


@dataclass(frozen=True)
class Report:
    """What a run was like."""

    stop: Stop
    steps: int
    """Control steps before the stop."""
    sent: int
    """Actions sent to the robot, those that hold included."""
    seconds: float
    """From the first step to the stop [s]."""
    overruns: int
    """Moments of the schedule that were missed."""
    waits: int
    """Steps without an action, while a plan was pending."""
    plan_seconds: tuple[float, ...]
    """Duration of every plan [s]."""
    frame_ages: tuple[float, ...]
    """Age of the picture at every step [s]."""


class LiveLoop:
    """Joins a camera, a robot and a planner."""

    _held: Vector | None = None
    """What is sent while a hold lasts."""
    _last: Vector | None = None
    """What was sent last."""

    def __init__(
        self,
        camera: Camera,
        robot: Robot,
        planner: Planner,
        schema: Schema,
        size: int | tuple[int, int],
        config: LoopConfig | None = None,
        limits: Limits | None = None,
        dead_man: DeadMan | None = None,
        recorder: LiveRecorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make the loop.

        Args:
            camera: Started.
            robot: Connected.
            planner: Makes the plans, in its own thread.
            schema: Meaning of telemetry and actions.
            size: Height and width of the frames that the planner sees [px], or one number for both.
            config: How the run goes.
            limits: What one action may do; None takes those that the schema declares.
            dead_man: Must be held all the time; None does without.
            recorder: Is filled with the run.
            clock: Of camera and dead-man too.

        Raises:
            ConfigError: It is to move a robot of which it is not known what holds it still.
        """
        self.config = LoopConfig() if config is None else config
        if self.config.move:
            check_hold(schema)
        self.clock = Clock() if clock is None else clock
        self.latch = Latch(self.clock)
        self._camera = camera
        self._robot = robot
        self._schema = schema
        self._size = (size, size) if isinstance(size, int) else size
        self._limits = Limits.of(schema) if limits is None else limits
        self._dead_man = dead_man
        self._recorder = recorder
        width = len(schema.action_names)
        self._planning = PlannerThread(planner, width, self.config.plan_deadline, self.latch, self.clock)
        checks = (camera.fault, self._planning.fault, self._stalled)
        self._watchdog = Watchdog(self.latch, checks, self.clock, dead_man)
        self._control = Thread(target=self._run, name="control", daemon=True)
        self._finished = Event()

        self._window = ContextWindow(schema)
        self._telemetry = np.zeros(len(schema.telemetry_names), np.float32)  # of the last frame
        self._queue: deque[tuple[Vector, float]] = deque()  # actions, and when the picture was seen behind them
        self._seen = math.nan  # when the last frame was seen
        self._shown: Picture | None = None
        self._phase = "arming"
        self._heart = math.inf  # when the control thread began its last step
        self._begun = math.nan
        self._steps = self._sent = self._overruns = self._waits = 0
        self._plan_seconds: list[float] = []
        self._frame_ages: list[float] = []

    def run(self, show: Callable[[Status], None] | None = None) -> Report:
        """Run to the end, which is a hold; call it once, from the main thread if `show` needs that.

        Args:
            show: Called some thirty times a second. What it raises is a fault like any other, which the report names.
        """
        self._watchdog.start()
        self._planning.start()
        self._control.start()
        try:
            while not self.clock.wait(self._finished, REFRESH):
                if show is not None:
                    show(self.status())
        except KeyboardInterrupt:
            self.stop("interrupted by the user")
        except Exception as error:
            self.latch.trip(f"display: {type(error).__name__}: {error}")
        except BaseException:
            self.latch.trip("the display ended the program")
            raise
        finally:
            self._control.join()
            self._watchdog.close()
            self._planning.close()
        return self._report()

    def stop(self, reason: str) -> None:
        """Hold and end the run."""
        self.latch.trip(reason, fault=False)

    def status(self) -> Status:
        """The loop at this moment."""
        return Status(self._shown, self._phase, self._steps, self.latch.stop)

    # --- the control thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._arm():
                self._drive()
                self._hold()
        except BaseException as error:  # a mistake of ours must not leave the robot moving either
            self.latch.trip(f"control: {type(error).__name__}: {error}")
            if self._steps:
                self._send(self._still())
        finally:
            self._phase = "stopped"
            self._finished.set()

    def _arm(self) -> bool:
        """Wait for permission and a first plan; return whether the robot may be driven."""
        until = self.clock.now() + self.config.arming
        if not self._wait_for(lambda: self._forbidden() is None, until):
            self.latch.trip(f"not armed: {self._forbidden()}")
            return False
        if not self._observe():
            return False
        self._planning.request(self._history())
        if not self._wait_for(lambda: not self._planning.busy, until):
            self.latch.trip(f"not armed: no plan within {self.config.arming:g} s")
            return False
        self._planning.take()  # made to warm up: by now its picture is old
        self._begun = self._heart = self.clock.now()
        self._watchdog.arm()
        self._watchdog.look()
        return not self.latch.tripped.is_set()

    def _wait_for(self, ready: Callable[[], bool], until: float) -> bool:
        while not ready():
            if self.clock.now() > until or self.clock.wait(self.latch.tripped, ARM_POLL):
                return False
        return True

    def _forbidden(self) -> str | None:
        return self._dead_man.fault(self.clock.now()) if self._dead_man is not None else None

    def _drive(self) -> None:
        """Act at the fixed rate until the latch trips."""
        schedule = Schedule(self.config.rate, self.clock.now())
        late = 0
        self._phase = "running"
        while not self.latch.tripped.is_set():
            self._step()
            missed = schedule.advance(self.clock.now())
            self._overruns += missed
            late = late + 1 if missed else 0
            if late >= self.config.max_overruns:
                self.latch.trip(f"control: {late} steps in a row were too late for {self.config.rate:g} Hz")
            self.clock.wait(self.latch.tripped, schedule.next - self.clock.now())

    def _step(self) -> None:
        """Observe, choose, send."""
        self._heart = now = self.clock.now()
        if self.config.seconds is not None and now - self._begun >= self.config.seconds:
            self.stop("the time is over")
        if self._camera.ended:
            self.stop("the video is over")
        if not self._observe():
            return
        action = self._choose()
        self._watchdog.look()  # the last thing before the robot moves, whatever the other threads are doing
        if self.latch.tripped.is_set():
            return
        self._steps += 1
        self._send(action if action is self._held else self._limits.clamp(action, self._telemetry, self._before()))

    def _observe(self) -> bool:
        """Take in what camera and robot say now; a robot that does not answer stops the run."""
        try:
            self._telemetry = read_telemetry(self._robot, self._schema)
        except Exception as error:  # whatever a driver raises
            self.latch.trip(f"robot: {type(error).__name__}: {error}")
            if self._recorder is not None:
                self._recorder.close()
            return False
        shot = self._camera.latest()
        assert shot is not None, "the camera was started"
        self._frame_ages.append(self.clock.now() - shot.time)
        self._seen = shot.time
        self._shown = fit(shot.frame, self._size)
        self._window.see(self._shown, self._telemetry)
        if self._recorder is not None:
            self._recorder.see(self._shown, self._telemetry)
        return True

    def _choose(self) -> Vector:
        """The next action of the plan, or a hold while there is none; ask for the next plan in time."""
        if (planned := self._planning.take()) is not None:
            self._plan_seconds.append(planned.seconds)
            before = self._queue[-1][0] if self._queue else self._before()
            course = self._limits.course(planned.actions, self._telemetry, before)
            self._queue.extend((action, planned.seen) for action in course)
        if len(self._queue) <= self.config.lead and self._planning.idle:
            self._planning.request(self._history())
        if not self._queue:
            self._phase = "waiting for a plan"
            self._waits += 1
            return self._still(self._schema.targets)
        self._phase, self._held = "running", None
        action, seen = self._queue.popleft()
        if (age := self.clock.now() - seen) > self.config.max_plan_age:
            self.latch.trip(f"planner: the plan was made from a picture that is {age:.2f} s old")
        return action

    def _history(self) -> History:
        still = self._schema.hold(self._telemetry)
        pending = [action if self.config.move else still for action, _ in self._queue]
        until = np.array(pending, np.float32).reshape(-1, len(still))
        return History(*self._window.arrays(), until, self._seen)

    def _send(self, action: Vector) -> None:
        """Send an action if the robot may move, and remember what it really does."""
        done = self._schema.hold(self._telemetry)
        if self.config.move:
            self._sent += 1
            try:
                wanted = dict(zip(self._schema.action_names, action.tolist(), strict=True))
                sent = self._robot.send_action(dict(wanted))
                done = np.array([sent.get(name, value) for name, value in wanted.items()], np.float32)
                if not np.isfinite(done).all():
                    raise RobotError(f"it says that it was sent {done.tolist()}")
            except Exception as error:  # whatever a driver raises
                self.latch.trip(f"robot: {type(error).__name__}: {error}")
                done = action  # perhaps
            self._last = done
        self._window.act(done)
        if self._recorder is not None:
            self._recorder.act(done)

    def _hold(self) -> None:
        """Hold until the robot has settled, at once."""
        self._phase = "stopped"
        schedule = Schedule(self.config.rate, self.clock.now())
        until = schedule.next + self.config.settle
        never = Event()
        self._held = None  # where it is now
        while self.clock.now() < until:
            self._send(self._still())
            schedule.advance(self.clock.now())
            self.clock.wait(never, schedule.next - self.clock.now())
            self._observe()

    def _before(self) -> Vector:
        """What was sent last, or what holds the robot where it is."""
        return self._schema.hold(self._telemetry) if self._last is None else self._last

    def _still(self, going: Sequence[Command] | None = None) -> Vector:
        """What holds the robot where it was when the hold began: asked for anew, it would sink with every step. Targets
        that are `going` stay what they were, by default those of grippers, which hold a thing by more than is measured.
        """
        if self._held is None:
            self._held, before = self._schema.hold(self._telemetry), self._before()
            grips = [command for command in self._schema.targets if command.measured in self._schema.gripper]
            for command in grips if going is None else going:
                self._held[command.action] = before[command.action]
        return self._held

    def _stalled(self, now: float) -> str | None:
        """A `Check` of the control thread itself."""
        age = now - self._heart
        return f"control: no step for {age:.2f} s" if age > 1.0 / self.config.rate + self.config.stall else None

    def _report(self) -> Report:
        stop = self.latch.stop
        assert stop is not None, "a run ends by a stop"
        return Report(
            stop=stop,
            steps=self._steps,
            sent=self._sent,
            seconds=max(0.0, stop.time - self._begun) if math.isfinite(self._begun) else 0.0,
            overruns=self._overruns,
            waits=self._waits,
            plan_seconds=tuple(self._plan_seconds),
            frame_ages=tuple(self._frame_ages),
        )
