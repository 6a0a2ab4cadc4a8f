"""How far places in metres are off, by what is going on with a thing. Frozen: a change is a new benchmark.

Each thing in a frame is in one situation, the first of these that holds:

- *in the hand*: between fingers that have stopped at its width (`gwm_sim.envs.blocks.sight.grasped_by_sight`);
- *stacked*: less than half its size sideways of the middle of another one, and within 1.5 cm of one size above it;
- *on the table*: its lowest corner is at most 5 mm above;
- *elsewhere*: neither, so it falls, leans on something, or slips from the fingers.

Things of which at least half is in sight count, claimed or not: a place is always given. Those in sight by less are a
row of their own, whatever their situation. Errors are distances in three dimensions.
"""

from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import Episode
from gwm_sim.envs.blocks import spec
from gwm_sim.envs.blocks.sight import grasped_by_sight

STACKED_TOLERANCE = 0.015
"""Of the height above the thing below [m]."""
ON_TABLE = 0.005
"""Height of the lowest corner above the table [m]."""
WRONG_CM = 2.0

SITUATIONS = ("hand", "stacked", "table", "elsewhere")


def situations(objects: Array, grasped: Array, size: float) -> Array:
    """Return the number in `SITUATIONS` of each thing, (T, K).

    Args:
        objects: Poses of boxes, xyz [m] and quaternion wxyz, (T, K, 7).
        grasped: Whether each is in the hand, (T, K).
        size: Their edge [m].
    """
    table = lowest(objects, size) <= ON_TABLE
    return np.select([grasped, stacked(objects[..., :3], size), table], [0, 1, 2], 3)


def stacked(middles: Array, size: float) -> Array:
    """Whether each thing rests on another one, (T, K, 3) -> (T, K)."""
    apart = middles[:, :, None] - middles[:, None]  # from the second thing to the first
    aside = np.linalg.norm(apart[..., :2], axis=-1) < size / 2
    above = np.abs(apart[..., 2] - size) <= STACKED_TOLERANCE
    return np.asarray((aside & above).any(axis=2))


def lowest(objects: Array, size: float) -> Array:
    """Return the height of the lowest corner of boxes [m], (T, K, 7) -> (T, K)."""
    w, x, y, z = np.moveaxis(objects[..., 3:], -1, 0)
    rising = np.abs([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]).sum(axis=0)
    return np.asarray(objects[..., 2] - size / 2 * rising)


def of_recording(episode: Episode, size: float) -> Array:
    """Return the situation of each thing in a recording of the twin, (T, K)."""
    assert episode.objects is not None
    opening = episode.telemetry[:, spec.OPENING]
    before = np.r_[opening[:1], opening[:-1]]
    grasped = grasped_by_sight(episode.objects[..., :3], episode.telemetry[:, spec.EE], opening, before)
    return situations(episode.objects, grasped, size)


def score(error: Array, situation: Array, in_sight: Array, seen: Array) -> dict[str, Any]:
    """Say how far places are off.

    Args:
        error: Distance from the true place [m], (N,), of things in frames.
        situation: Number in `SITUATIONS`, (N,).
        in_sight: Whether at least half of each is in sight, (N,).
        seen: Whether anything of it is, (N,).

    Returns:
        Count `n`, `median_cm`, `p90_cm` and share `wrong` by more than 2 cm of things `settled`, which are on the table
        or in the hand, of each situation, and `partly` in sight.
    """
    groups = {name: in_sight & (situation == number) for number, name in enumerate(SITUATIONS)}
    groups = {"settled": groups["table"] | groups["hand"]} | groups | {"partly": seen & ~in_sight}
    return {name: _summary(100 * error[chosen]) for name, chosen in groups.items()}


def _summary(error_cm: Array) -> dict[str, Any]:
    if not error_cm.size:
        return {"n": 0}
    median, p90 = np.percentile(error_cm, (50, 90)).tolist()
    return {"n": error_cm.size, "median_cm": median, "p90_cm": p90, "wrong": float((error_cm > WRONG_CM).mean())}
