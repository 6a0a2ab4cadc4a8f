"""What an array is to a type checker, which cannot say more of its shape and type than words do; and exact sums."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def in_steps(values: Array, bits: int) -> Array:
    """Round values to multiples of 2^-`bits`, (...) float64.

    Matrix products of such numbers are exact as long as all sums fit 53 bits. Those of others depend in their last bits
    on the order in which threads add, and whatever is chosen or learned by them may be something else on the next run.
    """
    rounded: Array = np.ldexp(np.rint(np.ldexp(values.astype(np.float64), bits)), -bits)
    return rounded
