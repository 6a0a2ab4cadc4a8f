"""Find and follow things in raw recordings as users do, `gwm export raw` and `gwm track`, and compare with the truth.

Each row is one motion of the block world in another look: things are found in the training episodes, nothing told, and
followed in those of the tests with `gwm track --like`. What is counted is defined in `worlds/scoring.py` and
`worlds/metres.py`. Recordings are kept in FOLDER and not made again; tracking is, so that no number is of an older
tracker. Where nobody knows the truth a person looks: --sheet draws frames of the humanoid's test episodes, and the
count goes into results/humanoid_by_eye.json, see `worlds/by_eye.py`.

python benchmarks/tracking.py
python benchmarks/tracking.py --sheet
python benchmarks/tracking.py --episodes 20 --tests 5 --seed 200000 --json runs/tracking/try.json     while developing
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from own_worlds import REFUSAL
from program import circumstances, launch
from worlds import blocks, by_eye, metres, scoring, truth
from worlds.blocks import CAMERA, LOOKS, Look
from worlds.rows import REAL, WORLDS, Place, gwm

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile, parts_folder
from gwm_sim.errors import ConfigError, GwmError
from gwm_sim.files import write_json

RESULTS = Path(__file__).resolve().parent / "results"
SHEET_SEED = 0
"""Draws the frames that a person looks at."""


@dataclass(frozen=True)
class TrackingConfig:
    """Measure what `gwm track` finds."""

    rows: tuple[str, ...] = tuple(LOOKS)
    """Which recordings."""
    episodes: int = 60
    """Training episodes, in which things are found."""
    tests: int = 60
    """Episodes that are measured on."""
    training_seed: int = 1000
    """Seed of the first training episode."""
    seed: int = 300_000
    """Seed of the first test episode; take 200000 while developing."""
    timed: int = 400
    """Episodes of a longer recording that is tracked for the time it takes; 0 leaves it out."""
    sheet: bool = False
    """Draw the frames of the humanoid that a person counts, and measure nothing."""
    folder: Path = Path("runs/tracking")
    """Recordings and tracks."""
    real: Path = REAL
    """Recordings of real robots."""
    json: Path = RESULTS / "tracking.json"
    """What was measured; rows that are not asked for stay. The sheet lies beside it."""

    def __post_init__(self) -> None:
        if unknown := set(self.rows) - set(LOOKS):
            raise ConfigError(f"--rows knows {', '.join(LOOKS)}, got {', '.join(sorted(unknown))}")


@dataclass(frozen=True)
class Motion:
    """Recorded episodes with what is true of them."""

    labelled: Path
    episodes: int
    seed: int

    @classmethod
    def of(cls, folder: Path, episodes: int, seed: int) -> "Motion":
        """Record it, if it is not there yet."""
        labelled = folder / f"motion-{seed}-{episodes}.hdf5"
        blocks.collect(labelled, episodes, seed)
        return cls(labelled, episodes, seed)

    def raw(self, name: str) -> Path:
        """Return what a user would have, in one of the looks."""
        path = self.labelled.with_name(f"{name}-{self.seed}-{self.episodes}.hdf5")
        blocks.draw(self.labelled, LOOKS[name], path)
        return path

    def places(self) -> list[truth.Places]:
        """Return where things are in the pictures."""
        path = self.labelled.with_suffix(".truth.npz")
        blocks.write_truth(self.labelled, path)
        return list(truth.recorded(path))


def main(config: TrackingConfig) -> int:
    """Measure every row that is asked for, or draw the sheet; return the exit code."""
    config.folder.mkdir(parents=True, exist_ok=True)
    if config.sheet:
        store(config, sheet=draw_sheet(config))
        return 0
    training = Motion.of(config.folder, config.episodes, config.training_seed)
    tests = Motion.of(config.folder, config.tests, config.seed)
    for name in config.rows:
        print(f"{name}: {LOOKS[name].title}", flush=True)
        store(config, **{name: measure(name, training, tests)})
    if config.timed:
        long = Motion.of(config.folder, config.timed, config.training_seed).raw("plain")
        store(config, long=find(long, config.folder / "tracked-long.hdf5", CAMERA))
    return 0


def store(config: TrackingConfig, **parts: dict[str, Any]) -> None:
    """Put what was measured into the results."""
    report = json.loads(config.json.read_text(encoding="utf-8")) if config.json.exists() else {}
    write_json(config.json, report | {name: part | circumstances() for name, part in parts.items()})


def measure(name: str, training: Motion, tests: Motion) -> dict[str, Any]:
    """Find things in the training episodes, follow them in the tests, and compare with the truth.

    Returns:
        title, training, tests: What was recorded.
        tracking: See `find`.
        pixels: See `scoring.score`; missing where nothing was found.
        metres: See `places_error`; of the tests, and of the training episodes themselves, where places are compared.
    """
    look = LOOKS[name]
    told: dict[str, Any] = {"title": look.title}
    told |= {part: {"episodes": m.episodes, "seed": m.seed} for part, m in (("training", training), ("tests", tests))}
    tracked, followed = (training.labelled.with_name(f"tracked-{name}{end}.hdf5") for end in ("", "-tests"))
    told["tracking"] = find(training.raw(name), tracked, CAMERA)
    if "refused" in told["tracking"]:
        return told
    follow(tests.raw(name), followed, tracked)
    told["pixels"] = pixels(followed, tests, look)
    if look.metres:
        told["metres"] = {
            "tests": places_error(followed, tests),
            "training": places_error(tracked, training),
        }
    return told


def find(raw: Path, tracked: Path, camera: str) -> dict[str, Any]:
    """Track a recording on one core, as if nothing were known of it.

    Returns:
        found: How many things.
        tracker: Fingerprint of the tracker.
        frames: In how many frames they were followed.
        seconds_per_1000_frames: To find and to follow them, by the command's own clock.
        seconds_per_1000_frames_whole: The whole command, with its start, reading, places and writing.
        refused: Why nothing was tracked; all else is missing then.
    """
    remove(tracked)
    told = tracked.with_suffix(".json")
    words = ["track", raw, "--out", tracked, "--camera", camera, "--json", told]
    words += ["--sheet", tracked.with_suffix(".png")]
    with one_core():
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "gwm_sim", *map(str, words)],
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        seconds = time.perf_counter() - began
    print(done.stderr, end="", file=sys.stderr)
    if done.returncode:
        if REFUSAL not in done.stderr:
            done.check_returncode()  # a fault of ours, not of the recording
        return {"refused": done.stderr.rpartition(REFUSAL)[2].strip().removeprefix(f"{raw}: ")}
    said = json.loads(told.read_text(encoding="utf-8"))
    kept = ("tracker", "frames", "seconds_per_1000_frames", "object_frame", "places", "things")
    whole = {"seconds_per_1000_frames_whole": 1000 * seconds / said["frames"]}
    return {"found": len(said["things"])} | {key: said[key] for key in kept} | whole


def follow(raw: Path, followed: Path, tracked: Path) -> None:
    """Follow the things of one recording in another."""
    remove(followed)
    gwm("track", raw, "--out", followed, "--like", tracked)


def remove(tracked: Path) -> None:
    """Take away what an earlier run has tracked, or begun to."""
    tracked.unlink(missing_ok=True)
    parts = parts_folder(tracked)
    for part in parts.glob("*"):
        part.unlink()
    if parts.exists():
        parts.rmdir()


@contextmanager
def one_core() -> Iterator[None]:
    """Let the programs that are started meanwhile have one core, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pixels(followed: Path, motion: Motion, look: Look) -> dict[str, Any]:
    """Compare where things are said to be in the pictures with the truth."""
    seen, places = sightings(followed), motion.places()
    orders = scoring.assigned(seen, places, look.alike)
    compared = [scoring.compare(*triple) for triple in zip(seen, places, orders, strict=True)]
    with EpisodeFile(motion.labelled) as file:
        camera = file.schema.cameras[CAMERA]
        spans = [camera.metres_per_pixel(episode.objects[..., :3]) for episode in file if episode.objects is not None]
        half_width = file.schema.object_size / 2 / float(np.median(np.concatenate(spans)))
    return scoring.score(compared, half_width, look.alike)


