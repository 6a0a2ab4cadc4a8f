"""Training windows: episodes of one or more files as flat arrays, and stretches of consecutive frames from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gwm_sim.data.episode_file import EpisodeFile, Schema
from gwm_sim.data.views import side_by_side
from gwm_sim.errors import ConfigError
from gwm_sim.model.state import Segment, Statistics, previous
from gwm_sim.protocol import FIRST_EVALUATION_SEED

ONE_ROBOT = (
    *("rate", "telemetry_names", "telemetry_low", "telemetry_high", "action_names", "action_low", "action_high"),
    *("commands", "effector", "object_names", "object_size", "tasks"),
)
"""What the files of one model must have in common: the model keeps these of the first file."""

VALIDATION_EVERY = 50  # every 50th episode of each file is held out of training
FEW = 500  # episodes, fewer than which every tenth is held out, those among them


class WindowSampler:
    """Draws windows of one length at random, those of some files more often than those of others."""

    def __init__(self, first: Tensor, weights: Tensor, length: int = 1) -> None:
        """Take what there is to draw from.

        Args:
            first: First frames of all windows, (W,).
            weights: How often each is drawn compared with the others, (W,).
            length: Frames of a window.
        """
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

    schema: Schema
    cameras: tuple[str, ...]
    property_names: tuple[str, ...]
    digest: str  # of the files' contents
    frames: Tensor  # (S, H, V*W, 3) uint8, of the first S <= F frames; the others were recorded for their motion alone
    measured: Tensor  # (D,) frames of which the main camera's depth was measured
    depth: Tensor  # (D, H, W, 1) int32, in units of DEPTH_UNIT
    telemetry: Tensor  # (F, P)
    actions: Tensor  # (F, A)
    objects: Tensor  # (F, K, 3) [m], clipped to the scene
    objects_low: Tensor  # (3,) [m], corner of the scene
    objects_high: Tensor  # (3,) [m]
    reward: Tensor  # (F, tasks)
    success: Tensor  # (F, tasks) bool
    properties: Tensor  # (E, Q)
    numbers: Tensor  # (E,) number of each episode within its file
    starts: Tensor  # (E,) first frame of each episode
    lengths: Tensor  # (E,) frames of each episode
    weights: Tensor  # (E,) how often the windows of each episode are drawn, compared with those of the others

    @property
    def episodes(self) -> int:
        return len(self.starts)

    def statistics(self) -> Statistics:
        """Scales of the data."""
        change = torch.diff(self.telemetry, dim=0)[self.inner()]
        moved = torch.diff(self.objects, dim=0)[self.inner()] if self.objects.shape[1] else torch.zeros(1)
        return Statistics(
            telemetry_mean=self.telemetry.mean(0),
            telemetry_std=self.telemetry.std(0).clamp_min(1e-4),
            telemetry_change=change.std(0).clamp_min(1e-5),
            telemetry_low=torch.tensor(self.schema.telemetry_low),
            telemetry_high=torch.tensor(self.schema.telemetry_high),
            objects_low=self.objects_low,
            objects_high=self.objects_high,
            objects_change=moved.square().mean().sqrt().clamp_min(1e-3)[None],
            properties_low=self.properties.nan_to_num(torch.inf).amin(0),
            properties_high=self.properties.nan_to_num(-torch.inf).amax(0),
        )

    def inner(self) -> Tensor:
        """Which of the F-1 steps between neighbouring frames stay within one episode, (F-1,) bool."""
        inside = torch.ones(len(self.telemetry) - 1, dtype=torch.bool)
        inside[self.starts[1:] - 1] = False
        return inside

    def held_out(self) -> Tensor:
        """Which episodes are not trained on, (E,) bool.

        An episode's number within its file decides, so that what one list of files holds out is not learned from by a
        model that goes on with another list. Where no file is long enough for that, all of them count as one.
        """
        every = VALIDATION_EVERY if self.episodes >= FEW else 10
        chosen = self.numbers % every == every - 1
        for kind in (self.seen(), ~self.seen()):
            if kind.any() and not (chosen & kind).any():
                episodes = torch.nonzero(kind).flatten()
                apart = min(every, len(episodes))
                chosen[episodes[apart - 1 :: apart]] = True
        return chosen

    def seen(self) -> Tensor:
        """Which episodes have pictures, (E,) bool."""
        return self.starts < len(self.frames)

    def windows(self, length: int, validation: bool = False, seen: bool = False) -> Tensor:
        """First frames of all windows of `length` frames of the training or of the held-out episodes, (W,).

        With `seen`, only of those that have pictures.
        """
        fit = (self.held_out() == validation) & (self.lengths >= length) & (self.seen() | (not seen))
        chosen = torch.nonzero(fit).flatten().tolist()
        if not chosen:
            kind = "held-out" if validation else "training"
            raise ConfigError(f"no {kind} episode has {length} frames: collect more or longer episodes (--steps)")
        spans = [(int(self.starts[e]), int(self.lengths[e]) - length + 1) for e in chosen]
        return torch.cat([torch.arange(start, start + count) for start, count in spans])

    def sampler(self, length: int, seen: bool = False) -> WindowSampler:
        """Windows of `length` frames of the training episodes, to draw from; see `windows`."""
        return self._sampler(self.windows(length, seen=seen), length)

    def held_out_sampler(self, length: int, seen: bool = False) -> WindowSampler | None:
        """The same of the held-out episodes; None if none of them is that long."""
        long_enough = self.held_out() & (self.lengths >= length) & (self.seen() | (not seen))
        if not long_enough.any():
            return None
        return self._sampler(self.windows(length, validation=True, seen=seen), length)

    def _sampler(self, first: Tensor, length: int) -> WindowSampler:
        return WindowSampler(first, self.weights[self.episode_of(first)], length)

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
            The frames, and reward and success of each task at them, (B, T, tasks).
        """
        index = first[:, None] + torch.arange(length)  # (B, T)
        latents = torch.zeros(*index.shape, 0, 0, dtype=torch.uint8) if codes is None else codes[index]
        frames = Segment(
            codes=latents,
            previous_codes=previous(latents),
            telemetry=self.telemetry[index],
            previous_telemetry=previous(self.telemetry[index]),
            objects=self.objects[index],
            previous_objects=previous(self.objects[index]),
            actions=self.actions[index],
            properties=self.properties[self.episode_of(first)],
            corruption=torch.zeros(index.shape),
            novelty=torch.ones(index.shape),
        )
        return frames, self.reward[index], self.success[index]


