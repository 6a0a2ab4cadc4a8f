"""Worlds that begin at listed starts: each row where the list says, whatever runs beside it."""

from pathlib import Path

import numpy as np
import pytest

from gwm_sim.envs.learned.tasks import world_options
from gwm_sim.envs.spaces import SUCCESS_OF
from gwm_sim.errors import ConfigError
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.listed_starts import ListedWorlds
from gwm_sim.policies.outcomes import Start
from gwm_sim.policies.own_world import OwnWorld


def worlds(model: Path, rows: int, starts: tuple[Start, ...]) -> ListedWorlds:
    options = world_options(WorldModel.load(model, "cpu"), str(model), "stack", None)
    return ListedWorlds(OwnWorld(options, rows), starts)


@pytest.mark.parametrize("places", [(2, 0, 1), ("DATA:1", "DATA:0", "DATA:1")])
def test_a_start_is_the_same_in_any_row(places: tuple[Start, ...], tiny_checkpoint: Path, tiny_data: Path) -> None:
    starts = tuple(s.replace("DATA", str(tiny_data)) if isinstance(s, str) else s for s in places)
    together, alone = (worlds(tiny_checkpoint, rows, starts).make("learned", sees=False) for rows in (3, 1))
    seen, _ = together.reset(seed=0)
    seen = {key: value.copy() for key, value in seen.items()}
    for _ in range(3):
        later = together.step(np.zeros((3, 4), np.float32))[0]
    for row in range(3):
        np.testing.assert_allclose(alone.reset(seed=row)[0]["agent_pos"][0], seen["agent_pos"][row], atol=1e-6)
        for _ in range(3):
            own = alone.step(np.zeros((1, 4), np.float32))[0]
        np.testing.assert_allclose(own["agent_pos"][0], later["agent_pos"][row], atol=1e-4)


def test_rows_behind_the_last_start_run_along(tiny_checkpoint: Path) -> None:
    there = worlds(tiny_checkpoint, 3, (0, 1)).make("learned", sees=False)
    places = there.reset(seed=0)[0]["agent_pos"]
    np.testing.assert_array_equal(places[1], places[2])


def test_infos_tell_of_further_tasks_until_the_end(tiny_checkpoint: Path) -> None:
    env = worlds(tiny_checkpoint, 1, (0,)).make("learned", sees=False)
    env.unwrapped.judge_also(["reach", "stack"])  # type: ignore[attr-defined]  # of learned worlds
    env.reset(seed=0)
    done = False
    while not done:
        _, _, _, truncated, info = env.step(np.zeros((1, 4), np.float32))
        done = bool(truncated[0])
        last = info["final_info"] if done else info
        assert last[f"{SUCCESS_OF}stack"][0] == last["success"][0] and f"{SUCCESS_OF}reach" in last


def test_starts_that_a_model_does_not_have_are_refused(tiny_checkpoint: Path, tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match="start 999 is none of"):
        worlds(tiny_checkpoint, 1, (0, 999))
    with pytest.raises(ConfigError, match="number 999 is not among them"):
        worlds(tiny_checkpoint, 1, (f"{tiny_data}:999",))
