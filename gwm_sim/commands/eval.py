"""`gwm eval`: how far a world model strays from what really happened, open loop, on episodes to evaluate with.

`gwm_sim.evaluation` says what is predicted and what every number means. What happened is read from the episode file.
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import gwm_sim
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError, check_at_least_one
from gwm_sim.evaluation.metrics import Row, number
from gwm_sim.evaluation.open_loop import STRIDE, ModelPredictor, OpenLoopTest, Predictor
from gwm_sim.evaluation.reconstruction import reconstruction_report
from gwm_sim.evaluation.registry import find_metrics
from gwm_sim.evaluation.report import MIN_WINDOWS, SHUFFLE_STEPS, open_loop_report
from gwm_sim.evaluation.scene import Scene, find_scene
from gwm_sim.files import write_json
from gwm_sim.media.sheets import write_comparison
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.progress import Show, progress
from gwm_sim.protocol import CONTEXT, FIRST_EVALUATION_SEED
from gwm_sim.training.tracking import tracked_copies


@dataclass(frozen=True)
class EvalConfig:
    """Measure a world model on episodes that it was not trained on."""

    model: str
    """Name of a shipped model, or the folder of one."""
    data: Path
    """Episode file, collected with seeds from 300000."""
    training_data: Path | None = None
    """Episode file that the model was trained on, for the floor of the empty scene with the robot looked up in it, and
    for the tracker that it brings along; by default one that its training tracked, if that lies in its folder."""
    horizons: tuple[int, ...] = (1, 10, 40, 80, 600)
    """Steps after which to measure; those that fewer than 20 windows reach are left out."""
    context: int = CONTEXT
    """Real frames that the model is shown; published numbers use 4."""
    limit: int | None = None
    """Use only the first episodes of the file."""
    batch: int = 64
    """Windows that are rolled out at once."""
    device: str = "auto"
    """cpu, cuda or auto."""
    json: Path | None = None
    """Write the numbers here."""
    video: Path | None = None
    """Write real | predicted | difference of the best and worst episodes here: a strip if its name ends in .png, else
    a film."""

    def __post_init__(self) -> None:
        check_at_least_one(context=self.context, batch=self.batch, limit=self.limit)
        if not self.horizons or min(self.horizons) < 1:
            raise ConfigError(f"--horizons must be numbers of steps from 1, got {list(self.horizons)}")


def evaluate(
    config: EvalConfig, show: Show = lambda share, text: None, say: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Measure a model, write what was asked for and return the report.

    Args:
        config: What to measure.
        show: Told now and then which share of the work is done.
        say: Told in a line what cannot be measured, and why.
    """
    begin = time.perf_counter()
    model = WorldModel.load(config.model, None if config.device == "auto" else config.device)
    with EpisodeFile(config.data) as file:
        check_fit(model, file.schema, str(config.data))
        test = OpenLoopTest(
            file,
            [*config.horizons, SHUFFLE_STEPS],
            cameras=model.config.cameras,
            depth=model.config.depth,
            properties=model.config.properties,
            context=config.context,
            limit=config.limit,
        )
        test.scene = look_around(config, file, model, show)
        lacking = {kind.name: kind.missing(test) for kind in find_metrics(file.schema.env_id)}
        lacking["empty scene"] = test.scene.unposed
        if any(lacking.values()):
            say("not measured: " + ", ".join(f"{name} ({reason})" for name, reason in lacking.items() if reason))
        predict = ModelPredictor(model, depth=test.depth)
        report = {
            "model": model.config.name,
            "model_hash": model.digest(),
            **open_loop_report(predict, test, config.horizons, batch=config.batch, show=show),
            "reconstruction": reconstruction_report(model, test),
            "context": config.context,
            "stride": STRIDE,
            "data": provenance(file),
            "command": " ".join(["gwm", *sys.argv[1:]]),
            "versions": {"gwm_sim": gwm_sim.__version__, "torch": torch.__version__},
            "machine": {"cpu": processor(), "cores": os.cpu_count(), "device": str(model.device)},
            "seconds": round(time.perf_counter() - begin, 1),
        }
        if config.json is not None:
            write_json(config.json, report)
        if config.video is not None:
            film(config.video, predict, test, max(config.horizons), report["rollouts"])
    return report


