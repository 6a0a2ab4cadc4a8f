"""What to reach: positions, a picture, or a task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gwm_sim.envs.learned.goals import goal_pictures, read_things
from gwm_sim.envs.learned.tasks import is_function, load_function
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel


@dataclass(frozen=True)
class Goal:
    """What a rollout is compared with; None where nothing is asked for.

    Tensors have one row per world, or a single one that all worlds share.
    """

    telemetry: Tensor | None = None  # (B, P), NaN where it does not matter
    objects: Tensor | None = None  # (B, K, 3) [m], or in the image frame, NaN where it does not matter
    codes: Tensor | None = None  # (B, N, M) uint8, latents of a picture
    task: str | None = None
    turns: Tensor | None = None  # (B, K, 2), cosine and sine of how things are turned, 0 where it does not matter

    @classmethod
    def positions(
        cls, model: WorldModel, effector: ArrayLike | None = None, objects: Mapping[str, ArrayLike] | None = None
    ) -> "Goal":
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
    def image(
        cls, model: WorldModel, frames: NDArray[np.uint8], telemetry: NDArray[np.float32] | None = None
    ) -> "Goal":
        """Ask for what a picture shows.

        Args:
            model: The model to plan in.
            frames: What its main camera should see, (H, W, 3) for all worlds or (B, H, W, 3), uint8, or the views of
                all cameras side by side.
            telemetry: What the robot reports there, (P,) or (B, P); by default what the model reads from the picture
                (`WorldModel.guess_telemetry`). With it the objects are located as well. Where it is not known, pictures
                are compared as a whole, in which a cube counts as little as it is large.

        Raises:
            ValueError: The picture or the telemetry is not of the model's kind.
        """
        pictures = goal_pictures(model, frames)
        given = None if telemetry is None else torch.from_numpy(np.atleast_2d(np.array(telemetry, np.float32)))
        reported = model.guess_telemetry(pictures) if given is None else given
        objects, turns = read_things(model, pictures, reported)
        seen = objects.isfinite().any()
        return cls(
            telemetry=None if reported is None else reported.to(model.device),
            objects=objects if seen else None,
            turns=turns if seen and model.config.dynamics.turns else None,
            codes=model.tokenize(pictures),
        )

    @classmethod
    def solve(cls, model: WorldModel, task: str) -> "Goal":
        """Ask for a task that the model has learned to judge, or for what a function says, FILE.py:NAME.

        Raises:
            ConfigError: It has not learned that task, or there is no such function.
        """
        if is_function(task):
            load_function(task)
        elif task not in model.tasks:
            known = ", ".join(model.tasks) or "no task"
            raise ConfigError(f"{model.config.name} was trained to judge {known}, not {task!r}")
        return cls(task=task)

    @property
    def rows(self) -> int:
        """Number of worlds that the goal is for; 1 also means all."""
        return max(map(len, self._tensors().values()), default=1)

    def select(self, rows: Tensor | Sequence[int]) -> "Goal":
        """The goals of some worlds, (R,) indices."""
        index = torch.as_tensor(rows)
        chosen: dict[str, Any] = {
            name: value[index.to(value.device)] if len(value) > 1 else value.expand(len(index), *value.shape[1:])
            for name, value in self._tensors().items()
        }
        return replace(self, **chosen)

    @classmethod
    def join(cls, goals: Sequence["Goal"]) -> "Goal":
        """Put the rows of several goals into one.

        Raises:
            ValueError: They ask for different kinds of things.
        """
        kinds = {(goal.task, *goal._tensors()) for goal in goals}
        if len(kinds) != 1:
            raise ValueError(f"goals of one batch must ask for the same things, got {sorted(map(str, kinds))}")
        rows = [goal._tensors() for goal in goals]
        joined: dict[str, Any] = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        return replace(goals[0], **joined)

    def _tensors(self) -> dict[str, Tensor]:
        """What is asked for, by name."""
        values = {"telemetry": self.telemetry, "objects": self.objects, "turns": self.turns, "codes": self.codes}
        return {name: value for name, value in values.items() if value is not None}


def _rows(position: ArrayLike, name: str) -> Tensor:
    """A position (3,) or positions (B, 3) as (B, 3)."""
    values = np.atleast_2d(np.array(position, np.float32))
    if values.ndim != 2 or values.shape[1] != 3:
        raise ValueError(f"the goal for {name} must be a position (3,) or (B, 3), got shape {np.shape(position)}")
    return torch.from_numpy(values)
