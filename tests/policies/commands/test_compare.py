"""`gwm compare`: both worlds begin alike, and the statistics say what they are said to."""

import json
from pathlib import Path

import numpy as np
import pytest

from gwm_sim import cli
from gwm_sim.envs.blocks.spec import world_ids
from gwm_sim.envs.tabletop.paired import PairedWorlds
from gwm_sim.policies.agreement import kappa, mean_maximum_rank_violation, pearson


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


def test_rank_violations_are_measured_in_the_real_world() -> None:
    real, simulated = [0.1, 0.5, 0.9], [0.2, 0.1, 0.8]
    assert mean_maximum_rank_violation(real=real, simulated=simulated) == pytest.approx((0.4 + 0.4 + 0.0) / 3)
    assert mean_maximum_rank_violation(real=real, simulated=real) == 0
    assert mean_maximum_rank_violation(real=simulated, simulated=real) == pytest.approx((0.1 + 0.1) / 3)
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        mean_maximum_rank_violation(real=real, simulated=[0.1, 0.2])


def test_correlations_of_what_does_not_vary_are_undefined() -> None:
    assert pearson([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx(1.0)
    assert pearson([0.5, 0.5], [0.0, 1.0]) is None
    yes, mixed = np.ones(4, bool), np.array([True, False, True, False])
    assert kappa(mixed, mixed) == 1.0 and kappa(mixed, ~mixed) == -1.0 and kappa(yes, yes) is None


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
