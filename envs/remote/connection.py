"""A connection to a server of worlds that outlives its sockets: what was lost on the way is asked once more.

Every request that changes something carries a name, by which the server knows it again and does it once.
"""

import http.client
import json
import math
import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from gwm_sim.envs.remote.wire import API, MEDIA_TYPE, MOST_BYTES, unpack
from gwm_sim.errors import RefusedRequest, RemoteError

PAUSE: Final = 0.05  # seconds between two attempts to reach a server

_REFUSALS: Final = ("refused", "invalid")  # words for requests that make no sense, whoever asks


class Reply(NamedTuple):
    """What a server answers."""

    told: dict[str, Any]
    tail: memoryview  # bytes that it refers to


class Connection:
    """Asks one server, one thing after the other."""

    def __init__(self, url: str, token: str | None, patience: float, timeout: float) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            url: As `gwm serve` prints it; a token may be in it.
            token: What the server asks for; None where the URL has it.
            patience: Seconds in which a lost server has to be back.
            timeout: Seconds in which an answer has to come.

        Raises:
            ValueError: This is no URL of a server, there is no token, or a time is none.
        """
        parts = urlsplit(url)
        token = token or parts.fragment.removeprefix("token=")
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"url must be as `gwm serve` prints it, http://HOST:PORT, got {url!r}")
        if not token:
            raise ValueError("Give the token that `gwm serve` printed after #token=")
        for name, seconds in (("patience", patience), ("timeout", timeout)):
            if not (seconds >= 0 and math.isfinite(seconds)):
                raise ValueError(f"{name} must be a number of seconds, got {seconds}")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._patience, self._timeout = patience, timeout
        self._headers = {"Authorization": f"Bearer {token}", "Accept": MEDIA_TYPE, "Content-Type": "application/json"}
        self._http: http.client.HTTPConnection | None = None

    def get(self, path: str) -> dict[str, Any]:
        """What is said at a path."""
        return self._ask("GET", path, None).told

    def post(self, path: str, body: Mapping[str, Any]) -> Reply:
        """Have something done, once, however often the connection is lost meanwhile."""
        data = json.dumps({**body, "request": uuid.uuid4().hex}, allow_nan=False).encode()
        if len(data) > MOST_BYTES:
            raise RefusedRequest(
                f"a request has at most {MOST_BYTES} bytes, this one {len(data)}: give smaller pictures"
            )
        return self._ask("POST", path, data)

    def delete(self, path: str) -> None:
        """End something."""
        self._ask("DELETE", path, None)

    def close(self) -> None:
        """Let the socket go; the next request opens another one."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _ask(self, method: str, path: str, body: bytes | None) -> Reply:
        """Ask until there is an answer.

        Raises:
            RemoteError: There is none, or it is an error.
            RefusedRequest: What was asked for makes no sense.
        """
        lost: float | None = None  # when the server was
        while True:
            try:
                status, kind, data = self._attempt(method, path, body, lost)
                return read(status, kind, data)
            except TimeoutError as error:
                self.close()
                raise RemoteError(f"{self.url} did not answer in {self._timeout:g} s: ask it for less") from error
            except (OSError, http.client.HTTPException) as error:
                self.close()
                lost = self._give_up_after(lost, error)

    def _give_up_after(self, lost: float | None, error: Exception) -> float:
        """When a server was lost that is given some more time, after a pause if it was asked again already."""
        now = time.monotonic()
        if lost is None:
            return now  # a connection that was idle is closed by either side
        if now + PAUSE > lost + self._patience:
            why = str(error) or type(error).__name__
            raise RemoteError(
                f"{self.url} is not there, or no longer ({why}); see that `gwm serve` runs, and make the environment "
                "anew with the token that it prints"
            ) from error
        time.sleep(PAUSE)
        return lost

    def _attempt(self, method: str, path: str, body: bytes | None, lost: float | None) -> tuple[int, str, bytes]:
        """Status, media type and body of an answer."""
        if self._http is None:
            left = self._patience if lost is None else lost + self._patience - time.monotonic()
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._http = kind(self._host, self._port, timeout=max(left, PAUSE))
            try:
                self._http.connect()
            except TimeoutError as error:
                raise ConnectionError(f"no connection in {self._patience:g} s") from error
            self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._http.sock.settimeout(self._timeout)
        self._http.request(method, f"/v{API}{path}", body, self._headers)
        answer = self._http.getresponse()
        return answer.status, answer.headers.get_content_type(), answer.read()


def read(status: int, kind: str, data: bytes) -> Reply:
    """Read an answer.

    Raises:
        RemoteError: It is an error, or nothing that a server of worlds says.
        RefusedRequest: What was asked for makes no sense.
    """
    if status == http.client.NO_CONTENT:
        return Reply({}, memoryview(b""))
    try:
        told, tail = unpack(data) if kind == MEDIA_TYPE else (json.loads(data), memoryview(b""))
        if status == http.client.OK:
            return Reply(dict(told), tail)
        code, message = (str(told["error"][key]) for key in ("code", "message"))
    except (ValueError, KeyError, TypeError):
        raise RemoteError(f"the server answered {status} with {data[:100]!r}, which no `gwm serve` says") from None
    raise (RefusedRequest if code in _REFUSALS else RemoteError)(message, code)
