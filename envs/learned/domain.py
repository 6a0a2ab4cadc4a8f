"""What is known of a world beside its data: its physics and what its tasks look at. The id in the data says which."""

from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any, NamedTuple

from gwm_sim.envs import DOMAINS
from gwm_sim.envs.spaces import Ranges
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel

Keys = tuple[tuple[str, ...], tuple[str, ...]]
"""Keys that raise an action and those that lower it, by their names in pygame without K_."""


def _no_tasks(model: WorldModel, state: WorldState) -> Any:
    raise ValueError(f"nothing is known of what tasks look at in {model.config.schema.env_id}, the world of the data")


class Domain(NamedTuple):
    """A family of worlds; by default one that is known from its data alone."""

    property_ranges: Ranges = {}  # of each physics property; others have the range of the data
    property_defaults: Mapping[str, float] = {}  # where nobody says; others have what was recorded
    task_state: Callable[[WorldModel, WorldState], Any] = _no_tasks  # believed of imagined worlds, indexed by row
    keys: Mapping[str, Keys] = {}  # for actions by name; others have the usual ones
    readings: tuple[str, ...] = ()  # what is observed instead of pictures; others have `usual_keys`


def find_domain(env_id: str) -> Domain:
    """The domain that data of this environment are of."""
    domain: Domain = next((resolve_name(place) for word, place in DOMAINS.items() if f"-{word}" in env_id), Domain())
    return domain
