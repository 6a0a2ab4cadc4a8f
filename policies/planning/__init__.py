"""Planning in a learned world: search for the actions whose imagined outcome is closest to a goal.

    policy = MpcPolicy(model, Goal.image(model, picture))
    action, memory = policy.predict(observation, memory)

`optimizers` is mathematics over tensors, `objectives` says what a good rollout is, `cost` joins the two through a world
model, `plan_step` makes a plan of them, `mpc` acts.
"""

from gwm_sim.policies.planning.cost import Explanation, ModelCost
from gwm_sim.policies.planning.goals import Goal
from gwm_sim.policies.planning.mpc import MpcPolicy
from gwm_sim.policies.planning.objectives import Objective, Term, default_objective
from gwm_sim.policies.planning.optimizers import (
    PLANNERS,
    Bounds,
    CemSettings,
    IcemSettings,
    MppiSettings,
    Plan,
    WarmStart,
    cem,
    mppi,
    plan,
)
from gwm_sim.policies.planning.plan_step import MpcConfig, PlanStep, guided_config, searching_config
from gwm_sim.policies.planning.prior.examples import Examples
from gwm_sim.policies.planning.prior.guide import GUIDE_FILE, Guide
from gwm_sim.policies.planning.prior.learning import LearnConfig, learn_guide
from gwm_sim.policies.planning.subgoals import Progress, SubgoalSchedule

__all__ = [
    "GUIDE_FILE",
    "PLANNERS",
    "Bounds",
    "CemSettings",
    "Examples",
    "Explanation",
    "Goal",
    "Guide",
    "IcemSettings",
    "LearnConfig",
    "ModelCost",
    "MpcConfig",
    "MpcPolicy",
    "MppiSettings",
    "Objective",
    "Plan",
    "PlanStep",
    "Progress",
    "SubgoalSchedule",
    "Term",
    "WarmStart",
    "cem",
    "default_objective",
    "guided_config",
    "learn_guide",
    "mppi",
    "plan",
    "searching_config",
]
