"""A picture for a person: every thing that was found, where it was seen, how surely, and what was taken for none.

One row per thing. Its pictures follow one rule: episodes spread over the file, each at a later moment of its course, so
that the row runs from a first frame to a last one; then frames of other episodes in which it is least sure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Literal, NamedTuple

import numpy as np

from gwm_sim.arrays import Array
from gwm_sim.data.episode_file import EpisodeFile
from gwm_sim.data.tracking.sightings import COLUMNS
from gwm_sim.data.tracking.tracked_file import Tracking
from gwm_sim.data.tracking.tracker import Thing, Tracker
from gwm_sim.errors import ConfigError
from gwm_sim.media.color_names import color_name
from gwm_sim.media.video import enlarge, text, write_png

Color = tuple[int, int, int]

Stroke = Literal["solid", "dashed", "dotted"]
_PERIOD: dict[Stroke, int] = {"solid": 0, "dashed": 6, "dotted": 2}

_MOMENTS, _UNSURE = 8, 2
"""Pictures of a thing that follow the rule, and those in which it is least sure."""

_WIDTH = 192
"""Width that pictures are enlarged to at least [px of the sheet]."""

_REASONS, _SWATCHES = 8, 6
"""Lines about what was left out, and colours in each."""

_DOUBT = 0.5
"""Share in sight, or confidence, below which a box is dashed."""

_PAPER, _INK, _PALE = 255, 40, 150
_PANEL, _GAP, _LINE, _SWATCH, _TICK = 184, 6, 16, 40, 6
"""Sizes in the sheet [px]."""

_PER_TICK, _PER_LONG_TICK = 10, 50
"""Pixels of the stored pictures between ticks of the rulers."""

_LETTER = 8  # width in the sheet

_VISIBLE, _CONFIDENCE = COLUMNS.index("visible"), COLUMNS.index("confidence")

_LEGEND: tuple[tuple[Stroke, str], ...] = (
    ("solid", "seen"),
    ("dashed", f"less than half of it in sight or confidence under {_DOUBT}"),
    ("dotted", "not seen: a guess"),
)
_RULE = f"{_MOMENTS} episodes spread over the file - from the first frame of the first to the last frame of the last"
_RULERS = f"above each picture episode:frame. ticks every {_PER_TICK} px - long ones every {_PER_LONG_TICK} px"


class Moment(NamedTuple):
    """A frame of a file."""

    episode: int
    frame: int


def by_reason(tracker: Tracker) -> dict[str, list[Color]]:
    """Return the colours of all that was taken for no thing, by the reason."""
    reasons: dict[str, list[Color]] = {}
    for told in tracker.rejected:
        reasons.setdefault(told.reason, []).append(told.color)
    return reasons


def left_out(reasons: Mapping[str, Sequence[Color]], most: int) -> list[str]:
    """Say in at most so many lines what was taken for no thing."""
    lines = [
        f"left out: something {' or '.join(dict.fromkeys(map(color_name, colors)))}: {reason}"
        for reason, colors in reasons.items()
    ]
    return (
        lines
        if len(lines) <= most
        else [*lines[: most - 1], f"left out for other reasons: {len(lines) - most + 1} more"]
    )


def numbers(tracking: Tracking) -> list[int]:
    """Return the number of each thing as `--drop` takes it: things that were dropped keep theirs."""
    dropped = tracking.options.get("drop", [])
    count = len(tracking.tracker.things) + len(dropped)
    return [number for number in range(count) if number not in dropped]


def write_tracks(path: Path, picture: Path) -> None:
    """Draw the things of a tracked file, and where they are in some of its frames.

    Args:
        path: Tracked file.
        picture: PNG file to write.

    Raises:
        ConfigError: The file was not tracked.
    """
    tracking = Tracking.of(path)
    if tracking is None:
        raise ConfigError(f"{path} was not tracked.")
    tracker = tracking.tracker
    with EpisodeFile(path) as file:
        seen = [file.read(k, cameras=(), depth=False).sightings[tracker.camera] for k in range(len(file))]
        rows = []
        for i, (number, thing) in enumerate(zip(numbers(tracking), tracker.things, strict=True)):
            moments = [*_spread_moments(file), *_unsure_moments([told[:, i, _CONFIDENCE] for told in seen])]
            tiles = [_tile(file, tracker.camera, moment, seen, tracker.things, i) for moment in moments]
            rows.append(_beside([_panel(number, thing, [told[:, i] for told in seen]), *tiles]))
    write_png(picture, _below([*rows, *_left_out(by_reason(tracker)), _legend()]))


def write_moments(file: EpisodeFile, camera: str, picture: Path) -> None:
    """Draw what a camera sees at the same moments, with rulers, for who has to say where things are."""
    tiles = [_tile(file, camera, moment) for moment in _spread_moments(file)]
    half = -(-len(tiles) // 2)
    write_png(picture, _below([_beside(tiles[:half]), _beside(tiles[half:]), _written(f"{_RULE}. {_RULERS}", half)]))


def _spread_moments(file: EpisodeFile) -> list[Moment]:
    shares = [j / (_MOMENTS - 1) for j in range(_MOMENTS)]
    episodes = [round(share * (len(file) - 1)) for share in shares]
    return [Moment(k, round(share * file.lengths[k])) for share, k in zip(shares, episodes, strict=True)]


def _unsure_moments(confidence: Sequence[Array]) -> list[Moment]:
    """Return the frames in which a thing is claimed least surely, one per episode; (N+1,) each."""
    claimed = [np.where(told > 0, told, np.inf) for told in confidence]
    order = sorted(range(len(claimed)), key=lambda k: float(claimed[k].min()))
    return [Moment(k, int(claimed[k].argmin())) for k in order[:_UNSURE] if np.isfinite(claimed[k].min())]


def _tile(
    file: EpisodeFile,
    camera: str,
    moment: Moment,
    seen: Sequence[Array] = (),
    things: Sequence[Thing] = (),
    own: int = 0,
) -> Array:
    """Draw a frame with the things in it, one of them boldly, between rulers and below its number."""
    episode, frame = moment
    picture = file.read(episode, frame, frame + 1, cameras=(camera,), depth=False).frames[camera][0]
    scale = max(1, -(-_WIDTH // picture.shape[1]))
    large = enlarge(picture, scale)
    for i in sorted(range(len(things)), key=lambda i: i == own):
        _draw_box(large, seen[episode][frame, i], things[i].color, scale, bold=i == own)
    return _below([_beside([text(f"{episode}:{frame}")]), _with_rulers(large, scale)], gap=2)


def _draw_box(picture: Array, told: Array, color: Sequence[int], scale: int, bold: bool) -> None:
    """Draw the box of one thing, as `COLUMNS` has it, into an enlarged picture."""
    middle, half = (told[:2] + 0.5) * scale, np.maximum(told[2:4] * scale / 2, scale)
    if bold:  # a dark line around a light one is seen on anything
        _draw_line(picture, middle, half + 3, (0, 0, 0), 1, _stroke(told))
        _draw_line(picture, middle, half + 2, _light(color), 2, _stroke(told))
    else:
        _draw_line(picture, middle, half + 1, color, 1, _stroke(told))


def _stroke(told: Array) -> Stroke:
    if told[_CONFIDENCE] <= 0:
        return "dotted"
    return "dashed" if min(told[_CONFIDENCE], told[_VISIBLE]) < _DOUBT else "solid"


def _light(color: Sequence[int]) -> Array:
    """Return a colour as bright as its hue allows: boxes of dark things are seen on dark ground."""
    levels = np.array(color, dtype=np.float64)
    return (levels * (255 / max(levels.max(), 1.0))).round()


def _draw_line(
    picture: Array, middle: Array, half: Array, color: Sequence[int] | Array, width: int, stroke: Stroke
) -> None:
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    across, down = np.abs(columns - middle[0]), np.abs(rows - middle[1])
    within = (across <= half[0]) & (down <= half[1])
    line = within & ~((across <= half[0] - width) & (down <= half[1] - width))
    if period := _PERIOD[stroke]:
        line &= (rows + columns) // period % 2 == 0
    picture[line] = np.asarray(color, dtype=np.uint8)


def _with_rulers(picture: Array, scale: int) -> Array:
    """Put ticks above and at the left of an enlarged picture."""
    height, width = picture.shape[:2]
    framed = np.full((height + _TICK, width + _TICK, 3), _PAPER, np.uint8)
    framed[_TICK:, _TICK:] = picture
    for at in range(0, max(height, width) // scale, _PER_TICK):
        start = 0 if at % _PER_LONG_TICK == 0 else _TICK // 2
        place = _TICK + at * scale + scale // 2
        if at * scale < width:
            framed[start:_TICK, place] = _INK
        if at * scale < height:
            framed[place, start:_TICK] = _INK
    return framed


def _panel(number: int, thing: Thing, seen: Sequence[Array]) -> Array:
    """Draw what is known of a thing, from what was seen of it in each episode, (N+1, 6)."""
    found = [told[:, _CONFIDENCE] > 0 for told in seen]
    lines = [
        f"{number} {thing.name}",
        f"{thing.width:.0f} x {thing.height:.0f} px",
        f"confidence {thing.confidence:.2f}",
        f"{sum(told.any() for told in found)}/{len(found)} episodes",
        f"{np.concatenate(found).mean():.1%} of frames",
    ]
    written = _below([text(line)[:, : _PANEL - _GAP] for line in lines], gap=_LINE - 10)
    panel = np.full((_SWATCH + _GAP + len(written), _PANEL, 3), _PAPER, np.uint8)
    panel[:_SWATCH, :_SWATCH] = _swatch(thing.color)
    panel[_SWATCH + _GAP :, : written.shape[1]] = written
    return panel


def _swatch(color: Sequence[int], size: int = _SWATCH) -> Array:
    swatch = np.full((size, size, 3), _PALE, np.uint8)
    swatch[1:-1, 1:-1] = color
    return swatch


def _left_out(reasons: Mapping[str, Sequence[Color]]) -> list[Array]:
    """Draw a line for each reason, with the colours of what was left out for it."""
    lines = []
    for said, colors in zip(left_out(reasons, _REASONS), reasons.values(), strict=False):
        swatches = [_swatch(color, 2 * _LINE) for color in colors[:_SWATCHES]]
        lines.append(_beside([*swatches, _written(said, _MOMENTS)]))
    return lines


def _legend() -> Array:
    samples = []
    for stroke, said in _LEGEND:
        sample = np.full((2 * _LINE, 3 * _LINE, 3), _PAPER, np.uint8)
        middle = np.array([1.5 * _LINE, _LINE])
        _draw_line(sample, middle, np.array([1.2 * _LINE, 0.8 * _LINE]), (_INK,) * 3, 2, stroke)
        samples.append(_beside([sample, _padded(text(said), 2 * _LINE)]))
    said = f"in each row {_RULE} - then {_UNSURE} in which it is least sure. {_RULERS}"
    return _below([_beside(samples), _written(said, _MOMENTS)])


def _written(said: str, tiles: int) -> Array:
    """Write a text in lines as wide as some pictures."""
    lines = wrap(said, tiles * _WIDTH // _LETTER)
    return _beside([_below([text(line) for line in lines], gap=_LINE - 10)])


def _padded(picture: Array, height: int) -> Array:
    """Put a picture in the middle of a higher strip."""
    above = (height - picture.shape[0]) // 2
    return np.pad(picture, ((above, height - picture.shape[0] - above), (0, 0), (0, 0)), constant_values=_PAPER)


def _beside(pictures: Sequence[Array], gap: int = _GAP) -> Array:
    height = max(picture.shape[0] for picture in pictures)
    return np.concatenate(
        [np.pad(p, ((0, height - p.shape[0]), (gap, 0), (0, 0)), constant_values=_PAPER) for p in pictures],
        axis=1,
    )


def _below(pictures: Sequence[Array], gap: int = _GAP) -> Array:
    width = max(picture.shape[1] for picture in pictures)
    return np.concatenate(
        [np.pad(p, ((gap, 0), (0, width - p.shape[1]), (0, 0)), constant_values=_PAPER) for p in pictures], axis=0
    )
