"""Episodes to learn from, and in a file of their own those to measure with, which training and tracking never read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gwm_sim.data.episode_file import Episode, EpisodeFile, EpisodeWriter, TaskLabels
from gwm_sim.protocol import CONTEXT

Rule = Callable[[int, int], tuple[slice, slice]]
"""Number and frames of an episode -> which frames are learned from, and which are for tests; either may be none."""

ALL, NONE = slice(None), slice(0)


def every(n: int) -> Rule:
    """Every n-th episode is for tests: of four the last."""
    return lambda number, frames: (NONE, ALL) if number % n == n - 1 else (ALL, NONE)


def these(tests: set[int]) -> Rule:
    """The episodes of these numbers are for tests."""
    return lambda number, frames: (NONE, ALL) if number in tests else (ALL, NONE)


def tail(share: float) -> Rule:
    """The last frames of each episode are for tests."""
    return lambda number, frames: (slice(round(frames * (1 - share))), slice(round(frames * (1 - share)), None))


def split(whole: Path, train: Path, test: Path, rule: Rule) -> None:
    """Write the two parts of an episode file; parts of fewer frames than a context and one more are left out."""
    with EpisodeFile(whole) as file:
        for out, part in ((train, 0), (test, 1)):
            writer = EpisodeWriter(out, file.schema)
            for number, episode in enumerate(file):
                rows = rule(number, len(episode) + 1)[part]
                if len(range(len(episode) + 1)[rows]) > CONTEXT:
                    writer.write(number, cut(episode, rows))
            writer.merge()


def cut(episode: Episode, rows: slice) -> Episode:
    """Return consecutive frames of an episode, and the actions between them, as an episode."""
    steps = range(len(episode) + 1)[rows]
    return replace(
        episode,
        frames={name: pictures[rows] for name, pictures in episode.frames.items()},
        depth={name: pictures[rows] for name, pictures in episode.depth.items()},
        sightings={name: seen[rows] for name, seen in episode.sightings.items()},
        telemetry=episode.telemetry[rows],
        actions=episode.actions[steps[0] : steps[-1]],
        labels={task: TaskLabels(told.reward[rows], told.success[rows]) for task, told in episode.labels.items()},
        objects=None if episode.objects is None else episode.objects[rows],
        objects_confidence=None if episode.objects_confidence is None else episode.objects_confidence[rows],
        attributes=None if episode.attributes is None else episode.attributes[rows],
    )
