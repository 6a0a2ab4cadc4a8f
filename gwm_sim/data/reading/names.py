"""Names of the columns of a vector, in the many shapes in which people write them down."""

from typing import Any, NamedTuple


class _Name(NamedTuple):
    """A name after the groups that it lies in, and the column that it is given to, where it says so."""

    trail: tuple[str, ...]
    column: int | None


def flat_names(names: Any, width: int) -> list[str] | None:
    """Return one name per column; None where the names are others than `width` different ones.

    Names are a list, a list of lists, an object that groups lists (`{"motors": [...]}`, `{"left": [...], "right":
    [...]}`), or one that numbers them (`{"x": 0, "y": 1}`). Groups become part of the names where those are the same.
    """
    found = _names(names, ())
    if sorted(name.column for name in found if name.column is not None) == list(range(width)):
        found.sort(key=lambda name: name.column or 0)
    plain, full = [name.trail[-1] for name in found], ["_".join(name.trail) for name in found]
    keys = [str(key) for key in names] if isinstance(names, dict) else []  # {"shoulder": [1, "sts3215"]}
    fitting = (row for row in (plain, full, keys) if len(row) == len(set(row)) == width and all(row))
    return next(fitting, None)


def _names(part: Any, groups: tuple[str, ...]) -> list[_Name]:
    """List the names in a part of a description, in the order of the columns."""
    if isinstance(part, list):
        return [name for item in part for name in _names(item, groups)]
    if not isinstance(part, dict):
        return [] if part is None else [_Name((*groups, str(part)), None)]
    columns = [column for column in part.values() if isinstance(column, int)]
    if len(columns) < len(part):
        return [name for key, item in part.items() for name in _names(item, (*groups, str(key)))]
    if sorted(columns) != list(range(min(columns, default=0), min(columns, default=0) + len(columns))):
        return []
    return [_Name((*groups, str(key)), part[key]) for key in sorted(part, key=part.__getitem__)]
