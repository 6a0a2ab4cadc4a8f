"""How often a policy solves its task, in any world that says so.

Success counts when it is *sustained*: true at five consecutive steps. Episode i starts from seed `seed + i`, so two
systems that are evaluated with the same seed meet the same starts.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gwm_sim.envs.spaces import SUCCESS_OF
from gwm_sim.evaluation.statistics import wilson_interval
from gwm_sim.policies.policy import Policy
from gwm_sim.policies.rollout import Env, rollout, rows_of
from gwm_sim.protocol import SustainedSuccess


@dataclass(frozen=True)
class EpisodeResult:
    """One evaluated episode."""

    seed: int
    success: bool
    """Whether success was sustained."""
    steps_to_success: int | None
    """Steps until success had been sustained, None without success."""
    length: int
    """Steps of the episode."""
    total_reward: float
    """Sum of the rewards."""
    stages: tuple[str, ...] = ()
    """Further tasks that were fulfilled at some step, of those that the infos told of."""


@dataclass(frozen=True)
class Evaluation:
    """Results of all episodes, in the order of their seeds."""

    episodes: tuple[EpisodeResult, ...]

    @property
    def successes(self) -> int:
        """Number of episodes with sustained success."""
        return sum(episode.success for episode in self.episodes)

    @property
    def success_rate(self) -> float:
        """Share of episodes with sustained success."""
        return self.successes / len(self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the success rate."""
        return wilson_interval(self.successes, len(self.episodes))

    @property
    def median_steps(self) -> float | None:
        """Median number of steps to sustained success among successful episodes, None without any."""
        steps = [episode.steps_to_success for episode in self.episodes if episode.steps_to_success is not None]
        return float(np.median(steps)) if steps else None

    def to_json(self) -> dict[str, Any]:
        """Numbers for a results file."""
        return {
            "n": len(self.episodes),
            "success_rate": self.success_rate,
            "interval": list(self.interval),
            "median_steps": self.median_steps,
            "episodes": [_told(episode) for episode in self.episodes],
        }


def _told(episode: EpisodeResult) -> dict[str, Any]:
    told = asdict(episode)
    return told if episode.stages else {name: value for name, value in told.items() if name != "stages"}


class _Tally:
    """Follows one episode."""

    def __init__(self, seed: int) -> None:
        self._seed, self._success = seed, SustainedSuccess()
        self._length, self._total_reward, self.over = 0, 0.0, False
        self._stages: set[str] = set()

    def add(self, reward: float, success: bool, stages: set[str], done: bool, until_sustained: bool) -> None:
        if not self.over:
            self._length += 1
            self._total_reward += reward
            self._success.add(success)
            self._stages |= stages
            self.over = done or (until_sustained and bool(self._success))

    def result(self) -> EpisodeResult:
        success = bool(self._success)
        stages = tuple(sorted(self._stages))
        return EpisodeResult(self._seed, success, self._success.reached_at, self._length, self._total_reward, stages)


def evaluate(
    policy: Policy,
    env: Env,
    episodes: int,
    seed: int,
    options: dict[str, Any] | None = None,
    deterministic: bool = True,
    until_sustained: bool = False,
) -> Evaluation:
    """Run `policy` for whole episodes from the seeds `seed` to `seed + episodes - 1`.

    Args:
        policy: Whatever has SB3's `predict`.
        env: A single environment with a time limit, or a vector environment. Its `info["success"]` is what counts.
        episodes: Number of episodes.
        seed: Seed of the first episode.
        options: Options of every reset.
        deterministic: Passed on to the policy.
        until_sustained: End an episode as soon as success was sustained, which decides it; its length and total reward
            are then those until there. The rows of a vector environment go on until all are decided.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    results: list[EpisodeResult] = []
    while len(results) < episodes:
        observation, _ = env.reset(seed=seed + len(results), options=options)
        rows = min(rows_of(env), episodes - len(results))
        tallies = [_Tally(seed + len(results) + row) for row in range(rows)]
        for step in rollout(policy, env, observation, deterministic):
            success = step.last("success")
            further = {key.removeprefix(SUCCESS_OF): step.last(key) for key in step.info if key.startswith(SUCCESS_OF)}
            for row, tally in enumerate(tallies):  # further rows run along and are not counted
                stages = {name for name, reached in further.items() if reached[row]}
                tally.add(float(step.reward[row]), bool(success[row]), stages, bool(step.done[row]), until_sustained)
            if all(tally.over for tally in tallies):
                break
        results += [tally.result() for tally in tallies]
    return Evaluation(tuple(results))
