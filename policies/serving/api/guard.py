"""The guard at the door: who may ask, from where, how often and how much. Nothing behind it runs for anybody else.

A page of another origin, or a name that was pointed at this machine, gets nothing: hosts and origins are compared
before anything is read. The token is compared in constant time. What goes wrong is told in one line of JSON.
"""

import asyncio
import hmac
import ipaddress
import json
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gwm_sim.envs.remote.wire import MOST_BYTES
from gwm_sim.policies.serving.errors import ServingError
from gwm_sim.policies.serving.links import Links

LOG: Final = logging.getLogger("gwm_sim.serving")

BODY_SECONDS: Final = 20.0  # in which a request has to be complete
ADDRESSES: Final = 1024  # whose rate is remembered
PROTOCOL: Final = "gwm.v1"  # of the socket
TOKEN_PROTOCOL: Final = "gwm.token."  # begins the word by which a page, which cannot set headers, gives its token

PUBLIC: Final = frozenset({"/", "/v1/docs", "/v1/openapi.json"})
"""What anybody may read who comes from here: it says how to ask, and nothing of what is served."""
PUBLIC_FILES: Final = "/page/"

HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True)
class Limits:
    """How much one address may ask."""

    requests: float = 2000.0
    """Requests per second of who has the token; messages of a socket count as requests."""
    strangers: float = 50.0
    """Requests per second of who does not."""


class Bucket:
    """A rate that may be exceeded for a moment: so many at once, and so many per second."""

    def __init__(self, rate: float) -> None:
        """Begin full."""
        self.rate, self._left, self._at = rate, 2 * rate, monotonic()

    def take(self) -> bool:
        """Take one, if there is one."""
        now = monotonic()
        self._left = min(2 * self.rate, self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Guard:
    """Lets requests through to an application, or answers them itself."""

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str], limits: Limits) -> None:
        """Guard an application.

        Args:
            app: The application.
            token: What a request has to carry.
            hosts: Names under which this server may be asked for, beside addresses; a name that somebody else points
                here is none of them.
            limits: How much one address may ask.
        """
        self._app, self._token, self._links = app, token.encode(), Links(token)
        self._hosts, self._limits = frozenset(hosts), limits
        self._buckets: OrderedDict[tuple[str, bool], Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except ServingError as error:
            await refuse(scope, receive, send, error)
            return
        if scope["type"] == "websocket":
            scope["state"]["allowed"] = lambda: self._allowed(scope, True)
            await self._app(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    # --- who asks -----------------------------------------------------------------------------------------------------

    def _check(self, scope: Scope) -> None:
        headers = scope["headers"]
        host = one(headers, b"host")
        if not self._is_ours(host):
            raise ServingError(
                HTTPStatus.MISDIRECTED_REQUEST, "foreign_host", f"this server is not called {host[:100]!r}"
            )
        origin = one(headers, b"origin")
        if origin and origin not in (f"http://{host}", f"https://{host}"):
            raise ServingError(
                HTTPStatus.FORBIDDEN, "foreign_origin", f"pages of {origin[:100]!r} may not ask this server"
            )
        known = self._knows(scope)
        if not self._allowed(scope, known):
            raise ServingError(HTTPStatus.TOO_MANY_REQUESTS, "too_fast", "too many requests: slow down")
        path = scope["path"]
        public = scope["type"] == "http" and (path in PUBLIC or path.startswith(PUBLIC_FILES))
        if not known and not public:
            raise ServingError(
                HTTPStatus.UNAUTHORIZED, "no_token", "give the token that `gwm serve` printed: Authorization: Bearer T"
            )
        size = one(headers, b"content-length")
        if size and not (size.isascii() and size.isdigit() and len(size) < 16 and int(size) <= MOST_BYTES):
            raise too_large()

    def _is_ours(self, host: str) -> bool:
        name = ""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._hosts
        return True

    def _knows(self, scope: Scope) -> bool:
        if scope["type"] == "http":
            query = scope["query_string"].decode("latin-1")
            if query and self._links.allow(scope["method"], scope["path"], query):
                return True
        given = [one(scope["headers"], b"authorization").removeprefix("Bearer ")]
        given += [
            word.removeprefix(TOKEN_PROTOCOL)
            for word in scope.get("subprotocols") or ()
            if word.startswith(TOKEN_PROTOCOL)
        ]
        return any([hmac.compare_digest(word.encode("utf-8", "replace"), self._token) for word in given])

    def _allowed(self, scope: Scope, known: bool) -> bool:
        address = str((scope.get("client") or ("",))[0])
        bucket = self._buckets.pop((address, known), None)
        if bucket is None:
            bucket = Bucket(self._limits.requests if known else self._limits.strangers)
        self._buckets[address, known] = bucket
        while len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return bucket.take()

    # --- how it is answered -------------------------------------------------------------------------------------------

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = complete = False
        wrong: ServingError | None = None  # with the request, also where the application has its own word for it
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        read = 0

        async def limited() -> Message:
            nonlocal read, complete, wrong
            if complete:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                wrong = ServingError(HTTPStatus.REQUEST_TIMEOUT, "too_slow", "the request did not end")
                raise wrong from None
            read += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if read > MOST_BYTES:
                wrong = too_large()
                raise wrong
            return message

        async def adorned(message: Message) -> None:
            nonlocal begun
            if wrong is not None and not begun:
                return
            if message["type"] == "http.response.start":
                begun = True
                told = {name for name, _ in message["headers"]}
                more = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in told]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        try:
            await self._app(scope, limited, adorned)
        except ServingError as error:
            wrong = error
        except asyncio.CancelledError:  # as uvicorn does with what is not answered in time when the server ends
            wrong = ending()
        except Exception:
            LOG.exception("%s %s", scope["method"], scope["path"])
            wrong = broken()
        if wrong is not None and not begun:
            await refuse(scope, receive, send, wrong)


def broken() -> ServingError:
    """What a client is told of a mistake of ours, which the log has."""
    return ServingError(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "something broke here; the server's log says what"
    )


def ending() -> ServingError:
    """What a client is told whose request is not answered any more."""
    return ServingError(HTTPStatus.SERVICE_UNAVAILABLE, "ending", "this server ends: start `gwm serve` anew")


def too_large() -> ServingError:
    """What a client is told who sends too much."""
    return ServingError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", f"a request has at most {MOST_BYTES} bytes")


def one(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """The value of a header, empty where it is not there, or there twice, which nobody means well by."""
    values = [value for key, value in headers if key == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


async def refuse(scope: Scope, receive: Receive, send: Send, error: ServingError) -> None:
    """Answer with an error."""
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 4000 + error.status % 1000, "reason": error.code})
            return
        kind = "websocket.http.response"
    else:
        kind = "http.response"
    body = json.dumps(error.told()).encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in HEADERS.items()),
    ]
    if error.status is HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status in (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_TIMEOUT):
        headers.append((b"connection", b"close"))
    await send({"type": f"{kind}.start", "status": int(error.status), "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
