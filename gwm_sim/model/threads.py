"""With how many threads a model computes: with one, until there is work for all that the caller allows.

Every operation that is shared out wakes the other threads and waits for the last of them, which for a few rows costs
more than it brings: a single step is hundreds of operations of a few microseconds. The choice is a function of the
amount of work, of the number of threads that the caller allows (`torch.get_num_threads()`) and of how threads wait,
never of a measured time, so that a run repeats. It is one or all: a team of another size would end threads, and make
them anew for the caller's next operation.

The number of threads belongs to the Python thread that asks for it, and is as before afterwards, whatever happens.
Others keep theirs. Only one whose very first operation in torch falls into that moment begins with what is set then.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

LONG_SPIN: Final = 10_000  # rounds from which a thread is still awake when the next operation comes


def spins(environment: Mapping[str, str]) -> bool:
    """Whether OpenMP's threads stay awake between two operations, as they do unless told otherwise.

    The command `gwm` tells them: threads that stay awake stall each other where another program wants a core.
    """
    rounds = environment.get("GOMP_SPINCOUNT", "")
    if rounds.isdigit():
        return int(rounds) >= LONG_SPIN
    return environment.get("OMP_WAIT_POLICY", "").lower() != "passive"


WORTHWHILE: Final = 5e7 if spins(os.environ) else 8.5e8
"""Products of a pass from which all threads are faster than one, or as fast: see `benchmarks/threads.py`."""


def threads(work: float, given: int) -> int:
    """Number of threads for so many products, of as many as are `given`."""
    return given if work >= WORTHWHILE else 1


def rows_for_all(work: float) -> int:
    """Number of rows from which all threads are used, each row being so many products."""
    return math.ceil(WORTHWHILE / work)


class _Inside(threading.local):
    """What is known of a Python thread."""

    given: int = 0  # by the caller, before the model began to choose; 0 outside
    all: bool = False


_inside = _Inside()


def _after_fork() -> None:
    """Let a child that is forked within a block go on with the one thread that it has, see `forks.py`."""
    _inside.given = min(1, _inside.given)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Compute with as many threads as so many products deserve; within another such block of the caller's number."""
    before, outermost = torch.get_num_threads(), not _inside.given
    if outermost:
        _inside.given = before
    chosen = _inside.given if _inside.all else threads(work, _inside.given)
    try:
        if chosen != before:
            torch.set_num_threads(chosen)
        yield
    finally:
        if chosen != before:
            torch.set_num_threads(min(before, _inside.given))
        if outermost:
            _inside.given = 0


@contextmanager
def all_threads() -> Iterator[None]:
    """Compute with all threads of the caller whatever the work is: what a choice is measured against."""
    before, _inside.all = _inside.all, True
    try:
        yield
    finally:
        _inside.all = before


def weights(*parts: nn.Module | None) -> int:
    """Number of weights, which is the number of products of a pass over one place."""
    return sum(p.numel() for part in parts if part is not None for p in part.parameters())
