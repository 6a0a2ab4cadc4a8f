"""Workers that are processes of this machine.

Each is at the other end of a pipe, which closes when either of the two is gone, even if it was killed: nobody waits for
the dead, and no worker stays behind. Workers of the standard library's pools would, for ever.
"""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Collection
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from gwm_sim.policies.engines.engine import Engine, EngineWorker, Reply, WorkerDied
from gwm_sim.policies.engines.job_runner import JobRunner

PATIENCE: Final = 5.0  # for a process whose pipe has closed to end by itself [s]


class LocalEngine(Engine):
    """This machine; a process begins when there is work for it."""

    def open(self, workers: int | None) -> int:
        """As many as are asked for, or one for every core that this process may use."""
        return len(os.sched_getaffinity(0)) if workers is None else workers

    def close(self) -> None:
        """Nothing is left."""

    def start(self, make_worker: Callable[[], Any]) -> EngineWorker:
        """Begin a process."""
        return _Process(make_worker)

    def wait(self, workers: Collection[EngineWorker]) -> list[EngineWorker]:
        """Wait for the pipes."""
        ends: dict[Any, EngineWorker] = {
            worker.connection: worker for worker in workers if isinstance(worker, _Process)
        }
        return [ends[end] for end in wait(list(ends))]


class _Process(EngineWorker):
    started = True

    def __init__(self, make_worker: Callable[[], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(make_worker, theirs), daemon=True)
        # The worker inherits a blocked SIGINT: Ctrl-C reaches all processes, and the first one decides.
        resource_tracker.ensure_running()  # its start, within that of a process, would unblock the signal
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()  # so that the worker's death closes the pipe

    def give(self, job: Callable[[Any], Any]) -> None:
        try:
            self.connection.send_bytes(pickle.dumps(job))
        except ConnectionError as error:
            raise WorkerDied from error

    def take(self) -> Reply:
        try:
            reply: Reply = pickle.loads(self.connection.recv_bytes())
        except (EOFError, ConnectionError):
            self._end(PATIENCE)
            raise WorkerDied(f"with exit code {self._process.exitcode}") from None
        return reply

    def stop(self) -> None:
        self._end(0.0)

    def _end(self, patience: float) -> None:
        self.connection.close()
        self._process.join(patience)
        self._process.terminate()  # which does nothing to one that has ended
        self._process.join()


def _work(make_worker: Callable[[], Any], connection: Connection) -> None:
    runner = JobRunner(make_worker)
    with suppress(EOFError, ConnectionError):  # nobody is at the other end any more
        while True:
            connection.send_bytes(runner.reply(connection.recv_bytes()))
