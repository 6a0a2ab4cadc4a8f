"""Training on equal terms: six configurations for each side, the same episodes, the same minutes, one way to choose.

The peer learns in the loop that the shipped model learns in (`gwm_sim.training.trainer`): its clock, learning rate
schedule, averaged weights and state on disk are the same, so a killed run goes on where it was. A search gives every
configuration of a side the same short budget and keeps the one that strays least on validation episodes, open loop.
Episodes with evaluation seeds are refused by both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from gwm_sim.commands.train import main as train_own
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.open_loop import ModelPredictor, OpenLoopTest, Predictor
from gwm_sim.evaluation.report import open_loop_report
from gwm_sim.files import exclusive, write_json
from gwm_sim.model.tokenizer import median_background
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress
from gwm_sim.protocol import CONTEXT, FIRST_EVALUATION_SEED
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import TrainingData, load_training_data
from gwm_sim.training.distributed import own_device
from gwm_sim.training.phases.phase import batch_generator
from gwm_sim.training.pipeline import LOCK_FILE
from gwm_sim.training.trainer import Trainer
from peers.rssm import RSSM, Labels, RSSMConfig, RSSMPredictor, Sequences, World

Side = Literal["rssm", "model"]

RSSM_CONFIGS: dict[str, RSSMConfig] = {
    "base": RSSMConfig(),
    "wide": RSSMConfig(state=1024, hidden=512),
    "many-latents": RSSMConfig(latents=64),
    "fast": RSSMConfig(rate=1.5e-3),
    "loose": RSSMConfig(kl_weight=0.1),
    "long": RSSMConfig(frames_per_window=32, windows_per_batch=4),
}
"""Configurations of the peer that a search tries; they differ from the first in one idea each."""

MODEL_CONFIGS: dict[str, dict[str, Any]] = {
    "base": {},
    "wide": {"width": 256, "heads": 8},
    "deep": {"layers": 8},
    "fine-tokens": {"channels": 48},
    "long": {"frames_per_window": 32, "windows_per_batch": 4},
    "long-memory": {"attention_window": 16},
}
"""Changes to the preset `mini` that a search tries for the shipped model."""

TINY = RSSMConfig(state=32, hidden=32, latents=4, classes=8, channels=8, frames_per_window=8, windows_per_batch=4)
"""For trials and tests."""

SELECTION_STEPS = (10, 40)
"""Horizons over whose errors a search takes the mean."""


@dataclass(frozen=True)
class Budget:
    """How long to train, in minutes, or in optimiser steps for trials and tests, and on how large batches."""

    minutes: float | None = None
    steps: int | None = None
    batch: int = 1
    """Size of the batches, as a multiple of the usual one."""

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ConfigError("give the budget either as --minutes M or as --steps N")

    @property
    def seconds(self) -> float | None:
        return None if self.minutes is None else 60 * self.minutes


class RSSMPhase:
    """The one phase of the peer's training."""

    name = "rssm"

    def __init__(self, model: RSSM, data: TrainingData, seed: int) -> None:
        """Prepare to train a model on episodes."""
        self.model, self.data, self.seed = model, data, seed
        self.rate = model.config.rate
        self.starts = data.windows(model.config.frames_per_window)

    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        """All of them."""
        return list(self.model.named_parameters())

    def loss(self, step: int, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a step and named scalars to log."""
        c, generator = self.model.config, batch_generator(self.seed, step)
        first = self.starts[torch.randint(len(self.starts), (c.windows_per_batch,), generator=generator)]
        sequences, labels = cut(self.data, first, c.frames_per_window)
        # "Unknown" must be a valid condition, as for the shipped model.
        known = torch.rand(len(first), 1, generator=generator) > 0.25
        sequences = sequences._replace(properties=torch.where(known, sequences.properties, torch.nan))
        noise = torch.rand(len(first), c.frames_per_window, c.latents, c.classes, generator=generator)
        gumbel = -(-noise.clamp(1e-10, 1 - 1e-7).log()).log()
        device = self.model.device
        return self.model.loss(
            Sequences(*(value.to(device) for value in sequences)),
            Labels(*(value.to(device) for value in labels)),
            gumbel.to(device),
        )


def cut(data: TrainingData, first: Tensor, length: int) -> tuple[Sequences, Labels]:
    """Stretches of `length` frames that begin at the frames `first` (B,)."""
    index = first[:, None] + torch.arange(length)
    episode = torch.searchsorted(data.starts, first, right=True) - 1
    actions = data.actions[(index - 1).clamp_min(0)]
    actions[:, 0] = 0  # in an open-loop test, too, nobody knows what led to the first frame
    sequences = Sequences(data.frames[index], data.telemetry[index], actions, data.properties[episode])
    return sequences, Labels(data.objects[index], data.reward[index], data.success[index])


def train_rssm(
    paths: Sequence[Path], out: Path, config: RSSMConfig, budget: Budget, seed: int = 0, camera: str = "front"
) -> RSSM:
    """Train a peer in a folder, or go on with it; one that is finished is loaded.

    Raises:
        ConfigError: The folder holds a run with other settings, or the data cannot be trained on.
    """
    data = load_training_data(paths, (camera,))
    config = replace(config, windows_per_batch=budget.batch * config.windows_per_batch)
    record = {"data": data.digest, "seed": seed, **asdict(config), **asdict(budget)}
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out / LOCK_FILE, f"the run in {out}"):
        claim(out / "run.json", record)
        torch.manual_seed(seed)
        spread = torch.linspace(0, len(data.frames) - 1, 256).long()
        world = World(data.schema, camera, data.property_names)
        model = RSSM(config, world, data.statistics(), median_background(data.frames[spread]))
        model = model.to(own_device("auto"))
        trainer = Trainer(out, cast(Any, model), resume=True)  # the loop asks for parameters and a device, no more
        trainer.run(RSSMPhase(model, data, seed), budget.seconds, budget.steps, sample=lambda step: None)
        model.save(out)
    return model.eval()


def claim(path: Path, record: dict[str, Any]) -> None:
    """Write down the settings of a run, or see that they are those of the run that is there."""
    if path.exists():
        before = {"batch": 1} | json.loads(path.read_text(encoding="utf-8"))  # older runs did not say so
        changed = [key for key in record if before.get(key) != record[key]]
        if changed:
            raise ConfigError(
                f"{path.parent} was started with other settings ({', '.join(changed)}): give another --out"
            )
    write_json(path, record)


def train_model(paths: Sequence[Path], out: Path, name: str, budget: Budget, seed: int = 0) -> WorldModel:
    """Train a configuration of the shipped model as `gwm train` does, or go on with it."""
    PRESETS[f"mini-{name}"] = replace(PRESETS["mini"], **MODEL_CONFIGS[name])
    train_own(
        TrainConfig(
            data=tuple(paths),
            out=out,
            preset=f"mini-{name}",
            minutes=budget.minutes,
            patience=1.0,
            steps=budget.steps,
            batch=budget.batch,
            resume=True,
            name=f"mini-{name}",
            seed=seed,
        )
    )
    return WorldModel.load(out)


def configurations(side: Side) -> tuple[str, ...]:
    """Names of the configurations of a side."""
    return tuple(RSSM_CONFIGS if side == "rssm" else MODEL_CONFIGS)


def train(
    side: Side, name: str, paths: Sequence[Path], out: Path, budget: Budget, seed: int
) -> tuple[Predictor, tuple[str, ...]]:
    """Train one configuration of a side; return it as a predictor, and the names of the properties that it is told."""
    if side == "rssm":
        peer = train_rssm(paths, out, RSSM_CONFIGS[name], budget, seed)
        return RSSMPredictor(peer), peer.world.properties
    model = train_model(paths, out, name, budget, seed)
    return ModelPredictor(model), model.config.properties


def search(
    side: Side,
    paths: Sequence[Path],
    validation: Path,
    out: Path,
    budget: Budget,
    seed: int = 0,
    limit: int | None = None,
) -> str:
    """Train every configuration of a side for the same budget and choose one.

    What was found is written to `search.json` after each; a repeated call goes on.

    Args:
        side: Whose configurations.
        paths: Training episodes.
        validation: Episodes to choose by, with seeds of neither training nor evaluation.
        out: Folder; every configuration gets one in it.
        budget: Of each configuration.
        seed: Seed of weights and batches.
        limit: Use only the first validation episodes.

    Returns:
        Name of the chosen configuration.
    """
    refuse_evaluation_seeds(validation)
    errors: dict[str, float] = {}
    for name in configurations(side):
        predict, properties = train(side, name, paths, out / name, budget, seed)
        errors[name] = held_out_error(predict, properties, validation, limit)
        best = min(errors, key=errors.__getitem__)
        found = {"side": side, "chosen": best, "error_cm": errors, "at_steps": SELECTION_STEPS, **asdict(budget)}
        write_json(out / "search.json", found)
        print(f"{side} {name}: {errors[name]:.2f} cm", flush=True)
    return best


def chosen(out: Path, side: Side) -> str:
    """The configuration of a side that a search in this folder chose.

    Raises:
        ConfigError: There was no such search, or it has not come to its end.
    """
    path = out / "search.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if found.get("side") != side:
        raise ConfigError(f"{out} holds no search for {side}: make one, or name a --config")
    missing = set(configurations(side)) - set(found["error_cm"])
    if missing:
        raise ConfigError(f"the search in {out} has not tried {', '.join(sorted(missing))} yet: repeat its command")
    name: str = found["chosen"]
    return name


def held_out_error(predict: Predictor, properties: Sequence[str], validation: Path, limit: int | None = None) -> float:
    """Mean error of moved cubes over `SELECTION_STEPS` [cm]."""
    with EpisodeFile(validation) as file, progress("validate") as show:
        test = OpenLoopTest(file, SELECTION_STEPS, properties=properties, context=CONTEXT, limit=limit)
        columns = open_loop_report(predict, test, SELECTION_STEPS, show=show)["horizons"]
    errors = [column["object_error_cm_mean"] for column in columns.values()]
    if not errors or None in errors:
        raise ConfigError(f"{validation} has too few windows in which cubes move to choose by")
    mean: float = sum(errors) / len(errors)
    return mean


def refuse_evaluation_seeds(path: Path) -> None:
    """Nothing is chosen by episodes that results are made of."""
    with EpisodeFile(path) as file:
        if any(seed is not None and seed >= FIRST_EVALUATION_SEED for seed in file.seeds):
            raise ConfigError(
                f"{path} holds episodes with seeds from {FIRST_EVALUATION_SEED}, which are for evaluation only: "
                "collect validation episodes with --seed 200000"
            )
