"""`benchmarks/goals.py`: which pairs count, and true worlds that live in another process."""

import json
import sys
from pathlib import Path
from typing import Any

import act
import goals
import numpy as np
import pytest
from program import resumed
from recordings import make_schema
from worlds import true_world
from worlds.true_world import TrueWorld

STAGE = '''
import numpy as np
class Stage:
    """A point that is pushed along a line; the camera sees it as a grey level."""
    def play(self, seed):
        self.x = float(seed)
        for _ in range(30):
            yield None
            self.x += 1
    def step(self, action): print("packages print"); self.x += float(action[0])
    def frame(self): return np.full((16, 16, 3), self.x, np.uint8)
    def telemetry(self): return {"b": np.arange(P - 1.0), "a": self.x}
    def save(self): return self.x
    def restore(self, saved): self.x = saved
    def pose(self): return self.x
    def reached(self, pose): return abs(self.x - pose) < 0.5
    def displaced(self, start, goal): return {"px": abs(goal - start)}
    def counts(self, displaced): return displaced["px"] >= 5
'''


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A true world of a stage that is made up."""
    schema = make_schema()
    (tmp_path / "recorders").mkdir()
    (tmp_path / "recorders/pusht.py").write_text(STAGE.replace("P", str(len(schema.telemetry_names)), 1))
    (tmp_path / "act.py").write_text(Path(act.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(true_world, "HERE", tmp_path)
    monkeypatch.setattr(true_world, "environment", lambda venvs, world: sys.executable)
    env = TrueWorld("pusht", schema, "front", tmp_path)
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
