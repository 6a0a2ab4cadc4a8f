"""What labels are worth: the block world learned from raw pixels, and from the simulator's own positions of the cubes.

Both learn from the same frames by the same command for as long, tracking included, and are measured on the same test
episodes, whose positions are known; then on these at 70 % of their light. Every step is kept in FOLDER and not made
again; delete what is to be made anew.

python benchmarks/labels.py --folder runs/labels --minutes 60
python benchmarks/labels.py --folder runs/labels --length long --minutes 216
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from program import circumstances, launch
from subjects import Worlds, rate
from worlds.rows import gwm

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.files import write_json
from gwm_sim.progress import progress

RESULTS = Path(__file__).resolve().parent / "results/labels"
LENGTHS = {"short": (400, "fast"), "long": (2200, "rich")}
"""Episodes of 100 steps to learn from, and how they are drawn."""
TESTS, FIRST_TEST_SEED = 100, 300_000
HORIZONS = 1, 10, 40, 80
LIGHT = 0.7
"""What is left of it in the second test."""
ROWS, SECONDS = 256, 3.0
"""Worlds that nobody looks at, and for how long they are stepped."""

Kind = Literal["raw", "labelled"]


@dataclass(frozen=True)
class LabelsConfig:
    """Learn the block world with and without its labels, and measure both."""

    length: Literal["short", "long"] = "short"
    """short: 400 episodes in plain pictures; long: 2,200 in rich ones."""
    minutes: float = 60
    """Training of each."""
    kinds: tuple[Kind, ...] = ("raw", "labelled")
    """What is learned from."""
    folder: Path = Path("runs/labels")
    """Data and models; some gigabytes."""
    results: Path = RESULTS
    """Folder for what was measured, one JSON file per length."""


def main(config: LabelsConfig) -> int:
    """Collect, train and measure what is not there yet; return the exit code."""
    folder = config.folder / config.length
    folder.mkdir(parents=True, exist_ok=True)
    episodes, rendering = LENGTHS[config.length]
    for name, count, seed in (("train", episodes, 0), ("test", TESTS, FIRST_TEST_SEED)):
        labelled, raw = folder / f"{name}.labelled.hdf5", folder / f"{name}.hdf5"
        if not labelled.exists():
            words = ["--steps", 100, "--seed", seed, "--rendering", rendering, "--out", labelled]
            gwm("collect", "--episodes", count, *words)
        if not raw.exists():
            gwm("export", "raw", labelled, raw)
    dim = dimmed(folder / "test.labelled.hdf5", folder / "test.dim.hdf5")
    file = config.results / f"{config.length}.json"
    for kind in config.kinds:
        data = folder / ("train.hdf5" if kind == "raw" else "train.labelled.hdf5")
        model = train(folder / kind, data, config.minutes)
        measured = {
            "minutes": json.loads((model / "run.json").read_text(encoding="utf-8"))["options"]["minutes"],
            "words": json.loads((model / "report.json").read_text(encoding="utf-8"))["words"],
            "test": measure(model, folder / "test.labelled.hdf5", "evaluation"),
            "dim": measure(model, dim, "evaluation-dim"),
            "unwatched_steps_per_second": unwatched(model),
        }
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        write_json(file, before | {kind: measured} | circumstances())
    return 0


def dimmed(source: Path, out: Path) -> Path:
    """The same episodes in less light."""
    if not out.exists():
        with EpisodeFile(source) as file, progress("dim") as show:
            writer = EpisodeWriter(out, file.schema)
            for k in range(len(file)):
                episode = file.read(k)
                dark = {name: (LIGHT * frames).round().astype(np.uint8) for name, frames in episode.frames.items()}
                writer.write(k, replace(episode, frames=dark))
                show((k + 1) / len(file), f"{k + 1} of {len(file)} episodes")
            writer.merge()
    return out


def train(model: Path, data: Path, minutes: float) -> Path:
    """Train a model that knows no block world, or go on with it."""
    if not (model / "report.json").exists():
        words = ["--minutes", minutes, "--fresh", "--resume", "--name", f"blocks-{model.name}"]
        gwm("train", "--data", data, "--out", model, *words)
    return model


def measure(model: Path, data: Path, name: str) -> Any:
    """What `gwm eval` says of it."""
    path = model / f"{name}.json"
    if not path.exists():
        gwm(
            *("eval", "--model", model, "--data", data, "--horizons", *HORIZONS),
            *("--json", path, "--video", path.with_suffix(".png")),
        )
    return json.loads(path.read_text(encoding="utf-8"))


def unwatched(model: Path) -> float:
    """Steps a second of many worlds of which no picture is drawn."""
    envs: Any = gym.make_vec("GWM-World-v0", num_envs=ROWS, model=model, device="cpu")
    envs.reset(seed=0)
    return rate(Worlds(envs.unwrapped.world_model, envs.unwrapped.get_state()[0], seed=0, draw=False), SECONDS)


if __name__ == "__main__":
    launch(main, LabelsConfig)
