"""A word for a colour, as people would say it."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

_HUES = (
    *((15, "red"), (40, "orange"), (70, "yellow"), (165, "green"), (200, "cyan"), (260, "blue"), (310, "purple")),
    *((345, "pink"), (361, "red")),
)
"""Up to which angle a hue has which name [deg]."""


def color_name(color: Sequence[float]) -> str:
    """Return the name of a colour, red, green and blue from 0 to 255."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in color))
    if value < 0.15:
        return "black"
    if saturation < 0.18:
        return "white" if value > 0.8 else "grey"
    name = next(name for until, name in _HUES if 360 * hue < until)
    return "brown" if name in ("orange", "red") and value < 0.6 and saturation < 0.8 else name
