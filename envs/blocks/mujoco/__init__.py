"""The physics twin of the block world: the same spaces as the learned one, simulated and rendered by MuJoCo."""

from gwm_sim.envs.gl import choose_gl_backend

# MuJoCo reads MUJOCO_GL once, when it is imported.
choose_gl_backend()
