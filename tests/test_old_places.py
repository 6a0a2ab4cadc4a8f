"""Names that the documentation gave once are still found where it said."""

from importlib import import_module

import pytest


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("gwm_sim.imagination", "gwm_sim.model.imagination", "imagine_episodes"),
        ("gwm_sim.world_model", "gwm_sim.model.world_model", "WorldModel"),
        ("gwm_sim.world_model", "gwm_sim.model.world_model", "WorldModelConfig"),
        ("gwm_sim.importers.pictures", "gwm_sim.data.images", "shrink"),
        ("gwm_sim.importers.pictures", "gwm_sim.data.images", "decode_picture"),
    ],
)
def test_old_place_leads_to_the_new_one(old: str, new: str, name: str) -> None:
    assert getattr(import_module(old), name) is getattr(import_module(new), name)
