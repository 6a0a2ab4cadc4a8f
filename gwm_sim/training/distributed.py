"""Training on several processes, as torchrun or `accelerate launch` start them.

Every process draws the random numbers of the whole batch and keeps its own rows, gradients are averaged, and a mean
over what differs between rows is taken over all of them: so the losses and weights are those of one process. What only
one can do, such as writing files, the first does. Where there is one process, nothing here does anything.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from gwm_sim.errors import ConfigError, GwmError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # that a launcher sets
PROMPT = timedelta(minutes=10)  # within which all have made a step, or one of them hangs
PATIENT = timedelta(days=7)  # for what the first does alone, such as tracking
Made = TypeVar("Made")

ENDED_ELSEWHERE = 1  # exit code of a process that ends because another did, which has said why


class ProcessLost(GwmError):
    """Another process of the training ended or hangs, or all are told to end."""


class Launched(NamedTuple):
    """What a launcher says of this process."""

    rank: int
    processes: int
    local_rank: int  # among those of this machine


class _Group:
    """Through which processes talk about what takes long; that of gradients is the default group of torch."""

    patient: dist.ProcessGroup | None = None


def launched() -> Launched | None:
    """What a launcher says of this process; None where it is the only one.

    Raises:
        ConfigError: It says that there are several, and not how to find them.
    """
    if "WORLD_SIZE" not in os.environ and {"ACCELERATE_USE_CPU", "MASTER_PORT"} <= os.environ.keys():
        raise ConfigError(
            "accelerate launch --cpu starts one process, whatever its --num_processes is: give it --multi_gpu in place "
            "of --cpu, which starts all of them on a machine without GPUs too, or start them by torchrun"
        )
    processes = os.environ.get("WORLD_SIZE", "1")
    if processes == "1":
        return None
    if missing := [name for name in VARIABLES if name not in os.environ]:
        raise ConfigError(
            f"WORLD_SIZE is {processes}, so this is one of several processes, but {', '.join(missing)} is not set: "
            "start them by torchrun or accelerate launch, or unset WORLD_SIZE"
        )
    return Launched(int(os.environ["RANK"]), int(processes), int(os.environ["LOCAL_RANK"]))


def processes() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among those that train together."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this is the process that writes and speaks."""
    told = launched()
    return told is None or told.rank == 0


def own_device(name: str) -> torch.device:
    """The device of this process for `cpu`, `cuda` or `auto`.

    Raises:
        ConfigError: There are more processes on this machine than GPUs.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    told = launched()
    if told is None or not name.startswith("cuda"):
        return torch.device(name)
    if told.local_rank >= (count := torch.cuda.device_count()):
        raise ConfigError(
            f"this machine has {count} GPUs, too few for its process {told.local_rank + 1}: start one for each GPU, "
            "or give --device cpu"
        )
    return torch.device("cuda", told.local_rank)


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Train together with the other processes if a launcher started several; gives the device of this one.

    One of them says why a training ends before its time. The others end without a word, by SystemExit.

    Raises:
        ConfigError: What the launcher says is incomplete, or there are too few GPUs.
    """
    told, own = launched(), own_device(device)
    if told is None:
        yield own
        return
    store = _join(told, own)
    main = threading.current_thread() is threading.main_thread()
    if main:  # a launcher tells the others so when one was killed
        signal.signal(signal.SIGTERM, _told_to_end)
    try:
        yield own
    except BaseException:
        if main:  # the launcher stops all as soon as one has ended, and the reason has to come out before
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if _ends_first(store):
            raise
        raise SystemExit(ENDED_ELSEWHERE) from None
    if main:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _Group.patient = None
    dist.destroy_process_group()


