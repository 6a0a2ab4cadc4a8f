"""Recordings of others that lie beside the checkout, where there are any."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared(name: str) -> Path:
    """Find a shared recording, or skip the test."""
    path = ROOT.parent / "shared" / name
    if not path.exists():
        pytest.skip(f"needs {path}")
    return path
