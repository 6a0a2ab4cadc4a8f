"""What a worker pool asks of the place where its workers live; `EngineConformance` tests it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any

Reply = tuple[Any, Exception | None]
"""What came of a job: its result, or the error to raise in its place."""


class WorkerDied(Exception):
    """A worker is gone with the job that it had; the message says how it ended."""


class EngineWorker(ABC):
    """A worker as its pool sees it. It has one job at a time."""

    @property
    @abstractmethod
    def started(self) -> bool:
        """Whether it exists by now: on a busy cluster one that was asked for may never come."""

    @abstractmethod
    def give(self, job: Callable[[Any], Any]) -> None:
        """Let it do a job.

        Raises:
            WorkerDied: It is known to be gone.
        """

    @abstractmethod
    def take(self) -> Reply:
        """What came of its job, once `Engine.wait` has named it.

        Raises:
            WorkerDied: It went instead, or could not be made.
            GwmError: It cannot be worked with, such as one of another version.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it, whatever it does, and wait until it has ended."""


class Engine(ABC):
    """A place where workers live, between `open` and `close`."""

    @abstractmethod
    def open(self, workers: int | None) -> int:
        """Get ready for so many workers, or for as many as there are cores; returns how many that is.

        Raises:
            GwmError: There is no such place; the message says what to do.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind. The pool has stopped all workers; closing what is not open does no harm."""

    @abstractmethod
    def start(self, make_worker: Callable[[], Any]) -> EngineWorker:
        """Begin a worker, which calls `make_worker` before its first job."""

    @abstractmethod
    def wait(self, workers: Collection[EngineWorker]) -> list[EngineWorker]:
        """Wait until some of these, which are at work, have replied or are gone; returns those."""
