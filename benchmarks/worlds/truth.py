"""Where things truly were, and how many of them a tracker found there. Truth measures; nothing learns from it."""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.sightings import COLUMNS
from gwm_sim.envs.blocks.detector import colour_of, detect
from gwm_sim.envs.blocks.metrics import VISIBLE_SHARE, silhouette_area

NEAR_PX = 3.0
"""How far from the true centre a thing is found [px]."""

_CONFIDENCE = COLUMNS.index("confidence")


class Places(NamedTuple):
    """K things in the T frames of an episode."""

    centres: Array
    """Column and row of their middles [px], (T, K, 2)."""
    visible: Array
    """Share of each silhouette that nothing covers, (T, K)."""


def recorded(path: Path) -> Iterator[Places]:
    """Read what a recorder wrote down, episode after episode."""
    with np.load(path) as truth:
        for k in range(len(truth["seeds"])):
            yield Places(truth[f"{k}/centres"], truth[f"{k}/visible"])


def of_blocks(path: Path) -> Iterator[Places]:
    """Project the cubes of an episode file with labels; what is seen of each is what the blob detector sees."""
    with EpisodeFile(path) as file:
        schema = file.schema
        camera, colours = schema.cameras["front"], [str(colour_of(name)) for name in schema.object_names]
        for episode in file:
            assert episode.objects is not None
            outline = silhouette_area(episode.objects, schema.object_size, camera)
            seen = detect(episode.frames["front"], colours).area / outline
            yield Places(camera.project(episode.objects[..., :3]), seen)


def recall(tracked: Path, camera: str, truth: Iterator[Places]) -> dict[str, Any]:
    """Compare sightings with the truth, by the assignment of true things to tracked ones that finds most.

    Returns:
        true_things, found_things: How many there are, and how many were found somewhere.
        recall: Share of the things of which at least half is visible that a sighting of theirs is near.
        error_px_median, error_px_p90: Distance of those that were sighted, near or not [px].
        visible: Number of (frame, thing) behind the recall.
    """
    with EpisodeFile(tracked) as file:
        looks = [(episode.sightings[camera], places) for episode, places in zip(file, truth, strict=True)]
    seen = np.concatenate([sightings for sightings, _ in looks])
    centres, visible = (np.concatenate([places[i] for _, places in looks]) for i in range(2))
    counted = visible >= VISIBLE_SHARE
    away = np.linalg.norm(centres[:, :, None] - seen[:, None, :, :2], axis=-1)  # (T, K, things tracked)
    away = np.where(seen[:, None, :, _CONFIDENCE] > 0, away, np.inf)
    away = np.concatenate([away, np.full((*counted.shape, counted.shape[1]), np.inf)], axis=2)  # or to none
    near = ((away <= NEAR_PX) & counted[..., None]).sum(0)
    things = range(near.shape[0])
    best = max(permutations(range(near.shape[1]), len(things)), key=lambda order: sum(near[things, order]))
    error = np.stack([away[:, k, best[k]] for k in things], axis=1)[counted]
    sighted = error[np.isfinite(error)]
    return {
        "true_things": len(things),
        "found_things": int((near[things, best] > 0).sum()),
        "recall": float((error <= NEAR_PX).mean()),
        "error_px_median": float(np.median(sighted)) if sighted.size else None,
        "error_px_p90": float(np.percentile(sighted, 90)) if sighted.size else None,
        "visible": int(counted.sum()),
    }
