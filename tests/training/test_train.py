"""Training goes on after an interruption, refuses to mix runs, and fails loudly."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interruption import compute_alike, kill_training
from recordings import make_episode, make_schema
from safetensors.torch import load_file

from gwm_sim.commands.train import main
from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.data.schema import Command
from gwm_sim.errors import CheckpointError, ConfigError, GwmError
from gwm_sim.files import exclusive
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.config import WorldModelConfig
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.collection import collect
from gwm_sim.policies.commands.collect import CollectConfig
from gwm_sim.training import trainer
from gwm_sim.training.build import build, usual_length
from gwm_sim.training.config import PRESETS, Route, TrainConfig
from gwm_sim.training.dataset import WindowSampler, load_training_data
from gwm_sim.training.dataset.checks import episode_files
from gwm_sim.training.encoding import encode_all
from gwm_sim.training.phases.object_dynamics import ObjectDynamicsPhase
from gwm_sim.training.phases.tokenizer import TokenizerPhase
from gwm_sim.training.phases.video_dynamics import VideoDynamicsPhase
from gwm_sim.training.pipeline import LOCK_FILE, about_targets, write_initial_states


def config_for(data: Path, out: Path, resume: bool = False, steps: int = 25) -> TrainConfig:
    return TrainConfig(data=(data,), out=out, preset="tiny", steps=steps, resume=resume, device="cpu", name="test")


def test_a_run_leaves_a_model_that_loads(tiny_checkpoint: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu")
    assert model.config.name == "tiny"
    run = json.loads((tiny_checkpoint / "run.json").read_text())
    assert run["options"]["steps"] == 60
    assert model.digest() in (tiny_checkpoint / "README.md").read_text()
    stored, learned = load_file(tiny_checkpoint / "model.safetensors"), load_file(tiny_checkpoint / trainer.STATE_FILE)
    fitted = ("calibration", "tokenizer.usual_error")  # after the training
    # The heads and dynamics learned from the tokenizer that is stored, bit for bit.
    for name, value in ((name, value) for name, value in stored.items() if name not in fitted):
        assert torch.equal(value.to(learned[f"model.{name}"].dtype), learned[f"model.{name}"]), name
    with EpisodeFile(tiny_checkpoint / BANK_FILE) as bank:
        assert bank.lengths == [3] * 50
        bank.check()
    assert list((tiny_checkpoint / "samples").glob("tokenizer-*.png"))
    assert list((tiny_checkpoint / "samples").glob("rollouts-*.png"))


def test_short_pieces_decide_neither_the_time_limit_nor_the_starts(tiny_data: Path, tmp_path: Path) -> None:
    assert usual_length(torch.tensor([8] * 100 + [81] * 20 + [501])) == 81
    assert usual_length(torch.tensor([13])) == 13
    pieces = tmp_path / "pieces.hdf5"
    collect(CollectConfig(episodes=6, steps=5, out=pieces, workers=1, rendering="fast", seed=70))
    write_initial_states(episode_files([pieces, tiny_data]), ["front"], tmp_path / "bank.hdf5", shortest=6)
    assert min(seed for seed in EpisodeFile(tmp_path / "bank.hdf5").seeds if seed is not None) == 0
    assert len(EpisodeFile(tmp_path / "bank.hdf5")) == 50
    write_initial_states(episode_files([pieces]), ["front"], tmp_path / "none-longer.hdf5", shortest=6)
    assert len(EpisodeFile(tmp_path / "none-longer.hdf5")) == 6


@pytest.mark.slow
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute_alike(monkeypatch)
    main(config_for(tiny_data, tmp_path / "whole"))

    kill_training(monkeypatch, (4, 16))  # in the first phase and in the last
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            main(config_for(tiny_data, tmp_path / "killed", resume=True))
    main(config_for(tiny_data, tmp_path / "killed", resume=True))

    whole = load_file(tmp_path / "whole/model.safetensors")
    killed = load_file(tmp_path / "killed/model.safetensors")
    assert whole.keys() == killed.keys()
    for name, value in whole.items():
        torch.testing.assert_close(killed[name], value, msg=f"{name} differs")


@pytest.mark.slow
def test_fine_tuning_starts_from_the_weights_of_another_model(
    tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(config_for(tiny_data, tmp_path / "tuned", steps=5), init=str(tiny_checkpoint), weights=(2.0,))
    main(config)
    source, tuned = WorldModel.load(tiny_checkpoint, "cpu"), WorldModel.load(tmp_path / "tuned", "cpu")
    for name, value in source.named_parameters():
        assert (tuned.state_dict()[name] - value).abs().max() < 0.01, name  # five small steps away
    report = json.loads((tmp_path / "tuned/report.json").read_text())
    assert report["model_hash"] == tuned.digest()
    assert report["init"]["digest"] == source.digest() and report["init"]["share"] == 1
    assert set(report["held_out"]) == {"tokenizer", "painter", "dynamics"}
    assert len(report["words"]) >= 3
    printed = capsys.readouterr().out
    assert "kept from tiny" in printed and report["words"][1] in printed
    with pytest.raises(CheckpointError, match="No model 'nowhere'"):
        main(replace(config, init="nowhere", out=tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("phase", ["locator", "dynamics", "painter"])
def test_one_phase_learns_and_all_else_stays_as_it_is(
    phase: str, tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    config = replace(config_for(tiny_data, tmp_path / "run", steps=5), init=str(tiny_checkpoint), phases=(phase,))
    main(config)
    source, tuned = WorldModel.load(tiny_checkpoint, "cpu"), WorldModel.load(tmp_path / "run", "cpu")
    assert tuned.tokenizer_digest() == source.tokenizer_digest() and tuned.digest() != source.digest()
    theirs, own = source.state_dict(), tuned.state_dict()
    changed = {name for name in own if not torch.equal(own[name], theirs[name])} - {"calibration"}
    rendering = {name for name in changed if name.startswith("renderer.")}
    assert changed and rendering == (changed if phase == "painter" else set())
    assert {name.startswith("locator.") for name in changed} == {phase == "locator"}
    assert set(json.loads((tmp_path / "run/report.json").read_text())["held_out"]) == {phase}


def test_phases_that_make_no_model_are_refused(tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    config = config_for(tiny_data, tmp_path / "run", steps=5)
    with pytest.raises(ConfigError, match="--rate must be positive"):
        replace(config, rate=-1.0)
    for phases, message in ((("paint",), "got paint"), ((), "got none"), (("painter",), "leaves out tokenizer, dyn")):
        with pytest.raises(ConfigError, match=message):
            replace(config, phases=phases)
    whole = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, whole)
    value = json.loads((whole / "config.json").read_text())
    value["schema"]["object_names"] = ["mug", "plate"]
    (whole / "config.json").write_text(json.dumps(value))
    with pytest.raises(ConfigError, match="keeps tokenizer and dynamics of .* objects differ"):
        main(replace(config, init=str(whole), phases=("painter",)))
    writer = EpisodeWriter(tmp_path / "untracked.hdf5", replace(make_schema(), object_names=()))
    for number in range(2):
        writer.write(number, replace(make_episode(number), objects=None))
    writer.merge()
    untracked = replace(config, data=(tmp_path / "untracked.hdf5",), init=str(tiny_checkpoint), phases=("painter",))
    untracked = replace(untracked, path="video")
    with pytest.raises(ConfigError, match="painter leaves nothing to learn: without objects"):
        main(untracked)
    with pytest.raises(ConfigError, match="--rollouts are for data with objects"):
        main(replace(untracked, phases=("tokenizer", "dynamics"), rollouts=(13,)))
    for learned, data, reader in (
        (("tokenizer",), config.data, "painter"),
        (("tokenizer", "dynamics"), config.data, "painter"),
        (("tokenizer",), untracked.data, "dynamics"),
    ):
        path: Route = "video" if reader == "dynamics" else "auto"
        with pytest.raises(ConfigError, match=f"name {reader} too"):
            main(replace(untracked, data=data, phases=learned, path=path))
    assert not config.out.exists()  # the command can be corrected and given again


@pytest.mark.slow
def test_what_is_left_out_asks_nothing_of_the_data(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Episodes of 6 frames are too short for rollouts, and long enough to draw."""
    pieces = tmp_path / "pieces.hdf5"
    collect(CollectConfig(episodes=12, steps=5, out=pieces, workers=1, rendering="fast", seed=70))
    config = replace(config_for(pieces, tmp_path / "run", steps=4), init=str(tiny_checkpoint))
    main(replace(config, phases=("tokenizer", "painter")))
    with pytest.raises(ConfigError, match="no training episode has 8 frames"):
        main(replace(config, out=tmp_path / "no", phases=("tokenizer", "painter", "dynamics")))


