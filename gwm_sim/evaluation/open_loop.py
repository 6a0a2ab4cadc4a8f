"""Open-loop tests on recorded episodes: what a predictor is given, what it is asked, and how a world model answers.

Every 5 steps of every episode a window begins: a few real frames, then only the recorded actions. A window ends at the
last horizon that is asked for; the one at an episode's start goes on to the episode's end, whose success is known.
Frozen: a change is a new benchmark.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from gwm_sim.data.episode_file import Episode, EpisodeFile
from gwm_sim.data.schema import Schema
from gwm_sim.data.views import side_by_side
from gwm_sim.errors import ConfigError
from gwm_sim.evaluation.scene import Scene
from gwm_sim.evaluation.statistics import Array
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel
from gwm_sim.protocol import CONTEXT

STRIDE = 5  # steps between the starts of neighbouring windows

SHUFFLE_SEED = 0

_BACKGROUND_FRAMES = 256
_MEDIAN_FRAMES = 100


class Window(NamedTuple):
    """One test: C context frames and T actions given, S horizons to predict. A batch has an axis B in front."""

    number: Array  # () position in the plan
    frames: Array  # (C, H, V*W, 3) uint8
    telemetry: Array  # (C, P)
    past_actions: Array  # (C-1, A)
    actions: Array  # (T, A)
    properties: Array  # (Q,), NaN where unknown
    last_objects: Array  # (K, 7) poses at the last context frame
    true_frames: Array  # (S, H, V*W, 3) uint8
    true_depth: Array  # (S, H, W, 1) uint16 of the main camera, in units of DEPTH_UNIT; (S, 0) if not asked for
    true_telemetry: Array  # (S, P)
    true_objects: Array  # (S, K, 7)
    true_success: Array  # (J,) bool at the end of the episode, of the tasks of the data's schema
    judged: Array  # (J,) bool, of which of them somebody judged the episode; of the others no success is known
    to_end: Array  # () bool, whether it begins with the episode, and so is judged by its end
    course_telemetry: Array  # (T, P) true telemetry after every action
    course_objects: Array  # (T, K, 3) true positions [m] after every action
    median_picture: Array  # (H, W, 3) uint8 the main camera's, of the whole episode

    def only(self, index: int) -> Window:
        """These windows, a batch of them, as if they were asked for one of their horizons."""
        truth = ("true_frames", "true_depth", "true_telemetry", "true_objects")
        return self._replace(**{name: getattr(self, name)[:, [index]] for name in truth})


class Prediction(NamedTuple):
    """What a predictor answers about B windows."""

    frames: Array  # (B, S, H, V*W, 3) uint8
    telemetry: Array  # (B, S, P)
    success: Mapping[str, Array] | None  # (B,) bool after all T actions, by task; None if it has no opinion
    course_telemetry: Array | None = None  # (B, T, P) after every action; None if it does not say
    course_objects: Array | None = None  # (B, T, K, 3) [m] after every action; None if it knows of none in metres
    depth: Array | None = None  # (B, S, H, W, 1) [m] of the main camera; None if it does not say
    schema: Schema | None = None  # which objects and what telemetry these are; None if those of the data
    empty_scene: Array | None = None  # (B, S, H, W, 3) uint8 a floor that `Scene.empty` adds, not the predictor


class Predictor(Protocol):
    """Predicts open loop."""

    def __call__(self, windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
        """Predict a batch of windows.

        Args:
            windows: The batch. Only frames, telemetry, past_actions and properties may be used; the rest is truth.
            actions: Actions to follow, (B, T, A).
            horizons: The S steps that are asked for, counted from the last context frame, at most T.
        """
        ...


class ModelPredictor:
    """A world model as a predictor: its most likely future."""

    def __init__(self, model: WorldModel, depth: bool = False) -> None:
        """Wrap a model; say with `depth` whether depth is wanted."""
        self._model, self._depth = model, depth
        self._encoded: tuple[Window, WorldState] | None = None

    def __call__(self, windows: Window, actions: Array, horizons: Sequence[int]) -> Prediction:
        """Predict a batch of windows."""
        follow = self._model.renderer is None  # whether a picture follows from those before
        rollout = self._model.imagine(self._encode(windows), torch.from_numpy(actions), draw=follow or self._depth)
        asked = torch.tensor(horizons, device=rollout.codes.device) - 1
        shown = rollout.at(asked)
        schema = self._model.config.schema
        metres = schema.object_frame == "metres"
        return Prediction(
            frames=self._model.decode(shown).cpu().numpy(),
            telemetry=rollout.telemetry[:, asked].float().cpu().numpy(),
            success=dict(zip(self._model.tasks, (rollout.success[:, -1] > 0.5).cpu().numpy().T, strict=True)),
            course_telemetry=rollout.telemetry.float().cpu().numpy(),
            course_objects=rollout.objects.float().cpu().numpy() if metres else None,
            depth=self._model.depth(shown).cpu().numpy() if self._depth else None,
            schema=schema,
        )

    def _encode(self, windows: Window) -> WorldState:
        """Start worlds from windows; those asked for last are kept, since they are asked again with other actions."""
        if self._encoded is None or self._encoded[0] is not windows:
            given = (windows.frames, windows.telemetry, windows.past_actions, windows.properties)
            self._encoded = windows, self._model.encode(*map(torch.from_numpy, given))
        return self._encoded[1]


class Slot(NamedTuple):
    """Where a window is cut."""

    episode: int
    start: int  # its first context frame
    steps: int  # T


def plan(lengths: Sequence[int], horizons: Sequence[int], context: int = CONTEXT) -> list[Slot]:
    """List the windows of episodes with the given numbers of actions.

    The first window of an episode goes on to its end, every other one to the last of the `horizons` that it can reach.
    """
    slots = []
    for episode, length in enumerate(lengths):
        for start in range(0, length - context + 1, STRIDE):
            rest = length - (start + context - 1)
            steps = rest if start == 0 else max((horizon for horizon in horizons if horizon <= rest), default=0)
            if steps:
                slots.append(Slot(episode, start, steps))
    return slots


class OpenLoopTest:
    """The windows of one episode file, read and batched when they are needed."""

    def __init__(
        self,
        file: EpisodeFile,
        horizons: Sequence[int],
        *,
        cameras: Sequence[str] = ("front",),
        depth: bool = False,
        properties: Sequence[str] = (),
        context: int = CONTEXT,
        limit: int | None = None,
        scene: Scene | None = None,
    ) -> None:
        """Plan the windows.

        Args:
            file: The episodes.
            horizons: Steps to ask for, counted from the last context frame.
            cameras: The cameras that the predictor sees through, the main one first; views stand side by side.
            depth: Whether true depth is wanted, where the main camera measured it.
            properties: Names of the physics properties that it is told, in order.
            context: Real frames that it is shown.
            limit: Use only the first episodes.
            scene: What is known of the scene that the main camera sees, beside these episodes.

        Raises:
            ConfigError: No episode is longer than the context.
        """
        lengths = file.lengths[:limit]
        self.file, self.cameras, self.context = file, tuple(cameras), context
        self.depth = depth and self.cameras[0] in file.schema.depth
        self.horizons = sorted(set(horizons))
        self.episodes = len(lengths)
        self.scene = scene or Scene()
        self.shared: dict[str, Any] = {}
        """Where a metric may keep what others need, too."""
        self.slots = plan(lengths, self.horizons, context)
        self._properties = tuple(properties)
        if not self.slots:
            raise ConfigError(
                f"{file.path}: its longest episode has {max(lengths)} steps, too few for {context} frames of context "
                "and one to predict. Collect longer ones (--steps)."
            )

    @cached_property
    def background(self) -> Array:
        """The main camera's background (H, W, 3): the median, per pixel and channel, of frames spread evenly over all
        episodes."""
        ends = np.cumsum([length + 1 for length in self.file.lengths[: self.episodes]])
        frames = []
        for i in np.unique(np.linspace(0, ends[-1] - 1, _BACKGROUND_FRAMES).round().astype(int)).tolist():
            k = int(np.searchsorted(ends, i, side="right"))
            row = i - int(ends[k]) + self.file.lengths[k] + 1
            frames.append(self.file.read(k, row, row + 1, cameras=self.cameras[:1]).frames[self.cameras[0]][0])
        background: Array = np.median(frames, axis=0).astype(np.uint8)
        return background

    def reached(self, steps: int) -> list[int]:
        """Return which of the horizons windows of so many steps reach."""
        return [horizon for horizon in self.horizons if horizon <= steps]

    def batches(self, size: int) -> Iterator[Window]:
        """Read every episode once and batch windows of equal length; only unfinished batches stay in memory."""
        pending: dict[int, list[Window]] = defaultdict(list)
        for k, slots in self._by_episode():
            episode = self._read(k)
            median = self._median(episode)
            for number, slot in slots:
                queue = pending[slot.steps]
                queue.append(self._cut(episode, median, slot, number, self.reached(slot.steps)))
                if len(queue) == size:
                    yield collate(pending.pop(slot.steps))
        yield from map(collate, pending.values())

    def opening(self, episode: int, steps: int) -> Window:
        """Return the window at an episode's start as a batch of one, at most `steps` long and asked for every step."""
        slot = next(slot for slot in self.slots if slot.episode == episode)
        slot = slot._replace(steps=min(steps, slot.steps))
        recording = self._read(episode)
        return collate([self._cut(recording, self._median(recording), slot, 0, range(1, slot.steps + 1))])

    def stills(self) -> Iterator[Array]:
        """Last context frames of the windows of each episode, (F, H, V*W, 3) uint8."""
        for k, slots in self._by_episode():
            frames = self.file.read(k, cameras=self.cameras, depth=False).frames
            yield side_by_side(frames, self.cameras)[[slot.start + self.context - 1 for _, slot in slots]]

    def foreign_actions(self, steps: int) -> dict[int, Array]:
        """For every window that is long enough, by its position in the plan, the first actions (steps, A) of another
        one, drawn with a fixed seed; each window's actions are given once, none at its own."""
        own = {}
        for k, slots in self._by_episode():
            actions = self.file.read(k, cameras=()).actions
            for number, slot in slots:
                if slot.steps >= steps:
                    last = slot.start + self.context - 1
                    own[number] = actions[last : last + steps]
        order = np.random.default_rng(SHUFFLE_SEED).permutation(list(own)).tolist()
        return {number: own[donor] for number, donor in zip(order, order[1:] + order[:1], strict=True)}

    def _by_episode(self) -> Iterator[tuple[int, Iterator[tuple[int, Slot]]]]:
        """Iterate over the episodes, each with its numbered slots."""
        return itertools.groupby(enumerate(self.slots), key=lambda item: item[1].episode)

    def _read(self, k: int) -> Episode:
        return self.file.read(k, cameras=self.cameras, depth=self.depth)

    def _median(self, episode: Episode) -> Array:
        """The main camera's median picture (H, W, 3) of an episode, of at most 100 frames spread evenly over it."""
        frames = episode.frames[self.cameras[0]]
        chosen = np.unique(np.linspace(0, len(frames) - 1, _MEDIAN_FRAMES).round().astype(int))
        median: Array = np.median(frames[chosen], axis=0).astype(np.uint8)
        return median

    def _cut(self, episode: Episode, median: Array, slot: Slot, number: int, horizons: Sequence[int]) -> Window:
        last = slot.start + self.context - 1
        # Indexing by lists copies, so that a waiting window does not keep its whole episode in memory.
        given, asked = list(range(slot.start, last + 1)), [last + horizon for horizon in horizons]
        frames, tasks = side_by_side(episode.frames, self.cameras), self.file.schema.tasks
        objects = np.zeros((len(frames), 0, 7), np.float32) if episode.objects is None else episode.objects
        return Window(
            number=np.array(number),
            frames=frames[given],
            telemetry=episode.telemetry[given],
            past_actions=episode.actions[given[:-1]],
            actions=episode.actions[last : last + slot.steps].copy(),
            properties=np.array([episode.properties.get(name, np.nan) for name in self._properties], np.float32),
            last_objects=objects[last].copy(),
            true_frames=frames[asked],
            true_depth=episode.depth[self.cameras[0]][asked] if self.depth else np.zeros((len(asked), 0), np.uint16),
            true_telemetry=episode.telemetry[asked],
            true_objects=objects[asked],
            true_success=np.array([t in episode.labels and episode.labels[t].success[-1] for t in tasks], bool),
            judged=np.array([task in episode.labels for task in tasks], bool),
            to_end=np.array(slot.start == 0),
            course_telemetry=episode.telemetry[last + 1 : last + slot.steps + 1].copy(),
            course_objects=objects[last + 1 : last + slot.steps + 1, :, :3].copy(),
            median_picture=median,
        )


def collate(windows: Sequence[Window]) -> Window:
    """Make a batch of windows of equal length."""
    return Window(*map(np.stack, zip(*windows, strict=True)))
