"""What to reach: positions, a picture, or a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gwm_sim.envs.learned.goals import goal_pictures
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel


@dataclass(frozen=True)
class Goal:
    """What a rollout is compared with; None where nothing is asked for.

    Tensors have one row per world, or a single one that all worlds share.
    """

    telemetry: Tensor | None = None  # (B, P), NaN where it does not matter
    objects: Tensor | None = None  # (B, K, 3) [m], NaN where it does not matter
    codes: Tensor | None = None  # (B, N, M) uint8, latents of a picture
    task: str | None = None

    @classmethod
    def positions(
        cls, model: WorldModel, effector: ArrayLike | None = None, objects: Mapping[str, ArrayLike] | None = None
    ) -> Goal:
        """Ask for positions [m], each (3,) for all worlds or (B, 3), NaN for free coordinates.

        Args:
            model: The model to plan in.
            effector: Where the end-effector should be measured.
            objects: Where objects should be, by name.

        Raises:
            ConfigError: The model does not know where its end-effector or its objects are.
        """
        dynamics, names = model.config.dynamics, model.config.schema.object_names[: model.config.dynamics.objects]
        telemetry = places = None
        if effector is not None:
            if not dynamics.effector:
                raise ConfigError(f"{model.config.name} does not know which telemetry is its end-effector's position")
            position = _rows(effector, "effector")
            telemetry = torch.full((len(position), dynamics.telemetry), torch.nan)
            telemetry[:, list(dynamics.effector)] = position
            telemetry = telemetry.to(model.device)
        if objects:
            if unknown := sorted(objects.keys() - set(names)):
                raise ConfigError(f"{model.config.name} tracks {', '.join(names) or 'no objects'}, not {unknown}")
            wanted = {name: _rows(place, name) for name, place in objects.items()}
            places = torch.full((max(map(len, wanted.values())), len(names), 3), torch.nan)
            for name, place in wanted.items():
                places[:, names.index(name)] = place
            places = places.to(model.device)
        return cls(telemetry, places)

    @classmethod
    def image(cls, model: WorldModel, frames: NDArray[np.uint8], telemetry: NDArray[np.float32] | None = None) -> Goal:
        """Ask for what a picture shows.

        Args:
            model: The model to plan in.
            frames: What its main camera should see, (H, W, 3) for all worlds or (B, H, W, 3), uint8, or the views of
                all cameras side by side.
            telemetry: What the robot reports there, (P,) or (B, P). With it the objects are located as well; a picture
                alone is compared as a whole, in which a cube counts as little as it is large.

        Raises:
            ValueError: The picture or the telemetry is not of the model's kind.
        """
        pictures = goal_pictures(model, frames)
        codes = model.tokenize(pictures)
        if telemetry is None:
            return cls(codes=codes)
        reported = torch.from_numpy(np.atleast_2d(np.array(telemetry, np.float32)))
        no_actions = torch.zeros(len(pictures), 0, model.config.dynamics.actions)
        read = model.read(pictures[:, None], reported[:, None], no_actions)
        objects = read.objects[:, 0] if model.config.dynamics.objects else None
        return cls(read.telemetry[:, 0], objects, codes)

    @classmethod
    def solve(cls, model: WorldModel, task: str) -> Goal:
        """Ask for a task that the model has learned to judge.

        Raises:
            ConfigError: It has not learned that task.
        """
        if task not in model.tasks:
            known = ", ".join(model.tasks) or "no task"
            raise ConfigError(f"{model.config.name} was trained to judge {known}, not {task!r}")
        return cls(task=task)

    @property
    def rows(self) -> int:
        """Number of worlds that the goal is for; 1 also means all."""
        return max((len(value) for value in self._tensors().values() if value is not None), default=1)

    def select(self, rows: Tensor | Sequence[int]) -> Goal:
        """The goals of some worlds, (R,) indices."""
        index = torch.as_tensor(rows)

        def take(value: Tensor | None) -> Tensor | None:
            if value is None:
                return None
            return value[index.to(value.device)] if len(value) > 1 else value.expand(len(index), *value.shape[1:])

        return Goal(**{name: take(value) for name, value in self._tensors().items()}, task=self.task)

    @classmethod
    def join(cls, goals: Sequence[Goal]) -> Goal:
        """Put the rows of several goals into one.

        Raises:
            ValueError: They ask for different kinds of things.
        """
        kinds = {(goal.task, *(name for name, value in goal._tensors().items() if value is not None)) for goal in goals}
        if len(kinds) != 1:
            raise ValueError(f"goals of one batch must ask for the same things, got {sorted(map(str, kinds))}")
        first = goals[0]._tensors()
        parts = {name: [goal._tensors()[name] for goal in goals] for name, value in first.items() if value is not None}
        return cls(**{name: torch.cat(values) for name, values in parts.items()}, task=goals[0].task)  # type: ignore[arg-type]

    def _tensors(self) -> dict[str, Tensor | None]:
        return {"telemetry": self.telemetry, "objects": self.objects, "codes": self.codes}


def _rows(position: ArrayLike, name: str) -> Tensor:
    """A position (3,) or positions (B, 3) as (B, 3)."""
    values = np.atleast_2d(np.array(position, np.float32))
    if values.ndim != 2 or values.shape[1] != 3:
        raise ValueError(f"the goal for {name} must be a position (3,) or (B, 3), got shape {np.shape(position)}")
    return torch.from_numpy(values)
