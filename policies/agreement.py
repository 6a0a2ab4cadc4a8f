"""How well scores in one world stand for scores in another, over policies and over single starts. Knows numpy only."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pearson(first: ArrayLike, second: ArrayLike) -> float | None:
    """Pearson's correlation of paired values, each (N,); None where one of them does not vary."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(np.clip(a @ b / scale, -1.0, 1.0)) if scale > 1e-12 else None


def mean_maximum_rank_violation(*, real: ArrayLike, simulated: ArrayLike) -> float:
    """Mean over policies of the largest real difference to another policy that the simulation orders wrongly.

    SIMPLER's metric (https://arxiv.org/abs/2405.05941). It is not symmetric, hence the names of the
    arguments, each (N,).
    """
    truth, belief = np.asarray(real, float), np.asarray(simulated, float)
    if truth.shape != belief.shape or truth.ndim != 1 or not truth.size:
        raise ValueError(f"real and simulated must be (N,), got {truth.shape} and {belief.shape}")
    wrong = (belief[:, None] > belief) != (truth[:, None] > truth)
    return float((np.abs(truth[:, None] - truth) * wrong).max(axis=1).mean())


def kappa(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float | None:
    """Cohen's kappa of paired yes and no, each (N,); None where chance alone would agree always."""
    a, b = np.mean(first), np.mean(second)
    chance = a * b + (1 - a) * (1 - b)
    return float((np.mean(first == second) - chance) / (1 - chance)) if chance < 1 else None


__all__ = ["kappa", "mean_maximum_rank_violation", "pearson"]
