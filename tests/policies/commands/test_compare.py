"""`gwm compare`: both worlds begin alike, and the statistics say what they are said to."""

import json
from pathlib import Path

import numpy as np
import pytest

from gwm_sim import cli
from gwm_sim.envs.blocks.spec import world_ids
from gwm_sim.envs.tabletop.paired import PairedWorlds


def test_both_worlds_begin_at_the_same_moment(tiny_checkpoint: Path) -> None:
    arena = PairedWorlds(world_ids("reach"), tiny_checkpoint, rows=3)
    twin, learned = arena.make("twin"), arena.make("learned")
    seen, imagined = twin.reset(seed=7)[0], learned.reset(seed=7)[0]
    np.testing.assert_allclose(imagined["agent_pos"], seen["agent_pos"], atol=1e-3)
    assert np.abs(imagined["pixels"].astype(int) - seen["pixels"]).mean() < 3
    again = learned.reset(seed=7)[0]
    np.testing.assert_array_equal(again["pixels"], imagined["pixels"])


def test_both_worlds_run_as_long_as_the_task(tiny_checkpoint: Path) -> None:
    arena = PairedWorlds(world_ids("reach"), tiny_checkpoint, rows=2)
    for world in (arena.make("twin", sees=False), arena.make("learned", sees=False)):
        world.reset(seed=0)
        for step in range(30):
            truncated = world.step(np.zeros((2, 4), np.float32))[3]
            assert truncated.all() == (step == 29)


@pytest.mark.slow
def test_compares_and_writes_one_complete_page(
    tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, page = tmp_path / "numbers.json", tmp_path / "page.html"
    policies = ["scripted", "uniform"]
    words = ["compare", "--policies", *policies, "--task", "reach", "--episodes", "3", "--model", str(tiny_checkpoint)]
    assert cli.main([*words, "--json", str(report), "--report", str(page)]) == 0
    numbers = json.loads(report.read_text())
    assert [entry["policy"] for entry in numbers["policies"]] == policies
    assert numbers["policies"][0]["twin"]["success_rate"] == 1.0
    assert "Pearson r" in capsys.readouterr().out
    html = page.read_text()
    assert html.count("<video") == 2 and "<svg" in html and 'src="http' not in html
    assert cli.main(["compare", "--policies", "scripted", "nobody", "--model", str(tiny_checkpoint)]) == 2
