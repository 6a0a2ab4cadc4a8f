"""The one evaluation loop: how often a policy solves its task, in the twin or in a learned world.

Success counts when it is *held*: true at five consecutive steps. Episode i starts from seed `seed + i`, so two
systems that are evaluated with the same seed meet the same starts.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv

from gwm_sim.evaluation.statistics import wilson_interval
from gwm_sim.policies.policy import Policy
from gwm_sim.protocol import SUSTAINED_STEPS


@dataclass(frozen=True)
class EpisodeResult:
    """One evaluated episode."""

    seed: int
    success: bool
    """Whether success was held."""
    steps_to_success: int | None
    """Steps until success had been held, None without success."""
    length: int
    """Steps of the episode."""
    total_reward: float
    """Sum of the rewards."""


@dataclass(frozen=True)
class Evaluation:
    """Results of all episodes, in the order of their seeds."""

    episodes: tuple[EpisodeResult, ...]

    @property
    def successes(self) -> int:
        """Number of episodes with held success."""
        return sum(episode.success for episode in self.episodes)

    @property
    def success_rate(self) -> float:
        """Share of episodes with held success."""
        return self.successes / len(self.episodes)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the success rate."""
        return wilson_interval(self.successes, len(self.episodes))

    @property
    def median_steps(self) -> float | None:
        """Median number of steps to held success among successful episodes, None without any."""
        steps = [episode.steps_to_success for episode in self.episodes if episode.steps_to_success is not None]
        return float(np.median(steps)) if steps else None

    def to_json(self) -> dict[str, Any]:
        """Numbers for a results file."""
        return {
            "n": len(self.episodes),
            "success_rate": self.success_rate,
            "interval": list(self.interval),
            "median_steps": self.median_steps,
            "episodes": [asdict(episode) for episode in self.episodes],
        }


class _Tally:
    """Follows one episode."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._run = 0
        self._length = 0
        self._total_reward = 0.0
        self._steps_to_success: int | None = None

    @property
    def held(self) -> bool:
        return self._steps_to_success is not None

    def add(self, reward: float, success: bool) -> None:
        self._length += 1
        self._total_reward += reward
        self._run = self._run + 1 if success else 0
        if self._run >= SUSTAINED_STEPS and self._steps_to_success is None:
            self._steps_to_success = self._length

    def result(self) -> EpisodeResult:
        return EpisodeResult(
            seed=self._seed,
            success=self._steps_to_success is not None,
            steps_to_success=self._steps_to_success,
            length=self._length,
            total_reward=self._total_reward,
        )


def evaluate(
    policy: Policy,
    env: gym.Env[Any, Any] | VectorEnv[Any, Any, Any],
    episodes: int,
    seed: int,
    options: dict[str, Any] | None = None,
    deterministic: bool = True,
    until_held: bool = False,
) -> Evaluation:
    """Run `policy` for whole episodes from the seeds `seed` to `seed + episodes - 1`.

    Args:
        policy: Whatever has SB3's `predict`.
        env: A single environment with a time limit, or a vector environment. Its `info["success"]` is what counts.
        episodes: Number of episodes.
        seed: Seed of the first episode.
        options: Options of every reset.
        deterministic: Passed on to the policy.
        until_held: End an episode as soon as success has been held, which decides it; its length and total reward
            are then those until there. The rows of a vector environment go on until all are decided.
    """
    if episodes < 1:
        raise ValueError(f"episodes must be at least 1, got {episodes}")
    seeds = range(seed, seed + episodes)
    if isinstance(env, VectorEnv):
        results: list[EpisodeResult] = []
        for first in range(0, episodes, env.num_envs):
            chosen = seeds[first : first + env.num_envs]
            results += _run_rows(policy, env, chosen, options, deterministic, until_held)
        return Evaluation(tuple(results))
    return Evaluation(tuple(_run_one(policy, env, s, options, deterministic, until_held) for s in seeds))


def _run_one(
    policy: Policy,
    env: gym.Env[Any, Any],
    seed: int,
    options: dict[str, Any] | None,
    deterministic: bool,
    until_held: bool,
) -> EpisodeResult:
    observation, _ = env.reset(seed=seed, options=options)
    tally, state, start, done = _Tally(seed), None, np.ones(1, bool), False
    while not done:
        action, state = policy.predict(observation, state=state, episode_start=start, deterministic=deterministic)
        observation, reward, terminated, truncated, info = env.step(action)
        tally.add(float(reward), bool(info["success"]))
        done, start = terminated or truncated or (until_held and tally.held), np.zeros(1, bool)
    return tally.result()


def _run_rows(
    policy: Policy,
    env: VectorEnv[Any, Any, Any],
    seeds: Sequence[int],
    options: dict[str, Any] | None,
    deterministic: bool,
    until_held: bool,
) -> list[EpisodeResult]:
    """One episode per row; rows beyond the last seed run along and are not counted."""
    observation, _ = env.reset(seed=seeds[0], options=options)
    tallies = [_Tally(seed) for seed in seeds]
    running = np.ones(env.num_envs, bool)
    running[len(seeds) :] = False
    state, start = None, np.ones(env.num_envs, bool)
    while running.any():
        actions, state = policy.predict(observation, state=state, episode_start=start, deterministic=deterministic)
        observation, rewards, terminated, truncated, infos = env.step(actions)
        done = terminated | truncated
        # In the step that ends an episode, SAME_STEP has its last info elsewhere.
        final = infos.get("final_info", {}).get("success", infos["success"])
        success = np.where(done & infos.get("_final_info", False), final, infos["success"])
        for row in np.flatnonzero(running):
            tallies[row].add(float(rewards[row]), bool(success[row]))
        running &= ~done
        if until_held:
            running[: len(tallies)] &= [not tally.held for tally in tallies]
        start = done
    return [tally.result() for tally in tallies]
