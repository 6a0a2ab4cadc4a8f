"""Worker processes that do jobs side by side and are replaced when they die.

A job is a function of what every worker process makes once, such as a recorder; results come as they are done. Another
engine, on other machines, can stand behind the same two: `WorkerPool(make_worker, workers)` and `run(jobs)`.

A process that dies, killed or out of memory, is replaced and its job is done again by the new one; only a job that
costs two processes their life is reported. Jobs must therefore be such that doing them again does no harm.

Each process is at the other end of a pipe, which closes when either of the two is gone, even if it was killed: nobody
waits for the dead, and no worker stays behind. Workers of the standard library's pools would, for ever.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final, Generic, Self, TypeVar

from gwm_sim.errors import GwmError, StorageError
from gwm_sim.storage import trouble

ATTEMPTS: Final = 2  # processes that a job may cost before it is reported
FAILED: Final = "a worker process failed"

Worker = TypeVar("Worker")
Result = TypeVar("Result")
_Task = tuple[Callable[[Any], Any], int]  # a job, and which attempt at it this is


class WorkerPool(Generic[Worker]):
    """A context in which worker processes exist; leaving it ends them at once."""

    def __init__(self, make_worker: Callable[[], Worker], workers: int | None = None) -> None:
        """Start nothing yet: processes begin when there is work for them.

        Args:
            make_worker: Called once in every worker process; must be picklable.
            workers: Processes at most; by default one for every core that this process may use.
        """
        self._make_worker = make_worker
        self._limit = len(os.sched_getaffinity(0)) if workers is None else workers
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, SpawnProcess] = {}
        self._idle: list[Connection] = []

    def run(self, jobs: Iterable[Callable[[Worker], Result]]) -> Iterator[Result]:
        """Do all jobs and yield their results in the order in which they come.

        Args:
            jobs: Picklable functions of the worker. Each is taken when a process is free for it, so that what comes
                next may depend on results so far.

        Raises:
            GwmError: A worker or a job raised it, or a job has cost `ATTEMPTS` processes their life.
            RuntimeError: A worker or a job failed in another way; the message holds its traceback.
        """
        waiting: Iterator[_Task] = ((job, 1) for job in jobs)
        again: list[_Task] = []
        running: dict[Connection, _Task] = {}
        try:
            while True:
                while len(running) < self._limit and (task := again.pop() if again else next(waiting, None)):
                    running[self._give(task[0])] = task
                if not running:
                    return
                for connection in wait(list(running)):
                    assert isinstance(connection, Connection)
                    job, attempt = running.pop(connection)
                    try:
                        result, error = connection.recv()
                    except (EOFError, ConnectionError):
                        code = self._bury(connection, patience=5.0)  # [s], for it to end by itself
                        if attempt == ATTEMPTS:
                            died = f"{attempt} worker processes died over the same job, the last with exit code {code}"
                            raise GwmError(died) from None
                        again.append((job, attempt + 1))
                        continue
                    self._idle.append(connection)
                    if error is not None:
                        raise error
                    yield result
        finally:
            for connection in running.keys() & self._processes.keys():  # what they still do is nobody's any more
                self._bury(connection)

    def _give(self, job: Callable[[Worker], Any]) -> Connection:
        """The process that has the job now: one that is idle and alive, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            try:
                connection.send(job)
                return connection
            except ConnectionError:
                self._bury(connection)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(self._make_worker, theirs), daemon=True)
        # The worker inherits a blocked SIGINT: Ctrl-C reaches all processes, and the first one decides.
        resource_tracker.ensure_running()  # its start, within that of a process, would unblock the signal
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()  # so that the worker's death closes the pipe
        self._processes[ours] = process
        with suppress(ConnectionError):  # one that is dead already is found so by whoever waits for its result
            ours.send(job)
        return ours

    def _bury(self, connection: Connection, patience: float = 0.0) -> int | None:
        """End a process, if it lives on for `patience` seconds, and return its exit code."""
        connection.close()
        process = self._processes.pop(connection)
        process.join(patience)
        process.terminate()  # which does nothing to one that has ended
        process.join()
        return process.exitcode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for connection in list(self._processes):
            self._bury(connection)


def _work(make_worker: Callable[[], Any], connection: Connection) -> None:
    worker = None
    try:
        while True:
            job = connection.recv()
            try:
                worker = make_worker() if worker is None else worker
                reply: tuple[Any, Exception | None] = job(worker), None
            except GwmError as error:
                reply = None, error
            except Exception as error:
                why = trouble(error)  # such as a full disk, of which a traceback says nothing more
                failed = StorageError(f"{why}.") if why else RuntimeError(f"{FAILED}: {traceback.format_exc()}")
                reply = None, failed
            try:
                connection.send(reply)
            except ConnectionError:
                raise
            except Exception:  # the result cannot be pickled
                connection.send((None, RuntimeError(f"{FAILED}: {traceback.format_exc()}")))
    except (EOFError, ConnectionError):
        return  # nobody is at the other end any more
