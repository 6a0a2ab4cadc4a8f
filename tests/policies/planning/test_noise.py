"""Coloured noise has the variance and the spectrum that are asked for."""

import pytest
import torch

from gwm_sim.policies.planning.optimizers import (
    coloured_noise,
)


def generators(problems: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(problems)]


@pytest.mark.parametrize("steps", [1, 2, 7, 32])
def test_noise_has_unit_variance_everywhere(steps: int) -> None:
    noise = coloured_noise(generators(2), 5000, steps, torch.tensor([0.0, 1.0, 3.0]))
    assert noise.shape == (2, 5000, steps, 3)
    torch.testing.assert_close(noise.std(dim=1), torch.ones(2, steps, 3), rtol=0.0, atol=0.06)
    assert noise.mean(dim=1).abs().max() < 0.08


def test_noise_has_the_stated_spectrum() -> None:
    steps, exponents = 32, torch.tensor([0.0, 1.0, 2.5])
    noise = coloured_noise(generators(1), 20_000, steps, exponents)[0]
    power = torch.fft.rfft(noise, dim=1).abs().square().mean(dim=0)  # (F, A)
    index = torch.arange(1, len(power), dtype=torch.float32)
    for column, exponent in enumerate(exponents.tolist()):
        expected = index**-exponent
        torch.testing.assert_close(power[1:, column] / power[1, column], expected, rtol=0.08, atol=0.0)
    torch.testing.assert_close(power[0], power[1], rtol=0.08, atol=0.0)  # the mean counts as the slowest oscillation


def test_white_noise_is_uncorrelated_and_smooth_noise_is_not() -> None:
    noise = coloured_noise(generators(1), 5000, 16, torch.tensor([0.0, 3.0]))[0]
    neighbours = (noise[:, 1:] * noise[:, :-1]).mean(dim=(0, 1))
    assert abs(neighbours[0]) < 0.03
    assert neighbours[1] > 0.8
    assert abs((noise[..., 0] * noise[..., 1]).mean()) < 0.03
