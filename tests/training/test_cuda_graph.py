"""A captured loss has the value and the gradient of the loss itself."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gwm_sim.model.world_model import WorldModel
from gwm_sim.training.config import PRESETS
from gwm_sim.training.dataset import load_training_data
from gwm_sim.training.phases.cuda_graph import Capture, differentiate, known_loss, stand_ins
from gwm_sim.training.phases.object_dynamics import ObjectDynamicsPhase
from gwm_sim.training.phases.phase import batch_generator


@pytest.fixture
def model() -> nn.ModuleDict:
    """A recurrent network, and a layer that takes no part in the loss."""
    torch.manual_seed(0)
    return nn.ModuleDict({"cell": nn.GRUCell(3, 4), "unused": nn.Linear(2, 2)})


def loss_of(model: nn.ModuleDict, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    total = model["cell"](x).square().mean()
    return total, {"square": total.detach()}


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_gradients_that_are_known_arrive_at_the_weights(model: nn.ModuleDict) -> None:
    x = torch.randn(5, 3)
    total, _ = loss_of(model, x)
    (3 * total).backward()
    expected = gradients(model)
    model.zero_grad()
    with stand_ins(model):
        value, _, known = differentiate(lambda x: loss_of(model, x), [x], list(model.parameters()))
    replayed = known_loss(value, known, list(model.parameters()))
    (3 * replayed).backward()
    assert replayed.item() == total.item()
    torch.testing.assert_close(gradients(model), expected)
    assert set(expected) == {"cell.weight_ih", "cell.weight_hh", "cell.bias_ih", "cell.bias_hh"}


def test_weights_come_back_after_their_stand_ins_which_share_their_memory(model: nn.ModuleDict) -> None:
    before = list(model.parameters())
    with pytest.raises(RuntimeError, match="broken"), stand_ins(model):
        others = list(model.parameters())
        assert not any(a is b for a, b in zip(before, others, strict=True))
        assert all(a.data_ptr() == b.data_ptr() for a, b in zip(before, others, strict=True))
        raise RuntimeError("broken")
    assert all(a is b for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("free", [False, True])
def test_a_replayed_rollout_equals_one_that_is_run(tiny_data: Path, tiny_checkpoint: Path, free: bool) -> None:
    phase = ObjectDynamicsPhase(
        WorldModel.load(tiny_checkpoint, "cuda"), load_training_data([tiny_data]), PRESETS["tiny"], seed=0
    )
    example, other = (phase.draw(phase.lengths[0], batch_generator(0, step), free) for step in range(2))
    total, _ = phase.weigh(free, *other)
    total.backward()
    expected = gradients(phase.model)
    phase.model.zero_grad()
    replayed, _ = Capture(phase.model, lambda *batch: phase.weigh(free, *batch), example).replay(other)
    replayed.backward()
    torch.testing.assert_close(replayed, total)
    torch.testing.assert_close(gradients(phase.model), expected)
