"""Records of the model: frames of real episodes, what is predicted of the next one, and worlds that go on alone.

All have a leading batch axis, whose rows can be copied, selected and replaced alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor


class PhysicalState(NamedTuple):
    """What is known of frames without their pictures: the robot and the tracked objects."""

    telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m], or in the image frame; NaN of what is absent


class Segment(NamedTuple):
    """What is known about T consecutive frames, and the action taken in each."""

    codes: Tensor  # (B, T, N, M) uint8
    previous_codes: Tensor  # (B, T, N, M) uint8
    telemetry: Tensor  # (B, T, P)
    previous_telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m], or in the image frame; NaN of what is absent
    previous_objects: Tensor  # (B, T, K, 3)
    residual: Tensor  # (B, T, R), what robot and things do not explain
    previous_residual: Tensor  # (B, T, R)
    actions: Tensor  # (B, T, A) in the units of the data
    properties: Tensor  # (B, Q), NaN where unknown
    corruption: Tensor  # (B, T) in [0, 1]
    novelty: Tensor  # (B, T), how badly the tokenizer shows a real frame, 1 for a familiar one; not predicted from
    reference: Tensor  # (B, H, V*W, 3) uint8, the last frame read, where others are drawn from it; else (B, 0, 0, 3)
    attributes: Tensor  # (B, T, K, F), what each object is like, NaN of what is absent; F is 0 where nobody says
    orientations: Tensor  # (B, T, K, 4), quaternions wxyz, NaN of what is absent; (B, T, K, 0) where they do not count
    previous_orientations: Tensor  # (B, T, K, 4)

    @classmethod
    def of(
        cls,
        codes: Tensor,
        telemetry: Tensor,
        objects: Tensor,
        actions: Tensor,
        properties: Tensor,
        novelty: Tensor | None = None,
        residual: Tensor | None = None,
        attributes: Tensor | None = None,
        orientations: Tensor | None = None,
    ) -> Segment:
        """Real frames: familiar ones if `novelty` is not given, without `residual` nothing is left to explain, and
        without `attributes` and `orientations` nothing is told of objects but where they are."""
        rest = telemetry[..., :0] if residual is None else residual
        turned = objects[..., :0] if orientations is None else orientations
        return cls(
            *(codes, previous(codes), telemetry, previous(telemetry), objects, previous(objects)),
            *(rest, previous(rest)),
            *(actions, properties, telemetry.new_zeros(telemetry.shape[:2])),
            novelty=telemetry.new_ones(telemetry.shape[:2]) if novelty is None else novelty,
            reference=codes.new_zeros(len(codes), 0, 0, 3),
            attributes=objects[..., :0] if attributes is None else attributes,
            orientations=turned,
            previous_orientations=previous(turned),
        )

    def changed(self, **values: Tensor) -> Segment:
        """The same frames with other values, which are then also what was one frame earlier."""
        earlier = {f"previous_{name}": previous(x) for name, x in values.items() if f"previous_{name}" in self._fields}
        return self._replace(**values, **earlier)

    def crop(self, time: slice | Tensor) -> Segment:
        """Some of the frames along time: a stretch, or the moments (M,)."""
        whole = "properties", "reference"
        return Segment(*(x if name in whole else x[:, time] for name, x in self._asdict().items()))

    def to(self, device: torch.device) -> Segment:
        """The same on another device."""
        return Segment(*(value.to(device, non_blocking=True) for value in self))


def previous(x: Tensor) -> Tensor:
    """The same sequence one frame earlier along axis 1; the first frame is its own predecessor."""
    return torch.cat((x[:, :1], x[:, :-1]), dim=1)


class NextFrame(NamedTuple):
    """What is predicted of the frames that follow."""

    logits: Tensor | None  # (B, T, N, M, L), None if not drawn
    telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m], or in the image frame; NaN of what is absent
    spread: Tensor  # (B, T, K) expected absolute error of the object positions per coordinate
    residual: Tensor  # (B, T, R)
    presence: Tensor | None = None  # (B, T, K) logits of objects being there, None where none is ever absent
    orientations: Tensor | None = None  # (B, T, K, 4) quaternions wxyz, None where they do not count


class Statistics(NamedTuple):
    """Scales of the data; those of changes are standard deviations from one frame to the next."""

    telemetry_mean: Tensor  # (P,)
    telemetry_std: Tensor  # (P,)
    telemetry_change: Tensor  # (P,)
    telemetry_low: Tensor  # (P,)
    telemetry_high: Tensor  # (P,)
    objects_low: Tensor  # (3,) [m], or in the image frame
    objects_high: Tensor  # (3,)
    objects_change: Tensor  # (1,)
    properties_low: Tensor  # (Q,)
    properties_high: Tensor  # (Q,)

    @classmethod
    def blank(cls, telemetry: int, properties: int) -> Statistics:
        """Unit scales, to be overwritten by those of a checkpoint."""
        one = {"telemetry": telemetry, "objects": 3, "properties": properties}
        sizes = {name: 1 if name == "objects_change" else one[name.split("_")[0]] for name in cls._fields}
        return cls(
            **{name: torch.zeros(n) if name.endswith(("mean", "low")) else torch.ones(n) for name, n in sizes.items()}
        )


PER_FRAME = (
    *("codes", "previous_codes", "telemetry", "previous_telemetry", "objects", "previous_objects"),
    *("residual", "previous_residual", "corruption", "attributes", "orientations", "previous_orientations"),
)
"""What a world has at one instant and a segment in every frame."""


@dataclass
class WorldState:
    """Everything the model knows about B worlds at one instant."""

    codes: Tensor  # (B, N, M) uint8, latents of the present frame; where `drawn` is false, of an earlier one
    previous_codes: Tensor  # (B, N, M) uint8
    telemetry: Tensor  # (B, P)
    previous_telemetry: Tensor  # (B, P)
    objects: Tensor  # (B, K, 3) [m], or in the image frame; NaN of what is absent
    previous_objects: Tensor  # (B, K, 3)
    residual: Tensor  # (B, R), what robot and things do not explain of the picture
    previous_residual: Tensor  # (B, R)
    reference: Tensor  # (B, H, V*W, 3) uint8, the last real frame, from which others are drawn; else (B, 0, 0, 3)
    reference_telemetry: Tensor  # (B, P), what was known of it
    reference_objects: Tensor  # (B, K, 3)
    reference_residual: Tensor  # (B, R)
    properties: Tensor  # (B, Q), NaN where unknown
    corruption: Tensor  # (B,), 0 for a real frame, IMAGINED for an imagined one
    uncertainty: Tensor  # (B,), expected error of what is imagined, see `WorldModel.uncertainty`
    drawn: Tensor  # (B,) bool
    age: Tensor  # (B,) frames before the present one
    future: Tensor  # (B,) int64, which future it goes into where that is open, -1 for the most likely one
    attributes: Tensor  # (B, K, F), what each object is like, NaN of what is absent; F is 0 where nobody says
    orientations: Tensor  # (B, K, 4), quaternions wxyz, NaN of what is absent; (B, K, 0) where they do not count
    previous_orientations: Tensor  # (B, K, 4)
    memory: Tensor  # (B, ...), what the dynamics remembers of them

    def __len__(self) -> int:
        """Return the number of rows B."""
        return self.codes.shape[0]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the fields by name."""
        return ((item.name, getattr(self, item.name)) for item in fields(self))

    def select(self, rows: Tensor | Sequence[int]) -> WorldState:
        """Return a copy of some rows, in the order given; a row may be taken many times."""
        index = torch.as_tensor(rows, device=self.codes.device)
        return WorldState(**{name: value[index] for name, value in self.tensors()})

    def assign(self, rows: Tensor | Sequence[int], other: WorldState) -> None:
        """Replace some rows by the rows of another state.

        States that follow each other share tensors, so new ones are made; only the memory, which may be large and is
        never shared, is written in place.
        """
        index = torch.as_tensor(rows, device=self.codes.device)
        for name, value in list(self.tensors()):
            own = value if name == "memory" else value.clone()
            own[index] = getattr(other, name)
            setattr(self, name, own)

    @classmethod
    def join(cls, states: Sequence[WorldState]) -> WorldState:
        """Put the rows of several states into one."""
        return cls(**{item.name: torch.cat([getattr(s, item.name) for s in states]) for item in fields(cls)})

    def clone(self) -> WorldState:
        """Return an independent copy."""
        return WorldState(**{name: value.clone() for name, value in self.tensors()})

    def present(self, actions: Tensor) -> Segment:
        """Return the present frame as a segment of length 1, with the actions (B, A) taken in it."""
        return Segment(
            **{name: getattr(self, name)[:, None] for name in PER_FRAME},
            actions=actions[:, None].to(self.codes.device, torch.float32),
            properties=self.properties,
            novelty=torch.ones_like(self.corruption)[:, None],
            reference=self.reference,
        )


@dataclass
class Rollout:
    """T imagined steps of B worlds; frames are decoded on demand by `WorldModel.decode`."""

    codes: Tensor  # (B, T, N, M) uint8, (B, T, 0, 0) if not drawn
    telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m], or in the image frame; NaN of what is absent
    reward: Tensor  # (B, T, tasks) in [0, 1]
    success: Tensor  # (B, T, tasks) probability
    uncertainty: Tensor  # (B, T)
    residual: Tensor  # (B, T, R)
    orientations: Tensor  # (B, T, K, 4), quaternions wxyz, NaN of what is absent; (B, T, K, 0) where they do not count
    final: WorldState

    def at(self, moments: Tensor) -> Rollout:
        """What there is to see at some moments (S,) alone."""
        seen = ("telemetry", "objects", "residual", "orientations", *(("codes",) if self.codes.numel() else ()))
        return replace(self, **{name: getattr(self, name)[:, moments] for name in seen})
