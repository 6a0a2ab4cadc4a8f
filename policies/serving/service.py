"""What a server can do, whoever asks over whatever wire: each method takes a checked request and gives an answer."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

import gwm_sim
from gwm_sim.data.images import decode_picture
from gwm_sim.envs.remote.wire import API
from gwm_sim.envs.spaces import check_action
from gwm_sim.errors import GwmError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.serving import planning, recording, requests
from gwm_sim.policies.serving.answers import Answer, check_pictures, told
from gwm_sim.policies.serving.description import describe
from gwm_sim.policies.serving.engine import Engine
from gwm_sim.policies.serving.errors import ServingError, refused, unknown
from gwm_sim.policies.serving.moments import Frame
from gwm_sim.policies.serving.sessions import Session, Sessions
from gwm_sim.policies.serving.twin import has_twin
from gwm_sim.policies.serving.worlds import Kind, Row, Shown, Worlds

PICTURES: Final = ("raw", "png", "webp")
FILM_HEIGHT: Final = 384  # of a film [px], about


class Service:
    """Served models, their sessions, and the engine that steps them."""

    def __init__(self, models: Mapping[str, WorldModel], sessions: Sessions, twins: bool = False) -> None:
        """Serve models by name, with or without the physics twin of those that have one."""
        self.worlds = {name: Worlds(name, model) for name, model in models.items()}
        self.sessions, self.engine, self._twins = sessions, Engine(), twins

    # --- what there is ------------------------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """What this server is."""
        return {
            "api": API,
            "gwm_sim": gwm_sim.__version__,
            "models": list(self.worlds),
            "pictures": list(PICTURES),
            "sessions": len(self.sessions),
            "limits": {
                "sessions": self.sessions.most,
                "idle_seconds": self.sessions.idle,
                "steps": requests.MOST_STEPS,
                "frames": requests.MOST_FRAMES,
            },
        }

    def model(self, name: str) -> dict[str, Any]:
        """What a model's numbers mean, and what it can do."""
        worlds = self._worlds(name)
        return describe(worlds, self._has_twin(worlds))

    def session(self, session: Session) -> dict[str, Any]:
        """What a session is."""
        row = session.row
        return {
            "session": session.id,
            "model": session.worlds.name,
            "task": session.worlds.imagination(row.kind).task,
            "reward": row.kind.reward,
            "time_limit": row.limit,
            "goal": row.goal is not None,
            "twin": row.twin is not None,
            "depth": row.depth,
            "parent": session.parent,
            "step": row.moments.now.step,
            "first": row.moments.first,
            "branch_from": row.moments.whole,
            "properties": row.moments.now.properties,
        }

    # --- sessions that come and go ------------------------------------------------------------------------------------

    async def create(self, asked: requests.Creation, count: int, seeds: Sequence[int | None] | None = None) -> Answer:
        """Sessions that begin together."""
        worlds = self._worlds(asked.model or next(iter(self.worlds)))
        seeds = spread(asked.seed, seeds, count)
        start, goal = begins(asked), picture(asked.goal)
        if asked.task is not None and asked.task not in worlds.model.tasks:
            known = ", ".join(worlds.model.tasks) or "none"
            raise refused(f"{worlds.name} knows no task {asked.task!r}; its tasks are {known}")
        if asked.twin:
            self._check_twin(worlds, asked, count)
        limit = worlds.model.config.time_limit if asked.time_limit == "checkpoint" else asked.time_limit
        kind = Kind(asked.task, asked.reward)

        def make() -> tuple[list[Row], list[Shown]]:
            with explained():
                rows = worlds.rows(count, kind, limit, goal, asked.depth, asked.twin)
                try:
                    return rows, begin(worlds, rows, start, seeds, asked.pictures is not None, None, asked.forget_goal)
                except BaseException:
                    release(rows)
                    raise

        async def work() -> Answer:
            self.sessions.room(count)
            rows, shown = await self.engine.call(make)
            try:
                self.sessions.room(count)  # others may have come meanwhile
            except ServingError:
                await self.engine.call(release, rows)
                raise
            made = [self.sessions.add(worlds, row) for row in rows]
            answer = Answer({"sessions": [self.session(session) for session in made]})
            answer.header["moments"] = [[told(each, asked.pictures, answer)] for each in shown]
            return answer

        return await self.sessions.made_once(asked.request, work)

    async def branch(self, session: Session, asked: requests.Branch) -> Answer:
        """A new session that goes on from a moment of another one."""

        async def work() -> Answer:
            self.sessions.room(1)
            step = session.row.moments.now.step if asked.step is None else asked.step
            try:
                row = await self.engine.call(session.worlds.branch, session.row, step)
            except KeyError:
                first, last = session.row.moments.whole, session.row.moments.now.step
                raise refused(f"step {step} is not remembered: branch from {first} to {last}") from None
            made = self.sessions.add(session.worlds, row, session.id)
            shown = await self.engine.call(self._look, made, row.moments.now.step)
            answer = Answer({"sessions": [self.session(made)]})
            answer.header["moments"] = [[told(shown, asked.pictures, answer)]]
            return answer

        return await self.sessions.once(asked.request, [session], work)

    async def close(self, session: Session) -> None:
        """End a session, after what is being done in it."""
        self.sessions.close(session)
        async with session.lock:
            session.row.moments.clear()
            await self.engine.call(release, [session.row])

    async def forget(self) -> None:
        """Close the sessions that nobody asked for in a while."""
        for session in self.sessions.forgotten():
            await self.close(session)

    # --- sessions that go on ------------------------------------------------------------------------------------------

    async def reset(
        self, sessions: Sequence[Session], asked: requests.Episode, seeds: Sequence[int | None] | None = None
    ) -> Answer:
        """A new episode in each of some sessions."""
        worlds, rows = together(sessions)
        seeds = spread(asked.seed, seeds, len(sessions))
        start, goal = begins(asked), picture(asked.goal)

        def work_there() -> list[Shown]:
            with explained():
                return begin(worlds, rows, start, seeds, asked.pictures is not None, goal, asked.forget_goal)

        async def work() -> Answer:
            shown = await self.engine.call(work_there)
            answer = Answer({})
            answer.header["moments"] = [[told(each, asked.pictures, answer)] for each in shown]
            return answer

        return await self.sessions.once(asked.request, sessions, work)

    async def step(self, sessions: Sequence[Session], asked: requests.Asked, actions: Any) -> Answer:
        """Chunks of actions (n, T, A), one for each of some sessions, which step together."""
        worlds, rows = together(sessions)
        checked = chunks(worlds, actions, len(sessions))
        if see := asked.pictures is not None:
            check_pictures(checked.shape[0] * checked.shape[1], worlds)

        async def work() -> Answer:
            answer = Answer({})
            moments: list[list[dict[str, Any]]] = [[] for _ in rows]
            for moment in checked.swapaxes(0, 1):
                shown = await self.engine.step(worlds, rows, moment, see)
                for told_of, each in zip(moments, shown, strict=True):
                    told_of.append(told(each, asked.pictures, answer))
            answer.header["moments"] = moments
            return answer

        return await self.sessions.once(asked.request, sessions, work)

    async def edit(self, session: Session, asked: requests.Edit) -> Answer:
        """Change what can be changed while an episode goes on."""
        goal, row = picture(asked.goal), session.row
        if goal is not None and asked.forget_goal:
            raise refused("goal and forget_goal exclude each other")

        def change() -> Shown:
            with explained():
                read = session.worlds.read_goal(goal)
                if asked.properties:
                    session.worlds.edit(row, asked.properties)
            if read is not None or asked.forget_goal:
                row.goal = read
            return self._look(session, row.moments.now.step)

        async def work() -> Answer:
            shown = await self.engine.call(change)
            answer = Answer({"session": self.session(session)})
            answer.header["moments"] = [[told(shown, asked.pictures, answer)]]
            return answer

        return await self.sessions.once(asked.request, [session], work)

    async def plan(self, session: Session, asked: requests.Plan, tell: planning.Tell, stop: asyncio.Event) -> Answer:
        """Actions that lead to a goal, and what is imagined to come of them; nothing is done."""

        async def work() -> Answer:
            return await planning.plan(self.engine, session, asked, tell, stop)

        return await self.sessions.once(asked.request, [session], work)

    # --- looking back -------------------------------------------------------------------------------------------------

    async def look(self, session: Session, step: int | None) -> Shown:
        """A moment that is remembered, with pictures."""
        return await self.engine.call(self._look, session, session.row.moments.now.step if step is None else step)

    def moments(self, session: Session, first: int, last: int | None) -> dict[str, Any]:
        """What was said of moments that are remembered, without pictures."""
        chosen = [m for m in session.row.moments if m.step >= first and (last is None or m.step <= last)]
        actions = [None if moment.action is None else moment.action.tolist() for moment in chosen]
        said = [told(Shown(moment, {}), None, Answer({})) for moment in chosen]
        return {"moments": [{**each, "action": action} for each, action in zip(said, actions, strict=True)]}

    async def episode(self, session: Session, first: int = 0, last: int | None = None) -> bytes:
        """What a session remembers of some steps, as an episode file."""
        told = await self._past(session, first, last)
        return await asyncio.to_thread(recording.episode_file, session.worlds, session.row, told)

    async def film(
        self, session: Session, scale: int | None, twin: bool, first: int = 0, last: int | None = None
    ) -> bytes:
        """The same as a film, by default enlarged to about 400 pixels of height."""
        told, config = await self._past(session, first, last), session.worlds.model.config
        scale = scale or max(1, round(FILM_HEIGHT / config.tokenizer.height))
        return await asyncio.to_thread(recording.film, told, config.cameras, config.schema.rate, scale, twin)

    async def _past(self, session: Session, first: int, last: int | None) -> recording.Past:
        async with session.lock:
            return await self.engine.call(recording.past, session.worlds, session.row, first, last)

    def _look(self, session: Session, step: int) -> Shown:
        try:
            return session.worlds.look(session.row, step)
        except KeyError:
            moments = session.row.moments
            raise refused(f"step {step} is not remembered: look at {moments.first} to {moments.now.step}") from None

    # --- checks -------------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Session:
        """The session of a name."""
        return self.sessions.find(name)

    def _worlds(self, name: str) -> Worlds:
        if name not in self.worlds:
            raise unknown("model", name)
        return self.worlds[name]

    def _has_twin(self, worlds: Worlds) -> bool:
        return self._twins and has_twin(worlds.model.config)

    def _check_twin(self, worlds: Worlds, asked: requests.Creation, count: int) -> None:
        if not self._has_twin(worlds):
            raise refused(f"{worlds.name} has no twin here: start the server with --twin, on a machine with MuJoCo")
        if count > 1 or begins(asked).keys() - {"properties"} or asked.properties == "random":
            raise refused(
                "a session with a twin begins alone, where the twin does: give a seed, and properties by name"
            )


