"""What recordings show is found again wherever things are, and however they lie."""

import math
from pathlib import Path

import pytest
import torch
from models import make_model
from safetensors.torch import save_file
from torch import Tensor

from gwm_sim.errors import CheckpointError
from gwm_sim.model.checkpoint import STATES_FILE
from gwm_sim.model.world_model import WorldModel
from gwm_sim.policies.planning.prior import examples
from gwm_sim.policies.planning.prior.examples import Errand, Examples

STEPS, BLOCK = 4, 3
LEFT, DOWN = 0.0, math.pi / 2  # how a thing may lie


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> WorldModel:
    """A robot whose first two numbers say where it is in the picture."""
    monkeypatch.setattr(examples, "robot_points", lambda model, telemetry: telemetry[..., None, :2])
    monkeypatch.setattr(examples, "near", lambda model: 2.0)
    return make_model()


def turn(angle: float) -> Tensor:
    return torch.tensor([math.cos(angle), math.sin(angle)])


def recorded(pushes: list[tuple[float, float]]) -> dict[str, Tensor]:
    """Episodes of 13 frames: behind a thing at (20, 20) that lies at an angle, the hand drives it by so much."""
    telemetry, objects, turns = [], [], []
    for angle, far in pushes:
        along = turn(angle)
        for i in range(13):
            moved = far * i / 12
            telemetry.append(torch.cat((20 + (moved - 6) * along, torch.zeros(1))))
            objects.append(torch.cat((20 + moved * along, torch.ones(1)))[None])
            turns.append(along[None])
    actions = torch.zeros(len(telemetry), 2)
    actions[:, 1] = torch.arange(len(telemetry)) % 13 / 12
    rows = {"telemetry": telemetry, "objects": objects, "turns": turns}
    starts = torch.arange(0, len(telemetry), 13)
    return {name: torch.stack(values) for name, values in rows.items()} | {"actions": actions, "starts": starts}


def errand(place: Tensor, angle: float, far: float) -> Errand:
    """Push a thing that lies at an angle so far along it, from behind."""
    along, told = turn(angle), torch.stack((turn(angle), turn(angle)))
    return Errand(0, 0, place, place + far * along, told, place - 6 * along, place + (far - 6) * along)


def paths(model: WorldModel, states: dict[str, Tensor], wanted: Errand, count: int = 1) -> tuple[Tensor, Tensor]:
    return Examples(model, states).paths(wanted, torch.tensor([0.0, 1.0]), STEPS, BLOCK, count)


@pytest.mark.parametrize("angle", (LEFT, DOWN, -2.0))
def test_a_path_is_moved_and_turned_with_its_thing(model: WorldModel, angle: float) -> None:
    place, far = torch.tensor([40.0, 10.0]), 8.0
    places, acts = paths(model, recorded([(0.5, far), (0.5, -far)]), errand(place, angle, far))
    moved = torch.arange(1, STEPS + 1)[:, None] * BLOCK * far / 12
    torch.testing.assert_close(places[0], place + (moved - 6) * turn(angle), atol=1e-4, rtol=0)
    torch.testing.assert_close(acts[0], torch.tensor([0.0, 3, 6, 9]) / 12)  # what was done at the outset of each block


def test_what_moved_a_thing_as_far_comes_first(model: WorldModel) -> None:
    states = recorded([(LEFT, 0.0), (LEFT, 6.0), (LEFT, 12.0)])
    begins, _ = Examples(model, states)._alike(errand(torch.tensor([30.0, 30.0]), LEFT, 6.0), STEPS, BLOCK, 2)
    assert begins[0] // 13 == 1 or begins[0] // 13 == 2  # half of the longer push is as long
    least = Examples(model, states)._alike(errand(torch.tensor([30.0, 30.0]), LEFT, 12.0), STEPS, BLOCK, 1)[0]
    assert least.tolist() == [26]


def test_no_stretch_leads_from_one_episode_into_the_next(model: WorldModel) -> None:
    states = recorded([(LEFT, 6.0)] * 3)
    begins, ends = Examples(model, states)._alike(errand(torch.tensor([30.0, 30.0]), LEFT, 3.0), STEPS, BLOCK, 99)
    assert len(begins) and (begins // 13 == ends // 13).all() and (ends > begins).all()


def test_things_that_were_not_there_teach_nothing(model: WorldModel) -> None:
    states = recorded([(LEFT, 6.0), (LEFT, 6.0)])
    states["objects"][:13] = torch.nan
    begins, _ = Examples(model, states)._alike(errand(torch.tensor([30.0, 30.0]), LEFT, 6.0), STEPS, BLOCK, 99)
    assert len(begins) and (begins >= 13).all()


def test_they_lie_beside_a_model(model: WorldModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert Examples.beside(model, tmp_path) is None
    save_file(recorded([(LEFT, 6.0)]), tmp_path / STATES_FILE)
    assert Examples.beside(model, tmp_path) is not None
    (tmp_path / STATES_FILE).write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="states"):
        Examples.beside(model, tmp_path)
