"""What makes results comparable: a few numbers, and what counts as success. Everybody takes them from here."""

FIRST_EVALUATION_SEED = 300_000
"""Episodes with seeds from here on are for evaluation only; training refuses them."""

CONTEXT = 4
"""Real frames that a learned world is given before it goes on alone."""

SUSTAINED_STEPS = 5
"""A success is sustained, and counts, when it is true at this many consecutive steps."""


class SustainedSuccess:
    """Follows the success of an episode, step by step."""

    def __init__(self) -> None:
        """Begin an episode."""
        self._steps = self._run = 0
        self.reached_at: int | None = None
        """Steps until success was first sustained; None if it never was."""

    def add(self, success: bool) -> None:
        """Take in whether the task is fulfilled after one more step."""
        self._steps += 1
        self._run = self._run + 1 if success else 0
        if self._run >= SUSTAINED_STEPS and self.reached_at is None:
            self.reached_at = self._steps

    def __bool__(self) -> bool:
        """Return whether success was sustained."""
        return self.reached_at is not None
