"""Every example runs from beginning to end, here on a small budget."""

import runpy
from pathlib import Path
from typing import Any

import av
import pytest

from gwm_sim.world_model import WorldModel

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, **options: Any) -> None:
    runpy.run_path(str(EXAMPLES / name))["main"](**options)


def test_quickstart_draws_what_the_world_shows(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("quickstart.py", model=str(tiny_checkpoint), out=tmp_path / "quickstart.png")
    assert "lift: end-effector at (" in capsys.readouterr().out
    assert (tmp_path / "quickstart.png").read_bytes().startswith(b"\x89PNG")
    with av.open(str(tmp_path / "quickstart.mp4")) as film:
        assert len(list(film.decode(video=0))) == 16


def test_train_world_model_goes_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("train_world_model.py", out=tmp_path, episodes=50, length=24)
    assert WorldModel.load(tmp_path / "model").tasks == ("reach", "grasp", "stack")
    printed = capsys.readouterr().out
    assert "after 10 steps: end-effector" in printed and "10 steps in the new world" in printed


def test_plan_to_goal_image_reaches_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("plan_to_goal_image.py", task="reach", out=tmp_path / "plan.png")
    assert "reach: reached after" in capsys.readouterr().out
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_examples_are_short() -> None:
    assert all(len(path.read_text().splitlines()) < 100 for path in EXAMPLES.glob("*.py"))
