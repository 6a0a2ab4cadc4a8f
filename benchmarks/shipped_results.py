"""Results of programs here: where they lie, and that those of another model than the shipped one are refused."""

import json
from pathlib import Path
from typing import Any

from gwm_sim.errors import GwmError

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"


def read_result(path: Path, shipped: str, remedy: str) -> dict[str, Any]:
    """Read a result of the shipped model.

    Raises:
        GwmError: It is of another model.
    """
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    check_model(report, path, shipped, remedy)
    return report


def check_model(report: dict[str, Any], path: Path, shipped: str, remedy: str) -> None:
    """Refuse a report of another model."""
    if report["model_hash"] != shipped:
        raise GwmError(f"{path.name} is of model {report['model_hash']}, but {shipped} is shipped: {remedy}")
