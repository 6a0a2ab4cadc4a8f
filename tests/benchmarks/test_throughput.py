"""The benchmark of speed runs from beginning to end on a tiny model, and its report says what it should."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sections import threads_table, throughput_table

from gwm_sim.model.world_model import WorldModel

ROOT = Path(__file__).parents[2]
KINDS = ("unwatched", "latent", "decoded")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the report and the plot of a quick run lie."""
    folder = tmp_path_factory.mktemp("throughput")
    program = [sys.executable, str(ROOT / "benchmarks/throughput.py"), "--quick"]
    # A process of its own: worker processes must be able to import what they run.
    subprocess.run([*program, "--model", str(tiny_checkpoint), "--json", str(folder / "out.json")], check=True)
    return folder


@pytest.fixture
def report(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return loaded


def test_throughput_reports_all_systems(report: dict[str, Any], folder: Path, tiny_checkpoint: Path) -> None:
    assert report["model_hash"] == WorldModel.load(tiny_checkpoint, "cpu").digest()
    assert report["single_step_ms_p99"] >= report["single_step_ms_p50"]
    assert {"fast", "rich"} < set(report["twin"])
    for cell in report["devices"]["cpu"]["batches"].values():
        unwatched, latent, decoded = (cell[kind]["mflops_per_step"] for kind in KINDS)
        assert unwatched <= latent < decoded  # what is drawn by reference is drawn when it is decoded
        for kind in KINDS:
            low, high = cell[kind]["range"]
            assert low <= cell[kind]["steps_per_second"] <= high
            assert cell[kind]["matmul_share"] < 1
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")


def test_throughput_numbers_are_positive(report: dict[str, Any]) -> None:
    numbers = [
        *(report[f"single_step_ms_{key}"] for key in ("p50", "p99")),
        *(report[f"{kind}_over_rich"] for kind in KINDS),
        *(report["twin"][rendering]["steps_per_second"] for rendering in ("fast", "rich")),
        *report["devices"]["cpu"]["matmul_gflops"].values(),
    ]
    assert all(math.isfinite(number) and number > 0 for number in numbers)


def test_throughput_compares_the_chosen_threads_with_one_and_two(report: dict[str, Any], tiny_checkpoint: Path) -> None:
    numbers = report["threads"]["models"][str(tiny_checkpoint)]
    assert numbers["model_hash"] == report["model_hash"]
    for form in ("decoded", "undrawn"):
        for cell in numbers[form].values():
            assert {"1", "chosen"} <= set(cell["ms"]) == set(cell["chosen_over"]) | {"chosen"}
            assert min(cell["ms"].values()) > 0
            assert cell["chosen_over_best"] <= report["threads"]["worst_chosen_over_best"]
    rows = [line for line in threads_table(report["threads"]).splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert len(rows) == 2 + 2 * len(numbers["decoded"]["1"]["ms"])


def test_throughput_table_shows_the_report(report: dict[str, Any]) -> None:
    table = throughput_table(report)
    assert report["model_hash"] in table
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows}) == 1
    assert len(rows) == 2 + 2 * len(KINDS) * len(report["devices"])
