"""`benchmarks/transfer.py` reads the runs that are there, and says null of those that are not."""

import json
from pathlib import Path
from typing import Any

import pytest
import transfer
from sections import transfer_table

from gwm_sim.policies.rl.curve import Score, write_curve


def test_scores_what_is_there(tiny_checkpoint: Path, tmp_path: Path) -> None:
    report, plot = tmp_path / "transfer.json", tmp_path / "transfer.png"
    options: dict[str, Any] = {"episodes": 2, "model": str(tiny_checkpoint), "graded": ("hold", "uniform")}
    transfer.main(transfer.TransferConfig(tmp_path / "runs", ("reach",), json=report, plot=plot, **options))
    reach = json.loads(report.read_text())["tasks"]["reach"]
    assert reach["twin_success"] is None and reach["wall_clock_ratio"] is None
    assert [policy["policy"] for policy in reach["policies"]] == ["hold", "uniform"]
    low, high = reach["policies"][0]["twin"]["wilson"]
    assert 0 <= low < high <= 1 and plot.stat().st_size > 0


def test_goes_on_with_what_is_missing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    report = tmp_path / "transfer.json"
    options: dict[str, Any] = {"episodes": 2, "model": str(tiny_checkpoint), "json": report}
    transfer.main(transfer.TransferConfig(tmp_path / "runs", ("reach",), graded=("hold",), **options))
    first = json.loads(report.read_text())
    first["tasks"]["reach"]["policies"][0]["agreement"] = 0.123  # as no run would have it
    report.write_text(json.dumps(first))
    transfer.main(transfer.TransferConfig(tmp_path / "runs", ("reach",), graded=("hold", "uniform"), **options))
    policies = json.loads(report.read_text())["tasks"]["reach"]["policies"]
    assert [policy["policy"] for policy in policies] == ["hold", "uniform"]
    assert policies[0]["agreement"] == 0.123


def test_time_counts_until_the_first_good_score(tmp_path: Path) -> None:
    for world, seconds in (("learned", 100.0), ("twin", 400.0)):
        (tmp_path / world).mkdir()
        scores = [Score(1, seconds / 2, 10, twin=7, learned=9), Score(2, seconds, 10, twin=8, learned=9)]
        write_curve(scores, tmp_path / world, world)
    ratio = transfer.wall_clock(tmp_path, 60.0)
    assert ratio is not None
    assert ratio["without_model"] == pytest.approx(0.25) and ratio["with_model"] == pytest.approx(0.4)
    assert not ratio["bound"]


def test_a_run_that_never_succeeds_gives_a_bound(tmp_path: Path) -> None:
    for world, successes in (("learned", 8), ("twin", 7)):
        (tmp_path / world).mkdir()
        write_curve([Score(1, 100.0, 10, twin=successes, learned=9)], tmp_path / world, world)
    ratio = transfer.wall_clock(tmp_path, 60.0)
    assert ratio is not None
    assert ratio["bound"] and ratio["without_model"] == pytest.approx(1.0)


def test_the_table_names_rates_and_bounds() -> None:
    success = {"rate": 0.9, "wilson": [0.85, 0.94]}
    result = {
        "learned_success": success,
        "twin_success": success,
        "warm_start_success": None,
        "pearson": 0.95,
        "mmrv": 0.01,
        "policies": [1, 2],
        "wall_clock_ratio": {"bound": True, "without_model": 0.5, "with_model": 1.5},
    }
    about = {"episodes": 200, "model_hash": "abc", "seed": 300_000, "machine": "two cores"}
    text = transfer_table({"tasks": {"grasp": result}, **about})
    assert "| grasp | 90.0 % (85.0 to 94.0) | 90.0 % (85.0 to 94.0) |  | 2 | 0.950 | 0.010 |" in text
    assert "at most 0.50, and at most 1.50" in text


def test_an_interval_that_is_rounded_past_its_rate_is_drawn(tmp_path: Path) -> None:
    always, never = {"rate": 1.0, "wilson": [0.98, 1 - 1e-16]}, {"rate": 0.0, "wilson": [1e-18, 0.02]}
    policies = [{"twin": always, "learned": never}, {"twin": never, "learned": always}]
    transfer.draw({"reach": {"pearson": None, "policies": policies}}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 0
