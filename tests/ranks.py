"""Processes that train together, for tests: how they are started, and, run as a program, one of them.

python ranks.py '{"data": ..., "out": ..., "route": ..., "steps": ...}' trains every phase for so many steps and notes
the losses of each step and the weights at the end of each phase. With "double" it computes in double precision, and
with "until": [PHASE, STEP] it saves after every step and ends there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recordings import make_camera, make_episode, make_schema
from safetensors.torch import save_file
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from tracked import tracked_episode, tracked_schema

SIDE, STEPS = 32, 15  # pictures in [px], and of an episode

PHASES = ("tokenizer", "locator", "reader", "depth", "painter", "dynamics")
ROUTES: Mapping[str, dict[str, str]] = {
    "reference": {"drawing": "reference"},
    "latents": {"drawing": "latents"},
    "video": {"path": "video"},
}


def record(path: Path, tracked: bool = False, episodes: int = 24) -> Path:
    """A recording of random content with depth, of which every third episode was judged for one task alone."""
    from gwm_sim.data.episode_file import EpisodeWriter, TaskLabels

    schema = tracked_schema() if tracked else make_schema()
    schema = replace(schema, cameras={"front": make_camera(SIDE)}, depth=("front",))
    writer, rows = EpisodeWriter(path, schema), STEPS + 1
    for seed in range(episodes):
        rng = np.random.default_rng(seed)
        tasks = schema.tasks[: 1 if seed % 3 == 0 else None]
        episode = replace(
            (tracked_episode if tracked else make_episode)(seed),
            frames={"front": rng.integers(0, 256, (rows, SIDE, SIDE, 3), np.uint8)},
            depth={"front": rng.integers(0, 2**16, (rows, SIDE, SIDE, 1), np.uint16)},
            telemetry=rng.normal(size=(rows, 3)).astype(np.float32),
            actions=rng.uniform(-1, 1, (STEPS, 2)).astype(np.float32),
            labels={task: TaskLabels(rng.random(rows, np.float32), rng.random(rows) < 0.5) for task in tasks},
            objects=rng.normal(size=(rows, 2, 7)).astype(np.float32),
        )
        if tracked:  # the blue thing comes into sight for some episodes alone, so that parts of a batch count unlike
            seen = np.ones((rows, 2, 6), np.float32)
            seen[..., :4], seen[: seed % 7, 0, 5], seen[:, 1, 5] = rng.uniform(4, 20, (rows, 2, 4)), 0, seed % 4 == 0
            episode = replace(episode, sightings={"front": seen}, objects_confidence=0.5 * seen[..., 5])
        writer.write(seed, episode)
    writer.merge()
    return path


@contextmanager
def started(count: int, command: Sequence[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that run a command after `python` and find each other, as torchrun starts them; killed in the end."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    told = {
        **{"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)},
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # which outlives them all
    }
    running = [
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **told, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def ended(running: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit codes of processes, and what they said on the error stream."""
    said = [process.communicate(timeout=120)[1] for process in running]
    return [(process.returncode, text) for process, text in zip(running, said, strict=True)]


def train(count: int, **options: Any) -> Path:
    """Train in some processes, which must all end well, with the options of `main`; return the folder."""
    with started(count, [__file__, json.dumps(options, default=str)]) as running:
        for code, said in ended(running):
            assert code == 0, said
    return Path(options["out"])


def double() -> None:
    """Let what is float32 be float64 from here on."""
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float64
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]


def main(options: dict[str, Any]) -> None:
    """Train as one process."""
    if exact := options.pop("double", False):
        double()
    from gwm_sim.training import pipeline, trainer
    from gwm_sim.training.config import TrainConfig
    from gwm_sim.training.distributed import is_first

    class Noting(trainer.Trainer):
        def step(self, phase: Any, clock: Any, optimiser: Any) -> Any:
            parts = super().step(phase, clock, optimiser)
            losses.append({"phase": phase.name} | {name: value.item() for name, value in parts.items()})
            return parts

        def fit(self, phase: Any, *others: Any) -> None:
            super().fit(phase, *others)
            if is_first():
                weights = {f"weights.{name}": value.detach() for name, value in phase.parameters()}
                weights |= {f"average.{name}": self.average[name] for name, _ in phase.parameters()}
                save_file(weights, out / f"{phase.name}.noted.safetensors")

    def tick_or_end(clock: trainer.PhaseClock) -> None:
        tick(clock)
        if [losses[-1]["phase"], clock.step] == until:
            os._exit(0)

    losses: list[dict[str, Any]] = []
    if until := options.pop("until", None):
        tick, trainer.PhaseClock.tick = trainer.PhaseClock.tick, tick_or_end  # type: ignore[method-assign, assignment]
        trainer.SAVE_EVERY = 0.0
    out = Path(options.pop("out"))
    known: dict[str, Any] = {
        "preset": "tiny",
        "device": "cpu",
        "phases": PHASES,
        "patience": 1.0,
        "name": "test",
        "fresh": True,
    }
    TrainConfig.share = lambda config, *told: (None, config.steps)  # type: ignore[method-assign]
    config = TrainConfig((Path(options.pop("data")),), out, **known | ROUTES[options.pop("route")] | options)
    trainer.faster_precision = lambda device: torch.float32
    vars(pipeline)["Trainer"] = Noting
    if exact:
        pipeline.finish = lambda *told: {}  # it measures what is written, in single precision
    pipeline.train(config, tell=lambda line: None)
    if is_first():
        (out / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
