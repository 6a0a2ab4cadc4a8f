"""The table scene as MJCF: six slots for objects, one compiled model for every scene.

All models have the same bodies, joints, sensors and cameras, so that rows of a batch may have different ones and a
state goes on when its scene is changed. An empty slot is an invisible weightless ball far above.

**Bounces.** A contact with reference acceleration a = -b v - k r, in direct form `solref="-k -b"`, gives a body that
meets the table with velocity v the velocity v + h a after one time step h. With b = (1 + e) / h that is -e v: Newton's
law of restitution, for every mass and shape, whatever h is. Friction follows the same law, limited by its cone. With f
the impulse and v the velocity before it at all contacts, the solver minimises f'Af/2 + (1 + e) f'v over the cones, so
f'Af = -(1 + e) f'v and the energy changes by f'v + f'Af/2 = f'v (1 - e)/2, which is never positive: nothing bounces
higher than it fell, however it spins. (With another law for friction it does.) The spring k only lifts what has sunk
in, by k h^2 of the depth per step.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import mujoco
import numpy as np

from gwm_sim.envs.table.edits import Slots
from gwm_sim.envs.table.scene import COLOURS, MAX_OBJECTS, SceneObject
from gwm_sim.envs.table.spec import MAX_HEIGHT, frame_sizes
from gwm_sim.envs.tabletop.mujoco.rendering import Rendering
from gwm_sim.envs.tabletop.mujoco.scene import SceneParts, scene_xml

TIMESTEP: Final = 0.002  # [s]
SHADOWS: Final = 2048  # height and width of the shadow map; twice as many take twice the time [px]
EMPTY_HEIGHT: Final = 10.0  # of the first empty slot [m]

_LIFT: Final = 0.01  # k h^2
_HARD: Final = 'solimp="0.998 0.998 0.001"'  # a contact has nearly all of its reference acceleration
_TORSION_PER_FRICTION: Final = 0.005  # torsional friction [m] per unit of sliding friction
_ROLLING: Final = 0.002  # rolling friction [m]: a ball of 5 cm at 0.3 m/s rolls on for 8 cm

_FILM_TARGET: Final = np.array([0.50, 0.0, 0.314])  # what the film camera looks at [m]
_FILM_DISTANCE: Final = 2.2  # [m]
_FILM_ELEVATION: Final = np.deg2rad(22.0)
_FILM_AZIMUTH: Final = np.deg2rad(25.0)  # from straight ahead of the robot to its left
_FILM_FOVY: Final = 20.0  # [deg]: the workspace up to 66 cm is in view

_NOTHING: Final = 4  # bit of what collides with nothing
_SHAPES: Final = {"cube": "box", "ball": "sphere", "cylinder": "cylinder"}


def bounce(bounciness: float) -> str:
    """Reference of a contact that keeps this share of a body's speed, see above."""
    damping, stiffness = (1 + bounciness) / TIMESTEP, _LIFT / TIMESTEP**2
    return f'solref="{-stiffness:.9g} {-damping:.9g}"'


def object_name(slot: int) -> str:
    """Name of a slot's body, joint and geom."""
    return f"object_{slot}"


def _object(slot: int, thing: SceneObject | None, properties: Mapping[str, float]) -> str:
    name = object_name(slot)
    if thing is None:
        return f"""
    <body name="{name}" pos="0 0 {EMPTY_HEIGHT + slot}">
      <freejoint name="{name}"/>
      <geom name="{name}" type="sphere" size="0.02" mass="0.1" rgba="0 0 0 0" conaffinity="{_NOTHING}"/>
    </body>"""
    assert thing.size is not None and thing.colour is not None and thing.mass is not None
    half = thing.size / 2
    red, green, blue = COLOURS[thing.colour]
    friction = _own(thing, "friction", properties)
    # Fingers take hold of it with its own friction, softly: hard contacts would come and go.
    return f"""
    <body name="{name}">
      <freejoint name="{name}"/>
      <geom name="{name}" type="{_SHAPES[thing.kind]}" size="{half:.9g} {half:.9g} {half:.9g}" mass="{thing.mass:.9g}"
            rgba="{red} {green} {blue} 1" conaffinity="2" condim="4" priority="1"
            friction="{friction:.9g} {_TORSION_PER_FRICTION * friction:.9g} 0.0001" {bounce(0.0)}/>
    </body>"""


