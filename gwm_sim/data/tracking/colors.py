"""Words for colours."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

_HUES = (
    (15, "red"),
    (42, "orange"),
    (70, "yellow"),
    (165, "green"),
    (200, "cyan"),
    (260, "blue"),
    (295, "purple"),
    (335, "pink"),
    (360, "red"),
)
"""Where each word's hues end [degrees]."""

_DARK, _BRIGHT, _GREY, _BROWN = 0.2, 0.85, 0.18, 0.65
"""Brightness of black and of white, saturation below which there is no hue, brightness below which orange is brown."""

_ISH = {
    "red": "reddish",
    "blue": "bluish",
    "white": "whitish",
    "black": "blackish",
    "grey": "greyish",
    "purple": "purplish",
    "orange": "orange",
    "cyan": "cyan",
}


def color_word(color: Sequence[int]) -> str:
    """Return what people call a colour, given as red, green and blue in [0, 255]."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in color))
    if value < _DARK:
        return "black"
    if saturation < _GREY:
        return "white" if value > _BRIGHT else "grey"
    word = next(word for end, word in _HUES if hue * 360 <= end)
    return "brown" if word == "orange" and value < _BROWN else word


def region_of(color: Sequence[int]) -> str:
    """Return what people call a place of about that colour, such as `a reddish region`."""
    word = color_word(color)
    return f"{'an' if word == 'orange' else 'a'} {_ISH.get(word, f'{word}ish')} region"
