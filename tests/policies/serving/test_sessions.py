"""What the server of worlds does for its clients: sessions that begin, step, branch and are kept, over HTTP."""

import base64
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from learned_worlds import HOLD, draw_actions
from numpy.typing import NDArray
from servers import Reply, Served, ask, served, wait_until

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.learned.vector import LearnedEnv
from gwm_sim.envs.remote.wire import MEDIA_TYPE, array, unpack
from gwm_sim.model.world_model import WorldModel

V = "/v1/sessions"


@pytest.fixture(scope="module")
def server(tiny_checkpoint: Path) -> Iterator[Served]:
    with served(WorldModel.load(tiny_checkpoint), twins=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _tidy(server: Served) -> Iterator[None]:
    yield
    for name in list(server.service.sessions._sessions):
        ask(server, "DELETE", f"{V}/{name}")


def create(server: Served, **asked: Any) -> str:
    """Begin a session and return its name."""
    answer = ask(server, "POST", V, asked)
    assert answer.status == 200, answer.data
    return str(answer.json["sessions"][0]["session"])


def step(server: Served, session: str, *actions: Any, **asked: Any) -> list[dict[str, Any]]:
    """Step a session, and return what is told of each moment."""
    answer = ask(server, "POST", f"{V}/{session}/step", {"actions": np.asarray(actions).tolist(), **asked})
    assert answer.status == 200, answer.data
    moments: list[dict[str, Any]] = answer.json["moments"][0]
    return moments


def decoded(data: bytes) -> NDArray[np.uint8]:
    """The picture (H, W, 3) of a file."""
    with av.open(io.BytesIO(data), "r") as file:
        return np.asarray(next(file.decode(video=0)).to_ndarray(format="rgb24"), np.uint8)


def error(answer: Reply) -> tuple[int, str, str]:
    """Status, word and message of an answer that is an error of one line."""
    told = answer.json["error"]
    assert "\n" not in told["message"] and "Traceback" not in answer.data.decode()
    return answer.status, told["code"], told["message"]


# --- stepping ---------------------------------------------------------------------------------------------------------


def test_a_session_is_the_local_environment(server: Served, tiny_checkpoint: Path) -> None:
    local: Any = LearnedEnv(model=tiny_checkpoint)
    local.reset(seed=5)
    session = create(server, seed=5)
    actions = draw_actions(4)
    for told, action in zip(step(server, session, *actions), actions, strict=True):
        seen, reward, *_, info = local.step(action)
        np.testing.assert_array_equal(np.float32(told["agent_pos"]), seen["agent_pos"])
        assert told["reward"] == reward and told["success"] == info["success"]
        assert told["uncertainty"] == info["gwm/uncertainty"]


def test_a_chunk_is_its_actions_one_after_the_other(server: Served) -> None:
    actions = draw_actions(5)
    chunk = step(server, create(server, seed=1), *actions, pictures="png")
    session = create(server, seed=1)
    assert chunk == [step(server, session, action, pictures="png")[0] for action in actions]


def test_pictures_come_as_bytes_or_as_text_and_are_the_same(server: Served) -> None:
    seen = {}
    for form in ("raw", "png", "webp"):
        (moment,) = step(server, create(server, seed=2), HOLD, pictures=form)
        sent = moment["pictures"]["pixels"]
        assert sent["format"] == form and sent["shape"] == [64, 64, 3]
        answer = ask(
            server,
            "POST",
            f"{V}/{create(server, seed=2)}/step",
            {"action": HOLD.tolist(), "pictures": form},
            accept=MEDIA_TYPE,
        )
        header, tail = unpack(answer.data)
        told = header["moments"][0][0]["pictures"]["pixels"]
        data = bytes(tail[told["at"][0] :][: told["at"][1]])
        seen[form] = array(told, tail) if form == "raw" else decoded(data)
        (again,) = step(server, create(server, seed=2), HOLD, pictures=form)
        assert again == moment
    np.testing.assert_array_equal(seen["png"], seen["raw"])
    assert np.abs(seen["webp"].astype(int) - seen["raw"]).mean() < 4


def test_sessions_of_one_request_step_in_one_pass(server: Served) -> None:
    answer = ask(server, "POST", "/v1/batch/create", {"count": 4, "seed": 7})
    names = [session["session"] for session in answer.json["sessions"]]
    engine = server.service.engine
    before = engine.ticks, engine.steps
    asked = {"sessions": names, "actions": draw_actions(2, 4).swapaxes(0, 1).tolist()}
    stepped = ask(server, "POST", "/v1/batch/step", asked).json["moments"]
    assert [[moment["step"] for moment in told] for told in stepped] == [[1, 2]] * 4
    assert (engine.ticks - before[0], engine.steps - before[1]) == (2, 8)


def test_sessions_that_ask_at_the_same_time_step_together(server: Served) -> None:
    names = [create(server, seed=seed) for seed in range(4)]
    engine = server.service.engine
    before = engine.ticks, engine.steps
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: step(server, name, *draw_actions(30)), names))
    assert engine.steps - before[1] == 120
    assert engine.ticks - before[0] < 70


