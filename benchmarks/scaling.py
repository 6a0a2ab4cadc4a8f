"""What a second process adds to training and to imagining, and where its time goes.

python benchmarks/scaling.py --json benchmarks/results/scaling.json

A scene is drawn and recorded, and a model of the size of gwm-mini takes some updates of every phase: in one process
with one thread, in one with as many threads as there are cores, and in one process per core with one thread each,
started by torchrun. The batch is the same each time, and with it what is learned. Ways take turns, since others may use
the machine too: of several rounds the best median counts, and the load is told.

`waiting` is the share of an update that a process spends in all-reduce, be it because another one is not there yet or
because numbers travel; `transfer_ms` is what the same numbers take when all are there at once. Core-seconds are those
that the system says the processes have computed. Then every process imagines worlds of its own.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import torch
import torch.distributed as dist
from program import circumstances, launch
from streaming import ROUTES, StreamingConfig, record
from threads import subject

from gwm_sim.errors import GwmError
from gwm_sim.files import write_json
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress
from gwm_sim.training import distributed
from gwm_sim.training.config import PRESETS, Preset, TrainConfig
from gwm_sim.training.dataset import TrainingData, load_training_data
from gwm_sim.training.dataset.latents import Latents
from gwm_sim.training.encoding import encode_all
from gwm_sim.training.phases.depth import DepthPhase
from gwm_sim.training.phases.locator import LocatorPhase
from gwm_sim.training.phases.object_dynamics import ObjectDynamicsPhase
from gwm_sim.training.phases.phase import Phase
from gwm_sim.training.phases.reader import ReaderPhase
from gwm_sim.training.phases.reference_renderer import ReferenceRendererPhase
from gwm_sim.training.phases.renderer import RendererPhase
from gwm_sim.training.phases.tokenizer import TokenizerPhase
from gwm_sim.training.phases.video_dynamics import VideoDynamicsPhase
from gwm_sim.training.pipeline import begin
from gwm_sim.training.trainer import PhaseClock, Trainer

MODEL: Final = "gwm-mini"
IMAGINED: Final = {"undrawn": 256, "decoded": 16}
"""Rows of worlds that are advanced without pictures, and with them."""


@dataclass(frozen=True)
class ScalingConfig:
    """Measure training and imagining in one process and in several."""

    updates: int = 5
    """That are clocked, of each phase, way and round."""
    rounds: int = 2
    """In which all ways take a turn."""
    seconds: float = 2.0
    """For which worlds are imagined, in each form, way and round."""
    frames: int = 1000
    """Of the recording."""
    preset: str = "mini"
    """Size of the model and of the batches."""
    folder: Path = Path("runs/scaling")
    """For recording and models, which are deleted in the end."""
    seed: int = 0
    """Of what is recorded and learned."""
    json: Path | None = None
    """Write the numbers here."""
    part: Path | None = None
    """Measure in this process alone, and write here what came of it: so does the program start itself."""


@dataclass
class Traffic:
    """What goes through all-reduce, while it is watched."""

    seconds: float = 0.0
    calls: int = 0
    bytes: int = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Context in which all-reduce is clocked."""
        plain = dist.all_reduce

        def clocked(tensor: torch.Tensor, *rest: Any, **options: Any) -> Any:
            start = time.perf_counter()
            done = plain(tensor, *rest, **options)
            self.seconds += time.perf_counter() - start
            self.calls += 1
            self.bytes += tensor.nbytes
            return done

        dist.all_reduce = clocked
        try:
            yield
        finally:
            dist.all_reduce = plain


def total(value: float) -> float:
    """The sum of a number over all processes."""
    told = torch.tensor(value, dtype=torch.float64)
    return float(distributed.everywhere(told)) * distributed.processes()


