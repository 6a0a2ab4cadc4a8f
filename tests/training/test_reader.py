"""What the robot reports is read from pictures."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.build import build
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data
from gwm_sim.training.phases.reader import ReaderPhase
from gwm_sim.training.pipeline import train


@pytest.fixture
def phase(tiny_data: Path, tiny_checkpoint: Path) -> ReaderPhase:
    return ReaderPhase(WorldModel.load(tiny_checkpoint, "cpu"), load_training_data([tiny_data]), PRESETS["tiny"], 0)


def test_the_reader_learns_alone_to_tell_postures_apart(phase: ReaderPhase) -> None:
    model = phase.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    start = error(phase)
    optimiser = torch.optim.Adam([weight for _, weight in phase.parameters()], phase.rate)
    for step in range(250):
        loss, _ = phase.loss(step, 0.0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert error(phase) < 0.85 * start
    changed = {name.partition(".")[0] for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert changed == {"picture_reader"}


@torch.no_grad()
def error(phase: ReaderPhase) -> float:
    return float(phase.loss_on(phase.windows, torch.Generator().manual_seed(1), 0)[0])


def test_frames_of_validation_episodes_are_kept_apart(phase: ReaderPhase) -> None:
    training, validation = phase.frames
    assert not set(training.tolist()) & set(validation.tolist())
    drawn = training[torch.randint(len(training), (64,), generator=torch.Generator().manual_seed(1))]
    assert error(phase) == pytest.approx(read_by_hand(phase, drawn), abs=1e-2)  # features are kept as half floats


@torch.no_grad()
def read_by_hand(phase: ReaderPhase, frames: torch.Tensor) -> float:
    model, data = phase.model, phase.data
    assert model.picture_reader is not None
    features = model.tokenizer.features(data.frames[frames])[:, 0]
    return float(model.picture_reader.loss(features, data.telemetry[frames])[0])


def test_only_worlds_with_things_learn_it(tmp_path: Path, tiny_data: Path, tiny_checkpoint: Path) -> None:
    model = WorldModel.load(tiny_checkpoint, "cpu").config
    config = TrainConfig(data=(tiny_data,), out=tmp_path, preset="tiny", steps=100)
    assert model.heads.reader and config.share("reader", model)[1] == 5
    data = load_training_data([tiny_data])
    data = replace(data, schema=replace(data.schema, object_names=()), objects=data.objects[:, :0])
    without = build(config, PRESETS["tiny"], data)
    assert not without.config.heads.reader and without.picture_reader is None
    assert config.share("dynamics", without.config)[1] == 45  # which the others share


def test_a_model_without_one_learns_it_alone(tmp_path: Path, tiny_data: Path, tiny_checkpoint: Path) -> None:
    whole = WorldModel.load(tiny_checkpoint, "cpu")
    unread = WorldModel(replace(whole.config, heads=replace(whole.config.heads, reader=False)), whole.statistics)
    unread.load_state_dict({name: x for name, x in whole.state_dict().items() if not name.startswith("picture_reader")})
    unread.save(tmp_path / "before")
    config = TrainConfig(
        data=(tiny_data,), out=tmp_path / "after", init=str(tmp_path / "before"), phases=("reader",), steps=5
    )
    train(config, tell=lambda line: None)
    before, after = (WorldModel.load(tmp_path / name, "cpu") for name in ("before", "after"))
    assert before.picture_reader is None and after.picture_reader is not None
    kept, own = before.state_dict(), after.state_dict()
    moved = {name for name in kept if not torch.equal(kept[name], own[name])}
    assert not {name for name in moved if name.startswith(("tokenizer.", "locator.", "dynamics.", "renderer."))}
