"""`gwm train`: from episode files to a world model.

Stages on one budget: tokenizer and locator learn to read frames, all frames are encoded once, then the painter learns
to draw their latents, and dynamics and task head what comes after what. `phases.py` says what is learned, `trainer.py`
how; here a run folder becomes a model.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import gwm_sim
from gwm_sim.calibration import calibrate
from gwm_sim.dynamics import DynamicsConfig
from gwm_sim.episodes import EpisodeFile, EpisodeWriter
from gwm_sim.errors import ConfigError
from gwm_sim.exclusive import exclusive
from gwm_sim.heads import HeadsConfig
from gwm_sim.phases import PRESETS, DynamicsPhase, PainterPhase, Preset, TokenizerPhase
from gwm_sim.protocol import CONTEXT
from gwm_sim.tokenizer import TokenizerConfig, median_background
from gwm_sim.trainer import Trainer
from gwm_sim.video import contact_sheet, write_png
from gwm_sim.windows import TrainingData, load_training_data
from gwm_sim.world_model import BANK_FILE, WorldModel, WorldModelConfig

SHARES = {"tokenizer": 0.13, "painter": 0.07, "dynamics": 0.8}
"""Parts of the budget."""

GUIDANCE = 1.0  # of models that know where their objects are; without, the painter has nothing to draw them from

LOCK_FILE = "run.lock"
BANK_SIZE = 256  # start states of a checkpoint
SAMPLE_HORIZONS = (1, 2, 5, 10, 20, 30, 40)


@dataclass(frozen=True)
class TrainConfig:
    """Train a world model on episode files."""

    data: tuple[Path, ...]
    """Episode files, as made by `gwm collect`."""
    out: Path
    """Folder of the run and of the finished model."""
    preset: str = "mini"
    """Size of the model: mini, or tiny for trials and tests."""
    minutes: float | None = None
    """Budget in minutes of training, tokenizer included."""
    steps: int | None = None
    """Budget in optimiser steps instead of minutes, tokenizer included."""
    resume: bool = False
    """Go on with the run in `out`."""
    name: str = "gwm-mini"
    """Name of the model in its card."""
    camera: str = "front"
    """Camera that the model sees through."""
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


def main(config: TrainConfig) -> int:
    """Train, and leave a complete checkpoint in `config.out`."""
    data = load_training_data(config.data, config.camera)
    preset = PRESETS[config.preset]
    prepare_folder(config, data)
    with exclusive(config.out / LOCK_FILE, f"the run in {config.out}"):
        return train(config, preset, data)


def train(config: TrainConfig, preset: Preset, data: TrainingData) -> int:
    """Run all stages in a folder that belongs to this process."""
    torch.manual_seed(config.seed)
    model = build(config, preset, data).to(pick_device(config.device))
    print(
        f"{data.episodes} episodes, {len(data.frames)} frames of {config.camera!r}; "
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} million parameters on {model.device}",
        flush=True,
    )
    trainer = Trainer(config.out, model, config.resume)
    samples = config.out / "samples"

    tokenizer = TokenizerPhase(model, data, preset, config.seed)
    trainer.run(tokenizer, *share(config, tokenizer.name), lambda step: sample_tokenizer(model, data, samples, step))
    codes = encode_all(model, data, config.out / "latents.safetensors")
    if model.config.dynamics.guidance:
        painter = PainterPhase(model, data, codes, preset, config.seed)
        trainer.run(painter, *share(config, painter.name), lambda step: None)
    dynamics = DynamicsPhase(model, data, codes, preset, config.seed)
    trainer.run(
        dynamics, *share(config, dynamics.name), lambda step: sample_rollouts(model, data, codes, samples, step)
    )

    calibrate(model, data, codes)
    model.save(config.out)
    write_bank(config.data, config.camera, config.out / BANK_FILE)
    (config.out / "README.md").write_text(model_card(config, model, data))
    print(f"{config.out}: model {model.digest()}. Measure it: gwm eval --model {config.out} --data TEST.hdf5")
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps({"model": str(config.out), "model_hash": model.digest()}, indent=1) + "\n")
    return 0


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
            if k not in ("data", "out", "resume", "json")
        },
    }
    path = config.out / "run.json"
    if path.exists():
        before = json.loads(path.read_text())
        if not config.resume:
            raise ConfigError(f"{config.out} holds a run already: go on with it by --resume, or give another --out")
        changed = [k for k in record["options"] if before["options"].get(k) != record["options"][k]]
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


def build(config: TrainConfig, preset: Preset, data: TrainingData) -> WorldModel:
    """A model with fresh weights whose shape follows from the data."""
    schema = data.schema
    picture = schema.cameras[config.camera]
    tokenizer = TokenizerConfig(height=picture.height, width=picture.width, channels=preset.channels)
    dynamics = DynamicsConfig(
        tokens=tokenizer.tokens,
        token_numbers=tokenizer.token_numbers,
        levels=tokenizer.levels,
        telemetry=len(schema.telemetry_names),
        actions=len(schema.action_names),
        objects=len(schema.object_names),
        properties=len(data.property_names),
        commands=schema.commands,
        effector=schema.effector,
        width=preset.width,
        layers=preset.layers,
        heads=preset.heads,
        window=preset.attention_window,
        guidance=GUIDANCE if schema.object_names else 0.0,
    )
    heads = HeadsConfig(tasks=schema.tasks, width=preset.head_width)
    whole = WorldModelConfig(
        name=config.name,
        schema=schema,
        camera=config.camera,
        properties=data.property_names,
        time_limit=int(data.lengths.median()) - 1,
        tokenizer=tokenizer,
        dynamics=dynamics,
        heads=heads,
    )
    model = WorldModel(whole, data.statistics())
    spread = torch.linspace(0, len(data.frames) - 1, 256).long()
    model.tokenizer.background.copy_(median_background(data.frames[spread]))
    return model


def pick_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def share(config: TrainConfig, phase: str) -> tuple[float | None, int | None]:
    """A phase's part of the budget, in seconds or in steps."""
    part = SHARES[phase]
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
    codes = torch.cat([model.tokenizer.encode(chunk.to(model.device)).cpu() for chunk in data.frames.split(512)])
    temporary = cache.with_suffix(".tmp")
    save_file({"codes": codes}, temporary, {"key": key})
    os.replace(temporary, cache)
    return codes


