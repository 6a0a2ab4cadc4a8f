"""Chunks that are being made, as tasks: the client asks again and again what became of its own."""

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from gwm_sim.policies.serving.api.guard import broken
from gwm_sim.policies.serving.errors import ServingError, unknown

LOG: Final = logging.getLogger("gwm_sim.serving")

MOST: Final = 64  # that are remembered
AT_A_TIME: Final = 32  # that are being done


@dataclass(eq=False)
class Task:
    """What a client is told of one chunk."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    progress: float = 0.0
    film: bytes | None = None
    session: str | None = None  # in which it was made
    failure: str | None = None

    @property
    def status(self) -> str:
        """A word of the client's."""
        if self.failure is not None:
            return "FAILED"
        return "RUNNING" if self.film is None else "SUCCEEDED"


Tell = Callable[[float], None]
Work = Callable[[Tell], Coroutine[Any, Any, tuple[bytes, str]]]


class Tasks:
    """All tasks of a server, the oldest go first."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: OrderedDict[str, Task] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    def find(self, name: str) -> Task:
        """The task of a name.

        Raises:
            ServingError: There is none, or none any more.
        """
        if name not in self._tasks:
            raise unknown("task", name[:64])
        return self._tasks[name]

    def begin(self, work: Work) -> Task:
        """Do something that makes a film and names the session, and tells how far it is.

        Raises:
            ServingError: Too much is being done.
        """
        if len(self._running) >= AT_A_TIME:
            raise ServingError(HTTPStatus.TOO_MANY_REQUESTS, "too_many", f"{AT_A_TIME} tasks are being done: wait")
        task = Task()
        self._tasks[task.id] = task
        while len(self._tasks) > MOST:
            self._tasks.popitem(last=False)
        running = asyncio.create_task(run(task, work))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return task


async def run(task: Task, work: Work) -> None:
    """Do the work of a task, and write down what became of it."""

    def tell(share: float) -> None:
        task.progress = share

    try:
        task.film, task.session = await work(tell)
    except ServingError as error:
        task.failure = str(error)
    except Exception:
        LOG.exception("a task")
        task.failure = str(broken())
