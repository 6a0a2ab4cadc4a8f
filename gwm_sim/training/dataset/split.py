"""Which episodes are trained on and which are not, where masks such as `valid` say so."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor

from gwm_sim.data.episode import VALIDATION_MASKS
from gwm_sim.data.episode_file import EpisodeFile


def split_of(files: Sequence[EpisodeFile]) -> Tensor:
    """What masks say of the episodes of all files (E,), see `TrainingData.split`; parts of one import count as one."""
    told = dict[int, Tensor]()
    for together in imports(files):
        masks = [masks for number in together for masks in files[number].masks]
        spared = torch.tensor([not set(VALIDATION_MASKS).isdisjoint(names) for names in masks])
        split = spared.long() if spared.any() and not spared.all() else torch.full_like(spared, -1, dtype=torch.long)
        told |= dict(zip(together, split.split([len(files[number]) for number in together]), strict=True))
    return torch.cat([told[number] for number in range(len(files))])


def imports(files: Sequence[EpisodeFile]) -> list[list[int]]:
    """Which files belong together, by their places in the list: those that were made alike and share no number of an
    episode, as the parts of an import do."""
    alike: dict[str, list[int]] = {}
    for place, file in enumerate(files):
        told = file.schema.to_json() | {"versions": {}}
        alike.setdefault(json.dumps(told, sort_keys=True), []).append(place)
    found = []
    for places in alike.values():
        numbers = [number for place in places for number in files[place].numbers]
        found += [places] if len(set(numbers)) == len(numbers) else [[place] for place in places]
    return found