def test_targets_are_found_where_no_command_is_declared(tmp_path: Path) -> None:
    schema = replace(make_schema(), object_names=(), tasks=(), task=None, action_names=("y", "x"))
    writer = EpisodeWriter(tmp_path / "targets.hdf5", schema)
    rng = np.random.default_rng(0)
    for number in range(4):
        wandering = np.sin(np.arange(61)[:, None] * rng.uniform(0.1, 0.3, 2) + rng.uniform(0, 6, 2))
        telemetry = [wandering[0]]
        for target in wandering[:-1]:
            telemetry.append((telemetry[-1] + target) / 2)
        of_all = np.concatenate((np.array(telemetry), np.full((61, 1), 0.05)), axis=1).astype(np.float32)
        frames = {name: np.zeros((61, c.height, c.width, 3), np.uint8) for name, c in schema.cameras.items()}
        actions = wandering[:-1, ::-1].astype(np.float32)
        blank = replace(make_episode(number), labels={}, objects=None, properties={})
        writer.write(number, replace(blank, frames=frames, telemetry=of_all, actions=actions))
    writer.merge()
    data = load_training_data((tmp_path / "targets.hdf5",))
    config = config_for(tmp_path / "targets.hdf5", tmp_path / "run")
    model = build(config, PRESETS["tiny"], data)
    assert [(c.action, c.telemetry, c.absolute) for c in model.config.dynamics.commands] == [(0, 1, True), (1, 0, True)]
    assert model.config.schema.commands == ()
    assert about_targets(model) == "2 of 2 actions are targets that telemetry follows: y, x"

    declared = (Command(telemetry=0, action=1, scale=0.1, measured=0),)
    known = build(config, PRESETS["tiny"], replace(data, schema=replace(schema, commands=declared)))
    assert known.config.dynamics.commands == declared
    assert about_targets(known) is None
    data.actions.zero_()  # as it is of the same robot that did not move: what a model knows of it stays true
    assert build(config, PRESETS["tiny"], data).config.dynamics.commands == ()
    assert build(config, PRESETS["tiny"], data, model).config.dynamics.commands == model.config.dynamics.commands


