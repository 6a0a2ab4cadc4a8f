"""The shipped model beside a floor, a ceiling and a peer: how far each strays from the same test episodes.

A recurrent state-space model learns on equal terms (`peers/rssm.py`, `peers/training.py`): the same episodes and
minutes, six configurations tried for either side. Everything is measured by `gwm_sim.evaluation.report`.

python benchmarks/fidelity.py search --side rssm --data TRAIN.hdf5... --validation VAL.hdf5 --out runs/rssm --minutes 10
python benchmarks/fidelity.py train --found runs/rssm --data TRAIN.hdf5... --out runs/rssm/model --minutes 60
python benchmarks/fidelity.py measure --data TEST.hdf5 --long TEST-LONG.hdf5 --peer runs/rssm/model

Each of them can be repeated when it was killed: training goes on, and what was measured is kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from peers.bounds import ShiftedTwin, copy_last_frame
from peers.report import comparison_table, plot
from peers.rssm import RSSM, RSSMPredictor
from peers.training import Budget, Side, chosen, search, train
from program import circumstances, launch

from gwm_sim.commands.eval import provenance
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.open_loop import STRIDE, ModelPredictor, OpenLoopTest, Predictor, Window
from gwm_sim.evaluation.report import SHUFFLE_STEPS, open_loop_report
from gwm_sim.evaluation.statistics import auroc
from gwm_sim.files import write_json
from gwm_sim.model.checkpoint import find_checkpoint
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.progress import Show, progress
from gwm_sim.protocol import CONTEXT

Array = NDArray[Any]
System = Literal["copy", "twin", "rssm", "model"]
Judge = Callable[[Window, Array], Array]
"""Success probability of each task after each of the actions (B, T, A), as (B, T, tasks)."""

RESULTS = Path(__file__).parent / "results"
HORIZONS = (1, 2, 5, 10, 20, 40, 60, 80)
LONG_HORIZONS = (1, 10, 40, 80, 600)
SUCCESS_STEPS = 80
"""Imagined steps over which success heads are judged."""


@dataclass(frozen=True)
class MeasureConfig:
    """Measure systems on test episodes; those measured before on the same episodes are kept."""

    data: Path
    """Episode file, collected with seeds from 300000."""
    long: Path | None = None
    """Episodes of a minute or more, for horizons up to 600 steps."""
    systems: tuple[System, ...] = ("copy", "twin", "rssm", "model")
    """What to measure."""
    model: str = "gwm-mini"
    """Name of a shipped model, or the folder of one; of another than gwm-mini with an --out of its own."""
    minutes: float | None = None
    """Minutes that the model was trained for, where its folder does not say so."""
    peer: Path = Path("runs/rssm/model")
    """Folder of the trained peer."""
    limit: int | None = None
    """Use only the first episodes of each file."""
    batch: int = 64
    """Windows that are rolled out at once."""
    quick: bool = False
    """Four episodes and ten steps, written to out/fidelity: to see that all works."""
    out: Path | None = None
    """Folder for fidelity.json and fidelity.png, by default benchmarks/results."""


@dataclass(frozen=True)
class SearchConfig:
    """Train six configurations of one side for a short equal budget, and choose by validation episodes."""

    data: tuple[Path, ...]
    """Training episodes."""
    validation: Path
    """Episodes to choose by, collected with seeds from 200000 to 299999."""
    out: Path
    """Folder of the search."""
    side: Side = "rssm"
    """Whose configurations: the recurrent peer's, or the shipped model's."""
    minutes: float | None = None
    """Budget of each configuration."""
    steps: int | None = None
    """Budget in optimiser steps instead."""
    batch: int = 1
    """Size of the batches, as a multiple of the usual one, for a GPU."""
    seed: int = 0
    """Seed of weights and batches."""
    limit: int | None = None
    """Use only the first validation episodes."""


@dataclass(frozen=True)
class TrainConfig:
    """Train one configuration for the whole budget."""

    data: tuple[Path, ...]
    """Training episodes."""
    out: Path
    """Folder of the finished model."""
    side: Side = "rssm"
    """The recurrent peer, or the shipped model."""
    config: str | None = None
    """Name of the configuration; by default the one that the search in `found` chose."""
    found: Path = Path("runs/rssm")
    """Folder of the search."""
    minutes: float | None = None
    """Budget; equal terms are the minutes of the shipped model."""
    steps: int | None = None
    """Budget in optimiser steps instead."""
    batch: int = 1
    """Size of the batches, as a multiple of the usual one, for a GPU."""
    seed: int = 0
    """Seed of weights and batches."""


Command: Any = (  # a type to tyro, which mypy takes for a value
    Annotated[MeasureConfig, tyro.conf.subcommand("measure")]
    | Annotated[SearchConfig, tyro.conf.subcommand("search")]
    | Annotated[TrainConfig, tyro.conf.subcommand("train")]
)


class Contender(NamedTuple):
    """A system that is ready to be tested."""

    about: dict[str, Any]
    properties: tuple[str, ...]
    """Physics properties that it is told."""
    predictor: Callable[[OpenLoopTest], Predictor]
    judge: Judge | None = None
    tasks: tuple[str, ...] = ()
    """What the judge speaks of."""
    cameras: tuple[str, ...] = ("front",)
    """What it looks through."""


def enlist(system: System, config: MeasureConfig, file: EpisodeFile) -> Contender:
    """Load a system."""
    if system == "model":
        return enlist_model(config, file)
    if system == "rssm":
        return enlist_peer(config.peer)
    about = {"model": system, "model_hash": None, "training_minutes": None, "parameters": 0, "seed": None}
    return Contender(about, (), ShiftedTwin if system == "twin" else lambda test: copy_last_frame)


def enlist_model(config: MeasureConfig, file: EpisodeFile) -> Contender:
    """Load the shipped model."""
    model = WorldModel.load(config.model)
    check_fit(model, file.schema, str(file.path))

    def judge(windows: Window, actions: Array) -> Array:
        given = (windows.frames, windows.telemetry, windows.past_actions, windows.properties)
        state = model.encode(*map(torch.from_numpy, given))
        return model.imagine(state, torch.from_numpy(actions), draw=False).success.cpu().numpy()

    record = find_checkpoint(config.model) / "run.json"  # shipped models come without
    options = json.loads(record.read_text(encoding="utf-8"))["options"] if record.exists() else {}
    about = {
        "model": model.config.name,
        "model_hash": model.digest(),
        "training_minutes": options.get("minutes", config.minutes),
        "parameters": sum(p.numel() for p in model.parameters()),
        "seed": options.get("seed"),
    }
    properties, cameras = model.config.properties, model.config.cameras
    return Contender(about, properties, lambda test: ModelPredictor(model), judge, model.tasks, cameras)


def enlist_peer(folder: Path) -> Contender:
    """Load the recurrent peer."""
    if not (folder / "config.json").exists():
        raise ConfigError(f"no peer in {folder}: train one with `python benchmarks/fidelity.py train`")
    peer = RSSM.load(folder, "cuda" if torch.cuda.is_available() else "cpu")
    predict, run = RSSMPredictor(peer), json.loads((folder / "run.json").read_text(encoding="utf-8"))
    about = {
        "model": "rssm",
        "model_hash": peer.digest(),
        "training_minutes": run["minutes"],
        "training_steps": run["steps"],
        "parameters": sum(p.numel() for p in peer.parameters()),
        "seed": run["seed"],
        "configuration": peer.to_json()["rssm"],
    }
    return Contender(about, peer.world.properties, lambda test: predict, predict.success, peer.world.schema.tasks)


def examine(contender: Contender, file: EpisodeFile, horizons: Sequence[int], config: MeasureConfig) -> dict[str, Any]:
    """Measure one system on one file; the keys of a `gwm eval` report, and `success_auroc`."""
    begin = time.perf_counter()
    test = OpenLoopTest(
        file,
        [*horizons, SHUFFLE_STEPS],
        cameras=contender.cameras,
        properties=contender.properties,
        context=CONTEXT,
        limit=episodes(config),
    )
    predict = contender.predictor(test)
    with progress(f"{contender.about['model']} {file.path.name}") as show:
        numbers = open_loop_report(predict, test, horizons, batch=config.batch, show=show)
    if isinstance(predict, ShiftedTwin):
        predict.close()
    if contender.judge is not None:
        with progress(f"{contender.about['model']} success") as show:
            numbers["success_auroc"] = success_auroc(contender.judge, contender.tasks, test, config.batch, show)
    return numbers | {
        "context": CONTEXT,
        "stride": STRIDE,
        "data": provenance(file) | {"file": file.path.name},
        "seconds": round(time.perf_counter() - begin, 1),
    }


def success_auroc(judge: Judge, tasks: Sequence[str], test: OpenLoopTest, batch: int, show: Show) -> dict[str, Any]:
    """How well imagined success tells true success from failure, over all steps up to `SUCCESS_STEPS` of all windows.

    Returns:
        Area under the receiver operating characteristic by task; None for a task that never or always succeeds.
    """
    known = [task for task in tasks if task in test.file.schema.tasks]
    labels = [test.file.read(k, cameras=()).labels for k in range(test.episodes)]
    guesses, truths = [], []
    done = 0
    for windows in test.batches(batch):
        actions = windows.actions[:, :SUCCESS_STEPS]
        guesses.append(judge(windows, actions)[..., [tasks.index(task) for task in known]].reshape(-1, len(known)))
        for number in windows.number.tolist():
            slot = test.slots[number]
            first = slot.start + test.context
            after = slice(first, first + actions.shape[1])
            truths.append(np.stack([labels[slot.episode][task].success[after] for task in known], axis=-1))
        done += len(actions)
        show(done / len(test.slots), f"{done} of {len(test.slots)} windows")
    guess, truth = np.concatenate(guesses), np.concatenate(truths)
    return {task: auroc(guess[~truth[:, i], i], guess[truth[:, i], i]) for i, task in enumerate(known)}


def measure_all(config: MeasureConfig) -> int:
    """Run `measure`."""
    out = config.out or (Path("out/fidelity") if config.quick else RESULTS)
    path = out / "fidelity.json"
    horizons, far = ((1, 10), (1, 10)) if config.quick else (HORIZONS, LONG_HORIZONS)
    with EpisodeFile(config.data) as file:
        reports = measured_before(path, file.digest(), episodes(config) or len(file))
        for system in config.systems:
            contender = enlist(system, config, file)
            report = contender.about | examine(contender, file, horizons, config)
            if config.long is not None:
                with EpisodeFile(config.long) as long:
                    report["long"] = examine(contender, long, far, config)
            reports[system] = report | circumstances()
            write_json(path, reports)
    plot(reports, out / "fidelity.png")
    print(comparison_table(reports))
    print(f"wrote {path} and {out / 'fidelity.png'}")
    return 0


def episodes(config: MeasureConfig) -> int | None:
    """How many episodes of a file are used; None for all."""
    return 4 if config.quick and config.limit is None else config.limit


def measured_before(path: Path, digest: str, episodes: int) -> dict[str, Any]:
    """Reports in a file about the same episodes; others could not be compared."""
    if not path.exists():
        return {}
    reports: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: report
        for name, report in reports.items()
        if report["data"]["digest"] == digest and report["episodes"] == episodes
    }


def search_configurations(config: SearchConfig) -> int:
    """Run `search`."""
    budget = Budget(config.minutes, config.steps, config.batch)
    best = search(config.side, config.data, config.validation, config.out, budget, config.seed, config.limit)
    print(f"chosen: {best}; train it with `train --side {config.side} --found {config.out}`")
    return 0


def train_configuration(config: TrainConfig) -> int:
    """Run `train`."""
    name = config.config or chosen(config.found, config.side)
    train(config.side, name, config.data, config.out, Budget(config.minutes, config.steps, config.batch), config.seed)
    print(f"{config.out}: {config.side}, configuration {name}")
    return 0


def main(config: MeasureConfig | SearchConfig | TrainConfig) -> int:
    """Do what was asked for."""
    match config:
        case MeasureConfig():
            return measure_all(config)
        case SearchConfig():
            return search_configurations(config)
        case TrainConfig():
            return train_configuration(config)


if __name__ == "__main__":
    launch(main, Command)