def places_error(tracked: Path, motion: Motion) -> dict[str, Any]:
    """Compare places in metres with the truth, see `metres.score`; `refused` says why there are none."""
    seen, places = sightings(tracked), motion.places()
    order = scoring.assigned(seen, places, alike=False)[0]
    found = seen[0].shape[1]
    known = [k for k, m in enumerate(order) if m < found]
    parts = []
    with EpisodeFile(tracked) as file, EpisodeFile(motion.labelled) as labelled:
        if file.schema.object_frame != "metres":
            return {"refused": "the recording does not tell metres"}
        for episode, true, place in zip(file, labelled, places, strict=True):
            assert episode.objects is not None and true.objects is not None
            guess = episode.objects[:, [order[k] for k in known], :3]
            error = np.linalg.norm(guess - true.objects[:, known, :3], axis=-1)
            situation = metres.of_recording(true, labelled.schema.object_size)[:, known]
            visible = place.visible[:, known]
            parts.append((error, situation, visible >= scoring.IN_SIGHT, visible > 0))
    return metres.score(*(np.concatenate([values.ravel() for values in kind]) for kind in zip(*parts, strict=True)))


def sightings(tracked: Path) -> list[Array]:
    """Return what is said of each episode, (T, M, 6) each."""
    with EpisodeFile(tracked) as file:
        return [file.read(k, cameras=(), depth=False).sightings[CAMERA] for k in range(len(file))]


def draw_sheet(config: TrackingConfig) -> dict[str, Any]:
    """Find the humanoid's things in its training episodes, and draw frames of the tests with what is said of them.

    Returns:
        seed, moments: Which frames were drawn, episode and frame each, in the order of their numbers.
        tracking: See `find`.
    """
    world = WORLDS["humanoid"]
    place = Place(config.folder / "humanoid", config.folder / "venvs", config.real)
    place.folder.mkdir(parents=True, exist_ok=True)
    world.prepare(place)
    tracked, followed = place.folder / "tracked.hdf5", place.folder / "tracked-tests.hdf5"
    tracking = find(place.folder / "train.hdf5", tracked, world.camera)
    if "refused" in tracking:
        raise GwmError(f"nothing is tracked in the humanoid's episodes: {tracking['refused']}")
    follow(place.folder / "test.hdf5", followed, tracked)
    moments = by_eye.moments(followed, SHEET_SEED)
    picture = config.json.with_name("humanoid_by_eye.png")
    by_eye.write_sheet(followed, world.camera, moments, picture)
    print(f"wrote {picture}: look at it, and count into {by_eye.COUNT}")
    return {"title": world.title, "seed": SHEET_SEED, "moments": moments, "tracking": tracking}


if __name__ == "__main__":
    launch(main, TrackingConfig)
