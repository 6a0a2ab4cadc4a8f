"""What a checkpoint needs to be rebuilt: the shape of every part of a model, and what its numbers mean.

Shapes follow from the data and from a preset (`training/build.py`); `config.json` holds them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from gwm_sim.data.schema import Command, ObjectFrame, Schema
from gwm_sim.errors import ConfigError

FORMAT = 3  # version of the checkpoint layout
CAME_LATER = (
    *("views", "pack", "rides", "noise", "action_size", "in_picture", "ground", "reader"),
    *("state", "object_frame", "kinds", "pairs", "gaps", "points", "residual", "turns", "reference", "exemplars"),
)
"""Options that the first checkpoints of this format do not have."""

CELL = 8  # pixels per side of a latent cell


@dataclass(frozen=True)
class TokenizerConfig:
    """Shape of the tokenizer."""

    height: int = 64  # height of a view in [px]; tokens at its lower edge may reach beyond it
    width: int = 64  # width of a view in [px], as height
    numbers: int = 5  # integers per latent cell
    levels: int = 5  # values per integer
    channels: int = 32  # channels at half resolution; doubled at each halving
    foreground_weight: float = 12.0  # extra loss weight of a pixel that differs from the background by the full range
    worst_weight: float = 0.2  # weight of the mean error of the worst one percent of pixels
    views: int = 1  # cameras, whose views stand side by side in a frame
    pack: int = 2  # cells per side of a token

    def __post_init__(self) -> None:
        if self.levels % 2 == 0:
            raise ConfigError(f"levels must be odd, so that 0 is one of them, got {self.levels}")

    @property
    def frame(self) -> tuple[int, int, int]:
        """Shape of a frame, the views of all cameras side by side."""
        return self.height, self.views * self.width, 3

    @property
    def token(self) -> int:
        """Pixels per side of a token."""
        return CELL * self.pack

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the tokens of a view."""
        return -(-self.height // self.token), -(-self.width // self.token)

    @property
    def covered(self) -> tuple[int, int]:
        """Height and width that the tokens of a view cover [px], at least its own."""
        return self.grid[0] * self.token, self.grid[1] * self.token

    @property
    def tokens(self) -> int:
        """Tokens of all views."""
        return self.views * self.grid[0] * self.grid[1]

    @property
    def token_numbers(self) -> int:
        """Integers per token."""
        return self.pack * self.pack * self.numbers


@dataclass(frozen=True)
class DynamicsConfig:
    """Shape of the dynamics; everything about the robot comes from the data."""

    tokens: int  # image tokens per frame
    token_numbers: int  # integers per image token
    levels: int  # values per integer
    telemetry: int  # length of the telemetry vector
    actions: int  # length of the action vector
    objects: int  # things whose places are known, at most so many at a time; 0 where none is
    properties: int  # physics properties that condition the prediction
    commands: tuple[Command, ...] = ()
    """What the controller integrates or is told: declared by the data, else found in them (`data/targets.py`)."""
    effector: tuple[int, ...] = ()
    """Telemetry indices of the end-effector position, in the frame of the object positions; empty if unknown."""
    memory: int = 192
    """Where objects are tracked, the numbers that are remembered of the robot's past, and of each object's."""
    width: int = 192  # channels per token of a picture
    layers: int = 6
    """Transformer blocks that read pictures where no object is tracked; every second one looks back in time."""
    heads: int = 6  # attention heads
    painter_layers: int = 4  # transformer blocks that draw the next picture for the predicted physical state
    window: int = 12  # frames that time attention reaches back, the present one included
    grid: tuple[int, int] = (0, 0)  # rows and columns of the image tokens of a view
    view: tuple[float, ...] = ()
    """Where objects are tracked, each camera as a matrix (3, 4), row by row: it takes a point (x, y, z, 1) [m] to
    column and row [tokens], both times the depth, and to the depth [m]."""
    rides: tuple[bool, ...] = ()
    """Which of these cameras ride on the end-effector, from which their points are then measured; empty for none."""
    action_size: tuple[float, ...] = ()
    """What the network takes for 1, of each action in its own unit; empty where that is 1 for all."""
    noise: int = 0
    """Where objects are tracked, random numbers per object and step that decide what cannot be foreseen; 0 for a model
    of the most likely future alone."""
    state: bool = False
    """Whether nothing is predicted from pictures although no thing is known: then there is the robot alone."""
    object_frame: ObjectFrame = "metres"  # in what the places of objects are
    kinds: tuple[int, ...] = ()
    """Which kind of thing each object is; those of one kind can be exchanged. Empty where each is of its own."""
    pairs: bool = False  # whether objects see each other one by one, of which there may then be any number
    gaps: bool = False  # whether objects may be absent: their places are NaN meanwhile
    points: int = 0  # points of the robot in the picture of each camera, which telemetry tells after some learning
    residual: int = 0  # numbers for what robot and places of things do not explain of a picture
    turns: bool = False
    """Whether the last of these are cosine and sine of how each thing is turned in the picture of the main camera."""
    reference: int = 0
    """Channels at half resolution of the network that draws from a reference, the last real frame; 0 where pictures are
    drawn as latents."""
    exemplars: int = 0  # real frames that such a network keeps, for how the robot looks

    def __post_init__(self) -> None:
        views = self.tokens // max(1, self.grid[0] * self.grid[1])
        if self.objects and len(self.view) != 12 * views:
            raise ConfigError(
                f"a world with {self.objects} tracked objects needs the views of its cameras, {12 * views} numbers, "
                f"got {len(self.view)}: see `Camera.matrix`"
            )
        if self.rides and (len(self.rides) != views or not self.effector):
            raise ConfigError(f"cameras that ride on the end-effector need to know it, and {views} entries in rides")

    @property
    def of_scene(self) -> int:
        """Numbers of the residual that are of the whole scene, and of no thing; they come first."""
        return self.residual - 2 * self.objects * self.turns

    @property
    def error_unit(self) -> str:
        """Unit of the expected error of a state: where things are, or without things what pixels show."""
        if not self.objects:
            return "grey levels"
        return "px" if self.object_frame == "image" else "cm"

    @property
    def from_pixels(self) -> bool:
        """Whether the physical state is predicted with the picture in view, the only one to say what is there."""
        return not (self.objects or self.state)


@dataclass(frozen=True)
class HeadsConfig:
    """Shape of the heads."""

    tasks: tuple[str, ...] = ()  # tasks with labels in the data, in the order of the outputs
    width: int = 128  # channels per token
    layers: int = 2  # transformer blocks
    heads: int = 4  # attention heads
    in_picture: bool = False
    """Whether objects are located as points of the picture, which also tells whether they are in sight."""
    ground: tuple[float, ...] = ()
    """Where such points mostly lie in metres: one over their depth [1/m], of which these are the constant and what a
    column and a row [tokens] of the main view add to it. Empty where the places of objects are in the image frame."""
    reader: bool = False
    """Whether what the robot reports is read from pictures too, of which nobody tells it."""

    def __post_init__(self) -> None:
        if len(self.ground) not in (0, 3) or (self.ground and not self.in_picture):
            raise ConfigError(f"ground must be empty, or 3 numbers where in_picture is set, got {self.ground}")


@dataclass(frozen=True)
class WorldModelConfig:
    """Everything a checkpoint needs to be rebuilt, and what its numbers mean."""

    name: str  # short name, such as gwm-mini
    schema: Schema  # the data's schema: rate, names, units and bounds of telemetry and actions, camera, objects, tasks
    camera: str
    """The camera that the model sees through; of several the main one, from which goals and objects are read."""
    properties: tuple[str, ...]  # physics properties that condition the model, in the order of the inputs
    time_limit: int  # length of the training episodes [steps]: the time limit of an environment that names no task
    tokenizer: TokenizerConfig
    dynamics: DynamicsConfig
    heads: HeadsConfig
    others: tuple[str, ...] = ()  # further cameras, whose views stand beside that of the main one
    depth: bool = False  # whether the depth of the main view is predicted too

    @property
    def cameras(self) -> tuple[str, ...]:
        """All cameras, the main one first."""
        return self.camera, *self.others

    @property
    def control(self) -> Schema:
        """The schema, with the targets that were found in the data where these declare no command: those actions alone
        that the data say are targets, for a velocity follows its command just as a place does."""
        kinds = self.schema.settings.get("action_kinds", ())
        found = [c for c in self.dynamics.commands if c.action < len(kinds) and kinds[c.action] == "target"]
        return replace(self.schema, commands=self.schema.commands or tuple(found))

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as a JSON object."""
        parts = {name: written(getattr(self, name)) for name in ("tokenizer", "dynamics", "heads")}
        named = {key: getattr(self, key) for key in ("name", "camera", "properties", "time_limit")}
        named |= {key: value for key, value in (("others", self.others), ("depth", self.depth)) if value}
        return {"format": FORMAT, **named, "schema": self.schema.to_json(), **parts}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> WorldModelConfig:
        """Make a configuration from what `to_json` returned."""
        dynamics = tupled(value["dynamics"])
        dynamics["commands"] = tuple(Command(**command) for command in dynamics["commands"])
        parts = {
            "schema": Schema.from_json(value["schema"]),
            "tokenizer": TokenizerConfig(**value["tokenizer"]),
            "dynamics": DynamicsConfig(**dynamics),
            "heads": HeadsConfig(**tupled(value["heads"])),
        }
        return cls(**tupled({item.name: value[item.name] for item in fields(cls) if item.name in value}) | parts)


def tupled(value: dict[str, Any]) -> dict[str, Any]:
    """A JSON object, with tuples for its lists."""
    return {key: tuple(x) if isinstance(x, list) else x for key, x in value.items()}


def written(part: TokenizerConfig | DynamicsConfig | HeadsConfig) -> dict[str, Any]:
    """A part of a configuration as a JSON object. What came later is left out where it is at its default, so that a
    model keeps its hash."""
    defaults = {item.name: item.default for item in fields(part) if item.name in CAME_LATER}
    value = {key: value for key, value in asdict(part).items() if key not in defaults or value != defaults[key]}
    if isinstance(part, DynamicsConfig):
        value["commands"] = [command.to_json() for command in part.commands]
    return value
