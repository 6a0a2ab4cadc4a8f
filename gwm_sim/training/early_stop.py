"""Early stopping: the weights of the moment at which a phase knew unseen episodes best.

Twenty times per budget the loss on validation episodes is measured. Its best weights are what a phase ends with, and
when it has not improved for a share of the budget, the phase ends early. Knows nothing of models and files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

CHECKS = 20  # per budget


@dataclass
class Best:
    """What is known so far; progress is a share of the budget."""

    loss: float = math.inf
    """Lowest loss on validation episodes."""
    at: float = 0.0
    """Progress at which it was measured."""
    checked: float = 0.0
    """Progress at the last check."""
    due: float = 0.0
    """Progress from which the next check is due."""


@dataclass
class EarlyStop:
    """Watches one phase."""

    loss: Callable[[], Tensor]
    """Loss on validation episodes of the weights that the model has when it is called."""
    patience: float
    """Share of the budget without improvement after which it is enough."""
    best: Best = field(default_factory=Best)
    weights: dict[str, Tensor] = field(default_factory=dict)
    """Weights of the best moment."""

    def due(self, progress: float) -> bool:
        """Whether to check now."""
        return progress >= self.best.due

    def check(self, progress: float, weights: Mapping[str, Tensor]) -> float:
        """Measure, and keep a copy of the model's `weights` if they are better than all before."""
        loss = self.loss().item()
        if loss < self.best.loss:
            self.best.loss, self.best.at = loss, progress
            self.weights = {name: value.detach().clone() for name, value in weights.items()}
        self.best.checked = progress
        self.best.due = (math.floor(progress * CHECKS + 1e-9) + 1) / CHECKS
        return loss

    @property
    def enough(self) -> bool:
        """Whether there was no improvement for too long."""
        return self.best.checked - self.best.at > self.patience

    def state(self) -> dict[str, Any]:
        """What `restore` needs beside the weights."""
        return asdict(self.best)

    def restore(self, state: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Go on where `state` and the weights of the best moment were saved."""
        self.best, self.weights = Best(**state), weights
