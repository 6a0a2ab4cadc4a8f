"""A cloth that a finger drags over a table, at 10 Hz, 60 steps an episode: what no tracker follows as a thing.

Environment: that of gwm_sim, whose MuJoCo brings it. The cloth is a flex of 9 x 9 vertices, 24 cm wide. A finger on a
gantry takes hold of the nearest vertex within `REACH` when it closes close to the table, and lets go when it opens.
Actions are changes of where it should be (x, y, z) in units of `STEP`, and its opening.

Who acts, by seed: half of the episodes take a corner, carry it to a point on the other side, let go, and go on with
another; a quarter do so with noise of 0.5 of the largest action; a quarter wander over the table. Things are none: a
cloth has no place.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import mujoco
import numpy as np

from recorders.filming import SIZE
from recorders.recording import Take, World

STEPS, SUBSTEPS = 60, 20
WORLD = World("MuJoCo-Cloth-v0", 10, None, ())
SIDE, SPACING = 9, 0.03
"""Vertices of the cloth along each side, and how far they are apart [m]."""
STEP = 0.04
"""By how much a step moves the finger at most [m]."""
STIFF, DAMPED = 6.0, 0.03
"""Of the hold on a vertex [N/m, Ns/m], which weighs one gram."""
REACH, LOW = 0.04, 0.03
"""Within which distance it takes hold of a vertex, and below which height [m]."""
BOUNDS = np.array([[-0.22, -0.22, 0.012], [0.22, 0.22, 0.16]])
"""Where the finger may be [m]."""
BEHAVIOURS = ("corners", "corners, noise 0.5", "corners", "random")

SCENE = f"""
<mujoco>
  <option timestep="0.005" solver="CG" tolerance="1e-6" iterations="50"/>
  <visual><global offwidth="{SIZE}" offheight="{SIZE}"/><quality shadowsize="0"/></visual>
  <asset>
    <texture name="weave" type="2d" builtin="checker" rgb1=".80 .25 .20" rgb2=".93 .75 .45" width="96" height="96"/>
    <material name="cloth" texture="weave" texrepeat="2 2"/>
  </asset>
  <worldbody>
    <light pos="0 0 2" dir="0 0 -1" diffuse=".7 .7 .7" ambient=".35 .35 .35"/>
    <camera name="front" pos="0 -.42 .5" xyaxes="1 0 0 0 .766 .643" fovy="45"/>
    <geom name="table" type="plane" size=".5 .5 .05" rgba=".45 .48 .52 1" friction="1"/>
    <body name="finger" pos="0 0 .1">
      <joint name="x" type="slide" axis="1 0 0" damping="20"/>
      <joint name="y" type="slide" axis="0 1 0" damping="20"/>
      <joint name="z" type="slide" axis="0 0 1" damping="20"/>
      <geom type="capsule" fromto="0 0 0 0 0 .05" size=".009" rgba=".15 .17 .2 1" mass=".2" contype="0"
        conaffinity="0"/>
      <geom type="box" pos="0 0 .07" size=".02 .02 .02" rgba=".85 .87 .9 1" mass=".01" contype="0"
        conaffinity="0"/>
    </body>
    <flexcomp name="cloth" type="grid" count="{SIDE} {SIDE} 1" spacing="{SPACING} {SPACING} {SPACING}" pos="0 0 .012"
      dim="2" radius=".004" mass=".08" material="cloth">
      <edge equality="true" damping=".1"/>
      <contact selfcollide="none" friction=".8" condim="3"/>
    </flexcomp>
  </worldbody>
  <actuator>
    <position joint="x" kp="200" ctrlrange="-.5 .5"/>
    <position joint="y" kp="200" ctrlrange="-.5 .5"/>
    <position joint="z" kp="200" ctrlrange="-.5 .5"/>
  </actuator>
