"""The paths that the client `runway-robotics-sdk` asks for, below `/runway/MODEL`, which is its base URL.

It uploads a picture or a film, asks for a chunk of frames, asks every second what became of it, and fetches a film.
Files go to and come from addresses that it is told, and it sends no token there: `links.py`.
"""

import secrets
from contextlib import AsyncExitStack
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, FastAPI, Path, Request, Response
from pydantic import Field, FiniteFloat, model_validator
from starlette.formparsers import MultiPartException, MultiPartParser

from gwm_sim.policies.serving import requests as ask
from gwm_sim.policies.serving.errors import refused, unknown
from gwm_sim.policies.serving.links import Links
from gwm_sim.policies.serving.runway.continuity import CHUNK
from gwm_sim.policies.serving.runway.generation import Generator
from gwm_sim.policies.serving.runway.poses import POSE
from gwm_sim.policies.serving.runway.tasks import Task, Tasks
from gwm_sim.policies.serving.runway.uploads import Uploads
from gwm_sim.policies.serving.service import Service

ROOT: Final = "/runway"
SCHEME: Final = "runway://"  # begins the names of uploads
Name = Annotated[str, Path(max_length=64)]
Number = Annotated[FiniteFloat, Field(ge=-1e6, le=1e6)]  # so that what is computed with it is finite, too
Pose = Annotated[tuple[Number, ...], Field(min_length=len(POSE), max_length=len(POSE))]


class Upload(ask.Body):
    """A file is going to be sent."""

    filename: Annotated[str, Field(max_length=256)]
    """For people; nothing here has that name."""
    type: Literal["ephemeral"] = "ephemeral"


class Chunk(ask.Body):
    """The next frames of a world."""

    model: Literal["robotics_v1"]
    """The client knows one name alone; which model it is, the base URL says."""
    robotAction: Annotated[list[Pose], Field(max_length=2 * CHUNK)]
    """One pose for each frame of the context, and 17 more."""
    seed: ask.Seed = 0
    promptImage: Annotated[str, Field(max_length=128)] | None = None
    """Upload that is the last picture."""
    contextVideoUri: Annotated[str, Field(max_length=128)] | None = None
    """Upload that shows the last 17 pictures."""

    @model_validator(mode="after")
    def _one_context(self) -> "Chunk":
        if (self.promptImage is None) == (self.contextVideoUri is None):
            raise ValueError("give either promptImage or contextVideoUri")
        count = (1 if self.promptImage is not None else CHUNK) + CHUNK
        if len(self.robotAction) != count:
            raise ValueError(f"robotAction must be {count} poses, got {len(self.robotAction)}")
        return self


class InMemory(MultiPartParser):
    """Reads forms without a file on the disk; the guard limits their size."""

    spool_max_size = 0  # of `SpooledTemporaryFile`: no limit


class Adapter:
    """What is behind the paths."""

    def __init__(self, service: Service, links: Links) -> None:
        """Serve all models of a service that take poses."""
        self._service, self._links = service, links
        self._generators: dict[str, Generator] = {}
        self.tasks, self._uploads = Tasks(), Uploads()

    def generator(self, model: str) -> Generator:
        """Who makes chunks with a model.

        Raises:
            ServingError: There is no such model, or it takes no poses.
        """
        if model not in self._generators:
            if model not in self._service.worlds:
                raise unknown("model", model)
            self._generators[model] = Generator(self._service, self._service.worlds[model])
        return self._generators[model]

    def link(self, request: Request, method: str, path: str) -> str:
        """An address here that works without the token."""
        return f"{request.base_url}".rstrip("/") + self._links.signed(method, path)

    async def keep(self, name: str, request: Request) -> None:
        """Keep the file of a form.

        Raises:
            ServingError: There is none.
        """
        try:
            async with AsyncExitStack() as stack:
                form = await InMemory(request.headers, request.stream(), max_files=1, max_fields=8).parse()
                stack.push_async_callback(form.close)
                file = form["file"]
                if isinstance(file, str):
                    raise KeyError("file")
                self._uploads.put(name, await file.read())
        except (KeyError, MultiPartException) as error:
            raise refused("a file is sent as the part `file` of a form, multipart/form-data") from error

    def begin(self, model: str, asked: Chunk) -> Task:
        """Begin to make a chunk.

        Raises:
            ServingError: The model takes no poses, or there is no such upload.
        """
        generator = self.generator(model)
        context = asked.promptImage or asked.contextVideoUri or ""
        data, film = self._uploads.get(context.removeprefix(SCHEME)), asked.promptImage is None
        return self.tasks.begin(lambda tell: generator.chunk(data, film, asked.robotAction, asked.seed, tell))


def add_runway(app: FastAPI, service: Service, links: Links) -> None:
    """Add the paths, which are no part of our own API."""
    router = APIRouter(prefix=ROOT, include_in_schema=False)
    adapter = Adapter(service, links)

    @router.post("/{model}/v1/uploads")
    async def upload(request: Request, model: Name, asked: Upload) -> ask.Told:
        """Say where a file is to be sent."""
        adapter.generator(model)  # said now, before anything is sent
        name = secrets.token_urlsafe(12)
        address = adapter.link(request, "POST", f"{ROOT}/uploads/{name}")
        return {"runwayUri": f"{SCHEME}{name}", "uploadUrl": address, "fields": {}}

    @router.post("/uploads/{name}", status_code=204)
    async def receive(request: Request, name: Name) -> None:
        """Take a file."""
        await adapter.keep(name, request)

    @router.post("/{model}/v1/robotics_action_to_video")
    async def begin(model: Name, asked: Chunk) -> ask.Told:
        """Begin to make a chunk."""
        return {"id": adapter.begin(model, asked).id}

    @router.get("/{model}/v1/tasks/{name}")
    async def task(request: Request, model: Name, name: Name) -> ask.Told:
        """Say what became of a chunk; session and lost numbers of poses are for who wants more than the client."""
        found = adapter.tasks.find(name)
        told: dict[str, Any] = {"id": name, "createdAt": found.created.isoformat(), "status": found.status}
        if found.failure is not None:
            return told | {"failure": found.failure, "failureCode": "REFUSED"}
        if found.film is None:
            return told | {"progress": found.progress}
        output = [adapter.link(request, "GET", f"{ROOT}/films/{name}")]
        return told | {"output": output, "session": found.session, "lost": adapter.generator(model).poses.lost}

    @router.get("/films/{name}")
    async def film(name: Name) -> Response:
        """Give a chunk as a film."""
        found = adapter.tasks.find(name)
        if found.film is None:
            raise unknown("film", name)
        return Response(found.film, media_type="video/mp4")

    app.include_router(router)
