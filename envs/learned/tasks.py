"""What reward and success mean in imagined worlds: what the model learned of labels, or a function of one's own.

A goal image is a task too, of single rows: `goals.py`.
"""

import importlib.util
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gwm_sim.envs.learned.goal_pictures import goal_picture
from gwm_sim.envs.learned.goals import Verdict
from gwm_sim.errors import ConfigError
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel

SUCCESS_PROBABILITY: Final = 0.5  # above which the success head counts as a yes
FUNCTION: Final = re.compile(r"(?P<file>.+\.py):(?P<name>\w+)")
"""How a task is written that is a function: FILE.py:NAME."""

Told = Mapping[str, NDArray[np.float32]]
"""Numbers of n worlds by name."""


class Task(Protocol):
    """What is to be done."""

    def judge(self, model: WorldModel, state: WorldState) -> Verdict:
        """Reward and success of n worlds."""


class NoTask:
    """Nothing is known of what is to be done: rewards are 0 and nothing succeeds."""

    def judge(self, model: WorldModel, state: WorldState) -> Verdict:
        """Zeros."""
        return np.zeros(len(state)), np.zeros(len(state), bool)


class LabelledTask:
    """What the model learned to judge from labels."""

    def __init__(self, column: int) -> None:
        """Read that column of reward and success."""
        self._column = column

    def judge(self, model: WorldModel, state: WorldState) -> Verdict:
        """What the heads of the model say."""
        reward, probability = (x[:, self._column].double().cpu().numpy() for x in model.judge(state))
        return reward, probability > SUCCESS_PROBABILITY


class FunctionTask:
    """What a function says, of telemetry and places of things by name.

    The function takes two mappings: telemetry (n,) by the names of the data, and objects (n, 3) by theirs, [m] or in
    the image frame, NaN of what is not there. It returns success (n,) bool, or reward (n,) and success.
    """

    def __init__(self, place: str) -> None:
        """Load FILE.py:NAME, which runs the file.

        Raises:
            ConfigError: There is no such file or function.
        """
        self.place, self._function = place, load_function(place)

    def judge(self, model: WorldModel, state: WorldState) -> Verdict:
        """What the function says of the present."""
        return self.judged(model, state.telemetry, state.objects)

    def judged(self, model: WorldModel, telemetry: Tensor, objects: Tensor) -> Verdict:
        """As `of`, for who learns from it.

        Raises:
            ConfigError: Its reward is not a number, such as of an object that is not there.
        """
        reward, success = self.of(model, telemetry, objects)
        if not np.isfinite(reward).all():
            raise ConfigError(
                f"--task {self.place} returned the reward {reward[~np.isfinite(reward)][0]}: an object that is not "
                "there is NaN, say what that is worth, for example by np.nan_to_num"
            )
        return reward, success

    def of(self, model: WorldModel, telemetry: Tensor, objects: Tensor) -> Verdict:
        """What the function says of telemetry (n, P) and objects (n, K, 3).

        Raises:
            ConfigError: It says something else than it should.
        """
        schema, count = model.config.schema, len(telemetry)
        columns, places = telemetry.cpu().numpy().copy(), objects.cpu().numpy().copy()  # to do with as one likes
        names = schema.object_names[: places.shape[1]]
        told = (
            {name: columns[:, i] for i, name in enumerate(schema.telemetry_names)},
            {name: places[:, i] for i, name in enumerate(names)},
        )
        try:
            said = self._function(*told)
        except KeyError as error:
            if error.args and error.args[0] in (*told[0], *told[1]):
                raise
            raise ConfigError(
                f"--task {self.place} asks for {error}, which {model.config.name} does not know: it has the telemetry "
                f"{', '.join(schema.telemetry_names)} and the objects {', '.join(names) or 'none'}"
            ) from error
        except Exception as error:
            raise ConfigError(f"--task {self.place} failed: {error!r}") from error
        parts = said if isinstance(said, tuple) else (said, said)
        reward, success = (np.asarray(part) for part in (parts if len(parts) == 2 else (None, None)))
        numbers = reward.dtype.kind in "fiub"
        if success.shape != (count,) or success.dtype != bool or reward.shape != (count,) or not numbers:
            raise ConfigError(
                f"--task {self.place} must return success as bool ({count},), or reward ({count},) and success; "
                f"got {_shape(said)}"
            )
        return reward.astype(np.float64), success


def _shape(said: Any) -> str:
    parts = [np.asarray(part) for part in (said if isinstance(said, tuple) else (said,))]
    return " and ".join(f"{part.dtype} {part.shape}" for part in parts)


def is_function(task: str | None) -> bool:
    """Whether a task is written as a function."""
    return task is not None and FUNCTION.fullmatch(task) is not None


def load_function(place: str) -> Callable[..., Any]:
    """The function that is written FILE.py:NAME; the file is run.

    Raises:
        ConfigError: There is no such file or function.
    """
    written = FUNCTION.fullmatch(place)
    if written is None:
        raise ConfigError(f"a function is written FILE.py:NAME, got {place!r}")
    file = Path(written["file"])
    if not file.is_file():
        raise ConfigError(f"no file {file}, of which {place} is to be a function")
    spec = importlib.util.spec_from_file_location(f"gwm_sim_task_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as dataclasses in it need
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{file}, of which {place} is to be a function, cannot be run: {error!r}") from error
    function = getattr(module, written["name"], None)
    if not callable(function):
        raise ConfigError(f"{file} has no function {written['name']}")
    return function


def find_task(model: WorldModel, task: str | None) -> Task:
    """The task of a name in a model: a function, or what was learned from labels; none where nothing was.

    Raises:
        ConfigError: There is no such function.
        ValueError: The model has not learned a task of that name.
    """
    if is_function(task):
        return FunctionTask(str(task))
    name = task if task is not None else model.config.schema.task
    if name in model.tasks:
        return LabelledTask(model.tasks.index(name))
    if task is not None:
        known = ", ".join(model.tasks) or "no labels"
        raise ValueError(
            f"{model.config.name} knows no task {task!r}; it was trained with {known}. A task can also be a function, "
            "FILE.py:NAME, or a goal image"
        )
    return NoTask()


def world_options(model: WorldModel, name: str, task: str | None, goal: Path | None) -> dict[str, Any]:
    """Keyword arguments of `GWM-World-v0` for the model `name`.

    Raises:
        ConfigError: The model does not know that task, or there is no such function or picture.
    """
    options: dict[str, Any] = {"model": name}
    if goal is not None:
        options["goal"] = goal_picture(model, goal)
    if task is not None:
        if not is_function(task) and task not in model.tasks:
            known = ", ".join(model.tasks) or "none: mark success by `gwm label` and train again"
            raise ConfigError(f"{model.config.name} knows no --task {task}; the labels of its data are {known}")
        options["task"] = task
    return options
