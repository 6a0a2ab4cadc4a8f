"""How much memory training takes of data that do not fit into it, measured by the operating system.

python benchmarks/streaming.py --json benchmarks/results/streaming.json

A file of 50,000 frames is recorded in a drawn scene, copied a hundred times, and the copies are given to `gwm train`,
which makes 5 million frames: 15 GB of pictures of 32 pixels and 20 GB of depth. Each way of predicting and drawing
learns in a process of its own, every phase for 100 updates. The copies hold the same, so their frames are encoded but
once; everything else is read, counted and learned from as if they did not, from 100 files.

`peak` is the most memory that the process had in use at once as the system counts it (VmHWM): its own, and the pages of
files that it has mapped, which the system takes back when others need memory. `own` is the most without these
(RssAnon, looked at five times a second).
"""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from program import launch, resumed
from safetensors import safe_open

from gwm_sim.data.cameras import Camera
from gwm_sim.data.episode import DEPTH_UNIT
from gwm_sim.data.episode_file import Episode, EpisodeWriter, TaskLabels
from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError, GwmError
from gwm_sim.files import write_json
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.progress import progress
from gwm_sim.training.config import Drawing, Route, TrainConfig
from gwm_sim.training.pipeline import train
from gwm_sim.training.trainer import STATE_FILE

Array = NDArray[Any]

LIMIT: Final = 4.0  # [GB]
STEPS: Final = 249  # of each episode
HEIGHT: Final = 1.0  # of the camera above the table [m]
REACH: Final = 0.3  # of robot and things from the middle of the table [m]
THING: Final = 0.08  # edge [m]
NAMES: Final = ("red", "blue")
COLOURS: Final = np.array([[90, 90, 90], [220, 40, 40], [40, 60, 220]], np.uint8)  # of the hand and of these

PHASES: Final = ("tokenizer", "locator", "reader", "depth", "painter", "dynamics")
"""Which learn, those left out that a way has not."""
BETWEEN: Final = 0.2  # looks at the memory [s]

ROUTES: Final[Mapping[str, tuple[Route, Drawing]]] = {
    "reference": ("auto", "reference"),
    "latents": ("auto", "latents"),
    "video": ("video", "auto"),
}
"""Ways of predicting and of drawing."""


@dataclass(frozen=True)
class StreamingConfig:
    """Train on many files within a bounded memory."""

    frames: int = 50_000
    """Of the file, in episodes of 250."""
    copies: int = 100
    """Of the file."""
    updates: int = 100
    """Of each phase."""
    size: int = 32
    """Pictures in [px]."""
    memory: float = TrainConfig.memory
    """As `gwm train --memory`."""
    preset: str = "tiny"
    """Size of the model."""
    routes: tuple[str, ...] = tuple(ROUTES)
    """Which ways: reference, latents, video."""
    folder: Path = Path("runs/streaming")
    """For files and models, which are deleted in the end."""
    seed: int = 0
    """Of what is recorded and learned."""
    json: Path | None = None
    """Write the numbers here; ways that are there already are not measured again."""

    def __post_init__(self) -> None:
        if not self.routes or not set(self.routes) <= set(ROUTES):
            raise ConfigError(f"--routes must be some of {', '.join(ROUTES)}, got {' '.join(self.routes) or 'none'}")


@dataclass(frozen=True)
class EqualShares(TrainConfig):
    """Options of a training that gives every phase `steps` updates."""

    def share(
        self, phase: str, model: WorldModelConfig, spent: Mapping[str, float] | None = None
    ) -> tuple[float | None, int | None]:
        """The updates of a phase."""
        return None, self.steps


# --- the recording ----------------------------------------------------------------------------------------------------