def sample_tokenizer(model: WorldModel, data: TrainingData, folder: Path, step: int) -> None:
    """Write held-out frames beside their reconstructions."""
    first = data.windows(1, validation=True)
    frames = data.frames[first[torch.linspace(0, len(first) - 1, 10).long()]]
    decoded = model.tokenizer.decode(model.tokenizer.encode(frames.to(model.device))).cpu()
    write_png(
        folder / f"tokenizer-{step:06d}.png",
        contact_sheet({"real": list(frames.numpy()), "decoded": list(decoded.numpy())}),
    )


def sample_rollouts(model: WorldModel, data: TrainingData, codes: Tensor, folder: Path, step: int) -> None:
    """Write open-loop rollouts of held-out episodes beside what really happened."""
    longest = int(data.lengths[data.held_out()].max()) - CONTEXT
    horizons = [h for h in SAMPLE_HORIZONS if h <= longest] or [longest]
    first = data.windows(CONTEXT + horizons[-1], validation=True)
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


def write_bank(paths: Sequence[Path], camera: str, out: Path) -> None:
    """Cut the first frames of episodes spread over the data, so that the model's worlds can begin without the data."""
    if out.exists():
        return
    files = [EpisodeFile(path) for path in paths]
    places = [(file, k) for file in files for k in range(len(file)) if file.lengths[k] >= CONTEXT - 1]
    schema = files[0].schema
    schema = replace(schema, cameras={camera: schema.cameras[camera]}, settings={"start_states_of": camera})
    writer = EpisodeWriter(out, schema)
    chosen = torch.linspace(0, len(places) - 1, min(BANK_SIZE, len(places))).long().tolist()
    for index, (file, k) in enumerate(places[i] for i in chosen):
        writer.write(index, file.read(k, 0, CONTEXT, cameras=(camera,)))
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
| data | {data.episodes} episodes, {len(data.frames)} frames, camera `{config.camera}`, digest `{data.digest}` |
| conditioned on | actions {", ".join(schema.action_names)}; properties {", ".join(c.properties) or "none"} |
| heads | reward and success of {", ".join(schema.tasks) or "no task"}; positions of {
        ", ".join(schema.object_names) or "no object"
    } |
| trained | {date.today()}, {budget} on {model.device}, preset {config.preset}, seed {config.seed} |

    import gymnasium as gym
    env = gym.make("gwm_sim:GWM-World-v0", model="{config.name}")

Valid for scenes, cameras and objects like those of its data, and nowhere else. Measured fidelity: `evaluation.json`,
made by `gwm eval`.
"""
