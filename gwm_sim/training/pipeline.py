"""`gwm train`: from episode files to a world model.

Stages on one budget: tokenizer and locator learn to read frames, all frames are encoded once, then dynamics and task
head learn what comes after what, and the painter to draw the latents of it. `phases.py` and its kin say what is
learned, `trainer.py` how, `transfer.py` what another model may give; here a run folder becomes a model.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import gwm_sim
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.errors import ConfigError
from gwm_sim.files import exclusive
from gwm_sim.media.video import contact_sheet, write_png
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.world_model import WorldModel
from gwm_sim.progress import progress
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.build import build
from gwm_sim.training.calibration import calibrate
from gwm_sim.training.dataset import TrainingData, load_training_data
from gwm_sim.training.early_stop import EarlyStop
from gwm_sim.training.finetune import Inheritance, become, inherit
from gwm_sim.training.phases.object_dynamics import ObjectDynamicsPhase, RendererPhase
from gwm_sim.training.phases.phase import PRESETS, DepthPhase, LocatorPhase, Preset, TokenizerPhase, WatchedPhase
from gwm_sim.training.phases.video_dynamics import VideoDynamicsPhase
from gwm_sim.training.summary import closing_report
from gwm_sim.training.trainer import Trainer

SHARES = {"tokenizer": 0.15, "locator": 0.15, "depth": 0.05, "dynamics": 0.55, "painter": 0.3}
"""Parts of the budget; those of phases that are left out or that a model does not have go to the others."""

NEEDED = ("tokenizer", "dynamics", "painter")  # the locator learns with the tokenizer
ALL = (*NEEDED, "depth")

FINE_TUNING = 0.3  # times the usual learning rates, when training starts from the weights of another model

LOCK_FILE = "run.lock"
REPORT_FILE = "report.json"
BANK_PIXELS = 256 * 64 * 64  # of the start states of a checkpoint: 256 of 64 pixels, fewer of larger pictures
SAMPLE_HORIZONS = (1, 2, 5, 10, 20, 30, 40)
ENCODED_AT_ONCE = 8  # frames; what many more make does not fit the caches of a CPU, which takes twice as long


@dataclass(frozen=True)
class TrainConfig:
    """Train a world model on episode files."""

    data: tuple[Path, ...]
    """Episode files, as made by `gwm collect` or `gwm import`."""
    out: Path
    """Folder of the run and of the finished model."""
    motion: tuple[Path, ...] = ()
    """More episode files, of which only the motion of robot and tracked objects is learned, not the pictures: those may
    look different, such as with `--rendering fast`."""
    weights: tuple[float, ...] = ()
    """How often the windows of each file are drawn, compared with those of the others; one number per file, those of
    `motion` last."""
    init: str | None = None
    """Shipped model, or folder of one, to start from; its sizes hold, and of the preset only the batches, the size of
    tokens of pictures of another size, and whether futures differ where they did not."""
    phases: tuple[str, ...] = ALL
    """What is learned: tokenizer (locator included), locator alone, depth (where it was measured), dynamics (with the
    task head), painter (of worlds with tracked objects). The others stay as they are in `init`, and their time goes to
    these: more motion of the same robot for the dynamics, more pictures for locator and painter; tokenizer and painter
    together learn to see a known world through other cameras. While the tokenizer stays, so does what was made for it,
    such as a guide."""
    preset: str = "mini"
    """Size of the model: mini, preview for pictures of 128 pixels, or tiny for trials and tests."""
    minutes: float | None = None
    """Budget in minutes of training, tokenizer included."""
    steps: int | None = None
    """Budget in optimiser steps instead of minutes, tokenizer included."""
    batch: int = 1
    """Size of the batches, as a multiple of the usual one, for a GPU."""
    rollouts: tuple[int, ...] = ()
    """Frames of the rollouts that robot and tracked objects learn from, by default 20 of mini. Longer ones teach what
    comes of an error after seconds, but leave out episodes that are shorter: several lengths take turns."""
    rate: float | None = None
    """Learning rates, as a multiple of the usual ones; by default 1, and 0.3 with `init`."""
    patience: float = 0.25
    """Share of its budget after which a phase ends that got no better on held-out episodes; its best weights are kept.
    1 uses the whole budget and keeps the last weights."""
    resume: bool = False
    """Go on with the run in `out`."""
    name: str = ""
    """Name of the model, in its card and in all that it is measured by; by default that of the folder."""
    camera: tuple[str, ...] = ("front",)
    """Camera that the model sees through, or several, the main one first; their pictures must have one size."""
    seed: int = 0
    """Seed of the initial weights and of the batches."""
    device: str = "auto"
    """cpu, cuda or auto."""
    json: Path | None = None
    """File to write the closing numbers to."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ConfigError(f"--preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        if (self.minutes is None) == (self.steps is None):
            raise ConfigError("give the budget either as --minutes M or as --steps N")
        budget = self.minutes if self.minutes is not None else self.steps
        if budget is not None and budget <= 0:
            raise ConfigError(f"the budget must be positive, got {budget}")
        if not self.phases or not set(self.phases) <= set(SHARES):
            raise ConfigError(f"--phases must be some of {', '.join(SHARES)}, got {' '.join(self.phases) or 'none'}")
        if self.kept and self.init is None:
            raise ConfigError(f"--phases leaves out {', '.join(self.kept)}: say by --init MODEL whose it should be")
        if self.batch < 1:
            raise ConfigError(f"--batch must be at least 1, got {self.batch}")
        if self.rollouts and min(self.rollouts) <= CONTEXT:
            raise ConfigError(f"--rollouts must be above the {CONTEXT} frames that are given, got {min(self.rollouts)}")
        if self.rate is not None and self.rate <= 0:
            raise ConfigError(f"--rate must be positive, got {self.rate:g}")
        if not 0 < self.patience <= 1:
            raise ConfigError(f"--patience must be above 0 and at most 1, got {self.patience:g}")

    @property
    def kept(self) -> tuple[str, ...]:
        """Phases that are left out."""
        return tuple(name for name in NEEDED if name not in self.phases)


