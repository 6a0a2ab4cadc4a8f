"""The physics twin of the table world: the same spaces as the learned one, simulated and rendered by MuJoCo."""

import gwm_sim.envs.tabletop.mujoco  # noqa: F401  # chooses how MuJoCo renders, before it is imported
