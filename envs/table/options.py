"""What `reset(options=...)` of a table world takes and what its info tells: scene, task, properties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from gwm_sim.envs.table.edits import find_object
from gwm_sim.envs.table.initial_state import Start, draw_start
from gwm_sim.envs.table.prompts import read_prompt
from gwm_sim.envs.table.scene import TASKS, Assignment, Scene, SceneObject, is_point, one_of

OPTIONS: Final = ("prompt", "scene", "assignment", "properties")


@dataclass(frozen=True)
class StartOptions:
    """What is said of the start of an episode; the rest is drawn."""

    task: str | None = None
    objects: tuple[SceneObject, ...] | None = None
    chosen: tuple[int, ...] | None = None
    place: tuple[float, float] | None = None
    properties: Mapping[str, float] | str | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Read the options of a reset.

        Args:
            options: `scene`, a `Scene` or a list of objects (`SceneObject` or mappings such as `{"kind": "ball",
                "colour": "green"}`); `assignment`, an `Assignment` or a mapping with any of `task`, `objects`, by
                number or name, and `place`; `properties`, values by name or "random"; or a `prompt` in their place.

        Raises:
            ValueError: Something that does not exist or makes no sense.
        """
        if unknown := set(options) - set(OPTIONS):
            raise ValueError(f"Unknown reset options {sorted(unknown)}; a table world takes {', '.join(OPTIONS)}")
        if options.get("prompt") is not None:
            return cls._prompted(options)
        properties, scene, asked = (options.get(name) for name in ("properties", "scene", "assignment"))
        if not isinstance(properties, str | Mapping | None):
            raise ValueError(f"properties must be 'random' or values by name, got {properties!r}")
        if isinstance(scene, Scene) and properties is None:
            properties = scene.properties or None
        objects = None if scene is None else _objects(scene)
        if isinstance(asked, Assignment):
            asked = {name: value for name, value in vars(asked).items() if value is not None}
        if asked is None:
            return cls(objects=objects, properties=properties)
        if not isinstance(asked, Mapping) or set(asked) - {"task", "objects", "place"}:
            raise ValueError(f"assignment has any of task, objects and place, got {asked!r}")
        if asked.get("task") is not None:
            one_of("task", asked["task"], TASKS)
        chosen = asked.get("objects")
        if chosen and objects is None:
            raise ValueError("an assignment that names objects needs their scene")
        numbers = None if chosen is None else tuple(find_object(objects or (), which) for which in chosen)
        return cls(asked.get("task"), objects, numbers, _point(asked.get("place")), properties)

    @classmethod
    def _prompted(cls, options: Mapping[str, Any]) -> Self:
        if others := sorted(name for name in options if name != "prompt" and options[name] is not None):
            raise ValueError(f"a prompt says all there is to say of a start: leave out {', '.join(others)}")
        said = read_prompt(options["prompt"])
        return cls(said.task, said.objects, said.chosen, said.place, said.properties or None)

    def draw(self, task: str, rng: np.random.Generator) -> Start:
        """A start, of `task` where nothing else is said."""
        return draw_start(self.task or task, rng, self.objects, self.properties, self.chosen, self.place)


def _objects(scene: Any) -> tuple[SceneObject, ...]:
    if isinstance(scene, Scene):
        return scene.objects
    if isinstance(scene, str | Mapping) or not isinstance(scene, Sequence):
        raise ValueError(f"scene must be a list of objects, got {scene!r}")
    return Scene(tuple(t if isinstance(t, SceneObject) else SceneObject.of(t) for t in scene), {}).objects


def _point(place: Any) -> tuple[float, float] | None:
    if place is None:
        return None
    if not is_point(place, 2):
        raise ValueError(f"place must be (x, y) in metres, got {place!r}")
    return float(place[0]), float(place[1])


def told(
    slots: Sequence[SceneObject | None], properties: Mapping[str, float], assignment: Assignment
) -> dict[str, Any]:
    """What the info of a reset says: `scene`, `task`, `properties`, and the numbers of the objects that it is about."""
    return {
        "scene": [thing.to_json() for thing in slots if thing is not None],
        "task": assignment.task,
        "task_objects": list(assignment.objects),
        "task_place": assignment.place,
        "properties": dict(properties),
    }


def instruction(slots: Sequence[SceneObject | None], assignment: Assignment) -> str:
    """What is to be done, in words."""
    there = dict(enumerate(slots))
    names = [f"the {thing.name}" for i in assignment.objects if (thing := there[i]) is not None]
    if assignment.task == "push":
        assert assignment.place is not None
        return f"push {names[0]} to ({assignment.place[0]:.3f}, {assignment.place[1]:.3f})"
    words = {
        "grasp": "pick up {}",
        "stack": "stack {} on {}",
        "tower": "build a tower with {} below, {} on it and {} on top",
        "drop": "let everything drop",
    }
    return words[assignment.task].format(*names)
