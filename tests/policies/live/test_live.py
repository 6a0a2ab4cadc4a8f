"""The live loop: every fault ends in a hold, nothing moves unasked, and what is wrong is said before.

Threads are real. Time is not, wherever a duration is judged: it passes in steps of 5 ms, each when every thread has
done what was due, so that a busy machine changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Condition, Event, Thread, current_thread
from typing import Any

import numpy as np
import pytest
from models import make_model
from numpy.typing import NDArray
from recordings import make_camera

from gwm_sim import cli
from gwm_sim.data.episode_file import Command, EpisodeFile, Schema
from gwm_sim.errors import ConfigError
from gwm_sim.media.video import write_png, write_video
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.commands.run import RunConfig, main
from gwm_sim.policies.live import robots
from gwm_sim.policies.live.camera import Camera, CameraError, Freshness, Picture, open_source
from gwm_sim.policies.live.loop import LiveLoop, LoopConfig, Report, Status
from gwm_sim.policies.live.model_planner import ModelPlanner
from gwm_sim.policies.live.planner import History
from gwm_sim.policies.live.recorder import LiveRecorder, live_schema, write
from gwm_sim.policies.live.robots import NullRobot, make_robot
from gwm_sim.policies.live.safety import DeadMan, Latch, Limits, check_hold, touched
from gwm_sim.policies.live.timing import Clock, Schedule
from gwm_sim.policies.planning import Goal, IcemSettings, MpcConfig, Progress

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

    def __init__(self, clock: Clock) -> None:
        super().__init__(SCHEMA)
        self.sent: list[tuple[float, Actions]] = []
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
        return super().get_observation()

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        now = self._clock.now()
        self.sent.append((now, np.array(list(action.values()), np.float32)))
        if self.disturbed is None and now - self.sent[0][0] > BEFORE:
            self.disturbed = now
            self.disturb()
        return super().send_action(action)


class Brain:
    """A planner that always wants the same, and may fail, hang or take its time."""

    def __init__(self, clock: Clock) -> None:
        self.error: BaseException | None = None
        self.failed: float | None = None  # when it failed or hung for the first time
        self.result: Any = np.full((5, 3), 0.1, np.float32)
        self.hangs = False
        self.delay = 0.0  # of every plan [s]
        self.resting = False  # for good, as one that hangs
        self.thread: Thread | None = None
        self.freed = Event()  # from hanging
        self.seen: list[History] = []
        self._clock = clock

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
        return np.asarray(self.result)


class Bench:
    """A loop with everything around it."""

    def __init__(self, dead_man: bool = False, schema: Schema = SCHEMA, **config: Any) -> None:
        self.clock = StepClock()
        self.scene, self.arm, self.brain = Scene(self.clock), Arm(self.clock), Brain(self.clock)
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
        return [moment for moment, action in self.arm.sent if action.any()]

    def _thinking(self) -> bool:
        planning = self.loop._planning
        rests = self.brain.resting or self.clock.waits(self.brain.thread)
        return planning.busy and not rests and self.loop.latch.stop is None


# --- every fault ends in a hold ---------------------------------------------------------------------------------------


def pull_camera(bench: Bench) -> None:
    bench.scene.gone = True


def unplug_camera(bench: Bench) -> None:
    bench.scene.error = OSError("no such device")


def freeze_picture(bench: Bench) -> None:
    bench.scene.frozen = True


def kill_planner(bench: Bench) -> None:
    bench.brain.error = RuntimeError("out of memory")


def end_planner_thread(bench: Bench) -> None:
    bench.brain.error = SystemExit()


def plan_nonsense(bench: Bench) -> None:
    bench.brain.result = np.full((5, 3), np.nan)


def hang_planner(bench: Bench) -> None:
    bench.brain.hangs = True


def release_dead_man(bench: Bench) -> None:
    bench.held = False


def break_robot(bench: Bench) -> None:
    bench.arm.broken = True


def slow_robot(bench: Bench) -> None:
    bench.arm.delay = 0.15


Fault = Callable[[Bench], None]

FAULTS: dict[Fault, str] = {
    pull_camera: "camera: no new picture for",
    unplug_camera: "camera: OSError: no such device",
    freeze_picture: "camera: the picture has been frozen",
    kill_planner: "planner: RuntimeError: out of memory",
    end_planner_thread: "planner: SystemExit",
    plan_nonsense: "planner: ValueError: a plan must be finite",
    hang_planner: "planner: no plan after",
    release_dead_man: "dead-man: released",
    break_robot: "robot: ConnectionError: the cable is out",
    slow_robot: "control: 2 steps in a row were too late for 10 Hz",
}
BECOMES_FAULT: dict[Fault, float] = {hang_planner: 1.0, slow_robot: 0.5}  # a deadline, two steps of a quarter second


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_fault_ends_in_a_hold(fault: Fault) -> None:
    bench = Bench(dead_man=fault is release_dead_man, max_overruns=2, stall=0.18)
    stop = bench.run(fault).stop
    assert stop.fault and stop.reason.startswith(FAULTS[fault]), stop
    begun = (bench.brain.failed or bench.arm.disturbed or 0.0) + BECOMES_FAULT.get(fault, 0.0)
    holds = [moment for moment, action in bench.arm.sent if moment >= stop.time and not action.any()]
    assert bench.moves[-1] <= stop.time <= holds[0] < begun + HOLD_WITHIN
    assert holds[0] - stop.time < 0.03  # at once, not at the next step
    assert bench.arm.sent[-1][0] == holds[-1] and len(holds) >= 2  # and it goes on


def test_the_stop_stays_when_the_fault_is_over() -> None:
    bench = Bench()
    bench.scene.back = bench.loop.latch.tripped
    stop = bench.run(pull_camera).stop
    shot = bench.camera.latest()
    assert stop.fault and shot is not None and shot.time > stop.time  # the picture came back
    assert bench.moves[-1] < stop.time
    bench.loop.latch.trip("another reason")
    assert bench.loop.latch.stop == stop


def test_a_failing_display_is_a_fault_that_is_reported() -> None:
    bench = Bench()

    def show(status: Status) -> None:
        if status.steps > 2:
            raise RuntimeError("no window")

    stop = bench.run(show=show).stop
    assert stop.fault and stop.reason == "display: RuntimeError: no window"
    assert bench.moves and not bench.arm.sent[-1][1].any()


def test_an_interrupted_run_ends_in_a_hold() -> None:
    bench = Bench()

    def show(status: Status) -> None:
        if status.steps > 2:
            raise KeyboardInterrupt

    stop = bench.run(show=show).stop
    assert stop.reason == "interrupted by the user" and not stop.fault
    assert bench.moves and bench.moves[-1] <= stop.time <= bench.arm.sent[-1][0]


# --- nothing moves unasked --------------------------------------------------------------------------------------------


def test_a_dry_run_sends_nothing() -> None:
    bench = Bench(move=False, seconds=1.0)
    report = bench.run()
    assert report.steps == 10 and report.sent == 0 and bench.arm.sent == []
    assert all(not history.pending.any() for history in bench.brain.seen)


def test_without_permission_nothing_is_sent() -> None:
    bench = Bench(dead_man=True, arming=0.5)
    bench.held = False
    stop = bench.run().stop
    assert stop.reason == "not armed: dead-man: never held" and stop.fault and bench.arm.sent == []


def test_without_a_first_plan_nothing_is_sent() -> None:
    bench = Bench(arming=0.5)
    bench.brain.hangs = True
    assert "no plan within 0.5 s" in bench.run().stop.reason and bench.arm.sent == []


# --- the regular run --------------------------------------------------------------------------------------------------


def test_plans_follow_each_other_without_a_gap_and_the_run_is_recorded(tmp_path: Path) -> None:
    bench = Bench(seconds=1.7)
    bench.brain.delay = 0.4
    block = np.arange(1, 6, dtype=np.float32)[:, None].repeat(3, axis=1) / 10
    bench.brain.result = block
    report = bench.run()
    assert report.stop.reason == "the time is over" and not report.stop.fault
    assert report.steps == 17 and report.overruns == 0 and 4 <= report.waits <= 5  # only the first plan is waited for
    moved = [action[2] for _, action in bench.arm.sent if action.any()]
    np.testing.assert_allclose(moved, np.resize(block[:, 2], 17 - report.waits))
    asked = bench.brain.seen[2]
    assert asked.frames.shape == (4, SIZE, SIZE, 3) and asked.telemetry.shape == (4, 5)
    np.testing.assert_allclose(asked.pending, block)  # what is still to be done

    path = tmp_path / "run.hdf5"
    write(path, bench.recorder, live_schema(SCHEMA, "front", "arm", 10.0, {"move": True}))
    with EpisodeFile(path) as file:
        file.check()
        (episode,) = file
    sent = np.stack([action for _, action in bench.arm.sent])
    np.testing.assert_allclose(episode.actions, sent[: len(episode)])
    command = episode.telemetry[:-1, 3] + 0.1 * episode.actions[:, 0]
    np.testing.assert_allclose(episode.telemetry[1:, 3], command.clip(0, 1), atol=1e-5)


def test_late_plans_are_awaited_in_a_hold() -> None:
    bench = Bench(seconds=1.5)
    bench.brain.result = np.full((2, 3), 0.1, np.float32)
    bench.brain.delay = 0.35
    report = bench.run()
    assert report.stop.reason == "the time is over" and report.waits > 4 and len(report.plan_seconds) >= 2
    assert max(np.diff(bench.moves)) > 0.15  # between one plan and the next


def test_a_plan_from_an_old_picture_is_not_executed() -> None:
    bench = Bench(max_plan_age=0.45)
    bench.brain.result = np.full((20, 3), 0.1, np.float32)
    stop = bench.run().stop
    assert "the plan was made from a picture that is 0.5" in stop.reason
    assert len(bench.moves) == 4  # begun 0.1 s after the picture


def test_missed_moments_are_counted_and_never_caught_up() -> None:
    schedule = Schedule(10.0, start=0.0)
    assert [schedule.advance(now) for now in (0.05, 0.15, 0.45, 0.5)] == [0, 0, 2, 0]
    assert schedule.next == pytest.approx(0.6)
    assert schedule.advance(5.05) == 44 and schedule.next == pytest.approx(5.1)


def test_late_steps_are_counted_and_keep_their_distance() -> None:
    bench = Bench(seconds=1.5, max_overruns=100)
    bench.arm.delay = 0.12
    report = bench.run()
    assert report.stop.reason == "the time is over" and report.overruns >= 6
    assert min(np.diff([moment for moment, _ in bench.arm.sent])) > 0.09


# --- limits and switches ----------------------------------------------------------------------------------------------


def test_actions_keep_to_step_size_and_workspace() -> None:
    limits = Limits.of(SCHEMA, speed=0.5, workspace={"cmd_x": (0.2, 0.6)})
    telemetry = np.array([0.58, 0.5, 0.5, 0.58, 0.5], np.float32)
    clamped = limits.clamp(np.array([9.0, -9.0, 9.0], np.float32), telemetry)
    np.testing.assert_allclose(clamped, [0.2, -0.5, 0.5], atol=1e-5)
    outside = replace_at(telemetry, 3, 0.9)
    assert not limits.clamp(np.zeros(3, np.float32), outside).any()  # a hold stays a hold
    assert limits.clamp(np.array([1.0, 0, 0], np.float32), outside)[0] == 0
    assert limits.clamp(np.array([-1.0, 0, 0], np.float32), outside)[0] == -0.5


def replace_at(values: Actions, index: int, value: float) -> Actions:
    changed = values.copy()
    changed[index] = value
    return changed


@pytest.mark.parametrize(
    ("speed", "workspace", "message"),
    [
        (0.0, {}, "share of the largest action"),
        (1.0, {"z": (0.0, 1.0)}, "has cmd_x, cmd_y, not 'z'"),
        (1.0, {"cmd_x": (0.9, 0.2)}, "leaves no room for cmd_x"),
    ],
)
def test_impossible_limits_are_refused(speed: float, workspace: dict[str, tuple[float, float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Limits.of(SCHEMA, speed, workspace)


def test_what_zero_does_not_hold_still_is_not_moved() -> None:
    for kinds, message in (
        (["delta", "target", "rate"], "dy of the model's data are targets"),
        (["delta", None, "rate"], "do not say whether zero holds dy still: import them with --actions"),
    ):
        schema = replace(SCHEMA, settings={"action_kinds": kinds})
        with pytest.raises(ConfigError, match=message):
            check_hold(schema)
        with pytest.raises(ConfigError, match=message):
            Bench(schema=schema)
        Bench(schema=schema, move=False)  # a dry run sends nothing
    for settings in ({}, {"action_kinds": ["delta", "delta", "rate"]}):
        check_hold(replace(SCHEMA, settings=settings))
    with pytest.raises(ConfigError, match="do not say whether zero holds dx, dy, gripper still"):
        check_hold(replace(SCHEMA, settings={}, commands=()))


class Still(Clock):
    """A clock that is set by hand."""

    moment = 0.0

    def now(self) -> float:
        return self.moment


def test_a_dead_man_lapses() -> None:
    clock = Still()
    switch = DeadMan(timeout=0.2, clock=clock)
    assert switch.fault(0.0) == "dead-man: never held"
    switch.refresh()
    assert switch.fault(0.2) is None
    assert switch.fault(0.25) == "dead-man: released 0.25 s ago"


def test_a_file_is_a_dead_man_while_it_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "held"
    held = touched(file)
    assert not held()
    file.touch()
    assert held() and not held()
    file.unlink()
    assert not held()


def test_the_first_reason_counts() -> None:
    latch = Latch(Still())
    latch.trip("first", fault=False)
    latch.trip("second")
    assert latch.stop is not None and latch.stop.reason == "first" and not latch.stop.fault


# --- cameras and robots -----------------------------------------------------------------------------------------------


def test_a_camera_without_pictures_is_an_error() -> None:
    class Dead:
        closed = False

        def read(self) -> Picture | None:
            return None

        def close(self) -> None:
            self.closed = True

    source = Dead()
    with pytest.raises(CameraError, match="no picture: none within 0.1 s"):
        Camera(source).start(timeout=0.1)
    assert source.closed

    class Wrong:
        def read(self) -> Picture:
            return np.zeros((4, 4), np.uint8)

    with pytest.raises(CameraError, match=r"must be \(H, W, 3\) uint8, got \(4, 4\) uint8"):
        Camera(Wrong()).start()


def test_a_video_file_plays_at_its_own_rate_and_ends(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    film = tmp_path / "film.mp4"
    shades = [np.full((48, 64, 3), shade, np.uint8) for shade in range(0, 200, 20)]
    write_video(film, shades, rate=20.0)
    clock = Clock()
    source = open_source(str(film))
    begun = clock.now()
    frames = []
    with pytest.raises(CameraError, match="has been played to its end"):
        while (frame := source.read()) is not None:
            frames.append(frame)
    assert len(frames) == 10 and clock.now() - begun >= 0.45
    assert frames[3].shape == (48, 64, 3) and abs(int(frames[3].mean()) - 60) < 8


@pytest.mark.parametrize("name", ["no-such-film.mp4", "97"])
def test_cameras_that_are_not_there_are_named(name: str) -> None:
    pytest.importorskip("cv2")
    with pytest.raises(CameraError, match=f"--camera {name}"):
        open_source(name)


def test_plugins_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch, model: WorldModel) -> None:
    class Point:
        name = "bench"

        def load(self) -> Any:
            return lambda world, port="none": FakePlugin(port)

    class FakePlugin(NullRobot):
        def __init__(self, port: str) -> None:
            super().__init__(SCHEMA)
            self.port = port

    monkeypatch.setattr(robots, "entry_points", lambda group: [Point()] if group == "gwm_sim.robots" else [])
    robot = make_robot("bench", model.config, ["port=/dev/ttyUSB0"])
    assert isinstance(robot, FakePlugin) and robot.port == "/dev/ttyUSB0"
    for name, options, message in (
        ("bensh", [], "there are bench, mujoco, null. Did you mean bench?"),
        ("bench", ["port"], "NAME=VALUE"),
        ("bench", ["speed=3"], "cannot be made with options"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_robot(name, model.config, options)


def test_a_robot_of_another_kind_is_refused(model: WorldModel) -> None:
    with pytest.raises(ConfigError, match="does not report joint_9, which the model needs; it has x, y, z"):
        robots.check_robot(NullRobot(SCHEMA), replace(SCHEMA, telemetry_names=("x", "joint_9")))


def test_the_twin_is_a_robot_with_a_camera(model: WorldModel) -> None:
    pytest.importorskip("mujoco")
    from gwm_sim.policies.blocks.twin_robot import TwinRobot

    robot = TwinRobot(model.config, task="reach")
    with Camera(robot.camera, Freshness(max_age=60.0)) as camera:
        before = camera.start(timeout=60.0)
        here = robot.get_observation()
        for _ in range(4):
            assert robot.send_action({"dx": 0.0, "dy": 0.0, "dz": 5.0, "gripper": 0.0})["dz"] == 1.0
        there = robot.get_observation()
        while (shot := camera.latest()) is None or shot.number < before.number + 3:
            Event().wait(0.02)
        assert camera.fault(shot.time) is None  # it never freezes
    assert there["cmd_z"] > here["cmd_z"] + 0.03 and there["ee_z"] > here["ee_z"] + 0.03
    assert before.frame.shape == shot.frame.shape == (SIZE, SIZE, 3)
    assert np.abs(shot.frame.astype(int) - before.frame).max() > 30
    assert not robot.succeeded
    with pytest.raises(ConfigError, match="task must be one of reach, grasp, stack, got 'juggle'"):
        make_robot("mujoco", model.config, ["task=juggle"])


@pytest.mark.slow
def test_a_cube_is_grasped_through_the_camera_of_the_twin_and_along_a_film_nothing_moves(tmp_path: Path) -> None:
    """In real time with the shipped model, so on an idle machine."""
    import gymnasium as gym

    import gwm_sim.envs  # noqa: F401  # registers the ids
    from gwm_sim.policies.blocks.experts import expert

    seed, memory = 300_003, None
    twin = gym.make("MuJoCo-BlockGrasp-v0")
    observation, _ = twin.reset(seed=seed)
    script, frames = expert(twin, seed=seed), [observation["pixels"]]
    for _ in range(30):
        action, memory = script.predict(observation, memory)
        observation, *_ = twin.step(action)
        frames.append(observation["pixels"])
    goal, film, numbers = tmp_path / "goal.png", tmp_path / "film.mp4", tmp_path / "run.json"
    write_png(goal, frames[-1])
    write_video(film, frames, rate=10)

    options = (f"seed={seed}", "task=grasp")
    run = RunConfig(
        "robot", (goal,), "mujoco", options, move=True, seconds=15.0, plan_deadline=5.0, max_age=1.0, json=numbers
    )
    assert main(run) == 0
    assert json.loads(numbers.read_text())["succeeded"]
    assert main(RunConfig(str(film), (goal,), "null", json=numbers)) == 0
    along = json.loads(numbers.read_text())
    assert along["sent"] == 0 and along["plans"] >= 1 and "the video is over" in along["stop"]["reason"]


# --- the planner in a learned world -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return make_model(schema=SCHEMA)


def make_history(pending: int = 0, time: float = 0.0) -> History:
    rng = np.random.default_rng(0)
    return History(
        frames=rng.integers(0, 256, (4, SIZE, SIZE, 3), np.uint8),
        telemetry=rng.random((4, 5), np.float32),
        actions=np.zeros((3, 3), np.float32),
        pending=np.full((pending, 3), 0.5, np.float32),
        time=time,
    )


SMALL = MpcConfig(planner=IcemSettings(population=4, iterations=1, elites=2), horizon=2, block=3)


def test_model_planner_plans_from_where_the_last_plan_ends(model: WorldModel, monkeypatch: pytest.MonkeyPatch) -> None:
    imagined: list[int] = []
    original = WorldModel.imagine

    def imagine(self: WorldModel, state: Any, actions: Any, judged: bool = True, draw: bool = True) -> Any:
        imagined.append(actions.shape[1])
        return original(self, state, actions, judged, draw)

    monkeypatch.setattr(WorldModel, "imagine", imagine)
    planner = ModelPlanner(model, [Goal.solve(model, "reach")], config=SMALL)
    actions = planner(make_history(pending=5))
    assert imagined == [5, 6]
    assert actions.shape == (3, 3) and actions.dtype == np.float32 and (np.abs(actions) <= 1).all()
    assert (actions == actions[0]).all()


def test_model_planner_goes_from_goal_to_goal(model: WorldModel) -> None:
    history = make_history()
    met, other = Goal.image(model, history.frames[-1]), Goal.image(model, 255 - history.frames[-1])
    config = replace(SMALL, progress=Progress(codes=0.0, patience=1.0))
    planner = ModelPlanner(model, [met, other, other], config=config)
    planner(history)
    assert planner.current == 1  # the first was reached
    planner(replace(history, time=0.9))
    assert planner.current == 1
    planner(replace(history, time=1.1))
    assert planner.current == 2  # the second took too long
    planner(replace(history, time=9.9))
    assert planner.current == 2  # the last has all the time


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(model: WorldModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "random"
    model.save(folder)
    return folder


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a bench with a moving block."""
    path = tmp_path_factory.mktemp("films") / "bench.mp4"
    frames = np.full((30, 48, 64, 3), 120, np.uint8)
    for t, frame in enumerate(frames):
        frame[20:28, t : t + 8] = 220
    write_video(path, frames, rate=15.0)
    return path


