"""Which world a client goes on with: it names none, and sends the last pictures and poses that it was given.

The client asks for chunks of a fixed number of frames and fills up shorter ones with their last pose; frames of the
filling it throws away. So it may go on from any moment of a chunk after which the poses are all the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gwm_sim.policies.serving.moments import Frame
from gwm_sim.policies.serving.runway.pictures import difference
from gwm_sim.policies.serving.sessions import Session

CHUNK: Final = 17  # frames that the client asks for at a time, and that it sends back where it has as many
REMEMBERED: Final = 10 * CHUNK  # steps whose pictures are remembered


class Likeness(NamedTuple):
    """How alike pictures are that show the same [grey levels, see `difference`]."""

    limit: float  # below which they may be the same
    tie: float  # a difference between two differences that says nothing


AS_SENT: Final = Likeness(0.75, 0.05)
"""Of single pictures, which the client returns as it got them; what was not compressed yet differs by 1 and more."""
AS_FILMED: Final = Likeness(8.0, 0.5)
"""Of films, which the client compresses once more; what says more there are the poses."""

Pose = tuple[float, ...]


@dataclass(eq=False)
class World:
    """A session, and what its client was shown of it."""

    session: Session
    views: int  # cameras that the client sees
    poses: list[Pose] = field(default_factory=list)  # of every step since the world began
    frames: dict[int, Frame] = field(default_factory=dict)  # (H, V*W, 3) as sent, by step, of the last steps
    chunks: list[int] = field(default_factory=list)  # steps at which chunks began
    busy: bool = False

    @property
    def step(self) -> int:
        """Steps so far."""
        return len(self.poses)

    @property
    def lives(self) -> bool:
        """Whether its session was not closed."""
        return len(self.session.row.moments) > 0

    def sent(self, frames: Sequence[Frame]) -> None:
        """Remember what was shown of the last steps."""
        self.frames |= zip(range(self.step - len(frames) + 1, self.step + 1), frames, strict=True)
        for step in [step for step in self.frames if step <= self.step - REMEMBERED]:
            del self.frames[step]

    def until(self, step: int, session: Session) -> "World":
        """The same as it was after a step, in a session."""
        frames = {number: frame for number, frame in self.frames.items() if number <= step}
        return World(session, self.views, self.poses[:step], frames, [chunk for chunk in self.chunks if chunk < step])

    def steps(self, first: int, last: int) -> Iterator[int]:
        """Those of some steps from which the world can go on, and after which a client has seen it."""
        first = max(first, self.session.row.moments.whole) if self.lives else last + 1
        return (step for step in range(first, min(last, self.step) + 1) if step in self.frames)

    def may_fill(self, step: int) -> bool:
        """Whether a client may have filled up the chunk of a step with the pose of that."""
        end = next((chunk for chunk in self.chunks if chunk >= step), self.step)
        return len(set(self.poses[step - 1 : end])) == 1

    def is_free_at(self, step: int) -> bool:
        """Whether nobody needs what came after a step: nothing, or what was filled up."""
        return not self.busy and step > self.chunks[-1] and self.may_fill(step)


class Place(NamedTuple):
    """A moment of a world."""

    world: World
    step: int


def shown_in(worlds: Iterable[World], present: Frame) -> Place | None:
    """Where a picture, at the size of the model's frames, is the last of those that a client has, fewer than 17."""
    places = [Place(world, step) for world in worlds for step in world.steps(1, CHUNK - 1) if world.may_fill(step)]
    return nearest(places, present, AS_SENT, latest=False)


def filmed_in(worlds: Iterable[World], poses: Sequence[Pose], present: Frame) -> Place | None:
    """Where the last poses of a client led to a picture, at the size of the model's frames."""
    told, count = list(poses), len(poses)
    places = [
        Place(world, step)
        for world in worlds
        for step in world.steps(count, world.step)
        if world.poses[step - count : step] == told
    ]
    return nearest(places, present, AS_FILMED, latest=True)


def nearest(places: Sequence[Place], present: Frame, likeness: Likeness, latest: bool) -> Place | None:
    """The place that looks most like a picture, None where none does; of equal ones the latest or earliest, at best
    one after which nobody needs what came."""
    differences = [difference(place.world.frames[place.step], present) for place in places]
    least = min(differences, default=likeness.limit)
    if least >= likeness.limit:
        return None
    equal = [place for place, value in zip(places, differences, strict=True) if value <= least + likeness.tie]
    return min(equal, key=lambda place: (-place.step if latest else place.step, not place.world.is_free_at(place.step)))
