"""Hands with habits: the same movements pressed on, done gently, unsteady, or with lapses.

A policy that is still learning does all of this; a model that has only seen steady hands believes whatever it likes of
the others.
"""

import numpy as np

from gwm_sim.policies.tabletop.motions import KEEP, Script

Rng = np.random.Generator


def habitual(script: Script, rng: Rng) -> Script:
    """The same movements by a hand with habits: it goes on closing or opening, does so gently, trembles, has lapses."""
    presses = rng.random() < 0.5
    gain = 1.0 if rng.random() < 0.6 else rng.uniform(0.15, 0.8)
    tremor = 0.0 if rng.random() < 0.4 else rng.uniform(0.05, 0.5)
    lapse = 0.0 if rng.random() < 0.7 else rng.uniform(0.03, 0.2)
    yield from clumsy(script, rng, presses, gain, tremor, lapse)


def clumsy(script: Script, rng: Rng, presses: bool, gain: float, tremor: float, lapse: float) -> Script:
    """The same movements by another hand.

    Args:
        script: Actions (4,).
        rng: What the hand draws from.
        presses: Whether it goes on closing or opening where it would hold still.
        gain: Factor on the rate of the gripper.
        tremor: Standard deviation of the noise on its movements, in units of the fastest one.
        lapse: Share of the actions in whose place it does anything at all.
    """
    rate = KEEP
    for action in script:
        if rng.random() < lapse:
            yield rng.uniform(-1.0, 1.0, 4)
            continue
        if not presses or action[3] != KEEP:
            rate = action[3]
        yield np.append(action[:3] + tremor * rng.normal(size=3), gain * rate)