def test_actions_are_read_in_the_size_that_the_data_declare(tiny_checkpoint: Path, tmp_path: Path) -> None:
    metres = replace(make_schema(), action_low=(-0.02, -1.0), action_high=(0.01, 1.0))
    writer = EpisodeWriter(tmp_path / "metres.hdf5", metres)
    for number in range(2):
        writer.write(number, make_episode(number))
    writer.merge()
    data = load_training_data((tmp_path / "metres.hdf5",))
    config = config_for(tmp_path / "metres.hdf5", tmp_path / "run")
    model = build(config, PRESETS["tiny"], data)
    assert model.config.dynamics.action_size == (0.02, 1.0)
    assert WorldModelConfig.from_json(model.config.to_json()).dynamics == model.config.dynamics
    assert build(config, PRESETS["tiny"], data, model).config.dynamics.action_size == (0.02, 1.0)
    assert WorldModel.load(tiny_checkpoint).config.dynamics.action_size == ()  # of actions in [-1, 1]
    frames, _, _ = data.batch(None, torch.tensor([0]), 3)
    of_metres = model.dynamics.robot_features(frames)
    model.dynamics.action_size = torch.ones(2)
    sized = frames._replace(actions=frames.actions / torch.tensor([0.02, 1.0]))
    actions = slice(2 * len(metres.telemetry_names), 2 * len(metres.telemetry_names) + 2)
    torch.testing.assert_close(of_metres[..., actions], model.dynamics.robot_features(sized)[..., actions])


