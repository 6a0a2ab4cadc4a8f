"""What is known of a world beside its data: its physics and what its tasks look at. The id in the data says which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import Any

from gwm_sim.envs import DOMAINS
from gwm_sim.envs.spaces import Ranges
from gwm_sim.model.state import WorldState
from gwm_sim.model.world_model import WorldModel


def _unknown(model: WorldModel, state: WorldState) -> Any:
    raise ValueError(f"nothing is known of what tasks look at in {model.config.schema.env_id}, the world of the data")


@dataclass(frozen=True)
class Domain:
    """A family of worlds; by default one that is known from its data alone."""

    property_ranges: Ranges = field(default_factory=dict)
    """Least and greatest value of each physics property; others have the range of the data."""
    property_defaults: Mapping[str, float] = field(default_factory=dict)
    """Values of episodes that ask for none; others have what was recorded."""
    task_state: Callable[[WorldModel, WorldState], Any] = _unknown
    """What the model believes of imagined worlds, as tasks look at it, indexed by row."""


def find_domain(env_id: str) -> Domain:
    """The domain that data of this environment are of."""
    places = [place for word, place in DOMAINS.items() if f"-{word}" in env_id]
    domain: Domain = resolve_name(places[0]) if places else Domain()
    return domain