def look_around(config: EvalConfig, file: EpisodeFile, model: WorldModel, show: Show) -> Scene:
    """Find out what is known of the scene of an evaluation."""
    camera = model.config.cameras[0]
    copies = [] if model.folder is None else tracked_copies(model.folder)
    path = config.training_data or next(iter(copies), None)
    if path is None:
        return find_scene(file, camera, show=show)
    with EpisodeFile(path) as training, ExitStack() as stack:
        check_fit(model, training.schema, str(path))
        tracked = [stack.enter_context(EpisodeFile(copy)) for copy in copies[:1]]
        return find_scene(file, camera, training, tracked=tracked, show=show)


def film(path: Path, predict: Predictor, test: OpenLoopTest, steps: int, rollouts: Mapping[str, Any]) -> None:
    """Write real | predicted | difference of the openings of the `best` and `worst` rollouts, at most `steps` long."""
    compared = {}
    for kind in ("best", "worst"):
        for episode in (each["episode"] for each in rollouts[kind]):
            windows = test.opening(episode, steps)
            predicted = predict(windows, windows.actions, range(1, windows.actions.shape[1] + 1)).frames[0]
            compared[f"{kind} {episode} {test.file.policies[episode]}"] = (windows.true_frames[0], predicted)
    write_comparison(path, compared, test.file.schema.rate)


def provenance(file: EpisodeFile) -> dict[str, Any]:
    """Say where the episodes come from."""
    seeds = [seed for seed in file.seeds if seed is not None]
    return {
        "file": str(file.path),
        "env_id": file.schema.env_id,
        "seeds": [min(seeds), max(seeds)] if seeds else None,
        "digest": file.digest(),
    }


def processor() -> str:
    """Return the name of the machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def show_report(report: dict[str, Any], console: Console) -> None:
    """Print a report as a table, one column per horizon."""
    kinds = find_metrics(report["data"]["env_id"])
    title = f"{report['model']} ({report['model_hash']}), {report['episodes']} episodes"
    table = Table(title=f"{title}, open loop from {report['context']} frames")
    table.add_column("steps ahead")
    table.add_column("unit")
    for horizon in report["horizons"]:
        table.add_column(horizon, justify="right")
    for label, unit, key, digits in (Row("windows", "", "n", 0), *(row for kind in kinds for row in kind.rows)):
        scale = 100 if unit == "%" else 1
        values = [column[key] for column in report["horizons"].values()]
        if any(value is not None for value in values):  # else the data say nothing of it
            table.add_row(label, unit, *(number(value, digits, scale) for value in values))
    console.print(table)
    control = report["controllability"]
    if control["action_shuffle_ratio"] is not None:
        ratio = f"{number(control['action_shuffle_ratio'], 2)} times the error with the right ones"
        console.print(f"actions of other windows for {control['steps']} steps: {ratio}", highlight=False)
    alone = report["reconstruction"]
    kept = "" if alone["kept"] is None else f"{number(alone['kept'], 1, 100)} % of {alone['things']} things kept, "
    told = f"{kept}PSNR {number(alone['psnr'], 1)} dB, foreground {number(alone['fg_psnr'], 1)} dB"
    console.print(f"reconstructions: {told}", highlight=False)
    ratios = [f"{name} {number(ratio, 2)}" for name, ratio in control["pictures"].items() if ratio is not None]
    if ratios:
        told = f"foreground error of the pictures after {control['steps']} steps with other actions"
        console.print(f"{told}, over that with the right ones: {', '.join(ratios)}", highlight=False)
    for line in (line for kind in kinds for line in kind.lines(report)):
        console.print(line, highlight=False, markup=False)


def main(config: EvalConfig) -> int:
    """Run `gwm eval`."""
    notes: list[str] = []
    with progress("eval") as show:
        report = evaluate(config, show, notes.append)
    console = Console()
    show_report(report, console)
    for note in notes:
        console.print(note, highlight=False, markup=False)
    left_out = [str(horizon) for horizon in sorted(set(config.horizons)) if str(horizon) not in report["horizons"]]
    if left_out:
        console.print(
            f"left out: {', '.join(left_out)} steps, which fewer than {MIN_WINDOWS} windows reach", highlight=False
        )
    seeds = report["data"]["seeds"]
    if seeds is not None and seeds[0] < FIRST_EVALUATION_SEED:
        console.print(f"caution: seeds below {FIRST_EVALUATION_SEED} may have been trained on", highlight=False)
    for path in (config.json, config.video):
        if path is not None:
            console.print(f"wrote {path}", soft_wrap=True, highlight=False)
    return 0
