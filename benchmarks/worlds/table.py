"""The table of worlds of one's own, from the results of `own_worlds.py`. Knows only their numbers."""

from collections.abc import Mapping
from typing import Any

TRACKING = (
    ("recall", "recall within 3 px [%]", "{:.1%}"),
    ("error_px_median", "error, median [px]", "{:.2f}"),
    ("seconds_per_1000_frames", "seconds per 1,000 frames", "{:.1f}"),
)
"""Key, label and form of what is shown of the tracking."""

MEASURES = (
    ("moved_error_px", "moved objects off, median [px]", "{:.1f}"),
    ("moved_error_widths", "[object widths]", "{:.2f}"),
    ("moved_error_cm", "[cm]", "{:.2f}"),
    ("kept", "kept [%]", "{:.1%}"),
    ("robot_overlap", "robot overlap [%]", "{:.1%}"),
    ("ssim", "SSIM", "{:.2f}"),
    ("fg_psnr", "foreground PSNR [dB]", "{:.1f}"),
)
"""The same of what a world draws at a horizon; keys of `gwm eval`, to which floors add an ending."""

FLOORS = {"_floor": "last frame copied", "_scene_floor": "empty scene, robot looked up"}
"""What asks nothing of a model, by the ending of its keys."""

PATHS = {"auto": "state dynamics", "video": "video dynamics"}
"""Kinds of models, by the key of their results."""

NEAR, FAR = (10, 5, 1), (40, 25)
"""Steps ahead; of both the first that has a number is shown."""


def own_worlds_text(results: Mapping[str, dict[str, Any]]) -> str:
    """Tables of tracking, and of models beside floors; `results` by the names of the worlds."""
    tracking = table(
        ["world", "training frames", "things found", *(label for _, label, _ in TRACKING)],
        [tracking_row(result) for result in results.values()],
    )
    trained = [result for result in results.values() if any(path in result for path in PATHS)]
    if not trained:
        return tracking
    models = table(
        ["world", "steps", "drawn by", *(label for _, label, _ in MEASURES), "error with other actions"],
        [row for result in trained for row in model_rows(result)],
    )
    return "\n\n".join([tracking, models, lacking(results)])


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def cell(numbers: Mapping[str, Any], key: str, form: str) -> str:
    """Return a number in its form, empty where it is not known."""
    value = numbers.get(key)
    return "" if value is None else form.format(value).rstrip("%")


def tracking_row(result: dict[str, Any]) -> list[str]:
    """What was found in a world."""
    told = result["tracking"]
    found = "none" if "refused" in told else str(told["found"])
    if "true_things" in told:
        found = f"{told['found_things']} of {told['true_things']}"
        found += f", {extra} more" if (extra := told["found"] - told["found_things"]) > 0 else ""
    frames = f"{result['data']['train']['frames']:,}"
    return [result["title"], frames, found, *(cell(told, key, form) for key, _, form in TRACKING)]


def model_rows(result: dict[str, Any]) -> list[list[str]]:
    """What each kind of model draws of a world, and what floors do, which are alike for all kinds."""
    rows: list[list[str]] = []
    reports = {label: result[path]["evaluation"] for path, label in PATHS.items() if path in result}
    reports = {label: report for label, report in reports.items() if report["horizons"]}  # `lacking` has the words
    for choices in (NEAR, FAR):
        first = True
        for label, report in reports.items():
            known = [h for h in choices if report["horizons"].get(str(h), {}).get("psnr") is not None]
            if not known:
                continue
            numbers = report["horizons"][str(known[0])]
            for end, name in ({"": label} | (FLOORS if first else {})).items():
                cells = [cell(numbers, f"{key}{end}", form) for key, _, form in MEASURES]
                pictures = report["controllability"].get("pictures") or {} if not end and choices is NEAR else {}
                told = cell(pictures, "shuffled", "{:.1f} times")
                rows.append([result["title"], str(known[0]), name, *cells, told])
            first = False
    return rows


def lacking(results: Mapping[str, dict[str, Any]]) -> str:
    """What could not be tracked or measured, in the words of the commands, and how long models were trained."""
    refused = [
        f"{result['title']}: {told}" for result in results.values() if (told := result["tracking"].get("refused"))
    ]
    trained = [
        result[path] | {"title": result["title"]} for result in results.values() for path in PATHS if path in result
    ]
    unmeasured = [
        f"{told['title']}: trained, and {' '.join(told['words'])}"
        for told in trained
        if not told["evaluation"]["horizons"]
    ]
    minutes = sorted({told["minutes"] for told in trained})
    made = f"Trained for {' or '.join(f'{m:g}' for m in minutes)} minutes of one core each. `benchmarks/own_worlds.py`."
    return "\n".join(f"- {line}" for line in [*refused, *unmeasured, made])
