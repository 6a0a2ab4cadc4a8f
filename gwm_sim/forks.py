"""What a forked process must not wait for: threads that stayed behind in its parent.

`fork` copies one thread. The pool that torch computes with is still on the books of the child, which would wait for it
for ever in its first larger operation. One thread needs no pool, and is the faster choice too where every core has a
process. The parent, and whoever is started anew ("spawn"), keep the threads that they have. A child that asks torch for
more waits in torch, as it would without us.
"""

import multiprocessing
import os
import sys
from pathlib import Path

_FORKED_NOT_EXECUTED = 0x40  # Linux' PF_FORKNOEXEC
_FLAGS = 6  # place in /proc/self/stat, counted from behind the name, which may hold anything


def _after_fork() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


def _runs_in_a_fork() -> bool:
    """Whether this is a forked worker of `multiprocessing`: nobody called `_after_fork` if it imports us only now."""
    if multiprocessing.parent_process() is None:
        return False
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return bool(int(fields[_FLAGS]) & _FORKED_NOT_EXECUTED)
    except (OSError, ValueError, IndexError):
        return False


def watch() -> None:
    """Mend every process that is forked from now on, and this one if it was."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    if _runs_in_a_fork():
        _after_fork()
