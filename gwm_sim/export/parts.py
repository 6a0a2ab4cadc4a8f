"""A world model in parts that take a state and return one, for runtimes that know nothing of torch.

The encoder makes a state of real frames, a step takes it one action further, and a picture shows it. A state is a few
tensors by name, all of which go in and come out. What chance has in a step is an input too, so that a rollout repeats
wherever it runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from gwm_sim.errors import ConfigError
from gwm_sim.model.latents import choose
from gwm_sim.model.rendering.exposure import relit
from gwm_sim.model.state import PER_FRAME, PhysicalState, Segment, WorldState
from gwm_sim.model.tokenizer import to_frames
from gwm_sim.model.uncertainty import risk, together
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT

STATE: Final = "state."
"""What the names of the tensors of a state begin with where they go in, and come out of the encoder."""
NEXT: Final = "next."
"""The same where they come out of a step or a picture."""

PHYSICAL: Final = (
    *("telemetry", "previous_telemetry", "objects", "previous_objects", "residual", "previous_residual"),
    *("uncertainty", "memory"),
)
"""What a step predicts from."""
LATENTS: Final = ("codes", "previous_codes")
"""What the next picture is drawn from, beside two physical states, where pictures are drawn as latents."""
REFERENCE: Final = ("reference", "light", "reference_telemetry", "reference_objects", "reference_residual")
"""What all pictures are drawn from, beside a physical state, where they are drawn from the last real one: that frame as
bright as the empty scene, how many times as bright it was, and the state that it shows."""

Tensors = Mapping[str, Tensor]


class Part(nn.Module, ABC):
    """A function of named tensors, whose first axis counts rows."""

    batched: ClassVar[bool] = True
    """Whether it takes any number of rows; else one."""

    def __init__(self, model: WorldModel, examples: Tensors) -> None:
        """Take a model, and a tensor of every input. Those without a number, such as the objects of a world that has
        none, are no inputs."""
        super().__init__()
        self.model = model
        self.examples = {name: value for name, value in examples.items() if value.numel()}
        self.inputs = tuple(self.examples)
        self._empty = {name: value for name, value in examples.items() if not value.numel()}
        with torch.no_grad():
            self.outputs = tuple(self.told(tuple(self.examples.values())))

    @abstractmethod
    def compute(self, given: Tensors) -> dict[str, Tensor]:
        """Outputs by name, of inputs by name."""

    def told(self, values: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Outputs that hold numbers, of inputs in their order."""
        rows = values[0].shape[0]
        given = dict(zip(self.inputs, values, strict=True))
        given |= {name: value.new_zeros(rows, *value.shape[1:]) for name, value in self._empty.items()}
        return {name: value for name, value in self.compute(given).items() if value.numel()}

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.told(values).values())


class Encoder(Part):
    """`CONTEXT` real frames to a state: `frames` (1, C, H, V*W, 3) uint8, `telemetry` (1, C, P), `actions`
    (1, C-1, A) between them, and `properties` (1, Q), NaN where unknown."""

    batched: ClassVar[bool] = False

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        names = "frames", "telemetry", "actions", "properties"
        return prefixed(STATE, state_tensors(self.model, self.model.encode(*(given[name] for name in names))))


class Step(Part):
    """One step without its picture: a physical state, `action` (B, A), `properties` (B, Q) and `noise`
    (B, 1 + K, noise), standard normal or 0 for the most likely future, to the next physical state with `reward` and
    `success` of every task (B, tasks)."""

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        model, now = self.model, stripped(STATE, given)
        present = segment(now, given["action"], given["properties"])
        noise = given["noise"][:, None] if model.config.dynamics.noise else None
        age = torch.zeros_like(now["uncertainty"])  # of which object dynamics know nothing
        predicted, memory = model.dynamics.step(present, now["memory"], age, draw=False, noise=noise)
        added = risk(predicted, now["objects"], from_pixels=False)
        then = {
            **{name: getattr(predicted, name)[:, 0] for name in ("telemetry", "objects", "residual")},
            **{f"previous_{name}": now[name] for name in ("telemetry", "objects", "residual")},
            "uncertainty": together(now["uncertainty"], model.calibration[1] * added),
            "memory": memory,
        }
        out = prefixed(NEXT, {name: then[name] for name in PHYSICAL})
        if model.task_head is None:
            return out
        judged = model.task_head(segment(then, given["action"], given["properties"]), model.dynamics)
        return out | {name: x[:, 0].sigmoid() for name, x in zip(("reward", "success"), judged, strict=True)}


