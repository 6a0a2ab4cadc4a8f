"""Uncertainty has the scale of the true error."""

from pathlib import Path

import pytest
import torch

from gwm_sim.model.uncertainty import together
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT
from gwm_sim.training.dataset import TrainingData, load_training_data
from gwm_sim.training.fitting.calibration import HORIZON, calibrate, error, in_view, mean, scale, spread

STEPS = 13 - CONTEXT  # the episodes of the tiny recording are shorter than the horizon


@pytest.fixture
def learned(tiny_data: Path, tiny_checkpoint: Path) -> tuple[WorldModel, TrainingData]:
    data = load_training_data([tiny_data])
    model = WorldModel.load(tiny_checkpoint, "cpu")
    model.calibration.fill_(3.0)
    model.tokenizer.usual_error.fill_(5.0)
    calibrate(model, data)
    return model, data


def rollout(model: WorldModel, data: TrainingData) -> tuple[torch.Tensor, ...]:
    """Uncertainty and true error of the validation episodes, at its start and at its end."""
    assert STEPS < HORIZON
    first = data.windows(CONTEXT + STEPS, validation=True)
    index = first[:, None] + torch.arange(CONTEXT + STEPS)
    pictures, telemetry, actions, objects = (
        x[index] for x in (data.frames, data.telemetry, data.actions, data.objects)
    )
    state = model.encode(pictures[:, :CONTEXT], telemetry[:, :CONTEXT], actions[:, : CONTEXT - 1])
    end = model.imagine(state, actions[:, CONTEXT - 1 : -1]).final
    errors = (mean(*error(model, s, objects[:, t], pictures[:, t])) for s, t in ((state, CONTEXT - 1), (end, -1)))
    return (state.uncertainty, end.uncertainty, *errors)


def test_uncertainty_is_the_mean_error_of_validation_episodes(learned: tuple[WorldModel, TrainingData]) -> None:
    begun, ended, error_begun, error_ended = (x.mean() for x in rollout(*learned))
    torch.testing.assert_close(begun, error_begun, rtol=0.1, atol=0.1)
    assert ended >= begun
    if error_ended > 1.1 * error_begun:
        torch.testing.assert_close(ended, error_ended, rtol=0.1, atol=0.1)


def test_the_scale_makes_expected_errors_the_true_one_on_average() -> None:
    begun, added = torch.rand(50), torch.rand(50) * (torch.arange(50) % 3 == 0)
    for ended in (torch.tensor(1.2), torch.tensor(7.0)):
        torch.testing.assert_close(together(begun, scale(begun, added, ended) * added).mean(), ended)
    less = scale(begun, added, torch.tensor(0.01))  # than at the start, which cannot be
    torch.testing.assert_close(together(begun, less * added).mean(), 1.01 * begun.mean())
    assert scale(begun, 0 * added, torch.tensor(7.0)) == 1


def test_what_nobody_can_see_does_not_count(learned: tuple[WorldModel, TrainingData]) -> None:
    model, data = learned
    first = data.windows(CONTEXT, validation=True)[:2]
    index = first[:, None] + torch.arange(CONTEXT)
    state = model.encode(data.frames[index], data.telemetry[index], data.actions[index[:, :-1]])
    frames, objects = data.frames[index[:, -1]], data.objects[index[:, -1]].clone()
    assert in_view(model, objects).all()
    objects[0, 1] += torch.tensor([0.0, 3.0, 0.0])  # pushed off the table, metres away
    apart, counts = error(model, state, objects, frames)
    assert counts.tolist() == in_view(model, objects).tolist() == [[True, False], [True, True]]
    torch.testing.assert_close(apart, 100 * (state.objects - objects).norm(dim=-1))
    torch.testing.assert_close(mean(apart, counts), (apart[0, 0] + apart[1].mean()) / 2)  # each row alike
    counts[1] = False
    torch.testing.assert_close(mean(apart, counts), apart[0, 0])
    torch.testing.assert_close(mean(apart, torch.zeros_like(counts)), apart.mean())  # better than nothing


def test_a_long_episode_counts_no_more_than_others() -> None:
    first, episodes = torch.arange(100), torch.tensor([3] * 91 + [5] * 9)
    assert spread(first, episodes, 6).tolist() == [0, 45, 90, 91, 95, 99]
    assert spread(first, episodes, 40).tolist()[20:] == list(range(91, 100))  # all that there are


def test_of_more_episodes_than_windows_some_are_left_out() -> None:
    first, episodes = torch.arange(100), torch.arange(50).repeat_interleave(2)
    assert spread(first, episodes, 5).tolist() == [0, 24, 48, 72, 98]
