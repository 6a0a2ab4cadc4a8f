"""Training data: episodes of one or more files as tables, one after the other, and windows that are drawn from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gwm_sim.data.schema import Schema
from gwm_sim.errors import ConfigError
from gwm_sim.model.state import Segment, Statistics
from gwm_sim.training.dataset.latents import Latents
from gwm_sim.training.dataset.pictures import Pictures, StoredPictures

VALIDATION_EVERY = 50  # every 50th episode of each file is not trained on
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
    frames: (
        Pictures  # (S, H, V*W, 3) uint8, of the first S <= F frames; the others were recorded for their motion alone
    )
    measured: Tensor  # (D,) frames of which the main camera's depth was measured
    depth: Pictures  # (D, H, W, 1) int32, in units of DEPTH_UNIT
    telemetry: Tensor  # (F, P)
    actions: Tensor  # (F, A)
    objects: Tensor  # (F, K, 3) [m], or in the image frame, clipped to the scene; NaN of what is absent
    attributes: Tensor  # (F, K, A), what each object is like, NaN of what is absent; A is 0 where files do not say
    orientations: Tensor  # (F, K, 4), quaternions wxyz, NaN of what is absent; (F, K, 0) where files have no attributes
    confidence: Tensor  # (F, K) how surely objects are there, 0 where that is a guess
    objects_low: Tensor  # (3,) corner of the scene
    objects_high: Tensor  # (3,)
    residual: Tensor  # (F, R), what robot and things do not explain, once that is learned
    boxes: Tensor  # (S, K, 4) column, row, width and height [px] of tracked things in the main view, 0 of unseen ones
    reward: Tensor  # (F, tasks), NaN where nobody judged the task
    success: Tensor  # (F, tasks) bool, of no meaning there
    properties: Tensor  # (E, Q)
    numbers: Tensor  # (E,) number of each episode within its file
    originals: Tensor  # (E,) first episode that holds the same as each, where whole files do
    starts: Tensor  # (E,) first frame of each episode
    lengths: Tensor  # (E,) frames of each episode
    weights: Tensor  # (E,) how often the windows of each episode are drawn, compared with those of the others
    split: Tensor  # (E,) 0 where a mask such as `valid` says that an episode is trained on, 1 where it says that
    # it is not, and -1 where its file has no such mask
    lacking: float = 0.0  # memory that pictures need more than they may take, and so stay in their files [GB]
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

    def take_light(self, rows: Tensor, usual: Tensor, light: Tensor) -> None:
        """Show pictures `rows` (B,) as `usual` (B, H, V*W, 3) from now on: divided by their light (B, 1, V*W, 3)."""
        if isinstance(self.frames, StoredPictures):
            self.frames.divide(rows, light)
        else:
            self.frames[rows] = usual

    def batch(self, codes: Latents | None, first: Tensor, length: int) -> tuple[Segment, Tensor, Tensor]:
        """Windows that begin at the given frames.

        Args:
            codes: Latents of all frames with pictures, (S, N, M); None for windows without latents (B, T, 0, 0).
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
            attributes=self.attributes[index],
            orientations=self.orientations[index],
        )
        return segment, self.reward[index], self.success[index]


def _spread(values: Tensor) -> Tensor:
    """Standard deviation of each column (F, P); a robot may report nothing."""
    return values.std(0) if values.shape[1] else values.new_zeros(0)
