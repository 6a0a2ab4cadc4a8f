"""What is exported: the episodes of a file one after the other, and what every format says about them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gwm_sim.data.episode_file import Episode, EpisodeFile, TaskLabels
from gwm_sim.data.schema import IMAGINED, TRACKER
from gwm_sim.errors import DataError
from gwm_sim.progress import Show

TRACKED = "tracked_objects"
"""Key of the metadata of every format that says that positions of objects were tracked in pictures, never measured."""


@dataclass(frozen=True)
class ExportFormat:
    """What a module says of the format that it writes, as `FORMAT`: by that alone `gwm export` knows it."""

    name: str
    write: Callable[..., None]
    """Takes `Recordings`, a path that does not exist yet, and what `options` names."""
    options: tuple[str, ...] = ()
    """Options of `gwm export` that it has a place for."""
    packages: tuple[str, ...] = ()
    """Optional packages that it needs, by the names under which they are imported."""
    keeps_objects: bool = True
    """Whether it is told where objects are."""
    left_out: Callable[..., list[str]] = lambda recordings, **options: recordings.without_a_place()
    """Says what of the file is not written, in words, of `Recordings` and what `options` names."""
    why: str = ", for which the format has no common place"
    """Why that is so, after these words."""


class Recordings:
    """The episodes of a file, read one at a time; can be gone through once or often."""

    def __init__(self, file: EpisodeFile, limit: int | None = None, show: Show = lambda share, text: None) -> None:
        """Take the first `limit` episodes of a file, or all; one that has no action is a DataError."""
        self._file = file
        self._show = show
        self.schema = file.schema
        self.lengths = file.lengths[:limit]
        """Number of actions N of each episode."""
        labelled = file.labelled[: len(self.lengths)]
        self.task = self.schema.task if self.schema.task in self.schema.tasks and all(labelled) else None
        """The task of which formats are told that know of one only, where every episode is labelled for one."""
        self.attachments = file.attachments
        """Names of what is attached to the file."""
        self.masks = file.masks[: len(self.lengths)]
        """Filter keys that each episode belongs to."""
        if 0 in self.lengths:
            raise DataError(f"{file.path}: episode {self.lengths.index(0)} has no action. Leave it out.")

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Episode]:
        """Read one episode after the other."""
        for k in range(len(self)):
            yield self._file.read(k)
            self._show((k + 1) / len(self), f"{k + 1} of {len(self)} episodes")

    @property
    def imagined(self) -> dict[str, str] | None:
        """Name and hash of the model that imagined the episodes; None when they were recorded."""
        return self.schema.settings.get(IMAGINED)

    @property
    def tracked(self) -> dict[str, Any] | None:
        """How positions of objects were found in pictures; None when nothing was tracked."""
        schema = self.schema
        if not schema.tracked:
            return None
        found = {"measured": False, "cameras": list(schema.tracked), "frame": schema.object_frame}
        return found | {"tracker": schema.settings.get(TRACKER)}

    def origin(self) -> dict[str, Any]:
        """Return what the metadata of every format carries: our whole schema and, if so, who imagined this and that
        positions of objects were tracked."""
        said = {IMAGINED: self.imagined, TRACKED: self.tracked}
        return {key: value for key, value in said.items() if value is not None} | {"gwm_sim": self.schema.to_json()}

    def without_a_place(self) -> list[str]:
        """Name what other formats than ours have no common place for."""
        return [f"depth of {camera}" for camera in self.schema.depth] + [f"the {name}" for name in self.attachments]

    def labels(self, episode: Episode) -> TaskLabels | None:
        """Return the labels of the file's own task, or of the one that the episode has; None when there are none."""
        return episode.labels_of(self.task)

    def task_of(self, episode: Episode) -> str | None:
        """Return the task that `labels` speak of."""
        return self.task if self.task in episode.labels or not self.task else next(iter(episode.labels))
