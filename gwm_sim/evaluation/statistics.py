"""Statistics of paired numbers, of choices among classes and of shares. Knows numpy only.

Where the cases say nothing, as without any or where all are alike, a number is None.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]

_NORMAL_95: Final = 1.959963984540054  # two-sided 95 % quantile of the normal distribution


def mean(values: Array) -> float | None:
    """Mean of all values."""
    return float(values.mean()) if values.size else None


def median(values: Array) -> float | None:
    """Median of all values."""
    return float(np.median(values)) if values.size else None


# --- paired numbers ---------------------------------------------------------------------------------------------------


def pearson(first: ArrayLike, second: ArrayLike) -> float | None:
    """Pearson's correlation of paired values, each (N,); None where one of them does not vary."""
    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(np.clip(a @ b / scale, -1.0, 1.0)) if scale > 1e-12 else None


def ranks(values: ArrayLike) -> Array:
    """Ranks from 0 upward, equal values sharing the mean of theirs, (N,) -> (N,)."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    shared: Array = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    return shared


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rank correlation of paired values, each (N,); None where one of them does not vary."""
    return pearson(ranks(first), ranks(second))


def auroc(negatives: ArrayLike, positives: ArrayLike) -> float | None:
    """Probability that a positive is larger than a negative, ties counting half, (N,) and (M,); None without a case."""
    n, m = np.size(negatives), np.size(positives)
    if n == 0 or m == 0:
        return None
    total = ranks(np.concatenate([np.asarray(negatives), np.asarray(positives)]))[n:].sum()
    return float((total - m * (m - 1) / 2) / (n * m))


def mean_maximum_rank_violation(*, real: ArrayLike, simulated: ArrayLike) -> float:
    """Mean over policies of the largest real difference to another policy that the simulation orders wrongly.

    SIMPLER's metric (https://arxiv.org/abs/2405.05941). Not symmetric, hence the names of the arguments, each (N,).
    """
    truth, belief = np.asarray(real, float), np.asarray(simulated, float)
    if truth.shape != belief.shape or truth.ndim != 1 or not truth.size:
        raise ValueError(f"real and simulated must be (N,), got {truth.shape} and {belief.shape}")
    wrong = (belief[:, None] > belief) != (truth[:, None] > truth)
    return float((np.abs(truth[:, None] - truth) * wrong).max(axis=1).mean())


# --- classes and shares -----------------------------------------------------------------------------------------------


def confusion(truth: Array, guess: Array, classes: int) -> Array:
    """Count pairs: rows are true classes, columns predicted ones, (classes, classes) int64."""
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def balanced_accuracy(matrix: Array) -> float | None:
    """Mean share of right predictions over the true classes that occur; None without a case."""
    cases = matrix.sum(axis=1)
    present = cases > 0
    return mean(np.diag(matrix)[present] / cases[present])


def kappa(matrix: Array) -> float | None:
    """Cohen's kappa, agreement beyond that of chance; None without a case or if all cases are of one class in both."""
    total = matrix.sum()
    if total == 0:
        return None
    by_chance = (matrix.sum(axis=0) * matrix.sum(axis=1)).sum() / total**2
    return float((np.trace(matrix) / total - by_chance) / (1 - by_chance)) if by_chance < 1 else None


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share (https://doi.org/10.1080/01621459.1927.10502953)."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"need 0 <= successes <= n and n > 0, got successes={successes}, n={n}")
    z2 = _NORMAL_95**2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _NORMAL_95 * np.sqrt(share * (1 - share) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
