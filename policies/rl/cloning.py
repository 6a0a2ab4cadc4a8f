"""Behaviour cloning: a first policy from demonstrations, seen through the same readings as later in the world."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor

from gwm_sim.envs.batched import Observation
from gwm_sim.envs.contract import image_key
from gwm_sim.envs.readings import read_frames
from gwm_sim.episodes import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.progress import progress
from gwm_sim.protocol import FIRST_EVALUATION_SEED
from gwm_sim.world_model import WorldModel, check_fit

UPDATES: Final = 2000
BATCH: Final = 256
LEARNING_RATE: Final = 1e-3
CLONED_STD: Final = 0.2  # of a stochastic policy's actions after cloning: it is to explore around what it has learned


def clone_demonstrations(
    agent: BaseAlgorithm, path: Path, model: WorldModel, readings: Sequence[str], seed: int
) -> None:
    """Fit the actor of an agent to the actions of an episode file.

    Raises:
        ConfigError: The file does not fit the model, or holds evaluation seeds.
    """
    observations, actions = read_demonstrations(path, model, readings)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(agent.policy.parameters(), LEARNING_RATE)
    agent.policy.set_training_mode(True)
    with progress(f"cloning {path.name}") as show:
        for update in range(UPDATES):
            rows = torch.randint(len(actions), (BATCH,), generator=generator)
            chosen = {key: value[rows] for key, value in observations.items()}
            loss = (act(agent, chosen) - actions[rows]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            show((update + 1) / UPDATES, f"squared error {loss.item():.3f}")
    agent.policy.set_training_mode(False)
    if isinstance(agent, OnPolicyAlgorithm):
        with torch.no_grad():
            agent.policy.log_std.fill_(float(np.log(CLONED_STD)))
    else:
        agent.learning_starts = 0  # type: ignore[attr-defined]  # act by what was cloned, not at random


def read_demonstrations(path: Path, model: WorldModel, readings: Sequence[str]) -> tuple[dict[str, Tensor], Tensor]:
    """Observations (N, ...) and the actions (N, A) taken there.

    Raises:
        ConfigError: The file does not fit the model, or holds evaluation seeds.
    """
    parts: list[Observation] = []
    actions: list[NDArray[np.float32]] = []
    key = image_key(model.config.camera)
    with EpisodeFile(path) as file:
        check_fit(model, file.schema, str(path))
        for episode in _training_episodes(file, path):
            count = len(episode.actions)
            frames = episode.frames[model.config.camera][:count]
            parts.append(read_frames(model, {key: frames, "agent_pos": episode.telemetry[:count]}, readings))
            actions.append(episode.actions)
    observations = {name: torch.from_numpy(np.concatenate([part[name] for part in parts])).float() for name in parts[0]}
    return observations, torch.from_numpy(np.concatenate(actions)).float()


def act(agent: BaseAlgorithm, observations: dict[str, Tensor]) -> Tensor:
    """Most likely actions (N, A) of an agent's actor, with gradients."""
    policy: Any = agent.policy
    actions: Tensor
    if isinstance(agent, OnPolicyAlgorithm):
        actions = policy.get_distribution(observations).mode()
    else:
        actions = policy.actor(observations, deterministic=True)
    return actions


def _training_episodes(file: EpisodeFile, path: Path) -> Iterator[Any]:
    for k in range(len(file)):
        episode = file.read(k)
        if episode.seed is not None and episode.seed >= FIRST_EVALUATION_SEED:
            raise ConfigError(
                f"{path} holds evaluation episodes (seed {episode.seed}): training takes seeds below "
                f"{FIRST_EVALUATION_SEED}"
            )
        yield episode
