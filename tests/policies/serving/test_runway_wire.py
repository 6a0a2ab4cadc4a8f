"""What clients of `/runway/MODEL` may ask, in which order, and what becomes of worlds that nobody ends."""

import json
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from servers import Reply, Served, ask, served

from gwm_sim.envs.learned.imagination import Imagination
from gwm_sim.media.video import encode_png, encode_video
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving import links
from gwm_sim.policies.serving.runway.pictures import film_frames

ROOT = "/runway/gwm-mini/v1"
Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return WorldModel.load("gwm-mini")


@pytest.fixture(scope="module")
def first(model: WorldModel) -> Picture:
    """A picture to begin at."""
    context, _ = Imagination(model, None, "dense", None, None).starts.resolve({"bank": 0}, np.random.default_rng())
    return np.asarray(context.frames[-1])


def link(address: str) -> str:
    """The path of an address, which carries its permission."""
    return "/" + address.split("/", 3)[3]


def form(data: bytes) -> tuple[bytes, str]:
    head = b'--frontier\r\ncontent-disposition: form-data; name="file"; filename="x.png"\r\n\r\n'
    return head + data + b"\r\n--frontier--\r\n", "multipart/form-data; boundary=frontier"


def upload(server: Served, data: bytes) -> str:
    told = ask(server, "POST", f"{ROOT}/uploads", {"filename": "x.png", "type": "ephemeral"}).json
    body, kind = form(data)
    assert ask(server, "POST", link(told["uploadUrl"]), body, authorization=None, content_type=kind).status == 204
    return str(told["runwayUri"])


def asked(server: Served, context: bytes, poses: list[list[float]], key: str = "promptImage") -> Reply:
    body = {"model": "robotics_v1", "robotAction": poses, "seed": 0, key: upload(server, context)}
    return ask(server, "POST", f"{ROOT}/robotics_action_to_video", body)


def ended(server: Served, begun: Reply) -> dict[str, Any]:
    """What became of a task."""
    path = f"{ROOT}/tasks/{begun.json['id']}"
    while (told := ask(server, "GET", path).json)["status"] == "RUNNING":
        time.sleep(0.1)
    return dict(told)


def chunk(server: Served, context: bytes, poses: list[list[float]], key: str = "promptImage") -> tuple[str, bytes]:
    """The session and the film of a chunk."""
    told = ended(server, asked(server, context, poses, key))
    assert told["status"] == "SUCCEEDED" and told["lost"] == ["roll", "pitch", "yaw"], told
    return told["session"], ask(server, "GET", link(told["output"][0]), authorization=None).data


def pose(x: float = 0.5, y: float = 0.0, z: float = 0.2) -> list[float]:
    return [x, y, z, 3.14, 0.0, 0.0, 0.0]


def test_links_need_no_token_and_nothing_else_goes_without(
    model: WorldModel, first: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(model) as server:
        told = ask(server, "POST", f"{ROOT}/uploads", {"filename": "x.png"}).json
        place, permission = link(told["uploadUrl"]).split("?")
        body, kind = form(encode_png(first))
        refused = {
            "without a signature": ("POST", place),
            "for another upload": ("POST", f"{place}x?{permission}"),
            "by another method": ("GET", f"{place}?{permission}"),
            "with a later end": ("POST", f"{place}?{permission.replace('until=', 'until=9')}"),
            "with a strange signature": ("POST", f"{place}?{permission[:-1]}%C3%A9"),
            "for our own API": ("POST", f"/v1/sessions?{permission}"),
            "as a client": ("POST", f"{ROOT}/uploads"),
        }
        for what, (method, path) in refused.items():
            assert ask(server, method, path, body, authorization=None, content_type=kind).status == 401, what
        assert ask(server, "POST", link(told["uploadUrl"]), body, authorization=None, content_type=kind).status == 204
        monkeypatch.setattr(links, "VALID", -1)
        told = ask(server, "POST", f"{ROOT}/uploads", {"filename": "x.png"}).json
        assert ask(server, "POST", link(told["uploadUrl"]), body, authorization=None, content_type=kind).status == 401


def test_what_makes_no_sense_is_told_in_one_line(model: WorldModel, first: Picture) -> None:
    still = [pose()] * 18
    noise = np.random.default_rng(0).integers(0, 256, first.shape, np.uint8)
    with served(model) as server:
        for poses, key, why in (
            (still[1:], "promptImage", "must be 18 poses, got 17"),
            (still, "contextVideoUri", "must be 34 poses, got 18"),
            ([*still[1:], still[0][:6]], "promptImage", "robotAction"),
            ([*still[1:], pose(x=1e300)], "promptImage", "robotAction"),
        ):
            answer = asked(server, encode_png(first), poses, key)
            assert answer.status == 422 and why in answer.json["error"]["message"]
        body = {"model": "robotics_v1", "robotAction": still, "promptImage": "runway://nothing"}
        assert ask(server, "POST", f"{ROOT}/robotics_action_to_video", body).json["error"]["code"] == "unknown_upload"
        film = encode_video([first] * 17, 10)
        for context, poses, key, why in (
            (b"no picture", still, "promptImage", "neither PNG nor JPEG"),
            (b"#EXTM3U\nfile:///etc/passwd", [pose()] * 34, "contextVideoUri", "cannot be read"),
            (encode_video([first] * 100, 10), [pose()] * 34, "contextVideoUri", "more than 64 frames"),
            (film, [pose()] * 34, "contextVideoUri", "create the world once more"),
            (encode_png(noise), still, "promptImage", "looks like nothing"),
        ):
            told = ended(server, asked(server, context, poses, key))
            assert told["status"] == "FAILED" and why in told["failure"], told
        assert len(server.service.sessions) == 0


def test_two_clients_go_different_ways_from_the_same_moments(model: WorldModel, first: Picture) -> None:
    down, left, right = [pose(z=0.1)] * 17, [pose(y=-0.1)] * 17, [pose(y=0.1)] * 17
    with served(model) as server:
        one, begun = chunk(server, encode_png(first), [down[0], *down])
        same, went_left = chunk(server, begun, [*down, *left], "contextVideoUri")
        other, went_right = chunk(server, begun, [*down, *right], "contextVideoUri")
        assert one == same != other
        now = {name: server.service.find(name).row.moments.now for name in (same, other)}
        assert [moment.step for moment in now.values()] == [34, 34]
        assert now[same].telemetry[8] < -0.08 and now[other].telemetry[8] > 0.08
        assert np.abs(list(film_frames(went_left))[-1].astype(int) - list(film_frames(went_right))[-1]).max() > 50


def test_worlds_that_nobody_ends_give_way(model: WorldModel, first: Picture) -> None:
    with served(model, sessions=4) as server:
        kept = json.loads(ask(server, "POST", "/v1/sessions", {}).data)["sessions"][0]["session"]
        made = [chunk(server, encode_png(first), [pose(y=y)] * 18)[0] for y in (-0.1, 0.0, 0.1)]
        assert server.service.find(kept) and len(server.service.sessions) == 3
        assert {server.service.find(name).id for name in made[1:]} == set(made[1:])
