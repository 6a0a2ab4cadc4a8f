"""LeRobot datasets that are changed and brought in, for the tests of their importer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from importing import config

from gwm_sim.commands.import_ import Import, import_episodes
from gwm_sim.data.episode_file import Episode, EpisodeFile

pytest.importorskip("pyarrow")
import pyarrow as pa
import pyarrow.parquet as pq

DATA = ("data/chunk-000/file-000.parquet", "data/chunk-000/file-001.parquet")
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
FRONT = "videos/observation.images.front"


def brought_in(source: Path, **changes: Any) -> tuple[Import, list[Episode]]:
    out = source.parent / "out" / "a.hdf5"
    result = import_episodes(config("lerobot", source, out, **changes))
    with EpisodeFile(out) as file:
        file.check()
        return result, list(file)


def rewrite(path: Path, change: Callable[[dict[str, list[Any]]], None]) -> None:
    """Change the columns of a parquet file, or its rows, in place; types stay."""
    table = pq.read_table(path, partitioning=None)
    columns = table.to_pydict()
    change(columns)
    pq.write_table(pa.table(columns, schema=table.schema), path)


def keep_rows(path: Path, wanted: Callable[[int], bool]) -> None:
    table = pq.read_table(path, partitioning=None)
    rows = [row for row, episode in enumerate(table["episode_index"].to_pylist()) if wanted(episode)]
    pq.write_table(table.take(rows), path)


def notes_of(result: Import) -> str:
    return "\n".join(result.notes)


def film_of(folder: Path, episode: int) -> Path:
    return folder / f"videos/chunk-000/observation.images.front/episode_{episode:06d}.mp4"


def change_info(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    info = json.loads((folder / "meta/info.json").read_text())
    change(info)
    (folder / "meta/info.json").write_text(json.dumps(info))