class LatentPicture(Part):
    """The picture of the physical state that a step led to, drawn as latents with the picture before in view: these
    latents and `frame` (B, H, V*W, 3) uint8."""

    shows: ClassVar[tuple[str, ...]] = ("telemetry", "previous_telemetry", "objects", "previous_objects", *LATENTS)

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        state, dynamics, tokenizer = stripped(STATE, given), self.model.dynamics, self.model.tokenizer
        none = state["telemetry"][:, :0]
        before = {"telemetry": state["previous_telemetry"], "objects": state["previous_objects"]}
        past = segment(before | {name: state[name] for name in LATENTS}, none, none)
        now = PhysicalState(state["telemetry"][:, None], state["objects"][:, None])
        codes = choose(dynamics.next_picture(now, past)[:, 0], None)
        latents = {"codes": codes, "previous_codes": state["codes"]}
        return prefixed(NEXT, latents) | {"frame": to_frames(tokenizer.decode_grid(tokenizer.unpack(codes)))}


class ReferencePicture(Part):
    """The picture of a physical state, drawn from the last real one: `frame` (1, H, V*W, 3) uint8."""

    batched: ClassVar[bool] = False
    shows: ClassVar[tuple[str, ...]] = ("telemetry", "objects", "residual", *REFERENCE)

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        state = stripped(STATE, given)
        shown = PhysicalState(state["reference_telemetry"], state["reference_objects"]), state["reference_residual"]
        wanted = PhysicalState(state["telemetry"], state["objects"]), state["residual"]
        return {"frame": relit(self.model.drawn_in_usual_light(state["reference"], shown, wanted), state["light"])}


class Points(Part):
    """Where the robot that reports `telemetry` (B, P) is in the picture of the main camera: `points` (B, N, 2), column
    and row [px]."""

    def compute(self, given: Tensors) -> dict[str, Tensor]:
        return {"points": self.model.dynamics.points(given["telemetry"])[:, 0]}


def parts_of(model: WorldModel) -> tuple[Encoder, Step, LatentPicture | ReferencePicture]:
    """The parts of a model, which decode in full precision.

    Raises:
        ConfigError: It is of a kind that has no such parts.
    """
    if model.config.dynamics.from_pixels:
        raise ConfigError(
            f"{model.config.name} predicts from past pictures (--path video), and only worlds that go on from robot "
            "and things have a state that is small enough to hand over at every step: train it with --path objects"
        )
    exact = WorldModel(model.config)
    exact.load_state_dict(model.state_dict())
    exact.eval()
    c, t = model.config.dynamics, model.config.tokenizer
    context = {
        "frames": torch.zeros(1, CONTEXT, *t.frame, dtype=torch.uint8),
        "telemetry": torch.zeros(1, CONTEXT, c.telemetry),
        "actions": torch.zeros(1, CONTEXT - 1, c.actions),
        "properties": torch.zeros(1, c.properties),
    }
    state = state_tensors(exact, exact.encode(*context.values()))
    state = {name: value.repeat(2, *[1] * (value.ndim - 1)) for name, value in prefixed(STATE, state).items()}
    told = {"action": (c.actions,), "properties": (c.properties,), "noise": (1 + c.objects if c.noise else 0, c.noise)}
    physical = {STATE + name: state[STATE + name] for name in PHYSICAL}
    step = Step(exact, physical | {name: torch.zeros(2, *shape) for name, shape in told.items()})
    kind = LatentPicture if exact.renderer is None else ReferencePicture
    shown = {STATE + name: state[STATE + name][: None if kind.batched else 1] for name in kind.shows}
    return Encoder(exact, context), step, kind(exact, shown)


def state_tensors(model: WorldModel, state: WorldState) -> dict[str, Tensor]:
    """The tensors of a state by name, which the parts of the model take."""
    if model.renderer is None:
        return {name: getattr(state, name) for name in PHYSICAL + LATENTS}
    usual, light = model.in_usual_light(state.reference)
    told = {"reference": usual, "light": light}
    return {name: told.get(name, getattr(state, name, state.telemetry)) for name in PHYSICAL + REFERENCE}


def segment(state: Tensors, actions: Tensor, properties: Tensor) -> Segment:
    """The present frame as a segment of length 1, of what is known of it."""
    none = state["telemetry"][:, None, :0]
    known = {name: state[name][:, None] if name in state else none for name in PER_FRAME}
    return Segment(**known, actions=actions[:, None], properties=properties, novelty=none, reference=none)


def prefixed(prefix: str, values: Tensors) -> dict[str, Tensor]:
    """Tensors with longer names."""
    return {prefix + name: value for name, value in values.items()}


def stripped(prefix: str, values: Tensors) -> dict[str, Tensor]:
    """Those tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def points_of(step: Step) -> Points | None:
    """What tells points of the robot in the picture, of a model that was taken apart; None where nothing does."""
    dynamics = step.model.config.dynamics
    known = dynamics.object_frame == "image" and dynamics.points
    return Points(step.model, {"telemetry": step.examples[STATE + "telemetry"]}) if known else None
