"""What clients may ask for, as it is checked and as the API's page shows it.

Nothing here is a path, and nothing becomes one. Numbers are finite and lists have a limit.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

MOST_STEPS: Final = 256  # of one chunk
MOST_NUMBERS: Final = 1024  # of one action or of telemetry
MOST_FRAMES: Final = 16  # real frames that a world begins with
MOST_SESSIONS: Final = 256  # in one batch

Format = Literal["raw", "png", "webp"]
Vector = Annotated[list[FiniteFloat], Field(max_length=MOST_NUMBERS)]
Name = Annotated[str, Field(max_length=64)]
Seed = Annotated[int, Field(ge=0, lt=2**128)]  # as long as those that numpy draws
Properties = Annotated[dict[Name, FiniteFloat], Field(max_length=64)]


class Body(BaseModel):
    """A request; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Picture(Body):
    """A picture that a client sends."""

    data: Base64Bytes
    """A PNG or JPEG file, or with a shape the bytes of an array of uint8; base64."""
    shape: Annotated[list[Annotated[int, Field(ge=1, le=8192)]], Field(min_length=3, max_length=3)] | None = None
    """Height, width and 3."""


class Start(Body):
    """Where a world begins; by default one of the model's initial states is drawn."""

    bank: Annotated[int, Field(ge=0)] | None = None
    """Index of an initial state."""
    frames: Annotated[list[Picture], Field(min_length=1, max_length=MOST_FRAMES)] | None = None
    """Real frames of the main camera, or of all cameras side by side, the last one being the present."""
    telemetry: Annotated[list[Vector], Field(min_length=1, max_length=MOST_FRAMES)] | None = None
    """What the robot reported at these frames."""
    actions: Annotated[list[Vector], Field(max_length=MOST_FRAMES)] | None = None
    """Actions between these frames."""


class Asked(Body):
    """What most requests have."""

    pictures: Format | None = None
    """How pictures come; null for none, which is several times as fast."""
    request: Name | None = None
    """A name for this request. The same one again gives the same answer, and is not done again."""


class Episode(Asked):
    """How an episode begins."""

    seed: Seed | None = None
    """Of the start, and of what is left open; null goes on with the session's own generator."""
    start: Start = Start()
    properties: Properties | Literal["random"] | None = None
    """Physics that the model is conditioned on, by name."""
    goal: Picture | None = None
    """A picture of what is to be reached in this episode; reward and success are then those of the goal."""
    forget_goal: bool = False
    """Whether the session's task counts in this episode, instead of the goal that the session was made with."""


class Creation(Episode):
    """A session: one world that goes on."""

    model: Name | None = None
    """Name of a served model; by default the first one."""
    task: Name | None = None
    """Label that reward and success are read for; by default that of the model's data."""
    reward: Literal["dense", "sparse"] = "dense"
    time_limit: Annotated[int, Field(ge=1)] | Literal["checkpoint"] | None = None
    """Steps after which `truncated` is true; "checkpoint" for the length of the model's training episodes. A session
    may go on after that."""
    depth: bool = False
    """Whether pictures come with depth, of models that imagine it."""
    twin: bool = False
    """Whether the physics twin begins in the same moment and takes the same actions; the start is then its."""


class Creations(Creation):
    """Sessions that begin together: session i is seeded seed + i."""

    count: Annotated[int, Field(ge=1, le=MOST_SESSIONS)]
    seeds: Annotated[list[Seed | None], Field(max_length=MOST_SESSIONS)] | None = None
    """The seed of each, instead."""


class Reset(Episode):
    """A new episode in the same session."""


class Step(Asked):
    """One action, or a chunk of them that is done one after the other."""

    action: Vector | None = None
    """One action (A,)."""
    actions: Annotated[list[Vector], Field(min_length=1, max_length=MOST_STEPS)] | None = None
    """A chunk (T, A)."""

    @model_validator(mode="after")
    def _one_of_both(self) -> "Step":
        if (self.action is None) == (self.actions is None):
            raise ValueError("give either action, (A,), or actions, (T, A)")
        return self

    def chunk(self) -> list[list[float]]:
        """The actions (T, A)."""
        return [self.action] if self.action is not None else self.actions or []


Sessions = Annotated[list[Name], Field(min_length=1, max_length=MOST_SESSIONS)]


class Resets(Episode):
    """A new episode in each of some sessions of one model and task, which begin together."""

    sessions: Sessions
    seeds: Annotated[list[Seed | None], Field(max_length=MOST_SESSIONS)] | None = None
    """The seed of each; `seed` would be that of the first one, and seed + i of the others."""


class Steps(Asked):
    """One chunk for each of some sessions of one model, which step together."""

    sessions: Sessions
    actions: Annotated[
        list[Annotated[list[Vector], Field(min_length=1, max_length=MOST_STEPS)]], Field(max_length=MOST_SESSIONS)
    ]
    """Actions (n, T, A)."""


class Edit(Asked):
    """What is changed while an episode goes on."""

    properties: Properties | None = None
    """Physics properties by name."""
    goal: Picture | None = None
    """A picture of what is to be reached from now on."""
    forget_goal: bool = False
    """Whether the session's task counts again, instead of a goal."""


class Branch(Asked):
    """A new session that goes on from a moment of another one."""

    step: Annotated[int, Field(ge=0)] | None = None
    """The moment; by default the present."""


Place = Annotated[list[FiniteFloat | None], Field(min_length=3, max_length=3)]


class Plan(Asked):
    """Where something should be. A plan is imagined, and nothing of it is done: its actions are for step."""

    objects: Annotated[dict[Name, Place], Field(max_length=64)] = {}
    """Places of things by name, in metres or in the image frame as the model says; null for what does not matter."""
    effector: Place | None = None
    """Place of the robot's hand [m]."""
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = 60
    """Most steps of the plan."""


Told = dict[str, Any]
