"""Episodes and their store: what the cameras saw, what the robot reported, what was commanded, and how well it went.

On disk an episode file is HDF5 in robomimic's layout, so robomimic opens it as it is. The sources are `frames/<camera>`
and `telemetry` with N+1 rows; robomimic's `obs/*` and `next_obs/*` are virtual datasets on them and cost nothing.
Object poses, labels for every task, physics properties and seeds lie beside; `gwm_schema` says what the columns mean.

    /data                       attrs: total, env_args (JSON), gwm_schema (JSON)
    /data/demo_3                attrs: num_samples = N, seed, policy, properties (JSON),
                                       succeeded, instruction, masks (JSON), where known
                                       labelled (JSON): tasks that it has labels for, where these are not all
        actions (N, A)          action t leads from frame t to frame t+1
        telemetry (N+1, P)      frames/<camera> (N+1, H, W, 3)      objects (N+1, K, 7)
        sightings/<camera> (N+1, K, 6)     of objects that were tracked in these pictures
        objects_confidence (N+1, K)        how surely these are where `objects` says
        attributes (N+1, K, F)             what each object is like; it and `objects` are NaN of what is absent
        labels/<task>/reward (N+1,)      labels/<task>/success (N+1,)
        depth/<camera> (N+1, H, W, 1)   in units of 0.1 mm, where it was measured
        rewards (N,)  dones (N,)                for robomimic: the file's own task, else one that is labelled
        obs/<camera>_image, obs/<camera>_depth, obs/agent_pos, next_obs/...             virtual, (N, ...)
    /mask/<name>                names of the demos whose `masks` say so                 for robomimic
    /<name>                     what is attached to the file, see `attachments`

A writer makes one part file per episode and renames it into place, so a killed run loses only episodes in progress.
Knows numpy and h5py; nothing of environments, policies or models.
"""

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import h5py

from gwm_sim.arrays import Array
from gwm_sim.data import attachments, demos
from gwm_sim.data.episode import DEPTH_UNIT as DEPTH_UNIT
from gwm_sim.data.episode import Episode as Episode
from gwm_sim.data.episode import TaskLabels as TaskLabels
from gwm_sim.data.episode import arrays_of as arrays_of
from gwm_sim.data.episode import write_attributes as write_attributes
from gwm_sim.data.hdf5 import new_file, open_file
from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError, DataError
from gwm_sim.files import exclusive, keeping, replacing


def parts_folder(path: str | Path) -> Path:
    """Return the folder that holds the part files of an unfinished episode file."""
    path = Path(path)
    return path.with_name(path.name + ".parts")


@contextmanager
def resumable(path: Path) -> Iterator[None]:
    """Let what stops the making of the episode file `path`, the user or the storage, say what is kept."""

    def kept() -> str:
        parts = parts_folder(path)
        if not any(parts.glob("*.hdf5")):
            return "No episode was finished: the same command begins anew."
        return f"Finished episodes are kept in {parts}: the same command goes on."

    with keeping(kept):
        yield