def schema_of(size: int) -> Schema:
    """A hand over a table with two things, seen from above."""
    camera = Camera(np.array([0.0, 0.0, HEIGHT]), np.eye(3), 45.0, height=size, width=size)
    joints = tuple(f"joint_{k}" for k in range(1, 8))
    telemetry = (*joints, *(f"ee_{axis}" for axis in "xyz"), "opening", *(f"commanded_{axis}" for axis in "xyz"))
    return Schema(
        env_id="DrawnTable-v0",
        rate=10.0,
        telemetry_names=telemetry,
        telemetry_units=("rad",) * 7 + ("m",) * 7,
        telemetry_low=(-3.0,) * len(telemetry),
        telemetry_high=(3.0,) * len(telemetry),
        action_names=("dx", "dy", "dz", "grip"),
        action_low=(-1.0,) * 4,
        action_high=(1.0,) * 4,
        cameras={"front": camera},
        effector=(7, 8, 9),
        object_names=NAMES,
        object_size=THING,
        tasks=("reach", "grasp", "stack"),
        task="reach",
        depth=("front",),
        settings={"drawn": True},
    )


def draw(schema: Schema, places: Array, table: Array) -> tuple[Array, Array]:
    """Pictures (T, H, W, 3) and depth (T, H, W, 1) of squares at places (T, 3, 3) [m] on a table (H, W, 3)."""
    camera = schema.cameras["front"]
    pixels = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), axis=-1)  # (H, W, 2)
    frames = np.repeat(table[None], len(places), axis=0)
    depth = np.full((*frames.shape[:3], 1), HEIGHT / DEPTH_UNIT, np.uint16)
    for colour, place in zip(COLOURS[[1, 2, 0]], places[:, [1, 2, 0]].swapaxes(0, 1), strict=True):  # the hand last
        half = 0.5 * THING / camera.metres_per_pixel(place)  # (T,) [px]
        away = np.abs(pixels - camera.project(place)[:, None, None]).max(axis=-1)  # (T, H, W)
        inside = away <= half[:, None, None]
        frames[inside] = colour
        depth[inside, 0] = np.broadcast_to((camera.depth(place) / DEPTH_UNIT)[:, None, None], inside.shape)[inside]
    return frames, depth


def episode_of(schema: Schema, seed: int, table: Array) -> Episode:
    """The hand and both things on smooth ways."""
    rng = np.random.default_rng(seed)
    time_ = np.arange(STEPS + 1)[:, None, None] / schema.rate
    rates, phases = rng.uniform(0.1, 0.6, (2, 3, 3)), rng.uniform(0, 2 * np.pi, (2, 3, 3))
    places = REACH * 0.5 * np.sin(rates[0] * time_ + phases[0]) + REACH * 0.5 * np.sin(rates[1] * time_ + phases[1])
    places[..., 2] = 0.5 * THING + 0.3 * np.abs(places[..., 2])
    places[:, 1:, 2] = 0.5 * THING
    hand = places[:, 0]
    joints = np.concatenate([np.sin(hand), np.cos(hand), hand[:, :1] * hand[:, 1:2]], axis=1)
    opening = np.full((STEPS + 1, 1), 0.04)
    moved = np.diff(hand, axis=0) / 0.05
    frames, depth = draw(schema, places, table)
    poses = np.concatenate([places[:, 1:], np.tile([1.0, 0.0, 0.0, 0.0], (STEPS + 1, len(NAMES), 1))], axis=-1)
    reward = np.exp(-10 * np.linalg.norm(hand - places[:, 1], axis=1)).astype(np.float32)
    return Episode(
        frames={"front": frames},
        telemetry=np.concatenate([joints, hand, opening, hand], axis=1).astype(np.float32),
        actions=np.concatenate([moved, np.zeros((STEPS, 1))], axis=1).clip(-1, 1).astype(np.float32),
        labels={task: TaskLabels(reward, reward > 0.5) for task in schema.tasks},
        objects=poses.astype(np.float32),
        properties={"friction": float(rng.uniform(0.1, 1.2))},
        seed=seed,
        policy="drawn",
        depth={"front": depth},
    )


