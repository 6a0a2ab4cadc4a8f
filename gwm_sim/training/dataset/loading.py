"""Episode files as training data: numbers are read into memory, and pictures where there is room for all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.schema import RAW, ObjectFrame, Schema
from gwm_sim.data.views import side_by_side
from gwm_sim.errors import ConfigError
from gwm_sim.training.config import Route
from gwm_sim.training.dataset.checks import check_file, check_objects, episode_files, learns_objects
from gwm_sim.training.dataset.pictures import Blocks, StoredPictures
from gwm_sim.training.dataset.split import split_of
from gwm_sim.training.dataset.training_data import TrainingData

MARGINS: dict[ObjectFrame, float] = {"metres": 0.1, "image": 4.0}
"""Around where objects usually are, in [m] and in [px]."""

ABSENT = 2.0  # a thing that is not seen for so long [s] before or after all its sightings is not there
MORE = 160  # bytes per frame that training adds to the tables: residuals, and which windows there are to draw


def load_training_data(
    paths: Sequence[Path],
    cameras: Sequence[str] = ("front",),
    weights: Sequence[float] = (),
    motion: Sequence[Path] = (),
    path: Route = "auto",
    memory: float = math.inf,
) -> TrainingData:
    """Read episode files.

    Args:
        paths: The files.
        cameras: Cameras whose frames are wanted, side by side; none where motion alone is learned.
        weights: How often the windows of each file are drawn, compared with those of the others, `motion` after
            `paths`; all alike if empty.
        motion: Further files, of which the pictures are left out.
        path: What is learned from, see `learns_objects`.
        memory: What the data may take [GB]. Where pictures do not fit they stay in their files.

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
    files = episode_files((*paths, *motion))
    objects = learns_objects(files[0], path)
    if motion and not objects:
        raise ConfigError(
            f"--motion needs objects, and of {paths[0]} none are learned: only its pictures tell what moves"
        )
    for number, file in enumerate(files):
        check_file(file, files[0], cameras if number < len(paths) else ())
        if objects or path == "auto":
            check_objects(file, files[0])
    if not cameras and not objects:
        raise ConfigError(f"{paths[0]} has no pictures and says nothing of objects: there is nothing to learn")
    shown = files[: len(paths)] if cameras else []
    data = allocate(files, len(shown), cameras, weights, objects)
    places = [(file, k) for file in files for k in range(len(file))]
    inside = add_pictures(data, places, sum(map(len, shown)), memory)
    for number, (file, k) in enumerate(places):
        pictured = inside and bool(data.starts[number] < len(data.frames))
        take_in(data, number, file.read(k, cameras=cameras if pictured else ()))
        if k == len(file) - 1:
            file.close()
    if data.schema.object_names:
        data.objects_low, data.objects_high = scene_box(data.objects, MARGINS[data.schema.object_frame])
        data.objects.clamp_(data.objects_low, data.objects_high)
    else:  # what else is in the picture
        height, width = data.frames.shape[1], data.frames.shape[2] // len(cameras)
        data.objects_high = torch.tensor([width, height, min(width, height) / 4])
    return data


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
    """Tables with room for the episodes of some files, those of the first `pictured` ones with pictures, which must
    have one size; without the pictures, see `add_pictures`."""
    schema = learned_schema(files, objects)
    lengths = torch.tensor([length + 1 for file in files for length in file.lengths])
    seen, count = sum(length + 1 for file in files[:pictured] for length in file.lengths), int(lengths.sum())
    sizes = {(schema.cameras[camera].height, schema.cameras[camera].width) for camera in cameras}
    if len(sizes) > 1:
        raise ConfigError(f"cameras {', '.join(cameras)} have pictures of different sizes, {sorted(sizes)}")
    height, width = sizes.pop() if sizes else (0, 0)
    names = tuple(sorted({name for file in files for name in properties_of(file)}))
    episodes = len(lengths)
    contents = digests(files)
    return TrainingData(
        schema=schema,
        stored=files[0].schema,
        cameras=tuple(cameras),
        property_names=names,
        digest="-".join(digest[:16] for digest in contents),
        frames=torch.empty(0, height, len(cameras) * width, 3, dtype=torch.uint8),
        measured=torch.zeros(0, dtype=torch.long),
        depth=torch.zeros(0, height, width, 1, dtype=torch.int32),
        telemetry=torch.empty(count, len(schema.telemetry_names)),
        actions=torch.zeros(count, len(schema.action_names)),
        objects=torch.zeros(count, len(schema.object_names), 3),
        attributes=torch.zeros(count, len(schema.object_names), len(schema.object_attributes)),
        orientations=torch.zeros(count, len(schema.object_names), 4 if schema.object_attributes else 0),
        confidence=torch.ones(count, len(schema.object_names)),
        residual=torch.zeros(count, 0),
        boxes=torch.zeros(seen, len(schema.object_names) if schema.tracked else 0, 4),
        objects_low=torch.zeros(3),
        objects_high=torch.ones(3),
        reward=torch.zeros(count, len(schema.tasks)),
        success=torch.zeros(count, len(schema.tasks), dtype=torch.bool),
        properties=torch.full((episodes, len(names)), torch.nan),
        numbers=torch.tensor([number for file in files for number in file.numbers]),
        originals=originals(contents, [len(file) for file in files]),
        starts=lengths.cumsum(0) - lengths,
        lengths=lengths,
        weights=torch.tensor(weights or [1.0] * len(files)).repeat_interleave(torch.tensor([len(f) for f in files])),
        split=split_of(files),
    )


