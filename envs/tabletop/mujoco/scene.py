"""A scene on a table as MJCF: table, light, front camera, and the arm with its gripper; worlds put their objects in.

The arm is of primitive geoms on the Panda's kinematics. Its links are drawn but do not collide; the hand and the
fingers do. The table top is at z = 0 and the arm's base at the origin. Everything here is grey, so that objects are the
only saturated colours.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gwm_sim.envs.tabletop.mujoco import kinematics
from gwm_sim.envs.tabletop.mujoco.rendering import RENDERINGS, Rendering
from gwm_sim.envs.tabletop.robot import GRIPPER_MAX

# Strong enough to lift a cube of 100 g at friction 0.2 and to lose it at 0.1, weak enough not to crush one into the
# table.
GRIPPER_FORCE: Final = 5.0  # [N]
MAX_FRAME: Final = 512  # largest height and width of a square frame [px]

_FRONT_TARGET: Final = np.array([0.51, 0.0, 0.13])  # what the front camera looks at [m]
_FRONT_DISTANCE: Final = 2.4  # [m]
_FRONT_ELEVATION: Final = np.deg2rad(34.0)
_FRONT_FOVY: Final = 9.9  # [deg]: a cube is 7 px or more at 64 px anywhere in the workspace

_JOINT_GAINS: Final = ((12000, 260),) * 4 + ((4000, 80),) * 3  # stiffness [N m/rad], damping [N m s/rad]

# Drawn geoms of each link in its Denavit-Hartenberg frame: capsules from one point to another.
_LINK_GEOMS: Final = (
    '<geom type="capsule" fromto="0 0 -0.19 0 0 0" size="0.06"/>',
    '<geom type="capsule" fromto="0 0 -0.06 0 0 0.06" size="0.06"/>'
    '<geom type="capsule" fromto="0 0 0 0 -0.19 0" size="0.06"/>',
    '<geom type="capsule" fromto="0 0 -0.10 0 0 0" size="0.055"/>'
    '<geom type="capsule" fromto="0 0 0 0.0825 0 0" size="0.05"/>',
    '<geom type="capsule" fromto="0 0 -0.05 0 0 0.05" size="0.055"/>'
    '<geom type="capsule" fromto="0 0 0 -0.0825 0.12 0" size="0.05"/>',
    '<geom type="capsule" fromto="0 0 -0.26 0 0 0" size="0.05"/>',
    '<geom type="capsule" fromto="0 0 -0.05 0 0 0.05" size="0.045"/>'
    '<geom type="capsule" fromto="0 0 0 0.088 0 0" size="0.04"/>',
    '<geom type="cylinder" fromto="0 0 -0.04 0 0 0.107" size="0.04"/>',
)


def _arm() -> str:
    """Nested bodies of the seven links, with the hand on the last one."""
    inner = _hand()
    rows = list(
        zip(
            kinematics.DENAVIT_HARTENBERG,
            kinematics.JOINT_LOW,
            kinematics.JOINT_HIGH,
            _LINK_GEOMS,
            strict=True,
        )
    )
    for i, ((a, d, alpha), low, high, geoms) in reversed(list(enumerate(rows, start=1))):
        position = f"{a} {-np.sin(alpha) * d:.9g} {np.cos(alpha) * d:.9g}"
        quaternion = f"{np.cos(alpha / 2):.17g} {np.sin(alpha / 2):.17g} 0 0"
        inner = f"""
        <body name="link_{i}" pos="{position}" quat="{quaternion}" gravcomp="1">
          <inertial pos="0 0 0" mass="2" diaginertia="0.02 0.02 0.02"/>
          <joint name="joint_{i}" range="{low} {high}" damping="1" armature="0.2"/>
          {geoms}{inner}
        </body>"""
    return f"""
        <geom type="cylinder" fromto="0 0 0 0 0 0.15" size="0.08" rgba="0.35 0.36 0.38 1"/>{inner}"""


def _hand() -> str:
    """Hand and fingers; each finger is a coloured bar with a pad on its inner side, both of them boxes."""
    cos, sin = np.cos(kinematics.HAND_YAW / 2), np.sin(kinematics.HAND_YAW / 2)
    fingers = "".join(
        f"""
          <body name="{side}_finger" pos="0 0 {kinematics.FINGER_REACH}" gravcomp="1">
            <inertial pos="0 0 -0.02" mass="0.05" diaginertia="2e-5 2e-5 2e-5"/>
            <joint name="{side}_finger" type="slide" axis="0 {sign} 0" range="0 {GRIPPER_MAX / 2}"
                   armature="0.1" damping="1"/>
            <geom class="gripper" type="box" pos="0 {sign * 0.011} -0.018" size="0.010 0.005 0.028"
                  rgba="0.07 0.07 0.08 1"/>
            <geom name="{side}_pad" class="gripper" type="box" pos="0 {sign * 0.003} -0.001" size="0.010 0.003 0.011"
                  rgba="0.16 0.16 0.17 1"/>
          </body>"""
        for side, sign in (("left", 1), ("right", -1))
    )
    return f"""
        <body name="hand" pos="0 0 {kinematics.FLANGE}" quat="{cos:.17g} 0 0 {sin:.17g}" gravcomp="1">
          <inertial pos="0 0 0.03" mass="0.6" diaginertia="0.002 0.002 0.002"/>
          <geom class="gripper" type="box" pos="0 0 0.028" size="0.026 0.066 0.030" rgba="0.50 0.51 0.53 1"/>
          <camera name="wrist" pos="0.10 0 0.02" xyaxes="0 1 0 0.87 0 0.5" fovy="75"/>
          <site name="end_effector" pos="0 0 {kinematics.FINGER_REACH}" size="0.002" rgba="0 0 0 0"/>{fingers}
        </body>"""


def _front_camera() -> str:
    sin, cos = np.sin(_FRONT_ELEVATION), np.cos(_FRONT_ELEVATION)
    x, y, z = _FRONT_TARGET + _FRONT_DISTANCE * np.array([cos, 0.0, sin])
    return f'<camera name="front" pos="{x} {y} {z}" xyaxes="0 1 0 {-sin} 0 {cos}" fovy="{_FRONT_FOVY}"/>'


def _actuators() -> str:
    """A position servo for each joint of the arm."""
    return "".join(
        f"""
    <position joint="joint_{i}" kp="{kp}" kv="{kv}" ctrlrange="{low} {high}"/>"""
        for i, ((kp, kv), low, high) in enumerate(
            zip(_JOINT_GAINS, kinematics.JOINT_LOW, kinematics.JOINT_HIGH, strict=True), start=1
        )
    )


def _visual(rendering: Rendering, frame: tuple[int, int], shadows: int) -> str:
    """Light and quality of pictures; "fast" has neither shadows nor multisampling."""
    if rendering not in RENDERINGS:
        raise ValueError(f"rendering must be one of {RENDERINGS}, got {rendering!r}")
    height, width = frame
    quality = 'shadowsize="0" offsamples="0"' if rendering == "fast" else f'shadowsize="{shadows}"'
    return f"""
    <global offwidth="{width}" offheight="{height}"/>
    <headlight active="1" ambient="0.35 0.35 0.35" diffuse="0.35 0.35 0.35" specular="0 0 0"/>
    <map znear="0.02" zfar="20"/>
    <quality {quality}/>"""


def _gripper() -> str:
    """What couples the fingers, as elements of the model."""
    return """
  <tendon>
    <fixed name="gripper">
      <joint joint="left_finger" coef="1"/>
      <joint joint="right_finger" coef="1"/>
    </fixed>
  </tendon>
  <equality>
    <joint joint1="left_finger" joint2="right_finger" polycoef="0 1 0 0 0" solref="0.004 1" solimp="0.98 0.999 0.001"/>
  </equality>"""


@dataclass(frozen=True)
class SceneParts:
    """What a world puts on the table, as MJCF, and how it is simulated and drawn."""

    name: str
    timestep: float  # [s]
    objects: str
    """Bodies, and geoms of the world."""
    sensors: str
    table: tuple[float, float] = (0.75, 0.8)
    """Half of its edges [m]."""
    impratio: float = 20.0
    cameras: str = ""
    """Those beside the front one and that of the wrist."""
    contacts: str = ""
    """Pairs of geoms that meet in a way of their own."""
    elements: str = ""
    """Further elements of the model."""
    frame: tuple[int, int] = (MAX_FRAME, MAX_FRAME)
    """Largest height and width of a frame [px]."""
    shadows: int = 4096
    """Height and width of the shadow map of rich pictures [px]."""


def scene_xml(parts: SceneParts, rendering: Rendering) -> str:
    """MJCF of a scene; "fast" has neither shadows nor multisampling, "rich" has both."""
    length, width = parts.table
    return f"""
