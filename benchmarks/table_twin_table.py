"""What `table_twin.py` measured. Knows only its numbers."""

from typing import Any

from sections import experts_table

MECHANICS = {
    "bounciness": ("share of its speed that a thing keeps in a bounce", 1, ""),
    "friction": ("slide", 1000, " mm"),
    "gravity": ("time of a fall", 1000, " ms"),
}


def table_twin_text(report: dict[str, Any]) -> str:
    """The twin of the table world: who succeeds there, whether it obeys mechanics, and how fast it is."""
    told = []
    for name, (what, scale, unit) in MECHANICS.items():
        levels = {level: row for level, row in report["mechanics"].items() if level.startswith(name)}
        off = {level.split(",")[0]: scale * abs(row["mean"] - row["expected"]) for level, row in levels.items()}
        *_, second, first = sorted(off, key=lambda level: off[level])
        told.append(f"{what} at most {off[first]:.3g}{unit} (at {first}; at all others {off[second]:.3g}{unit})")
    speeds: dict[str, list[str]] = {}
    for case, row in report["speed"].items():
        speeds.setdefault(case.partition(", ")[2], []).append(f"{row['steps_per_second']:.0f}")
    fast = "; ".join(f"{looks} {' / '.join(numbers)}" for looks, numbers in speeds.items())
    machine = report["machine"]
    return (
        f"{experts_table({'results': report['success']})}\n\n"
        f"Means over objects of all kinds and sizes, off what mechanics says: {'; '.join(told)}. Steps a second of one "
        f"environment with 1 / 3 / 6 objects, in one run: {fast}; {machine['cores']} cores of {machine['cpu']}. "
        f"`benchmarks/table_twin.py`, seeds from {report['seed']}."
    )