# --- what requests say ------------------------------------------------------------------------------------------------


@contextmanager
def explained() -> Iterator[None]:
    """Tell clients what worlds refuse."""
    try:
        yield
    except (ValueError, GwmError) as error:
        raise refused(str(error)) from error


def together(sessions: Sequence[Session]) -> tuple[Worlds, list[Row]]:
    """The rows of sessions of one model."""
    if len({session.worlds for session in sessions}) != 1:
        raise refused("the sessions of one request must be of one model")
    return sessions[0].worlds, [session.row for session in sessions]


def spread(seed: int | None, seeds: Sequence[int | None] | None, count: int) -> list[int | None]:
    """The seed of each session."""
    if seeds is None:
        return [None if seed is None else seed + i for i in range(count)]
    if len(seeds) != count:
        raise refused(f"seeds must be {count} numbers, got {len(seeds)}")
    return list(seeds)


def begin(
    worlds: Worlds,
    rows: Sequence[Row],
    start: Mapping[str, Any],
    seeds: Sequence[int | None],
    see: bool,
    goal: Frame | None = None,
    forget_goal: bool = False,
) -> list[Shown]:
    """Begin an episode in rows, those of one kind and goal together, by their seeds where they are given."""
    if len({(row.kind, id(row.usual_goal)) for row in rows}) > 1:
        raise ValueError("sessions that begin together must have one task, reward and goal")
    wanted = worlds.read_goal(goal)
    if wanted is None and not forget_goal:
        wanted = rows[0].usual_goal
    for row, seed in zip(rows, seeds, strict=True):
        row.goal = wanted
        if seed is not None:
            row.rng = np_random(seed)[0]
    return worlds.begin(rows, start, see, seeds[0])


