"""Training windows: episodes of one or more files as flat arrays, and stretches of consecutive frames from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gwm_sim.arrays import Array
from gwm_sim.data.episode import VALIDATION_MASKS
from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.schema import RAW, ObjectFrame, Schema
from gwm_sim.data.views import side_by_side
from gwm_sim.errors import ConfigError
from gwm_sim.model.state import Segment, Statistics
from gwm_sim.protocol import FIRST_EVALUATION_SEED
from gwm_sim.training.config import Route

ONE_ROBOT = (
    *("rate", "telemetry_names", "telemetry_low", "telemetry_high", "action_names", "action_low", "action_high"),
    *("commands", "effector", "tasks"),
)
"""What the files of one model must have in common, beside their objects: the model keeps these of the first file."""

MARGINS: dict[ObjectFrame, float] = {"metres": 0.1, "image": 4.0}
"""Around where objects usually are, in [m] and in [px]."""

VALIDATION_EVERY = 50  # every 50th episode of each file is not trained on
ABSENT = 2.0  # a thing that is not seen for so long [s] before or after all its sightings is not there
FEW = 500  # episodes, fewer than which every tenth is not, those among them


class WindowSampler:
    """Draws windows of one length at random, those of some files more often than those of others."""

    def __init__(self, first: Tensor, weights: Tensor, length: int = 1) -> None:
        """Draw from windows of `length` frames that begin at `first` (W,), as often as `weights` (W,) say."""
        self.first, self.length = first, length
        self._cumulated = None if (weights == weights[0]).all() else weights.double().cumsum(0)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """First frames of some windows, (count,)."""
        if self._cumulated is None:
            place = torch.randint(len(self.first), (count,), generator=generator)
        else:
            share = torch.rand(count, generator=generator, dtype=torch.float64)
            place = torch.searchsorted(self._cumulated, share * self._cumulated[-1], right=True)
            place = place.clamp_max(len(self.first) - 1)  # a product may be rounded up to the whole
        return self.first[place]


@dataclass
class TrainingData:
    """F frames of all episodes, one after the other; an episode's last action leads nowhere and is zero."""

    schema: Schema  # of the first file; without objects where these are not learned
    stored: Schema  # of the first file
    cameras: tuple[str, ...]
    property_names: tuple[str, ...]
    digest: str  # of the files' contents
    frames: Tensor  # (S, H, V*W, 3) uint8, of the first S <= F frames; the others were recorded for their motion alone
    measured: Tensor  # (D,) frames of which the main camera's depth was measured
    depth: Tensor  # (D, H, W, 1) int32, in units of DEPTH_UNIT
    telemetry: Tensor  # (F, P)
    actions: Tensor  # (F, A)
    objects: Tensor  # (F, K, 3) [m], or in the image frame, clipped to the scene; NaN of what is absent
    confidence: Tensor  # (F, K) how surely objects are there, 0 where that is a guess
    objects_low: Tensor  # (3,) corner of the scene
    objects_high: Tensor  # (3,)
    residual: Tensor  # (F, R), what robot and things do not explain, once that is learned
    boxes: Tensor  # (S, K, 4) column, row, width and height [px] of tracked things in the main view, 0 of unseen ones
    reward: Tensor  # (F, tasks), NaN where nobody judged the task
    success: Tensor  # (F, tasks) bool, of no meaning there
    properties: Tensor  # (E, Q)
    numbers: Tensor  # (E,) number of each episode within its file
    starts: Tensor  # (E,) first frame of each episode
    lengths: Tensor  # (E,) frames of each episode
    weights: Tensor  # (E,) how often the windows of each episode are drawn, compared with those of the others
    split: Tensor  # (E,) 0 where a mask such as `valid` says that an episode is trained on, 1 where it says that
    # it is not, and -1 where its file has no such mask
    light: float = 0.0  # usual share by which the light of frames differed, before they were taken to that of one scene

    @property
    def episodes(self) -> int:
        return len(self.starts)

    def statistics(self) -> Statistics:
        """Scales of the data."""
        change = torch.diff(self.telemetry, dim=0)[self.inner()]
        moved = torch.diff(self.objects, dim=0)[self.inner()] if self.objects.shape[1] else torch.zeros(1)
        return Statistics(
            telemetry_mean=self.telemetry.mean(0),
            telemetry_std=_spread(self.telemetry).clamp_min(1e-4),
            telemetry_change=_spread(change).clamp_min(1e-5),
            telemetry_low=torch.tensor(self.schema.telemetry_low),
            telemetry_high=torch.tensor(self.schema.telemetry_high),
            objects_low=self.objects_low,
            objects_high=self.objects_high,
            objects_change=moved.square().nanmean().sqrt().clamp_min(1e-3)[None],
            properties_low=self.properties.nan_to_num(torch.inf).amin(0),
            properties_high=self.properties.nan_to_num(-torch.inf).amax(0),
        )

    def inner(self) -> Tensor:
        """Which of the F-1 steps between neighbouring frames stay within one episode, (F-1,) bool."""
        inside = torch.ones(len(self.telemetry) - 1, dtype=torch.bool)
        inside[self.starts[1:] - 1] = False
        return inside

    def validation(self) -> Tensor:
        """Which episodes are not trained on, (E,) bool.

        A mask such as `valid` decides, where it names some episodes of a file. Else an episode's number within its
        file does, so that what is spared of one list of files is not learned from by a model that goes on with another
        list. Where no file is long enough for that, all of them count as one.
        """
        every = VALIDATION_EVERY if self.episodes >= FEW else 10
        chosen = torch.where(self.split < 0, self.numbers % every == every - 1, self.split == 1)
        for kind in (self.seen(), ~self.seen()):
            if kind.any() and not (chosen & kind).any():
                episodes = torch.nonzero(kind).flatten()
                apart = min(every, len(episodes))
                chosen[episodes[apart - 1 :: apart]] = True
        return chosen

    def seen(self) -> Tensor:
        """Which episodes have pictures, (E,) bool."""
        return self.starts < len(self.frames)

    def reaching(self, length: int, validation: bool, seen: bool) -> Tensor:
        """Which training or validation episodes have `length` frames, (E,) bool; with `seen`, frames with pictures."""
        return (self.validation() == validation) & (self.lengths >= length) & (self.seen() | (not seen))

    def windows(self, length: int, validation: bool = False, seen: bool = False) -> Tensor:
        """First frames (W,) of all windows of `length` frames of training or validation episodes, see `reaching`."""
        chosen = torch.nonzero(self.reaching(length, validation, seen)).flatten().tolist()
        if not chosen:
            kind = "validation" if validation else "training"
            raise ConfigError(f"no {kind} episode has {length} frames: collect more or longer episodes (--steps)")
        spans = [(int(self.starts[e]), int(self.lengths[e]) - length + 1) for e in chosen]
        return torch.cat([torch.arange(start, start + count) for start, count in spans])

    def samplers(self, length: int, seen: bool = False) -> tuple[WindowSampler, WindowSampler | None]:
        """Windows of `length` frames of the training and the validation episodes, None if none of these is as long."""

        def sampler(validation: bool) -> WindowSampler:
            first = self.windows(length, validation, seen)
            return WindowSampler(first, self.weights[self.episode_of(first)], length)

        return sampler(validation=False), sampler(validation=True) if self.reaching(length, True, seen).any() else None

    def episode_of(self, frames: Tensor) -> Tensor:
        """Episodes that frames (W,) belong to, (W,)."""
        return torch.searchsorted(self.starts, frames, right=True) - 1

    def batch(self, codes: Tensor | None, first: Tensor, length: int) -> tuple[Segment, Tensor, Tensor]:
        """Windows that begin at the given frames.

        Args:
            codes: Latents of all frames with pictures, (S, N, M) uint8; None for windows without latents (B, T, 0, 0).
            first: First frame of each window, (B,).
            length: Frames per window T.

        Returns:
            The windows, and reward and success of each task in them, (B, T, tasks); the reward of a task that nobody
            judged is NaN.
        """
        index = first[:, None] + torch.arange(length)  # (B, T)
        segment = Segment.of(
            codes=torch.zeros(*index.shape, 0, 0, dtype=torch.uint8) if codes is None else codes[index],
            telemetry=self.telemetry[index],
            objects=self.objects[index],
            actions=self.actions[index],
            properties=self.properties[self.episode_of(first)],
            residual=self.residual[index],
        )
        return segment, self.reward[index], self.success[index]

    def put(self, number: int, start: int, episode: Episode) -> None:
        """Take in an episode whose first frame is `start`, its pictures if it has any."""
        rows = slice(start, start + len(episode) + 1)
        self.starts[number], self.lengths[number] = start, len(episode) + 1
        if episode.frames:
            self.frames[rows] = torch.from_numpy(side_by_side(episode.frames, self.cameras))
            if self.cameras[0] in episode.sightings and self.boxes.shape[1]:
                sightings = torch.from_numpy(episode.sightings[self.cameras[0]])  # (N+1, K, 6), see `COLUMNS`
                self.boxes[rows] = sightings[..., :4] * (sightings[..., 5:] > 0)
        self.telemetry[rows] = torch.from_numpy(episode.telemetry)
        self.actions[start : start + len(episode)] = torch.from_numpy(episode.actions)
        if episode.objects is not None and self.schema.object_names:
            self.objects[rows] = torch.from_numpy(episode.objects[..., :3])
            if episode.objects_confidence is not None:
                self.confidence[rows] = torch.from_numpy(episode.objects_confidence)
                gone = torch.from_numpy(absent(episode.objects_confidence, round(ABSENT * self.schema.rate)))
                self.objects[rows][gone] = torch.nan
        for i, task in enumerate(self.schema.tasks):
            if task not in episode.labels:
                self.reward[rows, i] = torch.nan
                continue
            self.reward[rows, i] = torch.from_numpy(episode.labels[task].reward)
            self.success[rows, i] = torch.from_numpy(episode.labels[task].success)
        for i, name in enumerate(self.property_names):
            self.properties[number, i] = episode.properties.get(name, np.nan)


