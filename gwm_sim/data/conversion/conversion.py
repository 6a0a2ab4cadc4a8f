"""A source as the episodes of an episode file: one rate, one picture size, no gap in time within an episode.

Numbers are read twice, pictures once. The first pass reads no picture: it finds which columns are angles, cuts
recordings where rows are missing, chooses rows, and finds the bounds that the learned environment needs. It decides the
schema and the number of every episode, so that an import which was killed goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

import gwm_sim
from gwm_sim.data.cameras import Camera
from gwm_sim.data.conversion.continuity import Continuity
from gwm_sim.data.conversion.resampling import UNEVEN, aggregate, cuts, rate_of, rows_at
from gwm_sim.data.conversion.shards import parse_shard
from gwm_sim.data.conversion.sizes import USUAL, Size, parse_size, size_of, what_became
from gwm_sim.data.episode_file import DEPTH_UNIT, Episode, TaskLabels
from gwm_sim.data.images import fit, fit_depth, shrink, shrink_depth
from gwm_sim.data.importers.source import Source, chosen_cameras
from gwm_sim.data.inspection import Tally
from gwm_sim.data.reading.checks import Array
from gwm_sim.data.recording import Action, Layout, Recording, SourceOptions
from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError, DamagedEpisode, DataError, check_at_least_one, check_rate
from gwm_sim.progress import Show
from gwm_sim.protocol import CONTEXT

SHORTEST = CONTEXT + 1
"""Frames of the shortest episode that is of use: a context, and one frame to predict."""

_TELEMETRY_MARGIN = 0.05
"""Share of its span by which telemetry may leave what was recorded: a learned world must not stick at the border."""

_KEPT_BYTES = 100_000_000
"""Numbers that are kept between looking for angles and the rest of the first pass."""


@dataclass(frozen=True, kw_only=True)
class Selection(SourceOptions):
    """How a source is read and what is wanted of it: options of `gwm import`, by whose names messages call them."""

    size: int | str | None = None
    """Size of the pictures in pixels: that of the smaller side, such as 64, the other in proportion and a multiple of
    16, for which a little may be cut off; or height and width, such as 64x96. Without it wide ones are squeezed to
    64x64, as ever."""
    fps: float | None = None
    """Frames per second, by default the source's. Fewer leave frames out and join the actions between."""
    limit: int | None = None
    """Take only the first recordings."""
    shard: str | None = None
    """Import one part of the recordings, such as 2/3 for the second of three, each into a file of its own: processes or
    machines that import one each have together what one import has, with the same numbers of episodes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_one(limit=self.limit)
        check_rate(fps=self.fps)
        parse_size(self.size)
        parse_shard(self.shard)


class Clip(NamedTuple):
    """Rows `start` to `stop` (exclusive) of a recording, without a gap: they become one episode."""

    recording: int
    start: int
    stop: int


class Conversion:
    """The episodes that a source becomes."""

    schema: Schema
    clips: dict[int, Clip]
    """Where each episode comes from, by its number; one that was left out keeps a number for when it is mended. Where
    one part of the recordings is wanted, of that part alone; all else, such as bounds, is of all."""

    def __init__(self, source: Source, selection: Selection, name: str, show: Show) -> None:
        """Read all numbers of the source once; `name` is what the file calls it, such as `lerobot pusht`."""
        self._source = source
        self._selection = selection
        self._cameras = chosen_cameras(source.layout.cameras, selection.camera)
        rate = selection.fps or source.layout.rate
        if rate is None:
            raise ConfigError("the source does not say its rate: give it with --fps, in frames per second.")
        self._rate = rate
        self._actions = [replace(action, kind=action.kind or selection.actions) for action in source.layout.actions]
        self.clips, self._count = {}, 0
        self._marks: dict[int, Array] = {}  # by which the numbers of each episode are known again
        found = _Found(source.layout)
        count = min(len(source), selection.limit or len(source))
        part = parse_shard(selection.shard).part_of(count)
        self._continuity = Continuity(source.layout, self._actions)
        kept = self._look_for_angles(count, show) if self._continuity.watches else {}
        for k in range(count):
            recording = kept.pop(k) if k in kept else source.sound_recording(k)
            if recording is None:
                self._count += 1
            else:
                self._scan(self._continuity(recording), k, found)
            show((k + 1) / count, f"{k + 1} of {count} recordings")
        if not self.clips:
            reason = f"no recording has {SHORTEST} rows at {rate:g} Hz without a gap in time: nothing can be learned."
            raise source.nothing_sound(" ".join([reason, *(f"Note: {remark}." for remark in source.remarks)]))
        self._asked = parse_size(selection.size)
        self._size = self._picture_size()
        self._shapes: dict[tuple[str, Size], None] = {}  # of the pictures of each camera, as far as they were read
        self._tasks = found.tasks
        self._found = found
        self._jumps = self._continuity.notes(done=True)  # now: each episode is made continuous again when it is read
        self.schema = self._make_schema(name, found)
        self.clips = {index: clip for index, clip in self.clips.items() if clip.recording in part}

    @property
    def notes(self) -> list[str]:
        """Say what was left out or changed, by now: some damage and differences show only in the pictures."""
        became = (what_became(camera, shape, self._size, self._asked) for camera, shape in self._shapes)
        return [*self._source.remarks, *filter(None, became), *self._jumps, *self._found.notes()]

    def _look_for_angles(self, count: int, show: Show) -> dict[int, Recording]:
        """Look at all recordings; return as many as fit into memory, so that they need not be read again."""
        kept, room = {}, _KEPT_BYTES
        for k in range(count):
            recording = self._source.sound_recording(k)
            if recording is None:
                continue
            self._continuity.look(recording)
            room -= recording.telemetry.nbytes + recording.actions.nbytes
            if room >= 0:
                kept[k] = recording
            show(0, f"angles of {k + 1} of {count} recordings")
        return kept

    def _scan(self, recording: Recording, k: int, found: _Found) -> None:
        times = self._times(recording)
        stretches = cuts(times)
        found.gaps += len(stretches) - 1
        found.uneven += abs(rate_of(times, recording.where) / (self._source.layout.rate or self._rate) - 1) > UNEVEN
        for start, stop in stretches:
            if stop - start < 2 or len(rows := start + self._rows(times[start:stop])) < SHORTEST:
                found.short += stop - start
            else:
                actions = aggregate(recording.actions, self._actions, rows)
                self.clips[self._count] = Clip(k, start, stop)
                self._marks[self._count] = _mark(recording.telemetry[rows], actions)
                self._count += 1
                found.add(recording, rows, stop, actions)

    def _times(self, recording: Recording) -> Array:
        """Return the moments of all rows [s], (R,)."""
        if recording.times is not None:
            return recording.times
        return np.arange(len(recording)) / (self._source.layout.rate or self._rate)

    def _rows(self, times: Array) -> Array:
        return rows_at(times, self._selection.fps if self._source.layout.rate else None)

    def _make_schema(self, name: str, found: _Found) -> Schema:
        layout = self._source.layout
        low, high = found.telemetry.low, found.telemetry.high
        margin = np.maximum(_TELEMETRY_MARGIN * (high - low), 1e-3)
        action_low, action_high = _action_bounds(self._actions, found)
        # Foreign files say nothing that could be trusted of where their cameras stand.
        camera = Camera.uncalibrated(*self._size)
        return Schema(
            env_id=layout.robot,
            rate=self._rate,
            telemetry_names=tuple(column.name for column in layout.telemetry),
            telemetry_units=tuple(column.unit for column in layout.telemetry),
            telemetry_low=tuple((low - margin).tolist()),
            telemetry_high=tuple((high + margin).tolist()),
            action_names=tuple(action.name for action in self._actions),
            action_low=action_low,
            action_high=action_high,
            cameras={name: camera for name in self._cameras},
            depth=self._depth_cameras,
            effector=layout.effector,
            gripper=layout.gripper,
            tasks=self._tasks,
            task=next(iter(self._tasks), None),
            settings={
                "source": name,
                "source_rate": layout.rate or self._rate,
                "action_kinds": [action.kind for action in self._actions],
                "action_units": [action.unit for action in self._actions],
                "calibrated": False,
                **self._continuity.settings,
            }
            | ({"mask": self._selection.mask} if self._selection.mask else {}),
            versions={"gwm_sim": gwm_sim.__version__},
        )

    def check_stored(self, stored: Iterable[tuple[int, Array, Array]]) -> None:
        """Refuse to go on with a file whose episodes have other numbers in the source now.

        Args:
            stored: Number, telemetry and actions of each episode that the file has.

        Raises:
            ConfigError: The source was changed since, such as by an episode that was mended and is two now.
        """
        for index, telemetry, actions in stored:
            mark, other = _mark(telemetry, actions), self._marks.get(index)
            if index >= self._count or other is not None and not np.allclose(mark, other, rtol=1e-5, atol=1e-6):
                raise ConfigError(
                    f"episode {index} of the file is not what the source holds there now: it was changed since the "
                    "file was begun, or fewer recordings are asked for. Write to another file."
                )

    def sound_episode(self, clip: Clip) -> Episode | None:
        """Read one of the episodes; None, and a note, where its pictures are damaged and it may be left out."""
        try:
            return self.episode(clip)
        except DamagedEpisode as error:
            self._source.leave_out(clip.recording, error)
            return None

    def episode(self, clip: Clip) -> Episode:
        """Read one of the episodes."""
        recording = self._continuity(self._source.recording(clip.recording))
        if len(recording) < clip.stop:
            raise DataError(f"{recording.where} became shorter while it was read. Start the import again.")
        rows = clip.start + self._rows(self._times(recording)[clip.start : clip.stop])
        task = recording.task or self._source.layout.task
        return Episode(
            frames={camera: self._pictures(clip.recording, camera, rows) for camera in self._cameras},
            telemetry=recording.telemetry[rows],
            actions=aggregate(recording.actions, self._actions, rows),
            labels={task: _labels(recording, rows, clip.stop)} if task in self._tasks else {},
            objects=None,
            properties={},
            seed=None,
            policy="failed demonstration" if recording.succeeded is False else "demonstration",
            depth={camera: self._depth(clip.recording, camera, rows) for camera in self._depth_cameras},
            succeeded=recording.succeeded,
            instruction=recording.instruction,
            masks=recording.masks,
        )

    def _pictures(self, recording: int, camera: str, rows: Array) -> Array:
        pictures = np.empty((len(rows), *self._size, 3), np.uint8)
        for i, picture in enumerate(self._source.frames(recording, camera, rows)):
            self._shapes[camera, picture.shape[:2]] = None
            pictures[i] = shrink(picture, USUAL) if self._asked is None else fit(picture, self._size)
        return pictures

    def _picture_size(self) -> Size:
        """Return the size that all pictures get (H, W), by the first one of the main camera where it says so."""
        if self._asked is None:
            return USUAL, USUAL
        if isinstance(self._asked, tuple):
            return self._asked
        for clip in self.clips.values():
            try:
                picture = next(self._source.frames(clip.recording, self._cameras[0], [clip.start]))
            except DamagedEpisode as error:
                self._source.leave_out(clip.recording, error)
                continue
            return size_of(self._asked, picture.shape[:2])
        raise self._source.nothing_sound("there is no picture.")

    @property
    def _depth_cameras(self) -> tuple[str, ...]:
        return tuple(camera for camera in self._cameras if camera in self._source.layout.depth)

    def _depth(self, recording: int, camera: str, rows: Array) -> Array:
        images = np.empty((len(rows), *self._size, 1), np.uint16)
        for i, image in enumerate(self._source.depth(recording, camera, rows)):
            fitted = shrink_depth(image, USUAL) if self._asked is None else fit_depth(image, self._size)
            images[i, ..., 0] = np.minimum(fitted / DEPTH_UNIT, np.iinfo(np.uint16).max).round()
        return images


def _mark(telemetry: Array, actions: Array) -> Array:
    """Return how many rows an episode has, and the mean of every column."""
    return np.concatenate([[len(telemetry)], *(part.mean(axis=0, dtype=np.float64) for part in (telemetry, actions))])


class _Rewards:
    """What the first pass finds of the rewards of one task."""

    def __init__(self) -> None:
        self.clips = self.rewarded = 0
        self.values = Tally(1)

    @property
    def labelled(self) -> bool:
        """Whether every clip has some, all such as the heads learn."""
        return self.rewarded == self.clips > 0 and bool(0 <= self.values.low <= self.values.high <= 1)


class _Found:
    """What the first pass finds: bounds over all clips, and what was left out."""

    def __init__(self, layout: Layout) -> None:
        self.gaps = self.short = self.uneven = 0  # places, rows, recordings
        self.steps = 1  # most rows that one action spans
        self.telemetry, self.actions = Tally(len(layout.telemetry)), Tally(len(layout.actions))
        self._task = layout.task
        self._rewards: dict[str | None, _Rewards] = {}
        self._outcomes = 0

    def add(self, recording: Recording, rows: Array, stop: int, actions: Array) -> None:
        """Count the kept rows of a clip that ends before row `stop`, and the actions between them."""
        self.telemetry.add(recording.telemetry[rows])
        self.actions.add(actions)
        self.steps = max(self.steps, int(np.diff(rows).max()))
        rewards = self._rewards.setdefault(recording.task or self._task, _Rewards())
        rewards.clips += 1
        if _reward(recording) is not None:
            rewards.rewarded += 1
            rewards.values.add(_labels(recording, rows, stop).reward[:, None])
        elif recording.succeeded is not None:
            self._outcomes += 1

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks of which every clip has rewards such as the heads learn, or says when it is fulfilled."""
        return tuple(sorted(task for task, rewards in self._rewards.items() if task and rewards.labelled))

    def notes(self) -> list[str]:
        """Say what was left out."""
        notes = []
        if self.gaps:
            notes.append(f"{self.gaps} gaps in time: recordings were cut there, so that no episode jumps.")
        if self.short:
            notes.append(f"{self.short} rows lie in stretches of less than {SHORTEST} frames and were left out.")
        if self.uneven:
            notes.append(f"{self.uneven} recordings ran at another rate than the source says: see gwm inspect.")
        for task, rewards in self._rewards.items():
            if rewards.rewarded and not rewards.labelled:
                span = f"from {rewards.values.low[0]:.3g} to {rewards.values.high[0]:.3g}"
                of_task = f" of {task}" if len(self._rewards) > 1 else ""
                notes.append(f"rewards{of_task} {span} were left out: every episode needs some, and all in [0, 1].")
        if self._outcomes:
            notes.append(
                f"{self._outcomes} episodes say whether they succeeded and not when, which is no reward: mark the step "
                "with gwm label."
            )
        return notes


