"""From episode files to a world model in a folder: phases on one budget.

Tokenizer and locator learn to read frames, all frames are encoded once, then dynamics and task head learn what comes
after what, and the renderer to draw the latents of it. `phases/` says what is learned, `trainer.py` how, `finetune.py`
what another model may give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.schema import RAW
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.scene import attempt, brought_tracker
from gwm_sim.files import exclusive, keeping, replacing, write_json, write_text
from gwm_sim.model.checkpoint import BANK_FILE, STATES_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.build import build
from gwm_sim.training.claim import RUN_FILE, claim
from gwm_sim.training.config import Preset, TrainConfig
from gwm_sim.training.dataset import TrainingData, load_training_data
from gwm_sim.training.dataset.checks import episode_files
from gwm_sim.training.dataset.latents import Latents
from gwm_sim.training.distributed import (
    ProcessLost,
    by_first,
    check_batches,
    is_first,
    joined,
    own_parts,
    processes,
    unite_,
)
from gwm_sim.training.encoding import encode_all
from gwm_sim.training.finetune import Inheritance, become, borrow_tokenizer, inherit
from gwm_sim.training.fitting.calibration import calibrate
from gwm_sim.training.model_card import known_objects, model_card
from gwm_sim.training.phases.depth import DepthPhase
from gwm_sim.training.phases.locator import LocatorPhase
from gwm_sim.training.phases.object_dynamics import ObjectDynamicsPhase
from gwm_sim.training.phases.phase import WorldModelPhase
from gwm_sim.training.phases.reader import ReaderPhase
from gwm_sim.training.phases.reference_renderer import ReferenceRendererPhase
from gwm_sim.training.phases.renderer import RendererPhase
from gwm_sim.training.phases.tokenizer import TokenizerPhase
from gwm_sim.training.phases.video_dynamics import VideoDynamicsPhase
from gwm_sim.training.summary import RECONSTRUCTED, closing_report, sample_rollouts, sample_tokenizer, share_kept
from gwm_sim.training.tracking import Recordings, prepare, what_was_chosen
from gwm_sim.training.trainer import STATE_FILE, EarlyStop, Trainer

EYES = "gwm-mini"
"""Shipped model with whose tokenizer new ones begin."""

ROUNDS = 2
"""Shares of the budget that a tokenizer may take which loses things."""

AGAIN = 0.5
"""Times the learning rate of the second one, which begins where the first has come to rest."""

DRIFTS = 0.01
"""Usual change of the light from which it is worth a word."""

LOCK_FILE = "run.lock"
REPORT_FILE = "report.json"
STATES = 20_000  # frames of which states are kept
PIXELS = 256 * 64 * 64  # of the initial states: 256 of 64 pixels, fewer of larger pictures


def train(config: TrainConfig, tell: Callable[[str], None]) -> dict[str, Any]:
    """Train a model, or go on with it, and leave a complete checkpoint in `config.out`.

    Args:
        config: What is asked for.
        tell: Told in a line what there is to learn from, and what is kept of another model.

    Returns:
        The report, as `report.json` holds it.
    """
    config = replace(config, name=config.name or config.out.resolve().name)
    with joined(config.device) as device:
        return train_here(config, device, tell if is_first() else (lambda line: None))


def train_here(config: TrainConfig, device: torch.device, tell: Callable[[str], None]) -> dict[str, Any]:
    """What this process has to do of `train`, on its device."""
    preset = config.sizes
    check_batches(preset.rows, config.batch)
    source = WorldModel.load(config.init, "cpu") if config.init is not None else None
    recordings = by_first(lambda: prepare(config, source, tell))
    files = recordings.config
    data = load_training_data(files.data, config.camera, config.weights, files.motion, config.path, config.memory)
    data.digest = recordings.digest or data.digest
    torch.manual_seed(config.seed)
    model, inheritance = begin(config, preset, data, source)
    borrowed = source is None and not config.fresh and borrow_tokenizer(model, EYES)
    if inheritance is not None and {"robot inputs and outputs", "objects"} <= set(inheritance.kept):
        preset = replace(preset, free_after=0.0)
    by_first(lambda: claim(config, data.digest, recordings.to_json()))
    check_shared(config.out)

    def kept() -> str:
        what = (
            "What was learned until the last save" if (config.out / STATE_FILE).exists() else "Nothing but the settings"
        )
        others = ", with any number of processes" if processes() > 1 else ""
        return f"{what} is kept in {config.out}: the same command with --resume goes on{others}."

    lock = exclusive(config.out / LOCK_FILE, f"the run in {config.out}") if is_first() else nullcontext()
    with lock, keeping(kept):
        model = model.to(device)
        if source is not None and source.config.depth and not model.config.depth:
            tell(f"depth was not measured in these data: unlike {config.init}, the model will not predict it")
        tell(overview(data, model))
        tell(what_was_chosen(recordings, data, model.config.dynamics.from_pixels))
        if (targets := about_targets(model)) is not None:
            tell(targets)
        if data.light > DRIFTS:
            tell(
                f"light changes by {data.light:.0%} from picture to picture: it is taken out, and put back when drawing"
            )
        if inheritance is not None:
            tell(f"kept {inheritance}")
        if borrowed:
            tell(f"the tokenizer begins with the weights of {EYES}; --fresh begins with none")
        try:
            trainer = Trainer(config.out, model, config.resume)
            run_phases(recordings.learning, preset, data, trainer)
            return by_first(lambda: finish(recordings, data, trainer, inheritance))
        except ProcessLost as error:
            raise ProcessLost(f"{error} {kept()}") from error


def check_shared(folder: Path) -> None:
    """Refuse a folder of a run that this process does not see as the first one left it."""
    if not (folder / RUN_FILE).exists():
        raise ConfigError(
            f"{folder} is not what the first of the {processes()} processes sees: all of them read from it, so --out "
            "must be on storage that their machines share"
        )


def begin(
    config: TrainConfig, preset: Preset, data: TrainingData, source: WorldModel | None
) -> tuple[WorldModel, Inheritance | None]:
    """The model as it is before training, with the weights of `source` where they fit.

    Raises:
        ConfigError: Of these data or of `source` the phases cannot make a model.
    """
    model = build(config, preset, data, source)
    check_phases(config, data, model)
    if "dynamics" in config.phases:  # refuses episodes that are too short before anything is learned
        from_pixels = model.config.dynamics.from_pixels
        data.windows(preset.frames_per_window + 1 if from_pixels else max(preset.rollouts))
    if source is None:
        return model, None
    inheritance = inherit(model, source)
    if config.kept:
        become(model, source, config.kept, f"--phases keeps {' and '.join(config.kept)} of {config.init}")
    return model, inheritance


def check_phases(config: TrainConfig, data: TrainingData, model: WorldModel) -> None:
    """Refuse phases that have nothing to learn from, or that leave a model whose parts do not fit each other."""
    from_pixels = model.config.dynamics.from_pixels
    if "depth" in config.phases and not len(data.measured) and (model.config.depth or len(config.phases) == 1):
        raise ConfigError("--phases depth needs data of which depth was measured: collect them with --depth")
    drawing = "dynamics" if from_pixels else "painter"
    if "tokenizer" in config.phases and drawing not in config.phases:
        raise ConfigError(
            f"--phases tokenizer changes what pictures are drawn in: name {drawing} too, which draws them"
        )
    if from_pixels and not {"tokenizer", "dynamics"} & set(config.phases):
        raise ConfigError(
            f"--phases {' '.join(config.phases)} leaves nothing to learn: without objects there are only tokenizer "
            "and dynamics"
        )
    if config.rollouts and from_pixels:
        raise ConfigError("--rollouts are for data with objects, and none are learned here")


def run_phases(config: TrainConfig, preset: Preset, data: TrainingData, trainer: Trainer) -> None:
    """Learn what is asked for, one phase after the other."""
    model, seed, samples = trainer.model, config.seed, config.out / "samples"
    phases = config.phases  # what is left out is not even made: its data may be too short for it

    def rolled_out(step: int) -> None:
        sample_rollouts(model, data, samples, step)

    if "tokenizer" in phases:
        learn_tokenizer(config, preset, data, trainer)
    if "locator" in phases and model.locator is not None:
        learn(trainer, LocatorPhase(model, data, preset, seed), config)
    if "reader" in phases and model.picture_reader is not None:
        learn(trainer, ReaderPhase(model, data, preset, seed), config)
    codes = encode_all(model, data, config.out / "latents.safetensors")
    if "depth" in phases and model.depth_head is not None:
        learn(trainer, DepthPhase(model, data, codes, preset, seed), config)
    if model.config.dynamics.from_pixels:
        if "dynamics" in phases:
            learn(trainer, VideoDynamicsPhase(model, data, codes, preset, seed), config, rolled_out)
        return
    if model.renderer is not None:  # it learns the residual, which the dynamics is to predict
        if "painter" in phases:
            phase = ReferenceRendererPhase(model, data, codes, preset, seed)
            if "dynamics" not in phases:  # which predicts the residual as it is
                phase.spared = ("residual_encoder.",)
            elif model.residual_encoder is not None:
                model.residual_encoder.worth.fill_(1.0)  # so that it is learned at all
            learn(trainer, phase, config)
            if "dynamics" in phases and model.residual_encoder is not None and phase.validation is not None:
                model.residual_encoder.worth.fill_(phase.worth())
        data.residual = unexplained(model, data, codes)
        if "dynamics" in phases:
            learn(trainer, ObjectDynamicsPhase(model, data, preset, seed), config, rolled_out)
        return
    if "dynamics" in phases:
        learn(trainer, ObjectDynamicsPhase(model, data, preset, seed), config)
    if "painter" in phases:
        learn(trainer, RendererPhase(model, data, codes, preset, seed), config, rolled_out)


def learn_tokenizer(config: TrainConfig, preset: Preset, data: TrainingData, trainer: Trainer) -> None:
    """Learn to read frames, in up to `ROUNDS` rounds of one share each while reconstructions lose too many things."""
    model, samples = trainer.model, config.out / "samples"
    with EpisodeFile(config.data[0]) as file:
        tracker, _ = attempt(lambda: brought_tracker(file, config.camera[0]))
    for number in range(ROUNDS):
        phase = TokenizerPhase(model, data, preset, config.seed + number)
        if number:
            phase.name, phase.rate, phase.since = f"{phase.name}-{number + 1}", AGAIN * phase.rate, 1.0
        learn(trainer, phase, config, lambda step: sample_tokenizer(model, data, samples, step))
        if by_first(lambda: tracker is None or share_kept(model, data, tracker) >= RECONSTRUCTED):
            return


@torch.no_grad()
def unexplained(model: WorldModel, data: TrainingData, codes: Latents) -> Tensor:
    """Residuals (F, R) of all frames, of which those with pictures have latents (S, N, M); of the others 0."""
    residual = torch.zeros(len(data.telemetry), model.config.dynamics.residual)
    for rows in own_parts(torch.arange(len(codes)).split(1024)):
        seen = (data.frames[rows], codes[rows], data.objects[rows])
        residual[rows] = model.unexplained(*(x.to(model.device) for x in seen)).cpu()
    unite_(residual)
    return residual


def learn(
    trainer: Trainer, phase: WorldModelPhase, config: TrainConfig, sample: Callable[[int], None] = lambda step: None
) -> None:
    """Run one phase on its share of the budget."""
    phase.rate *= config.learning_rate
    watched = phase.validation is not None and config.patience < 1
    early_stop = EarlyStop(phase.validation_loss, config.patience, since=phase.since) if watched else None
    if phase.name not in trainer.spent:
        trainer.run(phase, *config.share(phase.name, trainer.model.config, trainer.spent), sample, early_stop)


def finish(
    recordings: Recordings, data: TrainingData, trainer: Trainer, inheritance: Inheritance | None
) -> dict[str, Any]:
    """Calibrate, write the checkpoint with its initial states, card and report; return the report."""
    config, model = recordings.config, trainer.model
    out = config.out
    calibrate(model, data, familiar="tokenizer" in config.kept)
    model.save(out)
    shortest = model.config.time_limit // 4
    files = episode_files(config.data)
    write_initial_states(files, config.camera, out / BANK_FILE, shortest, bool(data.schema.object_names))
    write_states(model, data, out / STATES_FILE)
    write_text(out / "README.md", model_card(recordings, model, data))
    report: dict[str, Any] = {
        "model": config.name,
        "model_hash": model.digest(),
        "init": asdict(inheritance) if inheritance is not None else None,
        "held_out": trainer.validation,
        "objects": known_objects(recordings, data),
        "raw": bool(data.schema.settings.get(RAW)),
        **closing_report(model, files, data.validation().tolist()),
    }
    write_json(out / REPORT_FILE, report)
    return report


def write_initial_states(
    files: Sequence[EpisodeFile], cameras: Sequence[str], out: Path, shortest: int = 0, objects: bool = True
) -> None:
    """Cut the first frames of episodes spread over the data into an episode file.

    Episodes of less than `shortest` steps, if there are longer ones, are pieces that begin in the middle of something.
    With `objects` they say where objects are, if that was measured: a model looks for itself.
    """
    if out.exists():
        return
    episodes = [(file, k) for file in files for k in range(len(file)) if file.lengths[k] >= CONTEXT - 1]
    places = [(file, k) for file, k in episodes if file.lengths[k] >= shortest] or episodes
    schema = files[0].schema
    measured = objects and not any(file.schema.tracked for file in files)
    schema = replace(
        schema if measured else schema.without_objects(),
        cameras={name: schema.cameras[name] for name in cameras},
        depth=(),
        settings={"start_states_of": cameras[0]},
    )
    writer = EpisodeWriter(out, schema)
    size = sum(schema.cameras[name].height * schema.cameras[name].width for name in cameras)
    count = min(PIXELS // size, len(places))
    chosen = torch.linspace(0, len(places) - 1, max(1, count)).long().tolist()
    for index, (file, k) in enumerate(places[i] for i in chosen):
        with file:
            read = file.read(k, 0, CONTEXT, cameras=cameras)
        begins = replace(read, depth={}, sightings={}, objects_confidence=None)
        writer.write(index, begins if measured else replace(begins, objects=None, attributes=None))
    writer.merge()


def write_states(model: WorldModel, data: TrainingData, out: Path) -> None:
    """Keep where robot and things were in recordings, and what was done, as examples for planners: whole episodes
    spread over the data, some `STATES` frames at most. Nothing is kept where no things are known."""
    c = model.config.dynamics
    if not c.objects:
        return
    apart = -(-len(data.telemetry) // STATES)
    lengths = data.lengths[::apart]
    kept = torch.cat([torch.arange(s, s + n) for s, n in zip(data.starts[::apart], lengths, strict=True)])
    told = c.turns and data.residual.shape[1]  # without the renderer's phase nobody has read them
    turns = data.residual[kept, c.of_scene :] if told else torch.zeros(len(kept), 2 * c.objects)
    states = {
        "telemetry": data.telemetry[kept],
        "objects": data.objects[kept],
        "turns": turns.reshape(len(kept), c.objects, 2),
        "actions": data.actions[kept],
        "starts": lengths.cumsum(0) - lengths,
    }
    with replacing(out) as temporary:
        save_file(states, temporary)


def overview(data: TrainingData, model: WorldModel) -> str:
    """What there is to learn from, and what learns."""
    unseen = len(data.telemetry) - len(data.frames)
    masked = int((data.split == 1).sum())
    outside = f"; pictures need {data.lacking:.2g} GB more than --memory leaves: they stay in files"
    return (
        f"{data.episodes} episodes, {len(data.frames)} frames of {', '.join(data.cameras)}"
        + (f" and {unseen} without pictures; " if unseen else "; ")
        + (f"{masked} episodes are for validation alone, as their masks say; " if masked else "")
        + f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} million parameters on {model.device}"
        + (outside if data.lacking else "")
    )


def about_targets(model: WorldModel) -> str | None:
    """Which actions are targets although the data do not say so, None for none."""
    schema, commands = model.config.schema, model.config.dynamics.commands
    if not commands or schema.commands:
        return None
    names = ((schema.action_names[c.action], schema.telemetry_names[c.telemetry]) for c in commands)
    told = ", ".join(action if action == column else f"{action} of {column}" for action, column in names)
    return f"{len(commands)} of {len(schema.action_names)} actions are targets that telemetry follows: {told}"
