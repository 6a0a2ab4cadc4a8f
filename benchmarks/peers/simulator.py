"""The planner's ceiling: the same search, with every candidate rolled out in the true simulator."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from gwm_sim.envs.blocks.mujoco.scene import make_model
from gwm_sim.envs.blocks.mujoco.simulation import Simulation
from gwm_sim.model.state import Rollout, WorldState
from gwm_sim.policies.planning import Goal, MpcPolicy
from gwm_sim.policies.planning.optimizers import Cost


class SimulatorPolicy(MpcPolicy):
    """Sees and searches as `MpcPolicy` does, but knows exactly what would happen in one physics twin."""

    twin: Any
    """The environment that it acts in, unwrapped; to be set before it acts."""

    def attach(self, env: gym.Env[Any, Any]) -> SimulatorPolicy:
        """Plan in the physics of this environment."""
        self.twin = env.unwrapped
        self._rows: Simulation | None = None
        return self

    def cost(self, worlds: WorldState, goal: Goal, before: Tensor) -> Cost:
        """Costs of what the true simulator does from its present state; for one environment."""
        snapshot = self.twin.get_state()

        def cost(actions: Tensor) -> Tensor:
            plans = actions[0].repeat_interleave(self.config.block, dim=1)  # (S, T, A)
            count = len(plans)
            if self._rows is None or len(self._rows.elapsed) < count:
                self._rows = Simulation(make_model("fast"), count)
            everyone = np.arange(count)
            for row in everyone:
                self._rows.restore(int(row), snapshot)
            telemetry, objects = [], []
            for action in plans.unbind(dim=1):
                self._rows.step(everyone, action.double().numpy())
                telemetry.append(torch.from_numpy(self._rows.telemetry()[:count]))
                objects.append(torch.from_numpy(self._rows.objects()[:count, :, :3].copy()))
            nothing = torch.zeros(count, plans.shape[1], 0)
            rollout = Rollout(
                residual=worlds.residual[:, None].expand(-1, plans.shape[1], -1),
                codes=worlds.codes.new_zeros(count, plans.shape[1], 0, 0),
                telemetry=torch.stack(telemetry, dim=1),
                objects=torch.stack(objects, dim=1),
                reward=nothing,
                success=nothing,
                uncertainty=torch.zeros(count, plans.shape[1]),
                orientations=worlds.orientations[:, None].expand(-1, plans.shape[1], -1, -1),
                final=worlds,
            )
            return self.objective(rollout, plans, goal.select([0] * count))[None]

        return cost


__all__ = ["SimulatorPolicy"]