def main(config: TrainConfig) -> int:
    """Train, and leave a complete checkpoint in `config.out`."""
    config = replace(config, name=config.name or config.out.resolve().name)
    data = load_training_data(config.data, config.camera, config.weights, config.motion)
    preset = PRESETS[config.preset].enlarged(config.batch)
    if config.rollouts:
        preset = replace(preset, rollouts=config.rollouts)
    source = WorldModel.load(config.init, "cpu") if config.init is not None else None
    torch.manual_seed(config.seed)
    model, inheritance = begin(config, preset, data, source)
    if inheritance is not None and {"robot inputs and outputs", "objects"} <= set(inheritance.kept):
        preset = replace(preset, free_after=0.0)
    prepare_folder(config, data)
    with exclusive(config.out / LOCK_FILE, f"the run in {config.out}"):
        return train(config, preset, data, model, inheritance)


def begin(
    config: TrainConfig, preset: Preset, data: TrainingData, source: WorldModel | None
) -> tuple[WorldModel, Inheritance | None]:
    """The model as it is before training, with the weights of `source` where they fit.

    Raises:
        ConfigError: Of these data or of `source` the phases cannot make a model.
    """
    model = build(config, preset, data, source)
    if "depth" in config.phases and not len(data.measured) and (model.config.depth or len(config.phases) == 1):
        raise ConfigError("--phases depth needs data of which depth was measured: collect them with --depth")
    reader = "dynamics" if model.config.dynamics.from_pixels else "painter"
    if "tokenizer" in config.phases and reader not in config.phases:
        raise ConfigError(f"--phases tokenizer changes what pictures are drawn in: name {reader} too, which draws them")
    if model.config.dynamics.from_pixels and not {"tokenizer", "dynamics"} & set(config.phases):
        raise ConfigError(
            f"--phases {' '.join(config.phases)} leaves nothing to learn: these data track no objects, so there are "
            "only tokenizer and dynamics"
        )
    if config.rollouts and model.config.dynamics.from_pixels:
        raise ConfigError("--rollouts are for robots with tracked objects, and these data track none")
    if "dynamics" in config.phases:  # refuses episodes that are too short before anything is learned
        from_pixels = model.config.dynamics.from_pixels
        data.windows(preset.frames_per_window + 1 if from_pixels else max(preset.rollouts))
    if source is None:
        return model, None
    if source.config.depth and not model.config.depth:
        print(f"depth was not measured in these data: unlike {config.init}, the model will not predict it", flush=True)
    inheritance = inherit(model, source)
    if config.kept:
        become(model, source, config.kept, f"--phases keeps {' and '.join(config.kept)} of {config.init}")
    return model, inheritance


