"""The live loop: every fault ends in a hold, nothing moves unasked, and what is wrong is said before."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench import ABSOLUTE, HOLD_WITHIN, SAGS, SCHEMA, SIZE, Bench

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.schema import Schema
from gwm_sim.policies.live.loop import Status
from gwm_sim.policies.live.recorder import live_schema
from gwm_sim.policies.live.timing import Schedule

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
    bench.brain.result = np.full(bench.brain.result.shape, np.nan)


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


@pytest.mark.parametrize("schema", [SCHEMA, ABSOLUTE], ids=["changes", "targets"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_every_fault_ends_in_a_hold(fault: Fault, schema: Schema) -> None:
    """Of a robot that is told changes, and of one that is told the angles of six joints."""
    bench = Bench(dead_man=fault is release_dead_man, schema=schema, max_overruns=2, stall=0.18)
    stop = bench.run(fault).stop
    assert stop.fault and stop.reason.startswith(FAULTS[fault]), stop
    begun = (bench.brain.failed or bench.arm.disturbed or 0.0) + BECOMES_FAULT.get(fault, 0.0)
    last = len(bench.arm.sent) - bench.arm.moved[::-1].index(True) - 1
    holds, poses = zip(*(sent for sent in bench.arm.sent[last + 1 :] if sent[0] >= stop.time), strict=True)
    assert all(np.array_equal(pose, poses[0]) for pose in poses), "one pose, not where it has sunk to since"
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


def test_a_dry_run_of_a_robot_with_targets_stays_where_it_is_measured() -> None:
    bench = Bench(move=False, seconds=1.0, schema=ABSOLUTE)
    report = bench.run()
    assert report.sent == 0 and bench.arm.sent == []
    where = bench.arm.get_observation().values()
    for history in bench.brain.seen:
        for actions in (history.actions, history.pending):
            np.testing.assert_allclose(actions, np.broadcast_to(list(where), actions.shape))


def test_a_gripper_goes_on_pressing_when_a_run_stops() -> None:
    """A pose that is measured holds an arm; a gripper holds a thing by what it was told beyond that."""
    bench = Bench(schema=replace(ABSOLUTE, gripper=(5,)), seconds=1.0)
    bench.run()
    last = len(bench.arm.moved) - bench.arm.moved[::-1].index(True) - 1
    told, held = bench.arm.sent[last][1], bench.arm.sent[-1][1]
    assert held[5] == told[5] and (held[:5] < told[:5]).all()


def test_while_a_plan_is_waited_for_targets_stay_as_they_are() -> None:
    bench = Bench(schema=ABSOLUTE, seconds=1.5)
    bench.brain.result = bench.brain.result[:2]
    bench.brain.delay = 0.35
    report = bench.run()
    assert report.waits > 4
    sent = np.stack([action for moment, action in bench.arm.sent if moment < bench.arm.sent[0][0] + 1.4])
    assert (np.diff(sent[:, 0]) >= -SAGS).all(), "it never goes back to where it lags behind"


def test_a_driver_that_says_nonsense_is_a_fault() -> None:
    bench = Bench()
    honest = bench.arm.send_action

    def lie(action: dict[str, float]) -> dict[str, float]:
        sent = honest(action)
        return {**sent, "dx": float("nan")} if bench.arm.disturbed is not None else sent

    bench.arm.send_action = lie  # type: ignore[method-assign]
    stop = bench.run().stop
    assert stop.fault and "RobotError: it says that it was sent" in stop.reason
    assert all(np.isfinite(action).all() for _, action in bench.arm.sent) and not bench.arm.sent[-1][1].any()


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
    bench.recorder.write(path, live_schema(SCHEMA, "front", "arm", 10.0, {"move": True}))
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
