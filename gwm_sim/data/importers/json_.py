"""JSON beside films, as Ctrl-World, IRASim, Cosmos and their kin keep robot data.

    SRC/annotation/[<split>/]<episode>.json     numbers per frame, as states, joints, action; texts, success, videos
    SRC/videos/[<split>/]<episode>/<camera>.mp4      or videos/[<split>/]<episode>.mp4 of one camera

The files say where their films lie, else they lie so. Row i belongs to frame i. Numbers may be denser than frames by a
whole factor s, as DROID's 15 Hz beside films of 5 Hz: then row s*k belongs to frame k, and the actions between are
joined. Actions may be one fewer than frames, or missing: then the coming states are the commands. Names and meanings of
usual fields are known; `--state-key` and `--action-key` name others, several with commas. A split is a mask.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gwm_sim.data.conversion.resampling import aggregate, paired, rate_of
from gwm_sim.data.importers.source import (
    AS_STORED,
    Action,
    Column,
    ImportFormat,
    Layout,
    Recording,
    Source,
    SourceOptions,
    counted,
    how_to_move,
    listed,
)
from gwm_sim.data.pictures.videos import SUFFIXES, frame_count, frame_times, frames, inside
from gwm_sim.data.reading.annotations import Annotation, camera_of, read_annotation
from gwm_sim.data.reading.checks import Array
from gwm_sim.data.reading.fields import POSE, action_columns, as_action, last_part, names_of, state_columns
from gwm_sim.data.reading.folders import files_in, unlinked
from gwm_sim.data.reading.masks import all_taken, check_wanted
from gwm_sim.errors import ConfigError, DataError

_ANNOTATION, _VIDEOS = "annotation", "videos"

_ACTION = re.compile(r"(?:^|\.)actions?(?:\.|$)")
_STATE = re.compile(r"(?:^|\.)(?:states?|joints?|joint_positions?|proprio\w*|qpos|\w*gripper_state)(?:\.|$)")

_PREFERRED = ("action", "actions", "cartesian_position", "joint_position", "joint_velocity")
"""Actions that say the same in other terms, by the last part of their name: the first one is taken, and the gripper."""


@dataclass(frozen=True)
class _Field:
    """Numbers of the annotations that are read."""

    key: str
    columns: tuple[Column, ...]
    taken: tuple[int, ...]
    """Which of its numbers they are: others repeat what another field says."""
    stride: int
    """Rows per frame."""
    between: bool = False
    """Whether there is one fewer than frames, each of which leads from a frame to the next."""

    def rows(self, count: int) -> int:
        """Return for how many frames `count` rows are."""
        return count + 1 if self.between else -(-count // self.stride)


class JsonSource(Source):
    """Episodes in the order of their splits and names."""

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """Read all annotations and the films of the first."""
        self.options = options
        self._root = path
        self._files = _annotations(path)
        self._choose_split()
        self._cached = (0, read_annotation(*self._files[0]))
        first = self._cached[1]
        films = self._films(first)
        count = frame_count(next(iter(films.values())))
        common = self._common_fields()
        self._states = self._state_fields(first, common, count)
        self._actions = self._action_fields(first, common, count)
        known = {field.key for field in (*self._states, *self._actions)}
        if unread := [k for k in common if k not in known and not (_STATE.search(k) or _ACTION.search(k))]:
            self.remark(f"{listed(unread)} was not read: --state-key and --action-key take what they name")
        states = [column for field in self._states for column in field.columns]
        names = names_of(states)
        self._commands: tuple[int, ...] = () if self._actions else self._coming(names)
        actions = [as_action(column) for field in self._actions for column in field.columns]
        self.layout = Layout(
            robot=path.resolve().name,
            rate=self._find_rate(first, films),
            telemetry=tuple(states),
            actions=tuple(actions or (Action(names[i], states[i].unit, "target") for i in self._commands)),
            cameras=tuple(films),
            effector=tuple(map(names.index, "xyz")) if {"x", "y", "z"} <= set(names) else (),
        )
        if (densest := max((field.stride for field in (*self._states, *self._actions)), default=1)) > 1:
            self.remark(f"there are {densest} rows for a frame: row {densest}k is taken to be that of frame k")

    def _choose_split(self) -> None:
        counts = Counter(split for _, split in self._files if split is not None)
        known = {split: f"{split} ({counted(count, 'episode')})" for split, count in sorted(counts.items())}
        if (wanted := self.options.mask) is not None:
            check_wanted(wanted, known)
            self._files = [(path, split) for path, split in self._files if split == wanted]
        elif len(known) > 1:
            self.remark(all_taken(known, counted(len(self._files), "episode")))

    def __len__(self) -> int:
        return len(self._files)

    def advice(self, k: int) -> str:
        """Name the annotation that is to be moved."""
        return how_to_move(self._files[k][0])

    def _annotation(self, k: int) -> Annotation:
        if self._cached[0] != k:
            self._cached = (k, read_annotation(*self._files[k]))
        return self._cached[1]

    def _common_fields(self) -> dict[str, int]:
        """Return which fields every episode has, and how many numbers wide they are."""
        first = self._cached[1]
        common = {key: first.width(key) for key in first.fields}
        for k in range(1, len(self._files)):
            other = read_annotation(*self._files[k])
            for key in [key for key in common if key not in other.fields]:
                del common[key]
                self.remark(f"{key} is not in every episode, and was left out", other.name)
            for key, width in common.items():
                if other.width(key) != width:
                    raise DataError(
                        f"{other.path}: {key} has {other.width(key)} numbers a row, {width} in the first episode."
                    )
        return common

    def _chosen(self, option: str | None, flag: str, common: dict[str, int]) -> list[str]:
        keys = [key.strip() for key in (option or "").split(",") if key.strip()]
        unknown = [key for key in keys if key not in common]
        if unknown:
            raise ConfigError(f"{flag} {unknown[0]}: every episode has {listed(common)}, and not that.")
        return keys

    def _state_fields(self, first: Annotation, common: dict[str, int], count: int) -> list[_Field]:
        keys = self._chosen(self.options.state_key, "--state-key", common)
        if not keys:
            keys = [key for key in common if _STATE.search(key) and not _ACTION.search(key)]
            # The densest first: the others repeat it.
            keys.sort(key=lambda key: -_stride(len(first.fields[key]), count))
        fields, names = [], set[str]()
        for key in keys:
            columns = state_columns(key, first.values(key))
            taken = tuple(i for i, column in enumerate(columns) if column.name not in names)
            if taken:
                chosen = tuple(columns[i] for i in taken)
                fields.append(_Field(key, chosen, taken, _stride(len(first.fields[key]), count)))
                names |= {column.name for column in chosen}
        return fields

    def _action_fields(self, first: Annotation, common: dict[str, int], count: int) -> list[_Field]:
        keys = self._chosen(self.options.action_key, "--action-key", common)
        if not keys:
            found = [key for key in common if _ACTION.search(key)]
            main = next((key for last in _PREFERRED for key in found if last_part(key) == last), None)
            keys = [key for key in found if main is None or key == main or "gripper" in last_part(key)]
            if left_out := [key for key in found if key not in keys]:
                self.remark(f"{listed(left_out)} command the same in other terms: --action-key takes those instead")
        poses = (f for f in self._states if f.stride == 1 and names_of(f.columns[:6]) == names_of(POSE))
        pose = next((first.values(field.key) for field in poses), None)
        fields = []
        for key in keys:
            columns, remark = action_columns(key, first.values(key), pose, bool(self._states))
            if remark:
                self.remark(remark)
            rows = len(first.fields[key])
            stride = _stride(rows, count)
            states = [len(first.fields[field.key]) for field in self._states if field.stride == 1]
            between = stride == 1 and rows + 1 == (states[0] if states else count)
            fields.append(_Field(key, columns, tuple(range(len(columns))), stride, between))
        names = names_of(column for field in fields for column in field.columns)
        if len(set(names)) < len(names):
            raise ConfigError(f"--action-key {','.join(keys)} names actions twice: {listed(sorted(set(names)))}.")
        return fields

    def _coming(self, names: Sequence[str]) -> tuple[int, ...]:
        """Return the telemetry that is taken for commands where none are recorded: the pose and the gripper, or all."""
        if not names:
            raise DataError(f"{self._files[0][0]} holds neither states nor actions. Name them by --action-key.")
        pose = tuple(names.index(name) for name in (*names_of(POSE), "gripper") if name in names)
        commands = pose if len(pose) > 1 else tuple(range(len(names)))
        self.remark(
            f"no actions are recorded: the coming states ({listed(names[i] for i in commands)}) are taken for the "
            "commands, so a model learns where the robot went and not whether it obeys"
        )
        return commands

    def _find_rate(self, first: Annotation, films: dict[str, Path]) -> float:
        if self.options.source_fps is not None:
            return self.options.source_fps
        if first.rate is not None:
            return first.rate
        rate = rate_of(frame_times(next(iter(films.values()))), str(first.path))
        self.remark(f"the annotations state no rate, and the films' {rate:g} Hz was taken: --source-fps corrects it")
        return rate

    def _films(self, annotation: Annotation) -> dict[str, Path]:
        """Find the films of an episode: where its annotation says, else where they usually are."""
        where, below = str(annotation.path), f"{_VIDEOS}/{annotation.name}"
        usual = [*_films_in(self._root / below), *(f for s in SUFFIXES if (f := self._root / f"{below}{s}").exists())]
        named = annotation.films
        lost = named and not any((self._root / reference).exists() for reference in named.values())
        if not named or (lost and usual):
            named = {camera_of(film, annotation.path.stem): str(film.relative_to(self._root)) for film in usual}
        if not named:
            raise DataError(f"{where} names no film, and there is none at {self._root / below}. Copy the videos too.")
        return {camera: inside(self._root, reference, where) for camera, reference in named.items()}

    def _films_of(self, k: int) -> dict[str, Path]:
        films = self._films(self._annotation(k))
        missing = [camera for camera in self.layout.cameras if camera not in films]
        if missing:
            raise DataError(f"{self._files[k][0]} has no film of {missing[0]!r}, the first episode has one.")
        return {camera: films[camera] for camera in self.layout.cameras}

    def _recording(self, k: int) -> Recording:
        annotation, films = self._annotation(k), self._films_of(k)
        values = {field.key: annotation.values(field.key) for field in (*self._states, *self._actions)}
        rows = {field.key: field.rows(len(values[field.key])) for field in (*self._states, *self._actions)}
        if len(set(rows.values())) > 1:
            counts = listed(f"{key} for {count}" for key, count in rows.items())
            raise DataError(f"{annotation.path}: its fields are for different numbers of frames: {counts}.")
        counted = {camera: frame_count(film) for camera, film in films.items()}
        remedy = "Or write as many rows as frames, or a whole multiple."
        count = paired(self, str(annotation.path), next(iter(rows.values())), counted, remedy=remedy)
        telemetry = [values[f.key][:: f.stride][:count, list(f.taken)] for f in self._states]
        joined = np.concatenate([np.zeros((count, 0), np.float32), *telemetry], axis=1)
        return Recording(
            where=str(annotation.path),
            telemetry=joined,
            actions=self._joined_actions(values, joined, count),
            times=self._times(annotation, films, count),
            succeeded=annotation.succeeded,
            instruction=annotation.instruction,
            masks=() if annotation.split is None else (annotation.split,),
        )

    def _joined_actions(self, values: dict[str, Array], telemetry: Array, count: int) -> Array:
        """Return what leads from each frame to the next, (R-1, A) float32."""
        if not self._actions:
            return telemetry[1:, list(self._commands)]
        parts = []
        for field in self._actions:
            columns = [as_action(column) for column in field.columns]
            parts.append(aggregate(values[field.key], columns, field.stride * np.arange(count), self.options.actions))
        return np.concatenate(parts, axis=1)

    def _times(self, annotation: Annotation, films: dict[str, Path], count: int) -> Array | None:
        """Return when the frames were shown, if nobody knows better."""
        if self.options.source_fps is not None:
            return None
        if annotation.rate is not None:
            return np.arange(count) / annotation.rate
        return frame_times(next(iter(films.values())))[:count]

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        return frames(self._films_of(k)[camera], rows)


def _annotations(root: Path) -> list[tuple[Path, str | None]]:
    """List the annotations with their splits."""
    folder = root / _ANNOTATION
    if not folder.is_dir():
        raise DataError(f"{folder} does not exist. Give the folder that holds {_ANNOTATION} and {_VIDEOS}.")
    below = sorted(unlinked(item) for item in folder.iterdir() if item.is_dir())
    found: list[tuple[Path, str | None]] = [(path, None) for path in files_in(folder, ".json")]
    found += [(path, split.name) for split in below for path in files_in(split, ".json")]
    if not found:
        raise DataError(f"{folder} holds no .json file, in it or in a folder per split.")
    return found


def _films_in(folder: Path) -> list[Path]:
    return files_in(folder, *SUFFIXES) if folder.is_dir() else []


def _stride(rows: int, frames: int) -> int:
    return max(1, round(rows / max(1, frames)))


def _recognises(path: Path) -> bool:
    """Return whether `path` holds annotations and videos."""
    folder = path / _ANNOTATION
    if not folder.is_dir() or not (path / _VIDEOS).is_dir():
        return False
    return any(any(folder.glob(pattern)) for pattern in ("*.json", "*/*.json"))


# Before folders, in which a table and a film may lie besides.
FORMAT = ImportFormat(
    "json",
    JsonSource,
    _recognises,
    rank=4,
    options=("trim", "mask", "state_key", "action_key"),
    looks_for=f"a folder with {_ANNOTATION}/ holding .json files, in it or in a folder per split, and {_VIDEOS}/",
)