def clock_phase(trainer: Trainer, phase: Phase, updates: int) -> dict[str, float]:
    """Time, computing and traffic of an update."""
    optimiser = torch.optim.AdamW([p for _, p in phase.parameters()], lr=phase.rate, fused=True)
    clock, traffic, durations = PhaseClock(None, 10 * updates, step=5 * updates), Traffic(), list[float]()
    trainer.step(phase, clock, optimiser)  # what is set up once does not count
    distributed.wait_for_all()
    computed = time.process_time()
    with traffic.watched():
        for _ in range(updates):
            start = time.perf_counter()
            trainer.step(phase, clock, optimiser)
            clock.tick()
            durations.append(time.perf_counter() - start)
    computed = time.process_time() - computed
    found = {
        "seconds": median(durations),
        "core_seconds": total(computed) / updates,
        "waiting": total(traffic.seconds / sum(durations)) / distributed.processes(),
        "all_reduces": traffic.calls / updates,
        "bytes": traffic.bytes / updates,
    }
    return found | ({"transfer_ms": 1e3 * transfer(traffic.bytes // updates)} if distributed.processes() > 1 else {})


def transfer(size: int, times: int = 7) -> float:
    """Median time [s] of one all-reduce of so many bytes for which all processes are there."""
    numbers, durations = torch.zeros(size // 4), list[float]()
    for _ in range(times):
        distributed.wait_for_all()
        start = time.perf_counter()
        dist.all_reduce(numbers)
        durations.append(time.perf_counter() - start)
    return median(durations)


def phases_of(
    route: str, model: WorldModel, data: TrainingData, codes: Latents, preset: Preset, seed: int
) -> Iterator[tuple[str, Phase]]:
    """Phases that learn in one of the ways, those of other ways left out."""
    plain, with_codes = (model, data, preset, seed), (model, data, codes, preset, seed)
    if route == "latents":
        yield "latent renderer", RendererPhase(*with_codes)
    elif route == "video":
        yield "video dynamics", VideoDynamicsPhase(*with_codes)
    else:
        yield "tokenizer", TokenizerPhase(*plain)
        yield "locator", LocatorPhase(*plain)
        yield "reader", ReaderPhase(*plain)
        yield "depth", DepthPhase(*with_codes)
        yield "reference renderer", ReferenceRendererPhase(*with_codes)
        data.residual = torch.zeros(len(data.telemetry), model.config.dynamics.residual)
        yield "object dynamics", ObjectDynamicsPhase(*plain)


def clock_training(config: ScalingConfig) -> dict[str, dict[str, float]]:
    """Updates of every phase, by its name."""
    preset = replace(PRESETS[config.preset], found_in=1)
    found = dict[str, dict[str, float]]()
    for route, (path, drawing) in ROUTES.items():
        out = config.folder / route
        options = TrainConfig((config.folder / "000.hdf5",), out, path=path, drawing=drawing, steps=1)
        data = load_training_data(options.data, path=path)
        torch.manual_seed(config.seed)
        model, _ = begin(options, preset, data, None)
        trainer = Trainer(out, model, resume=False)
        trainer.precision = (
            torch.float32
        )  # which one is faster is measured anew each time, and may come out differently
        codes = encode_all(model, data, out / "latents.safetensors")
        for name, phase in phases_of(route, model, data, codes, preset, config.seed):
            found[name] = clock_phase(trainer, phase, config.updates)
    return found


def clock_imagining(config: ScalingConfig) -> dict[str, dict[str, float]]:
    """Steps of worlds by all processes together, by form: each has as many rows as if it were alone."""
    found = {}
    for form, rows in IMAGINED.items():
        worlds = subject(MODEL, form, rows, config.seed + distributed.rank())
        for _ in range(2):
            worlds.prepare()
            worlds.advance()
        distributed.wait_for_all()
        steps, computed, start = 0, time.process_time(), time.perf_counter()
        while time.perf_counter() - start < config.seconds:
            worlds.prepare()
            worlds.advance()
            steps += rows
        computed, passed = time.process_time() - computed, time.perf_counter() - start
        found[form] = {
            "steps_per_second": total(steps / passed),
            "core_seconds_per_million": 1e6 * total(computed) / total(steps),
        }
    return found


def measure_part(config: ScalingConfig) -> None:
    """What one of the processes that a launcher started has to do."""
    assert config.part is not None
    with distributed.joined("cpu"):
        found = {"training": clock_training(config), "imagining": clock_imagining(config)}
        if distributed.is_first():
            write_json(config.part, found)
        distributed.wait_for_all()


def start(config: ScalingConfig, processes: int, threads: int) -> dict[str, Any]:
    """Let torchrun start processes that measure; return what they found, and the load of the machine before."""
    load, part = os.getloadavg()[0], config.folder / "part.json"
    words = ["--updates", config.updates, "--seconds", config.seconds, "--preset", config.preset]
    words += ["--folder", config.folder, "--seed", config.seed, "--part", part]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launcher, str(Path(__file__)), *map(str, words)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, check=False)
    if done.returncode != 0:
        raise GwmError(f"{processes} processes ended with exit code {done.returncode}, see above")
    found: dict[str, Any] = json.loads(part.read_text(encoding="utf-8"))
    return found | {"load": load}


def best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each phase the round with the fastest updates, and of each form that with the most steps."""
    training = {
        name: min((one["training"][name] for one in rounds), key=lambda phase: phase["seconds"])
        for name in rounds[0]["training"]
    }
    for phase in training.values():
        phase["updates_per_second"] = 1 / phase["seconds"]
    imagining = {
        form: max((one["imagining"][form] for one in rounds), key=lambda steps: steps["steps_per_second"])
        for form in IMAGINED
    }
    return {"training": training, "imagining": imagining, "load": [one["load"] for one in rounds]}


def measure(config: ScalingConfig) -> dict[str, Any]:
    """Record, measure all ways in turns, and return the report."""
    record(StreamingConfig(config.frames, copies=1, size=64, folder=config.folder, seed=config.seed))
    cores = os.cpu_count() or 1
    ways = {"one thread": (1, 1), "all threads": (1, cores), "a process per core": (cores, 1)}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    with progress("scaling") as show:
        for number in range(config.rounds):
            for place, (name, (processes, threads)) in enumerate(ways.items()):
                show((number + place / len(ways)) / config.rounds, name)
                rounds[name].append(start(config, processes, threads))
        show(1.0, "")
    shutil.rmtree(config.folder)
    return {
        "ways": {
            name: {"processes": ways[name][0], "threads": ways[name][1], **best(found)}
            for name, found in rounds.items()
        },
        "updates": config.updates,
        "rounds": config.rounds,
        "rows": IMAGINED,
        "preset": config.preset,
        "model": MODEL,
        "model_hash": WorldModel.load(MODEL, "cpu").digest(),
        "seed": config.seed,
        **circumstances(),
    }


def main(config: ScalingConfig) -> None:
    """Measure, print and write."""
    if config.part is not None:
        measure_part(config)
        return
    report = measure(config)
    for way, found in report["ways"].items():
        for name, phase in found["training"].items():
            print(f"{way:<20} {name:<20} {phase['updates_per_second']:8.2f} updates/s, waiting {phase['waiting']:.0%}")
        for form, steps in found["imagining"].items():
            print(f"{way:<20} {form:<20} {steps['steps_per_second']:8.0f} steps/s")
    if config.json is not None:
        write_json(config.json, report)


if __name__ == "__main__":
    launch(main, ScalingConfig)
