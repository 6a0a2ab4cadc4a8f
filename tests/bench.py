"""A camera, a robot and a planner that can be made to fail, and a live loop around them.

Threads are real. Time is not, wherever a duration is judged: it passes in steps of 5 ms, each when every thread has
done what was due, so that a busy machine changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Event, Thread, current_thread
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recordings import make_camera

from gwm_sim.data.schema import Command, Schema
from gwm_sim.policies.live.camera import Camera, Picture
from gwm_sim.policies.live.loop import LiveLoop, LoopConfig, Report, Status
from gwm_sim.policies.live.planner import History
from gwm_sim.policies.live.recorder import LiveRecorder
from gwm_sim.policies.live.robots import NullRobot
from gwm_sim.policies.live.safety import DeadMan
from gwm_sim.policies.live.timing import Clock

SIZE = 32
SCHEMA = Schema(
    env_id="Bench-v0",
    rate=10.0,
    telemetry_names=("x", "y", "z", "cmd_x", "cmd_y"),
    telemetry_units=("m",) * 5,
    telemetry_low=(0.0,) * 5,
    telemetry_high=(1.0,) * 5,
    action_names=("dx", "dy", "gripper"),
    action_low=(-1.0,) * 3,
    action_high=(1.0,) * 3,
    cameras={"front": make_camera(SIZE)},
    commands=(
        Command(telemetry=3, action=0, scale=0.1, measured=0),
        Command(telemetry=4, action=1, scale=0.1, measured=1),
    ),
    effector=(0, 1, 2),
    tasks=("reach", "stack"),
    task="stack",
    env_kwargs={"rendering": "fast"},
)

JOINTS = tuple(f"joint_{i}" for i in range(6))
ABSOLUTE = Schema(
    env_id="Arm-v0",
    rate=10.0,
    telemetry_names=JOINTS,
    telemetry_units=("rad",) * 6,
    telemetry_low=(-1.0,) * 6,
    telemetry_high=(3.0,) * 6,
    action_names=tuple(f"{name}.pos" for name in JOINTS),
    action_low=(-1.0,) * 6,
    action_high=(3.0,) * 6,
    cameras={"front": make_camera(SIZE)},
    commands=tuple(Command(telemetry=i, action=i, scale=1.0, measured=i, absolute=True) for i in range(6)),
    settings={"action_kinds": ["target"] * 6},
)
"""A robot that is told the angles of its joints, which rests at 1."""
SAGS = 0.001
"""By how much it sinks below what it is told, with every action."""

HOLD_WITHIN = 0.3  # [s]
BEFORE = 0.4  # how long the loops run before the fault [s]

Actions = NDArray[np.float32]


class StepClock(Clock):
    """Time that passes in steps, each when all threads have done what was due in the last.

    The threads and their order of events are real, only the durations do not depend on how busy the machine is.
    """

    STEP = 0.005  # [s]
    THREADS = ("camera", "control", "watchdog")

    def __init__(self) -> None:
        self.thinking: Callable[[], bool] = lambda: False
        """Whether the planner is at work, which takes no time here."""
        self.stopped: Callable[[], bool] = lambda: False
        """Whether the run is stopped: from then on nobody waits for whoever shows it."""
        self._time = 100.0
        self._changed = Condition()
        self._waiting: dict[Thread, tuple[float, Event]] = {}
        self._threads: set[Thread] = set()
        self._display: Thread | None = None
        self._missing = set(self.THREADS)  # those that have not waited yet
        self._closed = Event()

    def now(self) -> float:
        return self._time

    def wait(self, event: Event, seconds: float) -> bool:
        me, due = current_thread(), self._time + max(self.STEP, seconds)
        with self._changed:
            if me.name in self.THREADS or me is self._display:
                self._threads.add(me)
                self._missing.discard(me.name)
            self._waiting[me] = due, event
            self._changed.notify_all()
            while not (event.is_set() or self._time >= due or self._closed.is_set()):
                self._changed.wait(0.01)
            del self._waiting[me]
        return event.is_set()

    def waits(self, thread: Thread | None) -> bool:
        """Whether a thread waits for a moment of this clock."""
        return thread in self._waiting

    def __enter__(self) -> StepClock:
        self._display = current_thread()
        self._missing.add(self._display.name)
        Thread(target=self._pass, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()

    def _pass(self) -> None:
        while not self._closed.is_set():
            with self._changed:
                self._time += self.STEP
                self._changed.notify_all()
                while self._busy() and not self._closed.is_set():
                    self._changed.wait(0.001)

    def _busy(self) -> bool:
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        due = self._threads | set(self._waiting)
        if self.stopped():
            due -= {self._display}
        waits = [self._waiting.get(thread, (0.0, None)) for thread in due]
        late = any(self._time >= until or (event and event.is_set()) for until, event in waits)
        return bool(self._missing) or self.thinking() or late


class Scene:
    """A camera of 30 Hz that can be pulled away or frozen."""

    def __init__(self, clock: Clock) -> None:
        self.gone = self.frozen = False
        self.back = Event()  # whether it is no longer gone
        self.error: Exception | None = None
        self._clock = clock
        self._rng = np.random.default_rng(0)
        self._frame: Picture | None = None

    def read(self) -> Picture | None:
        if self._frame is not None:
            self._clock.wait(Event(), 1 / 30)
        if self.error is not None:
            raise self.error
        if self.gone and not self.back.is_set():
            return None
        if not self.frozen:
            self._frame = self._rng.integers(0, 256, (48, 64, 3), np.uint8)
        return self._frame


class Arm(NullRobot):
    """A robot that writes down what it is sent, and may fail or be slow."""

    def __init__(self, clock: Clock, schema: Schema) -> None:
        super().__init__(schema)
        self.sent: list[tuple[float, Actions]] = []
        self.moved: list[bool] = []  # whether each of these was no hold
        self.measured = self._telemetry.copy()  # what it reported last
        self.broken = False
        self.delay = 0.0  # of every observation [s]
        self.disturb: Callable[[], None] = lambda: None  # called once, when it has moved for a while
        self.disturbed: float | None = None
        self._clock = clock

    def get_observation(self) -> dict[str, float]:
        if self.delay:
            self._clock.wait(Event(), self.delay)
        if self.broken:
            raise ConnectionError("the cable is out")
        self.measured = self._telemetry.copy()
        return super().get_observation()

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        now = self._clock.now()
        self.sent.append((now, np.array(list(action.values()), np.float32)))
        still = self._schema.hold(self.measured)
        self.moved.append(not np.allclose(self.sent[-1][1], still, atol=5 * SAGS))
        if self.disturbed is None and now - self.sent[0][0] > BEFORE:
            self.disturbed = now
            self.disturb()
        sent = super().send_action(action)
        for command in self._schema.targets:
            self._telemetry[command.measured] -= SAGS
        return sent


class Brain:
    """A planner that always wants the same motion, and may fail, hang or take its time."""

    def __init__(self, clock: Clock, schema: Schema) -> None:
        self.error: BaseException | None = None
        self.failed: float | None = None  # when it failed or hung for the first time
        self.result: Any = np.full((5, len(schema.action_names)), 0.1, np.float32)
        self.hangs = False
        self.delay = 0.0  # of every plan [s]
        self.resting = False  # for good, as one that hangs
        self.thread: Thread | None = None
        self.freed = Event()  # from hanging
        self.seen: list[History] = []
        self._clock, self._schema = clock, schema

    def __call__(self, history: History) -> Actions:
        self.seen.append(history)
        if self.failed is None and (self.error or self.hangs or not np.isfinite(self.result).all()):
            self.failed = self._clock.now()
        if self.error is not None:
            raise self.error
        self.thread = current_thread()
        self.resting = self.hangs
        if self.hangs:
            self.freed.wait(30)
        self.resting = False
        if self.delay:
            self._clock.wait(Event(), self.delay)
        if not self._schema.targets:
            return np.asarray(self.result)
        last = history.pending[-1] if len(history.pending) else self._schema.hold(history.telemetry[-1])
        return np.asarray(last + 0.1 * np.cumsum(self.result, axis=0), np.float32)  # places, a little further each


class Bench:
    """A loop with everything around it."""

    def __init__(self, dead_man: bool = False, schema: Schema = SCHEMA, **config: Any) -> None:
        self.clock = StepClock()
        self.scene, self.arm, self.brain = Scene(self.clock), Arm(self.clock, schema), Brain(self.clock, schema)
        self.held = True
        self.recorder = LiveRecorder()
        self.camera = Camera(self.scene, clock=self.clock)
        self.loop = LiveLoop(
            self.camera,
            self.arm,
            self.brain,
            schema,
            SIZE,
            LoopConfig(**{"move": True, "settle": 0.4, "seconds": 10.0} | config),
            dead_man=DeadMan(lambda: self.held, clock=self.clock) if dead_man else None,
            recorder=self.recorder,
            clock=self.clock,
        )
        self.brain.freed = self.loop.latch.tripped
        self.clock.thinking = self._thinking
        self.clock.stopped = self.loop.latch.tripped.is_set
        self.arm.connect()

    def run(
        self, disturb: Callable[[Bench], None] | None = None, show: Callable[[Status], None] | None = None
    ) -> Report:
        """Run, and disturb the run once it is under way."""
        if disturb is not None:
            self.arm.disturb = lambda: disturb(self)
        with self.camera:
            self.camera.start()
            with self.clock:
                return self.loop.run(show)

    @property
    def moves(self) -> list[float]:
        """When it was told to move."""
        return [moment for (moment, _), moved in zip(self.arm.sent, self.arm.moved, strict=True) if moved]

    def _thinking(self) -> bool:
        planning = self.loop._planning
        rests = self.brain.resting or self.clock.waits(self.brain.thread)
        return planning.busy and not rests and self.loop.latch.stop is None
