"""Unrolled losses on a GPU: captured once as CUDA graphs, then replayed.

A rollout of robot and objects is thousands of small kernels, each of which a GPU does in less time than a CPU takes to
ask for it. A graph asks for all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

LossFunction = Callable[..., tuple[Tensor, dict[str, Tensor]]]

WARM_UP = 3  # times that what is captured runs before, so that libraries have set themselves up


class Capture:
    """A loss of tensors that always have the same shapes and types, and its gradient, as one CUDA graph.

    What is captured may draw no random numbers and must not wait for the GPU.
    """

    def __init__(self, model: nn.Module, loss: LossFunction, example: Sequence[Tensor]) -> None:
        """Capture `loss`, of tensors like `example` and the weights of `model`, in the precision that holds here."""
        self._weights = list(model.parameters())
        self._inputs = [tensor.clone() for tensor in example]
        self._graph = torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with stand_ins(model):
            leaves = list(model.parameters())
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    differentiate(loss, self._inputs, leaves)
            torch.cuda.current_stream().wait_stream(aside)
            with torch.cuda.graph(self._graph):
                self._total, self._parts, self._gradients = differentiate(loss, self._inputs, leaves)

    def replay(self, tensors: Sequence[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of other tensors; it and its parts hold until the next call."""
        for mine, given in zip(self._inputs, tensors, strict=True):
            mine.copy_(given, non_blocking=True)
        self._graph.replay()
        return known_loss(self._total, self._gradients, self._weights), self._parts


def differentiate(
    loss: LossFunction, tensors: Sequence[Tensor], leaves: list[nn.Parameter]
) -> tuple[Tensor, dict[str, Tensor], tuple[Tensor | None, ...]]:
    """Total, parts and gradients of a loss."""
    torch.clear_autocast_cache()  # or a graph would hold weights as they were before it
    total, parts = loss(*tensors)
    gradients = torch.autograd.grad(total, leaves, allow_unused=True)
    torch.clear_autocast_cache()
    return total.detach(), parts, gradients


@contextmanager
def stand_ins(model: nn.Module) -> Iterator[None]:
    """Give a model other leaves with the same memory: those that took part in a loss before belong to its stream."""
    places = [
        (module, name, weight)
        for module in model.modules()
        for name, weight in module.named_parameters(recurse=False, remove_duplicate=False)
    ]
    others = {weight: nn.Parameter(weight.detach(), weight.requires_grad) for _, _, weight in places}
    for module, name, weight in places:
        setattr(module, name, others[weight])
    try:
        yield
    finally:
        for module, name, weight in places:
            setattr(module, name, weight)


def known_loss(total: Tensor, gradients: Sequence[Tensor | None], weights: Sequence[Tensor]) -> Tensor:
    """A loss of which the gradients with respect to some weights are known already."""
    loss: Tensor = Differentiated.apply(total, gradients, *weights)  # type: ignore[no-untyped-call]
    return loss


class Differentiated(torch.autograd.Function):
    """See `known_loss`."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, gradients: Sequence[Tensor | None], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return total.clone()

    @staticmethod
    def backward(ctx: Any, *scales: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = scales
        return (None, None, *(None if gradient is None else gradient * scale for gradient in ctx.gradients))
