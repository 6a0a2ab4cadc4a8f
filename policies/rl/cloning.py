"""Demonstrations for an agent: a first policy cloned from them, and experience to go on learning from.

They are observed as the world will be later.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import DictReplayBuffer
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.envs.learned.observations import read_frames
from gwm_sim.envs.spaces import Observation, image_key
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel, check_fit
from gwm_sim.policies.own_world import read_wanted, rewards_of
from gwm_sim.progress import progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED

UPDATES: Final = 2000
BATCH: Final = 256
LEARNING_RATE: Final = 1e-3
CLONED_STD: Final = 0.2  # of a stochastic policy's actions after cloning: it is to explore around what it has learned


class Demonstration(NamedTuple):
    """One recorded episode of T steps, as an agent would have lived it."""

    observations: Observation  # each (T+1, ...)
    actions: NDArray[np.float32]  # (T, A)
    rewards: NDArray[np.float32]  # (T,)

    def returns(self, discount: float) -> NDArray[np.float32]:
        """Discounted sums (T,) of the rewards to come, the last one taken to go on for ever."""
        result = np.empty_like(self.rewards)
        value = self.rewards[-1] / (1 - discount)
        for t in reversed(range(len(result))):
            result[t] = value = self.rewards[t] + discount * value
        return result


def read_demonstrations(
    path: Path, model: WorldModel, readings: Sequence[str], task: str | None, goal: NDArray[np.uint8] | None = None
) -> list[Demonstration]:
    """Demonstrations of a task, or of how a goal picture is reached, from an episode file.

    Raises:
        ConfigError: The file does not fit the model, has no rewards of the task, or holds evaluation seeds.
    """
    demonstrations, wanted = [], read_wanted(model, task, goal)
    with EpisodeFile(path) as file:
        check_fit(model, file.schema, str(path))
        for k in range(len(file)):
            episode = file.read(k)
            if episode.seed is not None and episode.seed >= FIRST_EVALUATION_SEED:
                raise ConfigError(
                    f"{path} holds evaluation episodes (seed {episode.seed}): training takes seeds below "
                    f"{FIRST_EVALUATION_SEED}"
                )
            brought = rewards_of(model, episode, wanted)
            if brought is None:
                raise ConfigError(f"{path} has no rewards of the task {task}: add them with `gwm label`")
            pictures = {image_key(camera): episode.frames[camera] for camera in model.config.cameras}
            seen = read_frames(model, {**pictures, "agent_pos": episode.telemetry}, readings)
            demonstrations.append(Demonstration(seen, episode.actions, np.asarray(brought, np.float32)))
    return demonstrations


def clone(agent: BaseAlgorithm, demonstrations: Sequence[Demonstration], seed: int) -> None:
    """Fit the actor of an agent to what was done, and the value function of an on-policy one to what it brought."""
    observations = {
        key: torch.from_numpy(np.concatenate([d.observations[key][:-1] for d in demonstrations])).float()
        for key in demonstrations[0].observations
    }
    actions = torch.from_numpy(in_reach(agent, np.concatenate([d.actions for d in demonstrations]))).float()
    unit = 1.0 if squashed(agent) else half_range(agent)
    values = None
    if isinstance(agent, OnPolicyAlgorithm):
        values = torch.from_numpy(np.concatenate([d.returns(agent.gamma) for d in demonstrations]))
    if not squashed(agent):  # far from 0, such as places in pixels, an actor would hardly get
        with torch.no_grad():
            agent.policy.action_net.bias.copy_(actions.mean(dim=0))  # type: ignore[union-attr, operator]
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(agent.policy.parameters(), LEARNING_RATE)
    agent.policy.set_training_mode(True)
    with progress(f"cloning {len(demonstrations)} demonstrations") as show:
        for update in range(UPDATES):
            rows = torch.randint(len(actions), (BATCH,), generator=generator)
            chosen = {key: value[rows] for key, value in observations.items()}
            error = ((act(agent, chosen) - actions[rows]) / unit).square().mean()
            loss = error
            if values is not None:
                missed: Tensor = agent.policy.predict_values(chosen).flatten() - values[rows]  # type: ignore[operator]
                loss = loss + ((1 - agent.gamma) * missed).square().mean()  # type: ignore[attr-defined]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            show((update + 1) / UPDATES, f"squared error {error.item():.3f}")
    agent.policy.set_training_mode(False)
    if isinstance(agent, OnPolicyAlgorithm):
        with torch.no_grad():
            agent.policy.log_std.copy_((CLONED_STD * half_range(agent)).log())
    else:
        agent.learning_starts = 0  # type: ignore[attr-defined]  # act by what was cloned, not at random


def squashed(agent: BaseAlgorithm) -> bool:
    """Whether an agent's actor acts in [-1, 1], which is scaled to the bounds of its actions afterwards."""
    return not isinstance(agent, OnPolicyAlgorithm)


def half_range(agent: BaseAlgorithm) -> Tensor:
    """Half of the range of each action, (A,)."""
    space: Any = agent.action_space
    return torch.from_numpy((space.high - space.low) / 2)


def in_reach(agent: BaseAlgorithm, actions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Actions (N, A) of demonstrations as the actor of an agent is to answer them."""
    space: Any = agent.action_space
    actions = actions.clip(space.low, space.high)
    return np.asarray(agent.policy.scale_action(actions) if squashed(agent) else actions, np.float32)


class DemonstrationReplay(DictReplayBuffer):
    """A replay buffer of which half of every batch are demonstrations, once it has some.

    Learning from both at once needs neither a phase of cloning nor a weight between two losses (RLPD, Ball et al.,
    2023, https://arxiv.org/abs/2302.02948).
    """

    demonstrations: DictReplayBuffer | None = None

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> DictReplayBufferSamples:  # type: ignore[override]
        """Draw transitions."""
        if self.demonstrations is None:
            return super().sample(batch_size, env)
        shown = batch_size // 2
        own, theirs = super().sample(batch_size - shown, env), self.demonstrations.sample(shown, env)

        def join(name: str) -> Any:
            mine, other = getattr(own, name), getattr(theirs, name)
            if isinstance(mine, dict):
                return {key: torch.cat((mine[key], other[key])) for key in mine}
            return torch.cat((mine, other))

        parts = ("observations", "actions", "next_observations", "dones", "rewards")
        return DictReplayBufferSamples(**{name: join(name) for name in parts})


def remember(agent: BaseAlgorithm, demonstrations: Sequence[Demonstration]) -> None:
    """Put demonstrations beside the own experience of an agent that has a replay buffer."""
    buffer: Any = getattr(agent, "replay_buffer", None)
    if not isinstance(buffer, DemonstrationReplay):
        return
    steps = sum(len(d.actions) for d in demonstrations)
    shown = DictReplayBuffer(steps, buffer.observation_space, buffer.action_space, device=buffer.device)
    no = np.zeros(1, bool)
    for observations, actions, rewards in demonstrations:
        scaled = agent.policy.scale_action(actions)
        for t, action in enumerate(scaled):
            now, after = ({key: value[None, t + i] for key, value in observations.items()} for i in (0, 1))
            shown.add(now, after, action, rewards[t], no, [{}])
    buffer.demonstrations = shown


def act(agent: BaseAlgorithm, observations: dict[str, Tensor]) -> Tensor:
    """Most likely actions (N, A) of an agent's actor, with gradients."""
    policy: Any = agent.policy
    if isinstance(agent, OnPolicyAlgorithm):
        return policy.get_distribution(observations).mode()
    return policy.actor(observations, deterministic=True)
