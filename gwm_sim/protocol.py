"""The few numbers that make results comparable: everybody takes them from here."""

FIRST_EVALUATION_SEED = 300_000
"""Episodes with seeds from here on are for evaluation only; training refuses them."""

CONTEXT = 4
"""Real frames that a learned world is given before it goes on alone."""

HELD_STEPS = 5
"""A success is held, and counts, when it is true at this many consecutive steps."""