def train(
    config: TrainConfig, preset: Preset, data: TrainingData, model: WorldModel, inheritance: Inheritance | None
) -> int:
    """Run all stages in a folder that belongs to this process."""
    model = model.to(pick_device(config.device))
    print(
        f"{data.episodes} episodes, {len(data.frames)} frames of {', '.join(config.camera)}"
        + (f" and {len(data.telemetry) - len(data.frames)} without pictures; " if config.motion else "; ")
        + f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} million parameters on {model.device}",
        flush=True,
    )
    if inheritance is not None:
        print(f"kept {inheritance}", flush=True)
    trainer = Trainer(config.out, model, config.resume)
    samples = config.out / "samples"

    def unseen(step: int) -> None:
        """Of what has no pictures, or none yet, nothing is shown."""

    def rolled_out(step: int) -> None:
        sample_rollouts(model, data, codes, samples, step)

    phases, seed = config.phases, config.seed  # what is left out is not even made: its data may be too short for it
    if "tokenizer" in phases:
        tokenizer = TokenizerPhase(model, data, preset, seed)
        learn(trainer, tokenizer, config, lambda step: sample_tokenizer(model, data, samples, step))
    if "locator" in phases and model.locator is not None:
        learn(trainer, LocatorPhase(model, data, preset, seed), config, unseen)
    codes = encode_all(model, data, config.out / "latents.safetensors")
    if "depth" in phases and model.depth_head is not None:
        learn(trainer, DepthPhase(model, data, codes, preset, seed), config, unseen)
    if model.config.dynamics.from_pixels:
        if "dynamics" in phases:
            learn(trainer, VideoDynamicsPhase(model, data, codes, preset, seed), config, rolled_out)
    else:
        if "dynamics" in phases:
            learn(trainer, ObjectDynamicsPhase(model, data, preset, seed), config, unseen)
        if "painter" in phases:
            learn(trainer, RendererPhase(model, data, codes, preset, seed), config, rolled_out)

    calibrate(model, data, codes, familiar="tokenizer" in config.kept)
    model.save(config.out)
    write_bank(config.data, config.camera, config.out / BANK_FILE, model.config.time_limit // 4)
    (config.out / "README.md").write_text(model_card(config, model, data))
    report: dict[str, Any] = {
        "model": config.name,
        "model_hash": model.digest(),
        "init": asdict(inheritance) if inheritance is not None else None,
        "held_out": trainer.held_out,
        **closing_report(model, config.data, data.held_out().tolist()),
    }
    (config.out / REPORT_FILE).write_text(json.dumps(report, indent=1) + "\n")
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(report | {"model": str(config.out)}, indent=1) + "\n")
    print("On held-out episodes:", *report["words"], sep="\n  ")
    print(f"{config.out}: model {model.digest()}. Measure it:")
    print(f"gwm eval --model {config.out} --data TEST.hdf5 --json {config.out / 'evaluation.json'}")
    return 0


def learn(trainer: Trainer, phase: WatchedPhase, config: TrainConfig, sample: Callable[[int], None]) -> None:
    """Run one phase on its share of the budget."""
    phase.rate *= config.rate or (FINE_TUNING if config.init is not None else 1.0)
    watched = phase.held_out is not None and config.patience < 1
    early_stop = EarlyStop(phase.held_out_loss, config.patience) if watched else None
    trainer.run(phase, *share(config, phase.name, trainer.model.config), sample, early_stop)