def absent(confidence: Array, patience: int) -> Array:
    """Which things are not there, (T, K) bool: those not seen any more, or not yet, for more than `patience` frames.

    What is not seen for a while in between is there, hidden. `confidence` (T, K) is 0 where a thing is not seen.
    """
    seen = confidence > 0
    time = np.arange(len(seen))[:, None]
    first = np.where(seen.any(axis=0), seen.argmax(axis=0), len(seen) + patience)
    last = np.where(seen.any(axis=0), len(seen) - 1 - seen[::-1].argmax(axis=0), -1 - patience)
    gone: Array = (time < first - patience) | (time > last + patience)
    return gone


def _spread(values: Tensor) -> Tensor:
    """Standard deviation of each column (F, P); a robot may report nothing."""
    return values.std(0) if values.shape[1] else values.new_zeros(0)


def load_training_data(
    paths: Sequence[Path],
    cameras: Sequence[str] = ("front",),
    weights: Sequence[float] = (),
    motion: Sequence[Path] = (),
    path: Route = "auto",
) -> TrainingData:
    """Read episode files into memory.

    Args:
        paths: The files.
        cameras: Cameras whose frames are wanted, side by side.
        weights: How often the windows of each file are drawn, compared with those of the others, `motion` after
            `paths`; all alike if empty.
        motion: Further files, of which the pictures are left out.
        path: What is learned from, see `learns_objects`.

    Raises:
        ConfigError: Weights that do not fit the files, no file, files that do not fit together, a camera or objects
            they lack, or episodes reserved for evaluation; `motion` where no objects are learned.
        DataError: A file is damaged or holds numbers that are not finite.
    """
    if not paths:
        raise ConfigError("no data: give one or more episode files, as made by `gwm collect`, with --data FILE...")
    count = len(paths) + len(motion)
    if weights and (len(weights) != count or min(weights) <= 0):
        raise ConfigError(f"--weights must be {count} positive numbers, one per file, got {list(weights)}")
    files = [EpisodeFile(path) for path in (*paths, *motion)]
    objects = learns_objects(files[0], path)
    if motion and not objects:
        raise ConfigError(
            f"--motion needs objects, and of {paths[0]} none are learned: only its pictures tell what moves"
        )
    for number, file in enumerate(files):
        check_file(file, files[0], cameras if number < len(paths) else ())
        if objects or path == "auto":
            check_objects(file, files[0])
    data = allocate(files, len(paths), cameras, weights, objects)
    frame = 0
    depths: list[tuple[Tensor, Tensor]] = []
    episodes = [(file, k) for file in files for k in range(len(file))]
    for number, (file, k) in enumerate(episodes):
        episode = file.read(k, cameras=cameras if frame < len(data.frames) else ())
        data.put(number, frame, episode)
        end = frame + len(episode) + 1
        if cameras[0] in episode.depth:
            depth = torch.from_numpy(episode.depth[cameras[0]].astype(np.int32))
            depths.append((torch.arange(frame, end), depth))
        frame = end
    if depths:
        data.measured, data.depth = (torch.cat(parts) for parts in zip(*depths, strict=True))
    if data.schema.object_names:
        data.objects_low, data.objects_high = scene_box(data.objects, MARGINS[data.schema.object_frame])
        data.objects = data.objects.clamp(data.objects_low, data.objects_high)
    else:  # what else is in the picture
        height, width = data.frames.shape[1], data.frames.shape[2] // len(cameras)
        data.objects_high = torch.tensor([width, height, min(width, height) / 4])
    return data