def test_a_request_that_comes_again_is_done_once(server: Served) -> None:
    asked = {"seed": 3, "request": "begin-3"}
    first, second = (ask(server, "POST", V, asked).json["sessions"] for _ in range(2))
    assert first == second
    session = first[0]["session"]
    told = {"action": HOLD.tolist(), "request": "step-1"}
    replies = [ask(server, "POST", f"{V}/{session}/step", told).data for _ in range(3)]
    assert len(set(replies)) == 1
    assert ask(server, "GET", f"{V}/{session}").json["step"] == 1


def test_actions_outside_the_bounds_are_clipped(server: Served) -> None:
    (large,) = step(server, create(server, seed=1), [9, -9, 9, 9])
    assert step(server, create(server, seed=1), [1, -1, 1, 1]) == [large]


# --- looking back, and going on from there ----------------------------------------------------------------------------


def test_a_branch_goes_on_as_the_session_did(server: Served) -> None:
    session = create(server, seed=4)
    actions = draw_actions(8)
    went = step(server, session, *actions)
    branch = ask(server, "POST", f"{V}/{session}/branch", {"step": 3}).json["sessions"][0]
    assert (branch["parent"], branch["step"]) == (session, 3)
    assert step(server, branch["session"], *actions[3:]) == went[3:]
    assert ask(server, "GET", f"{V}/{session}").json["step"] == 8
    remembered = ask(server, "GET", f"{V}/{branch['session']}/moments").json["moments"]
    assert [moment["step"] for moment in remembered] == list(range(9))


def test_physics_are_edited_while_an_episode_goes_on(server: Served) -> None:
    session = create(server, seed=4)
    actions = draw_actions(6)
    step(server, session, *actions[:3])
    assert ask(server, "POST", f"{V}/{session}/edit", {"properties": {"friction": 0.2}}).status == 200
    edited = step(server, session, *actions[3:])
    assert edited[-1]["properties"]["friction"] == pytest.approx(0.2)
    other = create(server, seed=4)
    assert step(server, other, *actions)[-1]["properties"]["friction"] != pytest.approx(0.2)


def test_a_reset_begins_as_a_new_session_does(server: Served) -> None:
    old = create(server, seed=1)
    step(server, old, *draw_actions(3))
    told = ask(server, "POST", f"{V}/{old}/reset", {"seed": 9}).json["moments"]
    assert told == ask(server, "POST", V, {"seed": 9}).json["moments"]


