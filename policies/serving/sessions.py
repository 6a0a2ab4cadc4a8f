"""Sessions: which worlds there are, who may still ask for them, and what was asked last."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from gwm_sim.policies.serving.answers import Answer
from gwm_sim.policies.serving.errors import ServingError, refused, unknown
from gwm_sim.policies.serving.worlds import Row, Worlds

WAITING: Final = 32  # most requests that wait for one session
REMEMBERED: Final = 64  # requests that made sessions, which may be asked again

Work = Callable[[], Coroutine[Any, Any, Answer]]


@dataclass(eq=False)
class Session:
    """One world that goes on, and whose turn it is."""

    id: str
    worlds: Worlds
    row: Row
    parent: str | None = None
    asked: tuple[str, asyncio.Task[Answer]] | None = None
    """The last request that had a name, and what became of it."""
    touched: float = field(default_factory=time.monotonic)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    busy: int = 0  # requests that are being answered


class Sessions:
    """All sessions of a server."""

    def __init__(self, most: int, idle: float) -> None:
        """Allow so many at a time, and forget those that nobody asks for in `idle` seconds."""
        self.most, self.idle = most, idle
        self._sessions: dict[str, Session] = {}
        self._made: OrderedDict[str, asyncio.Task[Answer]] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of sessions."""
        return len(self._sessions)

    def room(self, count: int) -> None:
        """Raise where there is no place for so many more."""
        if len(self) + count > self.most:
            raise ServingError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "full",
                f"{len(self)} of {self.most} sessions are taken, {count} more were asked for: close some, or start "
                "the server with more --sessions",
            )

    def add(self, worlds: Worlds, row: Row, parent: str | None = None) -> Session:
        """Take in a world."""
        self.room(1)
        session = Session(secrets.token_urlsafe(12), worlds, row, parent)
        self._sessions[session.id] = session
        return session

    def find(self, name: str) -> Session:
        """The session of a name, which is then not idle."""
        session = self._sessions.get(name)
        if session is None:
            raise unknown("session", name)
        session.touched = time.monotonic()
        return session

    def close(self, session: Session) -> None:
        """Let nobody ask for a session any more; what waits for its turn is not done."""
        self._sessions.pop(session.id, None)

    def forgotten(self) -> list[Session]:
        """Sessions that nobody asked for in a while."""
        now = time.monotonic()
        return [s for s in self._sessions.values() if not s.busy and now - s.touched > self.idle]

    # --- requests that are asked once more ----------------------------------------------------------------------------

    async def once(self, request: str | None, sessions: Sequence[Session], work: Work) -> Answer:
        """The answer of some work on sessions, one thing after the other on each.

        It is finished even if who asked goes away, and done once where the same request comes again.

        Raises:
            ServingError: A session was given twice, or too much waits for it already.
        """
        if len(set(sessions)) < len(sessions):
            raise refused("a session is named twice in one request")
        if request is not None and all(s.asked is not None and s.asked[0] == request for s in sessions):
            asked = sessions[0].asked
            assert asked is not None
            return await asyncio.shield(asked[1])
        if any(session.busy >= WAITING for session in sessions):
            raise ServingError(
                HTTPStatus.TOO_MANY_REQUESTS, "too_fast", f"{WAITING} requests wait for this session already: slow down"
            )
        task = asyncio.create_task(self._alone(sessions, work))
        for session in sessions:
            session.busy += 1
            task.add_done_callback(partial(_done, session))
            if request is not None:
                session.asked = request, task
        return await asyncio.shield(task)

    async def made_once(self, request: str | None, work: Work) -> Answer:
        """The same of work that makes sessions."""
        if request is not None and request in self._made:
            return await asyncio.shield(self._made[request])
        task = asyncio.create_task(work())
        if request is not None:
            self._made[request] = task
            while len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        return await asyncio.shield(task)

    async def _alone(self, sessions: Sequence[Session], work: Work) -> Answer:
        async with AsyncExitStack() as stack:
            for session in sorted(sessions, key=lambda session: session.id):  # so that no two wait for each other
                await stack.enter_async_context(session.lock)
                self.find(session.id)  # it may have ended meanwhile
            return await work()


def _done(session: Session, _: asyncio.Task[Answer]) -> None:
    session.busy -= 1
    session.touched = time.monotonic()