def _own(thing: SceneObject, name: str, properties: Mapping[str, float]) -> float:
    value: float | None = getattr(thing, name)
    return properties[name] if value is None else value


def _pairs(slots: Slots, properties: Mapping[str, float]) -> str:
    """How objects meet the table and each other: two share their friction, and the bouncier one decides."""
    pairs = []
    for i, thing in enumerate(slots):
        pairs.append(_pair("surface", object_name(i), (thing,), properties))
        pairs += [_pair(object_name(j), object_name(i), (thing, slots[j]), properties) for j in range(i)]
    return "".join(pairs)


def _pair(a: str, b: str, things: Sequence[SceneObject | None], properties: Mapping[str, float]) -> str:
    there = [thing for thing in things if thing is not None]
    friction = float(np.prod([_own(thing, "friction", properties) for thing in there]) ** (1 / max(len(there), 1)))
    bounciness = max((_own(thing, "bounciness", properties) for thing in there), default=0.0)
    rolls = any(thing.kind != "cube" for thing in there)
    return f"""
    <pair geom1="{a}" geom2="{b}" condim="{6 if rolls else 4}" {bounce(bounciness)} {_HARD}
          friction="{friction:.9g} {friction:.9g} {_TORSION_PER_FRICTION * friction:.9g} {_ROLLING} {_ROLLING}"/>"""


def _touches() -> str:
    """A sensor for each pad and slot, which says whether they touch."""
    return "".join(
        f"""
    <contact name="{side}_{i}" geom1="{side}_pad" geom2="{object_name(i)}" data="found" num="1"/>"""
        for i in range(MAX_OBJECTS)
        for side in ("left", "right")
    )


def _film_camera() -> str:
    sin, cos = np.sin(_FILM_ELEVATION), np.cos(_FILM_ELEVATION)
    ahead = np.array([np.cos(_FILM_AZIMUTH), np.sin(_FILM_AZIMUTH)])
    x, y, z = _FILM_TARGET + _FILM_DISTANCE * np.array([*(cos * ahead), sin])
    axes = f"{-ahead[1]} {ahead[0]} 0 {-sin * ahead[0]} {-sin * ahead[1]} {cos}"
    return f"""
    <camera name="film" pos="{x} {y} {z}" xyaxes="{axes}" fovy="{_FILM_FOVY}"/>"""


def make_model(slots: Slots, properties: Mapping[str, float], rendering: Rendering = "rich") -> mujoco.MjModel:
    """Compile a scene.

    Args:
        slots: Complete objects, None where there is none, `MAX_OBJECTS` of them.
        properties: Friction, gravity [m/s^2] and bounciness of the scene.
        rendering: "fast" has neither shadows nor multisampling, "rich" has both.
    """
    surface = '\n    <geom name="surface" type="plane" size="1 1 1" rgba="0 0 0 0"/>'  # pairs alone meet it
    parts = SceneParts(
        name="table",
        timestep=TIMESTEP,
        table=(4.0, 4.0),
        impratio=5.0,  # enough to hold things; objects' own contacts are so hard that more would only cost time
        cameras=_film_camera(),
        objects=surface + "".join(_object(i, thing, properties) for i, thing in enumerate(slots)),
        contacts=_pairs(slots, properties),
        sensors=_touches(),
        # Light and depth of the picture must not depend on what lies on the table.
        elements='\n  <statistic center="0.4 0 0.2" extent="1.7" meansize="0.1"/>',
        frame=frame_sizes(MAX_HEIGHT, ("film",))["film"],
        shadows=SHADOWS,
    )
    model = mujoco.MjModel.from_xml_string(scene_xml(parts, rendering))
    model.opt.gravity[2] = -properties["gravity"]
    for i, thing in enumerate(slots):
        # Not in the MJCF: the number of bodies with compensation is part of what all models have in common.
        model.body_gravcomp[model.body(object_name(i)).id] = float(thing is None)
    return model
