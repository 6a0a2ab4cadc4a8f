"""Recordings and cases too large for this repository, which lie beside a checkout that has them."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared(name: str) -> Path:
    """Find what lies beside the checkout, or skip the test."""
    path = ROOT.parent / "shared" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path