def begins(asked: requests.Episode) -> dict[str, Any]:
    """Reset options of an environment."""
    start = asked.start
    options: dict[str, Any] = {}
    if start.bank is not None:
        options["bank"] = start.bank
    if start.frames is not None:
        pictures = [picture(frame) for frame in start.frames]
        if len({frame.shape for frame in pictures if frame is not None}) > 1:
            raise refused("the frames of a start must be of one size")
        options["frames"] = np.stack([frame for frame in pictures if frame is not None])
    for name in ("telemetry", "actions"):
        if (values := getattr(start, name)) is not None:
            options[name] = matrix(values, name)
    if asked.properties is not None:
        options["properties"] = asked.properties
    return options


def matrix(values: Sequence[Sequence[float]], name: str) -> NDArray[np.float32]:
    """Rows of equal length as an array."""
    if len({len(row) for row in values}) > 1:
        raise refused(f"the rows of {name} must be of one length")
    return np.array(values, np.float32).reshape(len(values), -1)


def picture(sent: requests.Picture | None) -> Frame | None:
    """The picture (H, W, 3) that a client sends."""
    if sent is None:
        return None
    if sent.shape is None:
        with explained():
            return np.asarray(decode_picture(sent.data, "the picture"), np.uint8)
    if sent.shape[2] != 3 or len(sent.data) != np.prod(sent.shape):
        raise refused(f"a picture of shape {sent.shape} must be {np.prod(sent.shape)} bytes, the last axis 3")
    return np.frombuffer(sent.data, np.uint8).reshape(sent.shape)


def chunks(worlds: Worlds, actions: Any, count: int) -> NDArray[np.float64]:
    """Actions (n, T, A) for n sessions, clipped to the model's bounds."""
    space = worlds.action_space
    lengths = {len(chunk) for chunk in actions}
    numbers = {len(action) for chunk in actions for action in chunk}
    if len(actions) != count or len(lengths) != 1 or numbers != {space.shape[0]}:
        raise refused(
            f"actions must be ({count}, T, {space.shape[0]}), a chunk of T actions for each session, got "
            f"{len(actions)} chunks of {sorted(lengths)} actions of {sorted(numbers)} numbers"
        )
    values = np.array(actions, np.float64)
    return np.stack([check_action(action, space) for action in values.reshape(-1, *space.shape)]).reshape(values.shape)


def release(rows: Sequence[Row]) -> None:
    """Free what the twins of rows draw with."""
    for row in rows:
        if row.twin is not None:
            row.twin.close()
