"""What size pictures get: what `--size` means for those of a source, and what becomes of others, in words."""

from __future__ import annotations

import re

from gwm_sim.data.images import SEEN, in_proportion, part_of, whole
from gwm_sim.errors import ConfigError, check_at_least_one

USUAL = 64
"""Height and width of pictures where no size is given [px]; they are squeezed to it, as they always were."""

LARGEST = 1024
"""Most pixels per side of a picture of an episode file."""

_ALIKE = 1e-3
"""By how much proportions may differ that count as the same."""

Size = tuple[int, int]
"""Height and width [px]."""


def parse_size(size: int | str | None) -> int | Size | None:
    """Return what `--size` says: the smaller side, or height and width [px], or nothing.

    Raises:
        ConfigError: It says neither.
    """
    if size is None:
        return None
    if not (match := re.fullmatch(r"(-?\d+)(?:x(\d+))?", str(size))):
        raise ConfigError(f"--size must be the smaller side, such as 64, or HEIGHTxWIDTH, such as 64x96, got {size!r}")
    sides = [int(side) for side in match.groups() if side is not None]
    for side in sides:
        check_at_least_one(size=side)
        if side > LARGEST:
            raise ConfigError(f"--size must be at most {LARGEST}, got {side}")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def size_of(side: int, shape: Size) -> Size:
    """Return the size (H, W) that pictures get whose smaller side was asked for, by the shape of the main camera's.

    Raises:
        ConfigError: The larger side would be too large.
    """
    size = in_proportion(shape, side)
    if max(size) > LARGEST:
        raise ConfigError(
            f"--size {side} makes {written(size)} of pictures of {written(shape)}, and {LARGEST} is the most: give a "
            "smaller one, or HEIGHTxWIDTH"
        )
    return size


def what_became(camera: str, shape: Size, size: Size, asked: int | Size | None) -> str | None:
    """Say what became of pictures of some shape (H, W) that got another size; None where nothing was lost."""
    part = whole(shape) if asked is None else part_of(shape, size)
    changed = f"camera {camera}: pictures of {written(shape)} became {written(size)}"
    above, beside = (shape[0] - part.height) / 2, (shape[1] - part.width) / 2
    if above or beside:
        where = f"{above:.2g} px above and below" if above else f"{beside:.2g} px at the left and the right"
        return f"{changed}, not squeezed: {where} were cut off."
    off = part.stretch(size) - 1
    if abs(off) < _ALIKE:
        return None
    squeezed = f"{changed}, in which things are {100 * abs(off):.2g}% too {'wide' if off > 0 else 'narrow'}"
    if abs(off) < SEEN:
        return f"{squeezed}."
    side = min(size)
    alone = f" --camera {camera}" if isinstance(asked, int) else ""
    return f"{squeezed}: --size {side}{alone} keeps their proportions, {written(in_proportion(shape, side))}."


def written(size: Size) -> str:
    """Return a size as `--size` takes it."""
    return f"{size[0]}x{size[1]}"
