"""What is counted of a tracker, from what it says and from what is true. Frozen: a change is a new benchmark.

A thing is *in sight* where at least half of its silhouette is; the silhouette is what would be drawn of it if nothing
else were there, beyond the border as well. A tracker *claims* a thing where its confidence is above 0.

- *recall*: share of the things in sight that are claimed within 2 px (3 px) of their projected middle.
- *error*: distance of the things in sight that are claimed, near or not [px].
- *partly*: share of the things of which something is seen, but less than half, that are claimed within 3 px.
- *false claim*: a thing claimed farther from its place than half its width, or while nothing of it is in sight; all
  claims of a thing that is none are false.
- *switch*: two things trade places. They are traded where both are claimed and the estimate of each is nearer to the
  true place of the other by more than 1 px, and sorted where each is nearer to its own by as much; frames that are
  neither say nothing. Changes from one to the other count, and so does an episode that begins traded.

Which thing of the tracker is which true one is chosen once for all episodes, so that most are near. Where things look
alike nobody could say, so it is chosen for each episode, and one may begin either way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.tracking.sightings import COLUMNS
from gwm_sim.evaluation.statistics import wilson_interval
from worlds.truth import Places

IN_SIGHT = 0.5
NEAR_PX = 2.0, 3.0
SWITCH_PX = 1.0

_CONFIDENCE = COLUMNS.index("confidence")


@dataclass(frozen=True)
class Compared:
    """What is said of K true things in the T frames of an episode."""

    away: Array
    """From the estimate of thing i to the true place of thing j [px], (T, K, K); inf where nothing was taken for i."""
    claimed: Array
    """Whether each is claimed, (T, K)."""
    visible: Array
    """Share of each silhouette that is in sight, (T, K)."""
    others: Array
    """Claims of things that were taken for none, (T,)."""

    @property
    def own(self) -> Array:
        """From each estimate to its own true place [px], (T, K)."""
        return np.asarray(np.einsum("tii->ti", self.away))

    @property
    def in_sight(self) -> Array:
        """Whether at least half of each is in sight, (T, K)."""
        return np.asarray(self.visible >= IN_SIGHT)

    def within(self, px: float) -> Array:
        """Whether each is claimed so near its true place, (T, K)."""
        return np.asarray(self.claimed & (self.own <= px))


def compare(seen: Array, places: Places, order: Sequence[int]) -> Compared:
    """Compare sightings (T, M, 6) with the truth.

    Args:
        seen: What the tracker says of its M things, by `COLUMNS`.
        places: What is true of K things.
        order: Which of the M things each true one is, (K,); M and above where it is none of them.
    """
    frames, found = seen.shape[:2]
    nothing = np.zeros((frames, len(order), len(COLUMNS)))
    nothing[..., :2] = np.inf
    chosen = np.concatenate([seen, nothing], axis=1)[:, list(order)]
    claims = seen[..., _CONFIDENCE] > 0
    return Compared(
        away=np.linalg.norm(chosen[:, :, None, :2] - places.centres[:, None], axis=-1),
        claimed=chosen[..., _CONFIDENCE] > 0,
        visible=places.visible,
        others=claims[:, [m for m in range(found) if m not in order]].sum(axis=1),
    )


def assigned(seen: Sequence[Array], truth: Sequence[Places], alike: bool) -> list[tuple[int, ...]]:
    """Choose which tracked thing each true one is, for each episode; see the top of this module."""
    found, true = seen[0].shape[1], truth[0].visible.shape[1]
    orders = list(permutations(range(found + true), true))  # the last ones are none
    near = np.array(
        [[_nearness(compare(s, places, order)) for order in orders] for s, places in zip(seen, truth, strict=True)]
    )
    best = near.argmax(axis=1) if alike else np.full(len(near), near.sum(axis=0).argmax())
    return [orders[number] for number in best]


def _nearness(compared: Compared) -> int:
    return int((compared.within(max(NEAR_PX)) & compared.in_sight).sum())


def switches(compared: Compared, alike: bool = False) -> int:
    """Count how often two things trade places in an episode."""
    count = 0
    for i, j in combinations(range(compared.away.shape[1]), 2):
        pair = compared.away[:, [[i, i], [j, j]], [[i, j], [i, j]]]  # (T, 2, 2)
        own, other = pair[:, [0, 1], [0, 1]], pair[:, [0, 1], [1, 0]]
        both = compared.claimed[:, [i, j]].all(axis=1)
        traded = both & (other + SWITCH_PX < own).all(axis=1)
        sorted_ = both & (own + SWITCH_PX < other).all(axis=1)
        states = np.asarray(traded)[traded | sorted_].astype(int)
        before = states[:1] if alike else [0]
        count += int(np.abs(np.diff(np.r_[before, states])).sum())
    return count


def false_claims(compared: Compared, half_width: float) -> int:
    """Count claims in an episode of things that are elsewhere, hidden, or none."""
    wrong = (compared.own > half_width) | (compared.visible <= 0)
    return int((compared.claimed & wrong).sum() + compared.others.sum())


def score(episodes: Sequence[Compared], half_width: float, alike: bool = False) -> dict[str, Any]:
    """Put episodes together.

    Args:
        episodes: What was compared in each.
        half_width: Of a thing in the pictures [px].
        alike: Whether the things look alike.

    Returns:
        frames, in_sight, partly: How many frames, and things in them, stand behind the numbers.
        recall_2px, recall_3px: With `..._interval`, the 95 % interval of Wilson as if frames were independent.
        error_px_median, error_px_p90: None without any.
        partly_3px: None without any.
        switches_per_1000, false_claims_per_1000: Per 1,000 frames.
        half_width_px: As given.
        found_things: How many of the true things are recalled within 3 px anywhere.
    """
    together = {name: np.concatenate([getattr(e, name) for e in episodes]) for name in Compared.__annotations__}
    everything = Compared(**together)
    sight = everything.in_sight
    partly = (everything.visible > 0) & ~sight
    found = everything.within(max(NEAR_PX)) & sight
    frames, count = len(sight), int(sight.sum())
    told: dict[str, Any] = {"frames": frames, "in_sight": count, "partly": int(partly.sum())}
    for px in NEAR_PX:
        near = int((everything.within(px) & sight).sum())
        told[f"recall_{px:g}px"] = near / count if count else None
        told[f"recall_{px:g}px_interval"] = wilson_interval(near, count) if count else None
    error = everything.own[sight & everything.claimed]
    told["error_px_median"], told["error_px_p90"] = (
        (float(np.percentile(error, share)) for share in (50, 90)) if error.size else (None, None)
    )
    told["partly_3px"] = float(everything.within(max(NEAR_PX))[partly].mean()) if partly.any() else None
    told["switches_per_1000"] = 1000 * sum(switches(e, alike) for e in episodes) / frames
    told["false_claims_per_1000"] = 1000 * sum(false_claims(e, half_width) for e in episodes) / frames
    return told | {"half_width_px": half_width, "found_things": int(found.any(axis=0).sum())}
