"""The old place of `gwm_sim.data.importers`."""
