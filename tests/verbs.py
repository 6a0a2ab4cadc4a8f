"""Verbs that run in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FULL = "no space is left"


def gwm(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `gwm` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "gwm_sim", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=300,
    )
