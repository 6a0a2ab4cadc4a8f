"""Objects of the table twin bounce, slide, roll, stack and are held as mechanics says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("mujoco")

import mujoco  # noqa: E402

from gwm_sim.envs.table.mujoco.scene import TIMESTEP, make_model, object_name  # noqa: E402
from gwm_sim.envs.table.mujoco.simulation import filled  # noqa: E402
from gwm_sim.envs.table.scene import DEFAULT_MASS, KINDS, PROPERTY_DEFAULTS, SceneObject  # noqa: E402
from gwm_sim.envs.tabletop.mujoco.kinematics import HOME  # noqa: E402

Array = NDArray[np.float64]
GRAVITY = PROPERTY_DEFAULTS["gravity"]
FREE = np.array([0.45, 0.3])  # where the arm is not [m]


class Bench:
    """Objects beside the resting arm, simulated step by step."""

    def __init__(self, objects: Sequence[dict[str, Any]], **properties: float) -> None:
        things = [SceneObject.of({"colour": "red", "size": 0.05, "mass": DEFAULT_MASS, **thing}) for thing in objects]
        self.model = make_model(filled(things), {**PROPERTY_DEFAULTS, **properties}, "fast")
        self.data = mujoco.MjData(self.model)
        self.data.qpos[:7] = self.data.ctrl[:7] = HOME
        for i, thing in enumerate(things):
            assert thing.position is not None and thing.size is not None
            self.joint(i).qpos[:3] = thing.position if len(thing.position) == 3 else (*thing.position, thing.size / 2)

    def joint(self, index: int = 0) -> Any:
        return self.data.joint(object_name(index))

    def run(self, seconds: float, index: int = 0) -> Array:
        """Positions (T, 3) of an object after every step [m]."""
        path = []
        for _ in range(round(seconds / TIMESTEP)):
            mujoco.mj_step(self.model, self.data)
            path.append(self.joint(index).qpos[:3].copy())
        return np.array(path)

    def energy(self, index: int = 0) -> float:
        """Of an object's motion and height [J]."""
        body, (linear, angular) = self.model.body(object_name(index)), np.split(self.joint(index).qvel, 2)
        height = self.joint(index).qpos[2]
        return float(body.mass[0] * (linear @ linear / 2 + GRAVITY * height) + (body.inertia * angular**2).sum() / 2)


def apex(heights: Array, rate: int = 10) -> float:
    """Highest point of the first flight after a bounce, by a parabola through three samples of what is recorded."""
    seen = heights[::rate]
    bounces = np.flatnonzero((seen[1:-1] <= seen[:-2]) & (seen[1:-1] < seen[2:])) + 1
    flight = seen[bounces[0] : bounces[1] + 1 if len(bounces) > 1 else None]
    top = int(flight[1:-1].argmax()) + 1
    a, b, c = np.polyfit([-1, 0, 1], flight[top - 1 : top + 2], 2)
    return float(c - b**2 / (4 * a))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "mass"), [(0.03, 0.5), (0.06, 0.02)])
