"""`gwm eval`: how far a world model strays from what really happened, open loop, on held-out episodes.

Frozen, together with `open_loop.py`, which says what is predicted, and `scores.py` and `detector.py`, which say what
every number means: a change is a new benchmark. Knows nothing of environments; what happened in the physics twin is
read from the episode file.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import gwm_sim
from gwm_sim.data.episode_file import DEPTH_UNIT, EpisodeFile
from gwm_sim.data.schema import Schema
from gwm_sim.data.views import apart, main_view
from gwm_sim.envs.blocks.view_agreement import ViewAgreement
from gwm_sim.envs.blocks.view_agreement import summarize as summarize_votes
from gwm_sim.envs.blocks.violations import KINDS, find_violations, violation_rates
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.metrics import (
    OUTCOMES,
    Scene,
    Scores,
    balanced_accuracy,
    confusion,
    effect_cm,
    kappa,
    score,
    summarize,
)
from gwm_sim.evaluation.open_loop import STRIDE, ModelPredictor, OpenLoopTest, Prediction, Predictor, Window
from gwm_sim.media.comparison import write_comparison
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.progress import Show, progress
from gwm_sim.protocol import CONTEXT, FIRST_EVALUATION_SEED

Array = NDArray[Any]

MIN_WINDOWS = 20
"""A horizon that fewer windows reach is left out."""

SHUFFLE_STEPS = 10
"""Horizon at which the effect of wrong actions is measured [steps]."""

_BACKGROUND_FRAMES = 256
_FILMED_EPISODES = 4


@dataclass(frozen=True)
class EvalConfig:
    """Measure a world model on held-out episodes."""

    model: str
    """Name of a shipped model, or the folder of one."""
    data: Path
    """Episode file, collected with seeds from 300000."""
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
    """Write real | predicted | difference of some episodes here: a strip if the name ends in .png, else a film."""

    def __post_init__(self) -> None:
        limit = [] if self.limit is None else [self.limit]
        for name, values in (("context", [self.context]), ("batch", [self.batch]), ("limit", limit)):
            if any(value < 1 for value in values):
                raise ConfigError(f"--{name} must be at least 1, got {values[0]}")
        if not self.horizons or min(self.horizons) < 1:
            raise ConfigError(f"--horizons must be numbers of steps from 1, got {list(self.horizons)}")


def measure(
    predict: Predictor,
    test: OpenLoopTest,
    horizons: Sequence[int],
    *,
    batch: int = 64,
    show: Show = lambda share, text: None,
) -> dict[str, Any]:
    """Roll out every window of a test and compare.

    Args:
        predict: The predictor.
        test: The windows; its horizons are these and `SHUFFLE_STEPS`.
        horizons: Steps after which to report.
        batch: Windows that are predicted at once.
        show: Told now and then which share of the work is done.

    Returns:
        Of the report the keys `episodes`, `windows`, `horizons`, `outcome`, `controllability` and `violations`; of
        several cameras `views`, whether they agree; where depth is known and predicted `depth_error_mm` by horizon.
    """
    scene = describe_scene(test)
    effector = list(test.file.schema.effector)
    foreign = test.foreign_actions(SHUFFLE_STEPS)
    scores: dict[int, list[Scores]] = defaultdict(list)
    shuffled: list[Scores] = []
    found: dict[str, list[Array]] = {"model": [], "twin": []}
    agreement = view_agreement(test)
    votes: dict[str, list[Array]] = {"model": [], "twin": []}
    depth_mm: dict[int, list[Array]] = defaultdict(list)
    matrix = np.zeros((len(OUTCOMES), len(OUTCOMES)), np.int64)
    done, total = 0, sum(slot.steps for slot in test.slots)
    for windows in test.batches(batch):
        rows, steps = windows.actions.shape[:2]
        asked = test.reached(steps)
        prediction = predict(windows, windows.actions, asked)
        for i, horizon in enumerate(asked):
            scores[horizon].append(_compare(scene, effector, windows, i, prediction, i, test.cameras))
            if prediction.depth is not None and test.depth:
                error = np.abs(prediction.depth[:, i] - windows.true_depth[:, i] * DEPTH_UNIT)
                depth_mm[horizon].append(1000 * error.mean(axis=(1, 2, 3)))
        if agreement is not None:
            for world, frames, telemetry in (
                ("model", prediction.frames, prediction.telemetry),
                ("twin", windows.true_frames, windows.true_telemetry),
            ):
                votes[world].append(_vote(agreement, test.cameras, windows, effector, frames, telemetry))
        if SHUFFLE_STEPS in asked:
            wrong = predict(windows, np.stack([foreign[k] for k in windows.number.tolist()]), [SHUFFLE_STEPS])
            shuffled.append(_compare(scene, effector, windows, asked.index(SHUFFLE_STEPS), wrong, 0, test.cameras))
        if prediction.outcome is not None:
            ends = windows.true_outcome >= 0
            matrix += confusion(windows.true_outcome[ends], prediction.outcome[ends])
        for world, course in (("model", prediction), ("twin", windows)):
            found[world] += _find_violations(test.file.schema, course.course_telemetry, course.course_objects)
        done += rows * steps
        show(done / total, f"{done:,} of {total:,} steps")
    together = {horizon: Scores.concatenate(parts) for horizon, parts in scores.items()}
    reached = {horizon: part for horizon, part in together.items() if len(part.squared) >= MIN_WINDOWS}
    report: dict[str, Any] = {
        "episodes": test.episodes,
        "windows": len(test.slots),
        "horizons": {
            str(horizon): summarize(reached[horizon]) for horizon in sorted(set(horizons)) if horizon in reached
        },
        "outcome": _outcome_report(matrix),
        "controllability": _controllability_report(reached.get(SHUFFLE_STEPS), shuffled),
        "violations": {
            world: violation_rates(np.concatenate(parts, axis=1)) if parts else None for world, parts in found.items()
        },
    }
    if agreement is not None:
        report["views"] = {world: summarize_votes(np.concatenate(parts)) for world, parts in votes.items()}
    if depth_mm:
        kept = [horizon for horizon in depth_mm if str(horizon) in report["horizons"]]
        report["depth_error_mm"] = {str(horizon): float(np.concatenate(depth_mm[horizon]).mean()) for horizon in kept}
    return report


def describe_scene(test: OpenLoopTest) -> Scene:
    """Say where and what was filmed.

    The background is the median, per pixel and channel, of frames spread evenly over all episodes of the test.
    """
    file, schema = test.file, test.file.schema
    ends = np.cumsum([length + 1 for length in file.lengths[: test.episodes]])
    frames = []
    for i in np.unique(np.linspace(0, ends[-1] - 1, _BACKGROUND_FRAMES).round().astype(int)).tolist():
        k = int(np.searchsorted(ends, i, side="right"))
        row = i - int(ends[k]) + file.lengths[k] + 1
        frames.append(file.read(k, row, row + 1, cameras=test.cameras[:1]).frames[test.cameras[0]][0])
    background = np.median(frames, axis=0).astype(np.uint8)
    return Scene.of(schema.cameras[test.cameras[0]], schema.object_names, schema.object_size, background)


def view_agreement(test: OpenLoopTest) -> ViewAgreement | None:
    """The cameras of a test, if there are several that can be asked about a held cube."""
    schema = test.file.schema
    if len(test.cameras) < 2 or len(schema.effector) != 3 or not schema.object_names:
        return None
    first = test.file.read(0, 0, 1, cameras=()).telemetry[0, list(schema.effector)]  # where the schema saw the cameras
    return ViewAgreement({name: schema.cameras[name] for name in test.cameras}, schema.object_names, first)


def _vote(
    agreement: ViewAgreement,
    cameras: Sequence[str],
    windows: Window,
    effector: list[int],
    frames: Array,
    telemetry: Array,
) -> Array:
    """What the views of all horizons say of the cube that is truly held, in frames that have one, (F, V)."""
    flat = frames.reshape(-1, *frames.shape[2:])
    objects = windows.true_objects[..., :3].reshape(len(flat), -1, 3)
    places, true = (x[..., effector].reshape(-1, 3) for x in (telemetry, windows.true_telemetry))
    return agreement.votes(apart(flat, cameras), places, objects, true)


def _compare(
    scene: Scene,
    effector: list[int],
    windows: Window,
    index: int,
    prediction: Prediction,
    answer: int,
    cameras: Sequence[str],
) -> Scores:
    """Score what the main camera is predicted to see at one horizon against what it truly saw at one."""
    return score(
        scene,
        frames=main_view(windows.true_frames[:, index], cameras),
        predicted=main_view(prediction.frames[:, answer], cameras),
        last_frames=main_view(windows.frames[:, -1], cameras),
        objects=windows.true_objects[:, index],
        last_objects=windows.last_objects,
        effector=windows.true_telemetry[:, index, effector],
        predicted_effector=prediction.telemetry[:, answer, effector],
    )


def _find_violations(schema: Schema, telemetry: Array | None, objects: Array | None) -> list[Array]:
    """Violations in the steps of B rollouts, (kinds, B*T); nothing where it is not known where everything is."""
    if telemetry is None or objects is None or not objects.size:
        return []
    if len(schema.gripper) != 1 or len(schema.effector) != 3:
        return []
    opening = telemetry[..., schema.gripper[0]]
    effector = telemetry[..., list(schema.effector)]
    found = find_violations(objects, effector, opening, schema.object_size, schema.rate)
    return [found.reshape(len(KINDS), -1)]


def _outcome_report(matrix: Array) -> dict[str, Any]:
    return {
        "balanced_accuracy": balanced_accuracy(matrix),
        "kappa": kappa(matrix),
        "n": int(matrix.sum()),
        "classes": list(OUTCOMES),
        "confusion": matrix.tolist(),
    }


def _controllability_report(right: Scores | None, shuffled: Sequence[Scores]) -> dict[str, Any]:
    """Compare the errors with wrong actions and with the right ones; None if too few windows are long enough."""
    right_cm = None if right is None else effect_cm(right)
    shuffled_cm = None if right is None else effect_cm(Scores.concatenate(shuffled))
    return {
        "action_shuffle_ratio": shuffled_cm / right_cm if right_cm and shuffled_cm is not None else None,
        "error_cm": right_cm,
        "shuffled_error_cm": shuffled_cm,
        "steps": SHUFFLE_STEPS,
    }


def evaluate(config: EvalConfig, show: Show = lambda share, text: None) -> dict[str, Any]:
    """Measure a model, write what was asked for and return the report.

    Args:
        config: What to measure.
        show: Told now and then which share of the work is done.
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
        predict = ModelPredictor(model, depth=test.depth)
        report = {
            "model": model.config.name,
            "model_hash": model.digest(),
            **measure(predict, test, config.horizons, batch=config.batch, show=show),
            "context": config.context,
            "stride": STRIDE,
            "data": provenance(file),
            "command": " ".join(["gwm", *sys.argv[1:]]),
            "versions": {"gwm_sim": gwm_sim.__version__, "torch": torch.__version__},
            "machine": {"cpu": processor(), "cores": os.cpu_count(), "device": str(model.device)},
            "seconds": round(time.perf_counter() - begin, 1),
        }
        if config.json is not None:
            config.json.parent.mkdir(parents=True, exist_ok=True)
            config.json.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        if config.video is not None:
            film(config.video, predict, test, max(config.horizons))
    return report


