"""The socket: the same requests as over HTTP, many at a time over one connection, and play in real time.

A client sends JSON, `{"id", "op", ...}`; every answer is one binary message (`wire.py`) whose header has the same `id`.
While a session is played its moments come by themselves, as `{"event": "moment", ...}`.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from fastapi import WebSocket
from pydantic import Field, FiniteFloat, ValidationError
from starlette.websockets import WebSocketDisconnect

from gwm_sim.envs.remote.wire import unpack
from gwm_sim.policies.serving import requests as ask
from gwm_sim.policies.serving.answers import Answer
from gwm_sim.policies.serving.api.guard import PROTOCOL, broken
from gwm_sim.policies.serving.errors import ServingError, refused
from gwm_sim.policies.serving.play import Play
from gwm_sim.policies.serving.service import Service

LOG: Final = logging.getLogger("gwm_sim.serving")

AT_A_TIME: Final = 32  # requests that are being answered; more wait
SLOW_DOWN: Final = 0.05  # seconds that a client waits who asks too fast


class Playing(ask.Body):
    """Let a session go on in real time."""

    rate: Annotated[FiniteFloat, Field(gt=0, le=200)] | None = None
    """Steps per second; by default those of the model's data."""
    pictures: ask.Format = "raw"
    """How pictures come."""


class Act(ask.Body):
    """What a played session does from now on."""

    action: ask.Vector
    """The action (A,), which is done in every step until another one comes."""
    number: Annotated[int, Field(ge=0, lt=2**53)] = 0
    """Comes back with the moments that it led to."""