@pytest.mark.slow
def test_a_task_that_was_labelled_later_is_learned_alone(tmp_path: Path) -> None:
    for name, schema in (("plain", replace(make_schema(), tasks=(), task=None)), ("labelled", make_schema())):
        writer = EpisodeWriter(tmp_path / f"{name}.hdf5", schema)
        for number in range(12):
            episode = make_episode(number)
            writer.write(number, episode if name == "labelled" else replace(episode, labels={}))
        writer.merge()
    config = replace(config_for(tmp_path / "plain.hdf5", tmp_path / "plain", steps=4), rollouts=(5,))
    main(config)
    again = replace(config, data=(tmp_path / "labelled.hdf5",), out=tmp_path / "labelled", init=str(config.out))
    main(replace(again, phases=("dynamics",)))
    before, after = WorldModel.load(config.out, "cpu"), WorldModel.load(again.out, "cpu")
    assert before.tasks == () and after.tasks == make_schema().tasks
    assert after.tokenizer_digest() == before.tokenizer_digest()
    with pytest.raises(ConfigError, match="tasks are new"):
        main(replace(again, out=tmp_path / "no", phases=("tokenizer", "painter")))


@pytest.mark.slow
def test_a_model_is_called_as_its_folder(tiny_data: Path, tmp_path: Path) -> None:
    main(replace(config_for(tiny_data, tmp_path / "my-bench", steps=3), name=""))
    assert WorldModel.load(tmp_path / "my-bench", "cpu").config.name == "my-bench"
    card = (tmp_path / "my-bench/README.md").read_text()
    assert "# my-bench" in card and 'model="path/to/my-bench"' in card


