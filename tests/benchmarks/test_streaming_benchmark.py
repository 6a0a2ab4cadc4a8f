"""What training on many files takes is written where it belongs, and both ways of reading see the same."""

from pathlib import Path

import pytest
from reading import KeptOpen
from streaming import StreamingConfig, record
from streaming_table import streaming_text
from tables import BEGIN, markers_of, with_tables

from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import ConfigError
from gwm_sim.training.dataset.pictures import Blocks

REPORT = {
    "frames": 5_000_000,
    "files": 100,
    "size": 32,
    "pictures_gb": 15.36,
    "depth_gb": 20.48,
    "memory": 3.0,
    "preset": "tiny",
    "machine": "2 cores",
    "routes": {"video": {"peak_gb": 3.456, "own_gb": 3.21, "seconds": 600.0, "updates": {"a": 100, "b": 100}}},
}


def test_the_table_says_what_was_measured() -> None:
    told = streaming_text(REPORT)
    assert "| `--path video` | 3.46 | 3.21 | 10 | 100 |" in told
    assert "5,000,000 frames of 32 px in 100 files, 15 GB of pictures and 20 GB of depth" in told


def test_each_block_of_a_page_is_written_alone() -> None:
    page = with_tables(with_tables("# Page", "ours"), "theirs", *markers_of("streaming"))
    again = with_tables(page, "new", *markers_of("streaming"))
    assert again == page.replace("theirs", "new") and again.count(BEGIN) == 1


def test_copies_are_recorded_once_and_read_alike(tmp_path: Path) -> None:
    config = StreamingConfig(frames=250, copies=2, folder=tmp_path)
    paths = record(config)
    assert record(config) == paths and len(paths) == 2
    files = [EpisodeFile(path) for path in paths]
    assert files[0].digest() == files[1].digest()
    blocks = [
        kind({0: (files[0], 0), 1: (files[1], 0)}, ["frames/front"], (32, 32, 3), 0.0) for kind in (Blocks, KeptOpen)
    ]
    first, second = (each.block(1, "frames/front", 3) for each in blocks)
    assert (first == second).all() and first.max() > 0


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ConfigError, match="--routes must be some of reference, latents, video, got blind"):
        StreamingConfig(routes=("blind",))
