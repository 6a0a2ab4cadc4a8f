"""What is in an episode file, in numbers; and what columns of numbers did, whatever they were read from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.schema import TRACKER, Schema
from gwm_sim.data.tracking.sightings import COLUMNS
from gwm_sim.protocol import SustainedSuccess


@dataclass(frozen=True)
class Range:
    """What a number did."""

    unit: str
    low: float
    high: float
    at_limit: float
    """Share of the rows on or beyond a limit: that of the schema, else the lowest and highest value that occur."""


SWITCH_POSITIONS = 3
"""Most values of what is on or off, or one way, off and the other way."""


class Tally:
    """Ranges of columns, from blocks of rows that need not be in memory together."""

    def __init__(self, width: int) -> None:
        """Begin with no rows of `width` columns."""
        self.rows = 0
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self._at_low, self._at_high = np.zeros(width), np.zeros(width)
        self._values: list[Array] = [np.zeros(0)] * width  # those that occur, as long as they are few

    def add(self, values: Array) -> None:
        """Count rows, (R, width)."""
        self.rows += len(values)
        low, high = np.minimum(self.low, values.min(axis=0)), np.maximum(self.high, values.max(axis=0))
        # A new extreme begins a new count.
        self._at_low = np.where(low < self.low, 0, self._at_low) + (values <= low).sum(axis=0)
        self._at_high = np.where(high > self.high, 0, self._at_high) + (values >= high).sum(axis=0)
        self.low, self.high = low, high
        for i, known in enumerate(self._values):
            if len(known) <= SWITCH_POSITIONS:
                self._values[i] = np.unique(np.concatenate([known, values[:, i]]))[: SWITCH_POSITIONS + 1]

    @property
    def switches(self) -> Array:
        """Whether a column has so few values that it is a switch rather than a quantity, (width,) bool."""
        return np.array([len(values) <= SWITCH_POSITIONS for values in self._values], dtype=bool)

    @property
    def at_ends(self) -> Array:
        """Share of the rows at the lowest or highest value, (width,); 1 for a column that never changes."""
        shares: Array = np.where(self.low == self.high, 1.0, (self._at_low + self._at_high) / self.rows)
        return shares

    def ranges(self, names: Sequence[str], units: Sequence[str]) -> dict[str, Range]:
        """Name the columns."""
        return _named(names, units, self.low, self.high, self.at_ends)


@dataclass(frozen=True)
class TaskSuccess:
    """Shares of the episodes in which a task was fulfilled, of those that were judged for it."""

    episodes: int
    """How many these are."""

    any: float
    """At some step."""
    held: float
    """At `SUSTAINED_STEPS` consecutive steps: sustained."""
    end: float
    """At the last step."""


@dataclass(frozen=True)
class Sighted:
    """How well a tracked object is known in the pictures of a camera."""

    in_sight: float
    """Share of the frames in which some of it is seen."""
    confidence: float
    """Mean over all frames."""
    unknown: float
    """Share of the frames with confidence 0: its place there is that of another frame."""


@dataclass(frozen=True)
class Placed:
    """How surely a tracked object is where the file says."""

    confidence: float
    """Mean over all frames."""
    unknown: float
    """Share of the frames with confidence 0: its place there is a guess."""


@dataclass(frozen=True)
class Objects:
    """Which objects there are, and how it is known where they are."""

    names: tuple[str, ...]
    provenance: str
    """measured, tracked or imagined."""
    frame: str
    """In what their positions are: metres or image."""
    tracker: str | None
    """Digest of the tracker that found them."""
    sightings: dict[str, dict[str, Sighted]]
    """By camera and object, where they were tracked."""
    placed: dict[str, Placed]
    """By object, where they were tracked."""
    attributes: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Lowest and highest value of what each of them is like."""
    present: tuple[int, int] | None = None
    """Fewest and most that are there at once, where some may be absent."""
    symmetry: dict[str, str] = field(default_factory=dict)
    """By which turns those look the same of which an attribute is 1."""

    def __str__(self) -> str:
        """Say it in a line."""
        known = self.provenance
        if self.sightings:
            known += f" in the pictures of {', '.join(self.sightings)}"
        if self.tracker is not None:
            known += f" (tracker {self.tracker[:16]})"
        return f"{', '.join(self.names)}: {known}, in {'metres' if self.frame == 'metres' else 'image coordinates'}"


@dataclass(frozen=True)
class Summary:
    """What is in an episode file."""

    file: str
    env_id: str
    unfinished: bool
    bytes: int
    episodes: int
    frames: int
    """Frames per camera, over all episodes."""
    shortest: int
    """Fewest actions in an episode."""
    longest: int
    rate: float
    """[Hz]"""
    cameras: dict[str, tuple[int, int]]
    """Height and width [px]."""
    depth: tuple[str, ...]
    """Cameras that measured depth as well."""
    policies: dict[str, int]
    """Episodes by behaviour."""
    masks: dict[str, int]
    """Episodes by filter key."""
    seeds: tuple[int, int] | None
    """Lowest and highest."""
    objects: Objects | None
    """None where the file says nothing of any."""
    success: dict[str, TaskSuccess]
    actions: dict[str, Range]
    telemetry: dict[str, Range]
    properties: dict[str, tuple[float, float]]
    """Lowest and highest value of each physics property."""
    settings: dict[str, Any]
    versions: dict[str, str]
    digest: str
    """Fingerprint of the content."""

    def __str__(self) -> str:
        """Say in a line what is in the file, and its digest in another."""
        content = f"{self.episodes} episodes, {self.frames:,} frames of {', '.join(self.cameras)}, {self.rate:g} Hz"
        return f"{self.file}: {content}\ndigest {self.digest}"


