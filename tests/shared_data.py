"""Recordings that are too large for this repository, beside it where they are."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared(name: str) -> Path:
    """Return a file or folder of the shared recordings; skip the test where there are none."""
    path = ROOT.parent / "shared" / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path
