"""A policy cloned from the recordings of a world, that goes to any goal: what a planner has to beat.

Goal-conditioned behaviour cloning with hindsight: whatever a recording reached later was a goal of what it did before
(Ding et al., 2019, https://arxiv.org/abs/1906.05838). It reads robot and things as the world model does, and learns by
the mean absolute error of actions.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from gwm_sim.envs.learned.goals import turns_of
from gwm_sim.envs.spaces import Observation, picture
from gwm_sim.errors import ConfigError
from gwm_sim.model.checkpoint import STATES_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning import Goal
from gwm_sim.policies.planning.plan_step import ContextWindow
from gwm_sim.policies.planning.prior.examples import last_frames

WIDTH, BATCH, UPDATES, RATE = 256, 512, 6000, 1e-3
FARTHEST = 50  # steps that a goal is away, at most


class ClonedPolicy:
    """Acts toward one goal at a time."""

    def __init__(self, model: WorldModel, folder: Path, seed: int = 0) -> None:
        """Learn from the states that `gwm train` has left in the model's folder.

        Raises:
            ConfigError: It has left none, as it did before it kept them.
        """
        if not (folder / STATES_FILE).exists():
            raise ConfigError(f"{folder} has no {STATES_FILE} to clone a policy from: train the model anew")
        self.model = model
        torch.manual_seed(seed)
        states = load_file(folder / STATES_FILE)
        flat = torch.cat([states[name].flatten(1) for name in ("telemetry", "objects", "turns")], dim=1).nan_to_num(0.0)
        self._mean, self._std = flat.mean(dim=0), flat.std(dim=0).clamp_min(1e-4)
        control = model.config.control
        low, high = (torch.tensor(side) for side in (control.action_low, control.action_high))
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        self._policy = nn.Sequential(
            *(nn.Linear(4 * flat.shape[1], WIDTH), nn.LayerNorm(WIDTH), nn.SiLU()),
            *(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.SiLU()),
            nn.Linear(WIDTH, len(low)),
        )
        self._learn(flat, states["actions"], states["starts"], torch.Generator().manual_seed(seed))
        self.goal = torch.zeros(1, flat.shape[1])

    def ask(self, goal: Goal) -> None:
        """Go to another goal from now on."""
        device = self.model.device
        things = self.model.config.dynamics.objects
        telemetry = torch.full((1, self.model.config.dynamics.telemetry), torch.nan, device=device)
        objects = torch.full((1, things, 3), torch.nan, device=device)
        turns = torch.zeros(1, things, 2, device=device)
        asked = (goal.telemetry, telemetry), (goal.objects, objects), (goal.turns, turns)
        self.goal = torch.cat([(free if given is None else given).flatten(1) for given, free in asked], dim=1).cpu()

    @torch.no_grad()
    def predict(
        self,
        observation: Observation,
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[np.float32], ContextWindow]:
        """The action for one environment; its memory is what was seen."""
        window = ContextWindow(self.model.config.control) if state is None else state
        window.see(np.array(picture(observation, self.model.config.cameras)), np.array(observation["agent_pos"]))
        world = self.model.encode(*(torch.from_numpy(x[None]) for x in window.arrays()))
        parts = world.telemetry, world.objects, turns_of(self.model, world.residual)
        now = torch.cat([x.flatten(1) for x in parts], dim=1).cpu()
        goal = torch.where(self.goal.isfinite(), self.goal, now)
        action = self._act(now.nan_to_num(0.0), goal.nan_to_num(0.0))[0].numpy()
        window.act(action)
        return action, window

    def _learn(self, flat: Tensor, actions: Tensor, starts: Tensor, generator: torch.Generator) -> None:
        last = last_frames(starts, len(flat))
        usable = torch.nonzero(torch.arange(len(flat)) < last).flatten()
        optimiser = torch.optim.AdamW(self._policy.parameters(), RATE, weight_decay=0.01)
        rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, UPDATES)
        for _ in range(UPDATES):
            now = usable[torch.randint(len(usable), (BATCH,), generator=generator)]
            ahead = 1 + (FARTHEST * torch.rand(BATCH, generator=generator)).long()
            error = (self._act(flat[now], flat[torch.minimum(now + ahead, last[now])]) - actions[now]) / self._half
            optimiser.zero_grad(set_to_none=True)
            error.abs().mean().backward()
            optimiser.step()
            rates.step()

    def _act(self, now: Tensor, goal: Tensor) -> Tensor:
        """Actions (B, A) of states (B, D) toward goals."""
        level, wanted = (((x - self._mean) / self._std).clamp(-10, 10) for x in (now, goal))
        offset = wanted - level
        unit = self._policy(torch.cat((level, wanted, offset, (5 * offset).tanh()), dim=1)).tanh()
        return self._middle + unit * self._half
