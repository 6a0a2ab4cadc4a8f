"""What a planner is to the live loop: it is told what was seen, and says what to do next."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gwm_sim.policies.live.safety import Vector


@dataclass(frozen=True)
class History:
    """What is known when planning begins; C frames, the last one being the present."""

    frames: NDArray[np.uint8]  # (C, H, W, 3)
    telemetry: Vector  # (C, P)
    actions: Vector  # (C-1, A), what was done between the frames
    pending: Vector  # (M, A), what will be done from now on until the plan begins; M may be 0
    time: float
    """When the last frame was seen [s]."""


class Planner(Protocol):
    """Maps what was seen to what to do: any such callable is a planner.

    It is called again and again, always by one thread, but not by the one that made it, while the robot goes on. What
    it raises is a fault that stops the run. `gwm_sim.policies.testing.planner.PlannerConformance` tests all this.
    """

    def __call__(self, history: History, /) -> Vector:
        """Plan.

        Args:
            history: What was seen and done, and what is still to be done before the plan begins; it stays as it is.

        Returns:
            Actions (K, A) of the next K >= 1 control steps, finite, in the units of the robot. Limits are applied
            afterwards. They stay as they are when the next plan is made.
        """


def check_plan(actions: Any, width: int) -> Vector:
    """A plan as an array, if it is one of actions with `width` numbers.

    Raises:
        ValueError: It is not (K, A), or not finite.
    """
    plan = np.asarray(actions, np.float32)
    if plan.ndim != 2 or len(plan) < 1 or plan.shape[1] != width:
        raise ValueError(f"a plan must have shape (K, {width}), got {plan.shape}")
    if not np.isfinite(plan).all():
        raise ValueError("a plan must be finite")
    return plan
