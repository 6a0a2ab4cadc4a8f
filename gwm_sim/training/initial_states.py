"""Initial states of a checkpoint: a few frames of many episodes, so that its worlds can begin without the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from gwm_sim.data.episode_file import EpisodeFile, EpisodeWriter
from gwm_sim.protocol import CONTEXT

PIXELS = 256 * 64 * 64  # of all: 256 states of 64 pixels, fewer of larger pictures


def write_initial_states(paths: Sequence[Path], cameras: Sequence[str], out: Path, shortest: int = 0) -> None:
    """Cut the first frames of episodes spread over the data into an episode file.

    Episodes of less than `shortest` steps, if there are longer ones, are pieces that begin in the middle of something.
    """
    if out.exists():
        return
    files = [EpisodeFile(path) for path in paths]
    episodes = [(file, k) for file in files for k in range(len(file)) if file.lengths[k] >= CONTEXT - 1]
    places = [(file, k) for file, k in episodes if file.lengths[k] >= shortest] or episodes
    schema = files[0].schema
    schema = replace(
        schema,
        cameras={name: schema.cameras[name] for name in cameras},
        depth=(),
        settings={"start_states_of": cameras[0]},
    )
    writer = EpisodeWriter(out, schema)
    size = sum(schema.cameras[name].height * schema.cameras[name].width for name in cameras)
    count = min(PIXELS // size, len(places))
    chosen = torch.linspace(0, len(places) - 1, max(1, count)).long().tolist()
    for index, (file, k) in enumerate(places[i] for i in chosen):
        writer.write(index, replace(file.read(k, 0, CONTEXT, cameras=cameras), depth={}))
    writer.merge()
