"""Statistics of ranks: how well one number orders another, whatever the scale of both. Knows numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def ranks(values: ArrayLike) -> Array:
    """Ranks from 0 upward, equal values sharing the mean of theirs, (N,) -> (N,)."""
    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    shared: Array = (np.cumsum(counts) - (counts + 1) / 2)[inverse]
    return shared


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Spearman's rank correlation of paired values, each (N,); None where one of them does not vary."""
    a, b = (ranks(values) - (np.size(values) - 1) / 2 for values in (first, second))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else None


def auroc(negatives: ArrayLike, positives: ArrayLike) -> float | None:
    """Probability that a positive is larger than a negative, ties counting half, (N,) and (M,); None without a case."""
    n, m = np.size(negatives), np.size(positives)
    if n == 0 or m == 0:
        return None
    total = ranks(np.concatenate([np.asarray(negatives), np.asarray(positives)]))[n:].sum()
    return float((total - m * (m - 1) / 2) / (n * m))
