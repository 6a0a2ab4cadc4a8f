"""Records `Lift.hdf5` and `Stack.hdf5` in robosuite, as robomimic stores them: importers are tested on them.

robosuite 1.5.2 needs another MuJoCo than gwm_sim, so this runs in an environment of its own:

    python -m venv venv && venv/bin/pip install robosuite==1.5.2 mujoco==3.3.7 h5py
    MUJOCO_GL=egl venv/bin/python make.py .

Each file holds two demonstrations of twelve actions with one Panda and `controller="BASIC"`, whose configuration
describes two arms, a torso, a head, a base and legs. The first one is the end of a scripted success, the second one its
beginning, so one ends with a reward of 1 and one has none. `env_args`, observations and masks are what robomimic's
`dataset_states_to_obs.py` and `split_train_val.py` write; `model_file` is left out for its size. robosuite and its
models are under the MIT licence.
"""

import json
import sys
from collections import deque
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import robosuite
from numpy.typing import NDArray
from robosuite.controllers import load_composite_controller_config

Array = NDArray[Any]

STEPS, SIZE, FREQUENCY = 12, 32, 20
CAMERA = "agentview"
OPEN, CLOSE = -1.0, 1.0
UNIT = 0.05  # of the controller [m]


def environment(task: str) -> tuple[Any, dict[str, Any]]:
    """The environment and its keyword arguments, as robomimic completes and stores them."""
    kwargs = {
        "robots": ["Panda"],
        "controller_configs": load_composite_controller_config(controller="BASIC", robot="Panda"),
        "control_freq": FREQUENCY,
        "camera_names": [CAMERA],
        "camera_heights": SIZE,
        "camera_widths": SIZE,
        "camera_depths": False,
        "reward_shaping": False,
        "has_renderer": False,
        "has_offscreen_renderer": True,
        "ignore_done": True,
        "use_object_obs": True,
        "use_camera_obs": True,
        "lite_physics": False,
        "seed": 0,
    }
    return robosuite.make(task, **deepcopy(kwargs)), kwargs


def waypoints(task: str, env: Any) -> Iterator[tuple[Array, float, int]]:
    """Where the hand goes, with which gripper, and for at most how many steps."""
    cube = env.cube if task == "Lift" else env.cubeA

    def place(body: Any) -> Array:
        return np.array(env.sim.data.body_xpos[env.sim.model.body_name2id(body.root_body)])

    above = np.array([0, 0, 0.12])
    yield place(cube) + above, OPEN, 40
    yield place(cube), OPEN, 40
    yield place(cube), CLOSE, 8
    yield place(cube) + above, CLOSE, 40
    if task == "Stack":
        yield place(env.cubeB) + above, CLOSE, 40
        yield place(env.cubeB) + [0, 0, 0.05], CLOSE, 40
        yield place(env.cubeB) + [0, 0, 0.05], OPEN, 6
        yield place(env.cubeB) + above, OPEN, 40


def observe(raw: dict[str, Any]) -> dict[str, Array]:
    """What robomimic keeps of an observation; pictures are turned upright."""
    kept = {key: np.array(value) for key, value in raw.items() if key.startswith("robot0_") and "proprio" not in key}
    kept["object"] = np.array(raw["object-state"])
    kept[f"{CAMERA}_image"] = raw[f"{CAMERA}_image"][::-1].copy()
    return kept


def run(task: str, env: Any) -> list[dict[str, Any]]:
    """Act until the task has been fulfilled for some steps; every step with what was seen before and after."""
    steps: list[dict[str, Any]] = []
    fulfilled: deque[bool] = deque(maxlen=3)
    seen = observe(env.reset())
    for target, grip, most in waypoints(task, env):
        for _ in range(most):
            error = target - seen["robot0_eef_pos"]
            if np.abs(error).max() < 0.008 and most > 8:
                break
            action = np.concatenate([np.clip(error / UNIT, -1, 1), np.zeros(3), [grip]])
            state = env.sim.get_state().flatten()
            # A context of OpenGL that a reset left behind takes the present one along when it is collected.
            env.sim._render_context_offscreen.gl_ctx.make_current()
            raw, reward, _, _ = env.step(action)
            after = observe(raw)
            change = np.abs(after[f"{CAMERA}_image"].astype(int) - seen[f"{CAMERA}_image"]).mean()
            assert change < 20, f"{task}: step {len(steps)} changes pictures by {change:.0f} levels: they are not drawn"
            steps.append({"action": action, "state": state, "reward": reward, "obs": seen, "next_obs": after})
            seen = after
            fulfilled.append(bool(env._check_success()))
            if len(fulfilled) == 3 and all(fulfilled):
                return steps
    raise SystemExit(f"{task} was not fulfilled")


def write(group: h5py.Group, steps: list[dict[str, Any]]) -> None:
    group.attrs["num_samples"] = len(steps)
    columns = {
        "actions": np.stack([step["action"] for step in steps]),
        "states": np.stack([step["state"] for step in steps]),
        "rewards": np.array([step["reward"] for step in steps]),
        "dones": (np.arange(1, len(steps) + 1) == len(steps)).astype(int),
    }
    for view in ("obs", "next_obs"):
        columns |= {f"{view}/{key}": np.stack([step[view][key] for step in steps]) for key in steps[0][view]}
    for name, values in columns.items():
        group.create_dataset(name, data=values, compression="gzip", compression_opts=9)


def record(task: str, folder: Path) -> None:
    env, kwargs = environment(task)
    steps = run(task, env)
    args = {"env_name": task, "env_version": robosuite.__version__, "type": 1, "env_kwargs": kwargs}
    with h5py.File(folder / f"{task}.hdf5", "w", libver="latest") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(args)
        data.attrs["total"] = 2 * STEPS
        write(data.create_group("demo_0"), steps[-STEPS:])
        write(data.create_group("demo_1"), steps[:STEPS])
        file["mask/train"], file["mask/valid"] = np.array([b"demo_0"]), np.array([b"demo_1"])
    env.close()


if __name__ == "__main__":
    for task in ("Lift", "Stack"):
        np.random.seed(0)
        record(task, Path(sys.argv[1]))
