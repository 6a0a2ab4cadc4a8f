"""Exemplars are training frames of postures far apart, and one of another episode shows how the robot looks."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models import make_model

from gwm_sim.model.dynamics import Dynamics
from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.build import build
from gwm_sim.training.config import PRESETS, TrainConfig
from gwm_sim.training.dataset import load_training_data
from gwm_sim.training.encoding import encode_all
from gwm_sim.training.fitting.exemplars import far_apart, keep_exemplars
from gwm_sim.training.phases import reference_renderer as phases
from gwm_sim.training.phases.reference_renderer import ReferenceRendererPhase, exchange
from gwm_sim.training.summary import explaining


def test_each_is_the_farthest_from_those_before() -> None:
    line = torch.tensor([[0.0], [1.0], [2.0], [10.0], [9.0]])
    assert far_apart(line, 3).tolist() == [0, 3, 2]
    assert far_apart(line[:2], 5).tolist() == [0, 1, 0, 1, 0], "of few places from the beginning again"


def test_only_things_of_one_kind_change_places() -> None:
    config = replace(make_model(objects=2).config.dynamics, objects=5, kinds=(0, 1, 0, 2, 1))
    kinds, generator = torch.tensor(config.kinds), torch.Generator().manual_seed(0)
    orders = torch.stack([exchange(config, generator) for _ in range(50)])
    assert (kinds[orders] == kinds).all()
    assert len(orders.unique(dim=0)) == 4, "of both pairs"
    assert exchange(replace(config, kinds=()), generator).tolist() == [0, 1, 2, 3, 4]


def test_a_model_keeps_frames_that_it_learned_from(tiny_data: Path, tmp_path: Path) -> None:
    config = TrainConfig(data=(tiny_data,), out=tmp_path / "world", preset="tiny", steps=1)
    data = load_training_data(config.data)
    model = build(config, PRESETS["tiny"], data)
    kept = keep_exemplars(model, data)
    assert len(kept.unique()) == model.config.dynamics.exemplars > 1
    assert not data.validation()[data.episode_of(kept)].any()
    renderer = model.renderer
    assert renderer is not None
    assert torch.equal(renderer.exemplar_frames, data.frames[kept])
    telemetry = data.telemetry[kept]
    assert torch.equal(renderer.alike(telemetry, model.dynamics), torch.arange(len(kept)))
    spared = torch.eye(len(kept), dtype=torch.bool)
    assert not (renderer.alike(telemetry, model.dynamics, spared) == torch.arange(len(kept))).any()


def test_exemplars_are_part_of_a_model(tiny_checkpoint: Path) -> None:
    renderer = WorldModel.load(tiny_checkpoint).renderer
    assert renderer is not None and renderer.exemplar_frames.any()


def test_the_renderer_learns_from_exemplars_of_other_episodes_and_is_told_all_turns(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(data=(tiny_data,), out=tmp_path / "world", preset="tiny", steps=1)
    data = load_training_data(config.data)
    model = build(config, PRESETS["tiny"], data)
    renderer, reader, scene = model.renderer, model.turn_reader, model.config.dynamics.of_scene
    assert renderer is not None and reader is not None
    reader.turning.fill_(1)
    monkeypatch.setattr(phases, "UNTOLD", 1.0)
    monkeypatch.setattr(phases, "BLUR", 0.0)
    phase = ReferenceRendererPhase(model, data, encode_all(model, data, tmp_path / "x"), PRESETS["tiny"], seed=0)
    pairs = phase.draw(phase.windows, torch.Generator())
    _, after = phase.told(*pairs.residuals, torch.Generator())
    told = pairs.residuals[1]
    assert not after[:, :scene].any() and told[:, scene:].any()
    torch.testing.assert_close(after[:, scene:], told[:, scene:])

    used: list[torch.Tensor] = []
    alike = renderer.alike

    def watched(telemetry: torch.Tensor, dynamics: Dynamics, spared: torch.Tensor | None = None) -> torch.Tensor:
        assert spared is not None
        near, best = alike(telemetry, dynamics), alike(telemetry, dynamics, spared)
        used.append(spared.gather(1, torch.stack((near, best), dim=1)))
        return best

    monkeypatch.setattr(renderer, "alike", watched)
    for step in range(8):
        phase.loss(step, 0.5)
    near, best = torch.cat(used).unbind(dim=1)
    assert near.any() and not best.any(), "the nearest is often of the same episode, and never used"


def test_a_residual_that_is_not_worth_it_is_left_out(tiny_data: Path, tmp_path: Path) -> None:
    """Held-out pictures decide; the closing words say what they said."""
    config = TrainConfig(data=(tiny_data,), out=tmp_path / "world", preset="tiny", steps=1)
    data = load_training_data(config.data)
    model = build(config, PRESETS["tiny"], data)
    phase = ReferenceRendererPhase(model, data, encode_all(model, data, tmp_path / "x"), PRESETS["tiny"], seed=0)
    encoder = model.residual_encoder
    assert encoder is not None and float(encoder.worth) == 1 and abs(phase.worth()) < 1e-3, "nothing listens to it yet"
    seen = data.frames[some := torch.arange(4)], phase.codes[some], data.objects[some]
    scene = model.config.dynamics.of_scene
    assert model.unexplained(*seen)[:, :scene].any()
    encoder.worth.fill_(phase.worth())
    assert not model.unexplained(*seen)[:, :scene].any()
    assert explaining(model) == [
        "robot and things explain the pictures, so a residual was left out: with one, pictures are 0% nearer."
    ]
    encoder.worth.fill_(0.25)
    assert explaining(model) == [
        "4 numbers of a residual tell what robot and things do not: with them, pictures are 25% nearer."
    ]
