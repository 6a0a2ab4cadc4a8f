"""Masks: filter keys such as `train` and `valid`, and the episodes that belong to each; splits are masks, too."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gwm_sim.data.episode import VALIDATION_MASKS
from gwm_sim.data.reading.checks import counted, listed
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
        ConfigError: No demo has the key that is asked for.
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
    known = {key: f"{key} ({counted(count, 'demo')})" for key, count in counts.items() if count}
    if wanted is None:
        return members, remarks + [all_taken(known, counted(len(demos), "demo"))] * bool(known)
    check_wanted(wanted, known)
    if without := [file.name for file, keys in masks.items() if wanted not in keys]:
        remarks.append(f"{listed(without)} has no mask {wanted}: nothing is taken of it")
    return members, remarks


def all_taken(masks: Mapping[str, str], every: str) -> str:
    """Say that no mask was asked for, what there are in words, and how many episodes they are."""
    spared = listed(key for key in VALIDATION_MASKS if key in masks)
    return (
        f"there are masks, {listed(masks.values())}, and all {every} are taken: --mask takes those of one."
        + f" gwm train takes those of {spared} for validation alone." * bool(spared)
    )


def check_wanted(wanted: str, masks: Mapping[str, str]) -> None:
    """Raise ConfigError for a mask that no episode has, and say in words which there are."""
    if wanted not in masks:
        raise ConfigError(f"--mask {wanted}: no episode has this mask; there are {listed(masks.values()) or 'none'}.")