@pytest.fixture
def goal(tmp_path: Path) -> Path:
    picture = np.full((48, 64, 3), 120, np.uint8)
    picture[20:28, 40:48] = 220
    write_png(tmp_path / "goal.png", picture)
    return tmp_path / "goal.png"


def test_run_on_a_video_file_records_and_reports(
    checkpoint: Path, film: Path, goal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2")
    out, numbers = tmp_path / "run.hdf5", tmp_path / "run.json"
    options = ["--model", str(checkpoint), "--camera", str(film), "--goal", str(goal), "--record", str(out)]
    slack = ["--max_age", "5", "--plan_deadline", "20", "--plan_seconds", "0.05"]
    code = cli.main(["run", *options, *slack, "--no-check_pictures", "--preview", "--json", str(numbers)])
    printed = capsys.readouterr()
    assert "dry run of null" in printed.out, printed
    assert ("the video is over" in printed.out) == (code == 0)  # a machine too busy for 10 Hz may end it as a fault
    assert numbers.is_file()
    with EpisodeFile(out) as file:
        assert file.schema.env_id == "robot:null" and len(file) == 1 and not file[0].actions.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"goal": (Path("nowhere.png"),)}, "--goal nowhere.png cannot be read: No such file"),
        ({"goal": ()}, "at least one picture"),
        ({"robot": "nul"}, "--robot nul is unknown; there are mujoco, null. Did you mean null"),
        ({"camera": "no-such-film.mp4"}, "neither an index such as 0, nor a file that exists, nor a URL"),
        ({"camera": "robot"}, "--robot null has no camera of its own"),
        ({"rate": 20.0}, "--rate 20 is faster than the 10 Hz"),
        ({"rate": 0.0}, "rate must be positive"),
        ({"workspace": ("z",)}, "NAME=LOW:HIGH"),
        ({"dead_man": "space"}, "add --preview"),
        ({"record": Path(__file__)}, "exists already"),
    ],
)
def test_bad_input_is_refused_before_anything_moves(
    change: dict[str, Any], message: str, checkpoint: Path, film: Path, goal: Path
) -> None:
    pytest.importorskip("cv2")
    config = RunConfig(camera=str(film), goal=(goal,), model=str(checkpoint), move=True)
    with pytest.raises((ConfigError, CameraError), match=message):
        main(replace(config, **change))


def test_goals_that_do_not_fit_the_camera_are_refused(checkpoint: Path, film: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    config = RunConfig(camera=str(film), goal=(tmp_path / "goal.png",), model=str(checkpoint), move=True)
    write_png(tmp_path / "goal.png", np.full((50, 64, 3), 120, np.uint8))
    with pytest.raises(ConfigError, match="is 64 x 50 px, but the camera gives 64 x 48 and the model sees 32 x 32"):
        main(config)
    write_png(tmp_path / "goal.png", np.full((48, 64, 3), 60, np.uint8))
    with pytest.raises(ConfigError, match="is of another camera or scene"):
        main(config)
    (tmp_path / "goal.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="neither PNG nor JPEG"):
        main(config)