def prepare_folder(config: TrainConfig, data: TrainingData) -> None:
    """Make the run folder and write down command, configuration and versions.

    Raises:
        ConfigError: The folder holds another run, or one that was not asked to be resumed.
    """
    record: dict[str, Any] = {
        "data": data.digest,
        "options": {
            k: v
            for k, v in json.loads(json.dumps(asdict(config), default=str)).items()
            if k not in ("data", "motion", "out", "resume", "json")
        },
    }
    path = config.out / "run.json"
    if path.exists():
        before = json.loads(path.read_text())
        if not config.resume:
            raise ConfigError(f"{config.out} holds a run already: go on with it by --resume, or give another --out")
        defaults = {item.name: item.default for item in fields(config)}  # of options that an older version did not have
        then = {k: before["options"].get(k, defaults[k]) for k in record["options"]}
        if isinstance(then["camera"], str):  # of a version that knew one camera, and no depth
            then |= {"camera": [then["camera"]], "phases": [*then["phases"], *({"depth"} & set(config.phases))]}
        changed = [k for k, value in record["options"].items() if json.dumps(then[k]) != json.dumps(value)]
        changed += ["data"] if before["data"] != record["data"] else []
        if changed:
            raise ConfigError(
                f"{config.out} was started with other settings ({', '.join(changed)}): "
                "resume with the same ones, or give another --out"
            )
        return
    config.out.mkdir(parents=True, exist_ok=True)
    versions = {"python": platform.python_version(), "torch": torch.__version__, "gwm_sim": gwm_sim.__version__}
    command = " ".join(["gwm", *sys.argv[1:]])
    path.write_text(json.dumps({"command": command, "versions": versions, **record}, indent=1) + "\n")


def pick_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def share(config: TrainConfig, phase: str, model: WorldModelConfig) -> tuple[float | None, int | None]:
    """A phase's part of the budget, in seconds or in steps."""
    absent = {"painter"} if model.dynamics.from_pixels else set()
    absent |= set() if model.depth else {"depth"}
    run = [name for name in config.phases if name not in absent]
    part = SHARES[phase] / sum(SHARES[name] for name in run)
    if config.steps is not None:
        return None, max(1, round(config.steps * part))
    assert config.minutes is not None
    return config.minutes * 60 * part, None


def encode_all(model: WorldModel, data: TrainingData, cache: Path) -> Tensor:
    """Latents of all frames, (F, N, M) uint8, from a cache beside the run when it fits tokenizer and data."""
    key = json.dumps({"model": model.tokenizer_digest(), "data": data.digest})
    if cache.exists():
        with safe_open(cache, framework="pt") as file:
            if file.metadata()["key"] == key:
                return load_file(cache)["codes"]
    chunks = data.frames.split(ENCODED_AT_ONCE)
    encoded = []
    with progress("encode") as show:
        for chunk in chunks:
            encoded.append(model.tokenizer.encode(chunk.to(model.device)).cpu())
            show(len(encoded) / len(chunks), f"{len(data.frames)} frames")
    codes = torch.cat(encoded)
    temporary = cache.with_suffix(".tmp")
    save_file({"codes": codes}, temporary, {"key": key})
    os.replace(temporary, cache)
    return codes


def sample_tokenizer(model: WorldModel, data: TrainingData, folder: Path, step: int) -> None:
    """Write held-out frames beside their reconstructions."""
    first = data.windows(1, validation=True, seen=True)
    frames = data.frames[first[torch.linspace(0, len(first) - 1, 10).long()]]
    decoded = model.tokenizer.decode(model.tokenizer.encode(frames.to(model.device))).cpu()
    write_png(
        folder / f"tokenizer-{step:06d}.png",
        contact_sheet({"real": list(frames.numpy()), "decoded": list(decoded.numpy())}),
    )


