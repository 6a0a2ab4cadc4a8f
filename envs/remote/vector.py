"""Worlds on a server as environments: many that step in one request, or one of them."""

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from gymnasium.spaces import Dict
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from gwm_sim.envs.remote.connection import Connection, Reply
from gwm_sim.envs.remote.description import action_space, check, metadata, observation_space
from gwm_sim.envs.remote.options import begins, picture
from gwm_sim.envs.remote.wire import array
from gwm_sim.envs.single_env import SingleEnv
from gwm_sim.envs.spaces import UNCERTAINTY, Observation, check_words, large
from gwm_sim.envs.spaces import picture as side_by_side
from gwm_sim.envs.vector_world import REWARDS, Frame, Options, Rows, VectorWorld
from gwm_sim.errors import RefusedRequest, RemoteError


class Present:
    """What a server said last of n rows."""

    def __init__(self, rows: int, space: Dict) -> None:
        """Begin with nothing said."""
        self.observation: Observation = {
            key: np.zeros((rows, *(box.shape or ())), box.dtype) for key, box in space.spaces.items()
        }
        self.rewards, self.uncertainty = np.zeros(rows), np.zeros(rows)
        self.success = np.zeros(rows, bool)

    def take(self, rows: Rows, reply: Reply) -> None:
        """Take in the last moments of rows."""
        for row, moments in zip(rows, reply.told["moments"], strict=True):
            moment = moments[-1]
            self.rewards[row], self.success[row] = moment["reward"], moment["success"]
            self.uncertainty[row] = moment["uncertainty"]
            self.observation["agent_pos"][row] = moment["agent_pos"]
            for key, told in moment["pictures"].items():
                self.observation[key][row] = array(told, reply.tail)


