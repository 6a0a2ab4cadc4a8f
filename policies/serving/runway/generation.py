"""One chunk of the client: the world that it means goes on by some poses, and becomes a film."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import numpy as np

from gwm_sim.envs.spaces import Observation, picture
from gwm_sim.errors import GwmError
from gwm_sim.policies.picture_start import picture_start
from gwm_sim.policies.planning import Guide
from gwm_sim.policies.serving import requests as ask
from gwm_sim.policies.serving.answers import Answer
from gwm_sim.policies.serving.errors import ServingError, refused
from gwm_sim.policies.serving.moments import Frame
from gwm_sim.policies.serving.runway.continuity import CHUNK, Place, Pose, World, filmed_in, shown_in
from gwm_sim.policies.serving.runway.pictures import as_sent, read_context, shown_views
from gwm_sim.policies.serving.runway.poses import Poses
from gwm_sim.policies.serving.service import Service
from gwm_sim.policies.serving.worlds import Worlds

SHARE: Final = 0.5  # of the sessions of a server, that worlds of this client may take: it never says that it is done


class Generator:
    """Makes chunks for the clients of one model."""

    def __init__(self, service: Service, worlds: Worlds) -> None:
        """Serve one model of a service.

        Raises:
            ServingError: The model takes no poses.
        """
        self._service, self._model = service, worlds
        self.poses = Poses(worlds.model.config)
        self._worlds: list[World] = []  # the last one is that of the last chunk
        self._guide: Guide | None = None
        self._guided = False
        self._choosing = asyncio.Lock()

    async def chunk(
        self, context: bytes, film: bool, poses: Sequence[Pose], seed: int, tell: Callable[[float], None]
    ) -> tuple[bytes, str]:
        """A film of the frames after each of 17 poses, and the session in which that came to be.

        Args:
            context: The last picture that the client has, or a film of its last 17 pictures.
            film: Which of both it is.
            poses: Those of the context, as many as it has frames, and 17 more.
            seed: Of a world that begins.
            tell: Called with the share that is done.

        Raises:
            ServingError: The context is of no use, or there is no place for another world.
        """
        config = self._model.model.config
        try:
            sent = await asyncio.to_thread(read_context, context, film)
        except GwmError as error:
            raise refused(str(error)) from error
        present, views = shown_views(sent, config)
        async with self._choosing:
            world = await self._world(present, views, poses[:-CHUNK] if film else None, seed)
            world.busy = True
        try:
            frames = []
            for pose in poses[-CHUNK:]:
                frames.append(await self._step(world, pose))
                tell(len(frames) / CHUNK)
            data, seen = await asyncio.to_thread(as_sent, frames, config.schema.rate)
            world.sent(seen)
        finally:
            world.busy = False
        return data, world.session.id

    # --- which world --------------------------------------------------------------------------------------------------

    async def _world(self, present: Frame, views: int, poses: Sequence[Pose] | None, seed: int) -> World:
        """The world that a client means, which goes on; of a single picture that nobody knows, a new one."""
        self._worlds = [world for world in self._worlds if world.lives]
        known = [world for world in reversed(self._worlds) if world.views == views]
        place = shown_in(known, present) if poses is None else filmed_in(known, poses, present)
        if place is not None:
            world = await self._gone_on(place)
        elif poses is None:
            world = await self._begun(present, views, seed)
        else:
            raise refused(
                "this server does not know the frames that the client sends to go on from: it was started anew, or the "
                "world gave way to others; create the world once more"
            )
        world.chunks.append(world.step)
        self._worlds.append(world)
        return world

    async def _gone_on(self, place: Place) -> World:
        world, step = place
        if world.is_free_at(step):
            self._worlds.remove(world)
            world.session = self._service.find(world.session.id)
            await self._service.engine.call(world.session.row.moments.rewind, step)
            return world.until(step, world.session)
        await self._make_room()
        answer = await self._service.branch(world.session, ask.Branch(step=step))
        return world.until(step, self._made(answer))

    async def _begun(self, present: Frame, views: int, seed: int) -> World:
        await self._make_room()
        try:
            start = await self._service.engine.call(self._start, present)
        except GwmError as error:
            raise refused(str(error)) from error
        frame = ask.Picture(data=base64.b64encode(present.tobytes()), shape=list(present.shape))
        begins = ask.Start(frames=[frame], telemetry=[start["telemetry"].tolist()])
        asked = ask.Creation(model=self._model.name, seed=seed, start=begins)
        return World(self._made(await self._service.create(asked, 1)), views)

    def _start(self, present: Frame) -> dict[str, Any]:
        model = self._model.model
        if not self._guided:
            assert model.folder is not None
            self._guide, self._guided = Guide.beside(model, model.folder, borrow=True), True
        return picture_start(model, self._guide, present, "the picture")

    async def _make_room(self) -> None:
        """Let worlds go that were not asked for in the longest time, where clients have as many as they may."""
        most = max(1, int(SHARE * self._service.sessions.most))
        while len(self._worlds) >= most:
            idle = next((world for world in self._worlds if not world.busy), None)
            if idle is None:
                raise ServingError(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "full",
                    f"{most} worlds of such clients go on already: wait, or start the server with more --sessions",
                )
            self._worlds.remove(idle)
            if idle.lives:
                await self._service.close(idle.session)

    def _made(self, answer: Answer) -> Any:
        return self._service.find(answer.header["sessions"][0]["session"])

    # --- how it goes on -----------------------------------------------------------------------------------------------

    async def _step(self, world: World, pose: Pose) -> Frame:
        session, cameras = self._service.find(world.session.id), self._model.model.config.cameras
        action = self.poses.action(pose, session.row.moments.now.telemetry.tolist())
        answer = await self._service.step([session], ask.Asked(pictures="raw"), [[action]])
        world.poses.append(pose)
        return picture(drawn(answer), cameras[: world.views])


def drawn(answer: Answer) -> Observation:
    """The pictures of an answer that tells of one moment, by key."""
    ((told,),) = answer.header["moments"]
    tail = b"".join(answer.tail)
    found = {}
    for key, entry in told["pictures"].items():
        offset, length = entry["at"]
        found[key] = np.frombuffer(tail, np.uint8, length, offset).reshape(entry["shape"])
    return found