def test_a_picture_of_any_moment_is_the_one_that_was_shown(server: Served) -> None:
    session = create(server, seed=6)
    shown = [moment["pictures"]["pixels"]["data"] for moment in step(server, session, *draw_actions(3), pictures="png")]
    for number, data in enumerate(shown, 1):
        answer = ask(server, "GET", f"{V}/{session}/picture?step={number}")
        assert answer.headers["content-type"] == "image/png" and answer.data == base64.b64decode(data)
    assert error(ask(server, "GET", f"{V}/{session}/picture?step=4"))[1] == "refused"
    assert error(ask(server, "GET", f"{V}/{session}/picture?key=pixels_wrist"))[1] == "refused"


def test_a_session_is_kept_as_an_episode_that_says_it_was_imagined(server: Served, tmp_path: Path) -> None:
    session = create(server, seed=6, task="stack")
    told = step(server, session, *(actions := draw_actions(5)))
    path = tmp_path / "session.hdf5"
    path.write_bytes(ask(server, "GET", f"{V}/{session}/episode").data)
    file = EpisodeFile(path)
    episode = file.read(0)
    np.testing.assert_array_equal(episode.actions, actions)
    np.testing.assert_array_equal(episode.telemetry[-1], np.float32(told[-1]["agent_pos"]))
    assert episode.labels["stack"].reward[-1] == np.float32(told[-1]["reward"])
    assert "imagined" in json.dumps(file.schema.settings)


def test_a_session_is_kept_as_a_film(server: Served) -> None:
    session = create(server, seed=6)
    step(server, session, *draw_actions(5))
    data = ask(server, "GET", f"{V}/{session}/film?scale=2").data
    with av.open(io.BytesIO(data), "r") as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 6 and frames[0].shape == (128, 128, 3)
    assert error(ask(server, "GET", f"{V}/{create(server)}/episode"))[1] == "refused"


def test_the_twin_begins_in_the_same_moment_and_takes_the_same_actions(server: Served) -> None:
    session = create(server, seed=6, twin=True)
    moments = step(server, session, *draw_actions(3), pictures="raw")
    for moment in moments:
        np.testing.assert_allclose(moment["twin"]["agent_pos"][7:10], moment["agent_pos"][7:10], atol=0.1)
        assert moment["twin"]["pictures"].keys() == moment["pictures"].keys()
    branch = ask(server, "POST", f"{V}/{session}/branch", {"step": 1}).json["sessions"][0]["session"]
    again = step(server, branch, *draw_actions(3)[1:])
    np.testing.assert_allclose(again[-1]["twin"]["agent_pos"], moments[-1]["twin"]["agent_pos"], atol=1e-6)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"task": "juggle"}, "juggle"),
        ({"model": "../../etc/passwd"}, "no model"),
        ({"model": "other"}, "no model"),
        ({"depth": True}, "depth"),
        ({"start": {"bank": 10**6}}, "1000000"),
        ({"start": {"bank": 1, "frames": [{"data": "AAAA", "shape": [1, 1, 3]}]}}, "frames"),
        ({"start": {"episode": "/etc/passwd:0"}}, "episode"),
        ({"goal": {"data": "AAAA"}}, "picture"),
        ({"goal": {"data": "AAAA", "shape": [2, 2, 3]}}, "12 bytes"),
        ({"properties": {"colour": 1.0}}, "colour"),
        ({"seed": -1}, "seed"),
        ({"reward": "big"}, "reward"),
        ({"twin": True, "start": {"bank": 0}}, "twin"),
    ],
)
def test_what_no_world_can_begin_with_is_refused(server: Served, asked: dict[str, Any], word: str) -> None:
    status, _, message = error(ask(server, "POST", V, asked))
    assert status in (400, 404, 422) and word in message
    assert len(server.service.sessions) == 0