@pytest.mark.slow
def test_rollouts_are_as_long_as_asked_for(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of `tiny_data` have 13 frames."""
    config = replace(config_for(tiny_data, tmp_path / "run", steps=5), rollouts=(8, 14))
    with pytest.raises(ConfigError, match="no training episode has 14 frames"):
        main(config)
    with pytest.raises(ConfigError, match="--rollouts must be above the 4 frames"):
        replace(config, rollouts=(20, 4))
    assert not config.out.exists()  # nothing was learned in vain
    lengths = set()
    draw = ObjectDynamicsPhase.draw

    def watched(phase: ObjectDynamicsPhase, *args: Any) -> Any:
        batch = draw(phase, *args)
        lengths.add(batch[2].shape[1])
        return batch

    monkeypatch.setattr(ObjectDynamicsPhase, "draw", watched)
    main(replace(config, steps=30, rollouts=(8, 13)))
    assert lengths == {8, 13}


@pytest.mark.slow
def test_a_model_that_goes_on_from_another_lives_by_its_own_predictions_at_once(
    tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[bool] = []
    follow = ObjectDynamicsPhase.follow

    def watched(phase: ObjectDynamicsPhase, starts: Any, generator: torch.Generator, free: bool) -> Any:
        began.append(free)
        return follow(phase, starts, generator, free)

    monkeypatch.setattr(ObjectDynamicsPhase, "follow", watched)
    config = replace(config_for(tiny_data, tmp_path / "new", steps=30), patience=1.0)
    main(config)
    learned = began[:]
    began.clear()
    main(replace(config, init=str(tiny_checkpoint), phases=("dynamics",), out=tmp_path / "more"))
    assert not any(learned[:4]) and any(learned[-4:])
    assert began[:4] == [False, True, True, True]  # one step of four goes on from true states


@pytest.mark.slow
def test_motion_is_learned_from_files_of_other_looks(tiny_data: Path, tmp_path: Path) -> None:
    config = replace(config_for(tiny_data, tmp_path / "run", steps=5), motion=(tiny_data,))
    main(config)
    data = load_training_data(config.data, motion=config.motion)
    count = len(load_training_data(config.data).frames)
    assert len(data.frames) == count and len(data.telemetry) == 2 * count
    assert torch.equal(data.telemetry[:count], data.telemetry[count:])
    assert int(data.windows(2, seen=True).max()) < count <= int(data.windows(2).max())


@pytest.mark.slow
def test_a_phase_that_gets_no_better_ends_with_its_best_weights(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = iter([3.0, 1.0] + [2.0] * 100)
    monkeypatch.setattr(ObjectDynamicsPhase, "validation_loss", lambda self: torch.tensor(next(losses)))
    main(config_for(tiny_data, tmp_path, steps=89))  # 40 of them for the dynamics
    held_out = json.loads((tmp_path / "report.json").read_text())["held_out"]["dynamics"]
    assert held_out == {"loss": 1.0, "best_at": 0.05, "stopped_at": pytest.approx(0.55)}
    assert "dynamics: stopped at 55% of its budget" in capsys.readouterr().out


@pytest.mark.slow
def test_batches_are_so_many_times_as_large(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    draw = WindowSampler.draw

    def watched(self: WindowSampler, count: int, generator: torch.Generator) -> torch.Tensor:
        drawn.append(count)
        return draw(self, count, generator)

    monkeypatch.setattr(WindowSampler, "draw", watched)
    config = config_for(tiny_data, tmp_path / "one", steps=4)
    main(replace(config, patience=1.0))
    usual, drawn[:] = list(drawn), []
    main(replace(config, patience=1.0, batch=2, out=tmp_path / "two"))
    assert drawn == [2 * count for count in usual]
    with pytest.raises(ConfigError, match="--batch must be at least 1, got 0"):
        replace(config, batch=0)


def test_a_camera_on_the_robot_is_refused_where_objects_are_tracked(tiny_data: Path, tmp_path: Path) -> None:
    data = load_training_data([tiny_data])
    camera = replace(data.schema.cameras["front"], moving=True)
    data = replace(data, schema=replace(data.schema, cameras={"front": camera}))
    config = config_for(tiny_data, tmp_path / "run")
    with pytest.raises(ConfigError, match="--camera front rides on the robot"):
        build(config, PRESETS["tiny"], data)


@pytest.mark.slow
def test_other_settings_and_existing_runs_are_refused(tiny_data: Path, tmp_path: Path) -> None:
    main(config_for(tiny_data, tmp_path, steps=5))
    with pytest.raises(ConfigError, match="--resume"):
        main(config_for(tiny_data, tmp_path, steps=5))
    with pytest.raises(ConfigError, match=r"other settings \(steps\)"):
        main(config_for(tiny_data, tmp_path, resume=True, steps=6))
    with pytest.raises(ConfigError, match="--minutes M or as --steps N"):
        TrainConfig(data=(tiny_data,), out=tmp_path)


@pytest.mark.slow
def test_two_processes_cannot_train_in_one_folder(tiny_data: Path, tmp_path: Path) -> None:
    main(config_for(tiny_data, tmp_path, steps=5))
    with exclusive(tmp_path / LOCK_FILE, "it"), pytest.raises(ConfigError, match="another process works on"):
        main(config_for(tiny_data, tmp_path, resume=True, steps=5))


def test_a_loss_that_is_not_a_number_stops_the_run(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(TokenizerPhase, "loss", lambda *_: (torch.tensor(torch.nan, requires_grad=True), nothing))
    with pytest.raises(GwmError, match="tokenizer broke down at step 0: loss nan"):
        main(config_for(tiny_data, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("tracked", [True, False])
def test_dynamics_learn_one_batch_by_heart(tracked: bool, tiny_data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = load_training_data([tiny_data])
    if not tracked:
        data = replace(data, schema=replace(data.schema, object_names=()), objects=data.objects[:, :0])
    model = build(config_for(tiny_data, tmp_path), PRESETS["tiny"], data)
    phase: ObjectDynamicsPhase | VideoDynamicsPhase
    if tracked:
        phase = ObjectDynamicsPhase(model, data, PRESETS["tiny"], seed=0)
    else:
        codes = encode_all(model, data, tmp_path / "latents.safetensors")
        phase = VideoDynamicsPhase(model, data, codes, PRESETS["tiny"], seed=0)
    optimiser = torch.optim.AdamW([p for _, p in phase.parameters()], lr=3e-3)
    losses = []
    for _ in range(100):
        loss, parts = phase.loss(0, 0.0)  # the same batch again and again
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append({name: value.item() for name, value in parts.items()})
    assert losses[-1]["objects" if tracked else "image"] < 0.7 * losses[0]["objects" if tracked else "image"]
    assert losses[-1]["telemetry"] < 0.7 * losses[0]["telemetry"]
