"""The application: the paths of the API, which `requests.py` checks and `service.py` answers."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from importlib import resources
from pathlib import Path as Folder
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Path, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import gwm_sim
from gwm_sim.envs.remote.wire import API, MEDIA_TYPE
from gwm_sim.policies.serving import requests as ask
from gwm_sim.policies.serving.answers import MEDIA_TYPES, Answer, encoded
from gwm_sim.policies.serving.api.guard import Guard, Limits, broken
from gwm_sim.policies.serving.api.reference import page_of
from gwm_sim.policies.serving.api.socket import Conversation
from gwm_sim.policies.serving.errors import ServingError, refused
from gwm_sim.policies.serving.links import Links
from gwm_sim.policies.serving.runway.routes import add_runway
from gwm_sim.policies.serving.service import Service

PAGE: Final = Folder(str(resources.files("gwm_sim.policies.serving"))) / "page"
HDF5, MP4 = "application/x-hdf5", "video/mp4"
SWEEP: Final = 5.0  # seconds between two looks for sessions that nobody asks for

First = Annotated[int, Query(ge=0, description="Step of the first moment.")]
Last = Annotated[int | None, Query(ge=0, description="Step of the last moment; by default the present.")]
Id = Annotated[str, Path(max_length=64, description="A session.")]
_AS_PICTURE: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}}}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "JSON; or one binary message, where the request accepts that.",
        "content": {"application/json": {}, MEDIA_TYPE: {}},
    }
}


def application(service: Service, token: str, hosts: Collection[str], limits: Limits | None = None) -> ASGIApp:
    """The whole server, guarded; it imagines while its lifespan lasts."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(service.engine.run()), asyncio.create_task(sweep(service))]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        service.engine.close()

    app = FastAPI(
        title="gwm serve",
        version=f"{API}, gwm_sim {gwm_sim.__version__}",
        openapi_url=f"/v{API}/openapi.json",
        docs_url=None,  # which load scripts of others from the network
        redoc_url=None,
        lifespan=lifespan,
    )
    add_errors(app)
    add_description(app, service)
    add_sessions(app, service)
    add_memory(app, service)
    add_batches(app, service)
    add_runway(app, service, Links(token))
    add_page(app)

    @app.websocket(f"/v{API}/socket")
    async def socket(websocket: WebSocket) -> None:
        await Conversation(service, websocket).run()

    return Guard(app, token, hosts, limits or Limits())


async def sweep(service: Service) -> None:
    """Forget idle sessions, for ever."""
    while True:
        await asyncio.sleep(min(SWEEP, service.sessions.idle / 2))
        await service.forget()


