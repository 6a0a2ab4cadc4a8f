"""Servers for tests: in a thread of this process, or as `gwm serve` in one of its own."""

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.commands.serve import listen
from gwm_sim.policies.serving.api.server import prepared
from gwm_sim.policies.serving.service import Service
from gwm_sim.policies.serving.sessions import Sessions

ROOT = Path(__file__).parents[1]
TOKEN = "the-token"


class Served(NamedTuple):
    """A server that runs."""

    port: int
    token: str
    service: Service

    @property
    def url(self) -> str:
        """As the command prints it."""
        return f"http://127.0.0.1:{self.port}/#token={self.token}"


@contextmanager
def served(model: WorldModel, sessions: int = 16, idle: float = 600.0, twins: bool = False) -> Iterator[Served]:
    """Serve a model in a thread."""
    service = Service({model.config.name: model}, Sessions(sessions, idle), twins)
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        server = prepared(service, "127.0.0.1", TOKEN)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield Served(port, TOKEN, service)
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def command(*words: str, log: Path | None = None, folder: Path = ROOT) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `gwm serve` in a process of its own, in a folder, and give it and the URL that it prints."""
    asked = [sys.executable, "-m", "gwm_sim", "serve", "--port", "0", "--until-eof", *words]
    own = {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)} if folder != ROOT else {}
    with log.open("a", encoding="utf-8") if log is not None else nullcontext() as errors:
        process = subprocess.Popen(
            asked,
            stdin=subprocess.PIPE,  # so that it ends where these tests are killed
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env={**os.environ, **own},
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
            process.communicate()


def wait_until(true: Any, seconds: float = 20.0) -> None:
    """Wait for something to be true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class Reply(NamedTuple):
    """An answer of HTTP."""

    status: int
    headers: http.client.HTTPMessage
    data: bytes

    @property
    def json(self) -> Any:
        """The answer, read."""
        return json.loads(self.data)


def ask(served: Served, method: str, path: str, body: Any = None, **headers: str | None) -> Reply:
    """Ask once over a connection of its own; a header that is None is left out, and `_` stands for a dash."""
    return fetch(served.url, method, path, body, **headers)


def fetch(url: str, method: str, path: str, body: Any = None, **headers: str | None) -> Reply:
    """The same of a server that is known by the URL that it printed."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    parts = urlsplit(url)
    token = parts.fragment.removeprefix("token=")
    told = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[misc]
    http_ = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    try:
        http_.request(method, path, data, {name: value for name, value in told.items() if value is not None})
        answer = http_.getresponse()
        return Reply(answer.status, answer.headers, answer.read())
    finally:
        http_.close()
