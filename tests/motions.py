"""Numbers that wander, and turns that they are wrapped into."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Columns = dict[str, Array]

PI, TURN = np.pi, 2 * np.pi


def wrap(values: Array, turn: float = TURN) -> Array:
    """Keep angles in [-turn/2, turn/2), as recorders do."""
    return (values + turn / 2) % turn - turn / 2


def wander(seed: int, rows: int = 200, step: float = 0.03, start: float = 0.0) -> Array:
    return start + np.cumsum(np.random.default_rng(seed).normal(0, step, rows))


def assert_same(ours: Array, theirs: Array) -> None:
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