def properties_of(file: EpisodeFile) -> list[str]:
    """Names of the physics properties that a file tells of its first episode."""
    with file:
        return list(file.read(0, cameras=()).properties)


def digests(files: Sequence[EpisodeFile]) -> list[str]:
    """Digests of the contents of some files; one that is named several times is read once."""
    known: dict[Path, str] = {}
    for file in files:
        if (path := file.path.resolve()) not in known:
            known[path] = file.digest()
        file.close()
    return [known[file.path.resolve()] for file in files]


def originals(contents: Sequence[str], counts: Sequence[int]) -> Tensor:
    """The first episode (E,) that holds the same as each, of files with these digests and numbers of episodes."""
    starts = np.cumsum([0, *counts]).tolist()
    first = dict(zip(reversed(contents), reversed(starts[:-1]), strict=True))
    return torch.cat([torch.arange(first[digest], first[digest] + counts[i]) for i, digest in enumerate(contents)])


def add_pictures(data: TrainingData, places: Sequence[tuple[EpisodeFile, int]], pictured: int, memory: float) -> bool:
    """Make room for the pictures of the first `pictured` episodes, or leave them in their files; return whether there
    is room. `places` (E,) says of each episode in which file it is, and where in that."""
    if not pictured:
        return False
    told = torch.tensor([data.cameras[0] in file.schema.depth for file, _ in places[:pictured]])
    lengths = data.lengths[:pictured]
    data.measured = torch.nonzero(told.repeat_interleave(lengths)).flatten()
    frames, depth = (int(lengths.sum()), *data.frames.shape[1:]), (len(data.measured), *data.depth.shape[1:])
    taken = sum(value.nbytes for value in vars(data).values() if isinstance(value, Tensor)) + MORE * len(data.telemetry)
    room, needed = memory * 1e9 - taken, math.prod(frames) + 4 * math.prod(depth)
    data.lacking = max(0.0, needed - room) / 1e9
    if not data.lacking:
        data.frames, data.depth = torch.empty(frames, dtype=torch.uint8), torch.empty(depth, dtype=torch.int32)
        return True
    height, width = depth[1:3]
    seen = dict(enumerate(places[:pictured]))
    deep = {episode: places[episode] for episode in torch.nonzero(told).flatten().tolist()}
    share = room * math.prod(frames) / needed
    names = [f"frames/{name}" for name in data.cameras]
    views = Blocks(seen, names, (height, width, 3), share)
    deeps = Blocks(deep, [f"depth/{data.cameras[0]}"], (height, width, 1), room - share)
    data.frames = StoredPictures(views, frames[0], data.starts)
    data.depth = StoredPictures(deeps, depth[0], data.starts, data.measured)
    return False


def take_in(data: TrainingData, number: int, episode: Episode) -> None:
    """Fill in what is known of an episode, and its pictures if it has any."""
    start = int(data.starts[number])
    rows = slice(start, start + len(episode) + 1)
    if episode.frames:
        assert isinstance(data.frames, Tensor) and isinstance(data.depth, Tensor)
        data.frames[rows] = torch.from_numpy(side_by_side(episode.frames, data.cameras))
        if data.cameras[0] in episode.depth:
            first = int(torch.searchsorted(data.measured, start))
            depth = torch.from_numpy(episode.depth[data.cameras[0]].astype(np.int32))
            data.depth[first : first + len(depth)] = depth
    if start < len(data.boxes) and data.boxes.shape[1] and data.cameras[0] in episode.sightings:
        sightings = torch.from_numpy(episode.sightings[data.cameras[0]])  # (N+1, K, 6), see `COLUMNS`
        data.boxes[rows] = sightings[..., :4] * (sightings[..., 5:] > 0)
    data.telemetry[rows] = torch.from_numpy(episode.telemetry)
    data.actions[start : start + len(episode)] = torch.from_numpy(episode.actions)
    if episode.objects is not None and data.schema.object_names:
        data.objects[rows] = torch.from_numpy(episode.objects[..., :3])
        if episode.objects_confidence is not None:
            data.confidence[rows] = torch.from_numpy(episode.objects_confidence)
            gone = torch.from_numpy(absent(episode.objects_confidence, round(ABSENT * data.schema.rate)))
            data.objects[rows][gone] = torch.nan
        if episode.attributes is not None:
            data.attributes[rows] = torch.from_numpy(episode.attributes)
            data.orientations[rows] = torch.from_numpy(episode.objects[..., 3:])
            data.confidence[rows] = data.objects[rows][..., 0].isfinite().float()
    for i, task in enumerate(data.schema.tasks):
        if task not in episode.labels:
            data.reward[rows, i] = torch.nan
            continue
        data.reward[rows, i] = torch.from_numpy(episode.labels[task].reward)
        data.success[rows, i] = torch.from_numpy(episode.labels[task].success)
    for i, name in enumerate(data.property_names):
        data.properties[number, i] = episode.properties.get(name, np.nan)


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
