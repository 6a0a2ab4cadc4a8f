"""robomimic's masks: filter keys, each with the names of the demos that belong to it, such as `train` and `valid`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gwm_sim.data.episode import VALIDATION_MASKS
from gwm_sim.data.importers.source import listed
from gwm_sim.errors import ConfigError

Demo = tuple[Path, str]
"""File and name of a demo."""


def members_of(
    masks: Mapping[Path, Mapping[str, Sequence[str]]], demos: Sequence[Demo], wanted: str | None
) -> tuple[dict[Demo, tuple[str, ...]], list[str]]:
    """Find the keys of every demo.

    Args:
        masks: Of each file the names under every key.
        demos: All that there are.
        wanted: Key that is asked for, None for all demos.

    Returns:
        The keys of every demo, and what the user has to know, in words.

    Raises:
        ConfigError: The key that is asked for does not exist, or holds no demo.
    """
    members: dict[Demo, tuple[str, ...]] = dict.fromkeys(demos, ())
    counts: dict[str, int] = {}
    remarks = []
    for file, keys in masks.items():
        for key, names in keys.items():
            there = [(file, name) for name in dict.fromkeys(names) if (file, name) in members]
            counts[key] = counts.get(key, 0) + len(there)
            members |= {demo: (*members[demo], key) for demo in there}
            if lost := [name for name in names if (file, name) not in members]:
                remarks.append(f"mask {key} of {file.name} names demos that do not exist: {listed(lost)}")
    known = listed(f"{key} ({_demos(count)})" for key, count in counts.items())
    if wanted is None:
        if counts:
            split = listed(key for key in VALIDATION_MASKS if counts.get(key))
            spared = f" gwm train takes those of {split} for validation alone." if split else ""
            remarks.append(
                f"there are masks, {known}, and all {_demos(len(demos))} are taken: --mask takes those of one.{spared}"
            )
        return members, remarks
    if not counts.get(wanted):
        what = "holds no demo" if wanted in counts else "does not exist"
        raise ConfigError(f"--mask {wanted}: this mask {what}; there are {known or 'no masks'}.")
    if without := [file.name for file, keys in masks.items() if wanted not in keys]:
        remarks.append(f"{listed(without)} has no mask {wanted}: nothing is taken of it")
    return members, remarks


def _demos(count: int) -> str:
    return f"{count} demo" if count == 1 else f"{count} demos"
