"""Recordings brought in for the tests of importers, and what they are compared with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from layouts import Truth
from numpy.typing import NDArray

from gwm_sim.commands.import_ import ImportConfig, import_episodes
from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.images import fit

Array = NDArray[Any]

SIZE = 32
SHAPE = (32, 40)
"""What becomes of pictures of 64x80."""


def config(format: str, source: Path, out: Path, **changes: Any) -> ImportConfig:
    plain = ImportConfig(format=format, source=source, out=out, size=SIZE)
    return dataclasses.replace(plain, **changes)


def imported(format: str, source: Path, **changes: Any) -> tuple[EpisodeFile, list[Episode]]:
    """Import a recording beside itself and read the result."""
    out = source.parent / "out" / "imported.hdf5"
    import_episodes(config(format, source, out, **changes))
    with EpisodeFile(out) as file:
        file.check()
        return file, list(file)


def assert_same_frames(frames: Array, truth: Array) -> None:
    """Compare frames with the truth, through whatever codec; a neighbour's frame is far outside of the tolerance."""
    expected = np.stack([fit(picture, SHAPE) for picture in truth]).astype(int)
    assert frames.shape == expected.shape
    assert np.abs(frames - expected).mean(axis=(1, 2, 3)).max() < 5
    assert np.abs(frames[:-1] - expected[1:]).mean(axis=(1, 2, 3)).min() > 6


def assert_is(episode: Episode, truth: Truth) -> None:
    np.testing.assert_allclose(episode.telemetry, truth.telemetry, atol=2e-6)
    np.testing.assert_allclose(episode.actions, truth.actions, atol=2e-6)
    assert episode.frames.keys() == truth.frames.keys()
    for camera, frames in episode.frames.items():
        assert_same_frames(frames, truth.frames[camera])