def check_file(file: EpisodeFile, first: EpisodeFile, cameras: Sequence[str]) -> None:
    """Refuse a file that no model can be trained on together with the first one, or at all."""
    for name in ONE_ROBOT:
        given, expected = getattr(file.schema, name), getattr(first.schema, name)
        if given != expected:
            raise ConfigError(
                f"{file.path} does not fit {first.path}: {name} is {given}, not {expected}; train on files of one robot"
            )
    for camera in cameras:
        if camera not in file.schema.cameras:
            raise ConfigError(f"{file.path} has no camera {camera!r}; it has {list(file.schema.cameras)}")
        if not file.schema.cameras[camera].looks_as(first.schema.cameras[camera]):
            raise ConfigError(f"{file.path} and {first.path} differ in size or place of the camera {camera!r}")
    reserved = [seed for seed in file.seeds if seed is not None and seed >= FIRST_EVALUATION_SEED]
    if reserved:
        raise ConfigError(
            f"{file.path} holds {len(reserved)} episodes with seeds from {min(reserved)}: seeds from "
            f"{FIRST_EVALUATION_SEED} are for evaluation and never trained on; collect with a smaller --seed"
        )


def learns_objects(file: EpisodeFile, path: Route) -> bool:
    """Whether a model of this file learns where objects are; else there is robot alone, or with `video` the pictures.

    Raises:
        ConfigError: Objects are asked for, and the file does not say where they are.
    """
    known = bool(file.schema.object_names)
    if path == "objects" and not known:
        raise ConfigError(
            f"--path objects needs to know where things are, and {file.path} does not say: find them by gwm track"
        )
    return known and path != "video"


