"""What every native vector environment of this package shares: rows with their own seeds, time limit, autoreset modes.

A world only says how its rows reset, advance and look; see `VectorWorld`.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from gymnasium import error, spaces
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from gwm_sim.envs.spaces import Observation, check_action, check_words

REWARDS: Final = ("dense", "sparse")

Frame = NDArray[np.uint8]
Rows = NDArray[np.intp]
Options = Mapping[str, Any]
VectorStep = tuple[Observation, NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class VectorWorld(VectorEnv[Observation, NDArray[np.float32], NDArray[Any]]):
    """n worlds that advance together.

    Row i of a batch seeded s is the single environment seeded s + i. In SAME_STEP, the default, a finished row's last
    observation is in `info["final_obs"]` and its last info in `info["final_info"]`.
    """

    task: str | None
    """What reward and success are read for."""

    def __init__(
        self,
        num_envs: int,
        observation_space: spaces.Dict,
        action_space: spaces.Box,
        max_episode_steps: int | None,
        autoreset_mode: AutoresetMode | str,
        render_mode: str | None,
    ) -> None:
        """Make the rows.

        Args:
            num_envs: Number of rows n.
            observation_space: Space of one row.
            action_space: Space of one row.
            max_episode_steps: Time limit of an episode [steps]; None for no limit.
            autoreset_mode: What happens to a finished row.
            render_mode: None or "rgb_array".
        """
        check_words(render_mode=(render_mode, (None, "rgb_array")))
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        self.num_envs = num_envs
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self.autoreset_mode: AutoresetMode | None = AutoresetMode(autoreset_mode)  # None in `SingleEnv`
        self.render_mode = render_mode
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self._max_episode_steps = max_episode_steps
        self._everyone: Rows = np.arange(num_envs)
        self._rngs: list[np.random.Generator] = []
        self._seeds: list[int] = []
        self._finished = np.zeros(num_envs, bool)
        self._begun = False

    # --- what a world says --------------------------------------------------------------------------------------------

    @abstractmethod
    def _reset_rows(self, rows: Rows, options: Options) -> None:
        """Begin new episodes in `rows`; all random numbers come from `self._rngs[row]`."""

    @abstractmethod
    def _advance(self, actions: NDArray[Any], rows: Rows) -> None:
        """Advance `rows` by one step of `actions` (n, A); other rows may change too, since they are reset next."""

    @abstractmethod
    def _observe(self, rows: Rows) -> Observation:
        """Observations of `rows`, in fresh memory."""

    @abstractmethod
    def _judge(self) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
        """Rewards (n,), and the info of all rows as arrays (n,)."""

    def _told(self) -> dict[str, NDArray[Any]]:
        """What the info of a reset says beside that of every step, of all rows as arrays (n,)."""
        return {}

    @abstractmethod
    def _elapsed(self) -> NDArray[np.int_]:
        """Steps of each row since its reset, (n,)."""

    @abstractmethod
    def _draw(self) -> tuple[Frame, ...]:
        """A picture of each row that is large enough to look at."""

    # --- Gymnasium ----------------------------------------------------------------------------------------------------

    @property  # type: ignore[override]
    def np_random(self) -> tuple[np.random.Generator, ...]:
        """Generators of the rows."""
        self._seed_missing()
        return tuple(self._rngs)

    @np_random.setter  # type: ignore[override]
    def np_random(self, generators: Sequence[np.random.Generator]) -> None:
        self._rngs, self._seeds = list(generators), [-1] * self.num_envs  # Gymnasium's word for unknown

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """Seeds of the rows."""
        self._seed_missing()
        return tuple(self._seeds)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: Options | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Reset all rows, or those of the bool array `options["reset_mask"]` (num_envs,)."""
        options = dict(options or {})
        rows = np.flatnonzero(self._check_mask(options.pop("reset_mask", None)))
        if not self._begun and len(rows) < self.num_envs:
            raise ValueError("The first reset must be of all rows: leave out reset_mask")
        self._seed(rows, seed)
        self._reset_rows(rows, options)
        self._finished[rows] = False
        self._begun = True
        return self._observe(self._everyone), self._infos(self._judge()[1] | self._told(), rows)

    def step(self, actions: NDArray[np.float32]) -> VectorStep:
        """Advance every row by one control step, except rows that NEXT_STEP resets in this step."""
        if not self._begun:
            raise error.ResetNeeded("Cannot step rows that were never reset: call reset() first")
        checked = check_action(actions, self.action_space)
        if self.autoreset_mode is AutoresetMode.DISABLED and self._finished.any():
            rows = np.flatnonzero(self._finished).tolist()
            raise error.ResetNeeded(
                f'Rows {rows} are finished: reset them with options={{"reset_mask": ...}} before stepping'
            )
        resetting = self._finished & (self.autoreset_mode is AutoresetMode.NEXT_STEP)
        self._advance(checked, np.flatnonzero(~resetting))
        infos: dict[str, Any] = {}
        if resetting.any():
            self._reset_rows(np.flatnonzero(resetting), {})
            infos |= self._infos(self._told(), np.flatnonzero(resetting))
        rewards, info = self._judge()
        rewards = np.where(resetting, 0.0, rewards)
        truncated = self._out_of_time() & ~resetting
        observation = self._observe(self._everyone)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and truncated.any():
            finished = np.flatnonzero(truncated)
            self._keep_final(infos, finished, observation, info)
            self._reset_rows(finished, {})
            for key, value in self._observe(finished).items():
                observation[key][finished] = value
            info = self._judge()[1]
            infos |= self._infos(self._told(), finished)
        self._finished = truncated & (self.autoreset_mode is not AutoresetMode.SAME_STEP)
        return observation, rewards, np.zeros(self.num_envs, bool), truncated, infos | self._infos(info, self._everyone)

    def render(self) -> tuple[Frame, ...]:
        """The present picture of each row, large enough to look at."""
        if self.render_mode is None:
            raise ValueError('Nothing to render: make the environment with render_mode="rgb_array"')
        if not self._begun:
            raise error.ResetNeeded("Cannot render rows that were never reset: call reset() first")
        return self._draw()

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Attribute, or result of the method, `name` for each row; what the rows share is repeated."""
        value = getattr(self, name)
        return self._share(value(*args, **kwargs) if callable(value) else value)

    def _share(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, tuple | np.ndarray) and len(value) == self.num_envs:
            return tuple(value)
        return (value,) * self.num_envs

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Attribute `name` for each row; one that can be called, such as a model, is not."""
        return self._share(getattr(self, name))

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute that all rows share, given once or as equal values per row."""
        if isinstance(values, list | tuple):
            if len(values) != self.num_envs or any(value != values[0] for value in values):
                raise ValueError(
                    f"The rows share {name!r}: give one value, or {self.num_envs} equal ones, got {values}"
                )
            values = values[0]
        setattr(self, name, values)

    # --- bookkeeping --------------------------------------------------------------------------------------------------

    def _check_mask(self, mask: Any) -> NDArray[np.bool_]:
        if mask is None:
            return np.ones(self.num_envs, bool)
        valid = isinstance(mask, np.ndarray) and mask.dtype == bool and mask.shape == (self.num_envs,) and mask.any()
        if not valid:
            raise ValueError(f"reset_mask must be a bool array ({self.num_envs},) with at least one True, got {mask!r}")
        return np.asarray(mask, bool)

    def _seed_missing(self) -> None:
        if not self._rngs:
            generators = [np_random(None) for _ in range(self.num_envs)]
            self._rngs = [rng for rng, _ in generators]
            self._seeds = [seed for _, seed in generators]

    def _seed(self, rows: Rows, seed: int | Sequence[int | None] | None) -> None:
        if isinstance(seed, int | np.integer):
            seed = [int(seed) + i for i in range(self.num_envs)]
        if seed is not None and len(seed) != self.num_envs:
            raise ValueError(f"seed must be one number or {self.num_envs} of them, got {len(seed)}")
        self._seed_missing()
        for row in rows:
            if seed is not None and seed[row] is not None:
                self._rngs[row], self._seeds[row] = np_random(seed[row])

    def _resume(self) -> Observation:
        """Go on from a state that was set, which may come before any reset."""
        self._seed_missing()
        self._begun = True
        self._finished = self._out_of_time()
        return self._observe(self._everyone)

    def _out_of_time(self) -> NDArray[np.bool_]:
        if self._max_episode_steps is None:
            return np.zeros(self.num_envs, bool)
        return np.asarray(self._elapsed() >= self._max_episode_steps)

    def _keep_final(
        self, infos: dict[str, Any], rows: Rows, observation: Observation, info: dict[str, NDArray[Any]]
    ) -> None:
        for row in rows:
            final_obs = {key: value[row].copy() for key, value in observation.items()}
            final_info = {key: value[row].item() for key, value in info.items()}
            self._add_info(infos, {"final_obs": final_obs, "final_info": final_info}, int(row))

    def _infos(self, info: dict[str, NDArray[Any]], rows: Rows) -> dict[str, Any]:
        """Gymnasium's form: arrays, and beside each a mask of the rows that it holds for."""
        mask = np.zeros(self.num_envs, bool)
        mask[rows] = True
        return info | {f"_{key}": mask.copy() for key in info}
