"""Wrappers for both worlds, in vector and in single form: the state instead of pictures, clear actions, caution, goals.

The vector forms expect the autoreset modes SAME_STEP, which is the default here, or DISABLED. Each single form is its
vector form around a vector of one row, and wraps any single environment. What only an imagined world knows, its
uncertainty, changes nothing in the twin.
"""

from gwm_sim.envs.wrappers.goal_image import GoalImage, VectorGoalImage
from gwm_sim.envs.wrappers.latent_observation import LatentObservation, VectorLatentObservation
from gwm_sim.envs.wrappers.ternary_action import TernaryAction, VectorTernaryAction, ternary
from gwm_sim.envs.wrappers.truncate_on_uncertainty import TruncateOnUncertainty, VectorTruncateOnUncertainty
from gwm_sim.envs.wrappers.uncertainty_penalty import UncertaintyPenalty, VectorUncertaintyPenalty

__all__ = [
    "GoalImage",
    "LatentObservation",
    "TernaryAction",
    "TruncateOnUncertainty",
    "UncertaintyPenalty",
    "VectorGoalImage",
    "VectorLatentObservation",
    "VectorTernaryAction",
    "VectorTruncateOnUncertainty",
    "VectorUncertaintyPenalty",
    "ternary",
]
