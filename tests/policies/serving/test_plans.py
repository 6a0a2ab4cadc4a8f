"""Plans over the wire: they get there, they are what comes of their actions, and they change nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch

from gwm_sim.data.cameras import Camera
from gwm_sim.envs.learned.goals import near
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving import requests
from gwm_sim.policies.serving.answers import Answer, finite
from gwm_sim.policies.serving.errors import ServingError
from gwm_sim.policies.serving.service import Service
from gwm_sim.policies.serving.sessions import Session, Sessions

SEED = 3


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return WorldModel.load("gwm-mini", "cpu")


def with_session(model: WorldModel, work: Callable[[Service, Session], Awaitable[Any]]) -> Any:
    """What comes of some work on one session of a service that runs."""

    async def run() -> Any:
        service = Service({"gwm-mini": model}, Sessions(2, 60.0))
        ticking = asyncio.create_task(service.engine.run())
        try:
            made = await service.create(requests.Creation(seed=SEED), 1)
            return await work(service, service.find(made.header["sessions"][0]["session"]))
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):
                await ticking
            service.engine.close()

    return asyncio.run(run())


def aside(session: Session, by: tuple[float, float, float]) -> dict[str, list[float | None]]:
    """The red cube so far from where it is [m]."""
    return {"red": [float(x + d) for x, d in zip(session.row.moments.now.objects[0], by, strict=True)]}


async def plan(service: Service, session: Session, stop: asyncio.Event | None = None, **asked: Any) -> Answer:
    async def nobody(_: Answer) -> None: ...

    return await service.plan(session, requests.Plan(**asked), nobody, stop or asyncio.Event())


def test_a_plan_gets_there_and_comes_true(model: WorldModel) -> None:
    async def work(service: Service, session: Session) -> None:
        before = session.row.moments.now
        wanted = aside(session, (0.06, 0.05, 0.0))
        answer = (await plan(service, session, objects=wanted)).header
        assert answer["reached"] and answer["distance"] < near(model)
        assert session.row.moments.now is before  # nothing was done
        done = await service.step([session], requests.Asked(), [answer["actions"]])
        (imagined,), (came,) = answer["moments"], done.header["moments"]
        np.testing.assert_allclose([m["objects"] for m in imagined], [m["objects"] for m in came], atol=1e-4)
        np.testing.assert_allclose(came[-1]["objects"][0], np.array(wanted["red"], float), atol=near(model))

    with_session(model, work)


def test_the_hand_goes_where_it_should_and_does_not_let_go(model: WorldModel) -> None:
    async def work(service: Service, session: Session) -> None:
        wanted = [0.5, 0.05, 0.15]
        answer = (await plan(service, session, effector=wanted)).header
        assert answer["reached"]
        last = answer["moments"][0][-1]["agent_pos"]
        assert np.linalg.norm(np.array(last)[list(model.config.schema.effector)] - wanted) < 0.01
        grips = [action[model.config.schema.action_names.index("gripper")] for action in answer["actions"]]
        assert set(grips) == {0.0}

    with_session(model, work)


def test_a_plan_that_nobody_wants_any_more_ends(model: WorldModel) -> None:
    async def work(service: Service, session: Session) -> None:
        stop = asyncio.Event()
        pieces = []

        async def show(answer: Answer) -> None:
            pieces.append(answer)
            stop.set()

        asked = requests.Plan(objects=aside(session, (0.0, 0.0, 0.5)), steps=200)  # out of reach
        answer = await service.plan(session, asked, show, stop)
        assert len(pieces) == 1 and not answer.header["reached"]
        assert answer.header["moments"][0] == pieces[0].header["moments"][0]

    with_session(model, work)


@pytest.mark.parametrize(
    ("asked", "why"), [({}, "say where"), ({"objects": {"green": [0.5, 0.0, 0.0]}}, "tracks red, blue, not")]
)
def test_what_cannot_be_wanted_is_refused(model: WorldModel, asked: dict[str, Any], why: str) -> None:
    async def work(service: Service, session: Session) -> None:
        with pytest.raises(ServingError, match=why):
            await plan(service, session, **asked)

    with_session(model, work)


def test_a_page_knows_keys_cameras_and_what_is_unsure(model: WorldModel) -> None:
    about = Service({"gwm-mini": model}, Sessions(1, 60.0)).model("gwm-mini")
    assert [action["switched"] for action in about["actions"]] == [False, False, False, True]
    assert about["actions"][1]["raise"][0] == "ArrowRight"
    assert about["uncertainty"] == {"unit": "cm", "limit": pytest.approx(5.0)}
    camera = Camera.from_json(about["cameras"][0]["calibration"])
    column, row = camera.project([0.5, 0.0, 0.02])
    assert 0 <= column < about["cameras"][0]["width"] and 0 <= row < about["cameras"][0]["height"]


def test_some_steps_are_saved_or_none(model: WorldModel) -> None:
    async def work(service: Service, session: Session) -> None:
        await service.step([session], requests.Asked(), [[[0.1, 0.0, 0.0, 0.0]] * 6])
        assert len(await service.episode(session, 2, 5)) > 1000
        with pytest.raises(ServingError, match="at least one step"):
            await service.episode(session, 3, 3)
        with pytest.raises(ServingError, match="steps 90 to 95 are not remembered: 0 to 6 are"):
            await service.film(session, None, False, 90, 95)

    with_session(model, work)


def test_a_world_that_lost_its_way_is_told_as_null() -> None:
    assert finite([1.0, torch.nan, [torch.inf, 2]]) == [1.0, None, [None, 2]]
