"""Act on problems by planning: how many are solved, how long plans take, and a film of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from gwm_sim.data.views import main_view
from gwm_sim.envs.blocks.spec import image_key
from gwm_sim.media.video import contact_sheet
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.evaluation import Evaluation, evaluate
from gwm_sim.policies.planning.goal_pictures import Picture
from gwm_sim.policies.planning.mpc import MpcPolicy
from gwm_sim.policies.planning.plan_step import MpcConfig
from gwm_sim.policies.planning.prior.guide import Guide
from gwm_sim.policies.planning.problems import Problem
from gwm_sim.policies.policy import Observation, State
from gwm_sim.progress import progress

FILMED: Final = 5  # runs in a film


def solve(
    problems: Sequence[Problem],
    model: WorldModel,
    config: MpcConfig,
    guide: Guide | None,
    env: gym.Env[Any, Any],
    film: list[Picture] | None = None,
) -> tuple[Evaluation, list[float]]:
    """Run all problems, each until its success is sustained; the first ones are filmed if there is a film.

    Returns:
        Their results, and the duration of every plan [s].
    """
    runs: list[Evaluation] = []
    seconds: list[float] = []
    with progress("plan") as show:
        for number, problem in enumerate(problems, start=1):
            policy = MpcPolicy(model, problem.goals, config=config, guide=guide)
            watched = Filmed(policy, problem.picture, film) if film is not None and number <= FILMED else policy
            runs.append(evaluate(watched, env, 1, problem.seed, problem.options, until_held=True))
            seconds += policy.plan_seconds
            show(number / len(problems), f"{sum(run.successes for run in runs)} of {number} solved")
    return Evaluation(tuple(episode for run in runs for episode in run.episodes)), seconds


class Filmed:
    """A planning policy that is filmed: now, imagined and goal, side by side."""

    def __init__(self, policy: MpcPolicy, goal: Picture, film: list[Picture]) -> None:
        """Film a policy that acts in a single environment, toward a goal picture, at the end of a film."""
        self._policy, self._goal, self._film = policy, goal, film
        self._imagined: list[Picture] = []

    def predict(
        self,
        observation: Observation,
        state: State | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], State | None]:
        """As the policy does."""
        plans = len(self._policy.plan_seconds)
        action, memory = self._policy.predict(observation, state, episode_start, deterministic)
        config = self._policy.model.config
        seen = observation[image_key(config.camera)]
        if len(self._policy.plan_seconds) > plans:
            imagined = self._policy.explain(memory).frames[0].cpu().numpy()
            self._imagined = [seen, *main_view(imagined, config.cameras)]
        expected = self._imagined.pop(0) if self._imagined else seen
        self._film.append(contact_sheet({"": [seen, expected, self._goal]}, ["now", "imagined", "goal"], scale=4))
        return action, memory


__all__ = ["Filmed", "solve"]
