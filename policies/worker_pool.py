"""Worker processes, each at the other end of a pipe.

A pipe closes when the process at its other end is gone, even if it was killed, and a worker whose pipe is closed ends
too. Workers of the standard library's pools would stay behind for ever.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol, Self

from gwm_sim.errors import GwmError


class Worker(Protocol):
    """Lives in a worker process and does one job after the other."""

    greeting: Any
    """What the first process should know before there is work."""

    def __call__(self, job: Any) -> Any:
        """Do a job and return what to report."""


class WorkerPool:
    """A context in which workers exist; leaving it ends them at once."""

    def __init__(self, make_worker: Callable[[], Worker]) -> None:
        """Start the first worker and wait for its `greeting`.

        Args:
            make_worker: Called in every worker process; must be picklable.
        """
        self._make_worker = make_worker
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[Connection, SpawnProcess] = {}
        self._hire()
        try:
            self.greeting = self._receive(next(iter(self._workers))).content
        except BaseException:
            self._dismiss()
            raise

    def run(self, jobs: Sequence[Any], workers: int) -> Iterator[Any]:
        """Do all jobs with up to `workers` processes; yield the reports in the order in which they come.

        Raises:
            GwmError: A worker raised it, or died.
            RuntimeError: A worker failed in another way; the message holds its traceback.
        """
        waiting = iter(jobs)
        for idle in self._workers:
            self._assign(idle, waiting)
        while len(self._workers) < min(workers, len(jobs)):
            self._hire()
        reported = 0
        while reported < len(jobs):
            for connection in wait(list(self._workers)):
                assert isinstance(connection, Connection)
                message = self._receive(connection)
                self._assign(connection, waiting)
                if isinstance(message, _Report):
                    reported += 1
                    yield message.content

    def _hire(self) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._make_worker, theirs), daemon=True)
        process.start()
        theirs.close()  # so that the worker's death closes the pipe
        self._workers[ours] = process

    @staticmethod
    def _assign(connection: Connection, waiting: Iterator[Any]) -> None:
        for job in waiting:
            connection.send(job)
            return

    def _receive(self, connection: Connection) -> _Greeting | _Report:
        try:
            message: _Greeting | _Report | _Failure = connection.recv()
        except (EOFError, ConnectionError):
            process = self._workers[connection]
            process.join()
            raise GwmError(f"a worker process died with exit code {process.exitcode}; repeat the command") from None
        if not isinstance(message, _Failure):
            return message
        if isinstance(message.error, GwmError):
            raise message.error
        raise RuntimeError(f"a worker process failed: {message.error}")

    def _dismiss(self) -> None:
        for connection in self._workers:
            connection.close()
        for process in self._workers.values():
            process.terminate()
            process.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._dismiss()


@dataclass(frozen=True)
class _Greeting:
    content: Any


@dataclass(frozen=True)
class _Report:
    content: Any


@dataclass(frozen=True)
class _Failure:
    error: GwmError | str


def _work(make_worker: Callable[[], Worker], connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    try:
        worker = make_worker()
        connection.send(_Greeting(worker.greeting))
        while True:
            connection.send(_Report(worker(connection.recv())))
    except (EOFError, ConnectionError):
        return
    except GwmError as error:
        connection.send(_Failure(error))
    except Exception:
        connection.send(_Failure(traceback.format_exc()))
