"""`benchmarks/goals.py`: which pairs count, and true worlds that live in another process."""

import json
from pathlib import Path
from typing import Any

import goals
import numpy as np
import pytest
from program import resumed
from recordings import make_schema
from true_worlds import made_up


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A true world of a stage that is made up."""
    env = made_up(tmp_path, monkeypatch, make_schema())
    yield env
    env.close()


def test_a_true_world_begins_and_is_judged_where_its_recording_was(env: Any) -> None:
    observation, info = env.reset(seed=10, options={"first": 2, "goal": 8})
    assert observation["agent_pos"][0] == 12 and (observation["pixels"] == 12).all()
    assert env.goal["agent_pos"][0] == 18 and env.displaced == {"px": 6} and env.counts
    assert not info["success"]
    action = np.zeros(env.action_space.shape)
    action[0] = 3
    assert not env.step(action)[-1]["success"]
    observation, reward, terminated, truncated, info = env.step(action)
    assert info["success"] and reward == 1 and not terminated and not truncated
    assert env.play(10) == 30


def test_a_true_world_may_want_what_another_recording_shows(env: Any) -> None:
    env.aim(20, 3)
    assert env.goal["agent_pos"][0] == 23
    _, info = env.reset(seed=10, options={"first": 12})
    assert env.displaced == {"px": 1} and not env.counts and not info["success"]
    assert env.reset(seed=10, options={"first": 13})[1]["success"]


def test_a_world_whose_process_dies_says_so(env: Any) -> None:
    env.reset(seed=0, options={"first": 0, "goal": 9})
    env._process.kill()
    with pytest.raises(RuntimeError, match="ended with -9"):
        env.play(1)


class Looks:
    """Admits every other pair."""

    def run(self, jobs: Any) -> Any:
        for job in reversed(list(jobs)):  # results come in any order
            number = job.keywords["number"]
            yield number, job.keywords["pair"], {"px": float(number)} if number % 2 else None


def test_pairs_do_not_depend_on_the_order_in_which_they_are_looked_at() -> None:
    config = goals.GoalsConfig(pairs=6)
    pairs, displaced = goals.pairs_of(Looks(), config, 25)  # type: ignore[arg-type]
    again, _ = goals.pairs_of(Looks(), config, 25)  # type: ignore[arg-type]
    assert pairs == again and len(pairs) == 6 and displaced.keys() == {"px"}
    assert all(goals.FIRST <= pair.first and pair.first + pair.ahead < goals.LAST for pair in pairs)
    assert all(pair.seed >= config.seed for pair in pairs)
    assert pairs != sorted(pairs)  # the first ones that were drawn, and not those of the first episodes


def test_what_was_measured_by_another_search_is_measured_again(tmp_path: Path) -> None:
    identity = goals.identity_of("pusht", "hash", True, goals.GoalsConfig())
    path = tmp_path / "pusht.json"
    path.write_text(json.dumps({**identity, "runs": {"25/search": {}}}))
    assert resumed(path, identity, {"runs": {}})["runs"]
    shorter = goals.identity_of("pusht", "hash", True, goals.GoalsConfig(search=("horizon=9",)))
    without = goals.identity_of("pusht", "hash", False, goals.GoalsConfig())
    assert not any(resumed(path, other, {"runs": {}})["runs"] for other in (shorter, without))


class Dies:
    """Does a run, and is killed in the second one."""

    def run(self, jobs: Any) -> Any:
        for k, job in enumerate(jobs):
            if k:
                raise KeyboardInterrupt
            yield job.keywords["number"], goals.Run(True, job.keywords["pair"].first, (0.5,))


def test_runs_of_a_killed_measurement_are_not_done_again(tmp_path: Path) -> None:
    pairs, begun, identity = (
        [goals.Pair(0, first, 25) for first in (4, 5, 6)],
        tmp_path / "begun.json",
        {"runs of": "a"},
    )
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            goals.measure(Dies(), "hold", pairs, begun, identity)  # type: ignore[arg-type]
    runs = goals.measure(Dies(), "hold", pairs, begun, identity)  # type: ignore[arg-type]
    assert [run.steps for run in runs] == [4, 5, 6] and runs[0].seconds in ((0.5,), [0.5])
    assert goals.summary(pairs, runs)["reached"] == 1.0
    with pytest.raises(KeyboardInterrupt):
        goals.measure(Dies(), "hold", pairs, begun, {"runs of": "another"})  # type: ignore[arg-type]
