"""A session in real time: it steps by a clock, with the last action that the player asked for.

The clock is a grid of one step each. A new action brings the next step forward, by at most half of the grid, so that
who presses a key sees it soon; the grid stays where it is, and with it the rate.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gwm_sim.policies.serving import requests as ask
from gwm_sim.policies.serving.answers import Answer
from gwm_sim.policies.serving.errors import ServingError
from gwm_sim.policies.serving.service import Service, chunks
from gwm_sim.policies.serving.sessions import Session

FORWARD: Final = 0.5  # of the time between two steps, by which a new action may bring the next one forward


class Play:
    """One session that is played."""

    def __init__(
        self,
        service: Service,
        session: Session,
        rate: float | None,
        pictures: ask.Format,
        send: Callable[[Answer], Awaitable[None]],
    ) -> None:
        """Prepare to play; until the player acts, the robot is held still."""
        self._service, self._session, self._send = service, session, send
        schema = session.worlds.model.config.schema
        self.rate = rate or schema.rate
        self.action: list[float] = schema.hold(session.row.moments.now.telemetry).tolist()
        self.number = 0
        self._asked = ask.Asked(pictures=pictures)
        self._acted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._doing: asyncio.Task[bool] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End, after the step that is being done, of which the player is still told."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task, *([self._doing] if self._doing is not None else [])])

    def act(self, action: Sequence[float], number: int) -> None:
        """Do something else from now on.

        Raises:
            ServingError: It is no action of the model.
        """
        chunks(self._session.worlds, [[action]], 1)
        changed = list(action) != self.action
        self.action, self.number = list(action), number
        if changed:
            self._acted.set()

    async def _run(self) -> None:
        clock, period = asyncio.get_running_loop().time, 1 / self.rate
        due = clock()
        while True:
            due = max(due + period, clock())  # what is late is not caught up with
            await self._wait(due - FORWARD * period, due)
            self._acted.clear()
            self._doing = asyncio.create_task(self._step())
            if not await asyncio.shield(self._doing):
                return

    async def _step(self) -> bool:
        """Do one step and tell the player of it; False where there is nothing to go on with."""
        number = self.number
        try:
            answer = await self._service.step([self._session], self._asked, [[self.action]])
        except ServingError as error:
            await self._send(Answer({"event": "ended", "session": self._session.id, **error.told()}))
            return False
        ((moment,),) = answer.header["moments"]
        told = {"event": "moment", "session": self._session.id, "number": number, "moment": moment}
        await self._send(Answer(told, answer.tail, answer.length))
        return True

    async def _wait(self, soonest: float, latest: float) -> None:
        """Wait for the next step, which is brought forward where the player asks for something new."""
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, soonest - clock()))
        try:
            async with asyncio.timeout_at(latest):
                await self._acted.wait()
        except TimeoutError:
            return