@pytest.mark.parametrize(
    "body",
    [
        b'{"action": [NaN, 0, 0, 0]}',
        b'{"action": [1e999, 0, 0, 0]}',
        b'{"action": [0, 0, 0]}',
        b'{"actions": [[0, 0, 0, 0], [0]]}',
        b'{"actions": []}',
        b'{"action": ["a", 0, 0, 0]}',
        b"{}",
        b"[]",
        b"no json",
        b"\xff\xfe",
        b"",
    ],
)
def test_what_is_no_action_is_refused_and_the_session_stays_as_it_was(server: Served, body: bytes) -> None:
    session = create(server, seed=1)
    status, _, _ = error(ask(server, "POST", f"{V}/{session}/step", body))
    assert status in (400, 422)
    assert ask(server, "GET", f"{V}/{session}").json["step"] == 0


def test_more_pictures_than_an_answer_may_have_are_refused(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gwm_sim.policies.serving.answers.MOST_PICTURES", 3 * 64 * 64 * 3)
    session = create(server, seed=1)
    asked = {"actions": [HOLD.tolist()] * 4, "pictures": "png"}
    status, _, message = error(ask(server, "POST", f"{V}/{session}/step", asked))
    assert status == 400 and "at most 3 pictures" in message
    assert len(step(server, session, *[HOLD] * 4)) == 4  # without pictures it may be as many steps


def test_what_waits_for_one_session_has_a_limit(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gwm_sim.policies.serving.sessions.WAITING", 2)
    session = create(server, seed=1)
    asked = {"actions": [HOLD.tolist()] * 100}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(server, "POST", f"{V}/{session}/step", asked), range(8)))
    done = [answer for answer in answers if answer.status == 200]
    assert 2 <= len(done) < 8
    assert all(error(answer)[:2] == (429, "too_fast") for answer in answers if answer not in done)
    assert ask(server, "GET", f"{V}/{session}").json["step"] == 100 * len(done)


def test_closing_a_session_ends_what_waits_for_it(server: Served) -> None:
    session = create(server, seed=1)
    asked = {"actions": [HOLD.tolist()] * 256}
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, server, "POST", f"{V}/{session}/step", asked) for _ in range(6)]
        wait_until(lambda: server.service.sessions._sessions[session].busy > 3)
        assert ask(server, "DELETE", f"{V}/{session}").status == 204
        told = [answer.result() for answer in waiting]
    assert sum(answer.status == 200 for answer in told) < 6
    assert all(error(answer)[1] == "unknown_session" for answer in told if answer.status != 200)


def test_a_session_that_is_not_there_is_told(server: Served) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/step"), ("GET", "/film"), ("POST", "/branch")):
        body = {"action": HOLD.tolist()} if path == "/step" else {}
        answer = ask(server, method, f"{V}/nobody{path}", body if method == "POST" else None)
        assert error(answer)[:2] == (404, "unknown_session")


def test_sessions_have_a_limit_and_end_when_nobody_asks(tiny_checkpoint: Path) -> None:
    with served(WorldModel.load(tiny_checkpoint), sessions=2, idle=0.4) as server:
        first, _ = create(server), create(server)
        status, word, message = error(ask(server, "POST", V, {}))
        assert (status, word) == (503, "full") and "--sessions" in message
        assert error(ask(server, "POST", f"{V}/{first}/branch", {}))[1] == "full"
        wait_until(lambda: len(server.service.sessions) == 0)
        create(server)


# --- the reference ----------------------------------------------------------------------------------------------------


def test_the_reference_names_every_path_and_loads_nothing_from_elsewhere(server: Served) -> None:
    page = ask(server, "GET", "/v1/docs", authorization=None).data.decode()
    api = ask(server, "GET", "/v1/openapi.json", authorization=None).json
    assert len(api["paths"]) > 12 and all(path in page for path in api["paths"])
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page


def test_a_model_tells_what_its_numbers_mean(server: Served) -> None:
    told = ask(server, "GET", "/v1/models/tiny").json
    assert [action["name"] for action in told["actions"]] == ["dx", "dy", "dz", "gripper"]
    assert told["twin"] and told["rate"] == 10 and told["tasks"] == ["reach", "grasp", "stack"]
    assert error(ask(server, "GET", "/v1/models/other"))[0] == 404
