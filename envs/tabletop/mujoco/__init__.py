"""The physics twin: the same spaces as the learned world, simulated and rendered by MuJoCo."""

from gwm_sim.envs.gl import choose_gl_backend

# MuJoCo reads MUJOCO_GL once, when it is imported.
choose_gl_backend()
