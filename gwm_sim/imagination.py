"""The old place of `imagine_episodes`; it is in `gwm_sim.model.imagination`."""

from gwm_sim.model.imagination import imagine_episodes as imagine_episodes