class EpisodeWriter:
    """Writes an episode file part by part; several processes may write different episodes of the same file.

    Episodes that exist already, in the file or as parts of a killed run, are kept: ask `has` before making one again.
    """

    def __init__(self, path: str | Path, schema: Schema) -> None:
        """Prepare to write, or to go on writing, the file at `path`.

        Raises:
            ConfigError: `path` or its parts were made with other settings.
        """
        self.path = Path(path)
        self.schema = schema
        self._parts = parts_folder(self.path)
        self._merged = self._existing(self.path)
        for part in self._part_files():
            self._existing(part)
        self._parts.mkdir(parents=True, exist_ok=True)

    def has(self, index: int) -> bool:
        """Return whether episode `index` is stored already."""
        return index in self._merged or self._part(index).exists()

    def numbers(self) -> Iterator[tuple[int, Array, Array]]:
        """Yield number, telemetry (N+1, P) and actions (N, A) of each episode that is stored already."""
        for path in [self.path] * bool(self._merged) + self._part_files():
            with open_file(path) as file:
                for name, demo in file["data"].items():
                    telemetry, actions = (
                        demos.read_array(demo, key, slice(None), path) for key in ("telemetry", "actions")
                    )
                    yield demos.demo_number(name), telemetry, actions

    def write(self, index: int, episode: Episode) -> None:
        """Store an episode completely or, when killed meanwhile, not at all.

        Args:
            index: Number of the episode in the file: it becomes `demo_<index>`.
            episode: The recording; shapes, types and finite numbers are checked against the schema.
        """
        with replacing(self._part(index)) as temporary, new_file(temporary) as file:
            demos.write_part(file, index, episode, self.schema)

    def add(self, index: int, part: bytes) -> None:
        """Store an episode as `write` does, of which another process has made the part by `demos.pack`."""
        with replacing(self._part(index)) as temporary:
            temporary.write_bytes(part)

    def attach(self, name: str, arrays: Mapping[str, Array]) -> None:
        """Store arrays beside the episodes, completely or, when killed meanwhile, not at all.

        Args:
            name: What they are; `attached` finds them by it.
            arrays: Numbers or bytes of any shape, by name.

        Raises:
            ConfigError: Others are attached by that name already.
            DataError: One of the arrays is of another type, or what is attached already is damaged.
        """
        present = self.attached(name)
        if present is None:
            attachments.store(attachments.file_beside(self._parts, name), name, arrays)
        elif attachments.digest_of(present) != attachments.digest_of(arrays):
            raise ConfigError(f"{self.path} was begun with another {name}: write to another file.")

    def attached(self, name: str) -> dict[str, Array] | None:
        """Return the arrays that are stored by that name already; None when there are none."""
        if self._merged:
            with open_file(self.path) as file:
                if (arrays := attachments.load(file, name, self.path)) is not None:
                    return arrays
        return attachments.load_beside(self._parts, name)

    def merge(self) -> None:
        """Make the file out of what it held before and all parts, then remove the parts."""
        sources = {index: self.path for index in self._merged} | {int(part.stem): part for part in self._part_files()}
        attached = attachments.names_beside(self._parts)
        if sources and (attached or sources.keys() != self._merged):
            with replacing(self.path) as temporary, new_file(temporary) as file:
                data, total = demos.write_head(file, self.schema), 0
                for index in sorted(sources):
                    with open_file(sources[index]) as source:
                        total += demos.copy_demo(source[f"data/demo_{index}"], data)
                    file.check()
                data.attrs["total"] = total
                demos.write_masks(file)
                self._copy_attachments(file)
            self._merged = set(sources)
        shutil.rmtree(self._parts)

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Write all episodes in a block that no other process is in, then merge; an interrupt says what is kept.

        Raises:
            ConfigError: Another process is at it.
        """
        with resumable(self.path), exclusive(self._parts / "lock", str(self.path)):
            yield
            self.merge()

    def _copy_attachments(self, file: h5py.File) -> None:
        sources = {name: attachments.file_beside(self._parts, name) for name in attachments.names_beside(self._parts)}
        if self._merged:
            with open_file(self.path) as merged:
                sources |= dict.fromkeys(attachments.names_in(merged), self.path)
        for name, path in sources.items():
            with open_file(path) as source:
                source.copy(name, file)

    def _part(self, index: int) -> Path:
        return self._parts / f"{index:06d}.hdf5"

    def _part_files(self) -> list[Path]:
        return sorted(self._parts.glob("*.hdf5"))

    def _existing(self, path: Path) -> set[int]:
        """Return the numbers of the episodes in a file; refuse it when its schema is another one."""
        if not path.exists():
            return set()
        with open_file(path) as file:
            differences = demos.read_schema(file, path).differences(self.schema)
            if differences:
                raise ConfigError(
                    f"{path} was made with other settings: {'; '.join(differences)}. "
                    "Repeat the command that made it, or write to another file."
                )
            return {demos.demo_number(name) for name in demos.demo_names(file)}


class EpisodeFile:
    """Reads an episode file, or the finished parts of one that is being written or whose writer was killed.

    Opening checks the structure of every episode; reading checks numbers. What is wrong raises `DataError` with file,
    episode, dataset and row.
    """

    schema: Schema
    numbers: list[int]
    """Of each episode, as in `demo_3`; one that was left out is missing here."""
    lengths: list[int]
    """Number of actions N of each episode."""
    seeds: list[int | None]
    policies: list[str]
    masks: list[tuple[str, ...]]
    """Filter keys that each episode belongs to."""
    labelled: list[tuple[str, ...]]
    """Tasks that each episode has labels for: all of the schema, unless it says otherwise."""

    def __init__(self, path: str | Path) -> None:
        """Open the file at `path`, or the parts beside it when the file itself is not there yet."""
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._demos = self._find_demos()
        self.schema = demos.read_schema(self._open(self._demos[0][0]), self._demos[0][0])
        self.numbers = [demos.demo_number(demo) for _, demo in self._demos]
        self.lengths, self.seeds, self.policies, self.masks, self.labelled = [], [], [], [], []
        for file, demo in self._demos:
            group = self._open(file)["data"][demo]
            self.lengths.append(demos.check_structure(group, file, self.schema))
            self.seeds.append(int(group.attrs["seed"]) if "seed" in group.attrs else None)
            self.policies.append(str(group.attrs.get("policy", "unknown")))
            self.masks.append(demos.masks_of(group))
            self.labelled.append(demos.labelled(group, self.schema))

    @property
    def unfinished(self) -> bool:
        """Whether these are the parts of a file that was never finished."""
        return not self.path.is_file()

    @property
    def _parts(self) -> Path:
        """The folder of the parts, where that is what was opened."""
        return self.path if self.path.is_dir() else parts_folder(self.path)

    @property
    def size(self) -> int:
        """Size on disk [bytes]."""
        return sum(file.stat().st_size for file in {file for file, _ in self._demos})

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self._demos)

    def __getitem__(self, k: int) -> Episode:
        """Read the k-th episode whole."""
        return self.read(k)

    def __iter__(self) -> Iterator[Episode]:
        """Read one episode after the other."""
        return (self.read(k) for k in range(len(self)))

    def read(
        self,
        k: int,
        start: int = 0,
        stop: int | None = None,
        *,
        cameras: Collection[str] | None = None,
        depth: bool = True,
    ) -> Episode:
        """Read frames `start` to `stop` (exclusive) of the k-th episode and the actions between them.

        Args:
            k: Position in the file; negative counts from the end.
            start: First frame.
            stop: Frame after the last one; None reads to the end.
            cameras: Cameras whose frames are wanted, `()` for none; None reads all.
            depth: Whether their depth is wanted, where it was measured.
        """
        file, demo = self._demos[k]
        group = self._open(file)["data"][demo]
        first, last, _ = slice(start, stop).indices(self.lengths[k] + 1)
        rows, between = slice(first, last), slice(first, max(first, last - 1))

        def load(name: str, selection: slice = rows) -> Array:
            return demos.read_array(group, name, selection, file)

        names = self._known_cameras(cameras)
        return Episode(
            frames={name: load(f"frames/{name}") for name in names},
            telemetry=load("telemetry"),
            actions=load("actions", between),
            labels={t: TaskLabels(load(f"labels/{t}/reward"), load(f"labels/{t}/success")) for t in self.labelled[k]},
            objects=load("objects") if self.schema.object_names else None,
            properties=json.loads(group.attrs.get("properties", "{}")),
            seed=self.seeds[k],
            policy=self.policies[k],
            depth={name: load(f"depth/{name}") for name in names if depth and name in self.schema.depth},
            succeeded=bool(group.attrs["succeeded"]) if "succeeded" in group.attrs else None,
            instruction=str(group.attrs["instruction"]) if "instruction" in group.attrs else None,
            masks=self.masks[k],
            sightings={name: load(f"sightings/{name}") for name in self.schema.tracked},
            objects_confidence=load("objects_confidence") if self.schema.tracked else None,
            attributes=load("attributes") if self.schema.object_attributes else None,
        )

    def rows(self, k: int, name: str, start: int, stop: int) -> Array:
        """Read rows `start` to `stop` (exclusive) of one array of the k-th episode, such as `frames/front`."""
        file, demo = self._demos[k]
        return demos.read_array(self._open(file)["data"][demo], name, slice(start, stop), file)

    @property
    def attachments(self) -> list[str]:
        """Names of what is attached to the file."""
        if self.unfinished:
            return attachments.names_beside(self._parts)
        return attachments.names_in(self._open(self.path))

    def attached(self, name: str) -> dict[str, Array] | None:
        """Read the arrays that are attached by that name, such as those of a tracker; None when there are none.

        Raises:
            DataError: They are damaged.
        """
        if self.unfinished:
            return attachments.load_beside(self._parts, name)
        return attachments.load(self._open(self.path), name, self.path)

    def check(self) -> None:
        """Read all numbers of the file; raise `DataError` at the first NaN or infinity. Pictures cannot hold any."""
        for k in range(len(self)):
            self.read(k, cameras=())
        for name in self.attachments:
            self.attached(name)

    def digest(self) -> str:
        """Return a fingerprint (SHA-256) of the content, which does not depend on how it was written or compressed."""
        content = hashlib.sha256()
        schema = {key: value for key, value in self.schema.to_json().items() if key != "versions"}
        content.update(demos.canonical(schema))
        for k, (file, demo) in enumerate(self._demos):
            layout = self.schema.layout(self.lengths[k], self.labelled[k])
            demos.add_to_digest(content, self._open(file)["data"][demo], layout, file)
        for name in self.attachments:
            content.update(demos.canonical([name, attachments.digest_of(self.attached(name) or {})]))
        return content.hexdigest()

    def close(self) -> None:
        """Close the file; closing twice does no harm."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_file": None}  # a copy, perhaps in another process, opens the file for itself

    def _find_demos(self) -> list[tuple[Path, str]]:
        """List (file, name) of every episode in numeric order; `demo_10` comes after `demo_9`."""
        if self.path.is_file():
            names = sorted(demos.demo_names(self._open(self.path)), key=demos.demo_number)
            found = [(self.path, name) for name in names]
        else:
            if not self._parts.is_dir():
                raise DataError(f"{self.path}: no such file. Record one with gwm collect.")
            parts = {int(part.stem): part for part in self._parts.glob("*.hdf5")}
            found = [(parts[index], f"demo_{index}") for index in sorted(parts)]
        if not found:
            raise DataError(f"{self.path} holds no finished episode.")
        return found

    def _open(self, path: Path) -> h5py.File:
        """Open a file, or return it when it is the one opened last: thousands of parts cannot be open at once."""
        if self._file is None or Path(self._file.filename) != path:
            self.close()
            self._file = open_file(path)
        return self._file

    def _known_cameras(self, cameras: Collection[str] | None) -> list[str]:
        names = list(self.schema.cameras) if cameras is None else list(cameras)
        unknown = [name for name in names if name not in self.schema.cameras]
        if unknown:
            raise DataError(f"{self.path} has no camera {unknown[0]!r}; it has {', '.join(self.schema.cameras)}.")
        return names
