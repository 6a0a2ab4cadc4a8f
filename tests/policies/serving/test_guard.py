"""The guard at the door: who may ask, from where, how much and how often."""

import http.client
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Served, ask, served

from gwm_sim.envs.remote.wire import MOST_BYTES
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving.api import guard
from gwm_sim.policies.serving.api.guard import Bucket


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path) -> Iterator[Served]:
    with served(WorldModel.load(tiny_checkpoint)) as running:
        yield running


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer other", "Bearer the-toke", "Basic dGhlLXRva2Vu", "Bearer \u00fc"]
)
def test_without_the_token_nothing_is_told(server: Served, given: str | None) -> None:
    for path in ("/v1/info", "/v1/models/tiny", "/v1/sessions/x", "/v1/nowhere", "/v2/info"):
        answer = ask(server, "GET", path, authorization=given)
        assert answer.status == 401 and answer.json["error"]["code"] == "no_token"
    assert ask(server, "POST", "/v1/sessions", {}, authorization=given).status == 401


def test_the_page_and_the_reference_need_no_token(server: Served) -> None:
    for path in ("/", "/page/index.html", "/v1/docs", "/v1/openapi.json"):
        answer = ask(server, "GET", path, authorization=None)
        assert answer.status == 200
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/page/../guard.py", "/page/%2e%2e/api/guard.py", "/page/..%2f..%2fservice.py", "/page//etc/passwd"]
)
def test_no_file_but_those_of_the_page_is_given_away(server: Served, path: str) -> None:
    assert ask(server, "GET", path).status == 404


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost", "file://"]
)
def test_pages_of_other_origins_get_nothing(server: Served, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        answer = ask(server, method, "/v1/info", origin=origin)
        assert answer.status == 403 and answer.json["error"]["code"] == "foreign_origin"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::1", "a b"])
def test_names_that_were_pointed_here_get_nothing(server: Served, host: str) -> None:
    assert ask(server, "GET", "/v1/info", host=host).status in (400, 421)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST:{}", "[::1]:{}", "127.0.0.1:9000", "[::1]"]
)
def test_own_names_and_addresses_are_served_also_through_a_tunnel(server: Served, host: str) -> None:
    host = host.format(server.port)
    assert ask(server, "GET", "/v1/info", host=host, origin=f"http://{host}").status == 200


def test_a_body_has_a_limit_whether_it_is_announced_or_not(server: Served) -> None:
    head = (
        f"POST /v1/sessions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {server.token}\r\n"
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(head.encode())
        try:
            for _ in range(MOST_BYTES // 65536 + 2):
                raw.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            data: Any = raw.recv(4096)
        except ConnectionError:
            data = b" 413 "  # it hung up while we were still sending
    assert b" 413 " in data
    head = head.replace("transfer-encoding: chunked", f"content-length: {MOST_BYTES + 1}")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(head.encode())
        assert b" 413 " in raw.recv(4096)


def test_a_request_that_does_not_end_is_ended(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gwm_sim.policies.serving.api.guard.BODY_SECONDS", 0.3)
    head = (
        f"POST /v1/sessions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {server.token}\r\n"
        "content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(head.encode())
        assert b" 408 " in raw.recv(4096)


@pytest.mark.parametrize("sent", [b"", b"GET /v1/in", b"GET /v1/info HTTP/1.1\r\nhost: 127.0.0.1\r\n"])
def test_a_connection_that_does_not_ask_is_ended(server: Served, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gwm_sim.policies.serving.api.connections.HEAD_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(sent)
        begun = time.monotonic()
        assert raw.recv(4096) == b""
        assert time.monotonic() - begun < 5


def test_a_connection_may_be_kept_for_the_next_request(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gwm_sim.policies.serving.api.connections.HEAD_SECONDS", 0.3)
    kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(3):
        kept.request("GET", "/v1/info", headers={"authorization": f"Bearer {server.token}"})
        assert kept.getresponse().read()
        time.sleep(0.5)
    kept.close()


def test_strangers_are_slowed_down_and_do_not_slow_down_others(server: Served) -> None:
    answers = [ask(server, "GET", "/v1/info", authorization=None).status for _ in range(200)]
    assert 429 in answers
    assert ask(server, "GET", "/v1/info").status == 200


def test_a_rate_may_be_exceeded_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(guard, "monotonic", lambda: now)  # not of the whole process, in which a server runs
    bucket = Bucket(10)
    assert [bucket.take() for _ in range(21)] == [True] * 20 + [False]
    now += 0.5
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    now += 1000
    assert sum(bucket.take() for _ in range(30)) == 20