def check_objects(file: EpisodeFile, first: EpisodeFile) -> None:
    """Refuse a file whose objects are not those of the first one, or are known in another way."""
    if differing := file.schema.other_things(first.schema):
        raise ConfigError(
            f"{file.path} and {first.path} do not show the same things: {'; '.join(differing)}. Look for the same ones "
            f"by gwm track {file.path} --out FILE --like {first.path}, or leave objects out by --path video"
        )


def learned_schema(files: Sequence[EpisodeFile], objects: bool) -> Schema:
    """What a model of these files keeps of their schemas; that they are raw recordings only where all of them are."""
    schema = files[0].schema
    if schema.object_names and not objects:
        schema = schema.without_objects()
    if RAW in schema.settings and not all(file.schema.settings.get(RAW) for file in files):
        schema = replace(schema, settings={key: value for key, value in schema.settings.items() if key != RAW})
    return schema


def allocate(
    files: Sequence[EpisodeFile], pictured: int, cameras: Sequence[str], weights: Sequence[float], objects: bool
) -> TrainingData:
    """Room for the episodes of some files, with pictures of the first `pictured` ones, which must have one size."""
    schema = learned_schema(files, objects)
    seen, count = (sum(length + 1 for file in some for length in file.lengths) for some in (files[:pictured], files))
    sizes = {(schema.cameras[camera].height, schema.cameras[camera].width) for camera in cameras}
    if len(sizes) > 1:
        raise ConfigError(f"cameras {', '.join(cameras)} have pictures of different sizes, {sorted(sizes)}")
    ((height, width),) = sizes
    names = tuple(sorted({name for file in files for name in file[0].properties}))
    episodes = sum(map(len, files))
    return TrainingData(
        schema=schema,
        stored=files[0].schema,
        cameras=tuple(cameras),
        property_names=names,
        digest="-".join(file.digest()[:16] for file in files),
        frames=torch.empty(seen, height, len(cameras) * width, 3, dtype=torch.uint8),
        measured=torch.zeros(0, dtype=torch.long),
        depth=torch.zeros(0, height, width, 1, dtype=torch.int32),
        telemetry=torch.empty(count, len(schema.telemetry_names)),
        actions=torch.zeros(count, len(schema.action_names)),
        objects=torch.zeros(count, len(schema.object_names), 3),
        confidence=torch.ones(count, len(schema.object_names)),
        residual=torch.zeros(count, 0),
        boxes=torch.zeros(seen, len(schema.object_names) if schema.tracked else 0, 4),
        objects_low=torch.zeros(3),
        objects_high=torch.ones(3),
        reward=torch.zeros(count, len(schema.tasks)),
        success=torch.zeros(count, len(schema.tasks), dtype=torch.bool),
        properties=torch.full((episodes, len(names)), torch.nan),
        numbers=torch.cat([torch.arange(len(file)) for file in files]),
        starts=torch.zeros(episodes, dtype=torch.long),
        lengths=torch.zeros(episodes, dtype=torch.long),
        weights=torch.tensor(weights or [1.0] * len(files)).repeat_interleave(torch.tensor([len(f) for f in files])),
        split=torch.cat([split_of(file) for file in files]),
    )


def split_of(file: EpisodeFile) -> Tensor:
    """What a mask such as `valid` says of the episodes of a file (E,), see `TrainingData.split`."""
    spared = torch.tensor([not set(VALIDATION_MASKS).isdisjoint(masks) for masks in file.masks])
    return spared.long() if spared.any() and not spared.all() else torch.full_like(spared, -1, dtype=torch.long)


def scene_box(objects: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """Corners (3,) of a box around where objects (F, K, 3) usually are, by at least a margin in their unit.

    What is pushed off a table falls for metres. Such a path must not set the scales of the others, and where
    it ends is nothing that a camera sees: it counts as being at the border.
    """
    places = objects.flatten(0, 1)
    places = places[places[:, 0].isfinite()]
    places = places[:: len(places) // 1_000_000 + 1]  # quantile() takes no more than 16 million numbers
    low, high = places.quantile(0.05, dim=0), places.quantile(0.95, dim=0)
    wide = 0.5 * (high - low) + margin
    return low - wide, high + wide
