"""`gwm run`: see through a camera, plan in a learned world, act on a robot.

Everything that can be wrong is looked at before the robot is driven, and nothing is sent to it without `--move`.
"""

import math
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from gwm_sim.data.images import fit
from gwm_sim.data.schema import Schema
from gwm_sim.envs.learned.goal_pictures import check_pictures, fit_goals, read_picture
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.live.camera import Camera, FrameSource, Freshness, Picture, open_source
from gwm_sim.policies.live.loop import LiveLoop, LoopConfig, Report, RunOptions
from gwm_sim.policies.live.model_planner import ModelPlanner, lead_of, live_config
from gwm_sim.policies.live.recorder import LiveRecorder, check_vacant, live_schema
from gwm_sim.policies.live.robots import Robot, connect, make_robot
from gwm_sim.policies.live.safety import DeadMan, Limits, check_hold, declare, touched
from gwm_sim.policies.planning import Examples, Guide, Progress
from gwm_sim.policies.planning.moves import Moves
from gwm_sim.policies.planning.prior.guide import read_goal

OWN_CAMERA = "robot"
SPACE_BAR = "space"


@dataclass(frozen=True)
class RunConfig(RunOptions):
    """Reach goal images with a camera and a robot; a dry run unless --move is given."""

    camera: str
    """Index of a device, a video file, a URL, or `robot` for the robot's own camera."""
    goal: tuple[Path, ...]
    """Pictures of what the camera should see, one after the other."""
    robot: str = "null"
    """null, mujoco, gym (an environment of yours), or a plug-in."""
    robot_options: tuple[str, ...] = ()
    """NAME=VALUE for the robot, such as seed=300000 task=grasp for mujoco, env=my_package:MyEnv-v0 for gym."""
    model: str = "gwm-mini"
    """Name or folder of a world model."""
    rate: float | None = None
    """Actions per second, by default as many as in the model's data."""
    dead_man: str | None = None
    """What must be held for the robot to move: `space` for the space bar in the preview, or a file that must be touched
    again and again."""
    speed: float = 1.0
    """Largest action, as a share of the model's."""
    zero_holds: tuple[str, ...] = ()
    """Names of actions of which you know that zero holds the robot still, where the model's data do not say so."""
    workspace: tuple[str, ...] = ()
    """NAME=LOW:HIGH narrows the box of a commanded quantity, such as cmd_z=0.05:0.25."""
    record: Path | None = None
    """Episode file to write the run to."""
    preview: bool = False
    """Show camera and goal in a window."""
    goal_seconds: float = 2.5
    """Time for each goal but the last, and for each sub-goal that is found in demonstrations."""
    plan_seconds: float = 0.2
    """Time for a plan: the best that was found by then is taken."""
    max_age: float = 0.2
    """A picture older than this stops the run [s]."""
    max_frozen: float = 0.2
    """Pictures that stay identical for longer stop the run [s]; video files are exempt."""
    check_pictures: bool = True
    """Refuse goals that look as if taken by another camera, and scenes that the model has never seen."""
    seed: int = 0
    """Seed of the planner."""
    json: Path | None = None
    """Write the printed numbers here."""


def main(config: RunConfig) -> int:
    """Run `gwm run`."""
    workspace = parse_workspace(config.workspace)
    check_options(config)
    pictures = [read_picture(path) for path in config.goal]
    model = WorldModel.load(config.model)
    world = model.config
    control = declare(world.control, config.zero_holds)
    loop_config = loop_options(config, world.name, control)
    limits = Limits.of(control, config.speed, workspace, Moves(model).steps)
    robot = make_robot(config.robot, world, config.robot_options)
    with ExitStack() as stack:
        source = find_source(config, robot)
        frozen = math.inf if Path(config.camera).is_file() else config.max_frozen
        camera = stack.enter_context(Camera(source, Freshness(config.max_age, frozen)))
        seen = camera.start().frame
        size = world.tokenizer.height, world.tokenizer.width
        goals = fit_goals(config.goal, pictures, seen, size)
        if config.check_pictures:
            check_pictures(model, config.goal, goals, fit(seen, size), "--no-check_pictures")
        planner = make_planner(model, goals, config, loop_config.rate)
        connect(robot, config.robot)
        stack.callback(robot.disconnect)
        recorder = LiveRecorder() if config.record else None
        dead_man = None
        if config.dead_man is not None:
            dead_man = DeadMan(None if config.dead_man == SPACE_BAR else touched(Path(config.dead_man)))
        loop = LiveLoop(camera, robot, planner, control, size, loop_config, limits, dead_man, recorder)
        show = None
        if config.preview:
            from gwm_sim.policies.live.preview import Preview  # late: pygame is an extra

            permit = dead_man.refresh if dead_man and config.dead_man == SPACE_BAR else lambda: None
            show = Preview(lambda: goals[planner.current], loop.stop, permit)
            stack.callback(show.close)
        print(f"{'driving' if config.move else 'dry run of'} {config.robot}; Ctrl-C stops")
        with stopping_on_termination(loop):
            report = loop.run(show)
        succeeded = getattr(robot, "succeeded", None)
    if config.record is not None and recorder:  # which is empty when the run ended before its first step
        settings = {"model": world.name, "goals": [path.name for path in config.goal], "move": config.move}
        schema = live_schema(world.schema, world.camera, config.robot, loop_config.rate, settings)
        recorder.write(config.record, schema)
    numbers = summary(report, succeeded)
    tell(numbers)
    if config.json is not None:
        write_json(config.json, numbers)
    return int(report.stop.fault)