def record(config: StreamingConfig) -> list[Path]:
    """The file and its copies, those that are not there yet."""
    schema, count = schema_of(config.size), max(1, config.frames // (STEPS + 1))
    table = np.random.default_rng(config.seed).integers(150, 220, (config.size, config.size, 3), np.uint8)
    paths = [config.folder / f"{number:03d}.hdf5" for number in range(config.copies)]
    writer = EpisodeWriter(paths[0], schema)
    with writer.finishing(), progress("record") as show:
        for index in range(count):
            if not writer.has(index):
                writer.write(index, episode_of(schema, config.seed + index, table))
            show((index + 1) / count, f"{index + 1} of {count} episodes")
    for path in paths[1:]:
        if not path.exists():
            shutil.copyfile(paths[0], path)
    return paths


# --- the measurement --------------------------------------------------------------------------------------------------


def learn(config: StreamingConfig, paths: list[Path], route: str) -> None:
    """Train on the files in this process."""
    path, drawing = ROUTES[route]
    options = EqualShares(
        data=tuple(paths),
        out=config.folder / route,
        path=path,
        drawing=drawing,
        phases=PHASES,
        preset=config.preset,
        steps=config.updates,
        memory=config.memory,
        patience=1.0,
        seed=config.seed,
        device="cpu",
    )
    train(options, lambda line: print(line, flush=True))


def watch(process: BaseProcess) -> dict[str, float]:
    """How much memory a process takes at most until it ends, `peak_gb` and `own_gb`, and for how long it runs."""
    began, most = time.monotonic(), {"VmHWM": 0, "RssAnon": 0}
    status = Path(f"/proc/{process.pid}/status")
    while process.is_alive():
        lines = status.read_text(encoding="utf-8").splitlines()
        for name, _, value in (line.partition(":") for line in lines):
            if name in most:
                most[name] = max(most[name], int(value.split()[0]))
        process.join(BETWEEN)
    peak, own = (1024 * most[name] / 1e9 for name in ("VmHWM", "RssAnon"))
    return {"peak_gb": peak, "own_gb": own, "seconds": time.monotonic() - began}


def updates_of(run: Path) -> dict[str, int]:
    """How many updates each phase of a run took, by its name."""
    with safe_open(run / STATE_FILE, framework="pt") as file:
        told = json.loads(file.metadata()["progress"])
    return {name: int(steps) for name, steps in zip(told["finished"], told["spent"], strict=True)}


def measure(config: StreamingConfig, paths: list[Path], route: str) -> dict[str, Any]:
    """Train in one of the ways in a process of its own."""
    shutil.rmtree(config.folder / route, ignore_errors=True)
    process = get_context("spawn").Process(target=learn, args=(config, paths, route))
    process.start()
    found: dict[str, Any] = watch(process)
    if process.exitcode != 0:
        raise GwmError(f"{route}: training ended with exit code {process.exitcode}, see above")
    found["updates"] = updates_of(config.folder / route)
    print(f"{route}: at most {found['peak_gb']:.2f} GB, {found['own_gb']:.2f} GB of them its own", flush=True)
    return found


def main(config: StreamingConfig) -> int:
    """Record, train and measure; 1 where a training took more than `LIMIT`."""
    paths = record(config)
    frames = config.copies * max(1, config.frames // (STEPS + 1)) * (STEPS + 1)
    asked = {name: getattr(config, name) for name in ("updates", "size", "memory", "preset", "seed")}
    stored = {"pictures_gb": frames * config.size**2 * 3 / 1e9, "depth_gb": frames * config.size**2 * 4 / 1e9}
    report = resumed(config.json, {"frames": frames, "files": len(paths), **stored, **asked}, {"routes": {}})
    routes: dict[str, dict[str, Any]] = report["routes"]
    for route in (route for route in config.routes if route not in routes):
        routes[route] = measure(config, paths, route)
        if config.json is not None:
            write_json(config.json, report)
    shutil.rmtree(config.folder)
    worst = max(found["peak_gb"] for found in routes.values())
    print(f"{frames:,} frames: at most {worst:.2f} GB; the limit is {LIMIT:g} GB")
    return int(worst > LIMIT)


if __name__ == "__main__":
    launch(main, StreamingConfig)
