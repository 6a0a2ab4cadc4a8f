"""A learned world that begins at given starts, one after the other, such as those of trials on a real robot."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.learned.starts import split_place
from gwm_sim.envs.spaces import Observation
from gwm_sim.envs.tabletop.paired import PairedWorlds, World
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import BANK_FILE
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.policies.outcomes import Start
from gwm_sim.policies.own_world import OwnWorld


class ListedWorlds:
    """The learned world alone, in the place of `PairedWorlds`; its `reset(seed=k)` begins row i at start k + i.

    Without starts it begins where it always does.
    """

    names: ClassVar[tuple[World, ...]] = ("learned",)

    def __init__(self, worlds: PairedWorlds | OwnWorld, starts: Sequence[Start]) -> None:
        """Take the learned one of some worlds.

        Raises:
            ConfigError: It cannot begin at one of the starts.
        """
        self.rows, self.world_model, self.starts = worlds.rows, worlds.world_model, tuple(starts)
        self._worlds = worlds
        if isinstance(worlds, OwnWorld):
            check_starts(worlds.world_model, starts)
        elif places := [start for start in starts if isinstance(start, str)]:
            raise ConfigError(
                f"episode {places[0]}: the block world begins where its twin does, at numbers in a column start; for "
                "a world of your own add --env GWM-World-v0"
            )

    def make(self, world: World, sees: bool = True) -> VectorEnv[Any, Any, Any]:
        """The world; nothing is drawn where nobody looks."""
        env = self._worlds.make(world, sees)
        if not self.starts:
            return env
        return (_OwnStarts if isinstance(self._worlds, OwnWorld) else _SeededStarts)(env, self.starts)


class _SeededStarts(VectorWrapper):
    """Rows of the block world that begin where its twin does with the seeds of a list."""

    def __init__(self, env: VectorEnv[Any, Any, Any], starts: Sequence[Start]) -> None:
        super().__init__(env)
        self._starts = starts

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        return self.env.reset(seed=self._from(seed))  # type: ignore[arg-type]  # as vector environments take it

    def _from(self, first: Any) -> list[Any]:
        """Starts of all rows; those behind the end of the list run along from its last one."""
        return [self._starts[min(first + row, len(self._starts) - 1)] for row in range(self.num_envs)]


class _OwnStarts(_SeededStarts):
    """Rows of a world of one's own that begin at start states of the model, or in recorded episodes."""

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        places = [{"bank" if isinstance(start, int) else "episode": start} for start in self._from(seed)]
        # The first reset must be of all rows, and every row is reset as often, so that all draw alike.
        observation, info = self.env.reset(seed=seed, options=places[0])  # type: ignore[arg-type]  # as above
        for row, place in enumerate(places):
            mask = np.arange(self.num_envs) == row
            observation, info = self.env.reset(options={"reset_mask": mask, **place})
        return observation, info


def check_starts(model: WorldModel, starts: Sequence[Start]) -> None:
    """Refuse what a model cannot begin at.

    Raises:
        ConfigError: It has no such start state, or an episode is not there or of another robot.
    """
    numbers = [start for start in starts if isinstance(start, int)]
    if numbers:
        bank = None if model.folder is None else model.folder / BANK_FILE
        count = 0
        if bank is not None and bank.is_file():
            with EpisodeFile(bank) as file:
                count = len(file)
        if max(numbers) >= count:
            raise ConfigError(
                f"start {max(numbers)} is none of {model.config.name}, which has {count} start states, counted from "
                "0: name recorded episodes in a column episode instead"
            )
    by_file: dict[str, list[int]] = {}
    for place in (start for start in starts if isinstance(start, str)):
        path, number = split_place(place)
        by_file.setdefault(path, []).append(number)
    for path, episodes in by_file.items():
        with EpisodeFile(path) as file:
            check_fit(model, file.schema, path)
            if max(episodes) >= len(file):
                raise ConfigError(f"{path} has {len(file)} episodes, number {max(episodes)} is not among them")