def summarize(file: EpisodeFile) -> Summary:
    """Read a whole file once, check its numbers and say what is in it."""
    schema = file.schema
    episodes = [file.read(k, cameras=()) for k in range(len(file))]
    actions = np.concatenate([episode.actions for episode in episodes])
    telemetry = np.concatenate([episode.telemetry for episode in episodes])
    no_units = [""] * len(schema.action_names)
    seeds = [seed for seed in file.seeds if seed is not None]
    return Summary(
        file=str(file.path),
        env_id=schema.env_id,
        unfinished=file.unfinished,
        bytes=file.size,
        episodes=len(file),
        frames=sum(file.lengths) + len(file),
        shortest=min(file.lengths),
        longest=max(file.lengths),
        rate=schema.rate,
        cameras={name: (camera.height, camera.width) for name, camera in schema.cameras.items()},
        depth=schema.depth,
        policies=dict(sorted(Counter(file.policies).items())),
        masks=dict(sorted(Counter(mask for masks in file.masks for mask in masks).items())),
        seeds=(min(seeds), max(seeds)) if seeds else None,
        objects=_objects(schema, episodes) if schema.object_names else None,
        success={
            task: _success(labelled)
            for task in schema.tasks
            if (labelled := [episode.labels[task].success for episode in episodes if task in episode.labels])
        },
        actions=_ranges(actions, schema.action_names, no_units, schema.action_low, schema.action_high),
        telemetry=_ranges(
            telemetry, schema.telemetry_names, schema.telemetry_units, schema.telemetry_low, schema.telemetry_high
        ),
        properties=_property_ranges(episodes),
        settings=schema.settings,
        versions=schema.versions,
        digest=file.digest(),
    )


def _objects(schema: Schema, episodes: Sequence[Episode]) -> Objects:
    sightings = {}
    for camera in schema.tracked:
        seen = np.concatenate([episode.sightings[camera] for episode in episodes])  # (F, K, 6)
        visible, confidence = (seen[..., COLUMNS.index(name)] for name in ("visible", "confidence"))
        shares = np.stack([(visible > 0).mean(axis=0), confidence.mean(axis=0), (confidence == 0).mean(axis=0)], axis=1)
        sightings[camera] = {
            name: Sighted(*known) for name, known in zip(schema.object_names, shares.tolist(), strict=True)
        }
    placed = {}
    told = [episode.objects_confidence for episode in episodes if episode.objects_confidence is not None]
    if told:
        surely = np.concatenate(told)  # (F, K)
        shares = np.stack([surely.mean(axis=0), (surely == 0).mean(axis=0)], axis=1)
        placed = {name: Placed(*known) for name, known in zip(schema.object_names, shares.tolist(), strict=True)}
    tracker = schema.settings.get(TRACKER)
    known = schema.object_names, schema.provenance, schema.object_frame, tracker, sightings, placed
    return Objects(*known, *_attributes(schema, episodes), dict(schema.object_symmetry))


def _attributes(
    schema: Schema, episodes: Sequence[Episode]
) -> tuple[dict[str, tuple[float, float]], tuple[int, int] | None]:
    told = [episode.attributes for episode in episodes if episode.attributes is not None]
    if not told:
        return {}, None
    values = np.concatenate(told)  # (F, K, columns)
    there = ~np.isnan(values[..., 0])
    counts = there.sum(axis=1)
    if not counts.any():
        return {}, (0, 0)
    values = values[there]
    ranges = zip(values.min(axis=0).tolist(), values.max(axis=0).tolist(), strict=True)
    return dict(zip(schema.object_attributes, ranges, strict=True)), (int(counts.min()), int(counts.max()))


def _success(success: Sequence[Array]) -> TaskSuccess:
    steps = [instants[1:] for instants in success]
    return TaskSuccess(
        episodes=len(success),
        any=float(np.mean([instants.any() for instants in steps])),
        held=float(np.mean([is_sustained(instants) for instants in steps])),
        end=float(np.mean([instants[-1:].any() for instants in steps])),
    )


def is_sustained(success: Array) -> bool:
    """Return whether a task was fulfilled long enough to count, from whether it was at each step, (N,) bool."""
    followed = SustainedSuccess()
    for fulfilled in success.tolist():
        followed.add(fulfilled)
    return bool(followed)


def _ranges(
    values: Array, names: Sequence[str], units: Sequence[str], low: Sequence[float], high: Sequence[float]
) -> dict[str, Range]:
    at_limit = ((values <= np.array(low, values.dtype)) | (values >= np.array(high, values.dtype))).mean(axis=0)
    return _named(names, units, values.min(axis=0), values.max(axis=0), at_limit)


def _named(names: Sequence[str], units: Sequence[str], *found: Array) -> dict[str, Range]:
    """Name columns by their lowest values, highest values and shares at the limit."""
    return {
        name: Range(unit, *numbers)
        for name, unit, numbers in zip(names, units, np.stack(found, 1).tolist(), strict=True)
    }


def _property_ranges(episodes: Sequence[Episode]) -> dict[str, tuple[float, float]]:
    names = sorted({name for episode in episodes for name in episode.properties})
    values = {name: [e.properties[name] for e in episodes if name in e.properties] for name in names}
    return {name: (min(drawn), max(drawn)) for name, drawn in values.items()}
