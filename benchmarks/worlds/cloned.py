"""A policy cloned from the recordings of a world, which acts by itself: what a planner has to beat."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from gwm_sim.envs.spaces import Observation, picture
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import CLONED_FILE, STATES_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal
from gwm_sim.policies.planning.plan_step import ContextWindow
from gwm_sim.policies.planning.prior.cloned import ClonedPolicy, goal_of, state_of


class CloneAgent:
    """Acts toward one goal at a time."""

    def __init__(self, model: WorldModel, folder: Path) -> None:
        """Learn from the states that `gwm train` has left in the model's folder.

        Raises:
            ConfigError: It has left none, as it did before it kept them.
        """
        if not (folder / STATES_FILE).exists():
            raise ConfigError(f"{folder} has no {STATES_FILE} to clone a policy from: train the model anew")
        self.model = model
        self.policy = ClonedPolicy.beside(model, folder / CLONED_FILE, load_file(folder / STATES_FILE))
        self.goal: Tensor | None = None

    def ask(self, goal: Goal) -> None:
        """Go to another goal from now on."""
        self.goal = goal_of(self.model, goal)

    @torch.no_grad()
    def predict(
        self,
        observation: Observation,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], ContextWindow]:
        """The action for one environment; its memory is what was seen."""
        assert self.goal is not None
        window = ContextWindow(self.model.config.control) if state is None else state
        window.see(np.array(picture(observation, self.model.config.cameras)), np.array(observation["agent_pos"]))
        world = self.model.encode(*(torch.from_numpy(x[None]) for x in window.arrays()))
        action = self.policy(state_of(self.model, world), self.goal)[0].cpu().numpy()
        window.act(action)
        return action, window
