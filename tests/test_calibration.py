"""Uncertainty has the scale of the true error."""

from pathlib import Path

import pytest
import torch

from gwm_sim.calibration import HORIZON, calibrate, error
from gwm_sim.protocol import CONTEXT
from gwm_sim.train import encode_all
from gwm_sim.windows import TrainingData, load_training_data
from gwm_sim.world_model import WorldModel

STEPS = 13 - CONTEXT  # the episodes of the tiny recording are shorter than the horizon


@pytest.fixture
def learned(tiny_data: Path, tiny_checkpoint: Path, tmp_path: Path) -> tuple[WorldModel, TrainingData]:
    data = load_training_data([tiny_data])
    model = WorldModel.load(tiny_checkpoint, "cpu")
    model.calibration.fill_(3.0)
    model.tokenizer.usual_error.fill_(5.0)
    calibrate(model, data, encode_all(model, data, tmp_path / "latents.safetensors"))
    return model, data


def rollout(model: WorldModel, data: TrainingData) -> tuple[torch.Tensor, ...]:
    """Uncertainty and true error of the held-out episode, at its start and at its end."""
    assert STEPS < HORIZON
    first = data.windows(CONTEXT + STEPS, validation=True)
    index = first[:, None] + torch.arange(CONTEXT + STEPS)
    pictures, telemetry, actions, objects = (
        x[index] for x in (data.frames, data.telemetry, data.actions, data.objects)
    )
    state = model.encode(pictures[:, :CONTEXT], telemetry[:, :CONTEXT], actions[:, : CONTEXT - 1])
    end = model.imagine(state, actions[:, CONTEXT - 1 : -1]).final
    errors = (error(model, s, objects[:, t], pictures[:, t]) for s, t in ((state, CONTEXT - 1), (end, -1)))
    return (state.uncertainty, end.uncertainty, *errors)


def test_uncertainty_is_the_mean_error_of_held_out_episodes(learned: tuple[WorldModel, TrainingData]) -> None:
    begun, ended, error_begun, error_ended = (x.mean() for x in rollout(*learned))
    torch.testing.assert_close(begun, error_begun, rtol=0.1, atol=0.1)
    assert ended > begun
    if error_ended > 1.1 * error_begun:
        torch.testing.assert_close(ended, error_ended, rtol=0.1, atol=0.1)
