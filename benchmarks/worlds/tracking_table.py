"""The tables of tracking, from the results of `tracking.py` and the count of a person. Knows only their numbers."""

from collections.abc import Mapping
from typing import Any

from gwm_sim.envs.blocks.spec import OBJECT_NAMES
from worlds.blocks import LOOKS
from worlds.metres import SITUATIONS
from worlds.table import cell, table

PIXELS = (
    ("recall_2px", "recall within 2 px [%]", "{:.1%}"),
    ("recall_2px_interval", "95 % interval", "{0[0]:.1%} to {0[1]:.1%}"),
    ("recall_3px", "within 3 px [%]", "{:.1%}"),
    ("in_sight", "n", "{:,}"),
    ("error_px_median", "error, median [px]", "{:.2f}"),
    ("error_px_p90", "90th percentile", "{:.2f}"),
    ("partly_3px", "partly seen, within 3 px [%]", "{:.1%}"),
    ("partly", "n", "{:,}"),
    ("switches_per_1000", "switches per 1,000 frames", "{:.1f}"),
    ("false_claims_per_1000", "false claims per 1,000 frames", "{:.1f}"),
)
"""Key, label and form of what is shown of places in the pictures."""

METRES = {
    "settled": "on the table and in the hand",
    "table": "on the table",
    "hand": "in the hand",
    "stacked": "stacked",
    "elsewhere": "off the table, not held, not stacked",
    "partly": "less than half in sight",
}
"""What is shown of places in metres, by the keys of `metres.score`."""

assert set(SITUATIONS) < set(METRES)


def tracking_text(report: Mapping[str, Any], count: Mapping[str, Any] | None) -> str:
    """Tables of what was found, and where; `count` is what a person saw on the sheet."""
    rows = {name: report[name] for name in LOOKS if name in report}
    found = table(
        ["recording", "things found", *(label for _, label, _ in PIXELS)],
        [pixels_row(row) for row in rows.values()],
    )
    placed = [cells for row in rows.values() for cells in metres_rows(row)]
    places = table(["recording", "things", "n", "error, median [cm]", "90th percentile", "wrong by 2 cm [%]"], placed)
    return "\n\n".join(
        [
            found,
            *refusals(rows),
            *([places] if placed else []),
            *seconds(report),
            *by_eye_lines(report, count),
            closing(rows),
        ]
    )


def pixels_row(row: Mapping[str, Any]) -> list[str]:
    """What was found of a recording, in the pictures."""
    pixels, found = row.get("pixels", {}), "none"
    if pixels:
        found = f"{pixels['found_things']} of {len(OBJECT_NAMES)}"
        found += f", {more} more" if (more := row["tracking"]["found"] - pixels["found_things"]) else ""
    return [row["title"], found, *(cell(pixels, key, form).replace("%", "") for key, _, form in PIXELS)]


def refusals(rows: Mapping[str, Any]) -> list[str]:
    """Why nothing was tracked, in the words of the command."""
    told = [f"- {row['title']}: {row['tracking']['refused']}" for row in rows.values() if "refused" in row["tracking"]]
    return ["\n".join(told)] if told else []


def metres_rows(row: Mapping[str, Any]) -> list[list[str]]:
    """How far places of the tests are off, by situation."""
    told = row.get("metres", {}).get("tests", {})
    if "refused" in told:
        return [[row["title"], told["refused"], "", "", "", ""]]
    forms = {"n": "{:,}", "median_cm": "{:.2f}", "p90_cm": "{:.2f}", "wrong": "{:.1%}"}
    return [
        [row["title"], label, *(cell(told[name], key, form) for key, form in forms.items())]
        for name, label in METRES.items()
        if name in told
    ]


def seconds(report: Mapping[str, Any]) -> list[str]:
    """How long the command takes on one core."""
    timed = [(report[name], name) for name in ("plain", "long") if name in report]
    timed = [(part.get("tracking", part), name) for part, name in timed]
    said = [
        f"{told['seconds_per_1000_frames']:.1f} s per 1,000 frames of {told['frames']:,} "
        f"({told['seconds_per_1000_frames_whole']:.1f} s with the start, places and writing)"
        for told, _ in timed
        if "refused" not in told
    ]
    return [f"To find and to follow on one core, 64 px: {'; '.join(said)}."] if said else []


def by_eye_lines(report: Mapping[str, Any], count: Mapping[str, Any] | None) -> list[str]:
    """What a person counted, or that nobody has looked yet."""
    if "sheet" not in report:
        return []
    sheet = report["sheet"]
    where = (
        f"{len(sheet['moments'])} frames of the test episodes of {sheet['title']}, drawn by seed {sheet['seed']} "
        "([sheet](results/humanoid_by_eye.png))"
    )
    if count is None:
        return [f"{where}: nobody has counted yet."]
    wrong = "; ".join(f"{number} {why}" for number, why in count["wrong"].items())
    return [
        f"{where}: **{count['right']} of {count['frames']}** right by eye ({count['by']}, {count['on']})"
        f"{f'; wrong: {wrong}' if wrong else ''}."
    ]


def closing(rows: Mapping[str, Any]) -> str:
    """How it was measured."""
    row = next(iter(rows.values()), None)
    if row is None:
        return "`benchmarks/tracking.py`."
    parts = " and ".join(
        f"{told['episodes']} {label} from seed {told['seed']}"
        for told, label in ((row["training"], "training episodes"), (row["tests"], "test episodes"))
    )
    return (
        f"{parts}, 100 steps each; things are found in the former, nothing told, and followed in the latter. Counted "
        "as `benchmarks/worlds/scoring.py` and `metres.py` define; intervals are as if frames were independent, which "
        "those of one episode are not. `benchmarks/tracking.py`."
    )
