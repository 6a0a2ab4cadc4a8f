"""The socket of the server of worlds: the same requests over one connection, and play in real time."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learned_worlds import HOLD, draw_actions
from servers import Served, ask, served, wait_until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from gwm_sim.envs.remote.wire import array, pack, unpack
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving.api.guard import PROTOCOL, TOKEN_PROTOCOL
from gwm_sim.policies.serving.api.socket import AT_A_TIME


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path) -> Iterator[Served]:
    with served(WorldModel.load(tiny_checkpoint), sessions=64) as running:
        yield running


@contextmanager
def talk(server: Served, token: str | None = None, **options: Any) -> Iterator[ClientConnection]:
    """A connection that gives the token as a page does."""
    words: Any = [PROTOCOL, TOKEN_PROTOCOL + (token or server.token)]
    with connect(f"ws://127.0.0.1:{server.port}/v1/socket", subprotocols=words, proxy=None, **options) as socket:
        yield socket


def heard(socket: ClientConnection) -> tuple[dict[str, Any], memoryview]:
    """The next message."""
    message = socket.recv(timeout=20)
    assert isinstance(message, bytes)
    return unpack(message)


def say(socket: ClientConnection, op: str, **asked: Any) -> dict[str, Any]:
    """Ask, and wait for the answer."""
    socket.send(json.dumps({"op": op, **asked, "id": 1}))
    told, _ = heard(socket)
    assert told["id"] == 1
    return told


def test_it_answers_as_http_does(server: Served) -> None:
    action = HOLD.tolist()
    with talk(server) as socket:
        assert socket.subprotocol == PROTOCOL
        assert say(socket, "info")["models"] == ["tiny"]
        assert say(socket, "model", model="tiny") | {"id": 1} == ask(server, "GET", "/v1/models/tiny").json | {"id": 1}
        made = say(socket, "create", seed=3)
        session = made["sessions"][0]["session"]
        other = ask(server, "POST", "/v1/sessions", {"seed": 3}).json["sessions"][0]["session"]
        there = ask(server, "POST", f"/v1/sessions/{other}/step", {"action": action}).json
        assert say(socket, "step", session=session, action=action)["moments"] == there["moments"]
        assert say(socket, "session", session=session)["step"] == 1
        branch = say(socket, "branch", session=session, step=0)["sessions"][0]
        assert branch["parent"] == session
        assert say(socket, "edit", session=session, properties={"friction": 0.3})["session"]["session"] == session
        assert "moments" in say(socket, "reset", session=session, seed=1)
        say(socket, "close", session=session)
        assert say(socket, "session", session=session)["error"]["code"] == "unknown_session"


def test_a_batch_steps_in_one_message_with_pictures_as_bytes(server: Served) -> None:
    with talk(server) as socket:
        names = [each["session"] for each in say(socket, "create", count=3, seed=0)["sessions"]]
        socket.send(
            pack(
                {
                    "op": "step",
                    "sessions": names,
                    "actions": draw_actions(1, 3).swapaxes(0, 1).tolist(),
                    "pictures": "raw",
                }
            )
        )
        told, tail = heard(socket)
        pictures = [array(moments[-1]["pictures"]["pixels"], tail) for moments in told["moments"]]
        assert np.stack(pictures).shape == (3, 64, 64, 3)
        assert "moments" in say(socket, "reset", sessions=names, seeds=[1, None, 3])


def test_many_requests_are_under_way_at_a_time_and_each_is_answered(server: Served) -> None:
    with talk(server) as socket:
        names = [each["session"] for each in say(socket, "create", count=16, seed=0)["sessions"]]
        for number in range(80):
            socket.send(
                json.dumps({"op": "step", "id": number, "session": names[number % 16], "action": HOLD.tolist()})
            )
        told = [heard(socket)[0] for _ in range(80)]
    assert sorted(each["id"] for each in told) == list(range(80))
    assert all(each["moments"][0][0]["step"] == each["id"] // 16 + 1 for each in told)


def test_a_played_session_steps_by_a_clock_with_the_last_action(server: Served) -> None:
    with talk(server) as socket:
        session = say(socket, "create", seed=0)["sessions"][0]["session"]
        begun = time.monotonic()
        assert say(socket, "play", session=session, rate=50)["rate"] == 50
        moments = [heard(socket)[0]["moment"] for _ in range(10)]
        assert 0.15 < time.monotonic() - begun < 2
        assert [moment["step"] for moment in moments] == list(range(1, 11))
        still = moments[-1]["agent_pos"][11]
        socket.send(json.dumps({"op": "act", "session": session, "action": [1, 0, 0, 0], "number": 7, "id": 2}))
        while (told := heard(socket)[0]).get("number") != 7:
            assert "error" not in told
        assert told["moment"]["agent_pos"][11] > still
        last = told["moment"]["step"]
        socket.send(json.dumps({"op": "pause", "session": session, "id": 3}))
        while (told := heard(socket)[0]).get("id") != 3:
            last = told["moment"]["step"]
        assert told["step"] == last
        time.sleep(0.1)
        assert say(socket, "session", session=session)["step"] == told["step"]


def test_play_ends_with_its_connection_and_the_session_stays(server: Served) -> None:
    with talk(server) as socket:
        session = say(socket, "create", seed=0)["sessions"][0]["session"]
        say(socket, "play", session=session, rate=100)
        heard(socket)
    step = ask(server, "GET", f"/v1/sessions/{session}").json["step"]
    wait_until(lambda: not server.service.find(session).busy)
    time.sleep(0.1)
    assert ask(server, "GET", f"/v1/sessions/{session}").json["step"] <= step + 1


def test_nothing_that_was_asked_for_last_goes_on_for_a_client_that_is_gone(server: Served) -> None:
    with talk(server) as socket:
        first, second, *others = (each["session"] for each in say(socket, "create", count=4, seed=0)["sessions"])
        say(socket, "play", session=first, rate=100)
        for _ in range(AT_A_TIME + 1):  # what comes after them is not begun before the connection is lost
            socket.send(json.dumps({"op": "step", "session": second, "action": HOLD.tolist()}))
        for other in others:
            socket.send(json.dumps({"op": "play", "session": other, "rate": 100}))
        socket.socket.close()
    time.sleep(0.5)
    ticks = server.service.engine.ticks
    time.sleep(0.2)
    assert server.service.engine.ticks == ticks


@pytest.mark.parametrize(
    "message",
    [
        "",
        "no json",
        "[]",
        "null",
        '{"op": "no-such"}',
        "{}",
        '{"op": "__init__"}',
        b"",
        b"\xff\xff\xff\xff{}",
        "[" * 100_000,
    ]
    + [
        '{"op": "step"}',
        '{"op": "step", "session": {}}',
        '{"op": "step", "sessions": "x"}',
        '{"op": "create", "count": 0}',
    ]
    + [
        '{"op": "create", "id": {}}',
        '{"op": "act", "session": 3}',
        '{"op": "create", "seed": NaN}',
        '{"op": "model", "model": []}',
    ],
)
def test_nonsense_is_refused_in_one_line_and_the_connection_goes_on(server: Served, message: str | bytes) -> None:
    with talk(server) as socket:
        socket.send(message)
        told, _ = heard(socket)
        assert told["error"]["code"] in ("refused", "invalid", "unknown_session", "unknown_model")
        assert "\n" not in told["error"]["message"]
        assert say(socket, "info")["api"] == 1


def test_a_message_that_is_too_large_ends_the_connection_and_no_other(server: Served) -> None:
    with talk(server) as other, talk(server) as socket:
        try:
            socket.send(" " * 5_000_000)
            socket.recv(timeout=20)
        except Exception as error:
            assert "1009" in str(error) or "clos" in str(error).lower()
        assert say(other, "info")["api"] == 1


def test_strangers_and_foreign_pages_are_turned_away(server: Served) -> None:
    for options, status in (
        ({"token": "other"}, 401),
        ({"origin": "http://evil.example"}, 403),
        ({"additional_headers": {"Authorization": "Bearer x"}, "token": "x"}, 401),
    ):
        with pytest.raises(InvalidStatus) as refusal, talk(server, **options):
            pass
        assert refusal.value.response.status_code == status