class Conversation:
    """One connection."""

    def __init__(self, service: Service, websocket: WebSocket) -> None:
        """Answer what comes over a socket."""
        self._service, self._socket = service, websocket
        self._plays: dict[str, Play] = {}
        self._plans: dict[str, asyncio.Event] = {}  # by session, set where nobody wants the plan any more
        self._tasks: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_A_TIME)
        self._sending = asyncio.Lock()
        self._operations: dict[str, Callable[[Any], Awaitable[Answer]]] = {
            name.removeprefix("_on_"): getattr(self, name) for name in dir(self) if name.startswith("_on_")
        }

    async def run(self) -> None:
        """Talk until the client goes; what was asked for is finished."""
        offered = self._socket.scope.get("subprotocols") or ()
        await self._socket.accept(PROTOCOL if PROTOCOL in offered else None)
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                while not self._socket.state.allowed():
                    await asyncio.sleep(SLOW_DOWN)
                await self._places.acquire()
                data = message.get("text")
                task = asyncio.create_task(self._handle(data if data is not None else message.get("bytes", b"")))
                self._tasks.add(task)
                task.add_done_callback(self._done)
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            for task in self._tasks:
                task.cancel()  # before anything is waited for, so that none begins another play
            for unwanted in self._plans.values():
                unwanted.set()
            for play in self._plays.values():
                await play.stop()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._places.release()

    async def send(self, answer: Answer) -> None:
        """Send one message; what nobody receives any more is dropped."""
        async with self._sending:
            try:
                await self._socket.send_bytes(answer.binary())
            except (WebSocketDisconnect, RuntimeError):
                return

    async def _handle(self, data: str | bytes) -> None:
        name: Any = None
        try:
            asked = read(data)
            name = asked.pop("id", None)
            if not isinstance(name, int | str | None) or len(str(name)) > 64:
                raise refused("id must be a number or a short text")
            operation = self._operations.get(str(asked.pop("op", None)))
            if operation is None:
                raise refused(f"op must be one of {', '.join(self._operations)}")
            answer = await operation(asked)
        except ServingError as error:
            answer = Answer(dict(error.told()))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part)[:64] for part in first["loc"])
            answer = Answer({"error": {"code": "invalid", "message": f"{place}: {first['msg']}"[:400]}})
        except Exception:
            LOG.exception("a request over the socket")
            answer = Answer(dict(broken().told()))
        try:
            await self.send(Answer({**answer.header, "id": name}, answer.tail, answer.length))
        except ValueError:  # no JSON: whoever asked must not wait for ever
            LOG.exception("an answer over the socket")
            await self.send(Answer({**broken().told(), "id": name}))

    # --- operations: as over HTTP -------------------------------------------------------------------------------------

    async def _on_info(self, asked: dict[str, Any]) -> Answer:
        return Answer(self._service.info())

    async def _on_model(self, asked: dict[str, Any]) -> Answer:
        return Answer(self._service.model(str(asked.get("model"))))

    async def _on_create(self, asked: dict[str, Any]) -> Answer:
        if "count" in asked:
            many = ask.Creations.model_validate(asked)
            return await self._service.create(many, many.count, many.seeds)
        return await self._service.create(ask.Creation.model_validate(asked), 1)

    async def _on_session(self, asked: dict[str, Any]) -> Answer:
        return Answer(self._service.session(self._session(asked)))

    async def _on_close(self, asked: dict[str, Any]) -> Answer:
        session = self._session(asked)
        await self._stop(session.id)
        await self._service.close(session)
        return Answer({})

    async def _on_reset(self, asked: dict[str, Any]) -> Answer:
        if "sessions" in asked:
            many = ask.Resets.model_validate(asked)
            sessions = [self._service.find(name) for name in many.sessions]
            return await self._service.reset(sessions, many, many.seeds)
        session = self._session(asked)
        return await self._service.reset([session], ask.Reset.model_validate(asked))

    async def _on_step(self, asked: dict[str, Any]) -> Answer:
        if "sessions" in asked:
            many = ask.Steps.model_validate(asked)
            sessions = [self._service.find(name) for name in many.sessions]
            return await self._service.step(sessions, many, many.actions)
        session = self._session(asked)
        one = ask.Step.model_validate(asked)
        return await self._service.step([session], one, [one.chunk()])

    async def _on_edit(self, asked: dict[str, Any]) -> Answer:
        session = self._session(asked)
        return await self._service.edit(session, ask.Edit.model_validate(asked))

    async def _on_branch(self, asked: dict[str, Any]) -> Answer:
        session = self._session(asked)
        return await self._service.branch(session, ask.Branch.model_validate(asked))

    async def _on_plan(self, asked: dict[str, Any]) -> Answer:
        session = self._session(asked)
        wanted = ask.Plan.model_validate(asked)
        unwanted = self._plans[session.id] = asyncio.Event()
        try:
            return await self._service.plan(session, wanted, self.send, unwanted)
        finally:
            if self._plans.get(session.id) is unwanted:
                del self._plans[session.id]

    async def _on_stop_plan(self, asked: dict[str, Any]) -> Answer:
        if (unwanted := self._plans.get(self._session(asked).id)) is not None:
            unwanted.set()
        return Answer({})

    # --- operations: in real time -------------------------------------------------------------------------------------

    async def _on_play(self, asked: dict[str, Any]) -> Answer:
        session = self._session(asked)
        wanted = Playing.model_validate(asked)
        before = self._plays.get(session.id)
        await self._stop(session.id)
        play = Play(self._service, session, wanted.rate, wanted.pictures, self.send)
        if before is not None:
            play.action, play.number = before.action, before.number
        self._plays[session.id] = play
        play.start()
        return Answer({"session": session.id, "rate": play.rate})

    async def _on_act(self, asked: dict[str, Any]) -> Answer:
        session = self._session(asked)
        wanted = Act.model_validate(asked)
        if session.id not in self._plays:
            raise refused("this session is not played: ask for play first")
        self._plays[session.id].act(wanted.action, wanted.number)
        return Answer({})

    async def _on_pause(self, asked: dict[str, Any]) -> Answer:
        session = self._session(asked)
        await self._stop(session.id)
        return Answer({"session": session.id, "step": session.row.moments.now.step})

    async def _stop(self, name: str) -> None:
        play = self._plays.pop(name, None)
        if play is not None:
            await play.stop()

    def _session(self, asked: dict[str, Any]) -> Any:
        return self._service.find(str(asked.pop("session", None))[:64])


def read(data: str | bytes) -> dict[str, Any]:
    """What a client asks for: JSON, or the header of a message."""
    try:
        asked = json.loads(data) if isinstance(data, str) else unpack(data)[0]
    except (ValueError, RecursionError):
        raise refused("a message is JSON, or a header of JSON after its length") from None
    if not isinstance(asked, dict):
        raise refused('a message is an object, such as {"op": "info"}')
    return asked
