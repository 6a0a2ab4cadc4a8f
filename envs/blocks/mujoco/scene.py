"""The block scene as MJCF: two cubes on the table.

Colours are chosen so that only the cubes are saturated: a colour-blob detector finds them and no more.
"""

from typing import Final

import mujoco

from gwm_sim.envs.blocks.spec import CUBE_SIZE, OBJECT_NAMES
from gwm_sim.envs.tabletop.mujoco import scene as tabletop
from gwm_sim.envs.tabletop.mujoco.rendering import Rendering

TIMESTEP: Final = 0.002  # [s]
CUBE_MASS: Final = 0.1  # [kg]

_COLORS: Final = {"red": "0.85 0.04 0.04 1", "blue": "0.04 0.10 0.85 1"}


def _cube(name: str) -> str:
    half = CUBE_SIZE / 2
    # Priority makes the cube's friction the one that counts in all its contacts.
    return f"""
    <body name="{name}" pos="0.5 0 {half}">
      <freejoint name="{name}"/>
      <geom name="{name}" type="box" size="{half} {half} {half}" mass="{CUBE_MASS}" rgba="{_COLORS[name]}"
            contype="1" conaffinity="3" condim="4" priority="1" friction="1 0.005 0.0001" solref="0.008 1"/>
    </body>"""


def _contacts() -> str:
    """A sensor for each pad and cube, which says whether they touch."""
    return "".join(
        f"""
    <contact name="{side}_{name}" geom1="{side}_pad" geom2="{name}" data="found" num="1"/>"""
        for name in OBJECT_NAMES
        for side in ("left", "right")
    )


def scene_xml(rendering: Rendering = "rich") -> str:
    """MJCF of the scene; "fast" has neither shadows nor multisampling, "rich" has MuJoCo's defaults of both."""
    parts = tabletop.SceneParts("blocks", TIMESTEP, objects="".join(map(_cube, OBJECT_NAMES)), sensors=_contacts())
    return tabletop.scene_xml(parts, rendering)


def make_model(rendering: Rendering = "rich") -> mujoco.MjModel:
    """Compile the scene."""
    return mujoco.MjModel.from_xml_string(scene_xml(rendering))
