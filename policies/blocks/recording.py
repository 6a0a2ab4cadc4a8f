"""Episodes of the block world: its tasks, its cubes, and who may act."""

from collections.abc import Mapping
from typing import Any, Final

from gwm_sim.envs.blocks import spec
from gwm_sim.errors import ConfigError
from gwm_sim.policies.blocks.behaviours import let_loose, mixed
from gwm_sim.policies.blocks.clumsy import build, handle
from gwm_sim.policies.blocks.experts import ScriptedPolicy, ScriptFactory, expert
from gwm_sim.policies.tabletop.motions import wander_on
from gwm_sim.policies.tabletop.recording import Behaviour, Recorder
from gwm_sim.policies.uniform import HoldPolicy

SIZE: Final = 64  # height and width of frames where nobody says [px]


def _scripted(name: str, script: ScriptFactory) -> Behaviour:
    return lambda env, seed: ScriptedPolicy(env, script, name, seed)


BEHAVIOURS: Final[Mapping[str, Behaviour]] = {
    "mixed": mixed,
    "handling": _scripted("handling", handle),
    "towers": _scripted("towers", build),
    "loose": _scripted("loose", let_loose),
    "scripted": lambda env, seed: expert(env, seed=seed),
    "uniform": _scripted("uniform", wander_on),
    "hold": lambda env, seed: HoldPolicy(env.action_space),
}


class BlockRecorder(Recorder):
    """Records single episodes of a block environment."""

    behaviours = BEHAVIOURS

    def _find_task(self) -> str:
        task = spec.task_of(self._config.env)
        if task is None:
            raise ConfigError(
                f"--env {self._config.env} is no block environment and no table. Try MuJoCo-BlockStack-v0."
            )
        if self._config.task is not None:
            raise ConfigError(f"--env {self._config.env} has the task {task}: --task is for MuJoCo-Table-v0")
        if not self._config.pictures or not self._config.cameras:
            raise ConfigError("block worlds are recorded with pictures; --size 16 --rendering fast costs least")
        return task

    def _keywords(self) -> dict[str, Any]:
        config = self._config
        return {"size": config.size or SIZE, "cameras": list(config.cameras), "rendering": config.rendering}

    def _time_limit(self) -> int:
        return spec.TIME_LIMIT[self._task]

    def _things(self) -> dict[str, Any]:
        return {"object_names": spec.OBJECT_NAMES, "object_size": spec.CUBE_SIZE, "tasks": spec.TASKS}
