"""The benchmark of served worlds runs from beginning to end, and its report says what it should."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def test_serving_is_measured_beside_the_native_environment(tiny_checkpoint: Path, tmp_path: Path) -> None:
    words = ["--model", str(tiny_checkpoint), "--sessions", "4", "--rounds", "1", "--seconds", "0.3", "--presses", "5"]
    program = [sys.executable, str(ROOT / "benchmarks/serving.py"), *words, "--json", str(tmp_path / "out.json")]
    subprocess.run(program, check=True, cwd=ROOT)
    told = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    rates = told["steps_per_second"]
    assert rates.keys() == {"native", "asyncio", "remote"} and min(rates.values()) > 0
    assert told["over_native"]["asyncio"] == rates["asyncio"] / rates["native"]
    assert all(0 < times["p50"] <= times["p95"] <= times["p99"] for times in told["one_player_ms"].values())