def _reward(recording: Recording) -> Array | None:
    """Return the reward at each row, (R,) float32: the one that was recorded, else whether the task is fulfilled."""
    if recording.reward is None and recording.success is not None:
        return recording.success.astype(np.float32)
    return recording.reward


def _labels(recording: Recording, rows: Array, stop: int) -> TaskLabels:
    """Return the labels of the kept rows of a clip that ends before row `stop`.

    A success that stands on rows which are left out counts for the next one that is kept, or else for the last: many
    recordings end with the only one they have.
    """
    reward = _reward(recording)
    assert reward is not None
    success = reward >= 1 if recording.success is None else recording.success
    begins = np.concatenate([rows[:1], rows[:-1] + 1])  # of the rows that each kept one speaks for
    kept, most = (np.maximum.reduceat(values[:stop], begins) for values in (success, reward))
    return TaskLabels(reward=np.where(kept, most, reward[rows]), success=kept)


def _action_bounds(actions: Sequence[Action], found: _Found) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Take the declared limits, or what was recorded where none are or where it went beyond."""
    lows, highs = [], []
    for action, low, high in zip(actions, found.actions.low.tolist(), found.actions.high.tolist(), strict=True):
        span = found.steps if action.kind == "delta" else 1  # as many changes as one action sums
        low = low if action.low is None else min(low, span * action.low)
        high = high if action.high is None else max(high, span * action.high)
        constant = high - low < 1e-6  # a space needs some width
        lows.append(low - 1e-3 * constant)
        highs.append(high + 1e-3 * constant)
    return tuple(lows), tuple(highs)
