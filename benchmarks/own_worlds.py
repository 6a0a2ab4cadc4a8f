"""Worlds of one's own: learned from raw pixels by the same three commands (import, track, train), and measured.

Every step is kept in FOLDER and not made again; delete what is to be made anew. Tracking and training never read the
episodes that are measured with. Positions that a simulator knows measure the tracking, and are never learned from.

python benchmarks/own_worlds.py --folder runs/own-worlds --minutes 40
python benchmarks/own_worlds.py --rows fetch pusht --minutes 0       track alone
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from program import circumstances, launch
from worlds.rows import REAL, WORLDS, Place, World, gwm
from worlds.table import PATHS
from worlds.truth import recall

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.files import write_json
from gwm_sim.training.config import Route

RESULTS = Path(__file__).resolve().parent / "results/own_worlds"
REFUSAL = "gwm: "
"""How a message to users begins."""
HORIZONS = 1, 5, 10, 25, 40


@dataclass(frozen=True)
class OwnWorldsConfig:
    """Learn worlds that are not ours from raw pixels, and measure them."""

    rows: tuple[str, ...] = tuple(WORLDS)
    """Which worlds."""
    minutes: float = 40
    """Training of each; 0 only tracks."""
    paths: tuple[Route, ...] = ("auto",)
    """Kinds of models, as `gwm train --path` has them; video is a floor."""
    folder: Path = Path("runs/own-worlds")
    """Data and models; some gigabytes."""
    venvs: Path | None = None
    """Environments of the recorders, one folder each; made where they are missing, by default in FOLDER."""
    real: Path = REAL
    """Recordings of real robots."""
    results: Path = RESULTS
    """Folder for what was measured, one JSON file per world."""

    def __post_init__(self) -> None:
        if unknown := set(self.rows) - set(WORLDS):
            raise ConfigError(f"--rows knows {', '.join(WORLDS)}, got {', '.join(sorted(unknown))}")


def main(config: OwnWorldsConfig) -> int:
    """Make every row that is asked for; return the exit code."""
    for name in config.rows:
        world = WORLDS[name]
        place = Place(config.folder / name, config.venvs or config.folder / "venvs", config.real)
        place.folder.mkdir(parents=True, exist_ok=True)
        print(f"{name}: {world.title}", flush=True)
        world.prepare(place)
        result: dict[str, Any] = {"title": world.title, "data": contents(place), "tracking": track(world, place)}
        for path in config.paths if config.minutes else ():
            result[path] = train(place, world, path, config.minutes)
        file = config.results / f"{name}.json"
        write_json(file, measured_before(file, result["data"]) | result | circumstances())
    return 0


def measured_before(file: Path, data: dict[str, Any]) -> dict[str, Any]:
    """What was measured of kinds of models in an earlier run, of the same data."""
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return {path: before[path] for path in PATHS if path in before and before["data"] == data}


def contents(place: Place) -> dict[str, Any]:
    """Say what is learned from and what is measured with."""
    told = {}
    for part in ("train", "test"):
        with EpisodeFile(place.folder / f"{part}.hdf5") as file:
            frames = sum(file.lengths) + len(file)
            told[part] = {"episodes": len(file), "frames": frames, "digest": file.digest()}
    return told


def track(world: World, place: Place) -> dict[str, Any]:
    """Find things in the training episodes, follow them in those of the tests, and compare with the truth.

    Where nothing can be tracked, `refused` says why and all else is missing.
    """
    tracked, tests, told = (place.folder / name for name in ("tracked.hdf5", "tracked-test.hdf5", "tracked.json"))
    sheet = tracked.with_suffix(".png")
    if not told.exists():
        words = ["track", place.folder / "train.hdf5", "--out", tracked, "--camera", world.camera]
        done = subprocess.run(
            [sys.executable, "-m", "gwm_sim", *map(str, words), "--sheet", sheet, "--json", told],
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        print(done.stderr, end="", file=sys.stderr)
        if done.returncode:
            if REFUSAL not in done.stderr:
                done.check_returncode()  # a fault of ours, not of the recording
            return {"refused": done.stderr.rpartition(REFUSAL)[2].strip()}
    if not tests.exists():
        gwm("track", place.folder / "test.hdf5", "--out", tests, "--like", tracked)
    found = json.loads(told.read_text(encoding="utf-8"))
    measured = {} if world.truth is None else recall(tests, world.camera, world.truth(place))
    return {"found": len(found["things"]), **found, **measured}


def train(place: Place, world: World, path: str, minutes: float) -> dict[str, Any]:
    """Train one kind of model on what was tracked, or on what there is, and measure it on the tests.

    Returns:
        minutes: How long it was trained on one core.
        words: What training says of the model in closing.
        evaluation: What `gwm eval` says.
    """
    pairs = [
        [place.folder / f"{name}.hdf5" for name in names] for names in (("tracked", "tracked-test"), ("train", "test"))
    ]
    data, tests = next(pair for pair in pairs if all(file.exists() for file in pair))
    model = place.folder / path
    report, evaluation = model / "report.json", model / "evaluation.json"
    if not report.exists():
        words = ["--path", path, "--minutes", minutes, "--camera", world.camera, "--resume", *world.options]
        gwm("train", "--data", data, "--out", model, "--name", f"{place.folder.name}-{path}", *words)
    if not evaluation.exists():
        words = ["--training-data", data, "--horizons", *HORIZONS, "--video", model / "rollouts.png"]
        gwm("eval", "--model", model, "--data", tests, "--json", evaluation, *words)
    closing, measured = (json.loads(path.read_text(encoding="utf-8")) for path in (report, evaluation))
    minutes = json.loads((model / "run.json").read_text(encoding="utf-8"))["options"]["minutes"]
    return {"minutes": minutes, "words": closing["words"], "evaluation": measured}


if __name__ == "__main__":
    launch(main, OwnWorldsConfig)
