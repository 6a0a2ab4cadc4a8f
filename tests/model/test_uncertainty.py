"""Expected errors grow with what moves, less and less."""

import torch

from gwm_sim.model.state import NextFrame
from gwm_sim.model.uncertainty import SCALE, risk, together

BEFORE = torch.tensor([[[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]])


def predicted(objects: torch.Tensor) -> NextFrame:
    nothing = torch.zeros(1, 1, 0)
    return NextFrame(None, torch.zeros(1, 1, 5), objects[:, None], torch.tensor([[[0.02, 0.07]]]), nothing, None)


def test_what_stays_where_it_is_or_is_absent_adds_nothing() -> None:
    still, moved, absent = BEFORE.clone(), BEFORE.clone(), BEFORE.clone()
    moved[0, 0, 2] += 0.01
    absent[0, 1] = torch.nan
    assert risk(predicted(still), BEFORE, False) == 0
    assert risk(predicted(absent), BEFORE, False) == risk(predicted(BEFORE), absent, False) == 0
    torch.testing.assert_close(risk(predicted(moved), BEFORE, False), torch.tensor([SCALE * 0.02 / 2 ** (1 / 3)]))


def test_errors_add_up_to_less_than_their_sum() -> None:
    expected = torch.tensor([0.0, 1.0, 5.0])
    torch.testing.assert_close(together(expected, torch.zeros(3)), expected)
    for _ in range(8):
        expected = together(expected, torch.ones(3))
    torch.testing.assert_close(expected[0], torch.tensor(2.0))
    assert (expected[1:] < torch.tensor([2.1, 5.2])).all()