def check_options(config: RunConfig) -> None:
    """Refuse what can be refused without looking at camera, model or robot."""
    if not config.goal:
        raise ConfigError("--goal needs at least one picture")
    if config.dead_man == SPACE_BAR and not config.preview:
        raise ConfigError("--dead_man space is a key of the preview: add --preview, or name a file to be touched")
    for name in ("goal_seconds", "plan_seconds", "max_age", "max_frozen"):
        if not getattr(config, name) > 0:
            raise ConfigError(f"--{name} must be positive, got {getattr(config, name)}")
    if config.record is not None:
        check_vacant(config.record)


def loop_options(config: RunConfig, name: str, control: Schema) -> LoopConfig:
    """How the loop goes for the model of a name; faster than in its data it must not be."""
    rate = control.rate if config.rate is None else config.rate
    if rate > control.rate:
        raise ConfigError(
            f"--rate {rate:g} is faster than the {control.rate:g} Hz that {name} learned from: each action would come "
            "before the last one is done"
        )
    if config.move:
        check_hold(control)
    given = {field.name: getattr(config, field.name) for field in fields(RunOptions)}
    return LoopConfig(rate=rate, lead=lead_of(config.plan_seconds, rate), **given)


def find_source(config: RunConfig, robot: Robot) -> FrameSource:
    """The camera that is asked for."""
    if config.camera != OWN_CAMERA:
        return open_source(config.camera)
    source: FrameSource | None = getattr(robot, "camera", None)
    if source is None:
        raise ConfigError(f"--robot {config.robot} has no camera of its own: give --camera an index, a file or a URL")
    return source


def make_planner(model: WorldModel, goals: list[Picture], config: RunConfig, rate: float) -> ModelPlanner:
    """A planner for the goals, at so many steps a second."""
    guide = Guide.beside(model, config.model)
    examples = Examples.beside(model, config.model) if guide is None else None
    base = live_config(model, guide, config.plan_seconds, rate, examples)
    how = replace(base, seed=config.seed, progress=Progress(patience=config.goal_seconds))
    wanted = [read_goal(model, guide, goal) for goal in goals]
    return ModelPlanner(model, wanted, config=how, guide=guide, examples=examples)


def parse_workspace(entries: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Bounds by name from NAME=LOW:HIGH."""
    bounds = {}
    for entry in entries:
        name, _, interval = entry.partition("=")
        low, _, high = interval.partition(":")
        try:
            bounds[name] = (float(low), float(high))
        except ValueError as error:
            raise ConfigError(f"--workspace takes NAME=LOW:HIGH, got {entry!r}") from error
    return bounds


@contextmanager
def stopping_on_termination(loop: LiveLoop) -> Iterator[None]:
    """Let SIGTERM end in a hold as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, lambda *_: loop.stop("terminated"))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def summary(report: Report, succeeded: bool | None) -> dict[str, Any]:
    """The numbers of a run; `succeeded` only where the robot can tell."""

    def milliseconds(values: tuple[float, ...], share: float) -> float | None:
        return round(1000 * float(np.quantile(values, share)), 1) if values else None

    return {
        "stop": asdict(report.stop) | {"time": round(report.seconds, 2)},
        **{name: getattr(report, name) for name in ("steps", "sent", "overruns", "waits")},
        "plans": len(report.plan_seconds),
        "plan_ms_p50": milliseconds(report.plan_seconds, 0.5),
        "plan_ms_p95": milliseconds(report.plan_seconds, 0.95),
        "frame_age_ms_p95": milliseconds(report.frame_ages, 0.95),
        **({} if succeeded is None else {"succeeded": succeeded}),
    }


def tell(numbers: dict[str, Any]) -> None:
    """Print the numbers of a run."""
    console, stop = Console(highlight=False), numbers["stop"]
    console.print(f"{'FAULT' if stop['fault'] else 'stopped'} after {stop['time']} s: {stop['reason']}")
    console.print(", ".join(f"{name} {value}" for name, value in numbers.items() if name != "stop"), soft_wrap=True)
