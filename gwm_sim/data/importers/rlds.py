"""RLDS data sets as TensorFlow Datasets writes them to TFRecord files: Open X-Embodiment, BridgeData V2 and others.

    <name>/1.0.0/features.json         what a record holds: steps/{observation/..., action, reward, is_last, ...}
                 dataset_info.json     name, splits, records per file
                 <name>-train.tfrecord-00000-of-00012

A record is an episode. The action of a step leads to the next step, and its reward is that of the next step; the last
action leads nowhere. Names, units and the rate of the columns are not stored: `--source-fps` gives the rate. Splits
become masks, what is on or off a column of 0 and 1; integers, which may be choices, are left out unless they are asked
for. Neither TensorFlow nor another package is needed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gwm_sim.data.images import decode_picture
from gwm_sim.data.importers.rlds_files import (
    FEATURES,
    INFO,
    decoded,
    features_of,
    shards_of,
    version_folder,
    versions_of,
)
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
    listed,
    standing,
)
from gwm_sim.data.pictures.videos import inside
from gwm_sim.data.reading import tfrecord
from gwm_sim.data.reading.checks import MAX_ROWS, Array, brief, json_object, matrix, reading, rows_of
from gwm_sim.data.reading.masks import all_taken, check_wanted
from gwm_sim.errors import ConfigError, DataError

_OBSERVATION, _ACTION = "steps/observation/", "steps/action"
_NO_STATE = re.compile(r"embed|language|instruction|mask|image|depth|timestep", re.IGNORECASE)
"""Numbers of an observation that no robot reports."""
_SUCCESS = tuple(f"episode_metadata/{name}" for name in ("success", "is_success", "succeeded"))
_BLANK = 4
"""Grey levels within a picture that shows nothing."""

_POSE = (("x", "m"), ("y", "m"), ("z", "m"), ("roll", "rad"), ("pitch", "rad"), ("yaw", "rad"))
_BRIDGE_STATE = tuple(Column(name, unit) for name, unit in _POSE)
_BRIDGE_ACTION = (*(Action(f"d{name}", unit, "delta") for name, unit in _POSE), Action("gripper", "", "target"))
"""What the seven numbers of BridgeData V2 are, which its files do not say."""


class RldsSource(Source):
    """Episodes in the order of splits, files and records."""

    leaves_out = True

    def __init__(self, path: Path, options: SourceOptions = AS_STORED) -> None:
        """Find all records, and look into some for the cameras that show something."""
        self.options = options
        self._root = version_folder(path, self)
        self._info = json_object(self._root / INFO) if (self._root / INFO).is_file() else {}
        self._features = features_of(json_object(self._root / FEATURES), self._root / FEATURES)
        self._places = self._find_places(options.mask)
        self._cached: tuple[int, dict[str, tfrecord.Values]] | None = None
        self._state = self._vectors(_OBSERVATION, "state", options.state_key, "--state-key")
        self._action = self._vectors(_ACTION, "action", options.action_key, "--action-key")
        self._cameras = self._find_cameras()
        name = str(self._info.get("name") or self._root.parent.name)
        columns, actions = self._columns(name)
        names = [column.name for column in columns]
        self.layout = Layout(
            robot=name,
            rate=options.source_fps,
            telemetry=columns,
            actions=actions,
            cameras=tuple(self._cameras),
            effector=(0, 1, 2) if names[:3] == ["x", "y", "z"] else (),
            task="task" if "steps/reward" in self._features else None,
        )

    def __len__(self) -> int:
        return len(self._places)

    def _find_places(self, mask: str | None) -> list[tuple[str, tfrecord.Place]]:
        """Find the records of every split that is here, or of the one that is wanted."""
        shards = shards_of(self._root)
        said = {str(split["name"]): split for split in _objects(self._info.get("splits"))}
        splits = sorted(shards, key=lambda split: (list(said).index(split) if split in said else len(said), split))
        if not splits:
            raise DataError(f"{self._root} holds no file such as NAME-train.tfrecord-00000-of-00001. Copy it too.")
        if mask is not None:
            check_wanted(mask, dict(zip(splits, splits, strict=True)))
        if absent := [split for split in said if split not in splits]:
            self.remark(f"{INFO} lists splits whose files are not here: {listed(absent)}.")
        found = []
        for split in splits if mask is None else [mask]:
            count, files = shards[split]
            if len(files) < count:
                self.remark(f"{len(files)} of the {count} files of split {split} are here.")
            lengths = said.get(split, {}).get("shardLengths")
            for shard, name in sorted(files.items()):
                places = tfrecord.places(inside(self._root, name, str(self._root)))
                wanted = lengths[shard] if isinstance(lengths, list) and len(lengths) == count else len(places)
                if str(wanted) != str(len(places)):
                    raise DataError(
                        f"{self._root / name} has {len(places)} records, {INFO} says {brief(wanted)}. Copy it again."
                    )
                found += [(split, place) for place in places]
        if mask is None and len(splits) > 1:
            counts = Counter(split for split, _ in found)
            known = {split: f"{split} ({counted(counts[split], 'episode')})" for split in splits if counts[split]}
            self.remark(all_taken(known, counted(len(found), "episode")))
        if not found:
            raise DataError(f"{self._root} has no episode. Was the recording finished?")
        return found

    def _vectors(self, prefix: str, usual: str, wanted: str | None, flag: str) -> list[str]:
        """Choose the features that are the telemetry or the action."""
        known = {
            path.removeprefix(prefix).lstrip("/") or usual: path
            for path, feature in self._features.items()
            if path.startswith(prefix) and feature.width is not None
        }
        if wanted is not None:
            return [self._vector(key.strip(), flag, known) for key in wanted.split(",")]
        numbers = {name: path for name, path in known.items() if not _NO_STATE.search(name)}
        certain = {name: path for name, path in numbers.items() if self._features[path].certain}
        chosen = [certain[usual]] if usual in certain else list(certain.values())
        if not chosen:
            every = [path for path in self._features if path.startswith("steps/")]
            choices = f" {listed(numbers)} holds integers, which may be choices." if numbers else ""
            raise DataError(
                f"{self._root / FEATURES} has no {usual}: no vector of float or bool below {prefix}.{choices} "
                f"Name one with {flag}; a step holds {listed(every, 20)}."
            )
        if others := [name for name, path in numbers.items() if path not in chosen]:
            self.remark(f"other vectors of a step were left out, {listed(others)}: {flag} takes those instead.")
        return chosen

    def _vector(self, key: str, flag: str, known: Iterable[str]) -> str:
        """Return the vector of a step that a user names by the end of its path."""
        paths = [path for path in self._features if path == key or path.endswith(f"/{key}")]
        vectors = [path for path in paths if path.startswith("steps/") and self._features[path].width is not None]
        if len(vectors) != 1:
            raise ConfigError(f"{flag} {key} names no vector of a step; known are {listed(known) or 'none'}.")
        if not self._features[vectors[0]].certain:
            self.remark(f"{vectors[0]} holds integers, which are taken for amounts and not for choices.")
        return vectors[0]

    def _columns(self, name: str) -> tuple[tuple[Column, ...], tuple[Action, ...]]:
        """Name the columns: BridgeData's by what is known of it, others by their feature and a number."""

        def numbered(paths: Sequence[str], prefix: str, usual: str) -> list[str]:
            widths = {
                path.removeprefix(prefix).removeprefix("steps").strip("/").replace("/", "_") or usual: path
                for path in paths
            }
            return [
                f"{key}_{i}" if width > 1 else key
                for key, path in widths.items()
                for width in [self._features[path].width or 0]
                for i in range(width)
            ]

        state = tuple(Column(column) for column in numbered(self._state, _OBSERVATION, "state"))
        action = tuple(Action(column) for column in numbered(self._action, _ACTION, "action"))
        if not name.startswith("bridge"):
            return state, action
        if len(state) in (7, 8) and self._state == [f"{_OBSERVATION}state"]:
            padding = (Column("padding"),) * (len(state) - 7)
            state = (*_BRIDGE_STATE, *padding, Column("gripper"))
        return state, _BRIDGE_ACTION if self._action == [_ACTION] and len(action) == 7 else action

    def _find_cameras(self) -> dict[str, str]:
        """Find the pictures, without those that are blank in every episode that is looked at."""
        images = {path: feature for path, feature in self._features.items() if feature.kind == "image"}
        coloured = [
            path
            for path, feature in images.items()
            if path.startswith("steps/") and feature.dtype == "uint8" and (*feature.shape, -1)[2] in (-1, 1, 3, 4)
        ]
        looked = sorted({round(k) for k in np.linspace(0, len(self) - 1, 8)})
        looks = {path: {self._shows(k, path) for k in looked} for path in coloured}
        shows = {path: True in seen or seen == {None} for path, seen in looks.items()}
        cameras = {
            path.removeprefix(_OBSERVATION).removeprefix("steps/").replace("/", "_"): path
            for path in coloured
            if shows[path]
        }
        if blank := [path for path in coloured if not shows[path]]:
            self.remark(f"pictures that are blank in every episode looked at were left out: {listed(blank)}.")
        if others := [path for path in images if path not in coloured]:
            self.remark(f"pictures that are no colour pictures of a step were left out: {listed(others)}.")
        if not cameras:
            raise DataError(f"{self._root} has no pictures: none of {listed(images) or 'its features'} shows any.")
        return cameras

    def _shows(self, k: int, path: str) -> bool | None:
        """Whether a camera shows something in the first step of an episode; None where it is damaged."""
        try:
            pictures = self._pictures(k, path)
            if not pictures or not len(pictures[0]):
                return False
            first = decode_picture(bytes(pictures[0]), f"{self._places[k][1]}: {path}, row 0")
        except DataError:  # reading the episode will say what is wrong
            return None
        return int(np.ptp(first)) > _BLANK

    def _record(self, k: int) -> dict[str, tfrecord.Values]:
        if self._cached is None or self._cached[0] != k:
            place = self._places[k][1]
            data = tfrecord.message(place)
            with reading(str(place)):
                self._cached = k, tfrecord.example(data)
        return self._cached[1]

    def _values(self, k: int, path: str) -> tfrecord.Values:
        values = self._record(k).get(path)
        if values is None:
            raise DataError(f"{self._places[k][1]} has no {path}, which {FEATURES} lists.")
        return values

    def _pictures(self, k: int, path: str) -> list[memoryview]:
        with reading(f"{self._places[k][1]}: {path}"):
            return self._values(k, path).texts()

    def _numbers(self, k: int, path: str, width: int) -> Array:
        """Return the numbers of all steps of a feature, (R, width) float32."""
        where, feature = f"{self._places[k][1]}: {path}", self._features[path]
        with reading(where):
            values = self._values(k, path)
            flat = values.floats() if values.kind != "bytes" else decoded(values.texts(), feature, width)
        if len(flat) % width or len(flat) > width * MAX_ROWS:
            raise DataError(f"{where} has {len(flat):,} numbers, which are no rows of {width}.")
        return matrix(flat.reshape(-1, width), where)

    def _recording(self, k: int) -> Recording:
        split, place = self._places[k]
        telemetry, actions = (
            self._joined(k, paths, {path: self._features[path].width or 1 for path in paths})
            for paths in (self._state, self._action)
        )
        rows = len(telemetry)
        if len(actions) != rows:
            raise DataError(f"{place} has {rows} rows of telemetry and {len(actions)} of actions.")
        flags = {name: self._flags(k, f"steps/{name}", rows) for name in ("reward", "is_last")}
        reward, last = flags["reward"], flags["is_last"]
        if last is not None and not last[-1]:
            reward = None
            self.remark("episodes whose last step is not marked so were cut: how they ended is unknown", str(k))
        for camera, path in self._cameras.items():
            if self._shows(k, path) is False:
                self.remark(f"camera {camera} is blank in episodes: leave it out with --camera", str(k))
        return Recording(
            where=str(place),
            telemetry=telemetry,
            actions=actions[:-1],
            reward=None if reward is None else standing(reward, rows),
            succeeded=self._succeeded(k, reward),
            instruction=self._instruction(k),
            masks=(split,),
        )

    def _joined(self, k: int, paths: Sequence[str], widths: dict[str, int]) -> Array:
        parts = [self._numbers(k, path, widths[path]) for path in paths]
        if len({len(part) for part in parts}) > 1:
            counts = ", ".join(f"{path} {len(part)}" for path, part in zip(paths, parts, strict=True))
            raise DataError(f"{self._places[k][1]}: {brief(counts)} rows do not fit together.")
        return np.concatenate(parts, axis=1)

    def _flags(self, k: int, path: str, rows: int) -> Array | None:
        if path not in self._features:
            return None
        return rows_of(self._numbers(k, path, 1), rows, f"{self._places[k][1]}: {path}")

    def _succeeded(self, k: int, reward: Array | None) -> bool | None:
        """Return how an episode ended. Rewards of 0 alone do not tell: many data sets fill them in."""
        for path in _SUCCESS:
            if path in self._features and len(flag := self._numbers(k, path, 1)) == 1:
                return bool(flag[0, 0] > 0)
        return True if reward is not None and (reward >= 1).any() else None

    def _instruction(self, k: int) -> str | None:
        texts = [path for path, feature in self._features.items() if feature.kind == "text" and "instruction" in path]
        for path in texts:
            with reading(f"{self._places[k][1]}: {path}"):
                told = [bytes(text[:10_000]).decode(errors="replace") for text in self._values(k, path).texts()[:1]]
            if told and told[0].strip():
                return told[0].strip()
        return None

    def _frames(self, k: int, camera: str, rows: Array) -> Iterator[Array]:
        path = self._cameras[camera]
        pictures, where = self._pictures(k, path), f"{self._places[k][1]}: {path}"
        for row in rows.tolist():
            if row >= len(pictures):
                return
            yield decode_picture(bytes(pictures[row]), f"{where}, row {row}")


def _objects(value: object) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict) and "name" in item]


def _recognises(path: Path) -> bool:
    """Return whether `path` is a data set, a version of one, or a folder that holds one."""
    return any(shards_of(version) for version in versions_of(path))


FORMAT = ImportFormat(
    "rlds",
    RldsSource,
    _recognises,
    rank=3,
    options=("mask", "state_key", "action_key"),
    looks_for=f"a folder, or versions such as 1.0.0 in it, with {FEATURES} and .tfrecord files",
)
