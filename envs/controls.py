"""Hands on the actions of any world: which keys raise and lower each, and what held keys and sticks ask for.

An action that is a change or a rate is what the held keys say, nothing where none is held. A target goes on from the
one before, a little with every step, and stays where it is put. What opens and closes is switched by the space bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym
import numpy as np
import pygame
from gymnasium.spaces import Box
from numpy.typing import NDArray

from gwm_sim.data.schema import Schema
from gwm_sim.data.targets import switched
from gwm_sim.envs.learned.domain import Keys, find_domain
from gwm_sim.errors import ConfigError

PAIRS: Final[Sequence[Keys]] = [((up,), (down,)) for up, down in zip("qwertyuio", "asdfghjkl", strict=True)]
"""Keys that raise and lower the axes of a world that does not say otherwise, so many at a time."""

STEP: Final = 0.01  # of a target's range, by which a held key moves it in one step
DEAD: Final = 0.15  # of a stick, around its middle
STICKS: Final = (0, 1, 3, 4)
"""Axes of a gamepad that are sticks, in the order of the axes of the world that they drive."""


@dataclass(frozen=True)
class Axis:
    """One action and the keys that move it."""

    name: str
    index: int  # of the action
    low: float
    high: float
    raises: tuple[int, ...]  # keys
    lowers: tuple[int, ...]
    keys: str  # in words
    target: bool = False


class Controls:
    """What a player's hands ask for, as actions of one environment."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        """Lay the axes of an environment on keys and sticks.

        Raises:
            ConfigError: Its actions are no box, or have no bounds.
        """
        space = env.action_space
        name = env.spec.id if env.spec else type(env.unwrapped).__name__
        if not (isinstance(space, Box) and len(space.shape) == 1 and space.is_bounded()):
            raise ConfigError(f"--env {name} has actions {space}; keys drive bounded numbers in a row, Box(n,)")
        model = getattr(env.unwrapped, "world_model", None)
        self.schema: Schema | None = None if model is None else model.config.control
        names = env.metadata.get("action_names") or [f"action {i}" for i in range(space.shape[0])]
        targets = {command.action for command in self.schema.targets} if self.schema else set()
        self.space, self.group, self.names = space, 0, names
        self.switched = [i for i, action in enumerate(names) if switched(action)]
        own = find_domain(name if self.schema is None else self.schema.env_id).keys
        axes, free = [], 0
        for i, action in enumerate(names):
            if i in self.switched:
                continue
            pair = own.get(action, PAIRS[free % len(PAIRS)])
            free += action not in own
            raises, lowers = (tuple(getattr(pygame, f"K_{key}") for key in keys) for keys in pair)
            told = " ".join("/".join(key.lower() for key in keys) for keys in pair)
            axes.append(Axis(action, i, float(space.low[i]), float(space.high[i]), raises, lowers, told, i in targets))
        self.groups = [axes[i : i + len(PAIRS)] for i in range(0, len(axes), len(PAIRS))] or [[]]
        self.begin(None)

    @property
    def axes(self) -> list[Axis]:
        """Those that keys and sticks move now."""
        return self.groups[self.group]

    def begin(self, observation: Any) -> None:
        """Begin an episode with what is observed: nothing is asked for, and targets are where the robot is."""
        self.held = np.zeros(self.space.shape, np.float32).clip(self.space.low, self.space.high)
        if self.schema is not None and observation is not None:
            self.held = self.schema.hold(np.asarray(observation["agent_pos"], np.float32))
            self.held = self.held.clip(self.space.low, self.space.high)

    def next_group(self) -> None:
        """Move other axes, where there are more than keys."""
        self.group = (self.group + 1) % len(self.groups)

    def switch(self) -> None:
        """Open or close what is switched."""
        for i in self.switched:
            high = self.space.high[i]
            self.held[i] = self.space.low[i] if self.held[i] == high else high

    def action(self, keys: set[int], sticks: Sequence[float] = ()) -> NDArray[np.float32]:
        """The action (A,) of held keys and of a gamepad's axes, in [-1, 1]."""
        asked = self.held.copy()
        for number, axis in enumerate(self.axes):
            wanted = float(bool(keys.intersection(axis.raises))) - float(bool(keys.intersection(axis.lowers)))
            if number < len(STICKS) and STICKS[number] < len(sticks):
                stick = sticks[STICKS[number]]
                wanted += stick if abs(stick) > DEAD else 0.0
            wanted = min(1.0, max(-1.0, wanted))
            if axis.target:
                asked[axis.index] += wanted * STEP * (axis.high - axis.low)
                self.held[axis.index] = asked[axis.index] = min(axis.high, max(axis.low, asked[axis.index]))
            elif wanted:
                asked[axis.index] = wanted * axis.high if wanted > 0 else -wanted * axis.low
        return asked

    def lines(self, action: NDArray[np.float32]) -> list[str]:
        """What the keys are for, and what is asked for now."""
        lines = [f"{axis.keys:12} {axis.name} {action[axis.index]:+.2f}" for axis in self.axes]
        lines += [f"{'space':12} {self.names[i]} {action[i]:+.2f}" for i in self.switched]
        if len(self.groups) > 1:
            lines.append(f"{'tab':12} other actions, {self.group + 1} of {len(self.groups)}")
        return lines
