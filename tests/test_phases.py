"""Histories of the dynamics phase: damage is labelled, commands stay exact, imagined frames are the model's own."""

from pathlib import Path

import pytest
import torch

from gwm_sim.dynamics import IMAGINED, Frames
from gwm_sim.phases import PRESETS, DynamicsPhase, batch_generator, corrupt
from gwm_sim.train import encode_all
from gwm_sim.windows import load_training_data
from gwm_sim.world_model import WorldModel


@pytest.fixture
def phase(tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> DynamicsPhase:
    data = load_training_data([tiny_data])
    model = WorldModel.load(tiny_checkpoint, "cpu")
    codes = encode_all(model, data, tmp_path / "latents.safetensors")
    return DynamicsPhase(model, data, codes, PRESETS["tiny"], seed=0)


def batch(phase: DynamicsPhase) -> Frames:
    return phase.data.batch(phase.codes, phase.starts.first[:8], phase.preset.frames_per_window + 1)[0]


def test_damage_grows_with_its_level_and_spares_commands(phase: DynamicsPhase) -> None:
    frames = batch(phase)
    damaged = corrupt(frames, phase.model, batch_generator(0, 1))
    clean = damaged.corruption == 0
    wrong = (damaged.codes != frames.codes).float().mean(dim=(2, 3))
    assert (wrong[clean] == 0).all()
    assert (wrong[damaged.corruption > 0.5] > 0).all()
    assert torch.equal(damaged.telemetry[clean], frames.telemetry[clean])
    commanded = phase.model.dynamics.command_telemetry
    assert torch.equal(damaged.telemetry[..., commanded], frames.telemetry[..., commanded])
    assert torch.equal(damaged.previous_codes[:, 1:], damaged.codes[:, :-1])


def test_imagined_history_is_what_a_rollout_gives(phase: DynamicsPhase) -> None:
    true = batch(phase)
    history = phase.imagined(true, true, batch_generator(0, 3))
    context = int((history.corruption[0, :-1] == 0).sum())
    assert 2 <= context < phase.preset.frames_per_window
    assert (history.corruption[:, context:-1] == IMAGINED).all()
    start = Frames(*(v if n == "properties" else v[:, :context] for n, v in true._asdict().items()))
    rollout = phase.model.imagine(phase.model.begin(start), true.actions[:, context - 1 : -2])
    assert torch.equal(history.codes[:, context:-1], rollout.codes)
    torch.testing.assert_close(history.telemetry[:, context:-1], rollout.telemetry)
    assert torch.equal(history.actions[:, :-1], true.actions[:, :-1])
    assert torch.equal(history.previous_codes[:, 1:-1], history.codes[:, :-2])


def test_batches_depend_on_seed_and_step_only(phase: DynamicsPhase) -> None:
    first, again, other = (phase.loss(step, 0.0)[0].item() for step in (4, 4, 5))
    assert first == again
    assert first != other


def test_every_parameter_learns_from_an_imagined_history(phase: DynamicsPhase) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = phase.loss(step=1, progress=1.0)
    loss.backward()
    idle = [name for name, p in phase.parameters() if p.grad is None or not p.grad.any()]
    assert not idle