</mujoco>
"""


class Bench:
    """The finger and the cloth."""

    def __init__(self) -> None:
        self.model = mujoco.MjModel.from_xml_string(SCENE)
        self.data = mujoco.MjData(self.model)
        self._renderer = mujoco.Renderer(self.model, SIZE, SIZE)
        self.held: int | None = None
        self._bodies = [self.model.body(f"cloth_{i}").id for i in range(SIDE**2)]

    def reset(self, rng: Any) -> None:
        """Lay the cloth down flat, somewhere, and begin above it."""
        mujoco.mj_resetData(self.model, self.data)
        self.held, self.opening = None, 1.0
        self.aim = rng.uniform(*BOUNDS)
        self.data.qpos[:3] = self.aim - (0, 0, 0.1)
        shift = rng.uniform(-0.04, 0.04, 2)
        self.data.qpos[3:].reshape(-1, 3)[:, :2] += shift
        mujoco.mj_forward(self.model, self.data)

    @property
    def place(self) -> Any:
        """Where the finger is (3,) [m]."""
        return self.data.body("finger").xpos.copy()

    @property
    def vertices(self) -> Any:
        """Where the vertices are (V, 3) [m], row by row."""
        return self.data.xpos[self._bodies]

    def step(self, action: Any) -> None:
        """Move by an action (4,) in [-1, 1]: its first three, and open where the last is positive, else close."""
        self.aim = np.clip(self.aim + STEP * action[:3], *BOUNDS)
        self.opening = float(action[3] > 0)
        self.data.ctrl[:] = self.aim - (0, 0, 0.1)
        if self.opening:
            self.held = None
        elif self.held is None and self.place[2] < LOW:
            away = np.linalg.norm(self.vertices - self.place, axis=1)
            self.held = int(away.argmin()) if away.min() < REACH else None
        for _ in range(SUBSTEPS):
            self.data.xfrc_applied[:] = 0
            if self.held is not None:
                body = self._bodies[self.held]
                velocity = self.data.cvel[body, 3:]
                self.data.xfrc_applied[body, :3] = STIFF * (self.place - self.data.xpos[body]) - DAMPED * velocity
            mujoco.mj_step(self.model, self.data)

    def picture(self) -> Any:
        """What a camera sees, (H, W, 3) uint8."""
        self._renderer.update_scene(self.data, "front")
        return self._renderer.render().copy()


class Folder:
    """Takes a corner, carries it over the cloth, lets go and takes another."""

    def __init__(self, bench: Bench, rng: Any) -> None:
        self._bench, self._rng, self._plan = bench, rng, list[Any]()

    def act(self) -> Any:
        """The next action, (4,)."""
        bench = self._bench
        if not self._plan:
            corner = bench.vertices[self._rng.choice([0, SIDE - 1, SIDE * (SIDE - 1), SIDE**2 - 1])]
            middle = bench.vertices.mean(axis=0)
            goal = np.clip(middle + self._rng.uniform(0.2, 1.1) * (middle - corner), *BOUNDS)
            high = self._rng.uniform(0.04, 0.1)
            route = [(corner, 0.07, 1), (corner, 0.012, 1), (corner, 0.012, -1), (corner, high, -1)]
            route += [(goal, high, -1), (goal, 0.02, -1), (goal, 0.02, 1), (goal, 0.09, 1)]
            self._plan = [(np.append(place[:2], height), grip) for place, height, grip in route]
        aim, grip = self._plan[0]
        way = (aim - bench.place) / STEP
        if np.abs(way).max() < 0.3:
            self._plan.pop(0)
        return np.append(np.clip(way, -1, 1), grip)


class Wanderer:
    """Moves to and fro low over the table, and opens and closes, without an aim."""

    def __init__(self, bench: Bench, rng: Any) -> None:
        self._bench, self._rng, self._action = bench, rng, np.zeros(4)

    def act(self) -> Any:
        """The next action, (4,), which resembles the last one."""
        self._action = 0.85 * self._action + self._rng.normal(0, 0.35, 4)
        middle = np.append(self._bench.vertices.mean(axis=0)[:2], 0.03)
        return np.clip(self._action + np.append(2 * (middle - self._bench.place), 0), -1, 1)


def takes(seeds: Iterable[int]) -> Iterator[Take]:
    """Act and film, one episode per seed."""
    bench = Bench()
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        bench.reset(rng)
        behaviour = BEHAVIOURS[seed % 4]
        actor, rows = (Wanderer if behaviour == "random" else Folder)(bench, rng), []
        for step in range(STEPS + 1):
            action = actor.act()
            if "noise" in behaviour:
                action = np.clip(action + rng.normal(0, 0.5, 4) * (1, 1, 1, 0), -1, 1)
            rows.append((bench.picture(), bench.place, [bench.opening], action))
            if step < STEPS:
                bench.step(action)
        frames, places, openings, actions = map(np.stack, zip(*rows, strict=True))
        nothing = np.zeros((len(frames), 0, 2))
        telemetry = {"robot0_eef_pos": places, "robot0_gripper_opening": openings}
        yield Take(seed, behaviour, frames, telemetry, actions[:-1], nothing, nothing[..., 0], succeeded=False)
