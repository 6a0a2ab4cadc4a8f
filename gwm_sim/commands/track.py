"""`gwm track`: find the objects in raw recordings, and follow them."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from gwm_sim.data.tracking import sheet
from gwm_sim.data.tracking.job import Job, Result, track_episodes
from gwm_sim.files import write_json

_REASONS = 6
"""Lines about what was left out."""


@dataclass(frozen=True)
class TrackConfig(Job):
    """Find the objects in raw recordings and follow them; the same command resumes an interrupted run."""

    file: tyro.conf.Positional[Path]
    """Episode file to track in; it is never changed."""
    out: Path
    """Episode file to write."""
    json: Path | None = None
    """Write the printed numbers here."""


def words(result: Result) -> Iterator[str]:
    """Say in lines what was found, what was not, and how to correct it."""
    yield f"tracked {result.tracked} episodes" if result.tracked else "nothing new to track"
    count = len(result.things)
    yield f"{count} thing{'s' * (count != 1)} before camera {result.camera}:"
    width = max(len(thing.name) for thing in result.things)
    for thing in result.things:
        yield (
            f"  {thing.number} {thing.name:<{width}}  {thing.width:.0f} x {thing.height:.0f} px, in {thing.episodes} "
            f"of {result.episodes} episodes and {thing.seen:.1%} of the frames, confidence {thing.confidence:.2f}"
        )
    yield from sheet.left_out(result.left_out, _REASONS)
    frame = "in metres" if result.object_frame == "metres" else "in image coordinates, column and row [px]"
    yield f"places are {frame}: {result.places}"
    yield from (f"caution: {caution}" for caution in result.cautions)
    yield "to correct: --drop NUMBER what is no thing; --objects N or --click FILE what is missing; --sheet shows it"
    yield f"{result.file}: {result.episodes} episodes, {result.frames:,} frames\ndigest {result.digest}"


def main(config: TrackConfig) -> int:
    """Run `gwm track`."""
    result = track_episodes(config)
    for line in words(result):
        print(line)
    if config.sheet is not None:
        print(f"wrote {config.sheet}")
    if config.json is not None:
        write_json(config.json, asdict(result))
    return 0