<mujoco model="{parts.name}">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="{parts.timestep}" integrator="implicitfast" cone="elliptic" impratio="{parts.impratio:g}"/>
  <visual>{_visual(rendering, parts.frame, parts.shadows)}
  </visual>
  <asset>
    <texture type="skybox" builtin="gradient" rgb1="0.45 0.47 0.50" rgb2="0.30 0.31 0.33" width="64" height="64"/>
  </asset>
  <default>
    <geom contype="0" conaffinity="0" rgba="0.88 0.88 0.87 1"/>
    <default class="gripper">
      <geom contype="2" conaffinity="0" condim="4"/>
    </default>
  </default>
  <worldbody>
    <light directional="true" pos="0.6 0.4 2" dir="-0.5 -0.25 -1" diffuse="0.5 0.5 0.5" specular="0 0 0"/>
    {_front_camera()}{parts.cameras}
    <geom name="table" type="box" pos="0.35 0 -0.02" size="{length} {width} 0.02" contype="1" conaffinity="3"
          rgba="0.62 0.60 0.57 1"/>
    {_arm()}
    {parts.objects}
  </worldbody>
  <contact>{parts.contacts}
  </contact>{_gripper()}
  <actuator>{_actuators()}
    <position name="gripper" tendon="gripper" kp="500" kv="15" ctrlrange="0 {GRIPPER_MAX}"
              forcerange="{-GRIPPER_FORCE} {GRIPPER_FORCE}"/>
  </actuator>
  <sensor>{parts.sensors}
  </sensor>{parts.elements}
</mujoco>
"""