def film(path: Path, predict: Predictor, test: OpenLoopTest, steps: int) -> None:
    """Write real | predicted | difference of the openings of episodes spread over the file, at most `steps` long."""
    filmable = sorted({slot.episode for slot in test.slots})
    chosen = np.unique(np.linspace(0, len(filmable) - 1, _FILMED_EPISODES).round().astype(int)).tolist()
    rollouts = {}
    for episode in (filmable[i] for i in chosen):
        windows = test.opening(episode, steps)
        predicted = predict(windows, windows.actions, range(1, windows.actions.shape[1] + 1)).frames[0]
        rollouts[f"{episode} {test.file.policies[episode]}"] = (windows.true_frames[0], predicted)
    write_comparison(path, rollouts, test.file.schema.rate)


def provenance(file: EpisodeFile) -> dict[str, Any]:
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
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


_ROWS = (
    ("windows", "", "n", 0),
    ("object error, median", "cm", "object_error_cm", 2),
    ("  mean", "cm", "object_error_cm_mean", 2),
    ("  90th percentile", "cm", "object_error_cm_p90", 2),
    ("  last frame copied, median", "cm", "object_error_cm_floor", 2),
    ("drift of still objects, median", "cm", "static_drift_cm", 2),
    ("object permanence", "%", "object_permanence", 1),
    ("end-effector error, mean", "mm", "telemetry_error_mm", 1),
    ("PSNR", "dB", "psnr", 1),
    ("  last frame copied", "dB", "psnr_floor", 1),
    ("foreground PSNR", "dB", "fg_psnr", 1),
    ("  last frame copied", "dB", "fg_psnr_floor", 1),
)


