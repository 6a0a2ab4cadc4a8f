"""Imagined worlds as records with a leading batch axis, whose rows can be copied, selected and replaced alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass
class WorldState:
    """Everything the model knows about B worlds at one instant."""

    codes: Tensor  # (B, N, M) uint8, latents of the present frame; where `drawn` is false, of an earlier one
    previous_codes: Tensor  # (B, N, M) uint8
    telemetry: Tensor  # (B, P)
    previous_telemetry: Tensor  # (B, P)
    objects: Tensor  # (B, K, 3) [m], tracked object positions
    previous_objects: Tensor  # (B, K, 3) [m]
    properties: Tensor  # (B, Q), NaN where unknown
    corruption: Tensor  # (B,), 0 for a real frame, IMAGINED for an imagined one
    uncertainty: Tensor  # (B,), expected error of what is imagined, see `WorldModel.uncertainty`
    drawn: Tensor  # (B,) bool
    age: Tensor  # (B,) frames before the present one
    future: Tensor  # (B,) int64, which future it goes into where that is open, -1 for the most likely one
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


@dataclass
class Rollout:
    """T imagined steps of B worlds; frames are decoded on demand by `WorldModel.decode`."""

    codes: Tensor  # (B, T, N, M) uint8, (B, T, 0, 0) if not drawn
    telemetry: Tensor  # (B, T, P)
    objects: Tensor  # (B, T, K, 3) [m]
    reward: Tensor  # (B, T, tasks) in [0, 1]
    success: Tensor  # (B, T, tasks) probability
    uncertainty: Tensor  # (B, T)
    final: WorldState
