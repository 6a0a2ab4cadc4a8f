"""Two thousand hostile requests, and what they do to a server: nothing, to anybody."""

import base64
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pytest
from learned_worlds import draw_actions
from servers import command

from gwm_sim.envs.learned.vector import LearnedEnv
from gwm_sim.envs.remote.vector import RemoteEnv

pytestmark = pytest.mark.slow

REQUESTS: Final = 2000
CONNECTIONS: Final = 200
MOST_GROWTH: Final = 50e6  # bytes

NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "-1", "1e308", "9" * 400, "null", '"x"', "[]", "{}", "true", "0.5")
TRAVERSALS = (
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/app.py",
    "/etc/passwd",
    "....//",
    "a\\..\\b",
)
PATHS = tuple(
    "/info /models/{} /sessions /sessions/{} /sessions/{}/step /sessions/{}/reset /sessions/{}/edit "
    "/sessions/{}/branch /sessions/{}/moments /sessions/{}/picture?key={} /sessions/{}/episode "
    "/sessions/{}/film?scale={} /batch/create /batch/reset /batch/step /socket /docs /no/{}".split()
)
FIELDS = tuple(
    "model seed start seeds count task reward time_limit depth twin pictures goal request properties action actions "
    "sessions step forget_goal op id __class__".split()
)


class Attacker:
    """Asks for what nobody should, from seeded random numbers."""

    def __init__(self, url: str, seed: int) -> None:
        parts = urlsplit(url)
        self.rng = np.random.default_rng(seed)
        self.address = str(parts.hostname), int(parts.port or 0)
        self.token = parts.fragment.removeprefix("token=")
        self.session = json.loads(self.exchange(self.request("POST", "/v1/sessions", b"{}")).partition(b"\r\n\r\n")[2])[
            "sessions"
        ][0]["session"]

    def pick(self, words: tuple[Any, ...]) -> Any:
        return words[self.rng.integers(len(words))]

    def exchange(self, data: bytes, shut: bool = False) -> bytes:
        """Send bytes, and return what comes back within a while."""
        with socket.create_connection(self.address, timeout=5) as raw:
            try:
                raw.sendall(data)
                if shut:
                    raw.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: raw.recv(65536), b""))
            except (OSError, TimeoutError):
                return b""

    def request(self, method: str, path: str, body: bytes, **headers: str) -> bytes:
        """A request as bytes; it asks to be hung up on."""
        told = {"host": "127.0.0.1", "authorization": f"Bearer {self.token}", "content-length": str(len(body))}
        told |= {"content-type": "application/json", "connection": "close"} | headers
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace") + body

    def path(self) -> str:
        word = self.pick((self.session, *TRAVERSALS, "x" * 3000, "%00", "\u00fc", "a b"))
        return "/v1" + str(self.pick(PATHS)).format(word, self.pick((*TRAVERSALS, "7", "-1", "99999999999")))

    def body(self) -> bytes:
        """Something like a request: fields that exist, with values that do not fit."""

        def value(depth: int) -> str:
            kind = self.rng.integers(6)
            if kind == 0 and depth < 4:
                return "[" + ",".join(value(depth + 1) for _ in range(self.rng.integers(5))) + "]"
            if kind == 1 and depth < 4:
                return "{" + ",".join(f'"{self.pick(FIELDS)}":{value(depth + 1)}' for _ in range(3)) + "}"
            if kind == 2:
                return json.dumps(
                    self.pick((*TRAVERSALS, self.session, "x" * 5000, "\x00", base64.b64encode(b"P6").decode()))
                )
            return str(self.pick(NUMBERS))

        fields = ",".join(f'"{self.pick(FIELDS)}":{value(0)}' for _ in range(self.rng.integers(1, 5)))
        return f"{{{fields}}}".encode()

    # --- what it does -------------------------------------------------------------------------------------------------

    def misshapen(self) -> bytes:
        return self.exchange(self.request(self.pick(("POST", "GET", "PUT", "DELETE_")), self.path(), self.body()))

    def wrong_action(self) -> bytes:
        shape = tuple(self.rng.integers(0, 6, self.rng.integers(1, 4)))
        action = json.dumps({"actions": np.zeros(shape).tolist()}).replace("0.0", str(self.pick(NUMBERS)), 2)
        return self.exchange(self.request("POST", f"/v1/sessions/{self.session}/step", action.encode()))

    def noise(self) -> bytes:
        body = self.rng.bytes(int(self.rng.integers(0, 3000)))
        return self.exchange(self.pick((body, self.request("POST", self.path(), body))), shut=True)

    def nested(self) -> bytes:
        return self.exchange(self.request("POST", "/v1/sessions", self.pick((b"[", b'{"start":')) * 50_000))

    def huge(self) -> bytes:
        body = b'{"model":"' + b"x" * int(self.rng.integers(3_900_000, 4_200_000)) + b'"}'
        return self.exchange(self.request("POST", "/v1/sessions", body))

    def endless(self) -> bytes:
        length = str(self.pick(("5000000", "-1", "1e3", "99999999999999999999", "0x10", "4, 4")))
        return self.exchange(self.request("POST", self.path(), b"{}", **{"content-length": length}), shut=True)

    def stranger(self) -> bytes:
        token = self.pick(
            ("", "Bearer ", f"Bearer {self.token[:-1]}", f"Bearer {self.token}x", "Basic eA==", "\u00ff" * 50)
        )
        answer = self.exchange(self.request("POST", self.path(), self.body(), authorization=token))
        assert re.match(rb"HTTP/1.1 (4\d\d|200 OK\r\n[^{]*text/html)", answer) or not answer, answer
        return answer

    def foreigner(self) -> bytes:
        headers: dict[str, str] = self.pick(
            (
                {"origin": "http://evil.example"},
                {"origin": "null"},
                {"host": "evil.example"},
                {"host": "127.0.0.1.evil"},
            )
        )
        answer = self.exchange(self.request("POST", "/v1/sessions", b"{}", **headers))
        assert re.match(rb"HTTP/1.1 (403|421)", answer) or not answer, answer
        return answer

    def traversal(self) -> bytes:
        answer = self.exchange(self.request("GET", "/page/" + str(self.pick(TRAVERSALS)), b""))
        assert b" 200 " not in answer[:20]
        return answer

    def half_closed(self) -> bytes:
        data = self.request("POST", self.path(), self.body())
        return self.exchange(data[: self.rng.integers(1, len(data))], shut=True)

    def torn(self) -> bytes:
        """Ask for something that takes a while, and reset the connection at once."""
        with socket.create_connection(self.address, timeout=5) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            body = json.dumps({"actions": [[0.0] * 4] * 5, "pictures": "png"}).encode()
            raw.sendall(self.request("POST", f"/v1/sessions/{self.session}/step", body))
        return b""

    def socket_noise(self) -> bytes:
        """Open the socket, and send frames of all kinds, whole and torn."""
        key = base64.b64encode(self.rng.bytes(16)).decode()
        hello: dict[str, str] = {
            "upgrade": "websocket",
            "connection": "Upgrade",
            "sec-websocket-version": "13",
            "sec-websocket-key": key,
        }
        frames = b""
        for _ in range(self.rng.integers(1, 6)):
            body = self.pick(
                (self.body(), self.rng.bytes(50), b"", b'{"op":"step","session":"' + self.session.encode() + b'"}')
            )
            head = bytes([0x80 | int(self.pick((1, 2, 8, 9, 3, 0))), 0x80 | min(len(body), 125)])
            frames += head + b"\0\0\0\0" + body[:125]
        return self.exchange(
            self.request("GET", "/v1/socket", b"", **hello) + frames[: self.rng.integers(1, len(frames) + 1)], shut=True
        )

    def attack(self) -> bytes:
        """Do one of all that."""
        ways: tuple[Callable[[], bytes], ...] = (self.misshapen, self.wrong_action, self.noise, self.stranger)
        ways += (self.foreigner, self.traversal, self.half_closed, self.torn, self.socket_noise, self.endless)
        rare: tuple[Callable[[], bytes], ...] = (self.huge, self.nested)
        way: Callable[[], bytes] = self.pick(rare if self.rng.random() < 0.03 else ways)
        return way()


