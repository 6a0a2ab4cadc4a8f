"""What `table_twin.py` measured. Knows only its numbers."""

from typing import Any

from sections import experts_table

MECHANICS = {
    "bounciness": ("share of its speed that a thing keeps in a bounce", 1, 3),
    "friction": ("slide [cm]", 100, 2),
    "gravity": ("time of a fall [s]", 1, 3),
}
"""By property, what it decides, in which unit and with how many digits that is told."""


def table_twin_text(report: dict[str, Any]) -> str:
    """The twin of the table world: who succeeds there, whether it obeys mechanics, and how fast it is."""
    speeds: dict[str, list[str]] = {}
    for case, row in report["speed"].items():
        speeds.setdefault(case.partition(", ")[2], []).append(f"{row['steps_per_second']:.0f}")
    fast = "; ".join(f"{looks} {' / '.join(numbers)}" for looks, numbers in speeds.items())
    notes = (
        "Things of every kind, small heavy ones, large light ones and one between, dropped from 0.3 to 0.6 m, and "
        "cubes and cylinders that begin to slide with 0.5 m/s. What keeps a tenth of its speed rises by 3 to 6 mm, as "
        "much as it sinks in within a time step of 2 ms: below 0.2 a bounce is too small, or none. Steps per second of "
        f"computing time of one environment with 1 / 3 / 6 objects, all threads together: {fast}; "
        f"{report['machine']['cpu']}, no graphics card. `benchmarks/table_twin.py`, seeds from {report['seed']}."
    )
    mechanics = (_mechanics(name, report[name]) for name in MECHANICS)
    return "\n\n".join([experts_table({"results": report["success"]}), *mechanics, notes])


def _mechanics(name: str, levels: dict[str, dict[str, Any]]) -> str:
    what, scale, digits = MECHANICS[name]
    rows = {f"{name}: {what}": list(levels), "---": ["---"] * len(levels)}
    for title, key in (("mechanics", "expected"), ("mean in the twin", "mean")):
        rows[title] = [f"{scale * row[key]:.{digits}f}" for row in levels.values()]
    least, most = ([f"{scale * row[key]:.{digits}f}" for row in levels.values()] for key in ("lowest", "highest"))
    rows["all"] = [f"{low} to {high}" for low, high in zip(least, most, strict=True)]
    return "\n".join(f"| {title} | {' | '.join(cells)} |" for title, cells in rows.items())