def _join(told: Launched, device: torch.device) -> Store:
    """Meet the other processes; returns what all of them can read and write.

    Raises:
        ProcessLost: They are not there.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        store, rank, count = next(rendezvous("env://", told.rank, told.processes, timeout=PROMPT))
        # Under torchrun what is stored outlives processes that it starts anew, and so would where they once were.
        store = PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PROMPT)
        _Group.patient = dist.new_group(backend="gloo", timeout=PATIENT)
    except RuntimeError as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise ProcessLost(
            f"the {told.processes} processes did not find each other at {where}: look whether all of them were started "
            "and whether that is an address of the first, which the others reach"
        ) from error
    return store


def _told_to_end(number: int, frame: object) -> None:
    raise ProcessLost(f"another of the {processes()} processes ended, or all were told to.")


def _ends_first(store: Store) -> bool:
    """Whether no other process has ended before, as far as can be told: the store may be gone."""
    try:
        return store.add("gwm_sim/ended", 1) == 1
    except RuntimeError:
        return True


@contextmanager
def _talking() -> Iterator[None]:
    """Say in words that another process does not answer."""
    try:
        yield
    except RuntimeError as error:
        raise ProcessLost(
            f"another of the {processes()} processes ended, or did not answer for {PROMPT.seconds // 60} minutes."
        ) from error


def part(count: int, rank: int, ranks: int) -> slice:
    """Which of `count` rows of a batch are those of one of some processes."""
    each, rest = divmod(count, ranks)
    assert not rest, f"{count} rows for {ranks} processes, see check_batches()"
    return slice(rank * each, (rank + 1) * each)


def check_batches(rows: Sequence[int], batch: int) -> None:
    """Refuse batches of so many `rows` that cannot be shared equally; they are `batch` times the usual ones.

    Raises:
        ConfigError: Says which --batch can.
    """
    ranks = processes()
    if all(count % ranks == 0 for count in rows):
        return
    least = math.lcm(*(ranks // math.gcd(count // batch, ranks) for count in rows))
    raise ConfigError(
        f"--batch {batch} makes batches of {', '.join(map(str, sorted(set(rows))))}, which {ranks} processes cannot "
        f"share equally: give --batch {least}, or a multiple of it"
    )


def mine(rows: Tensor, dim: int = 0) -> Tensor:
    """The rows of this process, of a batch that all of them have drawn."""
    if processes() == 1:
        return rows
    own = part(rows.shape[dim], rank(), processes())
    return rows.narrow(dim, own.start, own.stop - own.start)


def drawn(draw: Callable[..., Tensor], shape: Sequence[int], *, dim: int = 0, **options: Any) -> Tensor:
    """Random numbers for the rows of this process, which lie along `dim` of a `shape`: those of all are drawn."""
    size = [count * processes() if axis == dim else count for axis, count in enumerate(shape)]
    return mine(draw(size=size, **options), dim)


@torch.no_grad()
def average_(tensors: Sequence[Tensor]) -> None:
    """Give tensors, in place, the mean of what they are in all processes."""
    if processes() == 1:
        return
    together = torch.cat([tensor.flatten() for tensor in tensors])
    with _talking():
        dist.all_reduce(together)
    together /= processes()
    for tensor, mean in zip(tensors, together.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


def everywhere(share: Tensor) -> Tensor:
    """The mean over all processes of something that is not learned, such as which share of a batch counts."""
    if processes() > 1:
        share = share.detach().clone()
        average_([share])
    return share


@torch.no_grad()
def replicate_(module: nn.Module) -> None:
    """Give weights and buffers the values of the first process, in place."""
    if processes() == 1:
        return
    with _talking():
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, 0)


def own_parts(parts: Sequence[Made]) -> Sequence[Made]:
    """Those of some parts of the work that this process does, see `unite_`."""
    return parts[rank() :: processes()]


def unite_(tensor: Tensor) -> None:
    """Fill in, in place, what others have done of a tensor in memory, which is 0 where this process did nothing."""
    if processes() > 1:
        with _talking():
            dist.all_reduce(tensor, group=_Group.patient)


def time_of_first(seconds: float) -> float:
    """What the clock of the first process says."""
    if processes() == 1:
        return seconds
    told = torch.tensor(seconds, dtype=torch.float64)
    with _talking():
        dist.broadcast(told, 0, group=_Group.patient)
    return float(told)


def by_first(make: Callable[[], Made]) -> Made:
    """What the first process makes, for all of them, which wait for it."""
    if processes() == 1:
        return make()
    found = [make() if is_first() else None]
    with _talking():
        dist.broadcast_object_list(found, 0, group=_Group.patient)
    return found[0]  # type: ignore[return-value]


def wait_for_all() -> None:
    """Go on when all processes have come so far."""
    if processes() > 1:
        with _talking():
            dist.barrier(group=_Group.patient)