def sample_rollouts(model: WorldModel, data: TrainingData, codes: Tensor, folder: Path, step: int) -> None:
    """Write open-loop rollouts of held-out episodes beside what really happened."""
    longest = int(data.lengths[data.held_out() & data.seen()].max()) - CONTEXT
    horizons = [h for h in SAMPLE_HORIZONS if h <= longest] or [longest]
    first = data.windows(CONTEXT + horizons[-1], validation=True, seen=True)
    first = first[torch.linspace(0, len(first) - 1, 4).long()]
    frames, _, _ = data.batch(codes, first, CONTEXT + horizons[-1])
    pictures = data.frames[first[:, None] + torch.arange(CONTEXT + horizons[-1])]
    state = model.encode(
        pictures[:, :CONTEXT], frames.telemetry[:, :CONTEXT], frames.actions[:, : CONTEXT - 1], frames.properties
    )
    decoded = model.decode(model.imagine(state, frames.actions[:, CONTEXT - 1 : -1].to(model.device))).cpu().numpy()
    rows = {}
    for i in range(len(first)):
        rows[f"real {i}"] = [pictures[i, CONTEXT - 1 + h].numpy() for h in horizons]
        rows[f"model {i}"] = [decoded[i, h - 1] for h in horizons]
    write_png(folder / f"rollouts-{step:06d}.png", contact_sheet(rows, [str(h) for h in horizons]))


def write_bank(paths: Sequence[Path], cameras: Sequence[str], out: Path, shortest: int = 0) -> None:
    """Cut the first frames of episodes spread over the data, so that the model's worlds can begin without the data.

    Episodes of less than `shortest` steps, if there are longer ones, are pieces that begin in the middle of something.
    """
    if out.exists():
        return
    files = [EpisodeFile(path) for path in paths]
    episodes = [(file, k) for file in files for k in range(len(file)) if file.lengths[k] >= CONTEXT - 1]
    places = [(file, k) for file, k in episodes if file.lengths[k] >= shortest] or episodes
    schema = files[0].schema
    schema = replace(
        schema,
        cameras={name: schema.cameras[name] for name in cameras},
        depth=(),
        settings={"start_states_of": cameras[0]},
    )
    writer = EpisodeWriter(out, schema)
    size = sum(schema.cameras[name].height * schema.cameras[name].width for name in cameras)
    count = min(BANK_PIXELS // size, len(places))
    chosen = torch.linspace(0, len(places) - 1, max(1, count)).long().tolist()
    for index, (file, k) in enumerate(places[i] for i in chosen):
        writer.write(index, replace(file.read(k, 0, CONTEXT, cameras=cameras), depth={}))
    writer.merge()


def model_card(config: TrainConfig, model: WorldModel, data: TrainingData) -> str:
    """README.md of a checkpoint."""
    schema, c = data.schema, model.config
    budget = f"{config.minutes:g} minutes" if config.minutes is not None else f"{config.steps} steps"
    count: dict[str, Any] = {
        part: sum(p.numel() for p in module.parameters()) / 1e6
        for part, module in (("tokenizer", model.tokenizer), ("dynamics", model.dynamics))
    }
    return f"""---
license: apache-2.0
library_name: gwm_sim
pipeline_tag: robotics
tags: [world-model, robotics, gymnasium, simulator]
---

# {config.name}

An action-conditioned video world model of `{schema.env_id}`: from {CONTEXT} frames, telemetry and actions it predicts
the frames and telemetry that follow, at {schema.rate:g} Hz and {c.tokenizer.height}x{c.tokenizer.width} pixels.

| | |
|---|---|
| model hash | `{model.digest()}` |
| parameters | tokenizer {count["tokenizer"]:.2f} M, dynamics {count["dynamics"]:.2f} M |
| latents | {c.tokenizer.tokens} tokens of {c.tokenizer.token_numbers} integers with {c.tokenizer.levels} values |
| data | {data.episodes} episodes, {len(data.frames)} frames, cameras `{", ".join(config.camera)}`, digest `{
        data.digest
    }` |
| conditioned on | actions {", ".join(schema.action_names)}; properties {", ".join(c.properties) or "none"} |
| heads | reward and success of {", ".join(schema.tasks) or "no task"}; positions of {
        ", ".join(schema.object_names) or "no object"
    } |
| trained | {date.today()}, {budget} on {model.device}, preset {config.preset}, seed {config.seed} |

    import gymnasium as gym
    env = gym.make("gwm_sim:GWM-World-v0", model="path/to/{config.name}")  # the folder of this card

Valid for scenes, cameras and objects like those of its data, and nowhere else. Measured fidelity: `evaluation.json`,
made by `gwm eval --json`.
"""
