"""Layers of the recurrent peer, and its choices among classes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gwm_sim.model.layers import RMSNorm
from gwm_sim.model.tokenizer import ChannelNorm


class NormedGRU(nn.Module):
    """DreamerV3's recurrent cell: one normalised linear layer for all gates, and a state that is kept by default."""

    def __init__(self, inputs: int, state: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs + state, 3 * state, bias=False)
        self.norm = RMSNorm(3 * state)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        reset, candidate, update = self.norm(self.linear(torch.cat((x, state), dim=-1)).float()).chunk(3, dim=-1)
        return torch.lerp(state, torch.tanh(reset.sigmoid() * candidate), torch.sigmoid(update - 1))


def choose(logits: Tensor, noise: Tensor | None) -> Tensor:
    """One value of each latent from log-probabilities (B, L, classes), as one-hot (B, L * classes).

    With Gumbel noise a sample, without it the most likely. Gradients pass straight through to the probabilities.
    """
    chosen = (logits if noise is None else logits + noise).argmax(dim=-1)
    share = logits.exp()
    return (F.one_hot(chosen, logits.shape[-1]) + share - share.detach()).flatten(-2)


def divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL divergence (...) of log-probabilities (..., L, classes), summed over the latents."""
    return (first.exp() * (first - second)).sum((-2, -1))


def quiet(last: nn.Linear | nn.ConvTranspose2d) -> nn.Module:
    """Let the last layer of a stack begin near zero: with the background, and with the mean telemetry."""
    nn.init.normal_(last.weight, std=1e-2)
    if last.bias is not None:
        nn.init.zeros_(last.bias)
    return last


def layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), RMSNorm(outputs), nn.SiLU())


def halve(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), ChannelNorm(outputs), nn.SiLU())


def double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), ChannelNorm(outputs), nn.SiLU())
