"""The old place of `WorldModel`; it is in `gwm_sim.model.world_model`."""

from gwm_sim.model.config import WorldModelConfig as WorldModelConfig
from gwm_sim.model.world_model import WorldModel as WorldModel
