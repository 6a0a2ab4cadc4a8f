"""Parts of an import: processes or machines that import one each have all recordings together, each once."""

from __future__ import annotations

import re
from typing import NamedTuple

from gwm_sim.errors import ConfigError


class Shard(NamedTuple):
    """One of `total` parts, by its number from 1."""

    number: int
    total: int

    def part_of(self, recordings: int) -> range:
        """Return which of so many recordings are in this part: neighbours, and in all parts nearly as many.

        Raises:
            ConfigError: There are more parts than recordings, and this one is empty.
        """
        part = range(recordings * (self.number - 1) // self.total, recordings * self.number // self.total)
        if not part:
            raise ConfigError(
                f"--shard {self.number}/{self.total} is empty: there are {recordings} recordings. Make fewer parts."
            )
        return part


WHOLE = Shard(1, 1)
"""All recordings."""


def parse_shard(text: str | None) -> Shard:
    """Return what `--shard` says, such as 2/3; without it everything is one part.

    Raises:
        ConfigError: It says no part.
    """
    if text is None:
        return WHOLE
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    shard = Shard(*map(int, match.groups())) if match else Shard(0, 0)
    if not 1 <= shard.number <= shard.total:
        raise ConfigError(
            f"--shard must be I/N, the I-th of N parts, such as 1/3, 2/3 and 3/3 for three parts, got {text!r}"
        )
    return shard