class RemoteVectorEnv(VectorWorld):
    """`RemoteEnv` in vector form: num_envs sessions of one server, which step in one request and one forward pass."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "autoreset_mode": AutoresetMode.SAME_STEP}
    closed = True  # until there is a connection

    def __init__(
        self,
        url: str,
        token: str | None = None,
        num_envs: int = 1,
        task: str | None = None,
        model: str | None = None,
        depth: bool = False,
        reward: str = "dense",
        render_mode: str | None = None,
        time_limit: int | Literal["checkpoint"] | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        goal: NDArray[np.uint8] | None = None,
        patience: float = 1.5,
        timeout: float = 60.0,
    ) -> None:
        """Ask the server what its model sees and does; sessions begin with the first reset.

        Args:
            url: Of the server, as `gwm serve` prints it, with or without the token.
            token: What the server asks for; None where the URL has it.
            num_envs: Number of rows.
            task: Task that reward and success are read for; None takes the one of the model's data.
            model: Name of a served model; None takes the server's first.
            depth: Observe depth too, of models that imagine it.
            reward: "dense" or "sparse".
            render_mode: None or "rgb_array".
            time_limit: Steps after which the environment itself truncates, "checkpoint" for the length of the model's
                training episodes; None leaves that to `max_episode_steps`.
            max_episode_steps: Time limit of an episode, before `time_limit`; `gymnasium.make_vec` fills it in.
            autoreset_mode: What happens to a finished row.
            goal: Goal image (H, W, 3) uint8 of every episode whose reset options give no other one.
            patience: Seconds in which a lost server has to be back.
            timeout: Seconds in which an answer has to come.

        Raises:
            ValueError: The model cannot do that.
            RemoteError: The server is not there, or refuses the token.
        """
        check_words(reward=(reward, REWARDS))
        self._connection = Connection(url, token, patience, timeout)
        self._sessions: list[str] = []
        self.closed = False
        told = self._described(model)
        check(told, task, depth)
        if "reward" in told["lacks"] and goal is None:
            warnings.warn(f"{told['model']} lacks {told['lacks']['reward']}", stacklevel=2)
        self.task = told["task"] if task is None else task
        self.goal = goal
        self._creation = {"model": told["model"], "task": task, "reward": reward, "depth": depth, "count": num_envs}
        if max_episode_steps is None:
            max_episode_steps = told["time_limit"] if time_limit == "checkpoint" else time_limit
        spaces = observation_space(told, depth), action_space(told)
        super().__init__(num_envs, *spaces, max_episode_steps, autoreset_mode, render_mode)
        self.metadata = {**self.metadata, **metadata(told)}
        self._sent: list[np.random.Generator | None] = [None] * num_envs  # generators whose seeds the server has
        self._present = Present(num_envs, spaces[0])
        self._steps = np.zeros(num_envs, int)

    def close_extras(self, **kwargs: Any) -> None:
        """End the sessions; a server that is gone has none."""
        try:
            for name in self._sessions:
                self._connection.delete(f"/sessions/{name}")
        except RemoteError:
            pass
        self._sessions = []
        self._connection.close()

    # --- what a world says --------------------------------------------------------------------------------------------

    def _reset_rows(self, rows: Rows, options: Options) -> None:
        told = {**begins(options), "seeds": [self._seed_of(row) for row in rows], "pictures": "raw"}
        if not self._sessions:
            usual = {} if self.goal is None else {"goal": picture(self.goal)}
            # The goal counts from the reset on: where worlds begin is not judged twice.
            made = self._ask(
                "/batch/create", told | self._creation | {"pictures": None, "goal": None, "forget_goal": True} | usual
            )
            self._sessions = [session["session"] for session in made.told["sessions"]]
        reply = self._ask("/batch/reset", told | {"sessions": [self._sessions[row] for row in rows]})
        for row in rows:
            self._sent[row] = self._rngs[row]
        self._steps[rows] = 0
        self._present.take(rows, reply)

    def _advance(self, actions: NDArray[Any], rows: Rows) -> None:
        if not len(rows):
            return
        told = {
            "sessions": [self._sessions[row] for row in rows],
            "actions": actions[rows, None].tolist(),
            "pictures": "raw",
        }
        reply = self._ask("/batch/step", told)
        self._steps[rows] += 1
        self._present.take(rows, reply)

    def _observe(self, rows: Rows) -> Observation:
        return {key: values[rows] for key, values in self._present.observation.items()}

    def _judge(self) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
        now = self._present
        info = {"is_success": now.success.copy(), "success": now.success.copy(), UNCERTAINTY: now.uncertainty.copy()}
        return now.rewards.copy(), info

    def _elapsed(self) -> NDArray[np.int_]:
        return self._steps

    def _draw(self) -> tuple[Frame, ...]:
        return tuple(map(large, side_by_side(self._present.observation, self.metadata["cameras"])))

    # --- what the server is asked -------------------------------------------------------------------------------------

    def _described(self, model: str | None) -> dict[str, Any]:
        """What the server tells of a model."""
        try:
            known = self._connection.get("/info")["models"]
            if model is not None and model not in known:
                raise ValueError(f"{self._connection.url} serves no model {model!r}, but {', '.join(known)}")
            return self._connection.get(f"/models/{model or known[0]}")
        finally:
            self._connection.close()  # until the first reset

    def _ask(self, path: str, told: Mapping[str, Any]) -> Reply:
        try:
            return self._connection.post(path, told)
        except RefusedRequest:
            raise
        except RemoteError as error:
            self._begun = False  # nobody knows whether it was done
            self._sent = [None] * self.num_envs
            if error.code != "unknown_session":
                raise
            self._sessions = []
            raise RemoteError(
                "the server ended this session, as it does with those that are idle for long: reset() begins anew",
                error.code,
            ) from error

    def _seed_of(self, row: int) -> int | None:
        """Seed of a row that was seeded anew; None where the server's own generator of the row goes on."""
        generator = self._rngs[row]
        if self._sent[row] is generator:
            return None
        return self._seeds[row] if self._seeds[row] >= 0 else int(generator.integers(2**63))


class RemoteEnv(SingleEnv):
    """A learned world on a server, which needs neither its model nor torch here.

    Observation, action, reward, termination and info are those of the learned environment of the same model, see
    `LearnedEnv`; alone on its server the two agree bit for bit where they compute with the same threads. Reset options:
    `bank`, `frames` with `telemetry` and perhaps `actions`, `properties`, `goal`. What of a lost connection was under
    way is asked again, and done once; a server that does not come back within `patience` seconds raises `RemoteError`.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}
    vector = RemoteVectorEnv
    rows: RemoteVectorEnv

    @property
    def goal(self) -> NDArray[np.uint8] | None:
        """Goal image of every episode that was given no other one, None for none."""
        return self.rows.goal
