"""`benchmarks/rl_own_world.py`: what is judged, from which starts."""

from pathlib import Path
from typing import Any

import pytest
import rl_own_world
from rl_own_world import RlOwnWorldConfig


class Looks:
    """Every third start is solved; results come in any order."""

    def run(self, jobs: Any) -> Any:
        for job in reversed(list(jobs)):
            seed = job.keywords["seed"]
            yield seed, seed % 3 == 0


def test_solved_starts_are_counted_and_left_out() -> None:
    found, solved = rl_own_world.starts(Looks(), RlOwnWorldConfig(episodes=4, seed=300_000))  # type: ignore[arg-type]
    assert found == [300_001, 300_002, 300_004, 300_005] and solved == 2


def test_both_policies_are_of_one_task_and_whole_ones_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def gwm(*words: Any) -> None:
        asked.append(words)
        words[words.index("--json") + 1].write_text('{"scores": null}')

    monkeypatch.setattr(rl_own_world, "gwm", gwm)
    config = RlOwnWorldConfig(folder=tmp_path / "worlds", out=tmp_path, minutes=7)
    (tmp_path / "fetch").mkdir()
    assert rl_own_world.train(config, tmp_path / "goal.png") == {"warm-start": None, "trained": None}
    cloned, trained = asked
    assert cloned[:2] == ("rl", "train") and cloned[cloned.index("--steps") + 1] == 0
    assert trained[trained.index("--minutes") + 1] == 7 and "--steps" not in trained
    for words in asked:
        assert words[words.index("--goal") + 1] == tmp_path / "goal.png"
        assert words[words.index("--warm_start") + 1] == tmp_path / "worlds/fetch/train.hdf5"
    rl_own_world.train(config, tmp_path / "goal.png")
    assert len(asked) == 2
