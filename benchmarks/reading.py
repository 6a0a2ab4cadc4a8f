"""What a pass through pictures in files leaves in the memory of a process, with files kept open and with one at a time.

python benchmarks/reading.py --json benchmarks/results/reading.json

The recording of `streaming.py`, 50,000 frames in twenty copies, is read once from beginning to end as training reads
it, 1,024 frames at a time, and each block of pictures once. Blocks may take 0.4 GB; what a process takes beyond that is
not wanted. Nothing leaks: the HDF5 library frees what it keeps of a file when that is closed. But while files are open
its small pieces come to lie between the larger ones of pictures that come and go, and the holes that these leave are
too small for the next ones: a process whose memory is that of the C library (glibc 2.36 here) grows and grows.

Both ways are taken with what `gwm_sim.data.hdf5` lets the library keep of how a file is built, and with what it keeps
by itself (`library`).
"""

import shutil
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import h5py
import torch
from program import circumstances, launch
from streaming import STEPS, StreamingConfig, record, watch

from gwm_sim.data import episode_file
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.errors import GwmError
from gwm_sim.files import write_json
from gwm_sim.training.dataset.pictures import Blocks, StoredPictures

AT_ONCE: Final = 1024  # frames
ROOM: Final = 0.4  # for blocks [GB]


@dataclass(frozen=True)
class ReadingConfig:
    """Read pictures of many files in several ways."""

    frames: int = 50_000
    """Of the file, in episodes of 250."""
    copies: int = 20
    """Of the file."""
    folder: Path = Path("runs/reading")
    """For files, which are deleted in the end."""
    json: Path | None = None
    """Write the numbers here."""


class KeptOpen(Blocks):
    """The same with all files open, once they are."""

    def close(self) -> None:
        """Leave it open."""


WAYS: Final[dict[str, tuple[type[Blocks], bool]]] = {
    "one open at a time": (Blocks, True),
    "all kept open": (KeptOpen, True),
    "one open at a time, library": (Blocks, False),
    "all kept open, library": (KeptOpen, False),
}
"""How files are open, and whether what is kept of each is bounded."""


def read_all(paths: list[Path], size: int, way: str) -> None:
    """Look at every picture of some files once, in this process."""
    kind, bounded = WAYS[way]
    if not bounded:
        vars(episode_file)["open_file"] = h5py.File
    files = [EpisodeFile(path) for path in paths]
    for file in files:
        file.close()
    places = dict(enumerate((file, k) for file in files for k in range(len(file))))
    blocks = kind(places, ["frames/front"], (size, size, 3), ROOM * 1e9)
    starts = torch.arange(len(places)) * (STEPS + 1)
    pictures = StoredPictures(blocks, len(places) * (STEPS + 1), starts)
    for rows in torch.arange(len(pictures)).split(AT_ONCE):
        pictures[rows].float().mean()


def main(config: ReadingConfig) -> None:
    """Record, read and measure."""
    recording = StreamingConfig(frames=config.frames, copies=config.copies, folder=config.folder)
    paths, ways = record(recording), dict[str, Any]()
    for name in WAYS:
        process = get_context("spawn").Process(target=read_all, args=(paths, recording.size, name))
        process.start()
        ways[name] = watch(process)
        if process.exitcode != 0:
            raise GwmError(f"{name}: ended with exit code {process.exitcode}, see above")
        print(f"{name}: at most {ways[name]['own_gb']:.2f} GB in {ways[name]['seconds']:.0f} s", flush=True)
    if config.json is not None:
        write_json(config.json, {"frames": config.copies * config.frames, "ways": ways, **circumstances()})
    shutil.rmtree(config.folder)


if __name__ == "__main__":
    launch(main, ReadingConfig)
