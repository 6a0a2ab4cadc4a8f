"""The physics twin of the table world: experts and floors, bounces and slides against mechanics, steps per second.

python benchmarks/table_twin.py --json benchmarks/results/table_twin.json
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import gymnasium as gym
import mujoco
import numpy as np
from numpy.typing import NDArray
from program import circumstances, launch, runs_of

from gwm_sim.envs.table.mujoco.scene import TIMESTEP, make_model, object_name
from gwm_sim.envs.table.mujoco.simulation import filled
from gwm_sim.envs.table.scene import KINDS, PROPERTY_DEFAULTS, TASKS, SceneObject
from gwm_sim.envs.table.spec import TWIN_ID
from gwm_sim.envs.tabletop.mujoco.kinematics import HOME
from gwm_sim.files import write_json
from gwm_sim.policies.evaluation import evaluate
from gwm_sim.policies.table.behaviours import mixed
from gwm_sim.policies.table.experts import expert
from gwm_sim.policies.uniform import HoldPolicy, UniformPolicy
from gwm_sim.protocol import FIRST_EVALUATION_SEED

FREE: Final = (0.45, 0.3)  # where the arm is not [m]
HEIGHTS: Final = (0.3, 0.45, 0.6)  # from which things are dropped [m]
BOUNCINESS: Final = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9)
FRICTION: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
GRAVITY: Final = (1.6, 3.5, 5.5, 7.5, 9.81, 11.5, 13.5, 15.0)
SPEED: Final = 0.5  # at which something slides [m/s]
POLICIES: Final[dict[str, Callable[[Any, int], Any]]] = {
    "scripted": lambda env, seed: expert(env),
    "uniform": lambda env, seed: UniformPolicy(env.single_action_space, seed),
    "hold": lambda env, seed: HoldPolicy(env.single_action_space),
}
PICTURES: Final[dict[str, dict[str, Any]]] = {
    "no pictures": {"cameras": (), "rendering": "fast"},
    "front, fast": {"rendering": "fast"},
    "front, rich": {},
    "front and film, rich": {"cameras": ("front", "film")},
}

Numbers = dict[str, Any]


@dataclass(frozen=True)
class TableTwinConfig:
    """Measure the twin of the table world."""

    episodes: int = 200
    """Episodes of each policy and task."""
    seed: int = FIRST_EVALUATION_SEED
    """Seed of the first episode."""
    rows: int = 50
    """Episodes that run at a time."""
    steps: int = 60
    """Steps of each measurement of speed."""
    json: Path | None = None
    """Write the numbers here; a killed run goes on."""


def success(config: TableTwinConfig, task: str, policy: str) -> Numbers:
    """Sustained success of a policy in a task."""
    env: Any = gym.make_vec(TWIN_ID, num_envs=config.rows, task=task, cameras=(), rendering="fast")
    acting = POLICIES[policy](env, config.seed)
    found = evaluate(acting, env, config.episodes, config.seed, until_sustained=True)
    env.close()
    return {
        "success_rate": found.success_rate,
        "wilson": list(found.interval),
        "episodes": config.episodes,
        "median_steps": found.median_steps,
    }


def alone(thing: SceneObject, speed: float, seconds: float, **properties: float) -> NDArray[np.float64]:
    """Positions (T, 3) of an object beside the resting arm, which begins with a speed along x [m], [m/s]."""
    model = make_model(filled([thing]), {**PROPERTY_DEFAULTS, **properties}, "fast")
    data = mujoco.MjData(model)
    data.qpos[:7] = data.ctrl[:7] = HOME
    joint = data.joint(object_name(0))
    assert thing.position is not None
    joint.qpos[:3], joint.qvel[0] = thing.position, speed
    path = np.empty((round(seconds / TIMESTEP), 3))
    for position in path:
        mujoco.mj_step(model, data)
        position[:] = joint.qpos[:3]
    return path


def things(kinds: Sequence[str], height: float) -> Iterator[SceneObject]:
    """Small heavy and large light ones, at a height above the table [m]."""
    for kind in kinds:
        for size, mass in ((0.03, 0.5), (0.045, 0.1), (0.06, 0.02)):
            yield SceneObject(kind, "red", size, (*FREE, size / 2 + height), mass=mass)


def kept(thing: SceneObject, height: float, bounciness: float) -> float:
    """Share of its speed that a dropped object keeps, by the highest point after its first bounce."""
    assert thing.size is not None
    fall = float(np.sqrt(2 * height / PROPERTY_DEFAULTS["gravity"]))
    heights = alone(thing, 0.0, 3.5 * fall, bounciness=bounciness)[:, 2] - thing.size / 2
    heights = heights[np.argmax(heights <= 0) :]
    left = np.flatnonzero(heights > 0)
    if not len(left):
        return 0.0
    flight = heights[left[0] :]
    ended = np.flatnonzero(flight < 0)
    return float(np.sqrt(flight[: ended[0] if len(ended) else None].max() / height))


def bounces(level: float) -> Numbers:
    """Share of their speed that things keep whose bounciness is `level`."""
    return _spread([kept(thing, height, level) for height in HEIGHTS for thing in things(KINDS, height)], level)


def slides(level: float) -> Numbers:
    """How far things slide that have begun with `SPEED`, whose friction is `level` [m]."""
    ends = [alone(thing, SPEED, 1.0, friction=level)[-1, 0] - FREE[0] for thing in things(("cube", "cylinder"), 0.0)]
    return _spread(ends, SPEED**2 / (2 * level * PROPERTY_DEFAULTS["gravity"]))


def falls(level: float) -> Numbers:
    """How long things fall for half a metre where gravity is `level` [s]."""
    paths = [alone(thing, 0.0, 1.2, gravity=level)[:, 2] - (thing.size or 0) / 2 for thing in things(KINDS, 0.5)]
    times = [TIMESTEP * (int(np.argmax(heights <= 0)) + 1) for heights in paths]
    return _spread(times, float(np.sqrt(2 * 0.5 / level)))


def _spread(found: Sequence[float], expected: float) -> Numbers:
    return {
        "expected": expected,
        "mean": float(np.mean(found)),
        "lowest": float(min(found)),
        "highest": float(max(found)),
        "n": len(found),
    }


def speed(config: TableTwinConfig, count: int, pictures: str) -> Numbers:
    """Steps per second of computing time of one environment, along mixed behaviours.

    The time of all threads counts, whatever else the machine does meanwhile.
    """
    env: Any = gym.make(TWIN_ID, task="grasp", time_limit=None, **PICTURES[pictures])
    observation, _ = env.reset(seed=config.seed, options={"scene": [{}] * count})
    policy, memory = mixed(env, config.seed), None
    spent = 0.0
    for _ in range(config.steps):
        action, memory = policy.predict(observation, memory)
        begin = time.process_time()
        observation, *_ = env.step(action)
        spent += time.process_time() - begin
    env.close()
    return {"steps_per_second": config.steps / spent}


def measurements(config: TableTwinConfig) -> dict[str, Callable[[], Numbers]]:
    """All of them, by name."""
    solvable = [task for task in TASKS if task != "drop"]
    return {
        **{f"speed: {n} objects, {seen}": partial(speed, config, n, seen) for n in (1, 3, 6) for seen in PICTURES},
        **{f"bounciness: {level}": partial(bounces, level) for level in BOUNCINESS},
        **{f"friction: {level}": partial(slides, level) for level in FRICTION},
        **{f"gravity: {level}": partial(falls, level) for level in GRAVITY},
        **{f"success: {task}/{who}": partial(success, config, task, who) for who in POLICIES for task in solvable},
    }


def main(config: TableTwinConfig) -> None:
    """Measure, print and write."""
    work = measurements(config)

    def do(names: list[str]) -> Iterator[tuple[str, Numbers]]:
        for name in names:
            numbers = work[name]()
            print(f"{name:36}", "  ".join(f"{key} {_shown(value)}" for key, value in numbers.items()), flush=True)
            yield name, numbers

    identity = {"runs of": "table twin", "episodes": config.episodes, "seed": config.seed, "steps": config.steps}
    begun = None if config.json is None else config.json.with_suffix(".begun.json")
    found = runs_of(begun, identity, list(work), do, lambda done: f"{len(done)} of {len(work)}")
    report: dict[str, Any] = {"seed": config.seed, **circumstances()}
    for name, numbers in zip(work, found, strict=True):
        title, what = name.split(": ")
        report.setdefault(title, {})[what] = numbers
    if config.json is not None and begun is not None:
        write_json(config.json, report)
        begun.unlink()


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    launch(main, TableTwinConfig)
