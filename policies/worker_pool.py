"""Workers that do jobs side by side and are replaced when they die, wherever an engine lets them live.

A job is a function of what every worker makes once, such as a recorder; results come as they are done, and are the same
for any engine and any number of workers if jobs are such that doing them again does no harm: one whose worker dies,
killed or out of memory, is done again by a new one. Only a job that costs two workers their life is reported.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Self, TypeVar

from gwm_sim.errors import GwmError
from gwm_sim.policies.engines.engine import Engine, EngineWorker, WorkerDied
from gwm_sim.policies.engines.local import LocalEngine

ATTEMPTS: Final = 2  # workers that a job may cost before it is reported

Worker = TypeVar("Worker")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Job(Generic[Result]):
    """A job with a name, by which errors tell which one it was."""

    name: str
    do: Callable[[Any], Result]

    def __call__(self, worker: Any) -> Result:
        """Do it."""
        return self.do(worker)


class _Task(NamedTuple):
    job: Callable[[Any], Any]
    attempt: int  # at this job, from 1


class WorkerPool(Generic[Worker]):
    """A context in which workers exist; leaving it ends them at once."""

    def __init__(
        self, make_worker: Callable[[], Worker], workers: int | None = None, engine: Engine | None = None
    ) -> None:
        """Start nothing yet: workers begin when there is work for them.

        Args:
            make_worker: Called once in every worker; must be picklable.
            workers: Workers at most; by default one for every core that the engine has.
            engine: Where they live; by default they are processes of this machine.
        """
        self._make_worker = make_worker
        self._workers = workers
        self._engine = engine or LocalEngine()
        self._all: set[EngineWorker] = set()
        self._idle: list[EngineWorker] = []

    def run(self, jobs: Iterable[Callable[[Worker], Result]]) -> Iterator[Result]:
        """Do all jobs and yield their results in the order in which they come.

        Args:
            jobs: Picklable functions of the worker. Each is taken when a worker is free for it, so that what comes
                next may depend on results so far. What an error calls them is the name of a `Job`.

        Raises:
            GwmError: A worker or a job raised it, or a job has cost `ATTEMPTS` workers their life.
            RuntimeError: A worker or a job failed in another way; the message holds its traceback.
        """
        waiting: Iterator[_Task] = (_Task(job, 1) for job in jobs)
        again: list[_Task] = []
        running: dict[EngineWorker, _Task] = {}
        try:
            while True:
                while len(running) < self._limit and (task := again.pop() if again else next(waiting, None)):
                    running[self._give(task.job)] = task
                if not running:
                    return
                if self._idle and (late := next((worker for worker in running if not worker.started), None)):
                    again.append(running.pop(late))  # who is free need not wait for who may never come
                    self._stop(late)
                    continue
                for worker in self._engine.wait(running):
                    task = running.pop(worker)
                    try:
                        result, error = worker.take()
                    except WorkerDied as death:
                        self._stop(worker)
                        again.append(_next_attempt(task, death))
                        continue
                    self._idle.append(worker)
                    if error is not None:
                        raise error
                    yield result
        finally:
            for worker in running.keys() & self._all:  # what they still do is nobody's any more
                self._stop(worker)

    def _give(self, job: Callable[[Worker], Any]) -> EngineWorker:
        """The worker that has the job now: one that is idle and alive, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            try:
                worker.give(job)
                return worker
            except WorkerDied:
                self._stop(worker)
        worker = self._engine.start(self._make_worker)
        self._all.add(worker)
        with suppress(WorkerDied):  # one that is dead already is found so by whoever waits for its result
            worker.give(job)
        return worker

    def _stop(self, worker: EngineWorker) -> None:
        self._all.discard(worker)
        worker.stop()

    def __enter__(self) -> Self:
        self._limit = self._engine.open(self._workers)
        return self

    def __exit__(self, *_: object) -> None:
        for worker in list(self._all):
            self._stop(worker)
        self._engine.close()


def _next_attempt(task: _Task, death: WorkerDied) -> _Task:
    """The task once more, whose worker has died.

    Raises:
        GwmError: It has cost enough of them.
    """
    if task.attempt == ATTEMPTS:
        name = task.job.name if isinstance(task.job, Job) else "the same job"
        raise GwmError(f"{task.attempt} worker processes died over {name}, the last {death}") from None
    return _Task(task.job, task.attempt + 1)