@pytest.mark.parametrize("height", [0.3, 0.6])
def test_a_drop_keeps_the_share_of_its_speed_that_was_asked_for(
    kind: str, size: float, mass: float, height: float
) -> None:
    for bounciness in (0.3, 0.5, 0.7, 0.9):
        thing = {"kind": kind, "size": size, "mass": mass, "position": (*FREE, size / 2 + height)}
        bench = Bench([thing], bounciness=bounciness)
        path = bench.run(4.0 * np.sqrt(2 * height / GRAVITY))
        kept = np.sqrt((apex(path[:, 2]) - size / 2) / height)
        assert kept == pytest.approx(bounciness, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_dull_things_do_not_bounce_and_own_bounciness_counts_before_that_of_the_scene(kind: str) -> None:
    thing = {"kind": kind, "position": (*FREE, 0.325)}
    dull = Bench([{**thing, "bounciness": 0.0}], bounciness=0.9).run(0.6)
    lively = Bench([{**thing, "bounciness": 0.9}], bounciness=0.0).run(0.6)
    assert dull[160:, 2].max() < 0.026
    assert lively[160:, 2].max() > 0.2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("friction", [0.1, 1.0])
def test_tumbling_things_gain_no_energy(kind: str, friction: float) -> None:
    rng = np.random.default_rng(0)
    for bounciness in (0.5, 0.9):
        bench = Bench([{"kind": kind, "position": (*FREE, 0.3)}], bounciness=bounciness, friction=friction)
        turn = rng.normal(size=4)
        bench.joint().qpos[3:] = turn / np.linalg.norm(turn)
        bench.joint().qvel[:] = [*rng.normal(0, 0.3, 3), *rng.normal(0, 10, 3)]
        start = least = bench.energy()
        for _ in range(1000):
            mujoco.mj_step(bench.model, bench.data)
            if bench.data.ncon == 0:  # in a contact some energy is in its spring
                assert bench.energy() <= least + 1e-3 * start
                least = min(least, bench.energy())


def test_gravity_says_how_long_a_fall_takes() -> None:
    for gravity in (1.6, 9.81, 15.0):
        heights = Bench([{"kind": "ball", "position": (*FREE, 0.525)}], gravity=gravity).run(1.0)[:, 2]
        landed = TIMESTEP * (np.argmax(heights < 0.025) + 1)
        assert landed == pytest.approx(np.sqrt(2 * 0.5 / gravity), abs=2 * TIMESTEP)


@pytest.mark.parametrize("kind", ["cube", "cylinder"])
@pytest.mark.parametrize("friction", [0.1, 0.2, 0.4])
def test_things_slide_as_far_as_friction_lets_them(kind: str, friction: float) -> None:
    bench = Bench([{"kind": kind, "position": FREE}], friction=friction)
    bench.run(0.1)
    bench.joint().qvel[0] = 0.5
    slid = bench.run(0.8)[-1, 0] - FREE[0]
    assert slid == pytest.approx(0.5**2 / (2 * friction * GRAVITY), rel=0.05)


def test_two_things_share_their_friction() -> None:
    """On a slope of 0.45 the root of 1.2 * 0.1 does not hold a cube on another, that of 1.2 * 0.3 does."""
    for own, slides in ((0.1, True), (0.3, False)):
        things = [
            {"size": 0.06, "friction": 1.2, "position": FREE},
            {"size": 0.03, "friction": own, "position": (*FREE, 0.075)},
        ]
        bench = Bench(things)
        bench.model.opt.gravity[0] = 0.45 * GRAVITY
        moved = bench.run(0.25, 1)[-1] - bench.joint(0).qpos[:3]
        assert (np.hypot(moved[0], moved[1]) > 0.02) == slides


def test_balls_roll_and_come_to_rest() -> None:
    bench = Bench([{"kind": "ball", "position": FREE}])
    bench.run(0.1)
    bench.joint().qvel[0] = 0.3
    path = bench.run(2.0)[:, 0] - FREE[0]
    assert 0.03 < path[-1] < 0.12 and path[-1] - path[-100] < 1e-4


@pytest.mark.parametrize("kinds", [("cube", "cube", "cube"), ("cylinder", "cube", "cylinder"), ("cube", "ball")])
@pytest.mark.parametrize("bounciness", [0.1, 0.9])
def test_stacks_stand(kinds: tuple[str, ...], bounciness: float) -> None:
    sizes, bottom, things = (0.05, 0.04, 0.03), 0.0, []
    for kind, size in zip(kinds, sizes, strict=False):
        things.append({"kind": kind, "size": size, "position": (*FREE, bottom + size / 2)})
        bottom += size
    bench = Bench(things, bounciness=bounciness)
    bench.run(1.0)
    before = [bench.joint(i).qpos.copy() for i in range(len(kinds))]
    bench.run(2.0)
    for i, thing in enumerate(things):
        assert bench.joint(i).qpos[:3] == pytest.approx(thing["position"], abs=1e-3)
        assert bench.joint(i).qpos == pytest.approx(before[i], abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_six_things_may_fall_onto_each_other(kind: str) -> None:
    rng = np.random.default_rng(1)
    things = [
        {"kind": kind, "size": 0.06, "mass": float(mass), "position": (*(FREE + rng.uniform(-0.01, 0.01, 2)), height)}
        for mass, height in zip(rng.choice([0.02, 0.5], 6), np.arange(6) * 0.08 + 0.05, strict=True)
    ]
    bench = Bench(things, bounciness=0.5)
    for _ in range(20):
        bench.run(0.1)
        poses = np.array([bench.joint(i).qpos[:3] for i in range(6)])
        assert np.isfinite(poses).all()
        assert (poses[:, 2] > 0.02).all() and (poses[:, 2] < 0.6).all()
        apart = np.linalg.norm(poses[:, None] - poses, axis=-1) + np.eye(6)
        assert apart.min() > 0.05
