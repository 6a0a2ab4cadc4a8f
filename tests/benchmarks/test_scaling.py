"""`benchmarks/scaling.py`: the arithmetic of its tables on made-up numbers, and the program on a tiny model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scaling_table import CLUSTERS, FASTER, Cluster, learning_share, paper_text, scaling_text

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks/results/scaling.json"

ALONE = {"core_seconds": 1.0}
PHASE = {"all_reduces": 3, "bytes": 1e9}


def test_a_share_counts_latencies_and_the_way_around_a_ring() -> None:
    learning, cluster = 1 / FASTER, Cluster(gpus=4, latency=1e-3, bandwidth=100e9)
    assert learning_share(PHASE, ALONE, cluster) == pytest.approx(learning / (learning + 3e-3 + 1.5 * 0.01))
    assert learning_share(PHASE | {"all_reduces": 0, "bytes": 0}, ALONE, cluster) == 1
    near, far = CLUSTERS.values()
    assert learning_share(PHASE, ALONE, near) > learning_share(PHASE, ALONE, far)


def check(report: dict[str, Any]) -> None:
    """What must hold of every report and of its tables."""
    phases = set(report["ways"]["one thread"]["training"])
    assert len(phases) == 8
    for name in phases:
        alone, shared = (report["ways"][way]["training"][name] for way in ("one thread", "a process per core"))
        assert alone["all_reduces"] == alone["waiting"] == 0 and 0 < shared["waiting"] < 1
        assert shared["all_reduces"] >= 1 and shared["bytes"] > 1000
        assert f"| {name} |" in scaling_text(report) and f"| {name} |" in paper_text(report)
    for way in report["ways"].values():
        assert len(way["load"]) == report["rounds"]
        assert way["imagining"]["undrawn"]["steps_per_second"] > way["imagining"]["decoded"]["steps_per_second"] > 0


def test_what_is_published_is_told_in_the_tables() -> None:
    check(json.loads(RESULT.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_the_program_measures_every_phase(tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "benchmarks/scaling.py"), "--preset", "tiny", "--frames", "500"]
    quick = ["--updates", "1", "--rounds", "1", "--seconds", "0.1", "--folder", str(tmp_path / "run")]
    subprocess.run([*program, *quick, "--json", str(tmp_path / "out.json")], check=True)
    check(json.loads((tmp_path / "out.json").read_text(encoding="utf-8")))
    assert not (tmp_path / "run").exists()
