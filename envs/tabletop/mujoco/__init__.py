"""What worlds on a table share in MuJoCo: the arm, rows of physics, cameras."""

from gwm_sim.envs.gl import choose_gl_backend

# MuJoCo reads MUJOCO_GL once, when it is imported.
choose_gl_backend()
