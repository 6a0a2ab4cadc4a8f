"""Damaged recordings, made by a seeded fuzzer: each import ends with a clear error or with true episodes.

Never a bare traceback, never a hang, never a file outside of the output, never an episode that the recording did not
hold. Damage that changes pixels or numbers within their range cannot be told from other data and is only required not
to crash.
"""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import damage_something
from layouts import LAYOUTS, Truth
from numpy.typing import NDArray

from gwm_sim.commands.import_ import ImportConfig, import_episodes
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.formats import IMPORT_FORMATS, detect
from gwm_sim.data.images import fit
from gwm_sim.data.survey import survey
from gwm_sim.errors import GwmError

Array = NDArray[Any]

SIZE, SHAPE = 16, (16, 20)
SECONDS = 20
"""An import of these few rows takes a fraction of a second; beyond this it hangs."""

NAMES = list(LAYOUTS)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Truth]]]:
    """Every layout, undamaged."""
    folder = tmp_path_factory.mktemp("pristine")
    written = {}
    for name, case in LAYOUTS.items():
        path = folder / name / (case.name or "data")
        written[name] = (path, case.write(path))
    return written


class Hang(BaseException):
    """Takes too long; no importer may catch it."""


@contextmanager
def time_limit(what: str) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang(what)

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(seed: int, pristine: dict[str, tuple[Path, list[Truth]]], folder: Path) -> str:
    """Damage one recording and import it; return what happened."""
    rng = np.random.default_rng(seed)
    name = NAMES[seed % len(NAMES)]
    case, (original, truths) = LAYOUTS[name], pristine[name]
    source, outside = folder / "source" / original.name, folder / "outside"
    outside.mkdir(parents=True)
    (outside / "secret.bin").write_bytes(b"secret")
    source.parent.mkdir()
    (shutil.copytree if original.is_dir() else shutil.copy)(original, source)
    damage = damage_something(rng, source, outside)
    label = f"seed {seed}, {name}: {damage.what}"
    before = listing(folder / "source"), listing(outside)
    out = folder / "out" / "a.hdf5"
    trim = seed % 3 == 0 and "trim" in IMPORT_FORMATS[case.format].options
    options = ImportConfig(case.format, source, out, size=SIZE, fps=case.rate, trim=trim)
    try:
        with time_limit(label):
            import_episodes(options)
        result = "imported"
    except GwmError as error:
        assert len(str(error)) < 2_000, label
        result = f"{type(error).__name__}: {error}"
    except Exception as error:
        raise AssertionError(f"{label}: a bare {type(error).__name__}: {error}") from error
    if seed % 5 == 0:
        inspect(source, case.format, label)
    assert (listing(folder / "source"), listing(outside)) == before, label
    assert {path.name for path in folder.iterdir()} <= {"source", "outside", "out"}, label
    if out.exists() and damage.honest:
        check_episodes(out, truths, label)
    return f"{label} -> {result}"


def inspect(source: Path, format: str, label: str) -> None:
    """Find out the format and survey the recording, as `gwm inspect` does."""
    try:
        with time_limit(label):
            detect(source)
            survey(format, source)
    except GwmError:
        pass
    except Exception as error:
        raise AssertionError(f"{label}: gwm inspect ends with a bare {type(error).__name__}: {error}") from error


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_size) for path in folder.rglob("*"))


def check_episodes(path: Path, truths: list[Truth], label: str) -> None:
    """Every episode must be a stretch of one that was recorded: numbers, actions and frames of the same rows."""
    with EpisodeFile(path) as file:
        file.check()
        for episode in file:
            places = [(truth, start) for truth in truths for start in stretches(truth, episode.telemetry)]
            assert places, f"{label}: an episode that was never recorded"
            truth, start = places[0]
            stop = start + len(episode.telemetry)
            np.testing.assert_allclose(episode.actions, truth.actions[start : stop - 1], atol=1e-5, err_msg=label)
            for camera, frames in episode.frames.items():
                expected = np.stack([fit(picture, SHAPE) for picture in truth.frames[camera][start:stop]])
                assert np.abs(frames - expected.astype(int)).mean(axis=(1, 2, 3)).max() < 6, label


def stretches(truth: Truth, telemetry: Array) -> Iterator[int]:
    if truth.telemetry.shape[1] != telemetry.shape[1]:
        return
    for start in range(len(truth.telemetry) - len(telemetry) + 1):
        if np.allclose(truth.telemetry[start : start + len(telemetry)], telemetry, atol=1e-5):
            yield start


@pytest.mark.parametrize("part", range(6))
def test_sixty_damaged_recordings(part: int, pristine: dict[str, tuple[Path, list[Truth]]], tmp_path: Path) -> None:
    for seed in range(10 * part, 10 * part + 10):
        run(seed, pristine, tmp_path / str(seed))
        shutil.rmtree(tmp_path / str(seed))


@pytest.mark.slow
@pytest.mark.parametrize("first", [1000, 2000])
def test_thousand_damaged_recordings(first: int, pristine: dict[str, tuple[Path, list[Truth]]], tmp_path: Path) -> None:
    refused = 0
    for seed in range(first, first + 1000):
        refused += "Error" in run(seed, pristine, tmp_path / str(seed))
        shutil.rmtree(tmp_path / str(seed))
    assert refused > 500  # most damage matters
