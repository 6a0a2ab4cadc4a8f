"""What tests of learned worlds act with, and how they compare what is seen."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HOLD = np.zeros(4, np.float32)

Observation = dict[str, NDArray[Any]]


def draw_actions(count: int, *shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (count, *shape, 4)).astype(np.float32)


def same(a: Observation, b: Observation) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
