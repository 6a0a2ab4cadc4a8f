"""Episodes of the table world: what its objects are like, what was to be done, and who may act."""

from collections.abc import Mapping
from typing import Any, Final

from gwm_sim.envs.table import spec
from gwm_sim.envs.table.options import instruction
from gwm_sim.envs.table.scene import ATTRIBUTES, COLOURS, MAX_OBJECTS, TASKS
from gwm_sim.errors import ConfigError
from gwm_sim.policies.table.behaviours import mixed
from gwm_sim.policies.table.experts import ScriptedPolicy, expert
from gwm_sim.policies.tabletop.motions import wander_on
from gwm_sim.policies.tabletop.recording import Behaviour, Recorder
from gwm_sim.policies.uniform import HoldPolicy

SYMMETRY: Final = {"cube": "cubic", "ball": "spherical", "cylinder": "cylindrical"}

BEHAVIOURS: Final[Mapping[str, Behaviour]] = {
    "mixed": mixed,
    "scripted": lambda env, seed: expert(env, seed=seed),
    "uniform": lambda env, seed: ScriptedPolicy(env, wander_on, "uniform", seed),
    "hold": lambda env, seed: HoldPolicy(env.action_space),
}


class TableRecorder(Recorder):
    """Records single episodes of the table world."""

    behaviours = BEHAVIOURS

    def _find_task(self) -> str:
        task = self._config.task or "stack"
        if task not in TASKS:
            raise ConfigError(f"--task must be one of {', '.join(TASKS)}, got {task!r}")
        return task

    def _keywords(self) -> dict[str, Any]:
        config = self._config
        size = {} if config.size is None else {"size": config.size}
        return {"task": self._task, **size, "cameras": list(self._cameras), "rendering": config.rendering}

    def _making(self) -> dict[str, Any]:
        return self._env_kwargs | {"time_limit": None}

    def _time_limit(self) -> int:
        return spec.TIME_LIMIT[self._task]

    def _things(self) -> dict[str, Any]:
        return {
            "object_names": tuple(f"object_{i}" for i in range(MAX_OBJECTS)),
            "object_attributes": ATTRIBUTES,
            "object_looks": tuple(COLOURS),
            "object_symmetry": SYMMETRY,
            "tasks": TASKS,
        }

    def _see(self) -> dict[str, Any]:
        return super()._see() | {"attributes": self._twin.attributes()}

    def _say(self) -> dict[str, Any]:
        return {"instruction": instruction(self._twin.slots, self._twin.assignment)}