def load_training_data(
    paths: Sequence[Path],
    cameras: Sequence[str] = ("front",),
    weights: Sequence[float] = (),
    motion: Sequence[Path] = (),
) -> TrainingData:
    """Read episode files into memory.

    Args:
        paths: The files.
        cameras: Cameras whose frames are wanted, side by side.
        weights: How often the windows of each file are drawn, compared with those of the others, `motion` after
            `paths`; all alike if empty.
        motion: Further files, of which the pictures are left out.

    Raises:
        ConfigError: Weights that do not fit the files, no file, files that do not fit together, a camera they lack, or
            episodes reserved for evaluation; `motion` of robots without tracked objects.
        DataError: A file is damaged or holds numbers that are not finite.
    """
    if not paths:
        raise ConfigError("no data: give one or more episode files, as made by `gwm collect`, with --data FILE...")
    count = len(paths) + len(motion)
    if weights and (len(weights) != count or min(weights) <= 0):
        raise ConfigError(f"--weights must be {count} positive numbers, one per file, got {list(weights)}")
    files = [EpisodeFile(path) for path in (*paths, *motion)]
    schema = files[0].schema
    if motion and not schema.object_names:
        raise ConfigError(f"--motion needs tracked objects, and {paths[0]} has none: only its pictures tell what moves")
    for number, file in enumerate(files):
        for name in ONE_ROBOT:
            if getattr(file.schema, name) != getattr(schema, name):
                raise ConfigError(
                    f"{file.path} does not fit {files[0].path}: {name} is {getattr(file.schema, name)}, "
                    f"not {getattr(schema, name)}; train on files of one robot"
                )
        for camera in cameras if number < len(paths) else ():
            if camera not in file.schema.cameras:
                raise ConfigError(f"{file.path} has no camera {camera!r}; it has {list(file.schema.cameras)}")
            if not file.schema.cameras[camera].looks_as(schema.cameras[camera]):
                raise ConfigError(f"{file.path} and {files[0].path} differ in size or place of the camera {camera!r}")
        reserved = [seed for seed in file.seeds if seed is not None and seed >= FIRST_EVALUATION_SEED]
        if reserved:
            raise ConfigError(
                f"{file.path} holds {len(reserved)} episodes with seeds from {min(reserved)}: seeds from "
                f"{FIRST_EVALUATION_SEED} are for evaluation and never trained on; collect with a smaller --seed"
            )
    seen, count = (sum(length + 1 for file in some for length in file.lengths) for some in (files[: len(paths)], files))
    sizes = {(schema.cameras[camera].height, schema.cameras[camera].width) for camera in cameras}
    if len(sizes) > 1:
        raise ConfigError(f"cameras {', '.join(cameras)} have pictures of different sizes, {sorted(sizes)}")
    ((height, width),) = sizes
    names = tuple(sorted({name for file in files for name in file[0].properties}))
    data = TrainingData(
        schema=schema,
        cameras=tuple(cameras),
        property_names=names,
        digest="-".join(file.digest()[:16] for file in files),
        frames=torch.empty(seen, height, len(cameras) * width, 3, dtype=torch.uint8),
        measured=torch.zeros(0, dtype=torch.long),
        depth=torch.zeros(0, height, width, 1, dtype=torch.int32),
        telemetry=torch.empty(count, len(schema.telemetry_names)),
        actions=torch.zeros(count, len(schema.action_names)),
        objects=torch.zeros(count, len(schema.object_names), 3),
        objects_low=torch.zeros(3),
        objects_high=torch.ones(3),
        reward=torch.zeros(count, len(schema.tasks)),
        success=torch.zeros(count, len(schema.tasks), dtype=torch.bool),
        properties=torch.full((sum(map(len, files)), len(names)), torch.nan),
        numbers=torch.cat([torch.arange(len(file)) for file in files]),
        starts=torch.zeros(sum(map(len, files)), dtype=torch.long),
        lengths=torch.zeros(sum(map(len, files)), dtype=torch.long),
        weights=torch.tensor(weights or [1.0] * len(files)).repeat_interleave(torch.tensor([len(f) for f in files])),
    )
    at = number = 0
    depths: list[tuple[Tensor, Tensor]] = []
    for file in files:
        for k in range(len(file)):
            episode = file.read(k, cameras=cameras if at < seen else ())
            rows = slice(at, at + len(episode) + 1)
            if at < seen:
                data.frames[rows] = torch.from_numpy(side_by_side(episode.frames, cameras))
                if cameras[0] in episode.depth:
                    depth = torch.from_numpy(episode.depth[cameras[0]].astype(np.int32))
                    depths.append((torch.arange(rows.start, rows.stop), depth))
            data.telemetry[rows] = torch.from_numpy(episode.telemetry)
            data.actions[at : at + len(episode)] = torch.from_numpy(episode.actions)
            if episode.objects is not None:
                data.objects[rows] = torch.from_numpy(episode.objects[..., :3])
            for i, task in enumerate(schema.tasks):
                data.reward[rows, i] = torch.from_numpy(episode.labels[task].reward)
                data.success[rows, i] = torch.from_numpy(episode.labels[task].success)
            for i, name in enumerate(names):
                data.properties[number, i] = episode.properties.get(name, np.nan)
            data.starts[number], data.lengths[number] = at, len(episode) + 1
            at, number = rows.stop, number + 1
    if depths:
        data.measured, data.depth = (torch.cat(parts) for parts in zip(*depths, strict=True))
    if schema.object_names:
        data.objects_low, data.objects_high = scene_box(data.objects)
        data.objects = data.objects.clamp(data.objects_low, data.objects_high)
    return data


def scene_box(objects: Tensor) -> tuple[Tensor, Tensor]:
    """Corners (3,) of a box around where objects (F, K, 3) usually are [m].

    A cube that is pushed off the table falls for metres. Such a path must not set the scales of the others, and where
    it ends is nothing that a camera sees: it counts as being at the border.
    """
    places = objects.flatten(0, 1)
    places = places[:: len(places) // 1_000_000 + 1]  # quantile() takes no more than 16 million numbers
    low, high = places.quantile(0.05, dim=0), places.quantile(0.95, dim=0)
    margin = 0.5 * (high - low) + 0.1
    return low - margin, high + margin