def add_errors(app: FastAPI) -> None:
    """Tell every error in one line of JSON."""

    @app.exception_handler(ServingError)
    async def own(_: Request, error: ServingError) -> JSONResponse:
        return JSONResponse(error.told(), error.status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part)[:64] for part in first["loc"])
        wrong = ServingError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", f"{place}: {first['msg']}"[:400])
        return JSONResponse(wrong.told(), wrong.status)

    @app.exception_handler(HTTPException)
    async def missing(_: Request, error: HTTPException) -> JSONResponse:
        word = "no_such_path" if error.status_code == HTTPStatus.NOT_FOUND else "refused"
        told = ServingError(HTTPStatus(error.status_code), word, str(error.detail))
        return JSONResponse(told.told(), error.status_code)

    @app.exception_handler(Exception)
    async def mistake(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse(broken().told(), broken().status)  # the guard logs it


def respond(request: Request, answer: Answer) -> Response:
    """An answer in the form that a request accepts."""
    if MEDIA_TYPE in request.headers.get("accept", ""):
        return Response(answer.binary(), media_type=MEDIA_TYPE)
    return JSONResponse(answer.json())


def add_description(app: FastAPI, service: Service) -> None:
    """What there is."""
    router = APIRouter(prefix=f"/v{API}", tags=["what there is"])

    @router.get("/info")
    async def info() -> ask.Told:
        """Version, served models and limits."""
        return service.info()

    @router.get("/models/{model}")
    async def model(model: Annotated[str, Path(max_length=64)]) -> ask.Told:
        """What a model's numbers mean: actions, telemetry, cameras, tasks, properties, and what it lacks."""
        return service.model(model)

    app.include_router(router)


def add_sessions(app: FastAPI, service: Service) -> None:
    """What can be done with one session."""
    router = APIRouter(prefix=f"/v{API}/sessions", tags=["one session"])

    @router.post("", responses=_ANSWERS)
    async def create(request: Request, asked: ask.Creation) -> Response:
        """Begin a world."""
        return respond(request, await service.create(asked, 1))

    @router.get("/{session}")
    async def session(session: Id) -> ask.Told:
        """What a session is."""
        return service.session(service.find(session))

    @router.delete("/{session}", status_code=204)
    async def close(session: Id) -> None:
        """End a session."""
        await service.close(service.find(session))

    @router.post("/{session}/reset", responses=_ANSWERS)
    async def reset(request: Request, session: Id, asked: ask.Reset) -> Response:
        """Begin a new episode."""
        return respond(request, await service.reset([service.find(session)], asked))

    @router.post("/{session}/step", responses=_ANSWERS)
    async def step(request: Request, session: Id, asked: ask.Step) -> Response:
        """Do one action, or a chunk of them."""
        return respond(request, await service.step([service.find(session)], asked, [asked.chunk()]))

    @router.post("/{session}/edit", responses=_ANSWERS)
    async def edit(request: Request, session: Id, asked: ask.Edit) -> Response:
        """Change physics, or what is to be reached, while the episode goes on."""
        return respond(request, await service.edit(service.find(session), asked))

    @router.post("/{session}/branch", responses=_ANSWERS)
    async def branch(request: Request, session: Id, asked: ask.Branch) -> Response:
        """Make a session that goes on from a moment of this one."""
        return respond(request, await service.branch(service.find(session), asked))

    @router.post("/{session}/plan", responses=_ANSWERS)
    async def plan(request: Request, session: Id, asked: ask.Plan) -> Response:
        """Search for actions that bring something where it should be; they are imagined, and not done."""

        async def nobody(_: Answer) -> None: ...

        return respond(request, await service.plan(service.find(session), asked, nobody, asyncio.Event()))

    app.include_router(router)


def add_memory(app: FastAPI, service: Service) -> None:
    """What a session remembers."""
    router = APIRouter(prefix=f"/v{API}/sessions", tags=["what a session remembers"])

    @router.get("/{session}/moments")
    async def moments(session: Id, first: First = 0, last: Last = None) -> ask.Told:
        """The numbers of moments that are remembered, and the actions that led to them."""
        return service.moments(service.find(session), first, last)

    @router.get("/{session}/picture", responses=_AS_PICTURE, response_class=Response)
    async def picture(
        session: Id,
        key: Annotated[str, Query(max_length=64)] = "pixels",
        step: Annotated[int | None, Query(ge=0)] = None,
        form: Annotated[ask.Format, Query(alias="format")] = "png",
        twin: bool = False,
    ) -> Response:
        """One picture of a moment that is remembered, by its key in observations."""
        shown = await service.look(service.find(session), step)
        pictures = shown.pictures
        if twin:
            pictures = {} if shown.moment.twin is None else shown.moment.twin.pictures
        if key not in pictures:
            raise refused(f"there is no picture {key!r} here, but {', '.join(pictures) or 'none'}")
        chosen = pictures[key]
        shape = {"x-shape": ",".join(map(str, chosen.shape)), "x-dtype": str(chosen.dtype)}
        return Response(encoded(chosen, form), media_type=MEDIA_TYPES[form], headers=shape)

    @router.get("/{session}/episode", responses={200: {"content": {HDF5: {}}}}, response_class=Response)
    async def episode(session: Id, first: First = 0, last: Last = None) -> Response:
        """What is remembered, as an episode file in robomimic's layout."""
        data = await service.episode(service.find(session), first, last)
        return Response(data, media_type=HDF5, headers=as_file("session.hdf5"))

    @router.get("/{session}/film", responses={200: {"content": {MP4: {}}}}, response_class=Response)
    async def film(
        session: Id,
        scale: Annotated[int | None, Query(ge=1, le=16)] = None,
        twin: bool = False,
        first: First = 0,
        last: Last = None,
    ) -> Response:
        """What is remembered, as a film; with the twin beside it, if wanted."""
        data = await service.film(service.find(session), scale, twin, first, last)
        return Response(data, media_type=MP4, headers=as_file("session.mp4"))

    app.include_router(router)


def as_file(name: str) -> dict[str, str]:
    """Headers of an answer that is to be kept as a file."""
    return {"content-disposition": f'attachment; filename="{name}"'}


def add_batches(app: FastAPI, service: Service) -> None:
    """What can be done with many sessions at once."""
    router = APIRouter(prefix=f"/v{API}/batch", tags=["many sessions"])

    @router.post("/create", responses=_ANSWERS)
    async def create(request: Request, asked: ask.Creations) -> Response:
        """Begin worlds together."""
        return respond(request, await service.create(asked, asked.count, asked.seeds))

    @router.post("/reset", responses=_ANSWERS)
    async def reset(request: Request, asked: ask.Resets) -> Response:
        """Begin new episodes together."""
        sessions = [service.find(name) for name in asked.sessions]
        return respond(request, await service.reset(sessions, asked, asked.seeds))

    @router.post("/step", responses=_ANSWERS)
    async def step(request: Request, asked: ask.Steps) -> Response:
        """Step together, in one pass of the model."""
        sessions = [service.find(name) for name in asked.sessions]
        return respond(request, await service.step(sessions, asked, asked.actions))

    app.include_router(router)


def add_page(app: FastAPI) -> None:
    """What browsers open: the page, and the reference of this API."""

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get(f"/v{API}/docs", include_in_schema=False)
    async def reference() -> HTMLResponse:
        return HTMLResponse(page_of(app.openapi()))

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