def memory(process: int) -> float:
    """Bytes that a process holds."""
    return float(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc, which Linux has")
def test_hostile_requests_harm_nobody(tiny_checkpoint: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    actions = draw_actions(60)
    with command("--model", str(tiny_checkpoint), "--sessions", "8", log=log) as (process, url):
        victim = RemoteEnv(url, patience=20)
        seen = [victim.reset(seed=5)[0]]
        attackers = [Attacker(url, seed) for seed in range(4)]
        for attacker in attackers:  # what a server needs once is there before it is measured
            for _ in range(50):
                attacker.attack()
        before = memory(process.pid)
        stopped = threading.Event()

        def go_on() -> None:
            for action in actions:
                seen.append(victim.step(action)[0])
                stopped.wait(0.2)

        def crowd() -> None:
            held = [socket.create_connection(attackers[0].address, timeout=5) for _ in range(CONNECTIONS)]
            for raw in held:
                raw.sendall(b"POST /v1/sessions HTTP/1.1\r\nhost: 127.0.0.1\r\n")
            stopped.wait(2)
            for raw in held:
                raw.close()

        def strike(attacker: Attacker) -> list[bytes]:
            return [attacker.attack() for _ in range(REQUESTS // len(attackers))]

        with ThreadPoolExecutor(6) as pool:
            others = [pool.submit(go_on), pool.submit(crowd)]
            answers = [answer for some in pool.map(strike, attackers) for answer in some]
            stopped.set()
            for other in others:
                other.result()
        for attacker in attackers:
            attacker.exchange(attacker.request("DELETE", f"/v1/sessions/{attacker.session}", b""))
        time.sleep(1)
        grown = memory(process.pid) - before
        victim.close()
        assert process.poll() is None
    assert len(answers) == REQUESTS and sum(map(bool, answers)) > REQUESTS / 2
    for answer in answers:
        assert not re.search(rb"Traceback|File \"|\.py\b", answer), answer
        assert not re.match(rb"HTTP/1.1 5(?!03)", answer), answer
    assert "Traceback" not in log.read_text(encoding="utf-8")
    assert grown < MOST_GROWTH
    local: Any = LearnedEnv(model=tiny_checkpoint)
    expected = [local.reset(seed=5)[0], *(local.step(action)[0] for action in actions)]
    for a, b in list(zip(seen, expected, strict=True))[:11]:
        assert np.abs(a["pixels"].astype(int) - b["pixels"]).max() <= 3
        np.testing.assert_allclose(a["agent_pos"], b["agent_pos"], atol=1e-3)
    assert len(seen) == len(actions) + 1