def show_report(report: dict[str, Any], console: Console) -> None:
    """Print a report as a table, one column per horizon."""
    title = f"{report['model']} ({report['model_hash']}), {report['episodes']} episodes"
    table = Table(title=f"{title}, open loop from {report['context']} frames")
    table.add_column("steps ahead")
    table.add_column("unit")
    for horizon in report["horizons"]:
        table.add_column(horizon, justify="right")
    for label, unit, key, digits in _ROWS:
        scale = 100 if unit == "%" else 1
        values = [column[key] for column in report["horizons"].values()]
        if all(value is None for value in values):  # the data says nothing of it
            continue
        table.add_row(label, unit, *(_number(value, digits, scale) for value in values))
    outcome, control = report["outcome"], report["controllability"]
    accuracy = (
        f"balanced accuracy {_number(outcome['balanced_accuracy'], 1, 100)} %, kappa {_number(outcome['kappa'], 2)}"
    )
    ratio = f"{_number(control['action_shuffle_ratio'], 2)} times the error with the right ones"
    console.print(table)
    if outcome["n"]:
        console.print(f"{'/'.join(OUTCOMES)} at the end of {outcome['n']} episodes: {accuracy}", highlight=False)
    if control["action_shuffle_ratio"] is not None:
        console.print(f"actions of other windows for {SHUFFLE_STEPS} steps: {ratio}", highlight=False)
    if "views" in report:
        views = report["views"]
        agree, in_hand = (_number(views["model"][key], 1, 100) for key in ("agree", "in_hand"))
        ceiling, count = _number(views["twin"]["agree"], 1, 100), views["model"]["n"]
        console.print(
            f"views agree on a held cube in {agree} % of {count} frames (true ones: {ceiling} %)", highlight=False
        )
        console.print(f"  and show it in the hand in {in_hand} %", highlight=False)
    if "depth_error_mm" in report:
        errors = ", ".join(f"{error:.1f} after {steps}" for steps, error in report["depth_error_mm"].items())
        console.print(f"depth error [mm]: {errors} steps", highlight=False, markup=False)
    for world, rates in report["violations"].items():
        if rates is not None:
            shares = ", ".join(f"{kind} {_number(rates[kind], 2, 100)}" for kind in (*KINDS, "any"))
            console.print(f"impossible steps in the {world} [%]: {shares}", highlight=False, markup=False)


def _number(value: float | None, digits: int, scale: float = 1) -> str:
    return "-" if value is None else f"{scale * value:,.{digits}f}"


def main(config: EvalConfig) -> int:
    """Run `gwm eval`."""
    with progress("eval") as show:
        report = evaluate(config, show)
    console = Console()
    show_report(report, console)
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
